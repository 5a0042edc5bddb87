package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// life is what has been started, in order. It ends in reverse.
type life struct {
	log    *slog.Logger
	failed chan error // has room for one: the first part that ended by itself

	mu    sync.Mutex
	stops []stop
}

type stop struct {
	name string
	f    func(ctx context.Context) error
}

func newLife(log *slog.Logger) *life { return &life{log: log, failed: make(chan error, 1)} }

// onStop remembers how to stop a part that has been started. ctx ends with the
// time that draining may take.
func (l *life) onStop(name string, f func(ctx context.Context) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stops = append(l.stops, stop{name, f})
}

// background runs a part until it is stopped. One that returns an error before
// that ends the server: half a server would be a silence without a reason.
func (l *life) background(ctx context.Context, name string, run func(ctx context.Context) error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // its own life: parts end in order
	ended := make(chan struct{})
	go func() { // waited for by the stop below
		defer close(ended)
		if err := run(ctx); err != nil && ctx.Err() == nil {
			select {
			case l.failed <- fmt.Errorf("%s: %w", name, err):
			default: // another one was first
			}
		}
	}()
	l.onStop(name, func(ctx context.Context) error {
		cancel()
		select {
		case <-ended:
			return nil
		case <-ctx.Done():
			return errors.New("did not end in time")
		}
	})
}

// wait returns when ctx ends (nil) or a part has failed.
func (l *life) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-l.failed:
		return err
	}
}

// least is what every part has for its end, even when those before it have
// used up the time: a store that is closed late is better than one cut off.
const least = 2 * time.Second

// end stops everything that was started, the last first.
func (l *life) end(ctx context.Context, within time.Duration) error {
	l.mu.Lock()
	stops := slices.Clone(l.stops)
	l.stops = nil
	l.mu.Unlock()
	slices.Reverse(stops)
	until := time.Now().Add(within)
	var errs []error
	for _, s := range stops {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(time.Until(until), least))
		began := time.Now()
		if err := s.f(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", s.name, err))
		}
		l.log.DebugContext(ctx, "stopped", slog.String("part", s.name), slog.Duration("took", time.Since(began)))
		cancel()
	}
	return errors.Join(errs...)
}
