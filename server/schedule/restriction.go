package schedule

import (
	"time"

	"github.com/tocsin-oncall/tocsin/server/civil"
)

// Restriction is a stretch of civil time that comes back every day, or every
// week. Restrictions mask a layer, they do not move its turns: whoever has the
// turn outside of them is simply not there.
//
// A stretch begins at the first instant that shows its start, and ends at the
// last that shows its end, so that it never ends before the wall says so. Where
// clocks jump over all of it, it is not.
type Restriction struct {
	Weekday int           // ISO: 1 Monday to 7 Sunday; 0: every day
	Start   time.Duration // time of day
	Length  time.Duration // on the wall; up to 24 h, with a weekday up to 7 days
}

// Weekly is restrictions that follow each other and differ in their day alone, as
// people write them.
type Weekly struct {
	Days   []int // ISO, in their order; none: every day
	Start  time.Duration
	Length time.Duration
}

// Gather returns the restrictions as people write them.
func Gather(rs []Restriction) []Weekly {
	var all []Weekly
	for _, r := range rs {
		if n := len(all); n > 0 && r.Weekday != 0 && len(all[n-1].Days) > 0 && r.Start == all[n-1].Start && r.Length == all[n-1].Length {
			all[n-1].Days = append(all[n-1].Days, r.Weekday)
			continue
		}
		h := Weekly{Start: r.Start, Length: r.Length}
		if r.Weekday != 0 {
			h.Days = []int{r.Weekday}
		}
		all = append(all, h)
	}
	return all
}

// Restrictions is the reverse: one for each day.
func (h Weekly) Restrictions() []Restriction {
	if len(h.Days) == 0 {
		return []Restriction{{Start: h.Start, Length: h.Length}}
	}
	all := make([]Restriction, len(h.Days))
	for i, d := range h.Days {
		all[i] = Restriction{Weekday: d, Start: h.Start, Length: h.Length}
	}
	return all
}

// on reports whether a stretch begins on the day.
func (r Restriction) on(d civil.Day) bool { return r.Weekday == 0 || r.Weekday == isoWeekday(d) }

// stretch returns the one that begins on the day.
func (r Restriction) stretch(d civil.Day, c *civil.Clock) (start, end time.Time) {
	begin := civil.Time{Day: d, Clock: r.Start}
	return c.First(begin), c.Last(begin.Add(int64(r.Length / time.Second)))
}

func isoWeekday(d civil.Day) int { return (int(d.Weekday())+6)%7 + 1 }

// mask is the restrictions of a layer.
type mask []Restriction

// longest is the longest stretch in days, and one more for its time of day.
const longest = civil.Day(8)

// inside returns the index of the restriction that lets t through, -1 when t is
// masked, and a stretch around t, of some days at most, in which the answer is
// the same. Without restrictions all time is inside, and the stretch has no end.
func (m mask) inside(t time.Time, c *civil.Clock) (index int, since, until time.Time) {
	if len(m) == 0 {
		return 0, since, until
	}
	index = -1
	today := c.Show(t).Day
	since, until = c.First(civil.Time{Day: today - 1}), c.First(civil.Time{Day: today + 2})
	for d := today - longest - 2; d <= today+1; d++ {
		for i, r := range m {
			if !r.on(d) || d+1+civil.Day(r.Length/day) < today-2 {
				continue // over long before
			}
			start, end := r.stretch(d, c)
			if !start.After(t) && end.After(t) && (index < 0 || i < index) {
				index = i
			}
			for _, edge := range [2]time.Time{start, end} {
				if edge.After(t) {
					until = earlier(until, edge)
				} else {
					since = later(since, edge)
				}
			}
		}
	}
	return index, since, until
}

// changes returns when the restrictions open or close the layer the next time
// after t; zero when they do not within eight days.
func (m mask) changes(t time.Time, c *civil.Clock) time.Time {
	window := span{t, t.Add(8 * day)}
	for _, s := range m.stretches(window, c) {
		if s.start.After(t) {
			return s.start
		}
		if s.end.Before(window.end) {
			return s.end
		}
	}
	return time.Time{}
}

// stretches returns the union of all stretches that touch the window, in order.
func (m mask) stretches(window span, c *civil.Clock) []span {
	var all []span
	for d := c.Show(window.start).Day - longest - 1; d <= c.Show(window.end).Day+1; d++ {
		for _, r := range m {
			if !r.on(d) {
				continue
			}
			start, end := r.stretch(d, c)
			if s := (span{start, end}).within(window); !s.empty() {
				all = append(all, s)
			}
		}
	}
	return union(all)
}
