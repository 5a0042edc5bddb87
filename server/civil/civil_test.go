package civil

import (
	"testing"
	"time"
	_ "time/tzdata" // the zones of the tests do not depend on the machine

	"pgregory.net/rapid"
)

// odd are zones with something unusual: half and quarter hours, changes at
// midnight, by half an hour, by a whole day, before 1970 rules, far east and west.
var odd = []string{
	"UTC", "America/New_York", "Europe/Berlin", "Europe/Dublin", "Australia/Lord_Howe", "Asia/Kathmandu",
	"Pacific/Chatham", "Pacific/Apia", "Pacific/Kiritimati", "Pacific/Pago_Pago", "America/St_Johns",
	"America/Sao_Paulo", "Africa/Casablanca", "Asia/Gaza", "Asia/Beirut", "America/Santiago", "Atlantic/Azores",
	"America/Havana", "Antarctica/Troll", "Asia/Tehran", "Africa/Cairo", "Asia/Pyongyang", "America/Caracas",
}

func zone(t interface{ Fatalf(string, ...any) }, name string) *time.Location {
	l, err := time.LoadLocation(name)
	if err != nil {
		t.Fatalf("zone %s: %v", name, err)
	}
	return l
}

func at(t *testing.T, s string) time.Time {
	t.Helper()
	v, err := time.Parse("2006-01-02T15:04Z07:00", s)
	if err != nil {
		t.Fatal(err)
	}
	return v.UTC()
}

func TestInstant(t *testing.T) {
	for _, c := range []struct {
		name, zone string
		day        Day
		clock      time.Duration
		want       string
	}{
		{"once", "Europe/Berlin", Date(2026, 7, 1), 9 * time.Hour, "2026-07-01T07:00Z"},
		{"twice: the first", "America/New_York", Date(2026, 11, 1), 90 * time.Minute, "2026-11-01T05:30Z"},
		{"once, after the repeated hour", "America/New_York", Date(2026, 11, 1), 2 * time.Hour, "2026-11-01T07:00Z"},
		{"skipped: the change", "America/New_York", Date(2026, 3, 8), 150 * time.Minute, "2026-03-08T07:00Z"},
		{"skipped midnight", "Asia/Beirut", Date(2026, 3, 29), 0, "2026-03-28T22:00Z"},
		{"half an hour back", "Australia/Lord_Howe", Date(2026, 4, 5), 105 * time.Minute, "2026-04-04T14:45Z"},
		{"half an hour forward", "Australia/Lord_Howe", Date(2026, 10, 4), 135 * time.Minute, "2026-10-03T15:30Z"},
		{"a day that never was", "Pacific/Apia", Date(2011, 12, 30), 12 * time.Hour, "2011-12-30T10:00Z"},
		{"past midnight", "Europe/Berlin", Date(2026, 6, 30), 31 * time.Hour, "2026-07-01T05:00Z"},
		{"before midnight", "Europe/Berlin", Date(2026, 7, 2), -2 * time.Hour, "2026-07-01T20:00Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Instant(c.day, c.clock, zone(t, c.zone)); !got.Equal(at(t, c.want)) {
				t.Errorf("Instant(%v, %v, %s) = %v, want %v", c.day, c.clock, c.zone, got, c.want)
			}
		})
	}
}

func TestWeekdayAndString(t *testing.T) {
	for d, want := range map[Day]string{
		Date(2026, 11, 1): "2026-11-01 Sunday", 0: "1970-01-01 Thursday", -1: "1969-12-31 Wednesday",
		Date(2024, 2, 29): "2024-02-29 Thursday",
	} {
		if got := d.String() + " " + d.Weekday().String(); got != want {
			t.Errorf("day %d = %s, want %s", int64(d), got, want)
		}
	}
}

func TestDailyOverClockChanges(t *testing.T) {
	night := Daily(22*time.Hour, 7*time.Hour)
	for _, c := range []struct {
		name, zone string
		window     Window
		at         string
		until      string // empty: outside
		next       string
	}{
		{"10 h night in New York", "America/New_York", night, "2026-11-01T02:00Z", "2026-11-01T12:00Z", "2026-11-02T03:00Z"},
		{"8 h night in New York", "America/New_York", night, "2026-03-08T04:00Z", "2026-03-08T11:00Z", "2026-03-09T02:00Z"},
		{"an ordinary night", "America/New_York", night, "2026-07-02T06:00Z", "2026-07-02T11:00Z", "2026-07-03T02:00Z"},
		{"the end is outside", "America/New_York", night, "2026-11-01T12:00Z", "", "2026-11-02T03:00Z"},
		{"skipped that day", "Europe/Berlin", Daily(2*time.Hour, 3*time.Hour), "2026-03-29T01:00Z", "", "2026-03-30T00:00Z"},
		{"an hour longer", "Europe/Berlin", Daily(2*time.Hour, 3*time.Hour), "2026-10-25T01:30Z", "2026-10-25T02:00Z", "2026-10-26T01:00Z"},
		{"same start and end", "Europe/Berlin", Daily(7*time.Hour, 7*time.Hour), "2026-07-02T06:00Z", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			loc := zone(t, c.zone)
			until, inside := c.window.Until(at(t, c.at), loc)
			if inside != (c.until != "") || inside && !until.Equal(at(t, c.until)) {
				t.Errorf("Until(%s) = %v, %v, want %q", c.at, until, inside, c.until)
			}
			next := c.window.Next(at(t, c.at), loc)
			if next.IsZero() != (c.next == "") || c.next != "" && !next.Equal(at(t, c.next)) {
				t.Errorf("Next(%s) = %v, want %q", c.at, next, c.next)
			}
		})
	}
}

