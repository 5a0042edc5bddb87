package incident

import (
	"fmt"
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// Pages live until the next escalation, at least Pace.PageLife and at most this.
const maxPageLife = time.Hour

// assign makes the people the ones who are asked and begins their plans.
// Responders who were asked to help stay.
func (t *turn) assign(users []roster.UserID, via Via, level int) {
	in := t.in
	helpers := slices.DeleteFunc(slices.Clone(in.Assignees), func(a Assignee) bool {
		return a.Via != ViaResponder || slices.Contains(users, a.User)
	})
	in.Assignees = nil
	t.tell(Entry{Type: EntryAssigned, Actor: System("rule"), Users: users, Via: via, Level: level, Loop: in.Loop})
	t.moved()
	for _, u := range users {
		t.begins(u, via, level)
	}
	in.Assignees = append(in.Assignees, helpers...)
	in.Shadows = slices.DeleteFunc(in.Shadows, func(a Assignee) bool { return !t.helps(a.Shadow.Follows) })
	t.follow(users)
}

// join adds people beside whoever is asked, and begins their plans.
func (t *turn) join(users []roster.UserID, via Via) { t.joinFor(System("rule"), users, via, 0) }

// joinFor is join by somebody's word, with its cause.
func (t *turn) joinFor(by Actor, users []roster.UserID, via Via, cause Cause) {
	t.tell(Entry{Type: EntryAssigned, Actor: by, Users: users, Via: via, Level: t.in.Level, Loop: t.in.Loop, Count: 1, Cause: cause})
	t.moved()
	for _, u := range users {
		t.begins(u, via, t.in.Level)
	}
	t.follow(users)
}

// begins appends an assignee whose plan starts now, and runs what is due at once.
func (t *turn) begins(u roster.UserID, via Via, level int) {
	a := Assignee{User: u, Since: t.now, Via: via, Level: level, Elapsed: -1}
	a.Schedule = scheduleOf(t.reasons(a))
	t.in.Assignees = append(t.in.Assignees, a)
	t.in.Shadows = slices.DeleteFunc(t.in.Shadows, func(s Assignee) bool { return s.User == u })
	t.advance(&t.in.Assignees[len(t.in.Assignees)-1])
}

// restart begins the plans of everybody who is asked anew, with the rules of the present urgency.
func (t *turn) restart() {
	anew := func(a *Assignee) {
		*a = Assignee{User: a.User, Since: t.now, Via: a.Via, Level: a.Level, Schedule: a.Schedule, Shadow: a.Shadow, Elapsed: -1}
		t.advance(a)
	}
	for i := range t.in.Assignees {
		anew(&t.in.Assignees[i])
	}
	for i := range t.in.Shadows {
		if a := &t.in.Shadows[i]; a.Shadow.Acked.IsZero() {
			anew(a)
		}
	}
}

// silence stops the plan of an assignee.
func silence(a *Assignee) { a.Next, a.ReceiptBy = time.Time{}, time.Time{} }

// silenceAll stops every plan.
func (t *turn) silenceAll() {
	for i := range t.in.Assignees {
		silence(&t.in.Assignees[i])
	}
	for i := range t.in.Shadows {
		silence(&t.in.Shadows[i])
	}
}

// plan returns the contact plan of a person for the present urgency.
func (t *turn) plan(id roster.UserID) []roster.Step {
	u, _ := t.view.User(id)
	return u.Plan(t.in.Urgency == High)
}

// planOf is the plan of somebody who is asked; of one who only looks on, its
// first step.
func (t *turn) planOf(a *Assignee) []roster.Step {
	plan := t.plan(a.User)
	if a.Shadow.Mode == schedule.Observe {
		return plan[:1]
	}
	return plan
}

// reminds reports whether the person is reminded when his plan has ended.
func (t *turn) reminds(a *Assignee) bool {
	return t.in.Urgency == High && a.Shadow.Mode != schedule.Observe
}

func firstStep(plan []roster.Step) roster.Step { return plan[0] }

// advance runs the steps of a plan that are due and arms the next. After a
// pause of the engine only the latest step of each method runs, not every one
// that was missed.
func (t *turn) advance(a *Assignee) {
	user, ok := t.view.User(a.User)
	if !ok || user.Inactive {
		silence(a)
		return
	}
	plan, elapsed := t.planOf(a), t.now.Sub(a.Since)
	if ended(plan, a.Elapsed) {
		t.remind(a, user, plan)
		return
	}
	reason := PageStep
	if a.Elapsed < 0 {
		reason = startReason(a.Via)
	}
	var due []roster.Step
	for _, s := range plan {
		if s.Delay > a.Elapsed && s.Delay <= elapsed && !slices.Contains(a.Pulled, stepKey(s)) {
			due = latest(due, s)
		}
	}
	a.Elapsed = elapsed
	refused := false
	for _, s := range due {
		if t.works(user, s, a) {
			t.page(a, s, reason)
		} else {
			refused = true
		}
	}
	t.arm(a, user, plan)
	if refused {
		t.pull(a, PageRejected, CauseNoMethod)
	}
}

// latest adds the step, in place of an earlier one by the same method.
func latest(due []roster.Step, s roster.Step) []roster.Step {
	if i := slices.IndexFunc(due, func(d roster.Step) bool { return d.Method == s.Method }); i >= 0 {
		s.Loud = s.Loud || due[i].Loud
		due[i] = s
		return due
	}
	return append(due, s)
}

// arm sets the instant of the next step, or of the first reminder.
func (t *turn) arm(a *Assignee, user roster.User, plan []roster.Step) {
	a.Next = time.Time{}
	for _, s := range plan {
		if s.Delay > a.Elapsed && !slices.Contains(a.Pulled, stepKey(s)) {
			a.Next = earliest(a.Next, a.Since.Add(s.Delay))
		}
	}
	if a.Next.IsZero() && t.reminds(a) {
		a.Elapsed = max(a.Elapsed, plan[len(plan)-1].Delay)
		a.Next = t.now.Add(t.remindEvery(user, a))
	}
}

// ended reports whether every step of the plan has run.
func ended(plan []roster.Step, elapsed time.Duration) bool { return plan[len(plan)-1].Delay <= elapsed }

// remind repeats the last two steps of a plan that has ended. It gets rarer
// past the limit and never stops while the incident waits for somebody.
func (t *turn) remind(a *Assignee, user roster.User, plan []roster.Step) {
	a.Reminders++
	if a.Reminders == t.view.Pace().RemindLimit+1 {
		t.tell(Entry{Type: EntryReminderLimit, Actor: System("timer"), Users: []roster.UserID{a.User}, Count: a.Reminders - 1})
	}
	var again []roster.Step
	for _, s := range slices.Backward(plan) {
		if len(again) < 2 && t.works(user, s, a) {
			again = latest(again, s)
		}
	}
	for _, s := range slices.Backward(again) {
		t.page(a, s, PageReminder)
	}
	if a.Next = (time.Time{}); t.reminds(a) {
		a.Next = t.now.Add(t.remindEvery(user, a))
	}
}

func (t *turn) remindEvery(user roster.User, a *Assignee) time.Duration {
	pace := t.view.Pace()
	switch {
	case a.Reminders > pace.RemindLimit:
		return pace.RemindRarely
	case user.Remind.Every > 0:
		return user.Remind.Every
	}
	return pace.RemindEvery
}

// works reports whether the step can reach the person now, as far as is known.
func (t *turn) works(user roster.User, s roster.Step, a *Assignee) bool {
	return user.Works(s, t.view.Devices(user.ID)) && !slices.Contains(a.Failed, s.Method)
}

// page sends one contact step out. For a push of high urgency it also arms
// the wait for the phone's receipt.
func (t *turn) page(a *Assignee, s roster.Step, reason PageReason) { t.pageFor(a, s, reason, 0) }

// pageFor is page with the cause of a step that runs before its time.
func (t *turn) pageFor(a *Assignee, s roster.Step, reason PageReason, cause Cause) {
	a.Paged = t.now
	a.Pages++
	t.measure(a)
	s.Loud = s.Loud && !a.Shadow.learns()
	t.d.Changed = true
	t.tell(Entry{
		Type: EntryNotified, Actor: System("timer"), Users: []roster.UserID{a.User}, Step: s.Method, Loud: s.Loud, Count: int(reason),
		Follows: a.Shadow.Follows, Mode: a.Shadow.Mode,
	})
	t.do(Work{
		Kind: WorkPage, User: a.User, Method: s.Method, Loud: s.Loud, Reason: reason, Level: a.Level,
		Number: a.Pages, Deadline: t.deadline(), Cause: cause, Follows: a.Shadow.Follows, Mode: a.Shadow.Mode,
	})
	if a.Shadow.Mode != schedule.Observe && t.isPush(a.User, s) && t.in.Urgency == High && a.ReceiptBy.IsZero() && reason != PageNoReceipt {
		a.ReceiptBy = t.now.Add(t.receiptWait(a.User))
	}
}

// receiptWait is how long the phones of a person have to confirm a page: less
// where all that may speak for him are behind push services whose phones have
// fallen silent.
func (t *turn) receiptWait(id roster.UserID) time.Duration {
	pace, all := t.view.Pace(), t.view.Devices(id)
	native := slices.ContainsFunc(all, func(d roster.Device) bool { return d.Pageable() && d.Native() })
	speaks := func(d roster.Device) bool { return d.Pageable() && (d.Native() || !native) }
	if slices.ContainsFunc(all, speaks) && !slices.ContainsFunc(all, func(d roster.Device) bool { return speaks(d) && !t.view.Silent(d.Platform) }) {
		return min(pace.ReceiptWait, pace.SilentWait)
	}
	return pace.ReceiptWait
}

func (t *turn) isPush(id roster.UserID, s roster.Step) bool {
	u, _ := t.view.User(id)
	m, ok := u.Method(s.Method)
	return ok && m.Kind == roster.Push
}

// deadline is the instant after which a page that goes out now has no value.
func (t *turn) deadline() time.Time {
	life := t.view.Pace().PageLife
	if e := t.in.Timers.Escalate; !e.IsZero() {
		life = max(life, e.Sub(t.now))
	}
	return t.now.Add(min(life, maxPageLife))
}

// receiptDue is the end of the wait for a phone's receipt: with none, the next
// way of reaching the person runs now.
func (t *turn) receiptDue(a *Assignee, r Receipt) {
	a.ReceiptBy = time.Time{}
	t.d.Changed = true
	switch {
	case r.Refused:
		t.pull(a, PageRejected, CauseRejected)
	case !r.Received:
		t.pull(a, PageNoReceipt, CauseNoReceipt)
	}
}

// loudAgain is the key under which Pulled keeps the extra push of pull.
const loudAgain = "push!"

// pull runs the earliest step that is not a push before its time, once; e-mail
// wakes nobody, so the step after it is pulled too. Where there is none, the
// phone gets the critical sound once more.
func (t *turn) pull(a *Assignee, reason PageReason, cause Cause) {
	user, ok := t.view.User(a.User)
	if !ok {
		return
	}
	plan, pulled := t.planOf(a), false
	for _, s := range plan {
		m, _ := user.Method(s.Method)
		if s.Delay <= a.Elapsed || m.Kind == roster.Push || slices.Contains(a.Pulled, stepKey(s)) || !t.works(user, s, a) {
			continue
		}
		a.Pulled = append(a.Pulled, stepKey(s))
		t.tell(Entry{Type: EntryDelivery, Actor: System("timer"), Users: []roster.UserID{a.User}, Step: s.Method, Cause: cause})
		t.pageFor(a, s, reason, cause)
		if pulled = m.Kind != roster.Email; pulled {
			break
		}
	}
	push := roster.Step{Method: roster.PushAll, Loud: true}
	if !pulled && cause == CauseNoReceipt && t.works(user, push, a) && !slices.Contains(a.Pulled, loudAgain) {
		a.Pulled = append(a.Pulled, loudAgain)
		t.pageFor(a, push, reason, cause)
	}
	t.arm(a, user, plan)
}

// undelivered takes in that a step failed for good. When nothing else is left
// for anybody who is asked, the level counts as empty and is left early.
func (t *turn) undelivered(c Undelivered) error {
	a := t.in.Asked(c.User)
	if a == nil || !t.in.Asks(c.User) || c.Generation != t.in.Generation || slices.Contains(a.Failed, c.Method) {
		return nil
	}
	if !c.Passing {
		a.Failed = append(a.Failed, c.Method)
	}
	t.tell(Entry{Type: EntryDelivery, Actor: System("delivery"), Users: []roster.UserID{c.User}, Step: c.Method, Cause: CauseUndelivered, Text: c.Reason})
	if c.Method == roster.PushAll {
		a.ReceiptBy = time.Time{}
	}
	t.pull(a, PageRejected, CauseRejected)
	if c.Passing && a.Next.IsZero() { // low urgency has no reminders: without this it would be silent for good
		a.Next = t.now.Add(t.view.Pace().RemindEvery)
	}
	if a.Shadow.Mode == 0 && t.nobodyLeft() {
		t.hurry(t.now.Add(t.view.Pace().EmptyPass))
	}
	return nil
}

// hurry brings the end of the level, or of a direct assignment, forward.
func (t *turn) hurry(at time.Time) {
	timers := &t.in.Timers
	if at.Before(timers.Escalate) {
		timers.Escalate, t.in.Hurried = at, true
	}
	if at.Before(timers.Fallback) {
		timers.Fallback = at
	}
}

// nobodyLeft reports whether every method of everybody who is asked has failed for good.
func (t *turn) nobodyLeft() bool {
	for i := range t.in.Assignees {
		a := &t.in.Assignees[i]
		user, ok := t.view.User(a.User)
		if ok && slices.ContainsFunc(t.plan(a.User), func(s roster.Step) bool { return t.works(user, s, a) }) {
			return false
		}
	}
	return true
}

func startReason(v Via) PageReason {
	switch v {
	case ViaFallback:
		return PageFallback
	case ViaCatchAll:
		return PageCatchAll
	case ViaResponder:
		return PageResponder
	case ViaPolicy, ViaDirect:
	}
	return PageAssigned
}

// stepKey names a step within a plan, so that edits of the plan do not confuse it with another.
func stepKey(s roster.Step) string { return fmt.Sprintf("%d/%s", s.Delay.Milliseconds(), s.Method) }
