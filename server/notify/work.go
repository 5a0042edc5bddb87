package notify

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/server/attention"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// Do sees to one item of work. It returns at once; done is called, once, when
// the item has come to its end (nil), has to be done again (an error), or ctx
// has ended and somebody else sees to it from now on.
func (n *Notifier) Do(ctx context.Context, item store.WorkItem, done func(error)) {
	var once sync.Once
	end := func(err error) { once.Do(func() { done(err) }) }
	forget := context.AfterFunc(ctx, func() { end(ctx.Err()) })
	finish := func(err error) {
		forget()
		end(err)
	}
	n.running.Go(func() {
		if err := n.work(ctx, item, finish); err != nil {
			finish(fmt.Errorf("%s for incident %s: %w", workName(item.Work.Kind), item.Work.Incident, err))
		}
	})
}

// work begins an item. When it returns nil, done has been called or will be.
func (n *Notifier) work(ctx context.Context, item store.WorkItem, done func(error)) error {
	in, err := n.incident(ctx, item)
	if fault.KindOf(err) == fault.NotFound && err != nil {
		n.log.WarnContext(ctx, "work dropped: its incident is gone", slog.String("incident", string(item.Work.Incident)))
		done(nil)
		return nil
	}
	if err != nil {
		return err
	}
	job := job{item: item, work: item.Work, in: in, done: done, at: committed(item, n.now())}
	job.ctx, job.span = n.trace(ctx, item.Work)
	if err := n.carryOut(job); err != nil {
		job.span.RecordError(err)
		job.span.End()
		return err
	}
	return nil
}

// incident returns what the item is about. The commit that wrote it has just
// told, mostly: should the incident have moved on in the moment since, the last
// look refuses the page.
func (n *Notifier) incident(ctx context.Context, item store.WorkItem) (*incident.Incident, error) {
	if item.Incident != nil {
		return item.Incident, nil
	}
	return n.o.Ledger.Incident(ctx, item.Work.Incident)
}

// carryOut begins an item, by its kind.
func (n *Notifier) carryOut(j job) error {
	switch j.work.Kind {
	case incident.WorkPage:
		return n.page(j)
	case incident.WorkReplace:
		return n.replace(j)
	case incident.WorkNotice, incident.WorkConfirm:
		return n.notice(j)
	case incident.WorkUncovered:
		return n.uncovered(j)
	case incident.WorkCloseMerged, incident.WorkUnlink:
	}
	return fault.New(fault.Internal, "WORK_KIND", "the work is not the notifier's", "kind", workName(j.work.Kind))
}

// job is an item of work in hand.
type job struct {
	ctx  context.Context //nolint:containedctx // of Do: ends when the item becomes somebody else's
	item store.WorkItem
	work incident.Work
	in   *incident.Incident // as it was when the work was begun
	at   time.Time          // when it was decided
	done func(error)
	span trace.Span
}

// name names the deliveries of the item. The revision before the item's id
// tells pages from before a decision from those of it.
func (j *job) name() string {
	return strconv.FormatUint(j.work.Revision, 36) + "." + j.item.Key()
}

// revisionOf returns the incident's revision that a delivery's work was written by.
func revisionOf(work string) (uint64, bool) {
	head, _, ok := strings.Cut(work, ".")
	if !ok {
		return 0, false
	}
	r, err := strconv.ParseUint(head, 36, 64)
	return r, err == nil
}

// committed is the instant of the commit that wrote the item: its id begins with it.
func committed(item store.WorkItem, now time.Time) time.Time {
	head, _, _ := strings.Cut(item.ID, "-")
	ms, err := strconv.ParseInt(head, 10, 64)
	at := time.UnixMilli(ms)
	if err != nil || ms <= 0 || at.After(now) {
		return now
	}
	return at.UTC()
}

// trace continues the trace of the event that began the incident.
func (n *Notifier) trace(ctx context.Context, w incident.Work) (context.Context, trace.Span) {
	if n.o.Tracer == nil {
		return ctx, trace.SpanFromContext(ctx)
	}
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": w.Trace})
	return n.o.Tracer.Start(ctx, workName(w.Kind), trace.WithAttributes( //nolint:spancheck // ended with the item
		attribute.String("tocsin.incident", string(w.Incident)), attribute.String("tocsin.user", string(w.User)),
		attribute.String("tocsin.method", string(w.Method)),
	))
}

// end ends the item.
func (j *job) end() {
	j.span.End()
	j.done(nil)
}

