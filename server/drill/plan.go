package drill

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/civil"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// PlanID names a plan.
type PlanID string

// Plan says whom to drill, how often, and in which hours.
type Plan struct {
	ID     PlanID
	Name   string
	Team   roster.TeamID       // whose it is; empty: of no team
	People []escalation.Target // who is drilled; of a schedule everybody who takes turns
	Every  time.Duration       // each person once in so long: whole days
	Days   []time.Weekday      // of the agreed hours
	Start  time.Duration       // of the agreed hours, on each person's own wall
	End    time.Duration       // likewise; at or before Start only with Night: the next day
	Limit  time.Duration       // how long an answer is waited for
	Night  bool                // may begin between Evening and Morning
	OnCall time.Duration       // only who is on call within so long; 0: everybody
	Seed   string              // makes the times of this plan those of no other
}

// The limits of a plan.
const (
	MostDays   = 365
	MinLimit   = time.Minute
	MaxLimit   = time.Hour
	MostOnCall = 90 * day
	day        = 24 * time.Hour
)

// What a plan says that does not say it.
const (
	DefaultEvery = 28 * day
	DefaultLimit = 5 * time.Minute
	DefaultStart = 9 * time.Hour
	DefaultEnd   = 17 * time.Hour
)

// The hours in which nobody is drilled unless the plan says so.
const (
	Evening = 22 * time.Hour
	Morning = 8 * time.Hour
)

// Workdays are the days of a plan that names none.
func Workdays() []time.Weekday {
	return []time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday}
}

// Validate returns what is wrong with a plan by itself, with the fields as the API
// calls them.
func (p Plan) Validate() error {
	var errs []error
	bad := func(path, format string, args ...any) { errs = append(errs, fault.InvalidField(path, format, args...)) }
	if len(p.People) == 0 {
		bad("people", "nobody is named: name people, schedules or teams")
	}
	if p.Every < day || p.Every > MostDays*day || p.Every%day != 0 {
		bad("interval", "is %s; write whole days, 1d to %dd", p.Every, MostDays)
	}
	if p.Limit < MinLimit || p.Limit > MaxLimit {
		bad("limit", "is %s; write %s to %s", p.Limit, MinLimit, MaxLimit)
	}
	if p.OnCall < 0 || p.OnCall > MostOnCall {
		bad("on_call_within", "is %s; write up to %dd, or nothing for everybody", p.OnCall, MostOnCall/day)
	}
	if len(p.Days) == 0 {
		bad("hours.days", "no day is named")
	}
	for path, clock := range map[string]time.Duration{"hours.start": p.Start, "hours.end": p.End} {
		if clock < 0 || clock >= day || clock%time.Minute != 0 {
			bad(path, "is no time of day; write one such as 09:00")
		}
	}
	switch _, length := p.hours(); {
	case !p.Night && p.End <= p.Start:
		bad("hours.end", "is not after the start; hours that go on into the next day need night: true")
	case !p.Night && length < p.Limit:
		bad("hours.start", "less than %s of the hours lies between 08:00 and 22:00; write night: true if people agreed to be woken", p.Limit)
	case length < p.Limit:
		bad("hours.end", "the hours are shorter than the %s that an answer is waited for", p.Limit)
	}
	return fault.Fields(errs...)
}

// hours returns when on its day a drill may begin to run, and how long after that
// it has to be over.
func (p Plan) hours() (start, length time.Duration) {
	if p.Night {
		length = p.End - p.Start
		if length <= 0 {
			length += day
		}
		return p.Start, length
	}
	start = max(p.Start, Morning)
	return start, min(p.End, Evening) - start
}

// Span is when a drill may begin: [From, To].
type Span struct{ From, To time.Time }

// Holds reports whether an instant lies in the span.
func (s Span) Holds(at time.Time) bool { return !at.Before(s.From) && !at.After(s.To) }

