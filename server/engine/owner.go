package engine

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/respond"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// dueBatch is how many documents are decided at once.
const dueBatch = 64

// poisonPause is how long a document that no rule could decide is left alone.
const poisonPause = 5 * time.Minute

// owner runs one partition.
type owner struct {
	partition store.Partition
	store     *store.Store
	desk      *respond.Desk
	directory Directory
	notifier  Notifier
	overdue   func(ctx context.Context, before time.Time) error
	log       *slog.Logger
	metrics   *Metrics
	stop      context.CancelFunc

	overtaken overtaken
	sorting   sync.Mutex // held while timers are set aside or taken back
	shelf     shelf

	turns   *turns            // of all owners
	wake    chan struct{}     // has room for one: something is to be done
	arrived chan struct{}     // has room for one: there may be entries in the inbox
	first   chan *store.First // taken when no entries are being decided: one that begins an inbox

	mu    sync.Mutex
	next  time.Time            // when the earliest document is due, as far as is known
	work  bool                 // there may be work that nobody here has begun
	begun map[string]time.Time // items in hand, by id: of a page, when it was decided
	queue []queued             // to begin
	ended sync.WaitGroup
}

func newOwner(e *Engine, p store.Partition, stop context.CancelFunc) *owner {
	return &owner{
		partition: p, store: e.store, desk: e.desk, directory: e.Directory, notifier: e.Notifier, overdue: e.Overdue,
		log: e.log.With(slog.String("partition", p.String())), metrics: e.Metrics, stop: stop, turns: e.turns,
		wake: make(chan struct{}, 1), arrived: make(chan struct{}, 1), first: make(chan *store.First), work: true, begun: map[string]time.Time{},
	}
}

// run is the loop of the partition for what is due and what has to be sent;
// events have their own, so that an escalation never waits behind a storm of
// them. Its first round takes up what the owner before it has left.
func (o *owner) run(ctx context.Context) {
	defer o.ended.Wait()
	o.ended.Go(func() { o.receive(ctx) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if err := o.round(ctx); err != nil && ctx.Err() == nil {
			if !o.handsOver(err) {
				o.log.WarnContext(ctx, "partition interrupted", slog.Any("error", err))
			}
			o.rest(ctx, err)
			o.poke()
		}
		timer.Reset(o.untilNext())
		select {
		case <-ctx.Done():
			return
		case <-o.wake:
		case <-timer.C:
		}
	}
}

// round does whatever there is to do now.
func (o *owner) round(ctx context.Context) error {
	if err := o.sort(ctx, o.desk.Now()); err != nil {
		return err
	}
	if err := o.tick(ctx); err != nil {
		return err
	}
	return o.takeUp(ctx)
}

// tick decides the documents that are due. While paging is held they wait.
func (o *owner) tick(ctx context.Context) error {
	for {
		now := o.desk.Now()
		if o.nextDue().After(now) || o.desk.View().Settings().Held {
			return nil
		}
		o.setNext(time.Time{}) // what is armed from here on counts, whether it is found or not
		docs, next, err := o.store.Due(ctx, o.partition, now, dueBatch)
		if err != nil {
			o.setNext(now)
			return fmt.Errorf("look for due documents of partition %s: %w", o.partition, err)
		}
		o.sooner(next)
		if err := o.decideDue(ctx, docs, now); err != nil {
			o.setNext(now)
			return err
		}
		if len(docs) < dueBatch {
			return nil
		}
	}
}

// decideDue decides documents whose time has come. One that cannot be decided
// is put off and reported, so that it does not hold up the others.
func (o *owner) decideDue(ctx context.Context, docs []store.Doc, now time.Time) error {
	for i, err := range o.decideEach(ctx, docs, now) {
		switch {
		case err == nil, fault.KindOf(err) == fault.Conflict:
		case fault.KindOf(err) == fault.Unavailable || ctx.Err() != nil:
			return err
		default:
			o.log.ErrorContext(ctx, "timer put off: the document could not be decided", slog.String("document", docs[i].String()), slog.Any("error", err))
			o.metrics.poisoned.Inc()
			if err := o.store.Postpone(ctx, docs[i], now.Add(poisonPause)); err != nil {
				return fmt.Errorf("put off the timer of %s: %w", docs[i], err)
			}
		}
	}
	return nil
}

// decideEach decides the documents, the incidents among them together, and
// returns what became of each.
func (o *owner) decideEach(ctx context.Context, docs []store.Doc, now time.Time) []error {
	errs := make([]error, len(docs))
	var wg sync.WaitGroup
	var ids []incident.ID
	var which []int
	for i, d := range docs {
		if d.Person != "" {
			wg.Go(func() { errs[i] = o.notifier.Tick(ctx, d, now) })
		} else {
			ids, which = append(ids, d.Incident), append(which, i)
		}
	}
	for k, done := range o.desk.Tick(ctx, ids...) {
		if errs[which[k]] = done.Err; done.Err != nil {
			continue
		}
		if due := done.Incident.Due(); !due.IsZero() && !due.After(now) {
			o.sooner(due) // more is due at once: the next round decides it
		}
	}
	wg.Wait()
	return errs
}

// poke lets the loop look again.
func (o *owner) poke() {
	select {
	case o.wake <- struct{}{}:
	default: // it will
	}
}

// woken takes in a hint that there is something to do.
func (o *owner) woken(ctx context.Context, w store.Wake) {
	if w.Kinds&store.WakeInbox != 0 && !o.offer(ctx, w.First) {
		o.arrive()
	}
	o.mu.Lock()
	if w.Kinds&store.WakeWork != 0 && !w.Local {
		o.work = true
	}
	earlier := w.Kinds&store.WakeTimer != 0 && (o.next.IsZero() || w.Due.Before(o.next))
	if earlier {
		o.next = w.Due
	}
	poke := o.work || earlier
	o.mu.Unlock()
	if poke {
		o.poke()
	}
}

// feel takes in what the store holds for the partition.
func (o *owner) feel(p store.Pulse) {
	if p.Inbox > 0 {
		o.arrive()
	}
	o.mu.Lock()
	o.work = o.work || p.Work > len(o.begun) // what is queued has begun
	resumed := o.shelf.known && !o.shelf.before.Equal(o.desk.View().Settings().OverdueBefore)
	if !p.Due.IsZero() && (o.next.IsZero() || p.Due.Before(o.next)) {
		o.next = p.Due
	}
	poke := o.work || resumed || (!o.next.IsZero() && !o.next.After(o.desk.Now()))
	o.mu.Unlock()
	if poke {
		o.poke()
	}
}

// take returns a flag and clears it.
func (o *owner) take(flag *bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	was := *flag
	*flag = false
	return was
}

func (o *owner) set(flag *bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	*flag = true
}

func (o *owner) nextDue() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.next
}

// setNext notes when the earliest document is due; zero: not known.
func (o *owner) setNext(at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.next = at
}

// sooner notes that a document is due at an instant, so that one that was armed
// meanwhile and is due before it is not forgotten.
func (o *owner) sooner(at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !at.IsZero() && (o.next.IsZero() || at.Before(o.next)) {
		o.next = at
	}
}

// idle is how long the loop sleeps when nothing is due; the pulse wakes it before.
const idle = time.Minute

func (o *owner) untilNext() time.Duration {
	if o.desk.View().Settings().Held { // looked at again in a moment; nothing is decided before
		return heartbeat
	}
	next := o.nextDue()
	if next.IsZero() {
		return idle
	}
	return min(max(next.Sub(o.desk.Now()), 0), idle)
}
