package incident_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/incident/incidenttest"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// TestLaws drives one incident through random commands and checks after each
// what must hold whatever happens.
func TestLaws(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := incidenttest.New()
		l := incidenttest.Level(5*time.Minute, "ann", "bo")
		l.MultiAck = rapid.Bool().Draw(rt, "multi-ack")
		rr := incidenttest.Level(5*time.Minute, "bo", "cy")
		rr.Strategy = escalation.RoundRobin
		w.SetPolicy("night", rapid.IntRange(0, 2).Draw(rt, "loops"), l, rr, incidenttest.Level(7*time.Minute, "cy"))
		w.SetPolicy("day", 0, incidenttest.Level(5*time.Minute, "cy"))
		svc := w.Services[shop]
		svc.AckReminder = time.Duration(rapid.IntRange(0, 1).Draw(rt, "reminder")) * 7 * time.Minute
		svc.AutoResolve = rapid.SampledFrom([]time.Duration{0, 20 * time.Minute, 3 * time.Hour}).Draw(rt, "auto")
		w.Services[shop] = svc
		s := &story{t: t, w: w, now: start, alerts: map[string]incident.Alert{}, receipts: map[roster.UserID]incident.Receipt{}}
		s.must(incident.Begin{
			ID: "i1", Number: 1, Service: svc, By: source, Alert: incident.Alert{Service: shop, Key: "k1"},
			Event: fire("disk", event.Severity(rapid.IntRange(1, 4).Draw(rt, "severity"))),
		})
		for i := range rapid.IntRange(1, 40).Draw(rt, "steps") {
			s.now = s.now.Add(time.Duration(rapid.IntRange(0, 900).Draw(rt, "wait")) * time.Second)
			if rapid.Bool().Draw(rt, "tick") {
				s.until(s.now.Sub(start))
			}
			cmd := command(rt, s, i)
			before, copied := s.in, fmt.Sprintf("%+v", *s.in)
			pages := len(s.work)
			_ = s.do(cmd)
			if got := fmt.Sprintf("%+v", *before); got != copied {
				rt.Fatalf("%T changed the document that it was decided on:\n%s\n%s", cmd, copied, got)
			}
			s.check(rt, cmd, before, s.work[pages:])
		}
	})
}

func (s *story) check(rt *rapid.T, cmd incident.Command, before *incident.Incident, made []work) {
	in := s.in
	if diff := cmp.Diff(in.Summary(), incident.Replay(s.timeline), cmp.AllowUnexported(incident.Replayed{}), cmp.Comparer(time.Time.Equal)); diff != "" {
		rt.Fatalf("after %T the timeline tells another story (-stored +replayed):\n%s", cmd, diff)
	}
	for i, e := range s.timeline {
		if e.Seq != i+1 {
			rt.Fatalf("after %T entry %d has number %d", cmd, i+1, e.Seq)
		}
	}
	open := 0
	for _, a := range s.alerts {
		if a.Open {
			open++
		}
	}
	if open != in.AlertsOpen || len(s.alerts) != in.AlertsTotal {
		rt.Fatalf("after %T: %d alerts open of %d, the incident says %d of %d", cmd, open, len(s.alerts), in.AlertsOpen, in.AlertsTotal)
	}
	if in.Status == incident.Triggered && in.Urgency == incident.High && in.Due().IsZero() {
		rt.Fatalf("after %T nothing will ever happen to a triggered incident: %+v", cmd, in)
	}
	if in.Status == incident.Triggered && len(in.Assignees) == 0 {
		rt.Fatalf("after %T nobody is asked", cmd)
	}
	if in.Status == incident.Resolved && !in.Due().IsZero() {
		rt.Fatalf("after %T a resolved incident has a timer: %+v", cmd, in.Timers)
	}
	if in.Generation < before.Generation || in.Version < before.Version {
		rt.Fatalf("after %T generation %d→%d, version %d→%d", cmd, before.Generation, in.Generation, before.Version, in.Version)
	}
	for _, w := range made {
		if w.Kind == incident.WorkPage && in.Status != incident.Triggered && !in.MultiAck && !asked(in, w.User) {
			rt.Fatalf("%T pages %s although the incident is %v", cmd, w.User, in.Status)
		}
		if w.Generation != in.Generation {
			rt.Fatalf("%T makes work of generation %d for one of %d", cmd, w.Generation, in.Generation)
		}
	}
}

