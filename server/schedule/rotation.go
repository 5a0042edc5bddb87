package schedule

import (
	"time"

	"github.com/tocsin-oncall/tocsin/server/civil"
)

// Unit is what the length of a turn is counted in.
type Unit uint8

// The units, all counted on calendar and wall: an 8 h rotation stays at 00:00,
// 08:00 and 16:00 when clocks change, and a month from the 31st ends on the
// last day of shorter months.
const (
	Hours Unit = iota + 1
	Days
	Weeks
	Months
)

// Rotation says when turns begin. Turn k begins k lengths after the anchor, on
// the wall of the layer's zone, and ends where turn k+1 begins. Turns before
// the anchor count backward, so the anchor may lie after the layer's start as
// well as before it.
type Rotation struct {
	Unit   Unit
	Length int        // in units, 1 to MaxTurn
	Anchor civil.Time // hand-off 0: turn 0 begins
}

// turns reports whether the rotation has turns at all.
func (r Rotation) turns() bool { return r.Unit >= Hours && r.Unit <= Months && r.Length > 0 }

// turn is one shift of a rotation. Empty when clocks jump over it: its number
// is used up and its person has no shift.
type turn struct {
	number     int64
	start, end time.Time
}

func (u turn) empty() bool { return !u.start.Before(u.end) }

// begin is the civil time at which turn k begins, counted from the anchor so
// that short months do not shift the later ones.
func (r Rotation) begin(k int64) civil.Time {
	if r.Unit == Months {
		return r.Anchor.AddMonths(k * int64(r.Length))
	}
	return r.Anchor.Add(k * r.seconds())
}

// seconds is the length of a turn on the wall, for all units but months.
func (r Rotation) seconds() int64 {
	const hour = 60 * 60
	switch r.Unit {
	case Days:
		return int64(r.Length) * 24 * hour
	case Weeks:
		return int64(r.Length) * 7 * 24 * hour
	default:
		return int64(r.Length) * hour
	}
}

// turn returns turn k as instants.
func (r Rotation) turn(k int64, c *civil.Clock) turn {
	return turn{k, c.First(r.begin(k)), c.First(r.begin(k + 1))}
}

// at returns the turn that contains t. The calendar gives a guess, and instants
// correct it: where clocks go back the calendar alone would go back with them.
func (r Rotation) at(t time.Time, c *civil.Clock) turn {
	u := r.turn(r.guess(c.Show(t)), c)
	for u.start.After(t) {
		u = turn{u.number - 1, c.First(r.begin(u.number - 1)), u.start}
	}
	for !u.end.After(t) {
		u = r.after(u, c)
	}
	return u
}

// after returns the turn that follows u.
func (r Rotation) after(u turn, c *civil.Clock) turn {
	return turn{u.number + 1, u.end, c.First(r.begin(u.number + 2))}
}

func (r Rotation) guess(now civil.Time) int64 {
	if r.Unit == Months {
		return floorDiv(now.Month()-r.Anchor.Month(), int64(r.Length))
	}
	return floorDiv(now.Sub(r.Anchor), r.seconds())
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// mod is the remainder that is never negative.
func mod(a, b int64) int64 { return a - floorDiv(a, b)*b }
