package incident_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/incident/incidenttest"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

var start = time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)

const shop = incidenttest.Shop

func by(user string) incident.Actor {
	return incident.Actor{Kind: incident.ActorUser, ID: user, Via: "test"}
}

var source = incident.Actor{Kind: incident.ActorSource, ID: "am", Via: "events"}

// story is one incident with everything that was ever decided about it.
type story struct {
	t        testing.TB
	w        *incidenttest.World
	now      time.Time
	in       *incident.Incident
	alerts   map[string]incident.Alert
	timeline []incident.Entry
	work     []work
	receipts map[roster.UserID]incident.Receipt
}

// work is a work item and when it was made.
type work struct {
	incident.Work
	at time.Duration
}

func trigger(t testing.TB, w *incidenttest.World) *story { return triggerAs(t, w, "i1") }

func triggerAs(t testing.TB, w *incidenttest.World, id incident.ID) *story {
	s := &story{t: t, w: w, now: start, alerts: map[string]incident.Alert{}, receipts: map[roster.UserID]incident.Receipt{}}
	s.must(incident.Begin{
		ID: id, Number: 1, Service: w.Services[shop], By: source,
		Alert: incident.Alert{Service: shop, Key: "k1"}, Event: fire("disk full", event.Critical),
	})
	return s
}

func fire(summary string, sev event.Severity) event.Event {
	return event.Event{Action: event.Trigger, DedupKey: "k1", Summary: summary, Severity: sev}
}

func (s *story) do(cmd incident.Command) error {
	s.t.Helper()
	var d incident.Decision
	var err error
	for {
		d, err = incident.Decide(s.in, cmd, s.w, s.now)
		need, ok := errors.AsType[*incident.UnclaimedTurnError](err)
		if !ok {
			break
		}
		i := slices.IndexFunc(need.Members, func(u roster.UserID) bool { return u != "" })
		s.w.Turns[need.Level] = need.Members[i]
	}
	if err != nil {
		return err
	}
	for _, a := range d.Alerts {
		s.alerts[a.Key] = a
		if a.Count == 0 {
			delete(s.alerts, a.Key)
		}
	}
	if d.Coalesce != nil {
		s.timeline[len(s.timeline)-1] = *d.Coalesce
	}
	s.timeline = append(s.timeline, d.Timeline...)
	for _, w := range d.Work {
		s.work = append(s.work, work{w, s.now.Sub(start)})
	}
	if d.Changed {
		d.Incident.Revision++
		s.in = d.Incident
	}
	return nil
}

func (s *story) must(cmd incident.Command) {
	s.t.Helper()
	if err := s.do(cmd); err != nil {
		s.t.Fatalf("%T at +%v: %v", cmd, s.now.Sub(start), err)
	}
}

// until moves time to the instant, deciding whatever falls due on the way.
func (s *story) until(d time.Duration) {
	s.t.Helper()
	end := start.Add(d)
	for range 10_000 {
		due := s.in.Due()
		if due.IsZero() || due.After(end) {
			s.now = end
			return
		}
		if due.After(s.now) {
			s.now = due
		}
		s.must(incident.Tick{Receipts: s.receipts, Alerts: s.open()})
	}
	s.t.Fatalf("the incident is decided again and again at +%v: due %v", s.now.Sub(start), s.in.Due())
}

func (s *story) open() []incident.Alert {
	var open []incident.Alert
	for _, a := range s.alerts {
		if a.Open {
			open = append(open, a)
		}
	}
	slices.SortFunc(open, func(a, b incident.Alert) int { return strings.Compare(a.Key, b.Key) })
	return open
}

// assigned lists when each person was asked: "ann@0s bo@5m0s".
func (s *story) assigned() []string {
	var got []string
	for _, e := range s.timeline {
		if e.Type == incident.EntryAssigned {
			for _, u := range e.Users {
				got = append(got, string(u)+"@"+e.At.Sub(start).String())
			}
		}
	}
	return got
}

// pages lists the pages of a person: "push@0s mail@3m0s".
func (s *story) pages(user roster.UserID) []string {
	var got []string
	for _, w := range s.work {
		if w.Kind == incident.WorkPage && w.User == user {
			name := string(w.Method)
			if w.Loud {
				name += "!"
			}
			got = append(got, name+"@"+w.at.String())
		}
	}
	return got
}

func (s *story) at(typ incident.EntryType) []time.Duration {
	var at []time.Duration
	for _, e := range s.timeline {
		if e.Type == typ {
			at = append(at, e.At.Sub(start))
		}
	}
	return at
}
