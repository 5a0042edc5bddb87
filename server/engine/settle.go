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
	now := o.desk.Now()
	cmd := s.command(at, store.NewIncidentID(o.partition, now), now)
	if cmd == nil {
		return o.drop(ctx, s, dropReason(s, at)), nil
	}
	if _, again := cmd.(incident.Repeat); again {
		if err := o.heardOf(ctx, at.in); err != nil {
			return nil, err
		}
	}
	return o.decide(ctx, s, at, cmd)
}

// Opens returns the command by which an event begins an incident where its key
// leads to none, under the id; or why it leads to nothing.
func Opens(e store.InboxEntry, svc catalog.Service, id incident.ID, now time.Time) (incident.Command, string) {
	l := lane{e}
	s, at := l.next(), place{service: svc, alert: incident.Alert{Integration: e.Integration}}
	if svc.Disabled {
		return nil, DropDisabled
	}
	if cmd := s.command(at, id, now); cmd != nil {
		return cmd, ""
	}
	return nil, dropReason(s, at)
}

// command returns what the event means for the incident that its key leads to;
// a new one gets the id.
func (s step) command(at place, id incident.ID, now time.Time) incident.Command {
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
		if reopens(at, now) {
			return incident.Reopen{By: by, Cause: incident.CauseSource, Alert: &at.alert, Event: &s.Event, Count: s.count}
		}
		return incident.Begin{
			ID: id, Service: at.service, By: by, Trace: s.Trace,
			Alert: incident.Alert{Service: s.Service, Key: s.Key, Integration: s.Integration, Count: s.count}, Event: s.Event,
		}
	}
	return nil
}

// reopens reports whether the key's last incident ended so recently that it goes on.
func reopens(at place, now time.Time) bool {
	return at.in != nil && at.in.MergedInto == "" && now.Sub(at.in.ResolvedAt) <= at.service.ReopenWindow
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

func actor(s step) incident.Actor {
	return incident.Actor{Kind: incident.ActorSource, ID: string(s.Integration), Via: "events"}
}
