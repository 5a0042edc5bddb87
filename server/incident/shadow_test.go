package incident_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/server/civil"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/incident/incidenttest"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// shift is a schedule of turns that are so many hours long, the first of which
// began an hour before the story.
func shift(hours int, users ...roster.UserID) schedule.Schedule {
	return schedule.Schedule{ID: "shop", Zone: "UTC", Layers: []schedule.Layer{{
		ID: "l", Priority: 1, Participants: users, Since: start.AddDate(-1, 0, 0),
		Rotation: schedule.Rotation{Unit: schedule.Hours, Length: hours, Anchor: civil.Show(start.Add(-time.Hour), time.UTC)},
	}}}
}

// byShift is a world whose policy asks whoever is on call by the schedule, then
// bo, and whose eve follows in the mode until two hours into the story.
func byShift(mode schedule.Mode, s schedule.Schedule) *incidenttest.World {
	w := incidenttest.New()
	w.Add("eve")
	if mode != 0 {
		s.Shadows = []schedule.Shadow{{ID: "s1", User: "eve", Mode: mode, Start: start.Add(-time.Hour), End: start.Add(2 * time.Hour)}}
	}
	w.SetSchedule(s)
	first := incidenttest.Level(20 * time.Minute)
	first.Targets = []escalation.Target{{Kind: escalation.ScheduleTarget, ID: "shop"}}
	w.SetPolicy("night", 0, first, incidenttest.Level(20*time.Minute, "bo"))
	return w
}

func day(mode schedule.Mode) *incidenttest.World { return byShift(mode, shift(24, "ann", "cy")) }

// entry returns the only entry of its type.
func (s *story) entry(typ incident.EntryType) incident.Entry {
	s.t.Helper()
	i := slices.IndexFunc(s.timeline, func(e incident.Entry) bool { return e.Type == typ })
	if i < 0 {
		s.t.Fatalf("the timeline has no entry of type %d", typ)
	}
	return s.timeline[i]
}

func TestObserverIsPagedOnceAndMayNotAct(t *testing.T) {
	s := trigger(t, day(schedule.Observe)).received()
	s.until(10 * time.Minute)
	same(t, "eve", s.pages("eve"), []string{"push@0s"})
	same(t, "asked", s.assigned(), []string{"ann@0s"})
	for _, cmd := range []incident.Command{
		incident.Acknowledge{By: by("eve")},
		incident.Snooze{By: by("eve"), For: time.Hour},
		incident.Resolve{By: by("eve")},
		incident.Escalate{By: by("eve")},
		incident.Reassign{By: by("eve"), Users: []roster.UserID{"eve"}},
	} {
		if err := s.do(cmd); fault.KindOf(err) != fault.Denied {
			t.Errorf("%T of a shadow who observes: %v, want it denied", cmd, err)
		}
	}
	s.must(incident.AddNote{By: by("eve"), Text: "I see it too"})
	for _, w := range s.work {
		if w.Kind == incident.WorkPage && w.User == "eve" && (w.Mode != schedule.Observe || w.Follows != "ann") {
			t.Errorf("the page to eve is not marked: %+v", w.Work)
		}
	}
	s.must(incident.Acknowledge{By: by("ann")})
	if s.in.Asks("eve") {
		t.Error("eve is still asked after ann has acknowledged")
	}
}

func TestPractiseIsMeasuredAndStopsNobodyElse(t *testing.T) {
	s := trigger(t, day(schedule.Practise)).received()
	s.until(90 * time.Second)
	s.must(incident.Acknowledge{By: by("eve")})
	if s.in.Status != incident.Triggered || len(s.in.Acks) != 0 || !s.in.FirstAck.IsZero() {
		t.Fatalf("eve's answer took the incident: %v, %v", s.in.Status, s.in.Acks)
	}
	got := s.entry(incident.EntryShadowAcknowledged)
	if got.Took != 90*time.Second || got.Follows != "ann" || got.Mode != schedule.Practise || got.Actor.ID != "eve" {
		t.Errorf("the measure: %+v", got)
	}
	s.must(incident.Acknowledge{By: by("eve")})
	s.until(10 * time.Minute)
	same(t, "eve", s.pages("eve"), []string{"push@0s", "push@1m0s"}) // the usual sound, and no more after her answer
	same(t, "ann", s.pages("ann"), []string{"push@0s", "push!@1m0s", "mail@3m0s", "push!@8m0s", "mail@8m0s"})
	s.must(incident.Acknowledge{By: by("ann")})
	if took := s.entry(incident.EntryAcknowledged).Took; took != 10*time.Minute {
		t.Errorf("ann, whom eve follows, took %v, want 10m beside eve's", took)
	}
}

