package schedule

import (
	"fmt"
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// RequestState is how far a request for cover or a swap has come.
type RequestState uint8

// The states. Only an open request can be taken; whoever asked stays on call
// until somebody does, and for good when nobody did in time.
const (
	RequestOpen RequestState = iota + 1
	RequestTaken
	RequestPastDue   // it began, and nobody had taken it
	RequestCancelled // by whoever asked
)

func (s RequestState) String() string {
	switch s {
	case RequestTaken:
		return "taken"
	case RequestPastDue:
		return "past_due"
	case RequestCancelled:
		return "cancelled"
	default:
		return "open"
	}
}

// Cover asks that somebody else takes a person's time on call. Of [Start, End)
// only the parts count in which that person is on call.
type Cover struct {
	ID        RequestID
	Schedule  ID
	User      roster.UserID // who asks
	Start     time.Time
	End       time.Time // [Start, End)
	CreatedAt time.Time
	Note      string
	Outcome
}

// Swap asks that two people take each other's time on call in one schedule.
type Swap struct {
	ID        RequestID
	Schedule  ID
	CreatedAt time.Time
	Note      string
	Mine      Part // of the one who asks
	Theirs    Part // of the one who is asked, and nobody else may take it
	Outcome
}

// Part is what one side of a swap gives.
type Part struct {
	User       roster.UserID
	Start, End time.Time // [Start, End)
}

// Outcome is what became of a request. The zero Outcome is an open one.
type Outcome struct {
	State RequestState // as stored: RequestOpen, RequestTaken or RequestCancelled; 0 is open
	By    roster.UserID
	At    time.Time
}

// state is how the request stands at an instant, if it begins at start.
func (o Outcome) state(start, now time.Time) RequestState {
	switch {
	case o.State == RequestTaken || o.State == RequestCancelled:
		return o.State
	case !now.Before(start):
		return RequestPastDue
	}
	return RequestOpen
}

// StateAt is how the request stands at an instant.
func (c Cover) StateAt(now time.Time) RequestState { return c.state(c.Start, now) }

// StateAt is how the swap stands at an instant: both parts have to be ahead.
func (w Swap) StateAt(now time.Time) RequestState {
	return w.state(earlier(w.Mine.Start, w.Theirs.Start), now)
}

// Reminders are when the others are reminded of an open request, after it was made.
func (c Cover) Reminders() []time.Time { return reminders(c.Start, c.CreatedAt) }

// Reminders are when the one who is asked is reminded of it.
func (w Swap) Reminders() []time.Time {
	return reminders(earlier(w.Mine.Start, w.Theirs.Start), w.CreatedAt)
}

func reminders(start, made time.Time) []time.Time {
	all := before(start, 28*day, 21*day, 14*day, 7*day, 3*day, 2*day, day, 12*time.Hour)
	return slices.DeleteFunc(all, func(t time.Time) bool { return !t.After(made) })
}

// Validate reports why the request cannot be made: it has to lie ahead, and the
// one who asks has to be on call in some part of it.
func (c Cover) Validate(r *Resolver, now time.Time) error {
	return Part{c.User, c.Start, c.End}.validate("", r, now)
}

// Validate reports why the swap cannot be made.
func (w Swap) Validate(r *Resolver, now time.Time) error {
	if w.Mine.User == w.Theirs.User {
		return fault.InvalidField("swap.user", "name somebody else: a swap is between two people")
	}
	return fault.Fields(w.Mine.validate("", r, now), w.Theirs.validate("swap.", r, now))
}

func (p Part) validate(path string, r *Resolver, now time.Time) error {
	v := &complaints{path: path}
	v.check(p.User != "", "user", "say whose time it is")
	v.check(p.Start.Before(p.End), "end_time", "end after the start")
	v.check(p.Start.After(now), "start_time", "start in the future: what has begun cannot be given away whole; make an override from now on instead")
	v.check(p.End.Sub(p.Start) <= Kept, "end_time", "use at most 400 days")
	if len(v.found) == 0 {
		v.check(len(r.Held(p.User, p.Start, p.End)) > 0, "start_time", "name a time in which %s is on call in this schedule; there is none in it", p.User)
	}
	return fault.Fields(v.found...)
}

// Candidates are those who may take the request: whoever the schedule's layers
// name, but the one who asks.
func (c Cover) Candidates(s Schedule) []roster.UserID {
	return slices.DeleteFunc(s.Members(), func(u roster.UserID) bool { return u == c.User })
}

// Members are all people whom the layers name as participants, in order of name.
func (s Schedule) Members() []roster.UserID {
	var all []roster.UserID
	for _, l := range s.Layers {
		all = append(all, l.Participants...)
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(u roster.UserID) bool { return u == "" })
}

// Take gives the time to somebody else: the request as taken, and the overrides
// to add with WithOverrides, all or none. To take again what one has taken
// changes nothing. A race is lost with a Precondition that names the winner.
func (c Cover) Take(by roster.UserID, r *Resolver, now time.Time) (Cover, []Override, error) {
	if c.State == RequestTaken && c.By == by {
		return c, nil, nil
	}
	if err := c.open(c.ID, c.StateAt(now)); err != nil {
		return c, nil, err
	}
	if !slices.Contains(c.Candidates(r.schedule), by) {
		return c, nil, fault.New(fault.Precondition, "NOT_A_CANDIDATE",
			"only somebody else of the schedule's participants can take the request", "request", string(c.ID), "user", string(by))
	}
	overrides, err := Part{c.User, c.Start, c.End}.give(by, c.ID, 0, r)
	if err != nil {
		return c, nil, err
	}
	c.Outcome = Outcome{RequestTaken, by, now}
	return c, overrides, nil
}

// Accept swaps: the request as taken, and the overrides of both sides, to add
// with WithOverrides, all or none.
func (w Swap) Accept(by roster.UserID, r *Resolver, now time.Time) (Swap, []Override, error) {
	if w.State == RequestTaken && w.By == by {
		return w, nil, nil
	}
	if err := w.open(w.ID, w.StateAt(now)); err != nil {
		return w, nil, err
	}
	if by != w.Theirs.User {
		return w, nil, fault.New(fault.Precondition, "NOT_A_CANDIDATE", "only the one who is asked can accept a swap",
			"request", string(w.ID), "user", string(w.Theirs.User))
	}
	mine, err := w.Mine.give(w.Theirs.User, w.ID, 0, r)
	if err != nil {
		return w, nil, err
	}
	theirs, err := w.Theirs.give(w.Mine.User, w.ID, len(mine), r)
	if err != nil {
		return w, nil, err
	}
	w.Outcome = Outcome{RequestTaken, by, now}
	return w, append(mine, theirs...), nil
}

// give makes the overrides that put somebody in the place of the part's user,
// wherever he is the one on call.
func (p Part) give(to roster.UserID, request RequestID, made int, r *Resolver) ([]Override, error) {
	var overrides []Override
	for _, s := range r.Held(p.User, p.Start, p.End) {
		made++
		overrides = append(overrides, Override{
			ID: OverrideID(fmt.Sprintf("%s-%d", request, made)), Start: s.Start, End: s.End, User: to, By: to, Request: request,
		})
	}
	if len(overrides) == 0 {
		return nil, fault.New(fault.Precondition, "NOT_ON_CALL", "the schedule has changed, and the time to give is not theirs any more",
			"request", string(request), "user", string(p.User))
	}
	return overrides, nil
}

// Cancel takes the request back, if nobody has taken it.
func (c Cover) Cancel(by roster.UserID, now time.Time) (Cover, error) {
	var err error
	c.Outcome, err = c.cancel(c.ID, c.StateAt(now), by, now)
	return c, err
}

// Cancel takes the swap back, or declines it, if it was not accepted.
func (w Swap) Cancel(by roster.UserID, now time.Time) (Swap, error) {
	var err error
	w.Outcome, err = w.cancel(w.ID, w.StateAt(now), by, now)
	return w, err
}

func (o Outcome) cancel(id RequestID, state RequestState, by roster.UserID, now time.Time) (Outcome, error) {
	if state == RequestCancelled {
		return o, nil
	}
	if err := o.open(id, state); err != nil {
		return o, err
	}
	return Outcome{RequestCancelled, by, now}, nil
}

// open returns why a request that is in that state cannot be acted on.
func (o Outcome) open(id RequestID, state RequestState) error {
	why := map[RequestState]string{
		RequestTaken: "somebody else was faster", RequestCancelled: "the request was taken back",
		RequestPastDue: "the time has begun, and whoever asked is on call; make an override from now on instead",
	}[state]
	if why == "" {
		return nil
	}
	f := fault.New(fault.Precondition, "NOT_OPEN", why, "request", string(id), "state", state.String())
	if state == RequestTaken {
		f = f.With("taken_by", string(o.By))
	}
	return f
}
