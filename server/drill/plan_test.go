package drill

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

func plan() Plan {
	return Plan{
		ID: "core", Name: "Core", People: []escalation.Target{{Kind: escalation.UserTarget, ID: "ann"}}, Every: DefaultEvery,
		Days: Workdays(), Start: DefaultStart, End: DefaultEnd, Limit: DefaultLimit, Seed: "seed",
	}
}

func TestValidate(t *testing.T) {
	if err := plan().Validate(); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		change func(*Plan)
		want   string
	}{
		"nobody":                   {func(p *Plan) { p.People = nil }, "people"},
		"not whole days":           {func(p *Plan) { p.Every = 36 * time.Hour }, "interval"},
		"never":                    {func(p *Plan) { p.Every = 0 }, "interval"},
		"more than a year":         {func(p *Plan) { p.Every = 366 * day }, "interval"},
		"no time to answer":        {func(p *Plan) { p.Limit = time.Second }, "limit"},
		"on call in the past":      {func(p *Plan) { p.OnCall = -1 }, "on_call_within"},
		"no day":                   {func(p *Plan) { p.Days = nil }, "hours.days"},
		"no time of day":           {func(p *Plan) { p.Start = 25 * time.Hour }, "hours.start"},
		"ends before it begins":    {func(p *Plan) { p.Start, p.End = 17*time.Hour, 9*time.Hour }, "hours.end"},
		"at night, and not agreed": {func(p *Plan) { p.Start, p.End = 2*time.Hour, 6*time.Hour }, "hours.start"},
		"shorter than an answer":   {func(p *Plan) { p.Night, p.Start, p.End = true, 9*time.Hour, 9*time.Hour+time.Minute }, "hours.end"},
	} {
		p := plan()
		tc.change(&p)
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), tc.want+":") {
			t.Errorf("%s: %v, want a fault of %s", name, err, tc.want)
		}
	}
	p := plan()
	p.Night, p.Start, p.End = true, 22*time.Hour, 6*time.Hour
	if err := p.Validate(); err != nil {
		t.Errorf("a night that was agreed on: %v", err)
	}
}

// Whatever the plan, the zone and the day: who is drilled in a period is drilled
// once in it, within the agreed hours of his wall, and, unless it was agreed on, not
// at night; everybody who asks gets the same instant.
func TestDueIsWithinTheAgreedHours(t *testing.T) {
	zones := []string{"UTC", "Europe/Zurich", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "Australia/Lord_Howe", "Africa/Casablanca"}
	rapid.Check(t, func(t *rapid.T) {
		p := plan()
		p.Every = time.Duration(rapid.IntRange(1, 60).Draw(t, "days")) * day
		p.Seed = rapid.StringN(1, 8, 8).Draw(t, "seed")
		p.Night = rapid.Bool().Draw(t, "night")
		p.Limit = time.Duration(rapid.IntRange(1, 60).Draw(t, "limit")) * time.Minute
		p.Start = time.Duration(rapid.IntRange(0, 24*60-1).Draw(t, "start")) * time.Minute
		p.End = time.Duration(rapid.IntRange(0, 24*60-1).Draw(t, "end")) * time.Minute
		p.Days = rapid.SliceOfNDistinct(rapid.Map(rapid.IntRange(0, 6), func(d int) time.Weekday { return time.Weekday(d) }), 1, 7, func(d time.Weekday) time.Weekday { return d }).Draw(t, "on")
		if p.Validate() != nil {
			t.Skip("no such plan")
		}
		zone, err := time.LoadLocation(rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		user := roster.UserID(rapid.StringMatching(`[a-z]{1,5}`).Draw(t, "user"))
		at := time.Unix(rapid.Int64Range(1_400_000_000, 2_000_000_000).Draw(t, "at"), 0)
		n := p.PeriodAt(at, zone)
		begin, end := p.Begins(n, zone), p.Begins(n+1, zone)
		if at.Before(begin) || !at.Before(end) {
			t.Fatalf("%s is not in its period [%s, %s)", at, begin, end)
		}
		made := begin.Add(time.Duration(rapid.Int64Range(-int64(day), int64(p.Every)).Draw(t, "made")))
		when, ok := p.Due(user, n, zone, made)
		if again, _ := p.Due(user, n, zone, made); again != when {
			t.Fatalf("asked again, it is %v and not %v", again, when)
		}
		if !ok {
			if p.Every >= 7*day && !made.After(begin) {
				t.Fatal("a week without a drill")
			}
			return
		}
		if when.From.Before(made) || when.From.Before(begin) || !when.From.Before(end) || when.To.Before(when.From) {
			t.Fatalf("%v is not within [%s, %s), made at %s", when, begin, end, made)
		}
		for _, x := range []time.Time{when.From, when.To} {
			if !p.Allows(x, zone) {
				t.Fatalf("%s is not within the agreed hours", x.In(zone))
			}
			if h := x.In(zone).Hour(); !p.Night && (h < 8 || h >= 22) {
				t.Fatalf("%s is at night", x.In(zone))
			}
		}
	})
}

// The times of people differ, and so do those of one person from period to period.
func TestDueIsSpread(t *testing.T) {
	p := plan()
	made := p.Begins(0, time.UTC)
	seen := map[time.Time]bool{}
	for n := range Period(40) {
		for _, u := range []roster.UserID{"ann", "bo", "cy", "dan", "eve"} {
			when, ok := p.Due(u, n, time.UTC, made)
			if !ok {
				t.Fatalf("%s is not drilled in period %d", u, n)
			}
			seen[when.From.Add(-p.Begins(n, time.UTC).Sub(made))] = true
		}
	}
	if len(seen) < 195 {
		t.Errorf("200 drills have %d times", len(seen))
	}
	if p.DrillOf("ann", 1) == p.DrillOf("ann", 2) || p.DrillOf("ann", 1) == p.DrillOf("bo", 1) {
		t.Error("names of drills are not one for each")
	}
	other := p
	other.Seed = "other"
	one, _ := p.Due("ann", 1, time.UTC, made)
	if two, _ := other.Due("ann", 1, time.UTC, made); one == two {
		t.Error("whoever knows the plan knows the time")
	}
}

func TestAgain(t *testing.T) {
	p := plan()
	monday := time.Date(2026, 11, 30, 10, 0, 0, 0, time.UTC)
	friday := monday.AddDate(0, 0, 4)
	for _, tc := range []struct{ at, want time.Time }{
		{monday, monday.AddDate(0, 0, 1)},
		{friday, monday.AddDate(0, 0, 7).Add(-time.Hour)},                     // Monday at nine
		{monday.Add(7 * time.Hour), monday.AddDate(0, 0, 2).Add(-time.Hour)},  // at 17:00 there is no time for an answer
		{monday.Add(-9 * time.Hour), monday.AddDate(0, 0, 1).Add(-time.Hour)}, // at 01:00: at nine of the day after
	} {
		if got := p.Again(tc.at, time.UTC); !got.Equal(tc.want) {
			t.Errorf("put off at %s: again at %s, want %s", tc.at, got, tc.want)
		}
	}
}