func TestDutyWantsBothAnswers(t *testing.T) {
	s := trigger(t, day(schedule.Duty)).received()
	s.must(incident.Acknowledge{By: by("ann")})
	if s.in.Status != incident.Acknowledged || !s.in.Asks("eve") {
		t.Fatalf("after the mentor's answer: %v, eve asked %v", s.in.Status, s.in.Asks("eve"))
	}
	if err := s.do(incident.Snooze{By: by("eve"), For: time.Hour}); err != nil {
		t.Errorf("snooze of what the mentor has taken: %v", err)
	}
	s = trigger(t, day(schedule.Duty)).received()
	s.until(30 * time.Second)
	s.must(incident.Acknowledge{By: by("ann")})
	s.until(9 * time.Minute)
	same(t, "eve goes on", s.pages("eve"), []string{"push@0s", "push!@1m0s", "mail@3m0s", "push!@8m0s", "mail@8m0s"})
	same(t, "ann", s.pages("ann"), []string{"push@0s"})
	s.must(incident.Acknowledge{By: by("eve")})
	s.until(29 * time.Minute)
	same(t, "eve after her answer", s.pages("eve"), []string{"push@0s", "push!@1m0s", "mail@3m0s", "push!@8m0s", "mail@8m0s"})

	s = trigger(t, day(schedule.Duty)).received()
	s.must(incident.Acknowledge{By: by("eve")})
	if err := s.do(incident.Snooze{By: by("eve"), For: time.Hour}); fault.KindOf(err) != fault.Denied {
		t.Errorf("eve puts to sleep what ann has not taken: %v, want it denied", err)
	}
	s.until(21 * time.Minute)
	same(t, "the trainee's answer alone", s.assigned(), []string{"ann@0s", "bo@20m0s"})
}

// A shadow is not somebody who is there: he fills no gap and keeps no level from
// being passed.
func TestShadowFillsNoGap(t *testing.T) {
	w := byShift(schedule.Duty, shift(24, ""))
	s := trigger(t, w).received()
	same(t, "asked", s.assigned(), []string{"bo@0s"})
	same(t, "eve", s.pages("eve"), []string(nil))
	w = day(schedule.Duty)
	w.Mute("ann")
	s = trigger(t, w).received()
	same(t, "asked past a holder who cannot be reached", s.assigned(), []string{"bo@0s"})
	same(t, "his shadow", s.pages("eve"), []string(nil))
}

func TestEndOfTheLinkEndsTheShadowsPlan(t *testing.T) {
	w := day(schedule.Duty)
	s := trigger(t, w).received()
	s.until(30 * time.Second)
	w.SetSchedule(shift(24, "ann", "cy")) // without eve
	s.until(10 * time.Minute)
	same(t, "eve", s.pages("eve"), []string{"push@0s"})
	same(t, "ended", s.at(incident.EntryShadowEnded), []time.Duration{time.Minute})
	s.must(incident.Acknowledge{By: by("eve")})
	if s.in.Status != incident.Acknowledged {
		t.Error("who follows nobody any more cannot take the incident")
	}
	s = trigger(t, day(schedule.Duty)).received()
	s.must(incident.Acknowledge{By: by("ann")})
	for at := 29 * time.Minute; at < 3*time.Hour; at += 29 * time.Minute { // ann stays on it
		s.until(at)
		s.must(incident.Confirm{By: by("ann")})
	}
	if last := s.pages("eve"); s.in.Following("eve") != nil || len(s.at(incident.EntryShadowEnded)) != 1 {
		t.Errorf("the link ended after two hours; eve's last page: %s", last[len(last)-1])
	}
}

func TestPersonIsFollowedWhereverHeIsAsked(t *testing.T) {
	w := incidenttest.New()
	w.Add("eve")
	w.Shadowed = map[roster.UserID][]schedule.Shadow{"ann": {{ID: "s1", User: "eve", Person: "ann", Mode: schedule.Observe}}}
	s := trigger(t, w).received()
	same(t, "by a policy", s.pages("eve"), []string{"push@0s"})
	s.until(6 * time.Minute)
	if s.in.Following("eve") != nil {
		t.Error("eve follows the next level")
	}
	s.must(incident.Reassign{By: by("cy"), Users: []roster.UserID{"ann"}})
	same(t, "by name", s.pages("eve"), []string{"push@0s", "push@6m0s"})
	s.must(incident.RequestResponders{By: by("ann"), Users: []roster.UserID{"eve"}})
	if s.in.Following("eve") != nil || s.in.Assigned("eve") == nil {
		t.Error("eve, who was asked to help, is still a shadow")
	}
}

