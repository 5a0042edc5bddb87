package importer

import "time"

// Wall is a date and time of day without a zone. It is counted as UTC is, where
// all days have 24 hours.
type Wall struct{ t time.Time }

// WallOf returns what clocks of the zone show at an instant.
func WallOf(t time.Time, zone *time.Location) Wall {
	t = t.In(zone)
	return Wall{time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC)}
}

// WallAt returns a time of day of a date.
func WallAt(year int, month time.Month, day int, clock time.Duration) Wall {
	return Wall{time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Add(clock)}
}

// Add moves it on the wall.
func (w Wall) Add(d time.Duration) Wall { return Wall{w.t.Add(d)} }

// AddDate moves it on the calendar, as time.Time.AddDate does: a day that a
// month does not have is one of the next month.
func (w Wall) AddDate(years, months, days int) Wall { return Wall{w.t.AddDate(years, months, days)} }

// Sub is the time from o to w on the wall.
func (w Wall) Sub(o Wall) time.Duration { return w.t.Sub(o.t) }

// Midnight returns the beginning of its day.
func (w Wall) Midnight() Wall { return Wall{w.t.Truncate(24 * time.Hour)} }

// Weekday returns its day of the week.
func (w Wall) Weekday() time.Weekday { return w.t.Weekday() }

// Time returns it as an instant of UTC, to take it apart.
func (w Wall) Time() time.Time { return w.t }

// String returns the form that hand-offs have in a document.
func (w Wall) String() string { return w.t.Format("2006-01-02T15:04") }

// First returns the first instant at which clocks of the zone show it, or, when
// they jump over it, the instant at which they jump.
func (w Wall) First(zone *time.Location) time.Time {
	at, before := w.around(zone)
	if early := w.t.Add(-before).In(zone); WallOf(early, zone) == w {
		return early.UTC()
	}
	return at
}

// Last returns the last instant at which clocks of the zone show it; First for
// one that they jump over.
func (w Wall) Last(zone *time.Location) time.Time {
	at, _ := w.around(zone)
	return at
}

// around returns the last instant that shows w, or the jump over it, and the
// offset that held a day before.
func (w Wall) around(zone *time.Location) (time.Time, time.Duration) {
	_, before := w.t.Add(-26 * time.Hour).In(zone).Zone()
	_, after := w.t.Add(26 * time.Hour).In(zone).Zone()
	late := w.t.Add(-time.Duration(after) * time.Second).In(zone)
	offset := time.Duration(before) * time.Second
	if WallOf(late, zone) == w {
		return late.UTC(), offset
	}
	early := w.t.Add(-offset).In(zone)
	if WallOf(early, zone) == w {
		return early.UTC(), offset
	}
	_, jump := late.ZoneBounds() // late shows the offset from before the jump
	return jump.UTC(), offset
}
