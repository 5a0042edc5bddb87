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

// feedSource is where changes come from: the store.
type feedSource interface {
	FeedTail(ctx context.Context) (*store.Cursor, error)
	Feeds(ctx context.Context, after *store.Cursor, n int, of ...store.Partition) ([]store.FeedEntry, *store.Cursor, error)
	Incidents(ctx context.Context, ids ...incident.ID) ([]*incident.Incident, error)
	Listen(ctx context.Context, heard func(store.Wake)) error
}

// feed follows the feeds of all partitions once, for everybody who watches
// through this instance.
type feed struct {
	store feedSource
	shape func() shaper
	now   func() time.Time
	log   *slog.Logger
	wake  chan struct{}
	sick  bool // the last reading was not whole

	mu       sync.Mutex
	at       *store.Cursor // how far it has been read; nil before the first reading
	whole    time.Time     // when the last reading began that left nothing out
	begun    uint64        // readings
	watchers map[*watcher]bool
}

// watcher is one stream. It begins with the first reading that begins after it
// came: whoever comes at the same time shares that. What it has not taken waits
// in its queue; when that is full the stream is cut, and its caller comes back
// with the cursor.
type watcher struct {
	came  uint64        // how many readings had begun by then
	at    *store.Cursor // where it begins; set when begun is closed
	begun chan struct{}
	queue chan *reading
	cut   chan struct{}
}

// reading is what was new in all feeds at one time, and never changes: everybody
// who watches has the same one.
type reading struct {
	number   uint64
	began    time.Time
	whole    bool          // no partition was left out
	from, to *store.Cursor // to is nil where nothing could be read
	changes  []changed
	told     []told // the changes as those hear of them who have all up to from
}

// changed is one change with the incident as it is by now.
type changed struct {
	store.FeedEntry

	incident *incident.Incident // nil when it is gone, or damaged
}

const (
	feedChunk = 500 // entries of one partition in one reading
	feedQueue = 64  // readings that may wait for a slow caller
	feedPoll  = time.Second
	joinWait  = 8 * time.Second // two readings of masters of which one hangs
)

func newFeed(s feedSource, shape func() shaper, now func() time.Time, log *slog.Logger) *feed {
	return &feed{
		store: s, shape: shape, now: now, log: log, wake: make(chan struct{}, 1), watchers: map[*watcher]bool{},
	}
}

// run follows until ctx ends.
func (f *feed) run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { f.listen(ctx) })
	for ctx.Err() == nil {
		f.step(ctx)
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
func (f *feed) step(ctx context.Context) {
	for {
		r, ok := f.next()
		if !ok {
			return
		}
		err := f.fill(ctx, r)
		if errors.Is(err, store.ErrCursorOld) { // out for a day: each watcher finds out by himself
			f.cutAll()
			continue
		}
		f.note(ctx, err)
		if r.to != nil {
			f.hand(r)
		}
		if err != nil || len(r.changes) == 0 {
			return
		}
	}
}

// note tells when the feeds cease to be readable, and when all of them are again:
// every wake would say it otherwise.
func (f *feed) note(ctx context.Context, err error) {
	sick := err != nil
	if ctx.Err() != nil || sick == f.sick {
		return
	}
	if f.sick = sick; sick {
		f.log.WarnContext(ctx, "feed not readable, or not all of it: who watches hears less", slog.Any("err", err))
	} else {
		f.log.InfoContext(ctx, "feed readable again")
	}
}

// heard reports whether what happened until a heartbeat ago has been handed out,
// so that silence means that nothing did. Just after the clock was set far, either
// way, that is not known.
func (f *feed) heard() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now().Sub(f.whole).Abs() <= heartbeatEvery
}

// next begins a reading, if somebody watches. Whoever comes when nobody does
// begins at the end.
func (f *feed) next() (*reading, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.watchers) == 0 {
		f.at = nil
		return nil, false
	}
	f.begun++
	return &reading{number: f.begun, began: f.now(), from: f.at}, true
}

// fill reads what is behind the reading's beginning; the first one finds the end
// of the feeds. Where the reading has an end, the error is that of some partitions.
func (f *feed) fill(ctx context.Context, r *reading) (err error) {
	if r.from == nil {
		r.to, err = f.store.FeedTail(ctx)
	} else {
		r.changes, r.to, err = f.read(ctx, r.from)
	}
	r.whole = err == nil
	switch {
	case r.to == nil || r.from == nil:
	case len(r.changes) == 0:
		r.to = r.from // the same one: who stands there goes on sharing it
	default:
		r.told = tell(f.shape(), r.from, r.changes)
	}
	return err
}

// read returns the changes behind a cursor, each with its incident of now, and the
// cursor behind them; of all partitions when none is named. With a cursor beside
// it the error is that of some partitions.
func (f *feed) read(ctx context.Context, at *store.Cursor, of ...store.Partition) ([]changed, *store.Cursor, error) {
	entries, next, out := f.store.Feeds(ctx, at, feedChunk, of...)
	if len(entries) == 0 {
		return nil, next, out
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
	return changes, next, out
}

// hand gives a reading to every watcher, and has those begin behind it who had
// come before it began.
func (f *feed) hand(r *reading) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.at = r.to; r.whole {
		f.whole = r.began
	}
	for w := range f.watchers {
		switch {
		case w.at != nil:
			f.push(w, r)
		case w.came < r.number:
			w.at = r.to
			close(w.begun)
		}
	}
}

// push queues a reading, or cuts who does not keep up; the caller holds the lock.
func (f *feed) push(w *watcher, r *reading) {
	if len(r.changes) == 0 {
		return
	}
	select {
	case w.queue <- r:
	default:
		f.stop(w)
	}
}

// stop cuts a watcher; the caller holds the lock.
func (f *feed) stop(w *watcher) {
	close(w.cut)
	delete(f.watchers, w)
}

// cutAll cuts everybody who has begun, and has the next reading begin at the end.
func (f *feed) cutAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at = nil
	for w := range f.watchers {
		if w.at != nil {
			f.stop(w)
		}
	}
}

// join adds a watcher. Every change behind the place where it begins will be in
// its queue, and nothing that lies before it.
func (f *feed) join(ctx context.Context) (*watcher, error) {
	w := f.enter()
	f.nudge()
	t := time.NewTimer(joinWait)
	defer t.Stop()
	select {
	case <-w.begun:
		return w, nil
	case <-ctx.Done():
		f.leave(w)
		return nil, ctx.Err()
	case <-t.C:
		f.leave(w)
		return nil, fault.New(fault.Unavailable, "STORE_UNAVAILABLE", "the feed cannot be read now; try again").After(feedPoll)
	}
}

func (f *feed) enter() *watcher {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := &watcher{came: f.begun, begun: make(chan struct{}), queue: make(chan *reading, feedQueue), cut: make(chan struct{})}
	f.watchers[w] = true
	return w
}

func (f *feed) leave(w *watcher) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.watchers, w)
}
