package engine

import (
	"context"
	"sync"

	"github.com/tocsin-oncall/tocsin/server/store"
)

// inboxTurns is how many partitions of one master decide events at the same
// time. More would not be faster: Redis has one core for them, and what people
// and timers want would wait behind all of them.
const inboxTurns = 16

// turns say who decides events now. In a cluster each master has turns of its
// own: the partitions of one that hangs keep theirs until it is given up, and
// those of the others go on.
type turns struct {
	store *store.Store

	mu     sync.Mutex
	byHome map[string]chan struct{}
}

func newTurns(s *store.Store) *turns {
	return &turns{store: s, byHome: map[string]chan struct{}{}}
}

// take waits for a turn at the master of a partition. Whoever has one gives it back.
func (t *turns) take(ctx context.Context, p store.Partition) (giveBack func(), err error) {
	at := t.of(ctx, p)
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case at <- struct{}{}:
		return func() { <-at }, nil
	}
}

// taken is how many have a turn at the master of a partition.
func (t *turns) taken(ctx context.Context, p store.Partition) int { return len(t.of(ctx, p)) }

// of holds something for each turn that is taken at the master of a partition.
func (t *turns) of(ctx context.Context, p store.Partition) chan struct{} {
	home := t.store.Home(ctx, p)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byHome[home] == nil {
		t.byHome[home] = make(chan struct{}, inboxTurns)
	}
	return t.byHome[home]
}
