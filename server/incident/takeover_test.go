package incident_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

var over = incident.TakeOver{By: by("cy"), Schedule: "shop", From: "ann"}

// tells checks that the timeline alone says how the incident stands.
func (s *story) tells(t *testing.T) {
	t.Helper()
	if diff := cmp.Diff(s.in.Summary(), incident.Replay(s.timeline), cmp.AllowUnexported(incident.Replayed{})); diff != "" {
		t.Errorf("the timeline tells another story (-stored +replayed):\n%s", diff)
	}
}

// What nobody has taken asks who comes, at once and instead; a second tap changes nothing.
func TestTakeOverOfWhatWaits(t *testing.T) {
	s := trigger(t, handsOver(escalation.HandOffAdd)).received()
	s.until(11 * time.Minute)
	s.must(over)
	if s.in.Status != incident.Triggered || s.in.Asks("ann") || !s.in.Asks("cy") || s.in.Timers.Escalate != start.Add(20*time.Minute) {
		t.Errorf("after the take-over: %v, ann asked %v, cy %v, next level at %v", s.in.Status, s.in.Asks("ann"), s.in.Asks("cy"), s.in.Timers.Escalate)
	}
	s.tells(t)
	before := s.in.Version
	s.must(over)
	if s.in.Version != before {
		t.Error("the second tap changed the incident")
	}
}

// Before the turn has begun the place is taken all the same, and the schedule
// does not give it back to who still is on call by it.
func TestTakeOverBeforeTheTurn(t *testing.T) {
	s := trigger(t, handsOver(escalation.HandOffMove)).received()
	s.until(5 * time.Minute)
	s.must(over)
	same(t, "cy at once", s.pages("cy")[:1], []string{"push@5m0s"})
	s.until(19 * time.Minute)
	if s.in.Asks("ann") || !s.in.Asks("cy") {
		t.Errorf("at 19 m ann is asked %v, cy %v", s.in.Asks("ann"), s.in.Asks("cy"))
	}
	same(t, "asked", s.assigned(), []string{"ann@0s", "cy@5m0s", "cy@5m0s"})
}

// What the one before had acknowledged is held by who comes; nothing rings, and
// the time-out is counted anew.
func TestTakeOverOfWhatIsHeld(t *testing.T) {
	s := trigger(t, handsOver(escalation.HandOffAdd)).received()
	s.until(5 * time.Minute)
	s.must(incident.Acknowledge{By: by("ann")})
	s.until(11 * time.Minute)
	s.must(over)
	if s.in.Status != incident.Acknowledged || s.in.AckedBy("ann") || !s.in.AckedBy("cy") || s.in.Assigned("ann") != nil || s.in.Assigned("cy") == nil {
		t.Errorf("after the take-over: %v, %+v, %+v", s.in.Status, s.in.Acks, s.in.Assignees)
	}
	if pages := s.pages("cy"); len(pages) > 0 {
		t.Errorf("cy is paged %v for what he holds", pages)
	}
	if want := s.now.Add(s.w.Speed.AckTimeout); s.in.Timers.AckTimeout != want {
		t.Errorf("the acknowledgement lapses at %v, want %v", s.in.Timers.AckTimeout, want)
	}
	s.tells(t)
}

// A snooze sleeps on, and wakes who has taken it over.
func TestTakeOverOfASnooze(t *testing.T) {
	s := trigger(t, handsOver(escalation.HandOffAdd)).received()
	s.until(5 * time.Minute)
	s.must(incident.Snooze{By: by("ann"), For: time.Hour})
	until := s.in.Timers.SnoozeEnd
	s.must(over)
	if s.in.Timers.SnoozeEnd != until || s.in.AckedBy("ann") || !s.in.AckedBy("cy") {
		t.Errorf("it sleeps until %v, want %v; held by %+v", s.in.Timers.SnoozeEnd, until, s.in.Acks)
	}
	s.until(66 * time.Minute)
	if !s.in.Asks("cy") || s.in.Asks("ann") || len(s.noticed("ann")) > 0 {
		t.Errorf("awake: cy asked %v, ann %v, told %v", s.in.Asks("cy"), s.in.Asks("ann"), s.noticed("ann"))
	}
	s.tells(t)
}

