package civil

import (
	"fmt"
	"time"
)

// Time is a date and a time of day as a calendar and a clock on the wall show
// them; it is an instant only together with a zone. The zero Time is 1970-01-01T00:00.
type Time struct {
	Day   Day
	Clock time.Duration // time of day, 0 up to but not including 24 h
}

const timeLayout = "2006-01-02T15:04"

// ParseTime reads the form that String writes, 2006-01-02T15:04, and no other.
func ParseTime(s string) (Time, error) {
	t, err := time.Parse(timeLayout, s)
	if c := onWall(t.Unix()); err == nil && c.String() == s { // Parse lets an hour of one digit pass
		return c, nil
	}
	return Time{}, fmt.Errorf("%q is not a date and time of day such as 2026-03-02T09:00", s)
}

// Show returns what the clocks of the zone show at t.
func Show(t time.Time, zone *time.Location) Time {
	day, clock := Of(t, zone)
	return Time{day, clock}
}

// In returns the instant at which the zone's clocks show the time: the rule of the package.
func (t Time) In(zone *time.Location) time.Time { return Instant(t.Day, t.Clock, zone) }

// Add returns the time that many seconds later on the calendar and the wall:
// every day has 24 hours there.
func (t Time) Add(seconds int64) Time {
	moved := onWall(t.seconds() + seconds)
	moved.Clock += t.Clock % time.Second
	return moved
}

// AddMonths returns the same time of day n months later, on the same day of the
// month or on the month's last where it has no such day: 31 January and one
// month is 28 February, and two months is 31 March.
func (t Time) AddMonths(n int64) Time {
	year, month, day := t.Day.date()
	of := int64(year)*12 + int64(month) - 1 + n
	year, month = int(floorDiv(of, 12)), time.Month(of-floorDiv(of, 12)*12+1)
	return Time{Day: Date(year, month, min(day, daysIn(year, month))), Clock: t.Clock}
}

// Month counts the months since January of the year 0.
func (t Time) Month() int64 {
	year, month, _ := t.Day.date()
	return int64(year)*12 + int64(month) - 1
}

// Sub returns the seconds from u to t on the calendar and the wall.
func (t Time) Sub(u Time) int64 { return t.seconds() - u.seconds() }

func (t Time) String() string { return time.Unix(t.seconds(), 0).UTC().Format(timeLayout) }

func (t Time) seconds() int64 { return int64(t.Day)*daySeconds + int64(t.Clock/time.Second) }

// onWall is the time that so many seconds of the wall after 1970 make.
func onWall(seconds int64) Time {
	day := floorDiv(seconds, daySeconds)
	return Time{Day: Day(day), Clock: time.Duration(seconds-day*daySeconds) * time.Second}
}

func (d Day) date() (year int, month time.Month, day int) {
	return time.Unix(int64(d)*daySeconds, 0).UTC().Date()
}

// daysIn is the number of days of the month: the day before the first of the next.
func daysIn(year int, month time.Month) int {
	_, _, day := (Date(year, month+1, 1) - 1).date()
	return day
}
