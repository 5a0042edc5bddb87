package calendar_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	ics "github.com/arran4/golang-ical"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/server/calendar"
	"github.com/tocsin-oncall/tocsin/server/civil"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

var noon = time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC)

func zones(name string) (*time.Location, bool) {
	l, err := time.LoadLocation(name)
	return l, err == nil
}

// weekly is a schedule of people who change on Mondays at nine in Zurich.
func weekly(people ...roster.UserID) schedule.Schedule {
	return schedule.Schedule{ID: "shop", Name: "Shop", Zone: "Europe/Zurich", Layers: []schedule.Layer{{
		ID: "weeks", Participants: people, Since: noon.AddDate(-1, 0, 0),
		Rotation: schedule.Rotation{Unit: schedule.Weeks, Length: 1, Anchor: civil.Show(time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC), time.UTC)},
	}}}
}

func events(t interface {
	Helper()
	Fatal(...any)
}, s schedule.Schedule, now time.Time,
) []calendar.Event {
	t.Helper()
	r, err := schedule.New(s, zones)
	if err != nil {
		t.Fatal(err)
	}
	return calendar.Events(r, now)
}

func title(e calendar.Event) string { return "On call: " + string(e.User) }

// TestParsedBackIsWhoIsOnCall holds P12 with a parser that is not our writer's:
// the calendar says the same as the schedule, in lines as RFC 5545 wants them.
func TestParsedBackIsWhoIsOnCall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := weekly("ann", "ben")
		s.Zone = rapid.SampledFrom([]string{"UTC", "Europe/Zurich", "Australia/Lord_Howe", "America/New_York", "Africa/Casablanca"}).Draw(t, "zone")
		s.Layers[0].Rotation.Unit = rapid.SampledFrom([]schedule.Unit{schedule.Hours, schedule.Days, schedule.Weeks}).Draw(t, "unit")
		s.Layers[0].Rotation.Length = rapid.IntRange(5, 30).Draw(t, "length")
		s.Layers[0].Participants = rapid.SliceOfN(rapid.SampledFrom([]roster.UserID{"ann", "ben", "chloé-" + roster.UserID(strings.Repeat("ü", 60)), ""}), 1, 5).Draw(t, "people")
		for i := range rapid.IntRange(0, 4).Draw(t, "overrides") {
			start := noon.Add(time.Duration(rapid.IntRange(-40*24*60, 190*24*60).Draw(t, "start")) * time.Minute)
			s.Overrides = append(s.Overrides, schedule.Override{
				ID: schedule.OverrideID("o" + string(rune('0'+i))), User: "dan", Start: start, End: start.Add(time.Duration(rapid.IntRange(1, 5000).Draw(t, "long")) * time.Minute), CreatedAt: noon,
			})
		}
		r, err := schedule.New(s, zones)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := calendar.Write("Who: when, where; why", calendar.Events(r, noon), title)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.SplitSeq(bytes.TrimSuffix(raw, []byte("\r\n")), []byte("\r\n")) {
			if len(line) > 75 || bytes.ContainsAny(line, "\r\n") || !utf8.Valid(line) {
				t.Fatalf("the line %q has %d octets", line, len(line))
			}
		}
		from, to := noon.Add(-calendar.Past), noon.Add(calendar.Future)
		var want [][3]string
		for _, x := range r.Stints(from.AddDate(0, 0, -31), to.AddDate(0, 0, 31)) {
			if x.End.After(from) && x.Start.Before(to) && x.Start.After(from.AddDate(0, 0, -31)) && x.End.Before(to.AddDate(0, 0, 31)) {
				want = append(want, [3]string{x.Start.Format(time.RFC3339), x.End.Format(time.RFC3339), "On call: " + string(x.User)})
			}
		}
		got := parsed(t, raw)
		got = slices.DeleteFunc(got, func(e [3]string) bool { // longer than is followed
			return e[0] <= from.AddDate(0, 0, -31).Format(time.RFC3339) || e[1] >= to.AddDate(0, 0, 31).Format(time.RFC3339)
		})
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("parsed back (-on call +calendar):\n%s", diff)
		}
	})
}