// page carries out one contact step.
func (n *Notifier) page(j job) error {
	if n.held(j.in) {
		return n.whenResumed(j)
	}
	w := j.work
	user, ok := n.o.Directory.User(w.User)
	method, known := user.Method(w.Method)
	count := func(verdict string) { n.metrics.pages.WithLabelValues(channelName(method.Kind), verdict).Inc() }
	switch {
	case w.Generation != j.in.Generation:
		count("withdrawn")
		if err := n.unsent(j, method, incident.DeliveryWithdrawn, "not needed any more when its turn came", w.Deadline); err != nil {
			return err
		}
		j.end()
		return nil
	case !w.Deadline.IsZero() && !n.now().Before(w.Deadline):
		count("expired")
		if err := n.unsent(j, method, incident.DeliveryExpired, "too late", w.Deadline); err != nil {
			return err
		}
		n.undelivered(j.ctx, w.Incident, incident.Undelivered{User: w.User, Method: w.Method, Generation: w.Generation, Reason: "too late", Passing: true})
		j.end()
		return nil
	case !ok || !known || !method.Verified:
		count("no_method")
		n.undelivered(j.ctx, w.Incident, incident.Undelivered{User: w.User, Method: w.Method, Generation: w.Generation, Reason: "the method is gone"})
		j.end()
		return nil
	}
	outcome, err := n.attend(j.ctx, w.User, attention.Page{Work: j.name(), Reason: w.Reason, Item: attention.Item{
		Incident: w.Incident, Generation: w.Generation, Version: j.in.Version, Urgency: w.Urgency, Method: w.Method, Loud: w.Loud,
	}}, j.item.Person)
	if err != nil {
		return err
	}
	n.metrics.pulled(w)
	if outcome.Verdict != attention.SendNow {
		count(verdictName(outcome.Verdict))
		if err := n.withheld(j, method, outcome); err != nil {
			return err
		}
		j.end()
		return nil
	}
	count("sent")
	n.send(j.ctx, n.pageEnvelope(j, user, method, outcome))
	return nil
}

// heldPoll is how often a page looks whether paging is still held.
const heldPoll = time.Second

// held reports whether pages of the incident have to wait: all do, or those of
// incidents that were due long ago.
func (n *Notifier) held(in *incident.Incident) bool {
	set := n.o.Directory.Settings()
	return set.Held || in.WaitsAsOverdue(set.OverdueBefore)
}

// whenResumed keeps a page until paging goes on, and begins it then on what the
// incident is by that time.
func (n *Notifier) whenResumed(j job) error {
	for n.held(j.in) {
		for again := true; again; again = n.o.Directory.Settings().Held {
			if !wait(j.ctx, heldPoll) {
				return j.ctx.Err()
			}
		}
		in, err := n.o.Ledger.Incident(j.ctx, j.work.Incident)
		if err != nil {
			return err
		}
		j.in, j.item.Person = in, nil
	}
	return n.page(j)
}

// pageEnvelope words the page of one incident.
func (n *Notifier) pageEnvelope(j job, user roster.User, method roster.Method, outcome attention.Outcome) envelope {
	w, level := j.work, n.level(user, j.in.Service)
	text := pageWords(j.in, n.serviceName(j.in), w, level)
	e := envelope{
		work: j.name(), user: user, method: method, urgency: w.Urgency, page: true,
		doc: store.IncidentDoc(w.Incident), generation: w.Generation, alive: j.ctx.Err,
		kind: push.KindPage, incident: j.in, words: text, collapse: collapseID(w.Incident), open: outcome.Open, badge: &outcome.Open, again: w.Number > 1,
		letter: "page", lines: n.letterLines(j.in, text, w), refs: []Ref{n.ref(j.in, level)},
		reason: reasonName(w.Reason), at: j.at, deadline: n.deadline(w.Deadline), privacy: level,
		shadow: w.Mode, sealed: n.fuller(level, j.in, func(p roster.Privacy) words { return pageWords(j.in, n.serviceName(j.in), w, p) }),
	}
	if j.in.MultiAck || w.Mode != 0 {
		e.still = func(ctx context.Context) error { return n.stillAsked(ctx, w) }
	}
	e.sound, e.level = loudness(w.Urgency, outcome.Sound, w.Loud)
	if w.Reason == incident.PageNoReceipt {
		e.letter = "summary"
		if outcome.Open > 1 {
			e.lines = append([]string{count(outcome.Open, "incident needs you", "incidents need you"), ""}, e.lines...)
		}
	}
	e.failed = func(ctx context.Context, f failure) {
		n.undelivered(ctx, w.Incident, incident.Undelivered{User: w.User, Method: w.Method, Generation: w.Generation, Reason: f.reason, Passing: f.passing})
	}
	e.ended = func(_ context.Context, r result) {
		if !r.stopped { // otherwise the item stays, for whoever goes on
			j.end()
		}
	}
	return e
}

