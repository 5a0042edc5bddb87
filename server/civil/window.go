package civil

import (
	"slices"
	"time"
)

const wholeDay = 24 * time.Hour

// Window is a stretch of civil time that comes back on days of the week. The
// zero Window never is. A window that crosses midnight belongs to the day on
// which it begins. On a day whose clocks jump over all of it, it is not.
type Window struct {
	Start  time.Duration // time of day
	Length time.Duration // on the wall: an hour that clocks repeat is not counted; up to 24 h
	Days   []time.Weekday
}

// Daily is the window from start to end on every day; none when they are the
// same. With start past end it crosses midnight.
func Daily(start, end time.Duration) Window {
	return Window{Start: start, Length: (end - start + wholeDay) % wholeDay, Days: everyDay()}
}

// Weekly is the window from start to end on those days; the whole day when
// start and end are the same.
func Weekly(days []time.Weekday, start, end time.Duration) Window {
	w := Daily(start, end)
	w.Days = days
	if start == end {
		w.Length = wholeDay
	}
	return w
}

func everyDay() []time.Weekday {
	return []time.Weekday{
		time.Sunday, time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday, time.Saturday,
	}
}

// Never reports whether the window has no time at all.
func (w Window) Never() bool { return w.Length <= 0 || len(w.Days) == 0 }

// Contains reports whether t is inside: its start is, its end is not.
func (w Window) Contains(t time.Time, zone *time.Location) bool {
	_, inside := w.Until(t, zone)
	return inside
}

// Until returns when the occurrence that t is inside ends. Occurrences that
// follow each other without a pause, as those of a window of 24 h, are one;
// of a window that never ends, the answer is a week away.
func (w Window) Until(t time.Time, zone *time.Location) (time.Time, bool) {
	today, _ := Of(t, zone)
	until, inside := t, false
	for d := today - 2; d <= today+8; d++ {
		start, end, ok := w.on(d, zone)
		if ok && !start.After(until) && end.After(until) {
			until, inside = end, true
		}
	}
	return until.UTC(), inside
}

// Next returns when the window begins next, strictly after t; zero when it
// never does. Where occurrences follow each other without a pause, each begins.
func (w Window) Next(t time.Time, zone *time.Location) time.Time {
	if w.Never() {
		return time.Time{}
	}
	today, _ := Of(t, zone)
	for d := today - 1; d <= today+15; d++ { // a week, and another where the clocks skip the window
		if start, _, ok := w.on(d, zone); ok && start.After(t) {
			return start
		}
	}
	return time.Time{}
}

// on returns the occurrence that begins on the day.
func (w Window) on(d Day, zone *time.Location) (start, end time.Time, ok bool) {
	if w.Never() || !slices.Contains(w.Days, d.Weekday()) {
		return time.Time{}, time.Time{}, false
	}
	start, end = Instant(d, w.Start, zone), Instant(d, w.Start+w.Length, zone)
	return start, end, start.Before(end)
}
