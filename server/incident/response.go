package incident

import (
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// Response is how fast one person answers, from his first page on. It is
// measured of whoever is asked by a schedule that states a target, and of both of
// a pair of which one practises; by high urgency only.
type Response struct {
	User     roster.UserID
	Since    time.Time     // his first page
	Target   time.Duration // in which the schedule has him answer; 0: none stated
	Next     time.Time     // the target is looked at again; zero: not any more
	Answered time.Time     // zero: not yet
}

// End is when the target has passed.
func (r Response) End() time.Time { return r.Since.Add(r.Target) }

// Missed reports whether the person has not answered within the target by now.
func (r Response) Missed(now time.Time) bool {
	if r.Target == 0 {
		return false
	}
	if !r.Answered.IsZero() {
		now = r.Answered
	}
	return now.After(r.End())
}

// Response returns what is measured of the person, nil for nothing.
func (in *Incident) Response(u roster.UserID) *Response {
	if i := slices.IndexFunc(in.Responses, func(r Response) bool { return r.User == u }); i >= 0 {
		return &in.Responses[i]
	}
	return nil
}

// measure begins to measure with a person's first page. One who is asked anew by
// a loop is still answering to the first.
func (t *turn) measure(a *Assignee) {
	if a.Schedule == "" && a.Shadow.Mode == 0 || a.Shadow.Mode == schedule.Observe {
		return
	}
	var target time.Duration
	if a.Schedule != "" {
		_, target = t.view.Shift(a.Schedule, t.now)
	}
	if target > 0 || a.Shadow.Mode != 0 {
		t.expect(a.User, target)
	}
}

// measureBoth has the person measured whom somebody follows who practises: what
// the one needs says little without the other.
func (t *turn) measureBoth(a *Assignee) {
	if !a.Paged.IsZero() {
		t.expect(a.User, 0)
	}
}

// expect begins the record of one person.
func (t *turn) expect(u roster.UserID, target time.Duration) {
	if t.in.Urgency != High || t.in.Response(u) != nil {
		return
	}
	r := Response{User: u, Since: t.now, Target: target}
	if target > 0 {
		r.Next = t.now.Add(target * 2 / 3)
	}
	t.in.Responses = append(t.in.Responses, r)
}

// answered takes in that the person has acknowledged, and returns how long that
// took; 0 where it is not measured.
func (t *turn) answered(u roster.UserID) time.Duration {
	r := t.in.Response(u)
	if r == nil || !r.Answered.IsZero() {
		return 0
	}
	r.Answered, r.Next = t.now, time.Time{}
	return t.now.Sub(r.Since)
}

// stopMeasuring ends the wait for the answers of the people, or of everybody:
// nobody needs them any more.
func (t *turn) stopMeasuring(users ...roster.UserID) {
	for i := range t.in.Responses {
		if r := &t.in.Responses[i]; len(users) == 0 || slices.Contains(users, r.User) {
			r.Next = time.Time{}
		}
	}
}

// tickResponses reminds whoever has a third of the target left, quietly, and
// records it when the target has passed.
func (t *turn) tickResponses(due func(time.Time) bool) {
	for i := range t.in.Responses {
		r := &t.in.Responses[i]
		if !due(r.Next) {
			continue
		}
		t.d.Changed = true
		if !t.now.Before(r.End()) {
			r.Next = time.Time{}
			t.tell(Entry{Type: EntryResponseMissed, Actor: System("timer"), Users: []roster.UserID{r.User}, Took: r.Target})
			continue
		}
		r.Next = r.End()
		t.tell(Entry{Type: EntryResponseDue, Actor: System("timer"), Users: []roster.UserID{r.User}, Took: t.now.Sub(r.Since), Until: r.End()})
		t.do(Work{Kind: WorkNotice, User: r.User, Text: "Not acknowledged yet: " + r.End().Sub(t.now).Round(time.Second).String() + " of the response target are left."})
	}
}
