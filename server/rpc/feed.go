package rpc

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// feed follows the feeds of all partitions once, for everybody who watches
// through this instance.
type feed struct {
	store *store.Store
	log   *slog.Logger
	wake  chan struct{}

	mu       sync.Mutex
	at       *store.Cursor // how far it has been read; nil before the first reading
	watchers map[*watcher]bool
	joining  int           // who waits for the first reading
	ready    chan struct{} // closed when at is there
}

// watcher is one stream. What it has not taken waits in its queue; when that is
// full the stream is cut, and its caller comes back with the cursor.
type watcher struct {
	queue chan []changed
	cut   chan struct{}
	once  sync.Once
}

// changed is one change with the incident as it is by now.
type changed struct {
	store.FeedEntry

	incident *incident.Incident // nil when it is gone
}

const (
	feedChunk = 500 // entries of one partition in one reading
	feedQueue = 64  // readings that may wait for a slow caller
	feedPoll  = time.Second
	joinWait  = 5 * time.Second
)

func newFeed(s *store.Store, log *slog.Logger) *feed {
	return &feed{
		store: s, log: log, wake: make(chan struct{}, 1), watchers: map[*watcher]bool{}, ready: make(chan struct{}),
	}
}

// run follows until ctx ends.
func (f *feed) run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { f.listen(ctx) })
	for ctx.Err() == nil {
		err := f.step(ctx)
		if err != nil && ctx.Err() == nil {
			f.log.WarnContext(ctx, "feed not readable", slog.Any("err", err))
		}
		t := time.NewTimer(feedPoll)
		select {
		case <-ctx.Done():
		case <-f.wake:
		case <-t.C:
		}
		t.Stop()
	}
	return ctx.Err()
}

// listen turns wakes into readings.
func (f *feed) listen(ctx context.Context) {
	for ctx.Err() == nil {
		err := f.store.Listen(ctx, func(w store.Wake) {
			if w.Kinds&store.WakeFeed != 0 {
				f.nudge()
			}
		})
		if err != nil && ctx.Err() == nil {
			t := time.NewTimer(feedPoll)
			select {
			case <-ctx.Done():
			case <-t.C:
			}
			t.Stop()
		}
	}
}

func (f *feed) nudge() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// step reads what is new and hands it out. While nobody watches nothing is read.
func (f *feed) step(ctx context.Context) error {
	for {
		f.mu.Lock()
		at, idle := f.at, len(f.watchers) == 0 && f.joining == 0
		if idle && at != nil {
			f.forget()
		}
		f.mu.Unlock()
		if idle {
			return nil
		}
		if at == nil {
			tail, err := f.store.FeedTail(ctx)
			if err != nil {
				return err
			}
			f.mu.Lock()
			f.at = tail
			close(f.ready)
			f.mu.Unlock()
			continue
		}
		changes, next, err := f.read(ctx, at)
		if errors.Is(err, store.ErrCursorOld) { // out for a day: each watcher finds out by himself
			f.cutAll()
			continue
		}
		if err != nil {
			return err
		}
		f.hand(changes, next)
		if len(changes) == 0 {
			return nil
		}
	}
}

// forget makes the next reader begin at the end. The caller holds the lock.
func (f *feed) forget() { f.at, f.ready = nil, make(chan struct{}) }

// read returns the changes behind a cursor, each with its incident of now.
func (f *feed) read(ctx context.Context, at *store.Cursor) ([]changed, *store.Cursor, error) {
	entries, next, err := f.store.FeedAll(ctx, at, feedChunk)
	if err != nil || len(entries) == 0 {
		return nil, next, err
	}
	var ids []incident.ID
	index := map[incident.ID]int{}
	for _, e := range entries {
		if _, ok := index[e.Incident]; !ok {
			index[e.Incident] = len(ids)
			ids = append(ids, e.Incident)
		}
	}
	found, err := f.store.Incidents(ctx, ids...)
	if err != nil {
		return nil, nil, err
	}
	changes := make([]changed, len(entries))
	for i, e := range entries {
		changes[i] = changed{FeedEntry: e, incident: found[index[e.Incident]]}
	}
	return changes, next, nil
}

// hand gives changes to every watcher. Whoever came in since they were read
// knows by his cursor what he has had.
func (f *feed) hand(changes []changed, next *store.Cursor) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at = next
	if len(changes) == 0 {
		return
	}
	for w := range f.watchers {
		select {
		case w.queue <- changes:
		default:
			w.stop()
			delete(f.watchers, w)
		}
	}
}

func (w *watcher) stop() { w.once.Do(func() { close(w.cut) }) }

func (f *feed) cutAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for w := range f.watchers {
		w.stop()
		delete(f.watchers, w)
	}
	f.forget()
}

// join adds a watcher. Every change behind the cursor that it returns will be in
// the watcher's queue.
func (f *feed) join(ctx context.Context) (*watcher, store.Cursor, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.joining++
	defer func() { f.joining-- }()
	for f.at == nil {
		if err := f.await(ctx); err != nil {
			return nil, store.Cursor{}, err
		}
	}
	w := &watcher{queue: make(chan []changed, feedQueue), cut: make(chan struct{})}
	f.watchers[w] = true
	return w, *f.at, nil
}

// await waits for the first reading; the caller holds the lock, before and after.
func (f *feed) await(ctx context.Context) error {
	ready := f.ready
	f.mu.Unlock()
	defer f.mu.Lock()
	f.nudge()
	t := time.NewTimer(joinWait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-ready:
		return nil
	case <-t.C:
		return fault.New(fault.Unavailable, "STORE_UNAVAILABLE", "the feed cannot be read now; try again").After(feedPoll)
	}
}

func (f *feed) leave(w *watcher) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.watchers, w)
}
