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

// of returns the turns at the master of a partition. Whoever has one puts
// something into the channel, and takes it out of the same one at the end.
func (t *turns) of(ctx context.Context, p store.Partition) chan struct{} {
	home := t.store.Home(ctx, p)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byHome[home] == nil {
		t.byHome[home] = make(chan struct{}, inboxTurns)
	}
	return t.byHome[home]
}
