package incident_test

import (
	"slices"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/incident/incidenttest"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// A monitor that goes on firing must not arm a timer that a sleeping incident
// ignores: it would be due for ever.
func TestAutoResolveRestsWhileSnoozed(t *testing.T) {
	for name, cmd := range map[string]func(*story) incident.Command{
		"repeat": func(s *story) incident.Command {
			return incident.Repeat{Alert: s.alerts["k1"], Event: fire("again", event.Critical), By: source}
		},
		"merge": func(*story) incident.Command {
			return incident.AcceptMerge{By: by("ann"), Source: "i2", Alerts: []incident.Alert{{Service: shop, Key: "k2", Count: 1, Open: true}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := incidenttest.New()
			svc := w.Services[shop]
			svc.AutoResolve = time.Hour
			w.Services[shop] = svc
			s := trigger(t, w)
			s.must(incident.Snooze{By: by("ann"), For: 8 * time.Hour})
			s.until(10 * time.Minute)
			s.must(cmd(s))
			s.until(7*time.Hour + 59*time.Minute)
			if !s.in.Snoozed() || s.in.Status != incident.Acknowledged {
				t.Fatalf("before its end the snooze is over: status %v, timers %+v", s.in.Status, s.in.Timers)
			}
			s.until(8*time.Hour + 30*time.Minute)
			if s.in.Status != incident.Triggered {
				t.Fatalf("half an hour after the snooze: status %v, want triggered", s.in.Status)
			}
			s.until(9*time.Hour + time.Second)
			if s.in.Status != incident.Resolved {
				t.Fatalf("auto-resolve after the snooze: status %v, want resolved", s.in.Status)
			}
		})
	}
}

// An incident of low urgency that comes back critical wakes people.
func TestReopenedByWorseAlertIsUrgent(t *testing.T) {
	w := incidenttest.New()
	s := &story{t: t, w: w, now: start, alerts: map[string]incident.Alert{}, receipts: map[roster.UserID]incident.Receipt{}}
	s.must(incident.Begin{
		ID: "i1", Number: 1, Service: w.Services[shop], By: source,
		Alert: incident.Alert{Service: shop, Key: "k1"}, Event: fire("disk filling", event.Warning),
	})
	a := s.alerts["k1"]
	s.must(incident.CloseAlert{Alert: a, By: source})
	s.until(time.Minute)
	worse := fire("disk full", event.Critical)
	a = s.alerts["k1"]
	s.must(incident.Reopen{By: source, Cause: incident.CauseSource, Alert: &a, Event: &worse})
	if s.in.Urgency != incident.High || s.in.Timers.Escalate.IsZero() {
		t.Fatalf("re-opened by a critical alert: urgency %v, escalates at %v; want high and armed", s.in.Urgency, s.in.Timers.Escalate)
	}
	if got := s.pages("ann"); !slices.Contains(got, "push@1m0s") {
		t.Errorf("pages of ann: %v, want a push at 1m", got)
	}
}

// Low urgency outside support hours rises when they begin, after a re-open too.
func TestReopenedWaitsForSupportHours(t *testing.T) {
	w := incidenttest.New()
	svc := w.Services[shop]
	svc.Urgency = catalog.UrgencyBySupportHours
	svc.Hours = catalog.SupportHours{Zone: "UTC", Days: []time.Weekday{0, 1, 2, 3, 4, 5, 6}, Start: 8 * time.Hour, End: 18 * time.Hour}
	w.Services[shop] = svc
	s := trigger(t, w) // at 03:00
	s.must(incident.Resolve{By: by("ann"), Alerts: s.open()})
	s.until(time.Minute)
	s.must(incident.Reopen{By: by("ann")})
	s.until(5*time.Hour + time.Minute)
	if s.in.Urgency != incident.High {
		t.Fatalf("a minute into support hours: urgency %v, raise at %v; want high", s.in.Urgency, s.in.Timers.Raise)
	}
}

// Whoever becomes the catch-all while an incident has nobody is asked.
func TestNewCatchAllIsAsked(t *testing.T) {
	for name, change := range map[string]func(*incidenttest.World){
		"another person": func(w *incidenttest.World) { w.Installation.CatchAll = []roster.UserID{"cy"} },
		"none before":    func(w *incidenttest.World) { w.Installation.CatchAll = []roster.UserID{"dee", "cy"} },
	} {
		t.Run(name, func(t *testing.T) {
			w := incidenttest.New()
			w.SetPolicy("night", 0, incidenttest.Level(5*time.Minute, "ann"))
			w.Mute("ann", "dee")
			s := trigger(t, w)
			s.until(10 * time.Minute)
			change(w)
			s.until(12 * time.Minute)
			if got := s.pages("cy"); len(got) == 0 {
				t.Fatalf("two minutes after cy became the catch-all nobody has paged him; assignees %+v", s.in.Assignees)
			}
		})
	}
}

// A page that was too late, as we were down, says nothing about the way that
// it was to go: the way is used again.
func TestPassingFailureOfLowUrgencyIsTriedAgain(t *testing.T) {
	w := incidenttest.New()
	s := &story{t: t, w: w, now: start, alerts: map[string]incident.Alert{}, receipts: map[roster.UserID]incident.Receipt{}}
	s.must(incident.Begin{
		ID: "i1", Number: 1, Service: w.Services[shop], By: source,
		Alert: incident.Alert{Service: shop, Key: "k1"}, Event: fire("disk filling", event.Warning),
	})
	s.until(20 * time.Minute)
	s.must(incident.Undelivered{User: "ann", Method: roster.PushAll, Generation: s.in.Generation, Reason: "too late", Passing: true})
	s.until(40 * time.Minute)
	if got, want := s.pages("ann"), []string{"push@0s", "push@25m0s"}; !slices.Equal(got, want) {
		t.Fatalf("pages of ann: %v, want %v", got, want)
	}
}

// On a level that everybody has to acknowledge, and for helpers, somebody
// else's acknowledgement does not end the way to the next method.
func TestUndeliveredToWhoIsStillAsked(t *testing.T) {
	t.Run("multi-ack", func(t *testing.T) {
		w := incidenttest.New()
		l := incidenttest.Level(5*time.Minute, "ann", "bo")
		l.MultiAck = true
		w.SetPolicy("night", 0, l)
		s := trigger(t, w)
		s.must(incident.Acknowledge{By: by("ann")})
		s.must(incident.Undelivered{User: "bo", Method: roster.PushAll, Generation: s.in.Generation, Reason: "dead"})
		if got := s.pages("bo"); !slices.Contains(got, "mail@0s") {
			t.Errorf("pages of bo: %v, want the mail pulled forward", got)
		}
	})
	t.Run("helper", func(t *testing.T) {
		s := trigger(t, incidenttest.New())
		s.must(incident.Acknowledge{By: by("ann")})
		s.must(incident.RequestResponders{By: by("ann"), Users: []roster.UserID{"bo"}})
		s.must(incident.Undelivered{User: "bo", Method: roster.PushAll, Generation: s.in.Generation, Reason: "dead"})
		if got := s.pages("bo"); !slices.Contains(got, "mail@0s") {
			t.Errorf("pages of bo: %v, want the mail pulled forward", got)
		}
		s.must(incident.Undelivered{User: "ann", Method: roster.PushAll, Generation: s.in.Generation, Reason: "dead"})
		if got := s.pages("ann"); slices.Contains(got, "mail@0s") {
			t.Errorf("pages of ann, who has acknowledged: %v, want none after", got)
		}
	})
}

// The policy shrinks while the third of its levels is asked: the incident goes
// on with what there is now.
func TestLevelThatIsGone(t *testing.T) {
	shrink := func(w *incidenttest.World) {
		p := w.Policies["night"]
		p.Version, p.Levels = 2, p.Levels[:2]
		w.Policies["night"] = p
	}
	t.Run("escalation", func(t *testing.T) {
		w := incidenttest.New()
		s := trigger(t, w).received()
		s.until(16 * time.Minute) // at cy's level
		shrink(w)
		s.until(31 * time.Minute)
		same(t, "asked", s.assigned(), []string{"ann@0s", "bo@5m0s", "cy@15m0s", "ann@30m0s"})
	})
	t.Run("acknowledgement runs out in the last loop", func(t *testing.T) {
		w := incidenttest.New()
		p := w.Policies["night"]
		p.Loops = 0
		w.Policies["night"] = p
		s := trigger(t, w).received()
		s.until(16 * time.Minute)
		s.must(incident.Acknowledge{By: by("cy")})
		shrink(w)
		s.until(47 * time.Minute)
		if s.in.Assigned("ann") == nil || s.in.Assigned("cy") == nil || s.in.Level != 0 {
			t.Errorf("asked %v at level %d, want ann anew, and cy who had it", s.assigned(), s.in.Level+1)
		}
	})
}

// The level has lost its people while somebody else had taken the incident:
// when he lets go he is asked himself, beside the fallback.
func TestWhoeverLetsGoIsAsked(t *testing.T) {
	w := incidenttest.New()
	w.SetPolicy("night", 0, incidenttest.Level(5*time.Minute, "ann"), incidenttest.Level(10*time.Minute, "bo"))
	s := trigger(t, w).received()
	s.until(6 * time.Minute)
	s.must(incident.Acknowledge{By: by("cy")})
	w.Mute("bo")
	s.until(37 * time.Minute)
	if s.in.Status != incident.Triggered || s.in.Assigned("cy") == nil || s.in.Assigned("cy").Next.IsZero() {
		t.Errorf("after the acknowledgement ran out %v is asked, want cy among them", s.assigned())
	}
	if got := s.pages("dee"); len(got) == 0 {
		t.Error("the catch-all was not paged")
	}
}
