package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/respond"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// inboxBatch is how many entries are read at once. It bounds how long a page
// waits behind others that came with it.
const inboxBatch = 256

// maxHops is how often an event follows a merged incident to another
// partition before it begins an incident of its own.
const maxHops = 3

// drainInbox decides everything that waits in the inbox. It returns an error
// only when the store does not answer: what it could not decide stays.
func (o *owner) drainInbox(ctx context.Context) error {
	for {
		entries, err := o.store.Inbox(ctx, o.partition, inboxBatch)
		if err != nil {
			return fmt.Errorf("read the inbox of partition %s: %w", o.partition, err)
		}
		if len(entries) == 0 {
			return nil
		}
		if err := o.takeIn(ctx, entries); err != nil {
			return err
		}
	}
}

// takeIn decides the entries in waves: each wave has one step of every key, so
// that the order within a key is kept and all keys travel in one batch.
func (o *owner) takeIn(ctx context.Context, entries []store.InboxEntry) error {
	for lanes := byKey(entries); len(lanes) > 0; {
		steps := make([]step, len(lanes))
		for i := range lanes {
			steps[i] = lanes[i].next()
		}
		if err := o.decideAll(ctx, steps); err != nil {
			return err
		}
		rest := lanes[:0]
		for _, l := range lanes {
			if len(l) > 0 {
				rest = append(rest, l)
			}
		}
		lanes = rest
	}
	return nil
}

// lane is the entries of one key that have not been decided, in order of arrival.
type lane []store.InboxEntry

// byKey sorts entries into lanes, in the order of each key's first.
func byKey(entries []store.InboxEntry) []lane {
	index := make(map[store.LinkedKey]int, len(entries))
	var lanes []lane
	for _, e := range entries {
		k := store.LinkedKey{Service: e.Service, Key: e.Key}
		i, ok := index[k]
		if !ok {
			i = len(lanes)
			index[k] = i
			lanes = append(lanes, nil)
		}
		lanes[i] = append(lanes[i], e)
	}
	return lanes
}

// step is one thing to decide for a key: an event, or a run of triggers folded into one.
type step struct {
	store.InboxEntry // the last of the run

	run      []store.InboxEntry // all of it, in order
	ids      []string           // of the run
	count    int
	severity event.Severity // the worst of the run
}

// next takes the next step off the lane.
func (l *lane) next() step {
	first := (*l)[0]
	s := step{InboxEntry: first, ids: []string{first.ID}, count: 1, severity: first.Event.Severity}
	n := 1
	for ; n < len(*l) && first.Event.Action == event.Trigger && first.Hops == 0; n++ {
		e := (*l)[n]
		if e.Event.Action != event.Trigger || e.Hops != 0 {
			break
		}
		s.InboxEntry, s.count = e, s.count+1
		s.severity = s.severity.Worse(e.Event.Severity)
		s.ids = append(s.ids, e.ID)
	}
	s.Event.Severity = s.severity
	s.run = (*l)[:n]
	*l = (*l)[n:]
	return s
}

// decideAll decides one step for each of several keys and commits the
// decisions together. A refused commit is decided again: somebody was faster.
func (o *owner) decideAll(ctx context.Context, steps []step) error {
	for len(steps) > 0 {
		found, err := o.look(ctx, steps)
		if err != nil {
			return err
		}
		var commits []store.Commit
		var which []step
		var later []step
		taken := map[incident.ID]bool{}
		for i, s := range steps {
			if in := found[i].in; in != nil && taken[in.ID] {
				later = append(later, s) // two keys of one incident: one after the other
				continue
			} else if in != nil {
				taken[in.ID] = true
			}
			c, err := o.settle(ctx, s, found[i])
			if err != nil {
				return err
			}
			if c != nil {
				commits, which = append(commits, *c), append(which, s)
			}
		}
		for i, r := range o.store.CommitAll(ctx, commits) {
			switch {
			case r.Err == nil:
				o.desk.Tell(r.Committed)
			case errors.Is(r.Err, store.ErrInboxGone): // another owner was here
			case fault.KindOf(r.Err) == fault.Conflict:
				later = append(later, which[i])
			default:
				return fmt.Errorf("commit an event of service %s: %w", which[i].Service, r.Err)
			}
		}
		steps = later
	}
	return nil
}

