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

// stretch returns the one that begins on the day.
func (r Restriction) stretch(d civil.Day, c *civil.Clock) (start, end time.Time) {
	begin := civil.Time{Day: d, Clock: r.Start}
	return c.First(begin), c.Last(begin.Add(int64(r.Length / time.Second)))
}

// near are the days on which a stretch that matters to the day may begin: it,
// or the one before, may reach into the day, and the next bounds the answer.
func (r Restriction) near(today civil.Day) []civil.Day {
	if r.Weekday == 0 {
		return []civil.Day{today - 2, today - 1, today, today + 1, today + 2}
	}
	last := today - civil.Day((isoWeekday(today)-r.Weekday+7)%7)
	return []civil.Day{last - 14, last - 7, last, last + 7, last + 14}
}

func isoWeekday(d civil.Day) int { return (int(d.Weekday())+6)%7 + 1 }

// mask is the restrictions of a layer.
type mask []Restriction

// inside returns the index of the restriction that lets t through, -1 when t is
// masked, with the nearest edges of any around t: between them the answer is
// the same. Without restrictions all time is inside, and the edges are zero.
func (m mask) inside(t time.Time, c *civil.Clock) (index int, since, until time.Time) {
	if len(m) == 0 {
		return 0, since, until
	}
	index = -1
	today := c.Show(t).Day
	for i, r := range m {
		for _, d := range r.near(today) {
			start, end := r.stretch(d, c)
			if index < 0 && !start.After(t) && end.After(t) {
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
