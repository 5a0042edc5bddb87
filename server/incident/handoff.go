package incident

import (
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// successor returns who is on call now by the schedule by which somebody was
// asked, when that is another one who can be reached.
func (t *turn) successor(a Assignee) (roster.UserID, bool) {
	if a.Schedule == "" {
		return "", false
	}
	shift, _ := t.view.Shift(a.Schedule, t.now)
	return shift.User, !shift.Gap() && shift.User != a.User && len(t.reachable([]roster.UserID{shift.User})) > 0
}

// relieved reports whether the person was asked by a schedule that has somebody
// else on call by now.
func (t *turn) relieved(u roster.UserID) bool {
	a := t.in.Assigned(u)
	if a == nil {
		return false
	}
	_, ok := t.successor(*a)
	return ok
}

// relieve hands an incident over that nobody has taken when the shift of somebody
// who is asked has ended: whoever is on call now is asked too, or instead.
func (t *turn) relieve() {
	in := t.in
	if in.Status != Triggered {
		return
	}
	if at := in.Timers.HandOff; !at.IsZero() && !t.now.Before(at) {
		t.d.Changed = true // looked at: the next end is armed
	}
	how := t.handOff()
	if how == escalation.HandOffKeep {
		return
	}
	for _, a := range slices.Clone(in.Assignees) {
		next, ok := t.successor(a)
		if !ok || in.Assigned(next) != nil {
			continue
		}
		t.joinFor(System("rule"), []roster.UserID{next}, a.Via, CauseHandOff)
		if how == escalation.HandOffMove {
			t.leave(System("rule"), a.User)
			t.follow([]roster.UserID{next}) // who followed the schedule follows on
		}
	}
}

// standDown lets those go whose successors are asked already. They were to be
// asked until the next level; an incident of low urgency has none, and would wake
// them hours after their shift when it becomes urgent.
func (t *turn) standDown() {
	if t.handOff() == escalation.HandOffKeep {
		return
	}
	for _, a := range slices.Clone(t.in.Assignees) {
		if next, ok := t.successor(a); ok && t.in.Assigned(next) != nil {
			t.leave(System("rule"), a.User)
			t.follow([]roster.UserID{next})
		}
	}
}

// leave takes somebody, and who follows him, out of those who are asked.
func (t *turn) leave(by Actor, u roster.UserID) {
	in := t.in
	gone := []roster.UserID{u}
	in.Assignees = slices.DeleteFunc(in.Assignees, func(a Assignee) bool { return a.User == u })
	in.Shadows = slices.DeleteFunc(in.Shadows, func(a Assignee) bool {
		if a.Shadow.Follows == u {
			gone = append(gone, a.User)
		}
		return a.Shadow.Follows == u
	})
	left := Entry{Type: EntryAssigned, Actor: by, Via: ViaPolicy, Level: in.Level, Loop: in.Loop, Cause: CauseHandOff}
	for _, a := range in.Assignees {
		if a.Via != ViaResponder {
			left.Users, left.Via = append(left.Users, a.User), a.Via
		}
	}
	t.tell(left)
	t.moved()
	t.stopMeasuring(gone...)
	verb := "handed over"
	if by.Kind == ActorUser {
		verb = "taken over"
	}
	for _, g := range gone {
		t.do(Work{Kind: WorkReplace, User: g, Actor: by, Text: verb})
	}
}

// armHandOff sets the instant at which a shift ends by which somebody is asked.
func (t *turn) armHandOff() {
	in := t.in
	in.Timers.HandOff = time.Time{}
	if in.Status != Triggered {
		return
	}
	for i := range in.Assignees {
		id := in.Assignees[i].Schedule
		if id == "" {
			continue
		}
		if shift, _ := t.view.Shift(id, t.now); shift.End.After(t.now) {
			in.Timers.HandOff = earliest(in.Timers.HandOff, shift.End)
		}
	}
	if t.handOff() == escalation.HandOffKeep {
		in.Timers.HandOff = time.Time{}
	}
}

// handOff returns what the policy makes of a change of shifts.
func (t *turn) handOff() escalation.HandOff {
	p, _ := t.policy()
	return p.HandOff
}
