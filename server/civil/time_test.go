package civil

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestTimes(t *testing.T) {
	parse := func(s string) Time {
		c, err := ParseTime(s)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, c := range []struct {
		name string
		got  Time
		want string
	}{
		{"as written", parse("2026-03-02T09:30"), "2026-03-02T09:30"},
		{"before 1970", parse("1969-12-31T23:59"), "1969-12-31T23:59"},
		{"seconds later", parse("2026-12-31T23:59").Add(60), "2027-01-01T00:00"},
		{"seconds earlier", parse("2026-01-01T00:00").Add(-60), "2025-12-31T23:59"},
		{"a month from the 31st", parse("2026-01-31T09:00").AddMonths(1), "2026-02-28T09:00"},
		{"two months from the 31st", parse("2026-01-31T09:00").AddMonths(2), "2026-03-31T09:00"},
		{"into a leap year", parse("2027-12-31T09:00").AddMonths(2), "2028-02-29T09:00"},
		{"back over a year", parse("2026-01-31T09:00").AddMonths(-2), "2025-11-30T09:00"},
		{"what London shows", Show(parse("2026-07-01T12:00").In(time.UTC), zone(t, "Europe/London")), "2026-07-01T13:00"},
	} {
		if got := c.got.String(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	if got := parse("2026-03-02T00:00").Sub(parse("2026-03-01T23:00")); got != 3600 {
		t.Errorf("an hour over midnight is %d s", got)
	}
	for _, bad := range []string{"", "2026-02-30T09:00", "2026-03-02", "2026-03-02T24:00", "2026-03-02T09:00Z", "2026-03-02T9:00", "2026-03-02T09:00:00"} {
		if c, err := ParseTime(bad); err == nil {
			t.Errorf("%q was read as %v", bad, c)
		}
	}
}

func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"2026-03-02T09:00", "0000-01-01T00:00", "9999-12-31T23:59", "2026-03-02T9:00", "2026-03-02T09:00.5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseTime(s)
		if err == nil && c.String() != s {
			t.Errorf("%q was read as %v", s, c)
		}
		if err == nil && (c.Clock < 0 || c.Clock >= 24*time.Hour) {
			t.Errorf("%q has the time of day %v", s, c.Clock)
		}
	})
}

// slowLast returns the last minute at which the wall shows the civil time, or the
// first that shows a later one when none does.
func slowLast(want Time, loc *time.Location) time.Time {
	for t := time.Unix(want.seconds(), 0).Add(40 * time.Hour); ; t = t.Add(-time.Minute) {
		_, offset := t.In(loc).Zone()
		switch shown := t.Unix() + int64(offset); {
		case shown == want.seconds():
			return t.UTC()
		case shown < want.seconds():
			return t.Add(time.Minute).UTC()
		}
	}
}

// TestClockAgreesWithBruteForce asks one clock for many times, so that it answers
// from what it remembers, too.
func TestClockAgreesWithBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		loc := zone(t, rapid.SampledFrom(odd).Draw(t, "zone"))
		c := NewClock(loc)
		base := Show(aroundChange(t, loc), loc)
		for range rapid.IntRange(1, 8).Draw(t, "questions") {
			asked := base.Add(60 * int64(rapid.IntRange(-6000, 6000).Draw(t, "minutes")))
			first, last := slow(asked.Day, asked.Clock, loc), slowLast(asked, loc)
			if got := c.First(asked); !got.Equal(first) {
				t.Fatalf("First(%v) in %v = %v, want %v", asked, loc, got, first)
			}
			if got := c.Last(asked); !got.Equal(last) {
				t.Fatalf("Last(%v) in %v = %v, want %v", asked, loc, got, last)
			}
			if got, want := c.Show(first), Show(first, loc); got != want {
				t.Fatalf("Show(%v) in %v = %v, want %v", first, loc, got, want)
			}
		}
	})
}
