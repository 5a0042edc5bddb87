package incident_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/incident/incidenttest"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// received makes every phone answer, so that only the policy and the plans move time.
func (s *story) received() *story {
	for u := range s.w.Users {
		s.receipts[u] = incident.Receipt{Received: true}
	}
	return s
}

func TestPolicyWithOneRepetition(t *testing.T) {
	s := trigger(t, incidenttest.New()).received()
	s.until(61 * time.Minute)
	same(t, "asked", s.assigned(), []string{"ann@0s", "bo@5m0s", "cy@15m0s", "ann@30m0s", "bo@35m0s", "cy@45m0s", "dee@1h0m0s"})
	same(t, "exhausted", s.at(incident.EntryExhausted), []time.Duration{time.Hour})
	if !s.in.Exhausted || s.in.Status != incident.Triggered {
		t.Errorf("after the last loop: exhausted %v, status %v", s.in.Exhausted, s.in.Status)
	}
}

func TestFallbackIsPagedEveryHalfHourAndRemindersGoOn(t *testing.T) {
	w := incidenttest.New()
	w.SetPolicy("night", 0, incidenttest.Level(5*time.Minute, "ann"))
	s := trigger(t, w).received()
	s.until(3 * time.Hour)
	for _, u := range []roster.UserID{"ann", "dee"} {
		late := 0
		for _, p := range s.work {
			if p.Kind == incident.WorkPage && p.User == u && p.at > 2*time.Hour {
				late++
			}
		}
		if late < 2 {
			t.Errorf("%s was paged %d times in the third hour, want a reminder at least every half hour", u, late)
		}
	}
}

func TestLevelWithoutAnybodyIsPassedAtOnce(t *testing.T) {
	w := incidenttest.New()
	w.Mute("ann")
	s := trigger(t, w)
	same(t, "asked", s.assigned(), []string{"bo@0s"})
	same(t, "no target", s.at(incident.EntryNoTarget), []time.Duration{0})
	if last := s.work[0]; last.Kind != incident.WorkUncovered || last.Cause != incident.CauseNoMethod {
		t.Errorf("first work is %+v, want the owners told that a level has nobody who can be reached", last)
	}
}

func TestPolicyWithNobody(t *testing.T) {
	w := incidenttest.New()
	w.Mute("ann", "bo", "cy")
	s := trigger(t, w).received()
	same(t, "asked", s.assigned(), []string{"dee@0s"})
	s.until(10 * time.Minute)
	if n := len(s.at(incident.EntryNoTarget)); n != 3 {
		t.Errorf("%d entries say that nobody is there, want one per level and no hot loop", n)
	}
	if s.in.Loop != 0 {
		t.Errorf("passes over nobody used up %d loops", s.in.Loop)
	}
	w.Phones["bo"] = []roster.Device{{ID: "new", User: "bo", Platform: roster.Android, State: roster.DeviceActive}}
	s.until(11*time.Minute + time.Second)
	if s.in.Assigned("bo") == nil {
		t.Errorf("bo enrolled a phone and is not asked within a minute: %v", s.assigned())
	}
}

func TestManualEscalation(t *testing.T) {
	one := 1
	zero := 0
	s := trigger(t, incidenttest.New())
	s.must(incident.Escalate{By: by("ann"), Expected: &zero})
	s.must(incident.Escalate{By: by("ann"), Expected: &zero}) // the double tap
	if s.in.Level != 1 {
		t.Errorf("level %d after a double tap, want 1", s.in.Level)
	}
	s.must(incident.Acknowledge{By: by("bo")})
	s.must(incident.Escalate{By: by("bo"), To: &one})
	if s.in.Status != incident.Triggered || len(s.in.Acks) != 0 || !s.in.Timers.Escalate.Equal(start.Add(10*time.Minute)) {
		t.Errorf("after escalating an acknowledged incident: %v, acks %v, next %v", s.in.Status, s.in.Acks, s.in.Timers.Escalate.Sub(start))
	}
	s.must(incident.Escalate{By: by("bo")}) // level 3
	s.must(incident.Escalate{By: by("bo")}) // the second loop
	s.must(incident.Escalate{By: by("bo")})
	s.must(incident.Escalate{By: by("bo")})
	if err := s.do(incident.Escalate{By: by("bo")}); fault.KindOf(err) != fault.Precondition {
		t.Errorf("past the last level of the last loop: %v, want a precondition", err)
	}
	s.must(incident.Escalate{By: by("bo"), Wrap: true})
	if s.in.Level != 0 {
		t.Errorf("level %d after wrapping, want 0", s.in.Level)
	}
	five := 5
	if err := s.do(incident.Escalate{By: by("bo"), To: &five}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a level that does not exist: %v, want invalid", err)
	}
}

