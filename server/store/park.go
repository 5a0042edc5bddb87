package store

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// retryPause is how long parked calls wait until they are tried again.
const retryPause = 50 * time.Millisecond

// errTrouble is what a call gets that was not even tried, because its node did
// not answer the one before it.
var errTrouble = fault.New(fault.Unavailable, "STORE_UNAVAILABLE", "the store does not answer").After(retryAfter)

// parking holds the calls that wait for a failover to end, and knows which nodes
// are in trouble: new calls for those do not hold up the lanes of the others.
type parking struct {
	mu    *sync.Mutex
	calls []*call
	ill   map[*redis.Client]bool
	poke  chan struct{} // has room for one: there are calls
}

func newParking() parking {
	return parking{mu: &sync.Mutex{}, ill: map[*redis.Client]bool{}, poke: make(chan struct{}, 1)}
}

func (p *parking) trouble(node *redis.Client) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ill[node]
}

func (p *parking) well(node *redis.Client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.ill, node)
}

func (p *parking) add(c *call) {
	p.mu.Lock()
	p.calls = append(p.calls, c)
	p.mu.Unlock()
	select {
	case p.poke <- struct{}{}:
	default:
	}
}

func (p *parking) take() []*call {
	p.mu.Lock()
	defer p.mu.Unlock()
	calls := p.calls
	p.calls = nil
	return calls
}

// failed notes that a node did not serve calls. A cluster is asked who serves now.
func (b *batcher) failed(ctx context.Context, node *redis.Client, calls []*call) {
	if len(calls) == 0 || b.closed.Err() != nil {
		return
	}
	if b.s.patience() > 0 && !slices.ContainsFunc(calls, func(c *call) bool { return elsewhere(c.err) }) {
		b.parked.mu.Lock()
		b.parked.ill[node] = true
		b.parked.mu.Unlock()
	}
	if cluster, ok := b.s.rdb.(*redis.ClusterClient); ok {
		cluster.ReloadState(ctx)
	}
	b.s.homes.doubted()
	b.s.o.Log.WarnContext(ctx, "store batch failed", slog.Int("calls", len(calls)), slog.Any("err", calls[0].err))
}

// patience is how long a call may wait for a failover.
func (s *Store) patience() time.Duration {
	switch {
	case s.o.Patience > 0:
		return s.o.Patience
	case s.kind == "sentinel", s.kind == "cluster":
		return 5 * time.Second
	}
	return 0
}

// park has a call tried again that may get through when a failover is over. It
// is the same call to the letter: a commit finds its nonce, an event that comes
// twice folds.
func (b *batcher) park(c *call) bool {
	patience := b.s.patience()
	if patience == 0 || !passing(c.err) {
		if c.gaveUp != nil {
			c.gaveUp()
		}
		return false
	}
	if c.gaveUp == nil {
		c.ctx, c.gaveUp = context.WithTimeout(c.ctx, patience)
	}
	if c.ctx.Err() != nil {
		c.gaveUp()
		return false
	}
	b.parked.add(c)
	return true
}

// comeBack tries parked calls until they get through or nobody waits for them.
func (b *batcher) comeBack() {
	for {
		select {
		case <-b.closed.Done():
			return
		case <-b.parked.poke:
		}
		if pause(b.closed, retryPause) != nil {
			return
		}
		for some := range slices.Chunk(b.parked.take(), batchCalls) {
			b.send(b.waitedFor(some), true)
		}
	}
}

// passing reports whether an error is one that a failover brings and ends.
func passing(err error) bool {
	if err == nil {
		return false
	}
	for _, p := range []string{"OOM", "MISCONF", "NOAUTH", "WRONGPASS", "NOPERM", "NOREPLICAS"} {
		if redis.HasErrorPrefix(err, p) {
			return false
		}
	}
	return out(err) || fault.KindOf(err) == fault.Unavailable
}

// waitedFor ends the calls that nobody waits for any more, and returns the others.
func (*batcher) waitedFor(calls []*call) []*call {
	return slices.DeleteFunc(calls, func(c *call) bool {
		if c.ctx.Err() == nil {
			return false
		}
		c.gaveUp()
		close(c.done) // with the error of its last try
		return true
	})
}