func TestWeekly(t *testing.T) {
	loc := zone(t, "Europe/Berlin")
	office := Weekly([]time.Weekday{time.Monday, time.Friday}, 22*time.Hour, 2*time.Hour)
	if until, in := office.Until(at(t, "2026-11-20T23:30Z"), loc); !in || !until.Equal(at(t, "2026-11-21T01:00Z")) {
		t.Errorf("half past midnight on Saturday is %v until %v, want inside Friday's window until 02:00", in, until)
	}
	if office.Contains(at(t, "2026-11-19T23:30Z"), loc) {
		t.Error("half past midnight on Friday is inside, want outside: Thursday has no window")
	}
	if got := office.Next(at(t, "2026-11-20T22:00Z"), loc); !got.Equal(at(t, "2026-11-23T21:00Z")) {
		t.Errorf("Next = %v, want Monday 22:00", got)
	}
	all := Weekly(everyDay(), 9*time.Hour, 9*time.Hour)
	if until, in := all.Until(at(t, "2026-11-20T22:00Z"), loc); !in || until.Sub(at(t, "2026-11-20T22:00Z")) < 7*24*time.Hour {
		t.Errorf("a window of all days ends %v (%v), want not within a week", until, in)
	}
	if got := Weekly(nil, 0, 0).Next(at(t, "2026-11-20T22:00Z"), loc); !got.IsZero() {
		t.Errorf("a window without days begins %v, want never", got)
	}
}

// slow returns the first minute at which the wall shows the civil time or a
// later one, by walking over all of them.
func slow(day Day, clock time.Duration, loc *time.Location) time.Time {
	want := int64(day)*daySeconds + int64(clock/time.Second)
	t := time.Unix(want, 0).Add(-40 * time.Hour)
	for {
		_, offset := t.In(loc).Zone()
		if t.Unix()+int64(offset) >= want {
			return t.UTC()
		}
		t = t.Add(time.Minute)
	}
}

// aroundChange draws an instant, more often than not close to a change of clocks.
func aroundChange(t *rapid.T, loc *time.Location) time.Time {
	base := time.Unix(rapid.Int64Range(1.6e9, 1.9e9).Draw(t, "at")/60*60, 0)
	if _, end := base.In(loc).ZoneBounds(); !end.IsZero() && rapid.IntRange(0, 3).Draw(t, "near") > 0 {
		base = end.Add(time.Duration(rapid.IntRange(-2000, 2000).Draw(t, "minutes")) * time.Minute)
	}
	return base.UTC()
}

func TestInstantIsTheFirstThatShowsIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		loc := zone(t, rapid.SampledFrom(odd).Draw(t, "zone"))
		day, clock := Of(aroundChange(t, loc), loc)
		clock = (clock + time.Duration(rapid.IntRange(-120, 120).Draw(t, "shift"))*time.Minute).Truncate(time.Minute)
		if got, want := Instant(day, clock, loc), slow(day, clock, loc); !got.Equal(want) {
			t.Fatalf("Instant(%v, %v, %v) = %v, want %v", day, clock, loc, got, want)
		}
	})
}

func TestMembershipAgreesWithBruteForce(t *testing.T) {
	minute := rapid.IntRange(0, 24*60-1)
	rapid.Check(t, func(t *rapid.T) {
		loc := zone(t, rapid.SampledFrom(odd).Draw(t, "zone"))
		now := aroundChange(t, loc)
		w := Weekly(rapid.SliceOfDistinct(rapid.SampledFrom(everyDay()), rapid.ID[time.Weekday]).Draw(t, "days"),
			time.Duration(minute.Draw(t, "start"))*time.Minute, time.Duration(minute.Draw(t, "end"))*time.Minute)

		today, _ := Of(now, loc)
		want := false
		for d := today - 2; d <= today+2; d++ {
			for _, day := range w.Days {
				if d.Weekday() == day && !slow(d, w.Start, loc).After(now) && slow(d, w.Start+w.Length, loc).After(now) {
					want = true
				}
			}
		}
		until, got := w.Until(now, loc)
		if got != want {
			t.Fatalf("Contains(%v) = %v, want %v (window %v, %v)", now, got, want, w, loc)
		}
		if got && until.Sub(now) < 6*24*time.Hour && (!w.Contains(until.Add(-time.Minute), loc) || w.Contains(until, loc)) {
			t.Fatalf("Until(%v) = %v is not its end (window %v, %v)", now, until, w, loc)
		}
		if next := w.Next(now, loc); !next.IsZero() && (!next.After(now) || !w.Contains(next, loc)) {
			t.Fatalf("Next(%v) = %v is not a begin (window %v, %v)", now, next, w, loc)
		}
	})
}
