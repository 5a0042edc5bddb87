package schedule

import (
	"slices"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/roster"
)

// stint reads days and hours from Monday 1 June 2026, 00:00 UTC on.
func stint(user roster.UserID, schedule ID, from, to float64) Stint {
	start := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	return Stint{start.Add(hours(from * 24)), start.Add(hours(to * 24)), user, schedule}
}

func TestConflicts(t *testing.T) {
	when := func(d float64) time.Time { return stint("", "", d, d).Start }
	for _, c := range []struct {
		name string
		plan Plan
		want []Conflict
	}{
		{"two schedules after each other", Plan{Stints: []Stint{stint("A", "s", 0, 2), stint("A", "r", 2, 3)}}, nil},
		{
			"two at once",
			Plan{Stints: []Stint{stint("A", "s", 0, 2), stint("B", "r", 0, 1), stint("A", "r", 1, 3)}},
			[]Conflict{{TwoAtOnce, "A", when(1), when(2), []ID{"s", "r"}}},
		},
		{"one schedule that two policies ask", Plan{Stints: []Stint{stint("A", "s", 0, 2), stint("A", "s", 0, 2)}}, nil},
		{"a week", Plan{Stints: []Stint{stint("A", "s", 0, 7)}}, nil},
		{"a week and the hour that clocks give", Plan{Stints: []Stint{stint("A", "s", 0, 7+1.0/24)}}, nil},
		{
			"a week and a day",
			Plan{Stints: []Stint{stint("A", "s", 0, 7), stint("A", "r", 7, 8)}},
			[]Conflict{{InARow, "A", when(0), when(8), []ID{"s", "r"}}},
		},
		{
			"nine nights",
			Plan{Stints: nightly(9)},
			[]Conflict{{InARow, "A", when(.75), when(9.25), []ID{"s"}}},
		},
		{"seven nights", Plan{Stints: nightly(7)}, nil},
		{"two weeks with a free day", Plan{Stints: []Stint{stint("A", "s", 0, 6), stint("A", "s", 7, 13)}}, nil},
		{
			"away",
			Plan{Stints: []Stint{stint("A", "s", 0, 4)}, Absences: []Absence{{"A", when(3), when(9)}, {"B", when(0), when(9)}}},
			[]Conflict{{OnVacation, "A", when(3), when(4), []ID{"s"}}},
		},
		{
			"no rest",
			Plan{Stints: []Stint{stint("A", "s", 0, .5), stint("A", "s", .75, 2)}, Woken: []Woken{{"A", when(.125)}, {"A", when(.4)}}, Rest: 11 * time.Hour},
			[]Conflict{{NoRest, "A", when(.75), when(.4).Add(11 * time.Hour), []ID{"s"}}},
		},
		{"nobody asked for rest", Plan{Stints: []Stint{stint("A", "s", .75, 2)}, Woken: []Woken{{"A", when(.7)}}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := c.plan.Conflicts()
			if !slices.EqualFunc(got, c.want, func(a, b Conflict) bool {
				return a.Kind == b.Kind && a.User == b.User && a.Start.Equal(b.Start) && a.End.Equal(b.End) && slices.Equal(a.Schedules, b.Schedules)
			}) {
				t.Errorf("conflicts: %+v\nwant %+v", got, c.want)
			}
		})
	}
}

// nightly are stints from 18:00 to 06:00.
func nightly(n int) []Stint {
	var all []Stint
	for i := range n {
		all = append(all, stint("A", "s", float64(i)+.75, float64(i)+1.25))
	}
	return all
}

func TestDoubles(t *testing.T) {
	levels := [][]Stint{
		{stint("A", "s", 0, 2), stint("B", "s", 2, 4)},
		{stint("B", "r", 0, 3), stint("A", "r", 3, 4)},
		{stint("A", "", 0, 4)}, // asked by name
	}
	got := Doubles(levels)
	want := []Double{
		{stint("", "", 0, 0).Start, stint("", "", 2, 2).Start, "A", 0, 2},
		{stint("", "", 2, 2).Start, stint("", "", 3, 3).Start, "B", 0, 1},
		{stint("", "", 3, 3).Start, stint("", "", 4, 4).Start, "A", 1, 2},
	}
	if !slices.Equal(got, want) {
		t.Errorf("covered twice: %+v, want %+v", got, want)
	}
}

func TestLoads(t *testing.T) {
	zone := func(u roster.UserID) *time.Location {
		if u == "B" {
			loc, _ := zones("America/New_York")
			return loc
		}
		return nil
	}
	// 6 June is a Saturday. A has it and its night in UTC; B has the same hours from New York.
	got := Loads([]Stint{stint("A", "s", 5, 7), stint("B", "r", 5, 6), stint("A", "s", 7, 7.01), stint("A", "s", 7.01, 7.02)}, zone)
	want := []Load{
		{User: "A", Total: 48*time.Hour + hours(.48), Night: 20*time.Hour + hours(.48), Weekend: 28 * time.Hour, Nights: 3, Overloaded: true},
		{User: "B", Total: 24 * time.Hour, Night: 10 * time.Hour, Weekend: 12 * time.Hour, Nights: 1},
	}
	if !slices.Equal(got, want) {
		t.Errorf("loads: %+v\nwant  %+v", got, want)
	}
}

func TestRate(t *testing.T) {
	even := []Load{{User: "A", Total: 96 * time.Hour}, {User: "B", Total: 100 * time.Hour}}
	for _, c := range []struct {
		name  string
		loads []Load
		want  Quality
	}{
		{"as even as turns are", even, Quality{98, 100, 100, 100, 99}},
		{"one has it all", []Load{{User: "A", Total: 200 * time.Hour, Night: time.Hour}, {User: "B"}}, Quality{100, 0, 0, 100, 50}},
		{"three", []Load{{User: "A", Total: 100 * time.Hour}, {User: "B", Total: 50 * time.Hour}, {User: "C", Total: 50 * time.Hour}}, Quality{100, 100 * 2.0 / 3, 100, 100, 50 + 100.0/3}},
		{"nobody", nil, Quality{0, 100, 100, 100, 50}},
	} {
		got := Rate(c.loads, 200*time.Hour)
		near := func(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 }
		if !near(got.Coverage, c.want.Coverage) || !near(got.Balance, c.want.Balance) || !near(got.Nights, c.want.Nights) ||
			!near(got.Weekends, c.want.Weekends) || !near(got.Score, c.want.Score) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}
