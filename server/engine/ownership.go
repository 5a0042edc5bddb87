package engine

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/tocsin-oncall/tocsin/server/store"
)

// heartbeat is how often an instance says that it lives.
const heartbeat = time.Second

// share returns the partitions that the instance should own: for each the live
// member with the highest hash of both (rendezvous hashing), so that a member
// that comes or goes moves only its own partitions.
func share(me string, members []string) []store.Partition {
	var mine []store.Partition
	for p := range store.Partition(store.Partitions) {
		if keeper(p, members) == me {
			mine = append(mine, p)
		}
	}
	return mine
}

func keeper(p store.Partition, members []string) string {
	if len(members) == 0 {
		return ""
	}
	return slices.MaxFunc(members, func(a, b string) int {
		if c := cmp.Compare(weight(p, a), weight(p, b)); c != 0 {
			return c
		}
		return cmp.Compare(a, b)
	})
}

func weight(p store.Partition, member string) uint64 {
	return xxhash.Sum64String(string([]byte{byte(p)}) + member)
}

// keepLeases says every second that this instance lives, and makes what it
// runs equal to what it owns. When the store does not answer it goes on with
// what it had: its commits are refused or delayed, not wrong.
func (e *Engine) keepLeases(ctx context.Context) error {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	members := []string{e.store.Instance()}
	for {
		members = e.beat(ctx, members)
		select {
		case <-ctx.Done():
			e.resign(ctx)
			return nil
		case <-tick.C:
		}
	}
}

// beat is one heartbeat. It returns the members that share the partitions: those
// that are alive and read what is stored. When they are not those that the wishes
// were made for, it wishes again at once.
func (e *Engine) beat(ctx context.Context, before []string) []string {
	for range 2 {
		want := share(e.store.Instance(), before)
		view, err := e.store.Heartbeat(ctx, e.desk.Now(), e.Member, want)
		if err != nil {
			if ctx.Err() == nil {
				e.log.WarnContext(ctx, "heartbeat failed", slog.Any("error", err))
			}
			return before
		}
		e.outgrown(ctx)
		e.own(ctx, view.Leases)
		e.Metrics.schema(view.Schema.Written)
		members := view.Readers()
		if slices.Equal(members, before) {
			return members
		}
		before = members
	}
	return before
}
