package opsgenie

import (
	"encoding/json"
	"flag"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/cmd/tocsin/internal/importer"
	"github.com/tocsin-oncall/tocsin/cmd/tocsin/internal/importer/importertest"
)

var update = flag.Bool("update", false, "write the golden files")

func TestImport(t *testing.T) {
	w := importertest.Autumn()
	im, err := Import(importertest.Files(t, "testdata"), w)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range importertest.Check(t, im, w, "testdata", *update) {
		if equal := p.ID != "s-mixed"; p.Equal() != equal { // a team cannot have turns
			t.Errorf("schedule %s: equal %v, want %v", p.Name, p.Equal(), equal)
		}
		if want := map[string]int{"s-core": 2, "s-sun": 1, "s-mixed": 1}[p.ID]; len(p.Here) != want {
			t.Errorf("schedule %s went to %v, want %d", p.Name, p.Here, want)
		}
		if p.ID == "s-sun" && len(p.Shown) == 0 {
			t.Error("the timeline was not read")
		}
	}
}

func TestWhatCannotBeRead(t *testing.T) {
	schedule := func(text string) string {
		return `{"data": [{"id": "s", "name": "A", "timezone": "UTC", "rotations": [` + text + `]}]}`
	}
	for _, c := range []struct{ name, text, want string }{
		{"no JSON", `hello`, "read schedules: it is no answer of Opsgenie's REST API"},
		{"an unknown zone", `{"data": {"id": "s", "name": "A", "timezone": "Mars/Base"}}`, `timezone: "Mars/Base" is not known`},
		{"no start", schedule(`{"type": "daily"}`), "rotations[0].startDate"},
		{"another type", schedule(`{"startDate": "2026-01-01T00:00:00Z", "type": "yearly"}`), `type: "yearly" is none of`},
		{"no days", schedule(`{"startDate": "2026-01-01T00:00:00Z", "type": "daily", "timeRestriction": {"type": "weekday-and-time-of-day", "restrictions": [{}]}}`), "are no days of the week"},
		{"an hour too many", schedule(`{"startDate": "2026-01-01T00:00:00Z", "type": "daily", "timeRestriction": {"type": "time-of-day", "restriction": {"endHour": 25}}}`), "hour 25 is not within a day"},
	} {
		_, err := Import([]importer.File{{Name: "schedules", Text: []byte(c.text)}}, importertest.Autumn())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
}

// TestRandomSchedulesAreEqual holds Opsgenie's rules against ours for any
// schedule of people: several rotations at once, hours, overrides of some of them.
func TestRandomSchedulesAreEqual(t *testing.T) {
	w := importertest.Autumn()
	rapid.Check(t, func(t *rapid.T) {
		var users []user
		for i := range 4 {
			id := "u" + strconv.Itoa(i)
			users = append(users, user{ID: id, Username: id + "@example.org", FullName: "Person " + id})
		}
		who := func() named { return named{Type: "user", ID: "u" + strconv.Itoa(rapid.IntRange(0, 3).Draw(t, "who"))} }
		s := rota{ID: "s", Name: "Random", TimeZone: rapid.SampledFrom([]string{"UTC", "Europe/London", "America/New_York", "Australia/Lord_Howe", "America/Santiago"}).Draw(t, "zone")}
		for i := range rapid.IntRange(1, 3).Draw(t, "rotations") {
			r := rotation{ID: "r" + strconv.Itoa(i), Name: "R", Length: rapid.IntRange(1, 10).Draw(t, "length"), Type: rapid.SampledFrom([]string{"hourly", "daily", "weekly"}).Draw(t, "type")}
			r.Start = time.Date(2026, 9, rapid.IntRange(1, 60).Draw(t, "day"), rapid.IntRange(0, 23).Draw(t, "hour"), 30, 0, 0, time.UTC)
			for range rapid.IntRange(1, 4).Draw(t, "participants") {
				r.Participants = append(r.Participants, who())
			}
			if rapid.Bool().Draw(t, "hours") {
				h := func() hours {
					return hours{
						StartDay: rapid.SampledFrom(days).Draw(t, "from day"), StartHour: rapid.IntRange(0, 24).Draw(t, "from"), StartMin: 30,
						EndDay: rapid.SampledFrom(days).Draw(t, "to day"), EndHour: rapid.IntRange(0, 24).Draw(t, "to"),
					}
				}
				r.Hours = &restriction{Type: "time-of-day", One: h()}
				if rapid.Bool().Draw(t, "weekly") {
					r.Hours = &restriction{Type: "weekday-and-time-of-day", Many: []hours{h(), h()}}
				}
			}
			s.Rotations = append(s.Rotations, r)
		}
		for range rapid.IntRange(0, 2).Draw(t, "overrides") {
			o := override{User: who(), Start: w.From.Add(time.Duration(rapid.IntRange(-100, 2000).Draw(t, "start")) * time.Hour)}
			o.End = o.Start.Add(time.Duration(rapid.IntRange(1, 300).Draw(t, "hours")) * time.Hour)
			if rapid.Bool().Draw(t, "one") {
				o.Rotations = []named{{ID: "r0"}}
			}
			s.Overrides = append(s.Overrides, o)
		}
		im, err := Import([]importer.File{file(t, "users", users), file(t, "schedules", []rota{s})}, w)
		if err != nil {
			t.Fatal(err)
		}
		parity, err := im.Compare(w)
		if err != nil {
			t.Fatal(err)
		}
		if d := parity[0].Differences; len(d) > 0 {
			t.Fatalf("%d differences, first %+v\n%+v", len(d), d[0], s)
		}
	})
}

func file(t *rapid.T, name string, data any) importer.File {
	text, err := json.Marshal(map[string]any{"data": data})
	if err != nil {
		t.Fatal(err)
	}
	return importer.File{Name: name, Text: text}
}

func FuzzImport(f *testing.F) {
	for _, file := range importertest.Files(f, "testdata") {
		f.Add(file.Name, file.Text)
	}
	w := importertest.Autumn()
	w.To = w.From.AddDate(0, 0, 7)
	f.Fuzz(func(t *testing.T, name string, text []byte) {
		im, err := Import([]importer.File{{Name: name, Text: text}}, w)
		if err != nil {
			return
		}
		if _, err := im.Compare(w); err != nil {
			return // the document is refused, with a reason
		}
	})
}
