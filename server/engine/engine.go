package engine

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tocsin-oncall/tocsin/server/respond"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// Directory is what the engine asks of the configuration beside its snapshot.
type Directory interface {
	// CatchUp returns when the snapshot is at least as new as the revision.
	CatchUp(ctx context.Context, revision string) error
	// Revision names the present snapshot.
	Revision() string
}

// Notifier does what leaves the house, and decides the documents of people.
type Notifier interface {
	// Do sees to one item of work. It returns when the item has its end or has
	// been handed to a provider's queue; done is called with the end.
	Do(ctx context.Context, item store.WorkItem, done func(error))
	// Tick decides the document of a person that is due.
	Tick(ctx context.Context, person store.Doc, now time.Time) error
}

// Config is what an engine is made of.
type Config struct {
	Store     *store.Store
	Desk      *respond.Desk
	Directory Directory
	Notifier  Notifier
	// Overdue is told that incidents have been due since before the instant when
	// a partition was looked at for the first time, or again after the store was
	// out. It returns when the settings say whether they wait. nil: they do not.
	Overdue func(ctx context.Context, before time.Time) error
	Log     *slog.Logger
	Metrics *Metrics
	Member  store.Member // what the other instances see of this one
}

// Engine runs the partitions that this instance owns.
type Engine struct {
	Config

	store *store.Store
	desk  *respond.Desk
	log   *slog.Logger

	told   bool   // that this instance is too old; of the heartbeat alone
	turns  *turns // of the owners, to decide events
	mu     sync.Mutex
	owners [store.Partitions]*owner // nil: not ours
	group  sync.WaitGroup
}

// New returns an engine. It does nothing until Run.
func New(c Config) *Engine {
	e := &Engine{Config: c, store: c.Store, desk: c.Desk, log: c.Log, turns: newTurns(c.Store)}
	if c.Metrics != nil {
		age := e.oldestPage
		c.Metrics.oldestPage.Store(&age)
	}
	return e
}

// oldestPage returns how long ago the oldest page was decided whose work has not ended.
func (e *Engine) oldestPage() time.Duration {
	e.mu.Lock()
	owners := e.owners
	e.mu.Unlock()
	now, oldest := e.desk.Now(), time.Duration(0)
	for _, o := range owners {
		if o != nil {
			oldest = max(oldest, since(o.oldestPage(), now))
		}
	}
	return oldest
}

// Run owns partitions until ctx ends, then gives them back, so that another
// instance goes on at once, and waits for what is under way.
func (e *Engine) Run(ctx context.Context) error {
	running, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(running)
	g.Go(func() error { return e.keepLeases(ctx) })
	g.Go(func() error { return e.listen(ctx) })
	g.Go(func() error { return e.feelPulse(ctx) })
	err := g.Wait()
	e.group.Wait()
	return err
}

// own starts the partitions that this instance has come to own and stops those it has lost.
func (e *Engine) own(ctx context.Context, leases [store.Partitions]store.Lease) {
	e.mu.Lock()
	defer e.mu.Unlock()
	started := 0
	for p := range store.Partition(store.Partitions) {
		mine := leases[p].Owner == e.store.Instance()
		switch o := e.owners[p]; {
		case mine && o == nil:
			e.owners[p] = e.start(ctx, p)
			started++
		case !mine && o != nil:
			o.stop()
			e.owners[p] = nil
		}
	}
	if started > 0 {
		e.log.InfoContext(ctx, "partitions taken over", slog.Int("count", started))
	}
}

func (e *Engine) start(ctx context.Context, p store.Partition) *owner {
	ctx, stop := context.WithCancel(ctx)
	o := newOwner(e, p, stop)
	e.group.Go(func() { o.run(ctx) })
	return o
}

// resign gives every partition back when this instance ends.
func (e *Engine) resign(ctx context.Context) {
	e.mu.Lock()
	for p, o := range e.owners {
		if o != nil {
			o.stop()
			e.owners[p] = nil
		}
	}
	e.mu.Unlock()
	e.group.Wait() // what is under way ends before another instance begins it
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := e.store.Leave(ctx, e.desk.Now()); err != nil {
		e.log.WarnContext(ctx, "partitions not given back; they are taken over when the heartbeat is missed", slog.Any("error", err))
	}
}

// owner returns who runs the partition here, nil when another instance does.
func (e *Engine) owner(p store.Partition) *owner {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.owners[p]
}

// Owned returns the partitions that this instance runs.
func (e *Engine) Owned() []store.Partition {
	e.mu.Lock()
	defer e.mu.Unlock()
	var ps []store.Partition
	for p, o := range e.owners {
		if o != nil {
			ps = append(ps, store.Partition(p))
		}
	}
	return ps
}

// Committed takes the work of a commit that was made in this process. Whoever
// owns its partition begins it; when that is not us, the store has woken them.
func (e *Engine) Committed(items []store.WorkItem) {
	for _, item := range items {
		if o := e.owner(item.Partition); o != nil {
			o.begin(item)
		}
	}
}

// listen wakes the owners when something was written for them, here or by another instance.
func (e *Engine) listen(ctx context.Context) error {
	for ctx.Err() == nil {
		err := e.store.Listen(ctx, func(w store.Wake) {
			if o := e.owner(w.Partition); o != nil {
				o.woken(ctx, w)
			}
		})
		if err != nil && ctx.Err() == nil {
			e.log.WarnContext(ctx, "listening for wakes failed; looking once a second", slog.Any("error", err))
			sleep(ctx, heartbeat)
		}
	}
	return nil
}

// feelPulse looks once a second at every owned partition, in one trip, and
// wakes those that have something to do: wakes may get lost.
func (e *Engine) feelPulse(ctx context.Context) error {
	for ctx.Err() == nil {
		sleep(ctx, heartbeat)
		owned := e.Owned()
		pulses, err := e.store.Pulse(ctx, owned)
		if err != nil {
			if ctx.Err() == nil {
				e.log.WarnContext(ctx, "looking at the partitions failed", slog.Any("error", err))
			}
			continue
		}
		for _, p := range pulses {
			if o := e.owner(p.Partition); o != nil {
				o.feel(p)
			}
		}
		e.Metrics.observe(len(owned), pulses, e.desk.Now())
	}
	return nil
}

// Accept makes events durable, and returns when they are: after it, a page
// for them survives the death of any process.
func (e *Engine) Accept(ctx context.Context, entries []store.InboxEntry) error {
	for i := range entries {
		entries[i].Config = e.Directory.Revision()
	}
	if err := e.store.Append(ctx, entries); err != nil {
		return fmt.Errorf("accept %d events: %w", len(entries), err)
	}
	return nil
}

// sleep waits, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