// stillAsked refuses a page to whoever has acknowledged on a level that goes on
// asking others, or as a shadow: the pages of the others are of the same generation. It reads after the
// attempt was recorded, so no acknowledgement from before that is missed.
func (n *Notifier) stillAsked(ctx context.Context, w incident.Work) error {
	in, err := n.o.Ledger.Incident(ctx, w.Incident)
	if err != nil {
		return err
	}
	if !needs(in, w.User) {
		return push.ErrNotNeeded
	}
	return nil
}

// loudness says how a page is heard and how far it interrupts.
func loudness(u incident.Urgency, sound, loud bool) (push.Sound, push.Level) {
	switch {
	case !sound:
		return push.SoundNone, push.LevelPassive
	case u == incident.Low:
		return push.SoundNormal, push.LevelActive
	case loud:
		return push.SoundCritical, push.LevelCritical
	}
	return push.SoundNormal, push.LevelTimeSensitive
}

// withheld records that a page goes out with others, later: who asks why a
// phone stayed silent finds it. The message that it goes out with makes records
// of its own.
func (n *Notifier) withheld(j job, method roster.Method, o attention.Outcome) error {
	if o.Verdict == attention.OnCard {
		return nil // the card makes its own records
	}
	why := "collected with others until " + o.Until.UTC().Format(time.RFC3339)
	if o.Verdict == attention.HeldBack {
		why = "held for quiet hours until " + o.Until.UTC().Format(time.RFC3339)
	}
	return n.unsent(j, method, incident.DeliveryWithdrawn, why, o.Until)
}

// unsent records that a page was not handed to anybody, and why. It stands for
// every device of the person.
func (n *Notifier) unsent(j job, method roster.Method, state incident.DeliveryState, why string, until time.Time) error {
	w := j.work
	doc := store.IncidentDoc(w.Incident)
	id, err := store.DeliveryID(doc, j.name(), "withheld")
	if err != nil {
		return err
	}
	return n.o.Ledger.RecordDelivery(j.ctx, doc, incident.Delivery{
		ID: id, Work: j.name(), User: w.User, Method: w.Method, Kind: method.Kind, Urgency: w.Urgency,
		State: state, Reason: why, Queued: j.at, Ended: n.now(), Deadline: until,
	})
}

// undelivered reports that a contact step has failed for good. When that
// cannot be written, the wait for the receipt, or the escalation, still comes.
func (n *Notifier) undelivered(ctx context.Context, id incident.ID, u incident.Undelivered) {
	n.log.WarnContext(ctx, "page undelivered on every way of a method", slog.String("incident", string(id)),
		slog.String("user", string(u.User)), slog.String("method", string(u.Method)), slog.String("reason", u.Reason))
	if n.o.Undelivered == nil {
		return
	}
	if err := n.o.Undelivered(context.WithoutCancel(ctx), id, u); err != nil && fault.KindOf(err) != fault.NotFound {
		n.log.ErrorContext(ctx, "the next way could not be pulled forward", slog.String("incident", string(id)), slog.Any("error", err))
	}
}

// defaultLife is how long a page is worth sending when nobody said.
const defaultLife = 10 * time.Minute

func (n *Notifier) deadline(at time.Time) time.Time {
	if at.IsZero() {
		return n.now().Add(defaultLife)
	}
	return at
}

// collapseID is the name under which a phone replaces what it shows of an incident.
func collapseID(id incident.ID) string { return "inc-" + string(id) }

func workName(k incident.WorkKind) string {
	names := [...]string{"", "page", "replace", "notice", "confirm", "uncovered", "close_merged", "unlink"}
	if int(k) < len(names) {
		return names[k]
	}
	return "unknown"
}

func verdictName(v attention.Verdict) string {
	names := [...]string{"", "sent", "on_card", "bundled", "held", "repeated"}
	if int(v) < len(names) {
		return names[v]
	}
	return ""
}

func reasonName(r incident.PageReason) string {
	names := [...]string{"", "assigned", "step", "reminder", "no_receipt", "rejected", "fallback", "catch_all", "responder"}
	if int(r) < len(names) {
		return names[r]
	}
	return ""
}
