package incident

import (
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// acknowledge records that somebody has taken the incident. Doing so twice is
// not an error: two phones of one team often race, and the second must see who
// won, not a failure. Of a resolved incident nothing changes.
func (t *turn) acknowledge(c Acknowledge) error {
	in := t.in
	user, isUser := c.By.User()
	if isUser && in.Following(user) != nil {
		return t.acknowledgeAsShadow(c, in.Following(user))
	}
	if in.Status == Resolved || (isUser && in.AckedBy(user)) || (!isUser && in.Status == Acknowledged) {
		return nil
	}
	first := in.Status == Triggered
	in.Acks = append(in.Acks, Ack{By: c.By, At: t.now, ClientAt: c.ClientAt})
	in.Status = Acknowledged
	t.tell(Entry{Type: EntryAcknowledged, Actor: c.By, ClientAt: c.ClientAt, Took: t.answered(user)})
	t.moved()
	if first && in.FirstAck.IsZero() && isUser {
		in.FirstAck = t.now
	}
	if !in.Snoozed() {
		t.armAck(user)
	}
	t.stopAsking(user)
	if svc, ok := t.service(); ok && svc.AutoResolve > 0 && !in.Snoozed() {
		t.armAutoResolve(svc)
	}
	return nil
}

// stopAsking silences whom the acknowledgement speaks for: everybody, or on a
// level that asks each holder only the one who gave it.
func (t *turn) stopAsking(by roster.UserID) {
	in := t.in
	in.Timers.Escalate, in.Timers.Fallback, in.Timers.CatchAll = time.Time{}, time.Time{}, time.Time{}
	in.Hurried = false
	if a := in.Assigned(by); a != nil {
		silence(a)
	}
	waiting := slices.ContainsFunc(in.Assignees, func(a Assignee) bool { return !in.AckedBy(a.User) && !a.Next.IsZero() })
	if in.MultiAck && waiting {
		t.calm(by)
		t.do(Work{Kind: WorkReplace, User: by, Actor: in.lastAck(), Text: "acknowledged"})
		return
	}
	for i := range in.Assignees {
		silence(&in.Assignees[i])
	}
	t.calm("")
	for i := range in.Responses {
		if r := &in.Responses[i]; !t.waitsFor(r.User) {
			r.Next = time.Time{}
		}
	}
	t.hush()
	t.do(Work{Kind: WorkReplace, Actor: in.lastAck(), Text: "acknowledged"})
}

func (in *Incident) lastAck() Actor {
	if len(in.Acks) == 0 {
		return Actor{}
	}
	return in.Acks[len(in.Acks)-1].By
}

// armAck starts the timers that watch over an acknowledgement.
func (t *turn) armAck(by roster.UserID) {
	svc, _ := t.service()
	timers := &t.in.Timers
	timers.AckTimeout, timers.AckReminder = time.Time{}, time.Time{}
	t.in.Reminded = false
	timeout := svc.AckTimeout
	if timeout == 0 {
		timeout = t.view.Pace().AckTimeout
	}
	if timeout > 0 {
		timers.AckTimeout = t.now.Add(timeout)
	}
	if every := t.ackReminder(by); every > 0 {
		timers.AckReminder = t.now.Add(every)
	}
}

// ackReminder returns how long after an acknowledgement its owner is asked
// whether he is still on it; 0 for never.
func (t *turn) ackReminder(by roster.UserID) time.Duration {
	svc, _ := t.service()
	if svc.AckReminder > 0 {
		return svc.AckReminder
	}
	if u, ok := t.view.User(by); ok && u.Remind.UntilResolve {
		return max(u.Remind.Every, t.view.Pace().RemindEvery)
	}
	return 0
}

// confirm is the yes to "still on it?".
func (t *turn) confirm(c Confirm) error {
	user, _ := c.By.User()
	if t.in.Status != Acknowledged || !t.in.AckedBy(user) || t.in.Snoozed() {
		return nil
	}
	t.armAck(user)
	t.tell(Entry{Type: EntryConfirmed, Actor: c.By})
	return nil
}

// remindAckers asks everyone who took the incident whether he is still on it.
func (t *turn) remindAckers() {
	in := t.in
	in.Timers.AckReminder = time.Time{}
	var users []roster.UserID
	for _, a := range in.Acks {
		if u, ok := a.By.User(); ok {
			users = union(users, []roster.UserID{u})
			t.do(Work{Kind: WorkConfirm, User: u, Deadline: t.deadline()})
		}
	}
	if len(users) == 0 {
		return
	}
	in.Reminded = true
	t.tell(Entry{Type: EntryReminded, Actor: System("timer"), Users: users})
	if every := t.ackReminder(users[len(users)-1]); every > 0 {
		in.Timers.AckReminder = t.now.Add(every)
	}
}

func (t *turn) unacknowledge(c Unacknowledge) error {
	if t.in.Status != Acknowledged {
		return t.refuseUnlessOpen("taken back")
	}
	t.letGo(c.By, CauseManual, t.in.Level)
	return nil
}

// letGo makes the incident triggered again and asks the level anew, with its
// full delay: whoever holds it now, and whoever had taken the incident. Who
// slept on it until his shift was over does so no longer.
func (t *turn) letGo(by Actor, cause Cause, level int) {
	in := t.in
	var ackers []roster.UserID
	for _, a := range in.Acks {
		if u, ok := a.By.User(); ok && (cause != CauseSnooze || !t.relieved(u)) {
			ackers = append(ackers, u)
		}
	}
	t.untake(by, cause)
	if in.Direct {
		for i := range in.Shadows {
			in.Shadows[i].Shadow.Acked = time.Time{}
		}
		t.restart()
		t.armFallback()
		return
	}
	t.ask(level, ackers...)
}

// untake clears whatever an acknowledgement or a snooze had set.
func (t *turn) untake(by Actor, cause Cause) {
	in := t.in
	if in.Status == Acknowledged {
		t.tell(Entry{Type: EntryUnacknowledged, Actor: by, Cause: cause})
		in.Responses = nil // whoever is paged now answers to that page
	}
	in.Status, in.Acks, in.Reminded = Triggered, nil, false
	in.Timers.AckTimeout, in.Timers.AckReminder, in.Timers.SnoozeEnd = time.Time{}, time.Time{}, time.Time{}
	if svc, ok := t.service(); ok && svc.AutoResolve > 0 {
		t.armAutoResolve(svc)
	}
	t.hush()
	t.moved()
}

// Limits of a snooze; the API enforces them, the rules hold for any length.
const (
	MinSnooze = time.Minute
	MaxSnooze = 7 * 24 * time.Hour
)

// snooze puts the incident to sleep; it counts as the caller's acknowledgement.
func (t *turn) snooze(c Snooze) error {
	in := t.in
	if err := t.refuseUnlessOpen("snoozed"); err != nil {
		return err
	}
	if user, ok := c.By.User(); in.Status == Triggered || (ok && !in.AckedBy(user)) {
		in.Acks = append(in.Acks, Ack{By: c.By, At: t.now})
		t.tell(Entry{Type: EntryAcknowledged, Actor: c.By, Took: t.answered(user)})
		if ok && in.FirstAck.IsZero() {
			in.FirstAck = t.now
		}
	}
	until := t.now.Add(c.For)
	in.Status = Acknowledged
	in.Timers = Timers{SnoozeEnd: until, Raise: in.Timers.Raise}
	t.silenceAll()
	t.stopMeasuring()
	t.hush()
	t.tell(Entry{Type: EntrySnoozed, Actor: c.By, Until: until})
	t.moved()
	t.do(Work{Kind: WorkReplace, Actor: c.By, Text: "snoozed"})
	return nil
}

// wake ends a snooze: the policy starts over, and whoever had slept on it is told.
func (t *turn) wake() {
	ackers := t.in.Acks
	t.letGo(System("timer"), CauseSnooze, 0)
	for _, a := range ackers {
		if u, ok := a.By.User(); ok && t.in.Assigned(u) == nil {
			t.do(Work{Kind: WorkNotice, User: u, Cause: CauseSnooze, Text: "the snooze is over"})
		}
	}
}

// refuseUnlessOpen returns a fault when the incident is over.
func (t *turn) refuseUnlessOpen(verb string) error {
	if t.in.Open() {
		return nil
	}
	return fault.New(fault.Precondition, "INCIDENT_RESOLVED", "the incident is resolved and cannot be "+verb+"; re-open it first", "incident", string(t.in.ID))
}
