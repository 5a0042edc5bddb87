package incident

import (
	"slices"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// takeOver hands an incident over by the word of who comes on call. It stays as
// it is: one that nobody has taken asks him instead, with all his contact steps,
// and one that somebody sees to is his from now on, asleep for as long as it was.
// What is held by people whom the schedule had not asked stays theirs, and so do
// those who were asked to help.
func (t *turn) takeOver(c TakeOver) error {
	in := t.in
	if err := t.refuseUnlessOpen("taken over"); err != nil {
		return err
	}
	self, isUser := c.By.User()
	if !isUser {
		return fault.New(fault.Precondition, "NO_PERSON", "only a person can take an incident over", "incident", string(in.ID))
	}
	var gone []Assignee
	var leaving []roster.UserID
	for _, a := range in.Assignees {
		if a.User != self && a.Via != ViaResponder && c.leaves(a) {
			gone, leaving = append(gone, a), append(leaving, a.User)
		}
	}
	if a := in.Assigned(c.From); a == nil || c.leaves(*a) {
		leaving = append(leaving, c.From)
	}
	asks := slices.ContainsFunc(gone, func(a Assignee) bool { return in.Asks(a.User) })
	if asks && len(t.reachable([]roster.UserID{self})) == 0 {
		return fault.New(fault.Precondition, "NOBODY_REACHABLE", "you have no working way to be woken; enrol a device first, then take it over", "incident", string(in.ID))
	}
	t.passAck(c.By, self, leaving)
	if len(gone) == 0 {
		return nil
	}
	if in.Assigned(self) == nil {
		if asks {
			t.joinFor(c.By, []roster.UserID{self}, gone[0].Via, CauseHandOff)
		} else {
			t.stepIn(c.By, self, gone[0])
		}
	}
	for _, a := range gone {
		t.leave(c.By, a.User)
	}
	if asks {
		t.follow([]roster.UserID{self}) // who followed the schedule follows on
	}
	return nil
}

// leaves reports whether an assignee gives his place away: whom the schedule had
// asked, and who goes off call, unless another schedule of his asks him.
func (c TakeOver) leaves(a Assignee) bool {
	if a.Schedule == "" {
		return a.User == c.From
	}
	return a.Schedule == c.Schedule
}

// passAck makes the acknowledgements of those who leave the one of who comes.
func (t *turn) passAck(by Actor, self roster.UserID, leaving []roster.UserID) {
	in := t.in
	var held []roster.UserID
	in.Acks = slices.DeleteFunc(in.Acks, func(a Ack) bool {
		u, ok := a.By.User()
		if ok = ok && u != self && slices.Contains(leaving, u); ok {
			held = append(held, u)
		}
		return ok
	})
	if len(held) == 0 {
		return
	}
	in.Shadows = slices.DeleteFunc(in.Shadows, func(o Assignee) bool { return o.User == self })
	if !in.AckedBy(self) {
		in.Acks = append(in.Acks, Ack{By: by, At: t.now})
	}
	t.tell(Entry{Type: EntryTakenOver, Actor: by, Users: held, Cause: CauseHandOff})
	t.moved()
	if !in.Snoozed() {
		t.armAck(self)
	}
	for _, u := range held {
		if in.Assigned(u) == nil { // else he is told when he leaves
			t.do(Work{Kind: WorkReplace, User: u, Actor: by, Text: "taken over"})
		}
	}
}

// stepIn puts somebody in the place of one who is not paged any more. He has
// the incident in his list, and nothing rings.
func (t *turn) stepIn(by Actor, self roster.UserID, a Assignee) {
	s := Assignee{User: self, Since: t.now, Via: a.Via, Level: a.Level, Elapsed: -1}
	s.Schedule = scheduleOf(t.reasons(s))
	t.in.Assignees = append(t.in.Assignees, s)
	t.in.Shadows = slices.DeleteFunc(t.in.Shadows, func(o Assignee) bool { return o.User == self })
	t.tell(Entry{Type: EntryAssigned, Actor: by, Users: []roster.UserID{self}, Via: a.Via, Level: t.in.Level, Loop: t.in.Loop, Count: 1, Cause: CauseHandOff})
	t.moved()
}

// onTurn reports whether the command takes over what a schedule asks by whoever
// is on call by it now: then he is nobody's shadow, whatever his pages said.
func (t *turn) onTurn(cmd Command, user roster.UserID) bool {
	c, ok := cmd.(TakeOver)
	if !ok {
		return false
	}
	shift, _ := t.view.Shift(c.Schedule, t.now)
	return shift.User == user
}
