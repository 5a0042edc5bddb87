// Package civil turns civil times, as people write them on a wall clock of a
// zone, into instants, and daily windows of civil time into intervals.
//
// One rule holds everywhere: a civil time that exists once is that instant;
// one that exists twice, when clocks go back, is its first occurrence; one
// that is skipped, when clocks go forward, is the instant of the change. All
// three say the same thing: the first instant at which the clock on the wall
// shows that time or a later one. time.Date is never used to find it, as its
// answer for the last two cases differs from zone to zone.
//
// Ends of what people restrict to hours of the day are the one exception: there
// a time that exists twice is its second occurrence (Clock.Last).
//
// Pure: no clock, no I/O. Zones come in as *time.Location.
package civil

import "time"

// Day is a civil date: days since 1 January 1970.
type Day int64

const (
	daySeconds = 24 * 60 * 60
	// furthest is more than any zone's clock is, or ever was, away from UTC.
	furthest = 26 * time.Hour
)

// Of returns the civil date and the time of day that clocks in the zone show at t.
func Of(t time.Time, zone *time.Location) (Day, time.Duration) {
	t = t.In(zone)
	_, offset := t.Zone()
	wall := t.Unix() + int64(offset)
	day := floorDiv(wall, daySeconds)
	return Day(day), time.Duration(wall-day*daySeconds)*time.Second + time.Duration(t.Nanosecond())
}

// Date returns the day of a year, month and day of the month.
func Date(year int, month time.Month, day int) Day {
	return Day(floorDiv(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix(), daySeconds)) // days are all alike in UTC
}

// Weekday returns the day's place in the week.
func (d Day) Weekday() time.Weekday {
	return time.Weekday(((int64(d)+int64(time.Thursday))%7 + 7) % 7)
}

// String returns the date as 2006-01-02.
func (d Day) String() string { return time.Unix(int64(d)*daySeconds, 0).UTC().Format(time.DateOnly) }

// Instant returns the first instant at which the clocks of the zone show that
// time of that day, or a later one. clock may be negative or past 24 h: it is
// counted on the wall, so 26 h is 02:00 of the next day.
func Instant(day Day, clock time.Duration, zone *time.Location) time.Time {
	wall := time.Unix(int64(day)*daySeconds, 0).Add(clock) // as if the zone were UTC
	at := wall.Add(-furthest).In(zone)
	for {
		_, offset := at.Zone()
		begin, end := at.ZoneBounds()
		shown := wall.Add(-time.Duration(offset) * time.Second)
		if !begin.IsZero() && shown.Before(begin) {
			shown = begin // skipped: the clock jumped over it here
		}
		if end.IsZero() || shown.Before(end) {
			return shown.UTC()
		}
		at = end
	}
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