// on returns when on a day of a zone a drill may begin; false on a day that was
// not agreed on, and where the clocks leave out the hours.
func (p Plan) on(d civil.Day, zone *time.Location) (Span, bool) {
	if !slices.Contains(p.Days, d.Weekday()) {
		return Span{}, false
	}
	start, length := p.hours()
	begin := civil.Time{Day: d, Clock: start}
	s := Span{begin.In(zone), begin.Add(int64(length / time.Second)).In(zone).Add(-p.Limit)}
	return s, !s.To.Before(s.From)
}

// Allows reports whether a drill may begin at an instant, on the wall of a zone.
func (p Plan) Allows(at time.Time, zone *time.Location) bool {
	today, _ := civil.Of(at, zone)
	for _, d := range []civil.Day{today - 1, today} { // yesterday's may go on after midnight
		if s, ok := p.on(d, zone); ok && s.Holds(at) {
			return true
		}
	}
	return false
}

// firstDay is a Monday, from which periods are counted.
var firstDay = civil.Date(2020, time.January, 6) //nolint:gochecknoglobals // constant

func (p Plan) length() int64 { return int64(p.Every / day) }

// Period is the stretch of days in which a person is drilled once.
type Period int64

// PeriodAt returns the period that an instant lies in, on the wall of a zone.
func (p Plan) PeriodAt(at time.Time, zone *time.Location) Period {
	d, _ := civil.Of(at, zone)
	n := int64(d - firstDay)
	q := n / p.length()
	if n%p.length() < 0 {
		q--
	}
	return Period(q)
}

// Begins returns the first instant of a period in a zone.
func (p Plan) Begins(n Period, zone *time.Location) time.Time {
	return civil.Instant(p.first(n), 0, zone)
}

func (p Plan) first(n Period) civil.Day { return firstDay + civil.Day(int64(n)*p.length()) }

// Due returns when in a period the person is drilled: from an instant that is
// the same wherever it is asked for and that nothing tells before, to the end of the
// agreed hours of that day. since is when the plan was made: what lies before it
// is not made up for. False when the period has no such hours.
func (p Plan) Due(user roster.UserID, n Period, zone *time.Location, since time.Time) (Span, bool) {
	first := p.first(n)
	made, _ := civil.Of(since, zone)
	var days []civil.Day
	for d := max(first, made); d < first+civil.Day(p.length()); d++ {
		if slices.Contains(p.Days, d.Weekday()) {
			days = append(days, d)
		}
	}
	which, when := p.draw(user, n)
	for i := range days { // the day that was drawn, or the first after it that has the hours
		s, ok := p.on(days[(which+uint64(i))%uint64(len(days))], zone)
		if since.After(s.From) {
			s.From = since
		}
		if last := p.Begins(n+1, zone).Add(-time.Second); s.To.After(last) { // hours of a night end in the next period
			s.To = last
		}
		if !ok || s.To.Before(s.From) {
			continue
		}
		s.From = s.From.Add(time.Duration(when%(uint64(s.To.Sub(s.From)/time.Second)+1)) * time.Second)
		return s, true
	}
	return Span{}, false
}

// Again returns when a drill that was put off at an instant is held again: a day
// later, or in the next agreed hours after that.
func (p Plan) Again(at time.Time, zone *time.Location) time.Time {
	at = at.Add(day)
	if p.Allows(at, zone) {
		return at
	}
	today, _ := civil.Of(at, zone)
	for d := today; d < today+MostDays; d++ {
		if s, ok := p.on(d, zone); ok && s.From.After(at) {
			return s.From
		}
	}
	return at
}

// draw returns two numbers that nobody foretells who does not know the seed.
func (p Plan) draw(user roster.UserID, n Period) (which, when uint64) {
	sum := p.digest(user, n, "time")
	return binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[8:16])
}

// DrillOf names the drill of a person in a period: everybody who would begin it
// gives it one name, by which it is begun once.
func (p Plan) DrillOf(user roster.UserID, n Period) ID {
	sum := p.digest(user, n, "name")
	return ID(hex.EncodeToString(sum[:8]))
}

func (p Plan) digest(user roster.UserID, n Period, of string) [sha256.Size]byte {
	return sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s\x00%d\x00%s", of, p.Seed, p.ID, n, user))
}
