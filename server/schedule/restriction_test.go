package schedule

import (
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/civil"
)

func hours(h float64) time.Duration { return time.Duration(h * float64(time.Hour)) }

func weekdays(start, length float64, days ...int) []Restriction {
	rs := make([]Restriction, len(days))
	for i, d := range days {
		rs[i] = Restriction{Weekday: d, Start: hours(start), Length: hours(length)}
	}
	return rs
}

func TestRestrictions(t *testing.T) {
	// 2026-06-01 is a Monday.
	monday, nights := weekdays(8, 12, 1), weekdays(20, 12, 1)
	whole, workNights := weekdays(8, 24, 1, 2, 3, 4, 5), weekdays(20, 12, 1, 2, 3, 4, 5)
	daily := []Restriction{{Start: hours(22), Length: hours(10)}}
	gap := []Restriction{{Start: hours(2), Length: hours(1)}}
	quarter := []Restriction{{Start: hours(1.5), Length: hours(.25)}}
	weekend := []Restriction{{Weekday: 5, Start: hours(18), Length: hours(62)}}
	for _, c := range []struct {
		name   string
		mask   []Restriction
		zone   string
		at     string
		inside bool
	}{
		{"Monday 08-20, start", monday, "UTC", "2026-06-01T08:00Z", true},
		{"Monday 08-20, end", monday, "UTC", "2026-06-01T20:00Z", false},
		{"Monday 08-20, Tuesday", monday, "UTC", "2026-06-02T09:00Z", false},
		{"Monday 20-08, evening", nights, "UTC", "2026-06-01T21:00Z", true},
		{"Monday 20-08, after midnight", nights, "UTC", "2026-06-02T07:00Z", true},
		{"Monday 20-08, end", nights, "UTC", "2026-06-02T08:00Z", false},
		{"Monday 20-08, morning before", nights, "UTC", "2026-06-01T09:00Z", false},
		{"Mo-Fr 08-08, before", whole, "UTC", "2026-06-01T07:00Z", false},
		{"Mo-Fr 08-08, first", whole, "UTC", "2026-06-01T08:00Z", true},
		{"Mo-Fr 08-08, middle", whole, "UTC", "2026-06-04T03:00Z", true},
		{"Mo-Fr 08-08, last minute", whole, "UTC", "2026-06-06T07:59Z", true},
		{"Mo-Fr 08-08, end", whole, "UTC", "2026-06-06T08:00Z", false},
		{"Mo-Fr 20-08, Sunday", workNights, "UTC", "2026-06-07T20:00Z", false},
		{"Mo-Fr 20-08, Monday morning", workNights, "UTC", "2026-06-08T07:00Z", false},
		{"Mo-Fr 20-08, Saturday morning", workNights, "UTC", "2026-06-06T07:00Z", true},
		{"Mo-Fr 20-08, Saturday evening", workNights, "UTC", "2026-06-06T20:00Z", false},
		{"daily over midnight", daily, "UTC", "2026-06-03T07:59Z", true},
		{"daily over midnight, end", daily, "UTC", "2026-06-03T08:00Z", false},
		{"weekend over the week's end", weekend, "UTC", "2026-06-08T07:59Z", true},
		{"weekend's end", weekend, "UTC", "2026-06-08T08:00Z", false},
		{"jumped over", gap, "America/New_York", "2026-03-08T07:00Z", false},
		{"the day before", gap, "America/New_York", "2026-03-07T07:00Z", true},
		{"in an overlap: from the first", quarter, "America/New_York", "2026-11-01T05:30Z", true},
		{"in an overlap: in between", quarter, "America/New_York", "2026-11-01T06:10Z", true},
		{"in an overlap: to the last", quarter, "America/New_York", "2026-11-01T06:44Z", true},
		{"in an overlap: the end", quarter, "America/New_York", "2026-11-01T06:45Z", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock := civil.NewClock(zone(t, c.zone))
			index, since, until := mask(c.mask).inside(at(t, c.at), &clock)
			if (index >= 0) != c.inside {
				t.Errorf("inside at %s: %v, want %v", c.at, index >= 0, c.inside)
			}
			if since.After(at(t, c.at)) || !until.After(at(t, c.at)) {
				t.Errorf("the answer holds in [%v, %v), which has not %s", since, until, c.at)
			}
		})
	}
}
