package incident

import (
	"slices"
	"time"
)

// tick decides whatever is due, each kind at most once: after a pause of the
// engine an incident moves one level, not all those that were missed.
func (t *turn) tick(c Tick) error {
	in, by := t.in, System("timer")
	due := func(at time.Time) bool { return !at.IsZero() && !t.now.Before(at) }
	switch {
	case in.Status == Resolved:
		return nil
	case due(in.Timers.SnoozeEnd):
		t.wake()
		return nil
	case due(in.Timers.AutoResolve) && !in.Snoozed():
		t.closeAll(c.Alerts)
		t.end(by, CauseAutoTimeout)
		return nil
	case due(in.Timers.AckTimeout):
		cause := CauseTimeout
		if in.Reminded {
			cause = CauseReminder
		}
		t.letGo(by, cause, in.Level)
		return nil
	case due(in.Timers.Escalate):
		t.timeout()
	case due(in.Timers.Fallback):
		in.Timers.Fallback = time.Time{}
		t.hush()
		t.tell(Entry{Type: EntryEscalated, Actor: by, From: in.Level, Level: 0, Loop: in.Loop, Cause: CauseTimeout})
		t.ask(0)
		return nil
	}
	t.relieve()
	if due(in.Timers.AckReminder) {
		t.remindAckers()
	}
	if due(in.Timers.Raise) {
		in.Timers.Raise = time.Time{}
		t.d.Changed = true
		if in.Urgency == Low {
			t.raise(by, CauseHours)
		}
	}
	if due(in.Timers.CatchAll) {
		p, _ := t.policy()
		t.pageFallback(p)
	}
	t.tickPlans(c, due)
	return nil
}

// tickPlans runs the contact steps that are due.
func (t *turn) tickPlans(c Tick, due func(time.Time) bool) {
	run := func(a *Assignee) {
		if due(a.ReceiptBy) {
			t.receiptDue(a, c.Receipts[a.User])
		}
		if due(a.Next) {
			t.advance(a)
			t.d.Changed = true
		}
	}
	for i := range t.in.Assignees {
		run(&t.in.Assignees[i])
	}
	t.part(func(s *Assignee) bool { return due(s.Next) || due(s.ReceiptBy) })
	for i := range t.in.Shadows {
		run(&t.in.Shadows[i])
	}
	t.tickResponses(due)
}

// AutoResolveDue reports whether a tick at now ends the incident by itself, so
// that the tick needs its open alerts.
func (in *Incident) AutoResolveDue(now time.Time) bool {
	at := in.Timers.AutoResolve
	return in.Open() && !in.Snoozed() && !at.IsZero() && !now.Before(at)
}

// ReceiptDue reports whether a tick at now asks for the phones' receipts.
func (in *Incident) ReceiptDue(now time.Time) bool {
	waits := func(a Assignee) bool { return !a.ReceiptBy.IsZero() && !now.Before(a.ReceiptBy) }
	return slices.ContainsFunc(in.Assignees, waits) || slices.ContainsFunc(in.Shadows, waits)
}
