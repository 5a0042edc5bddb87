package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/respond"
	"github.com/tocsin-oncall/tocsin/server/store"
)

const (
	workScan  = 512                   // items read at once when taking up what others left
	handOn    = 50 * time.Millisecond // how long what a page is handed on with is taken for what is
	maxTries  = 5                     // failed handlings, over all owners, before an item is a dead letter
	firstWait = 250 * time.Millisecond
	longWait  = 30 * time.Second
)

// queued is an item that is to be begun.
type queued struct {
	store.WorkItem

	since time.Time // when its commit was told of; zero: it was read, or has waited
}

// begin takes an item that was written in this process. It never blocks.
func (o *owner) begin(item store.WorkItem) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, is := o.begun[item.ID]; is {
		return
	}
	o.begun[item.ID] = decided(item)
	o.queue = append(o.queue, queued{item, o.desk.Now()})
	o.poke()
}

// decided is when a page was decided: its id begins with it. Zero for what is no page.
func decided(item store.WorkItem) time.Time {
	head, _, _ := strings.Cut(item.ID, "-")
	ms, err := strconv.ParseInt(head, 10, 64)
	if err != nil || item.Work.Kind != incident.WorkPage {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// oldestPage returns when the oldest page in hand was decided; zero for none.
func (o *owner) oldestPage() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	var oldest time.Time
	for _, at := range o.begun {
		if !at.IsZero() && (oldest.IsZero() || at.Before(oldest)) {
			oldest = at
		}
	}
	return oldest
}

// takeUp begins what was handed over in memory, what the store holds besides,
// and what failed and has waited long enough.
func (o *owner) takeUp(ctx context.Context) error {
	if o.take(&o.work) {
		if err := o.scan(ctx); err != nil {
			o.set(&o.work)
			return err
		}
	}
	for _, item := range o.ready() {
		o.hand(ctx, item)
	}
	return nil
}

// ready takes the items to begin now. While paging is held its pages stay in
// the queue; what makes phones quiet goes on.
func (o *owner) ready() []store.WorkItem {
	held := o.desk.View().Settings().Held
	o.mu.Lock()
	defer o.mu.Unlock()
	var now []store.WorkItem
	var later []queued
	outdate(o.queue, o.desk.Now())
	for _, item := range o.queue {
		if held && item.Work.Kind == incident.WorkPage {
			later = append(later, item)
			continue
		}
		now = append(now, item.WorkItem)
	}
	o.queue = later
	return now
}

// outdate takes from the items what they were handed on with where that may have
// changed: it was a while ago, or what a later commit wants done is here as well.
// The last look would refuse such a page, but its sound would be used up.
func outdate(queue []queued, now time.Time) {
	latest := make(map[incident.ID]uint64, len(queue)) // revision
	for _, item := range queue {
		latest[item.Work.Incident] = max(latest[item.Work.Incident], item.Work.Revision)
	}
	for i := range queue {
		if item := &queue[i]; now.Sub(item.since) > handOn || item.Work.Revision < latest[item.Work.Incident] {
			item.Incident, item.Person = nil, nil
		}
	}
}

// scan reads the work stream for items that nobody here has begun: those of
// other instances' commits, and of the owner before this one.
func (o *owner) scan(ctx context.Context) error {
	after := ""
	var all []store.WorkItem
	for {
		items, err := o.store.Work(ctx, o.partition, after, workScan)
		if err != nil {
			return fmt.Errorf("read the work of partition %s: %w", o.partition, err)
		}
		all = append(all, items...)
		if len(items) < workScan {
			break
		}
		after = items[len(items)-1].ID
	}
	for _, item := range byNeed(all) {
		o.begin(item)
	}
	return nil
}

// byNeed puts what was left over in the order in which somebody needs it: the
// pages of high urgency first, then by severity, then the newest, as the oldest
// have waited in vain already. What belongs to one incident keeps its order and
// goes by its newest page.
func byNeed(items []store.WorkItem) []store.WorkItem {
	type group struct {
		items []store.WorkItem
		last  incident.Work // its newest page; zero: none
		at    int           // where its newest item stood
	}
	groups := map[incident.ID]*group{}
	var all []*group
	for i, item := range items {
		g := groups[item.Work.Incident]
		if g == nil {
			g = &group{}
			groups[item.Work.Incident], all = g, append(all, g)
		}
		g.items, g.at = append(g.items, item), i
		if item.Work.Kind == incident.WorkPage {
			g.last = item.Work
		}
	}
	slices.SortStableFunc(all, func(a, b *group) int {
		rank := func(g *group) int { // high before low before what is no page
			switch {
			case g.last.Kind != incident.WorkPage:
				return 2
			case g.last.Urgency == incident.High:
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.last.Severity, b.last.Severity), cmp.Compare(b.at, a.at))
	})
	sorted := make([]store.WorkItem, 0, len(items))
	for _, g := range all {
		sorted = append(sorted, g.items...)
	}
	return sorted
}

// hand gives an item to whoever does it, and sees to its end.
func (o *owner) hand(ctx context.Context, item store.WorkItem) {
	o.ended.Add(1)
	end := func(err error) {
		defer o.ended.Done()
		o.end(ctx, item, err)
	}
	switch item.Work.Kind {
	case incident.WorkCloseMerged:
		w := item.Work
		end(settled(o.desk.FinishMerge(ctx, w.Incident, w.Other, w.Actor)))
	case incident.WorkUnlink:
		w := item.Work
		end(o.store.Unlink(ctx, w.Service, w.Key, w.Incident))
	default:
		o.notifier.Do(ctx, item, end)
	}
}

// settled takes a precondition that does not hold any more as done: a merge
// whose target has ended meanwhile leaves its source open, and pages go on.
func settled(err error) error {
	if k := fault.KindOf(err); k == fault.Precondition || k == fault.NotFound {
		return nil
	}
	return err
}

// end takes a finished item away, or has it done again after a while.
func (o *owner) end(ctx context.Context, item store.WorkItem, err error) {
	if err == nil {
		if err = o.store.WorkDone(ctx, o.partition, item.ID); err == nil {
			o.forget(item)
			return
		}
	}
	if ctx.Err() != nil || o.handsOver(err) {
		return // the next owner does it
	}
	o.metrics.failed.Inc()
	wait := firstWait
	if fault.KindOf(err) != fault.Unavailable { // an outage is not the item's fault
		tries, countErr := o.store.WorkFailed(ctx, o.partition, item.ID)
		if countErr == nil && tries >= maxTries {
			o.giveUp(ctx, item, err)
			return
		}
		wait = min(firstWait<<max(tries, 1), longWait)
	}
	o.log.WarnContext(ctx, "work failed; it is done again", slog.String("work", item.ID),
		slog.String("incident", string(item.Work.Incident)), slog.Any("error", err))
	o.again(ctx, item, wait/2+rand.N(wait)) //nolint:gosec // jitter
}

// again has an item done once more after a while.
func (o *owner) again(ctx context.Context, item store.WorkItem, wait time.Duration) {
	o.ended.Go(func() {
		sleep(ctx, wait)
		o.mu.Lock()
		o.queue = append(o.queue, queued{WorkItem: item})
		o.mu.Unlock()
		o.poke()
	})
}

// giveUp makes an item a dead letter. A page that cannot be sent is not the
// end of its incident: the next way of reaching the person runs at once.
func (o *owner) giveUp(ctx context.Context, item store.WorkItem, cause error) {
	w := item.Work
	o.log.ErrorContext(ctx, "work given up", slog.String("work", item.ID), slog.String("incident", string(w.Incident)), slog.Any("error", cause))
	o.metrics.dead.Inc()
	if w.Kind == incident.WorkPage {
		cmd := incident.Undelivered{User: w.User, Method: w.Method, Generation: w.Generation, Reason: "the page could not be carried out"}
		if _, err := o.desk.Do(ctx, w.Incident, cmd, respond.Options{}); err != nil && fault.KindOf(err) != fault.NotFound {
			o.log.ErrorContext(ctx, "the next way could not be pulled forward", slog.String("incident", string(w.Incident)), slog.Any("error", err))
		}
	}
	err := o.store.DeadLetterWork(ctx, item, cause.Error())
	if err != nil && !errors.Is(err, store.ErrInboxGone) {
		o.log.ErrorContext(ctx, "dead letter not written; the work stays", slog.String("work", item.ID), slog.Any("error", err))
		o.again(ctx, item, longWait)
		return
	}
	o.forget(item)
}

func (o *owner) forget(item store.WorkItem) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.begun, item.ID)
}