// place is where an event belongs.
type place struct {
	service catalog.Service
	linked  incident.ID        // what the key leads to; "" for nothing
	in      *incident.Incident // that incident, if it is here and of use
	alert   incident.Alert     // as stored in it
}

// look finds the places of the steps, in as few trips as the store allows.
func (o *owner) look(ctx context.Context, steps []step) ([]place, error) {
	keys := make([]store.LinkedKey, len(steps))
	for i, s := range steps {
		keys[i] = store.LinkedKey{Service: s.Service, Key: s.Key}
	}
	linked, err := o.linked(ctx, keys)
	if err != nil {
		return nil, err
	}
	places := make([]place, len(steps))
	ids := make([]incident.ID, len(steps))
	for i, s := range steps {
		places[i].service = o.service(ctx, s.InboxEntry)
		places[i].linked = linked[keys[i]]
		ids[i] = places[i].linked
		if s.Target != "" {
			ids[i] = s.Target
		}
	}
	incidents, err := o.store.Incidents(ctx, ids...)
	if err != nil {
		return nil, fmt.Errorf("read the incidents of %d events: %w", len(steps), err)
	}
	alerts, err := o.store.AlertsAt(ctx, ids, keys)
	if err != nil {
		return nil, fmt.Errorf("read the alerts of %d events: %w", len(steps), err)
	}
	for i := range places {
		places[i].in, places[i].alert = incidents[i], alerts[i]
		if alerts[i].Count == 0 {
			places[i].alert.Integration = steps[i].Integration
		}
	}
	return places, nil
}

// linked looks the keys up that live in this partition. Those of a forwarded
// event live elsewhere; it carries the incident that they lead to.
func (o *owner) linked(ctx context.Context, keys []store.LinkedKey) (map[store.LinkedKey]incident.ID, error) {
	mine := make([]store.LinkedKey, 0, len(keys))
	for _, k := range keys {
		if store.PartitionOf(string(k.Service)) == o.partition {
			mine = append(mine, k)
		}
	}
	linked, err := o.store.LinkedAll(ctx, mine)
	if err != nil {
		return nil, fmt.Errorf("look up the dedup keys of %d events: %w", len(mine), err)
	}
	return linked, nil
}

// service returns the service of an entry as the directory knows it, after
// catching up with what it knew when the event was accepted. One that is gone
// is taken as a service without a policy: the catch-all is asked.
func (o *owner) service(ctx context.Context, e store.InboxEntry) catalog.Service {
	if err := o.directory.CatchUp(ctx, e.Config); err != nil {
		o.log.WarnContext(ctx, "deciding on an older configuration", slog.Any("error", err))
	}
	svc, ok := o.desk.View().Service(e.Service)
	if !ok {
		return catalog.Service{ID: e.Service, Name: string(e.Service), Urgency: catalog.UrgencyHigh}
	}
	return svc
}

// settle decides one step. It returns nil when there is nothing to commit
// because the entry went elsewhere.
func (o *owner) settle(ctx context.Context, s step, at place) (*store.Commit, error) {
	switch {
	case s.Target == "" && at.service.Disabled:
		return o.drop(ctx, s, DropDisabled), nil
	case s.Event.Action == event.Trigger && o.overtaken.covers(s, o.desk.Now()):
		return o.drop(ctx, s, DropOvertaken), nil
	case s.Hops < maxHops && s.Target == "" && o.elsewhere(at.linked):
		return nil, o.pass(ctx, s, at.linked)
	case s.Hops < maxHops && at.in != nil && at.in.MergedInto != "" && !at.in.Open():
		return nil, o.pass(ctx, s, at.in.MergedInto)
	case s.Target != "" && (at.in == nil || !at.in.Open()):
		return nil, o.bounce(ctx, s)
	}
	if s.Target == "" && o.elsewhere(at.linked) { // it went in circles: it begins an incident of its own
		at.in, at.alert = nil, incident.Alert{}
	}
	if s.Event.Action == event.Resolve {
		o.overtaken.note(s, o.desk.Now())
	}
	cmd := o.command(s, at)
	if cmd == nil {
		return o.drop(ctx, s, dropReason(s, at)), nil
	}
	return o.decide(ctx, s, at, cmd)
}

