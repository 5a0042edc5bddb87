package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/tocsin-oncall/tocsin/server/config"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// keeper does what has time: it packs closed incidents, removes those that
// have been kept long enough, and trims feeds and the change log. It does so
// for the partitions that are owned here, a few incidents at a time, so that
// pages never wait behind it.
type keeper struct {
	store     *store.Store
	owned     func() []store.Partition
	directory *directory.Directory
	retention config.Retention
	now       func() time.Time
	log       *slog.Logger
	every     time.Duration
}

const (
	keepChunk = 50              // closings looked at in one go
	keepLong  = 2 * time.Second // of one partition in one round; the rest waits for the next one
)

// run does a round now and then until ctx ends.
func (k *keeper) run(ctx context.Context) error {
	tick := time.NewTicker(k.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			k.round(ctx)
		}
	}
}

func (k *keeper) round(ctx context.Context) {
	for _, p := range k.owned() {
		if ctx.Err() != nil {
			return
		}
		if err := k.partition(ctx, p); err != nil && ctx.Err() == nil {
			k.log.WarnContext(ctx, "housekeeping interrupted", slog.String("partition", p.String()), slog.Any("error", err))
		}
	}
}

func (k *keeper) partition(ctx context.Context, p store.Partition) error {
	ctx, cancel := context.WithTimeout(ctx, keepLong)
	defer cancel()
	now := k.now()
	err := k.repeat(ctx, func() (int, error) {
		return k.store.ArchiveClosed(ctx, p, now.Add(-k.retention.ArchiveAfter), keepChunk, k.zone)
	})
	if err != nil {
		return err
	}
	err = k.repeat(ctx, func() (int, error) { return k.store.Expire(ctx, p, now.Add(-k.retention.KeepClosed), keepChunk) })
	if err != nil {
		return err
	}
	if p == 0 { // one instance has it: the change log needs one
		if err := k.store.TrimConfigLog(ctx); err != nil {
			return err
		}
	}
	return k.store.TrimFeed(ctx, p, now)
}

// repeat goes on while there is more and time; what is left is done in the next round.
func (k *keeper) repeat(ctx context.Context, step func() (int, error)) error {
	for ctx.Err() == nil {
		n, err := step()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil || n < keepChunk {
			return err
		}
	}
	return nil
}

func (k *keeper) zone(id roster.UserID) string {
	u, _ := k.directory.Snapshot().User(id)
	return u.Zone
}
