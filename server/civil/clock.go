package civil

import "time"

// Clock resolves many civil times of one zone. It remembers the last stretch
// between two changes of the zone's clocks, so that most of them cost an
// addition. The zero Clock has no zone; one Clock is for one goroutine.
type Clock struct {
	zone   *time.Location
	begin  int64 // Unix seconds between which the offset holds, less the margin
	end    int64
	offset int64
}

// margin is how far from a change a civil time is beyond doubt: it exists once.
const margin = int64(2 * furthest / time.Second)

// NewClock returns a clock of the zone.
func NewClock(zone *time.Location) Clock { return Clock{zone: zone} }

// First returns the first instant that shows the time, or a later one: see Instant.
func (c *Clock) First(t Time) time.Time {
	if at, ok := c.plain(t); ok {
		return at
	}
	return Instant(t.Day, t.Clock, c.zone)
}

// Last returns the last instant that shows the time: the second occurrence of
// one that clocks repeat, and as First for all others.
func (c *Clock) Last(t Time) time.Time {
	if at, ok := c.plain(t); ok {
		return at
	}
	return last(t, c.zone)
}

// Show returns what the clock shows at an instant.
func (c *Clock) Show(at time.Time) Time {
	if unix := at.Unix(); unix >= c.begin && unix < c.end {
		t := onWall(unix + c.offset)
		t.Clock += time.Duration(at.Nanosecond())
		return t
	}
	return Show(at, c.zone)
}

// plain returns the instant of a time that no change is near to.
func (c *Clock) plain(t Time) (time.Time, bool) {
	wall := t.seconds()
	if unix := wall - c.offset; unix >= c.begin && unix < c.end {
		return time.Unix(unix, int64(t.Clock%time.Second)).UTC(), true
	}
	c.move(time.Unix(wall, 0))
	unix := wall - c.offset
	return time.Unix(unix, int64(t.Clock%time.Second)).UTC(), unix >= c.begin && unix < c.end
}

// move remembers the stretch around an instant.
func (c *Clock) move(at time.Time) {
	at = at.In(c.zone)
	_, offset := at.Zone()
	begin, end := at.ZoneBounds()
	c.offset, c.begin, c.end = int64(offset), -1<<62, 1<<62
	if !begin.IsZero() {
		c.begin = begin.Unix() + margin
	}
	if !end.IsZero() {
		c.end = end.Unix() - margin
	}
}

// last walks the stretches backward from one that lies after the time for sure.
func last(t Time, zone *time.Location) time.Time {
	wall := time.Unix(t.seconds(), int64(t.Clock%time.Second))
	at := wall.Add(furthest).In(zone)
	for {
		_, offset := at.Zone()
		begin, _ := at.ZoneBounds()
		shown := wall.Add(-time.Duration(offset) * time.Second)
		if begin.IsZero() || !shown.Before(begin) {
			return shown.UTC()
		}
		before := begin.Add(-time.Second).In(zone)
		_, earlier := before.Zone()
		if !wall.Add(-time.Duration(earlier) * time.Second).Before(begin) {
			return begin.UTC() // skipped: before the change it was not yet reached
		}
		at = before
	}
}
