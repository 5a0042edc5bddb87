package incident_test

import (
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/incident/incidenttest"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// target is a world whose schedule has people answer within a quarter of an hour.
func target(mode schedule.Mode) *incidenttest.World {
	plan := shift(24, "ann", "cy")
	plan.Response = 15 * time.Minute
	return byShift(mode, plan)
}

func (s *story) noticed(user roster.UserID) []time.Duration {
	var at []time.Duration
	for _, w := range s.work {
		if w.Kind == incident.WorkNotice && w.User == user {
			at = append(at, w.at)
		}
	}
	return at
}

func TestResponseTargetIsWarnedOfAndMissed(t *testing.T) {
	s := trigger(t, target(schedule.Duty)).received()
	s.until(16 * time.Minute)
	for _, u := range []roster.UserID{"ann", "eve"} {
		same(t, "the quiet reminder of "+string(u), s.noticed(u), []time.Duration{10 * time.Minute})
	}
	same(t, "warned of", s.at(incident.EntryResponseDue), []time.Duration{10 * time.Minute, 10 * time.Minute})
	same(t, "missed", s.at(incident.EntryResponseMissed), []time.Duration{15 * time.Minute, 15 * time.Minute})
	s.must(incident.Acknowledge{By: by("ann")})
	r := s.in.Response("ann")
	if took := s.entry(incident.EntryAcknowledged).Took; took != 16*time.Minute || !r.Missed(s.now) {
		t.Errorf("answered after %v, missed %v", took, r.Missed(s.now))
	}
}

func TestResponseInTime(t *testing.T) {
	s := trigger(t, target(0)).received()
	s.until(9 * time.Minute)
	s.must(incident.Acknowledge{By: by("ann")})
	s.until(29 * time.Minute)
	same(t, "reminders", s.noticed("ann"), []time.Duration(nil))
	if r := s.in.Response("ann"); r.Missed(s.now) || s.entry(incident.EntryAcknowledged).Took != 9*time.Minute {
		t.Errorf("answered in time, recorded as %+v", r)
	}
	s.until(40 * time.Minute) // the acknowledgement times out: ann is paged anew, and answers to that
	if r := s.in.Response("ann"); !r.Since.Equal(start.Add(39*time.Minute)) || !r.Answered.IsZero() {
		t.Errorf("paged anew at +39m, measured as %+v", r)
	}
}

// Somebody else took it: nobody waits for ann any more, and she has missed
// nothing. The level passed: she still answers to her page.
func TestResponseOfOthers(t *testing.T) {
	s := trigger(t, target(0)).received()
	s.until(9 * time.Minute)
	s.must(incident.Acknowledge{By: by("bo")})
	s.until(29 * time.Minute)
	if got := s.at(incident.EntryResponseMissed); got != nil {
		t.Errorf("ann missed what bo had taken: %v", got)
	}
	w := target(0)
	p := w.Policies["night"]
	p.Levels[0].Delay = 5 * time.Minute
	w.Policies["night"] = p
	s = trigger(t, w).received()
	s.until(16 * time.Minute)
	same(t, "missed after her level", s.at(incident.EntryResponseMissed), []time.Duration{15 * time.Minute})
}

// By low urgency nobody is to be quick.
func TestNoResponseTargetForLowUrgency(t *testing.T) {
	s := trigger(t, target(0)).received()
	s.must(incident.SetUrgency{By: by("bo"), Urgency: incident.Low})
	if r := s.in.Response("ann"); r != nil {
		t.Errorf("at low urgency is measured: %+v", r)
	}
	s.until(time.Hour)
	s.must(incident.SetUrgency{By: by("bo"), Urgency: incident.High})
	if r := s.in.Response("ann"); r == nil || !r.Since.Equal(s.now) {
		t.Errorf("urgent again, measured as %+v", r)
	}
}
