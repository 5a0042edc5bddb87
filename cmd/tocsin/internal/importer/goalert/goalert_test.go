package goalert

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
		if equal := p.Name != "Month ends"; p.Equal() != equal { // GoAlert counts 31 October and a month as 1 December
			t.Errorf("schedule %s: equal %v, want %v", p.Name, p.Equal(), equal)
		}
		if p.Name == "Platform" && (len(p.Here) != 2 || len(p.Shown) == 0) {
			t.Errorf("Platform went to %v with %d shifts of GoAlert's own, want two schedules and some", p.Here, len(p.Shown))
		}
	}
}

func TestWhatCannotBeRead(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no JSON", `hello`, "read f: it is no answer of GoAlert's GraphQL API"},
		{"a rotation of another type", `{"data": {"rotations": {"nodes": [{"id": "1", "name": "A", "timeZone": "UTC", "start": "2026-01-01T00:00:00Z", "type": "yearly"}]}}}`, `type: "yearly" is none of`},
		{"a rotation without a start", `{"data": {"rotations": {"nodes": [{"id": "1", "name": "A", "timeZone": "UTC", "type": "daily"}]}}}`, "start: "},
		{"an unknown zone", `{"data": {"schedules": {"nodes": [{"id": "1", "name": "A", "timeZone": "Mars/Base"}]}}}`, `timeZone: "Mars/Base" is not known`},
		{"a rule without hours", `{"data": {"schedules": {"nodes": [{"id": "1", "name": "A", "timeZone": "UTC", "targets": [{"rules": [{}]}]}]}}}`, `"" is no time of day`},
	} {
		_, err := Import([]importer.File{{Name: "f", Text: []byte(c.text)}}, importertest.Autumn())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
}

// TestRandomSchedulesAreEqual holds GoAlert's rules against ours for any
// schedule whose rotations share its zone and do not end months.
func TestRandomSchedulesAreEqual(t *testing.T) {
	w := importertest.Autumn()
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom([]string{"UTC", "Europe/London", "America/New_York", "Australia/Lord_Howe", "America/Santiago"}).Draw(t, "zone")
		var a answer
		for i := range 4 {
			id := "u" + strconv.Itoa(i)
			a.Data.Users.Nodes = append(a.Data.Users.Nodes, user{ID: id, Name: "Person " + id, Email: id + "@example.org"})
		}
		who := func() string { return "u" + strconv.Itoa(rapid.IntRange(0, 3).Draw(t, "who")) }
		s := rota{ID: "s", Name: "Random", TimeZone: zone}
		for i := range rapid.IntRange(1, 3).Draw(t, "targets") {
			r := rotation{ID: "r" + strconv.Itoa(i), Name: "R" + strconv.Itoa(i), TimeZone: zone, Length: rapid.IntRange(1, 14).Draw(t, "length")}
			r.Start = time.Date(2026, 9, rapid.IntRange(1, 28).Draw(t, "day"), rapid.IntRange(0, 23).Draw(t, "hour"), 30, 0, 0, time.UTC)
			r.Type = rapid.SampledFrom([]string{"hourly", "daily", "weekly", "monthly"}).Draw(t, "type")
			if at, err := time.LoadLocation(zone); err != nil || r.Type == "monthly" && r.Start.In(at).Day() > 28 {
				r.Start = r.Start.AddDate(0, 0, -7)
			}
			for range rapid.IntRange(1, 4).Draw(t, "users") {
				r.Users = append(r.Users, who())
			}
			r.Active = rapid.IntRange(0, len(r.Users)-1).Draw(t, "active")
			a.Data.Rotations.Nodes = append(a.Data.Rotations.Nodes, r)
			var rules []rule
			for range rapid.IntRange(1, 2).Draw(t, "rules") {
				x := rule{Start: rapid.SampledFrom([]string{"00:00", "02:30", "09:00"}).Draw(t, "from"), End: rapid.SampledFrom([]string{"00:00", "02:30", "17:00"}).Draw(t, "to")}
				for d := range x.Days {
					x.Days[d] = rapid.Bool().Draw(t, "on")
				}
				rules = append(rules, x)
			}
			s.Targets = append(s.Targets, assignment{target{ID: r.ID, Type: "rotation", Name: r.Name}, rules})
		}
		span := func() (start, end time.Time) {
			start = w.From.Add(time.Duration(rapid.IntRange(-100, 2000).Draw(t, "start")) * time.Hour)
			return start, start.Add(time.Duration(rapid.IntRange(1, 300).Draw(t, "hours")) * time.Hour)
		}
		for range rapid.IntRange(0, 2).Draw(t, "overrides") {
			o := override{Target: target{ID: "s"}, Add: who()}
			o.Start, o.End = span()
			if o.Remove = who(); o.Remove == o.Add || rapid.Bool().Draw(t, "adds") {
				o.Remove = ""
			} else if rapid.Bool().Draw(t, "removes") {
				o.Add = ""
			}
			a.Data.Overrides.Nodes = append(a.Data.Overrides.Nodes, o)
		}
		if rapid.Bool().Draw(t, "temporary") {
			var x temporary
			x.Start, x.End = span()
			x.Shifts = []shift{{who(), x.Start.Add(time.Hour), x.End}, {who(), x.Start, x.Start.Add(30 * time.Minute)}}
			s.Temporary = append(s.Temporary, x)
		}
		a.Data.Rotas.Nodes = append(a.Data.Rotas.Nodes, s)
		text, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		im, err := Import([]importer.File{{Name: "all", Text: text}}, w)
		if err != nil {
			t.Fatal(err)
		}
		parity, err := im.Compare(w)
		if err != nil {
			t.Fatal(err)
		}
		if d := parity[0].Differences; len(d) > 0 {
			t.Fatalf("%d differences, first %+v\n%s", len(d), d[0], text)
		}
	})
}

func FuzzImport(f *testing.F) {
	for _, file := range importertest.Files(f, "testdata") {
		f.Add(file.Text)
	}
	w := importertest.Autumn()
	w.To = w.From.AddDate(0, 0, 7)
	f.Fuzz(func(t *testing.T, text []byte) {
		im, err := Import([]importer.File{{Name: "f", Text: text}}, w)
		if err != nil {
			return
		}
		if _, err := im.Compare(w); err != nil {
			return // the document is refused, with a reason
		}
	})
}
