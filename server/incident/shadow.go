package incident

import (
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// Shadowing is what makes somebody a shadow: he gets the pages of an assignee
// as well, to learn. The rules for those who are asked never look at shadows, so
// that nobody is paged less, later or otherwise because somebody looks on.
type Shadowing struct {
	Follows roster.UserID // the assignee
	Mode    schedule.Mode
	Link    schedule.ShadowID // what says so, or
	Layer   schedule.LayerID  // the layer of the assignee's schedule whose trainees do
	Acked   time.Time         // his own answer; zero: none yet
}

// learns reports whether the shadow is paged with the usual sound only: the
// critical one is for who has to answer.
func (s Shadowing) learns() bool { return s.Mode == schedule.Observe || s.Mode == schedule.Practise }

// Following returns the plan of the person's shadow, nil when he follows nobody here.
func (in *Incident) Following(u roster.UserID) *Assignee {
	if i := slices.IndexFunc(in.Shadows, func(a Assignee) bool { return a.User == u }); i >= 0 {
		return &in.Shadows[i]
	}
	return nil
}

// OnlyFollows reports whether the actor is a shadow who may not end the incident
// for whoever is asked: one who observes or practises.
func (in *Incident) OnlyFollows(by Actor) bool {
	user, ok := by.User()
	if !ok {
		return false
	}
	s := in.Following(user)
	return s != nil && s.Shadow.Mode != schedule.Duty
}

// reasons returns the targets by which somebody is asked: those of his level, or
// of the fallback, that he holds; he himself where there are none.
func (t *turn) reasons(a Assignee) []escalation.Target {
	p, _ := t.policy()
	var of []escalation.Target
	switch {
	case a.Via == ViaPolicy && a.Level < len(p.Levels):
		of = p.Levels[a.Level].Targets
	case a.Via == ViaFallback:
		of = p.Fallback
	}
	var held []escalation.Target
	for _, target := range of {
		if slices.Contains(t.view.OnCall(target, t.now), a.User) {
			held = append(held, target)
		}
	}
	if len(held) == 0 {
		return []escalation.Target{{Kind: escalation.UserTarget, ID: string(a.User)}}
	}
	return held
}

// scheduleOf returns the first schedule of the targets.
func scheduleOf(targets []escalation.Target) schedule.ID {
	for _, target := range targets {
		if target.Kind == escalation.ScheduleTarget {
			return schedule.ID(target.ID)
		}
	}
	return ""
}

// follow pages the shadows of people who have just been asked, each once and in
// his strictest mode. Whoever is asked himself is nobody's shadow.
func (t *turn) follow(users []roster.UserID) {
	var fresh []Assignee
	for _, holder := range users {
		a := *t.in.Assigned(holder)
		for _, target := range t.reasons(a) {
			for _, f := range t.view.Followers(target, holder, t.now) {
				if t.in.Asked(f.User) != nil || t.in.AckedBy(f.User) || len(t.reachable([]roster.UserID{f.User})) == 0 {
					continue
				}
				s := Assignee{
					User: f.User, Since: t.now, Via: a.Via, Level: a.Level, Schedule: scheduleOf([]escalation.Target{target}), Elapsed: -1,
					Shadow: Shadowing{Follows: holder, Mode: f.Mode, Link: f.Shadow, Layer: f.Layer},
				}
				i := slices.IndexFunc(fresh, func(o Assignee) bool { return o.User == f.User })
				switch {
				case i < 0:
					fresh = append(fresh, s)
				case f.Mode > fresh[i].Shadow.Mode:
					fresh[i] = s
				}
			}
		}
	}
	for _, s := range fresh {
		t.tell(Entry{Type: EntryShadowAsked, Actor: System("rule"), Users: []roster.UserID{s.User}, Level: s.Level, Follows: s.Shadow.Follows, Mode: s.Shadow.Mode})
		t.moved()
		if s.Shadow.Mode != schedule.Observe {
			t.measureBoth(t.in.Assigned(s.Shadow.Follows))
		}
		t.in.Shadows = append(t.in.Shadows, s)
		t.advance(&t.in.Shadows[len(t.in.Shadows)-1])
	}
}

// helps reports whether the person was asked to help.
func (t *turn) helps(u roster.UserID) bool {
	a := t.in.Assigned(u)
	return a != nil && a.Via == ViaResponder
}

// part lets those of the shadows go whose link has ended. It is looked at before
// anything more is sent to them and before they act, so that an end that nobody
// planned counts as well.
func (t *turn) part(look func(*Assignee) bool) {
	for _, s := range slices.Clone(t.in.Shadows) {
		f := schedule.Follower{User: s.User, Mode: s.Shadow.Mode, Shadow: s.Shadow.Link, Layer: s.Shadow.Layer}
		if !look(&s) || t.view.Follows(f, s.Schedule, t.now) {
			continue
		}
		t.in.Shadows = slices.DeleteFunc(t.in.Shadows, func(o Assignee) bool { return o.User == s.User })
		t.stopMeasuring(s.User)
		t.tell(Entry{Type: EntryShadowEnded, Actor: System("rule"), Users: []roster.UserID{s.User}, Follows: s.Shadow.Follows, Mode: s.Shadow.Mode})
		t.moved()
		t.do(Work{Kind: WorkReplace, User: s.User, Actor: System("rule"), Text: "no longer yours to follow"})
	}
}

// deed returns who does what to an incident, of what a shadow may not do to it:
// whatever takes pages from others. "" for the rest.
func deed(cmd Command) (Actor, string) {
	switch c := cmd.(type) {
	case Acknowledge:
		return c.By, acknowledges
	case Snooze:
		return c.By, snoozes
	case Unacknowledge:
		return c.By, "give back"
	case Resolve:
		return c.By, "resolve"
	case Escalate:
		return c.By, "escalate"
	case Reassign:
		return c.By, "reassign"
	case TakeOver:
		return c.By, "take over"
	case SetUrgency:
		return c.By, "change the urgency of"
	}
	return Actor{}, ""
}

const (
	acknowledges = "acknowledge"
	snoozes      = "snooze"
)

// refuseShadow refuses to a shadow what only those may do who are asked. One who
// practises may acknowledge, for the measure; one on duty may do everything but
// put an incident to sleep that the person he follows has not taken.
func (t *turn) refuseShadow(cmd Command) error {
	by, verb := deed(cmd)
	user, ok := by.User()
	if verb == "" || !ok || len(t.in.Shadows) == 0 || t.onTurn(cmd, user) {
		return nil
	}
	t.part(func(s *Assignee) bool { return s.User == user })
	s := t.in.Following(user)
	switch {
	case s == nil:
		return nil
	case s.Shadow.Mode == schedule.Duty && (verb != snoozes || t.in.Status == Acknowledged):
		return nil
	case s.Shadow.Mode == schedule.Practise && verb == acknowledges:
		return nil
	}
	return fault.New(fault.Denied, "SHADOW_ONLY", "you follow this incident as a shadow and cannot "+verb+" it; the person whom you follow can",
		"incident", string(t.in.ID), "follows", "users/"+string(s.Shadow.Follows))
}

// acknowledgeAsShadow takes in a shadow's answer: it is measured and ends his own
// pages. Nobody else's plan, and no timer, is touched by it.
func (t *turn) acknowledgeAsShadow(c Acknowledge, s *Assignee) error {
	if !s.Shadow.Acked.IsZero() {
		return nil
	}
	s.Shadow.Acked = t.now
	silence(s)
	t.tell(Entry{
		Type: EntryShadowAcknowledged, Actor: c.By, ClientAt: c.ClientAt, Follows: s.Shadow.Follows, Mode: s.Shadow.Mode, Took: t.answered(s.User),
	})
	t.moved()
	t.do(Work{Kind: WorkReplace, User: s.User, Actor: c.By, Text: "answered as a shadow"})
	return nil
}

// calm silences the shadows of somebody who has acknowledged, or of everybody.
// Those on duty have to answer for themselves.
func (t *turn) calm(holder roster.UserID) {
	for i := range t.in.Shadows {
		s := &t.in.Shadows[i]
		if t.waitsFor(s.User) || (holder != "" && s.Shadow.Follows != holder) {
			continue
		}
		silence(s)
		if holder != "" {
			t.do(Work{Kind: WorkReplace, User: s.User, Actor: t.in.lastAck(), Text: "acknowledged"})
		}
	}
}

// waitsFor reports whether the answer of a shadow on duty is waited for,
// whoever else has acknowledged.
func (t *turn) waitsFor(u roster.UserID) bool {
	s := t.in.Following(u)
	return s != nil && s.Shadow.Mode == schedule.Duty && s.Shadow.Acked.IsZero()
}