// parsed reads start, end and summary of each event.
func parsed(t *rapid.T, raw []byte) [][3]string {
	cal, err := ics.ParseCalendar(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("%v:\n%s", err, raw)
	}
	seen := map[string]bool{}
	var all [][3]string
	for _, e := range cal.Events() {
		start, err := e.GetStartAt()
		if err != nil {
			t.Fatal(err)
		}
		end, err := e.GetEndAt()
		if err != nil {
			t.Fatal(err)
		}
		if seen[e.Id()] {
			t.Fatalf("two events are called %s", e.Id())
		}
		seen[e.Id()] = true
		all = append(all, [3]string{start.UTC().Format(time.RFC3339), end.UTC().Format(time.RFC3339), e.GetProperty(ics.ComponentPropertySummary).Value})
	}
	return all
}

func TestFeedChangesOnlyWithWhoHoldsTheShift(t *testing.T) {
	old := weekly("ann", "ben")
	before := events(t, old, noon)
	for _, later := range []time.Duration{time.Minute, 25 * time.Hour} {
		if again := events(t, old, noon.Add(later)); !cmp.Equal(again[1:20], before[1:20]) {
			t.Errorf("%v later, with nothing changed:\n%s", later, cmp.Diff(before[1:20], again[1:20]))
		}
	}

	wanted := weekly("ann", "ben")
	wanted.Name, wanted.Layers[0].Name = "Shop and till", "By weeks"
	renamed, err := schedule.Edit(old, wanted, noon, schedule.AtOnce, zones)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, events(t, renamed, noon)); diff != "" {
		t.Errorf("other names, the same people:\n%s", diff)
	}

	wanted = weekly("ann", "cyd")
	edited, err := schedule.Edit(old, wanted, noon, schedule.AtHandOff, zones)
	if err != nil {
		t.Fatal(err)
	}
	was := map[time.Time]calendar.Event{}
	for _, e := range before {
		was[e.Start] = e
	}
	changed := 0
	for _, e := range events(t, edited, noon) {
		if e.Start.Equal(noon) {
			continue // what is left of ben's, which began anew
		}
		given := was[e.Start].Given
		if e.User != was[e.Start].User {
			given, changed = noon, changed+1
		}
		if !e.Given.Equal(given) || e.Source != was[e.Start].Source {
			t.Errorf("%s from %v: given at %v by %s, want %v by %s", e.User, e.Start, e.Given, e.Source, given, was[e.Start].Source)
		}
	}
	if changed < 10 {
		t.Errorf("%d shifts changed hands, want all of ben's to come", changed)
	}
}

func TestShiftsOfOnePersonAreOneEvent(t *testing.T) {
	s := weekly("ann", "ben")
	monday := time.Date(2026, 4, 6, 7, 0, 0, 0, time.UTC) // 08:00 of the anchor is local
	r, err := schedule.New(s, zones)
	if err != nil {
		t.Fatal(err)
	}
	holder := r.At(monday.Add(48 * time.Hour))
	s.Overrides = []schedule.Override{{ID: "own", User: holder.User, Start: monday.Add(48 * time.Hour), End: monday.Add(72 * time.Hour), CreatedAt: noon}}
	plain, with := events(t, weekly("ann", "ben"), noon), events(t, s, noon)
	if len(plain) != len(with) {
		t.Fatalf("%d events with an override of a shift by its own holder, want %d", len(with), len(plain))
	}
	for i := range plain {
		if !plain[i].Start.Equal(with[i].Start) || !plain[i].End.Equal(with[i].End) {
			t.Errorf("event %d is [%v, %v), want [%v, %v)", i, with[i].Start, with[i].End, plain[i].Start, plain[i].End)
		}
	}
}

// TestEmptyCalendar is one that a parser takes, although nothing is in it.
func TestEmptyCalendar(t *testing.T) {
	raw, err := calendar.Write("Nobody", nil, title)
	if err != nil {
		t.Fatal(err)
	}
	cal, err := ics.ParseCalendar(bytes.NewReader(raw))
	if err != nil || len(cal.Events()) != 0 || len(cal.Components) == 0 {
		t.Errorf("got %v, %v for\n%s", cal, err, raw)
	}
}
