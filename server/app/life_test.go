package app

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"
)

func TestPartsStopInReverse(t *testing.T) {
	l := newLife(slog.New(slog.DiscardHandler))
	var order []string
	for _, name := range []string{"store", "engine", "doors"} {
		l.onStop(name, func(context.Context) error {
			order = append(order, name)
			return nil
		})
	}
	if err := l.end(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	if want := []string{"doors", "engine", "store"}; !slices.Equal(order, want) {
		t.Errorf("stopped in the order %q, want %q", order, want)
	}
}

func TestAPartThatFailsEndsTheServer(t *testing.T) {
	l := newLife(slog.New(slog.DiscardHandler))
	broken := errors.New("broken")
	l.background(t.Context(), "engine", func(context.Context) error { return broken })
	if err := l.wait(t.Context()); !errors.Is(err, broken) {
		t.Errorf("the server ends with %v, want %v", err, broken)
	}
	if err := l.end(t.Context(), time.Second); err != nil {
		t.Error(err)
	}
}

func TestEveryPartHasTimeToEnd(t *testing.T) {
	t.Parallel()
	l := newLife(slog.New(slog.DiscardHandler))
	stopped := false
	l.onStop("store", func(ctx context.Context) error {
		stopped = ctx.Err() == nil
		return nil
	})
	l.onStop("requests", func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	})
	err := l.end(t.Context(), time.Millisecond)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the end says %v, want that requests did not end in time", err)
	}
	if !stopped {
		t.Error("the store was left no time, because requests had used it up")
	}
}

func TestBackgroundIsWaitedFor(t *testing.T) {
	l := newLife(slog.New(slog.DiscardHandler))
	ended := false
	l.background(t.Context(), "feed", func(ctx context.Context) error {
		<-ctx.Done()
		ended = true
		return ctx.Err()
	})
	if err := l.end(t.Context(), time.Second); err != nil || !ended {
		t.Errorf("ended = %t, %v; want it waited for, and no error", ended, err)
	}
}
