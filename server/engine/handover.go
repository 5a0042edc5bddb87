package engine

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/tocsin-oncall/tocsin/server/store"
)

// rest waits after something that could not be done, before it is tried again.
func (o *owner) rest(ctx context.Context, err error) {
	if errors.Is(err, store.ErrNewerSchema) {
		sleep(ctx, heartbeat) // by then the partition is another instance's
		return
	}
	o.doubt()
	sleep(ctx, 200*time.Millisecond)
}

// handsOver reports whether an error says that something was met which only a
// newer version reads. It stays as it is: it is not put off, not counted as a
// failure and no dead letter. What this instance cannot read it must not run, so
// with the next heartbeat it gives all its partitions to those that can.
func (o *owner) handsOver(err error) bool {
	if !errors.Is(err, store.ErrNewerSchema) {
		return false
	}
	o.metrics.handedOver.Inc()
	o.store.Heed(err)
	return true
}

// outgrown says, once, that this instance owns nothing because newer ones have
// written what it cannot read.
func (e *Engine) outgrown(ctx context.Context) {
	err := e.store.Outgrown()
	if err == nil || e.told {
		return
	}
	e.told = true
	e.log.ErrorContext(ctx, "this instance is too old for what is stored: it leaves all partitions to newer ones", slog.Any("error", err))
}