func TestRoundRobinKeepsItsMemberOverLoops(t *testing.T) {
	w := incidenttest.New()
	rr := incidenttest.Level(5*time.Minute, "ann", "bo", "cy")
	rr.Strategy = escalation.RoundRobin
	w.SetPolicy("night", 1, rr)
	w.Turns[0] = "bo"
	s := trigger(t, w).received()
	s.until(6 * time.Minute)
	same(t, "asked", s.assigned(), []string{"bo@0s", "bo@5m0s"})
	w.Mute("bo")
	w.Turns = map[int]roster.UserID{}
	s.must(incident.Escalate{By: by("cy"), Wrap: true})
	if s.in.Assigned("cy") == nil {
		t.Errorf("the member cannot be asked: want the next in order, got %v", s.assigned())
	}
}

func TestUserInTwoTargetsHasOnePlan(t *testing.T) {
	w := incidenttest.New()
	w.SetPolicy("night", 0, incidenttest.Level(5*time.Minute, "ann", "ann"))
	s := trigger(t, w)
	same(t, "pages", s.pages("ann"), []string{"push@0s"})
}

func TestDirectAssignmentFallsBackToThePolicy(t *testing.T) {
	s := trigger(t, incidenttest.New()).received()
	s.must(incident.Reassign{By: by("ann"), Users: []roster.UserID{"cy"}})
	s.until(16 * time.Minute)
	same(t, "asked", s.assigned(), []string{"ann@0s", "cy@0s", "ann@15m0s"})
	s.must(incident.Reassign{By: by("ann"), Users: []roster.UserID{"cy"}, NoFallback: true})
	s.until(2 * time.Hour)
	if s.in.Assigned("cy") == nil || !s.in.Direct {
		t.Errorf("without fallback it stays with cy, got %v", s.assigned())
	}
}

func TestReassignToNobodyIsRefused(t *testing.T) {
	w := incidenttest.New()
	s := trigger(t, w)
	if err := s.do(incident.Reassign{By: by("ann"), Users: []roster.UserID{"zoe"}}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("an unknown person: %v, want not found", err)
	}
	w.Mute("cy")
	if err := s.do(incident.Reassign{By: by("ann"), Users: []roster.UserID{"cy"}}); fault.KindOf(err) != fault.Precondition {
		t.Errorf("a person without a way to be woken: %v, want a precondition", err)
	}
	if s.in.Assigned("ann") == nil {
		t.Errorf("a refused reassignment changed the assignees: %v", s.in.Assignees)
	}
}

func TestSupportHoursRaiseTheUrgency(t *testing.T) {
	w := incidenttest.New()
	svc := w.Services[shop]
	svc.Urgency = catalog.UrgencyBySupportHours
	svc.Hours = catalog.SupportHours{Zone: "Europe/London", Days: []time.Weekday{time.Monday}, Start: 8 * time.Hour, End: 18 * time.Hour}
	w.Services[shop] = svc
	s := trigger(t, w).received() // Saturday, 03:00
	if s.in.Urgency != incident.Low {
		t.Fatalf("outside support hours: urgency %v", s.in.Urgency)
	}
	monday := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC).Sub(start)
	s.until(monday + time.Minute)
	same(t, "raised", s.at(incident.EntryUrgencyChanged), []time.Duration{monday})
	if s.in.Timers.Escalate.IsZero() {
		t.Error("raised, it does not escalate")
	}
}

func TestInstallationWithoutAnybodySaysSoOnce(t *testing.T) {
	w := incidenttest.New()
	w.Mute("ann", "bo", "cy")
	w.Installation = catalog.Settings{}
	s := trigger(t, w)
	n := len(s.timeline)
	s.until(30 * time.Minute)
	if len(s.timeline) != n {
		t.Errorf("the timeline grew by %d entries while nobody is there", len(s.timeline)-n)
	}
	if s.in.Due().IsZero() {
		t.Error("it does not look again for somebody")
	}
}

func TestDirectAssignmentThatCannotBeDeliveredGoesBackEarly(t *testing.T) {
	w := incidenttest.New()
	s := trigger(t, w)
	s.must(incident.Reassign{By: by("ann"), Users: []roster.UserID{"cy"}})
	for _, m := range []roster.MethodID{roster.PushAll, "mail"} {
		s.must(incident.Undelivered{User: "cy", Method: m, Generation: s.in.Generation, Reason: "gone"})
	}
	s.until(2 * time.Minute)
	same(t, "asked", s.assigned(), []string{"ann@0s", "cy@0s", "ann@1m0s"})
}