// command returns what the event means for the incident that its key leads to.
func (o *owner) command(s step, at place) incident.Command {
	by, open := actor(s), at.in != nil && at.in.Open()
	switch s.Event.Action {
	case event.Acknowledge:
		if open {
			return incident.Acknowledge{By: by, ClientAt: s.Event.Timestamp}
		}
	case event.Resolve:
		if open && at.alert.Open {
			return incident.CloseAlert{Alert: at.alert, By: by, At: s.Event.Timestamp}
		}
	case event.Trigger:
		if open {
			return incident.Repeat{Alert: at.alert, Event: s.Event, By: by, Count: s.count}
		}
		if least := at.service.MinSeverity; least != 0 && s.Event.Severity > least {
			return nil
		}
		if o.reopens(at) {
			return incident.Reopen{By: by, Cause: incident.CauseSource, Alert: &at.alert, Event: &s.Event, Count: s.count}
		}
		return incident.Begin{
			ID: store.NewIncidentID(o.partition, o.desk.Now()), Service: at.service, By: by, Trace: s.Trace,
			Alert: incident.Alert{Service: s.Service, Key: s.Key, Integration: s.Integration, Count: s.count}, Event: s.Event,
		}
	}
	return nil
}

// reopens reports whether the key's last incident ended so recently that it goes on.
func (o *owner) reopens(at place) bool {
	return at.in != nil && at.in.MergedInto == "" && o.desk.Now().Sub(at.in.ResolvedAt) <= at.service.ReopenWindow
}

func dropReason(s step, at place) string {
	switch {
	case s.Event.Action == event.Trigger:
		return DropSeverity
	case at.in == nil:
		return DropUnknownKey
	}
	return DropOver
}

// The reasons for which an accepted event leads to nothing.
const (
	DropDisabled   = "SERVICE_DISABLED"   // the service takes no events
	DropSeverity   = "BELOW_MIN_SEVERITY" // the service pages for worse only
	DropOvertaken  = "OVERTAKEN"          // a trigger from before a resolve that came first
	DropUnknownKey = "UNKNOWN_KEY"        // an acknowledge or resolve of a key that nothing is open for
	DropOver       = "ALREADY_OVER"       // a resolve of an alert that is over
)

// decide makes the commit of one command.
func (o *owner) decide(ctx context.Context, s step, at place, cmd incident.Command) (*store.Commit, error) {
	before, id := at.in, incident.ID("")
	if b, ok := cmd.(incident.Begin); ok {
		n, err := o.store.NextNumber(ctx)
		if err != nil {
			return nil, fmt.Errorf("number a new incident: %w", err)
		}
		b.Number = n
		cmd, before, id = b, nil, b.ID
	} else {
		id = before.ID
	}
	dec, err := o.desk.Decide(ctx, before, id, cmd)
	if err != nil {
		if fault.KindOf(err) == fault.Unavailable {
			return nil, err
		}
		return nil, o.poison(ctx, s, fmt.Errorf("decide %T of service %s: %w", cmd, s.Service, err))
	}
	c := respond.Commit(before, dec)
	c.Inbox = s.ids
	c.Partition = o.partition
	if s.Target == "" {
		c.Keys = []store.KeyGuard{o.key(s, at, dec)}
	}
	return &c, nil
}

// key returns what becomes of the step's dedup key: the guard that makes two
// simultaneous first triggers one incident.
func (o *owner) key(s step, at place, dec incident.Decision) store.KeyGuard {
	k := store.KeyGuard{Service: s.Service, Key: s.Key, Was: at.linked, Now: at.linked}
	for _, a := range dec.Alerts {
		if a.Service != s.Service || a.Key != s.Key {
			continue
		}
		switch {
		case a.Open:
			k.Now = dec.Incident.ID
		case !o.desk.Reopens(a):
			k.Now = ""
		}
	}
	return k
}

// drop ends a step that pages nobody; the ring keeps why, so that the silence can be explained.
func (o *owner) drop(ctx context.Context, s step, reason string) *store.Commit {
	o.metrics.dropped.WithLabelValues(s.Event.Action.String()).Add(float64(s.count))
	o.note(ctx, s, reason)
	return &store.Commit{Partition: o.partition, Inbox: s.ids}
}