// asked reports whether the person was asked to help with an incident that somebody has taken.
func asked(in *incident.Incident, u roster.UserID) bool {
	a := in.Assigned(u)
	return a != nil && a.Via == incident.ViaResponder
}

func command(rt *rapid.T, s *story, i int) incident.Command {
	who := by(rapid.SampledFrom([]string{"ann", "bo", "cy"}).Draw(rt, "who"))
	other := roster.UserID(rapid.SampledFrom([]string{"ann", "bo", "cy", "dee"}).Draw(rt, "other"))
	key := rapid.SampledFrom([]string{"k1", "k2", "k3"}).Draw(rt, "key")
	alert, known := s.alerts[key]
	if !known {
		alert = incident.Alert{Service: shop, Key: key}
	}
	ev := fire("again", event.Severity(rapid.IntRange(1, 4).Draw(rt, "severity")))
	switch rapid.IntRange(0, 18).Draw(rt, "command") {
	case 0:
		return incident.Acknowledge{By: who}
	case 1:
		return incident.Unacknowledge{By: who}
	case 2:
		if rapid.IntRange(0, 3).Draw(rt, "really") > 0 {
			return incident.Confirm{By: who}
		}
		return incident.Resolve{By: who, Alerts: s.open()}
	case 3:
		return incident.Snooze{By: who, For: time.Duration(rapid.IntRange(1, 100).Draw(rt, "for")) * time.Minute}
	case 4:
		return incident.Escalate{By: who, Wrap: rapid.Bool().Draw(rt, "wrap")}
	case 5:
		return incident.Reassign{By: who, Users: []roster.UserID{other}, NoFallback: rapid.Bool().Draw(rt, "no fallback")}
	case 6:
		return incident.Reassign{By: who, Policy: escalation.PolicyID(rapid.SampledFrom([]string{"night", "day", "none"}).Draw(rt, "policy"))}
	case 7, 8:
		if s.in.Status == incident.Resolved {
			return incident.Reopen{By: source, Cause: incident.CauseSource, Alert: &alert, Event: &ev}
		}
		return incident.Repeat{Alert: alert, Event: ev, By: source}
	case 9:
		return incident.CloseAlert{Alert: alert, By: source}
	case 10:
		return incident.Reopen{By: who}
	case 11:
		return incident.SetUrgency{By: who, Urgency: incident.Urgency(rapid.IntRange(1, 2).Draw(rt, "urgency"))}
	case 12:
		return incident.SetPriority{By: who, Priority: incident.Priority(rapid.IntRange(0, 5).Draw(rt, "priority"))}
	case 13:
		return incident.RequestResponders{By: who, Users: []roster.UserID{other}}
	case 14:
		return incident.Undelivered{User: other, Method: rapid.SampledFrom([]roster.MethodID{roster.PushAll, "mail"}).Draw(rt, "method"), Generation: s.in.Generation}
	case 15:
		return incident.AddNote{By: who, Text: "note"}
	case 16:
		return incident.TakeOver{By: who, From: other}
	case 17:
		k := fmt.Sprintf("m%d", i)
		return incident.AcceptMerge{By: who, Source: incident.ID(k), Alerts: []incident.Alert{{Service: "other", Key: k, Count: 1, Open: true}}}
	}
	if !known {
		return incident.AddNote{By: who, Text: "nothing to split"}
	}
	return incident.SplitOff{By: who, Alerts: []incident.Alert{alert}, Other: "i2"}
}
