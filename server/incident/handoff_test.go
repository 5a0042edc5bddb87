package incident_test

import (
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/civil"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/incident/incidenttest"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// handsOver is a world in which ann hands over to cy ten minutes into the story,
// whose level waits for twenty.
func handsOver(how escalation.HandOff) *incidenttest.World {
	plan := shift(12, "ann", "cy")
	plan.Layers[0].Rotation.Anchor = civil.Show(start.Add(10*time.Minute-12*time.Hour), time.UTC)
	w := byShift(0, plan)
	p := w.Policies["night"]
	p.HandOff = how
	w.Policies["night"] = p
	return w
}

func TestHandOffBeforeAnybodyHasTakenIt(t *testing.T) {
	s := trigger(t, handsOver(escalation.HandOffAdd)).received()
	s.until(19 * time.Minute)
	same(t, "added", s.assigned(), []string{"ann@0s", "cy@10m0s"})
	same(t, "cy at once", s.pages("cy")[:1], []string{"push@10m0s"})
	if !s.in.Asks("ann") || s.in.Timers.Escalate != start.Add(20*time.Minute) {
		t.Errorf("ann asked %v until the next level at %v", s.in.Asks("ann"), s.in.Timers.Escalate)
	}
	s.until(21 * time.Minute)
	same(t, "the next level", s.assigned(), []string{"ann@0s", "cy@10m0s", "bo@20m0s"})

	s = trigger(t, handsOver(escalation.HandOffKeep)).received()
	s.until(19 * time.Minute)
	same(t, "kept", s.assigned(), []string{"ann@0s"})

	s = trigger(t, handsOver(escalation.HandOffMove)).received()
	s.until(19 * time.Minute)
	if s.in.Asks("ann") || !s.in.Asks("cy") {
		t.Errorf("moved: ann asked %v, cy %v", s.in.Asks("ann"), s.in.Asks("cy"))
	}
	for _, w := range s.work {
		if w.Kind == incident.WorkPage && w.User == "ann" && w.at > 10*time.Minute {
			t.Errorf("ann is paged after she handed over: %+v", w)
		}
	}
	if incident.Replay(s.timeline).Assignees[0] != "cy" {
		t.Error("the timeline does not tell who is asked after the move")
	}
}

// TestShadowOfAScheduleFollowsOn: who follows whoever is on call follows the next
// one, also when the incident is moved to him.
func TestShadowOfAScheduleFollowsOn(t *testing.T) {
	plan := shift(12, "ann", "cy")
	plan.Layers[0].Rotation.Anchor = civil.Show(start.Add(10*time.Minute-12*time.Hour), time.UTC)
	plan.Shadows = []schedule.Shadow{{ID: "s", User: "dee", Mode: schedule.Duty}}
	w := byShift(0, plan)
	p := w.Policies["night"]
	p.HandOff = escalation.HandOffMove
	w.Policies["night"] = p
	s := trigger(t, w).received()
	s.until(19 * time.Minute)
	if dee := s.in.Following("dee"); dee == nil || dee.Shadow.Follows != "cy" {
		t.Errorf("after the move dee is %+v, want the shadow of cy", dee)
	}
}

// Who comes on call by an edit, and not by the plan, is asked when the incident
// is looked at next.
func TestTakeOverInTheMiddle(t *testing.T) {
	w := byShift(0, shift(24, "ann"))
	s := trigger(t, w).received()
	s.until(90 * time.Second)
	plan := shift(24, "ann")
	plan.Overrides = []schedule.Override{{ID: "o", Start: s.now, End: s.now.Add(2 * time.Hour), User: "cy", CreatedAt: s.now}}
	w.SetSchedule(plan)
	s.until(4 * time.Minute)
	same(t, "asked", s.assigned(), []string{"ann@0s", "cy@3m0s"})
}

func TestAcknowledgementOfTheOldHolderTimesOut(t *testing.T) {
	s := trigger(t, handsOver(escalation.HandOffAdd)).received()
	s.until(5 * time.Minute)
	s.must(incident.Acknowledge{By: by("ann")})
	s.until(34 * time.Minute)
	same(t, "while ann has it", s.assigned(), []string{"ann@0s"})
	s.until(36 * time.Minute)
	same(t, "when she is silent", s.assigned(), []string{"ann@0s", "cy@35m0s", "ann@35m0s"})
}

func TestSnoozedOverAHandOff(t *testing.T) {
	s := trigger(t, handsOver(escalation.HandOffAdd)).received()
	s.until(5 * time.Minute)
	s.must(incident.Snooze{By: by("ann"), For: time.Hour})
	s.until(66 * time.Minute)
	same(t, "asked", s.assigned(), []string{"ann@0s", "cy@1h5m0s"})
	same(t, "told", s.noticed("ann"), []time.Duration{65 * time.Minute})
}

// A shift is [start, end): at the very instant the new person holds.
func TestHandOffAtTheInstantOfTheTrigger(t *testing.T) {
	plan := shift(12, "ann", "cy")
	plan.Layers[0].Rotation.Anchor = civil.Show(start.Add(-12*time.Hour), time.UTC)
	s := trigger(t, byShift(0, plan)).received()
	s.until(15 * time.Minute)
	same(t, "asked", s.assigned(), []string{"cy@0s"})
}

// An incident of low urgency waits for support hours, over a change of shifts:
// when they begin, whoever is on call by then is woken, and not who was.
func TestSupportHoursBeginAfterAHandOff(t *testing.T) {
	w := handsOver(escalation.HandOffAdd)
	svc := w.Services[shop]
	svc.Urgency = catalog.UrgencyBySupportHours
	svc.Hours = catalog.SupportHours{Zone: "UTC", Days: []time.Weekday{time.Saturday}, Start: 4 * time.Hour, End: 18 * time.Hour}
	w.Services[shop] = svc
	s := &story{t: t, w: w, now: start, alerts: map[string]incident.Alert{}}
	s.must(incident.Begin{
		ID: "i1", Number: 1, Service: svc, By: source, Alert: incident.Alert{Service: shop, Key: "k1"}, Event: fire("disk", event.Critical),
	})
	s.until(61 * time.Minute)
	if s.in.Urgency != incident.High || s.in.Asks("ann") || !s.in.Asks("cy") {
		t.Errorf("at 04:00 urgency is %v, ann asked %v, cy %v", s.in.Urgency, s.in.Asks("ann"), s.in.Asks("cy"))
	}
}

// Of a level that has nobody, the owners of each schedule with a gap are told.
func TestGapTellsTheOwnersOfTheSchedule(t *testing.T) {
	s := trigger(t, byShift(0, shift(24, ""))).received()
	var told []schedule.ID
	for _, w := range s.work {
		if w.Kind == incident.WorkUncovered {
			told = append(told, w.Schedule)
		}
	}
	same(t, "told", told, []schedule.ID{"shop"})
	same(t, "asked at once", s.assigned(), []string{"bo@0s"})
}