// TestEightNewcomersArePagedWithEight has an incident on every day of sixteen
// weeks of eight primaries, each with a newcomer of the shadow rotation.
func TestEightNewcomersArePagedWithEight(t *testing.T) {
	w := incidenttest.New()
	var primaries, newcomers []roster.UserID
	for i := range 8 {
		primaries, newcomers = append(primaries, roster.UserID(fmt.Sprintf("p%d", i))), append(newcomers, roster.UserID(fmt.Sprintf("n%d", i)))
	}
	w.Add(primaries...)
	w.Add(newcomers...)
	monday := time.Date(2026, 9, 7, 9, 0, 0, 0, time.UTC)
	zone, err := time.LoadLocation("Europe/Berlin") // clocks go back in the seventh week
	if err != nil {
		t.Fatal(err)
	}
	w.SetSchedule(schedule.Schedule{ID: "shop", Zone: "Europe/Berlin", Layers: []schedule.Layer{{
		ID: "l", Priority: 1, Participants: primaries, Since: monday.AddDate(-1, 0, 0),
		Rotation: schedule.Rotation{Unit: schedule.Weeks, Length: 1, Anchor: civil.Show(monday.In(zone), zone)},
		Trainees: schedule.Trainees{Users: newcomers, Mode: schedule.Practise},
	}}})
	l := incidenttest.Level(5 * time.Minute)
	l.Targets = []escalation.Target{{Kind: escalation.ScheduleTarget, ID: "shop"}}
	w.SetPolicy("night", 0, l)
	paged := map[string]int{}
	for d := range 16 * 7 {
		s := &story{t: t, w: w, now: monday.AddDate(0, 0, d).Add(3 * time.Hour), alerts: map[string]incident.Alert{}}
		s.must(incident.Begin{
			ID: incident.ID(fmt.Sprintf("i%d", d)), Number: int64(d), Service: w.Services[shop], By: source,
			Alert: incident.Alert{Service: shop, Key: "k1"}, Event: fire("disk full", 1),
		})
		var got []string
		for _, w := range s.work {
			if w.Kind == incident.WorkPage {
				got = append(got, string(w.User))
			}
		}
		turn := (d / 7) % 8
		if want := []string{fmt.Sprintf("p%d", turn), fmt.Sprintf("n%d", turn)}; !slices.Equal(got, want) {
			t.Errorf("on day %d are paged %v, want %v", d+1, got, want)
		}
		for _, u := range got {
			paged[u]++
		}
	}
	for u, n := range paged {
		if n != 14 {
			t.Errorf("%s was paged %d times in sixteen weeks, want 14", u, n)
		}
	}
	if len(paged) != 16 {
		t.Errorf("%d people were paged, want 16", len(paged))
	}
}

// TestShadowsChangeNothingForOthers tells one story twice, with shadows and
// without: whoever is asked himself is asked, paged and told the same, at the
// same instants, whatever the shadows do.
func TestShadowsChangeNothingForOthers(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		mode := schedule.Mode(rapid.IntRange(1, 3).Draw(rt, "mode"))
		multi := rapid.Bool().Draw(rt, "multi-ack")
		tell := func(mode schedule.Mode) *story {
			plan := shift(3, "ann", "cy")
			plan.Response = 15 * time.Minute
			w := byShift(mode, plan)
			l := w.Policies["night"].Levels[0]
			l.MultiAck = multi
			l.Targets = append(slices.Clone(l.Targets), escalation.Target{Kind: escalation.UserTarget, ID: "dee"})
			w.SetPolicy("night", 1, l, incidenttest.Level(20*time.Minute, "bo"))
			w.SetPolicy("day", 0, incidenttest.Level(5*time.Minute, "cy"))
			return trigger(t, w)
		}
		plain, followed := tell(0), tell(mode)
		for i := range rapid.IntRange(1, 25).Draw(rt, "steps") {
			at := plain.now.Sub(start) + time.Duration(rapid.IntRange(0, 900).Draw(rt, "wait"))*time.Second
			plain.until(at)
			followed.until(at)
			if rapid.Bool().Draw(rt, "the shadow acts") {
				verb := rapid.IntRange(0, 1).Draw(rt, "shadow's command")
				cmd := []incident.Command{incident.Acknowledge{By: by("eve")}, incident.Undelivered{
					User: "eve", Method: roster.PushAll, Generation: followed.in.Generation, Reason: "gone",
				}}[verb]
				if followed.in.Following("eve") != nil {
					_ = followed.do(cmd)
				}
			}
			cmd := command(rt, plain, i)
			if _, free := cmd.(incident.Undelivered); free {
				continue // names a generation, which both have
			}
			a, b := plain.do(cmd), followed.do(cmd)
			if (a == nil) != (b == nil) {
				rt.Fatalf("%T: %v without a shadow, %v with one", cmd, a, b)
			}
			if diff := cmp.Diff(own(plain), own(followed)); diff != "" {
				rt.Fatalf("after %T a shadow changed what others get (-without +with):\n%s", cmd, diff)
			}
			if diff := cmp.Diff(plain.in.Assignees, followed.in.Assignees); diff != "" {
				rt.Fatalf("after %T a shadow changed who is asked (-without +with):\n%s", cmd, diff)
			}
			followed.check(rt, cmd, followed.in, nil)
		}
	})
}

// own lists what everybody but shadows is sent.
func own(s *story) []string {
	var all []string
	for _, w := range s.work {
		if w.Mode == 0 && w.User != "eve" {
			all = append(all, fmt.Sprintf("%d %s %s %v %d %d %d @%v", w.Kind, w.User, w.Method, w.Loud, w.Reason, w.Level, w.Number, w.at))
		}
	}
	return all
}