// poison puts an event away that no rule could decide. It is loud, and the
// event can be looked at and sent again.
func (o *owner) poison(ctx context.Context, s step, cause error) error {
	o.metrics.dead.Inc()
	o.log.ErrorContext(ctx, "event put away: it could not be decided", slog.String("service", string(s.Service)),
		slog.String("entry", s.ID), slog.Any("error", cause))
	for _, e := range s.run {
		if err := o.store.DeadLetterInbox(ctx, e, cause.Error()); err != nil && !errors.Is(err, store.ErrInboxGone) {
			return fmt.Errorf("put an event of service %s away: %w", s.Service, err)
		}
	}
	return nil
}

func (o *owner) note(ctx context.Context, s step, reason string) {
	d := store.Dropped{
		At: o.desk.Now(), Service: s.Service, Integration: s.Integration, Key: s.Key, Summary: s.Event.Summary, Reason: reason,
	}
	if err := o.store.NoteDropped(ctx, slices.Repeat([]store.Dropped{d}, s.count)...); err != nil {
		o.log.WarnContext(ctx, "a dropped event could not be noted", slog.Any("error", err))
	}
}

// elsewhere reports whether the incident is in another partition.
func (o *owner) elsewhere(id incident.ID) bool {
	if id == "" {
		return false
	}
	p, err := store.PartitionOfIncident(id)
	return err == nil && p != o.partition
}

// bounce sends a forwarded event back whose target has ended: it begins an
// incident where its service is at home.
func (o *owner) bounce(ctx context.Context, s step) error {
	if err := o.store.Unlink(ctx, s.Service, s.Key, s.Target); err != nil {
		return fmt.Errorf("unlink a key of service %s: %w", s.Service, err)
	}
	return o.pass(ctx, s, "")
}

// pass hands events on: to the incident that their key was merged into or,
// without one, home. They are appended there before they are deleted here; the
// sender's id folds what a kill in between would double.
func (o *owner) pass(ctx context.Context, s step, target incident.ID) error {
	on := make([]store.InboxEntry, len(s.run))
	for i, e := range s.run {
		e.Event.SenderID = fmt.Sprintf("forward/%s/%s/%d", o.partition, e.ID, e.Hops)
		e.ID, e.Target, e.Hops = "", target, e.Hops+1
		on[i] = e
	}
	if err := o.store.Append(ctx, on); err != nil {
		return fmt.Errorf("forward an event of service %s: %w", s.Service, err)
	}
	_, err := o.store.Commit(ctx, store.Commit{Partition: o.partition, Inbox: s.ids})
	if err != nil && !errors.Is(err, store.ErrInboxGone) {
		return fmt.Errorf("delete a forwarded event of service %s: %w", s.Service, err)
	}
	return nil
}

func actor(s step) incident.Actor {
	return incident.Actor{Kind: incident.ActorSource, ID: string(s.Integration), Via: "events"}
}

// overtaken remembers resolves by their sender's time for a few minutes, so
// that a trigger from before one, arriving late, pages nobody. It is lost with
// the owner, in the safe direction: one page too many.
type overtaken struct {
	seen  map[store.LinkedKey]resolved
	swept time.Time
}

type resolved struct{ source, noted time.Time }

const overtakenFor = 5 * time.Minute

func (v *overtaken) note(s step, now time.Time) {
	if s.Event.Timestamp.IsZero() || now.Sub(s.Event.Timestamp).Abs() > overtakenFor {
		return
	}
	if v.seen == nil {
		v.seen = map[store.LinkedKey]resolved{}
	}
	v.seen[store.LinkedKey{Service: s.Service, Key: s.Key}] = resolved{s.Event.Timestamp, now}
	if now.Sub(v.swept) > time.Minute {
		for k, r := range v.seen {
			if now.Sub(r.noted) > overtakenFor {
				delete(v.seen, k)
			}
		}
		v.swept = now
	}
}

func (v *overtaken) covers(s step, now time.Time) bool {
	r, ok := v.seen[store.LinkedKey{Service: s.Service, Key: s.Key}]
	return ok && !s.Event.Timestamp.IsZero() && s.Event.Timestamp.Before(r.source) && now.Sub(r.noted) <= overtakenFor
}
