package schedule

import (
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/civil"
)

// TestWorkedExamples are shifts around changes of clocks, worked out by hand:
// when the one in question begins and ends, and how long the next ones last.
func TestWorkedExamples(t *testing.T) {
	h := func(hours float64) time.Duration { return time.Duration(hours * float64(time.Hour)) }
	daily, weekly := Rotation{Unit: Days, Length: 1}, Rotation{Unit: Weeks, Length: 1}
	hourly, eight := Rotation{Unit: Hours, Length: 1}, Rotation{Unit: Hours, Length: 8}
	for _, c := range []struct {
		name, zone string
		rotation   Rotation
		anchor     string
		start, end string
		lengths    []time.Duration
	}{
		{"1: an hour is missing", "Europe/London", daily, "2026-03-01T09:00", "2026-03-28T09:00Z", "2026-03-29T08:00Z", []time.Duration{h(23)}},
		{"2: the hand-off is missing", "Europe/London", daily, "2026-03-01T01:30", "2026-03-28T01:30Z", "2026-03-29T01:00Z", []time.Duration{h(23.5), h(23.5)}},
		{"3: the hand-off comes twice", "Europe/London", daily, "2026-10-01T01:30", "2026-10-24T01:30+01:00", "2026-10-25T00:30Z", []time.Duration{h(24), h(25)}},
		{"4: a week without an hour", "America/New_York", weekly, "2026-01-05T09:00", "2026-03-02T09:00-05:00", "2026-03-09T13:00Z", []time.Duration{h(167)}},
		{"5: a week with one more", "America/New_York", weekly, "2026-01-05T09:00", "2026-10-26T09:00-04:00", "2026-11-02T14:00Z", []time.Duration{h(169)}},
		{"6: the hand-off is missing at 02:30", "America/New_York", daily, "2026-03-01T02:30", "2026-03-07T02:30-05:00", "2026-03-08T07:00Z", []time.Duration{h(23.5), h(23.5)}},
		{"7: eight hours over the repeated one", "America/New_York", eight, "2026-10-01T00:00", "2026-11-01T00:00-04:00", "2026-11-01T13:00Z", []time.Duration{h(9), h(8), h(8)}},
		{"8: eight hours over the missing one", "America/New_York", eight, "2026-03-01T00:00", "2026-03-08T00:00-05:00", "2026-03-08T12:00Z", []time.Duration{h(7), h(8), h(8)}},
		{"9: hourly, the hour comes twice", "America/New_York", hourly, "2026-10-31T00:00", "2026-11-01T01:00-04:00", "2026-11-01T07:00Z", []time.Duration{h(2)}},
		{"10: hourly on the half hour, one is missing", "America/New_York", hourly, "2026-03-07T00:30", "2026-03-08T01:30-05:00", "2026-03-08T07:00Z", []time.Duration{h(.5), h(.5)}},
		{"11: south, an hour more", "Pacific/Auckland", daily, "2026-03-01T08:00", "2026-04-04T08:00+13:00", "2026-04-04T20:00Z", []time.Duration{h(25)}},
		{"12: south, the hand-off is missing", "Pacific/Auckland", daily, "2026-09-01T02:30", "2026-09-26T02:30+12:00", "2026-09-26T14:00Z", []time.Duration{h(23.5), h(23.5)}},
		{"13: Denver's week", "America/Denver", weekly, "2026-01-05T17:00", "2026-03-02T17:00-07:00", "2026-03-09T23:00Z", []time.Duration{h(167)}},
		{"14: begins with the first of two", "America/Denver", daily, "2026-10-01T01:30", "2026-11-01T01:30-06:00", "2026-11-02T08:30Z", []time.Duration{h(25)}},
		{"15: half an hour is missing", "Australia/Lord_Howe", daily, "2026-09-01T02:15", "2026-10-03T02:15+10:30", "2026-10-03T15:30Z", []time.Duration{h(23.75), h(23.75)}},
		{"16: half an hour more", "Australia/Lord_Howe", daily, "2026-03-01T01:45", "2026-04-05T01:45+11:00", "2026-04-05T15:15Z", []time.Duration{h(24.5)}},
		{"17: midnight is missing", "America/Santiago", daily, "2026-09-01T00:00", "2026-09-06T01:00-03:00", "2026-09-07T03:00Z", []time.Duration{h(23)}},
		{"18: Chicago's week", "America/Chicago", weekly, "2024-09-03T00:00", "2024-10-29T05:00Z", "2024-11-05T06:00Z", []time.Duration{h(169)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.rotation.Anchor = wall(t, c.anchor)
			clock := civil.NewClock(zone(t, c.zone))
			u := c.rotation.at(at(t, c.start), &clock)
			if !u.start.Equal(at(t, c.start)) || !u.end.Equal(at(t, c.end)) {
				t.Fatalf("the shift is [%v, %v), want [%s, %s)", u.start, u.end, c.start, c.end)
			}
			if before := c.rotation.at(at(t, c.start).Add(-time.Nanosecond), &clock); !before.end.Equal(u.start) {
				t.Errorf("the shift before ends %v, want %s", before.end, c.start)
			}
			for i, want := range c.lengths {
				if got := u.end.Sub(u.start); got != want {
					t.Errorf("shift %d from there lasts %v, want %v", i, got, want)
				}
				u = c.rotation.at(u.end, &clock)
			}
		})
	}
}

// TestShiftThatClocksJumpOver: its number is used up, its person has no shift.
func TestShiftThatClocksJumpOver(t *testing.T) {
	clock := civil.NewClock(zone(t, "America/New_York"))
	r := Rotation{Unit: Hours, Length: 1, Anchor: wall(t, "2026-03-08T00:00")}
	if u := r.turn(2, &clock); !u.empty() {
		t.Errorf("the turn from 02:00 is [%v, %v), want none", u.start, u.end)
	}
	if u := r.at(at(t, "2026-03-08T07:00Z"), &clock); u.number != 3 {
		t.Errorf("at the change it is turn %d, want 3", u.number)
	}
}

func TestMonthsAreCountedFromTheAnchor(t *testing.T) {
	for _, c := range []struct {
		name, anchor string
		length       int
		want         []string
	}{
		{"the last day", "2026-01-31T09:00", 1, []string{"2026-01-31T09:00", "2026-02-28T09:00", "2026-03-31T09:00", "2026-04-30T09:00"}},
		{"a leap day, yearly", "2028-02-29T09:00", 12, []string{"2028-02-29T09:00", "2029-02-28T09:00", "2030-02-28T09:00", "2031-02-28T09:00", "2032-02-29T09:00"}},
		{"quarters over the year", "2025-11-30T00:00", 3, []string{"2025-11-30T00:00", "2026-02-28T00:00", "2026-05-30T00:00"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Rotation{Unit: Months, Length: c.length, Anchor: wall(t, c.anchor)}
			clock := civil.NewClock(time.UTC)
			for k, want := range c.want {
				u := r.at(wall(t, want).In(time.UTC), &clock)
				if u.number != int64(k) || r.begin(int64(k)) != wall(t, want) {
					t.Errorf("%s is in turn %d, which begins %v; want the begin of turn %d", want, u.number, r.begin(u.number), k)
				}
			}
		})
	}
	r := Rotation{Unit: Months, Length: 1, Anchor: wall(t, "2026-03-31T09:00")}
	if got := r.begin(-1); got != wall(t, "2026-02-28T09:00") {
		t.Errorf("the turn before the anchor begins %v, want on the last of February", got)
	}
}
