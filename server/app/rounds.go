package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// rounds makes a round at once and then every so often, until ctx ends. What a
// round could not do is logged, as what has failed, and left to the next one.
func rounds(ctx context.Context, every time.Duration, log *slog.Logger, failed string, round func(context.Context) error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := round(ctx); err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, failed, slog.Any("error", err)) //nolint:sloglint // a literal of each caller
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// mineOf is what is owned, to look things up in.
func mineOf(owned []store.Partition) map[store.Partition]bool {
	mine := make(map[store.Partition]bool, len(owned))
	for _, p := range owned {
		mine[p] = true
	}
	return mine
}

// claims is [store.Store.PutOnce]: of all instances, and of all their lives, one
// does what has a name.
type claims func(ctx context.Context, key string, value []byte, ttl time.Duration) error

// first reports whether it is for the caller to do: nobody was before him. The
// name is remembered for so long.
func (c claims) first(ctx context.Context, name string, kept time.Duration) (bool, error) {
	err := c(ctx, name, []byte{1}, kept)
	if err != nil && fault.KindOf(err) == fault.Exists {
		return false, nil
	}
	return err == nil, err
}