// What somebody else holds, and who was asked to help, stays.
func TestTakeOverLeavesOthersAlone(t *testing.T) {
	s := trigger(t, handsOver(escalation.HandOffAdd)).received()
	s.until(2 * time.Minute)
	s.must(incident.RequestResponders{By: by("ann"), Users: []roster.UserID{"dee"}})
	s.must(incident.Acknowledge{By: by("bo")})
	s.must(over)
	if !s.in.AckedBy("bo") || s.in.AckedBy("cy") || s.in.Assigned("dee") == nil || s.in.Assigned("ann") != nil {
		t.Errorf("held by %+v, asked %+v", s.in.Acks, s.in.Assignees)
	}
	s.tells(t)
}

// Who goes off call by one schedule and is asked by another keeps what that asks him for.
func TestTakeOverLeavesAnotherTurnAlone(t *testing.T) {
	w := handsOver(escalation.HandOffKeep)
	second := shift(12, "ann")
	second.ID = "second"
	w.SetSchedule(second)
	s := trigger(t, w).received()
	s.must(incident.Acknowledge{By: by("ann")})
	s.until(11 * time.Minute)
	before := s.in.Version
	s.must(incident.TakeOver{By: by("cy"), Schedule: "second", From: "ann"})
	if s.in.Version != before || !s.in.AckedBy("ann") {
		t.Errorf("cy took over what shop had asked ann for: held by %+v", s.in.Acks)
	}
	s.must(over)
	if s.in.AckedBy("ann") {
		t.Errorf("held by %+v, want cy", s.in.Acks)
	}
}

// Of a level that asks everybody, who comes answers for the one whose answer is still missing.
func TestTakeOverOnALevelThatAsksEachOfThem(t *testing.T) {
	w := handsOver(escalation.HandOffKeep)
	p := w.Policies["night"]
	p.Levels[0].MultiAck = true
	p.Levels[0].Targets = append(p.Levels[0].Targets, escalation.Target{Kind: escalation.UserTarget, ID: "bo"})
	w.Policies["night"] = p
	s := trigger(t, w).received()
	s.must(incident.Acknowledge{By: by("bo")})
	s.until(11 * time.Minute)
	s.must(over)
	if !s.in.AckedBy("bo") || s.in.AckedBy("cy") || !s.in.Asks("cy") {
		t.Errorf("held by %+v, cy asked %v", s.in.Acks, s.in.Asks("cy"))
	}
	s.tells(t)
}

func TestTakeOverIsRefused(t *testing.T) {
	muted := trigger(t, handsOver(escalation.HandOffAdd)).received()
	muted.w.Mute("cy")
	over := trigger(t, handsOver(escalation.HandOffAdd))
	over.must(incident.Resolve{By: by("ann")})
	for name, c := range map[string]struct {
		s      *story
		by     incident.Actor
		reason string
	}{
		"somebody who cannot be woken": {muted, by("cy"), "NOBODY_REACHABLE"},
		"of what is resolved":          {over, by("cy"), "INCIDENT_RESOLVED"},
		"by a service account":         {muted, incident.Actor{Kind: incident.ActorService, ID: "t1"}, "NO_PERSON"},
	} {
		err := c.s.do(incident.TakeOver{By: c.by, Schedule: "shop", From: "ann"})
		if f, ok := errors.AsType[*fault.Error](err); !ok || f.Kind != fault.Precondition || f.Reason != c.reason {
			t.Errorf("%s: %v, want %s", name, err, c.reason)
		}
	}
}

// A shadow takes nothing over before it is his turn; on his turn he is no shadow.
func TestShadowTakesOverOnHisTurnOnly(t *testing.T) {
	w := handsOver(escalation.HandOffKeep)
	w.Shadowed = map[roster.UserID][]schedule.Shadow{"ann": {{ID: "s", User: "cy", Person: "ann", Mode: schedule.Observe}}}
	s := trigger(t, w).received()
	s.until(5 * time.Minute)
	if err := s.do(over); fault.KindOf(err) != fault.Denied {
		t.Errorf("before his turn: %v, want it refused", err)
	}
	s.until(11 * time.Minute)
	s.must(over)
	if s.in.Following("cy") != nil || s.in.Assigned("cy") == nil || s.in.Assigned("ann") != nil {
		t.Errorf("on his turn: shadows %+v, asked %+v", s.in.Shadows, s.in.Assignees)
	}
	s.tells(t)
}
