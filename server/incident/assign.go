package incident

import (
	"slices"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// escalate goes to the next level by a person's word.
func (t *turn) escalate(c Escalate) error {
	in := t.in
	if err := t.refuseUnlessOpen("escalated"); err != nil {
		return err
	}
	if c.Expected != nil && *c.Expected != in.Level {
		return nil // the other tap was first
	}
	p, ok := t.policy()
	if !ok {
		return fault.New(fault.Precondition, "NO_POLICY", "the incident has no escalation policy; reassign it instead", "incident", string(in.ID))
	}
	to := in.Level + 1
	if in.Direct {
		to = 0
	}
	switch {
	case c.To != nil:
		if to = *c.To; to < 0 || to >= len(p.Levels) {
			return fault.InvalidField("level", "the policy has %d levels, so it is 1 to %d", len(p.Levels), len(p.Levels))
		}
	case to < len(p.Levels):
	case in.Loop < p.Loops:
		to = 0
		t.repeatLoop()
	case c.Wrap:
		to = 0
	default:
		return fault.New(fault.Precondition, "LAST_LEVEL", "the last level of the last loop was asked; set wrap to begin again with the first",
			"incident", string(in.ID), "policy", escalationOf(p.ID))
	}
	from := in.Level
	t.untake(c.By, CauseReassigned)
	t.tell(Entry{Type: EntryEscalated, Actor: c.By, From: from, Level: to, Loop: in.Loop, Cause: CauseManual})
	t.do(Work{Kind: WorkReplace, Actor: c.By, Text: "escalated"})
	t.ask(to)
	return nil
}

// timeout is the escalation timer: the next level, the next loop, or the end of the policy.
func (t *turn) timeout() {
	in := t.in
	in.Timers.Escalate = time.Time{}
	p, ok := t.policy()
	if t.onLastResort() && !t.anybody(p) { // walked again, still nobody: no loop is used up, nothing is said twice
		in.Timers.Escalate = t.now.Add(t.view.Pace().EmptyPass)
		t.d.Changed = true
		t.widen(p)
		return
	}
	if !ok || t.onLastResort() {
		t.ask(0)
		return
	}
	cause := CauseTimeout
	if in.Hurried {
		cause = CauseUndelivered
	}
	in.Hurried = false
	switch next := in.Level + 1; {
	case next < len(p.Levels):
		t.hush()
		t.tell(Entry{Type: EntryEscalated, Actor: System("timer"), From: in.Level, Level: next, Loop: in.Loop, Cause: cause})
		t.ask(next)
	case in.Loop < p.Loops:
		t.hush()
		t.repeatLoop()
		t.ask(0)
	default:
		t.exhaust(p)
	}
}

// onLastResort reports whether fallback or catch-all are asked because the policy had nobody.
func (t *turn) onLastResort() bool {
	return !t.in.Exhausted && !slices.ContainsFunc(t.in.Assignees, func(a Assignee) bool {
		return a.Via != ViaFallback && a.Via != ViaCatchAll && a.Via != ViaResponder
	})
}

// reassign gives the incident to people, or to a policy from its first level.
func (t *turn) reassign(c Reassign) error {
	in := t.in
	if err := t.refuseUnlessOpen("reassigned"); err != nil {
		return err
	}
	if c.Policy != "" {
		p, ok := t.view.CurrentPolicy(c.Policy)
		if !ok {
			return fault.New(fault.NotFound, "POLICY_NOT_FOUND", "the escalation policy does not exist", "policy", escalationOf(c.Policy))
		}
		t.stopMeasuring()
		t.untake(c.By, CauseReassigned)
		in.Policy, in.Loop, in.Turns = p.Ref(), 0, nil
		t.do(Work{Kind: WorkReplace, Actor: c.By, Text: "reassigned"})
		t.ask(0)
		return nil
	}
	self, isUser := c.By.User()
	if isUser && in.Status == Acknowledged && len(c.Users) == 1 && c.Users[0] == self && in.AckedBy(self) {
		t.keep(self, c.By)
		return nil
	}
	before := in.Generation
	t.stopMeasuring()
	t.untake(c.By, CauseReassigned)
	t.do(Work{Kind: WorkReplace, Actor: c.By, Text: "reassigned"})
	if err := t.askDirectly(c.Users, c.NoFallback); err != nil {
		in.Generation = before
		return err
	}
	return nil
}

// keep makes the caller, who has acknowledged, the only one who is asked; nobody is paged.
func (t *turn) keep(self roster.UserID, by Actor) {
	in := t.in
	in.Direct = true
	in.Assignees, in.Shadows = []Assignee{{User: self, Since: t.now, Via: ViaDirect, Level: in.Level}}, nil
	in.Acks = slices.DeleteFunc(in.Acks, func(a Ack) bool { u, ok := a.By.User(); return !ok || u != self })
	t.tell(Entry{Type: EntryAssigned, Actor: by, Users: []roster.UserID{self}, Via: ViaDirect, Level: in.Level, Loop: in.Loop, Cause: CauseManual})
	t.hush()
	t.moved()
}

// askDirectly asks people by name. They are not escalated past; when none of
// them takes it in time the policy goes on, unless that is switched off.
func (t *turn) askDirectly(users []roster.UserID, noFallback bool) error {
	var unknown []string
	for _, id := range users {
		if u, ok := t.view.User(id); !ok || u.Inactive {
			unknown = append(unknown, "users/"+string(id))
		}
	}
	if len(unknown) > 0 {
		return fault.New(fault.NotFound, "USER_NOT_FOUND", "not active people of this installation: "+strings.Join(unknown, ", "), "users", strings.Join(unknown, ","))
	}
	if len(t.reachable(users)) == 0 {
		return fault.New(fault.Precondition, "NOBODY_REACHABLE", "none of them has a working way to be woken; choose somebody else or enrol a device first")
	}
	in := t.in
	in.Direct, in.Exhausted, in.MultiAck = true, false, false
	in.Timers.Escalate, in.Timers.CatchAll = time.Time{}, time.Time{}
	t.assign(users, ViaDirect, in.Level)
	in.Timers.Fallback = time.Time{}
	if !noFallback {
		t.armFallback()
	}
	return nil
}

// armFallback starts the wait after which a direct assignment goes back to the policy.
func (t *turn) armFallback() {
	if t.in.Policy.ID != "" {
		t.in.Timers.Fallback = t.now.Add(t.view.Pace().DirectFallback)
	}
}

// requestResponders asks more people to help, beside whoever is assigned.
func (t *turn) requestResponders(c RequestResponders) error {
	if err := t.refuseUnlessOpen("joined"); err != nil {
		return err
	}
	var ask []roster.UserID
	for _, id := range c.Users {
		if u, ok := t.view.User(id); !ok || u.Inactive {
			return fault.New(fault.NotFound, "USER_NOT_FOUND", "not an active person of this installation", "user", "users/"+string(id))
		}
		if t.in.Assigned(id) == nil && !t.in.AckedBy(id) {
			ask = union(ask, []roster.UserID{id})
		}
	}
	if len(ask) == 0 {
		return nil
	}
	t.tell(Entry{Type: EntryResponderAsked, Actor: c.By, Users: ask, Text: c.Text})
	t.join(ask, ViaResponder)
	return nil
}

// setUrgency changes how people are woken. Raised, the plans start over by the
// high rules; lowered, the escalation stops unless the policy says otherwise.
func (t *turn) setUrgency(c SetUrgency) error {
	if err := t.refuseUnlessOpen("changed"); err != nil {
		return err
	}
	switch {
	case c.Urgency == t.in.Urgency:
		return nil
	case c.Urgency == High:
		t.raise(c.By, CauseManual)
		return nil
	case forcesHigh(t.in.Priority):
		return fault.New(fault.Precondition, "PRIORITY_FORCES_HIGH", "P1 and P2 are always of high urgency; lower the priority first", "incident", string(t.in.ID))
	}
	in := t.in
	in.Urgency, in.Responses = Low, nil
	t.tell(Entry{Type: EntryUrgencyChanged, Actor: c.By, Urgency: Low, Cause: CauseManual})
	t.moved()
	t.hush()
	if in.Status == Triggered {
		if p, ok := t.policy(); !ok || !p.EscalateLow {
			in.Timers.Escalate = time.Time{}
		}
		t.restart()
	}
	return nil
}

// raise makes the urgency high.
func (t *turn) raise(by Actor, cause Cause) {
	in := t.in
	in.Urgency, in.Timers.Raise = High, time.Time{}
	t.tell(Entry{Type: EntryUrgencyChanged, Actor: by, Urgency: High, Cause: cause})
	t.moved()
	if in.Status != Triggered {
		return
	}
	t.hush()
	t.standDown()
	if p, ok := t.policy(); ok && !in.Direct && in.Timers.Escalate.IsZero() && !in.Exhausted && in.Level < len(p.Levels) {
		in.Timers.Escalate = t.now.Add(max(p.Levels[in.Level].Delay, t.view.Pace().FastestLevel))
	}
	t.restart()
}

func (t *turn) setPriority(c SetPriority) error {
	if c.Priority == t.in.Priority {
		return nil
	}
	t.in.Priority = c.Priority
	t.tell(Entry{Type: EntryPriorityChanged, Actor: c.By, Priority: c.Priority})
	t.moved()
	if forcesHigh(c.Priority) && t.in.Urgency == Low && t.in.Open() {
		t.raise(c.By, CausePriority)
	}
	return nil
}

func (t *turn) note(c AddNote) error {
	t.tell(Entry{Type: EntryNote, Actor: c.By, Text: c.Text})
	return nil
}
