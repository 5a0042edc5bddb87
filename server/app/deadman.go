package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tocsin-oncall/tocsin/server/config"
)

// deadMan calls a URL as long as this process is ready, so that somebody
// outside notices when the calls stop.
type deadMan struct {
	config config.DeadMan
	ready  func(ctx context.Context) error
	log    *slog.Logger
	client *http.Client
}

const deadManWait = 10 * time.Second

func (d *deadMan) run(ctx context.Context) error {
	tick := time.NewTicker(d.config.Interval)
	defer tick.Stop()
	failing := false
	for {
		err := d.call(ctx)
		if err != nil && ctx.Err() == nil && !failing {
			d.log.WarnContext(ctx, "dead-man call not made; its other side will alarm when this lasts", slog.Any("error", err))
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// call makes one call, unless the process is not ready. The address is a
// secret and stays out of errors.
func (d *deadMan) call(ctx context.Context) error {
	if err := d.ready(ctx); err != nil {
		return fmt.Errorf("not ready: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, deadManWait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.config.URL, nil)
	if err != nil {
		return errors.New("the address is no URL")
	}
	res, err := d.client.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return err
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, 4<<10) // lets the connection be used again
	if res.StatusCode >= http.StatusMultipleChoices {
		return errors.New("answered " + strconv.Itoa(res.StatusCode))
	}
	return nil
}
