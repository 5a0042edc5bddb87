package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

const (
	unparkChunk = 200             // phones in one change
	unparkAgain = 5 * time.Second // after a change that could not be written
)

// unpark has parked phones paged again. A phone is parked when its push service
// refuses for what is most likely our own configuration; only somebody who
// reads that anew, by a start or a reload, can have mended it. Where it was not
// mended the next page is refused at once, and goes the next way.
func (p people) unpark(ctx context.Context) error {
	for {
		n := 0
		_, err := p.directory.Change(ctx, directory.ByServer("push"), func(e *directory.Edit) error {
			n = 0
			for d := range e.AllDevices() {
				if d.State != roster.DeviceParked || d.Address.Kind == 0 || n == unparkChunk {
					continue
				}
				n++
				c := *d
				c.State, c.StateReason = roster.DeviceActive, ""
				if err := e.Update(&c, ""); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("have parked phones paged again: %w", err)
		}
		if n > 0 {
			p.log.InfoContext(ctx, "parked phones are paged again", slog.Int("count", n))
		}
		if n < unparkChunk {
			return nil
		}
	}
}

// unparkAtStart does so once, as soon as it can be written.
func (p people) unparkAtStart(ctx context.Context) error {
	for {
		err := p.unpark(ctx)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		p.log.WarnContext(ctx, "parked phones stay so for now", slog.Any("error", err))
		t := time.NewTimer(unparkAgain)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}
