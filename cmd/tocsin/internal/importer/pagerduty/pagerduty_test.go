package pagerduty

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
		if equal := p.ID != "PSCHLEFT"; p.Equal() != equal { // somebody of it is not in the export
			t.Errorf("schedule %s: equal %v, want %v", p.Name, p.Equal(), equal)
		}
		if p.ID == "PSCHWEEK" && len(p.Shown) == 0 {
			t.Error("what PagerDuty itself rendered was not read")
		}
	}
}

// TestADifferenceIsSeen turns a rotation around after it was carried over.
func TestADifferenceIsSeen(t *testing.T) {
	w := importertest.Autumn()
	im, err := Import(importertest.Files(t, "testdata"), w)
	if err != nil {
		t.Fatal(err)
	}
	people := im.Document.Schedules[0].Layers[len(im.Document.Schedules[0].Layers)-1].Participants
	people[0], people[1] = people[1], people[0]
	parity, err := im.Compare(w)
	if err != nil {
		t.Fatal(err)
	}
	if len(parity[0].Differences) == 0 || len(parity[0].Misread) != 0 {
		t.Errorf("got %d differences and %d misread, want some and none", len(parity[0].Differences), len(parity[0].Misread))
	}
}

func TestWhatCannotBeRead(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no JSON", `hello`, "read f: it is no answer of PagerDuty's REST API"},
		{"an unknown zone", `{"schedule": {"id": "P1", "name": "A", "time_zone": "Mars/Base"}}`, `the time zone "Mars/Base" is not known`},
		{"a layer without its first turn", `{"schedule": {"id": "P1", "name": "A", "time_zone": "UTC", "schedule_layers": [{"rotation_turn_length_seconds": 86400}]}}`, "schedule_layers[0].rotation_virtual_start"},
		{"turns of no length", `{"schedule": {"id": "P1", "name": "A", "time_zone": "UTC", "schedule_layers": [{"rotation_virtual_start": "2026-01-01T00:00:00Z"}]}}`, "schedule_layers[0].rotation_turn_length_seconds"},
		{"a restriction without hours", `{"schedule": {"id": "P1", "name": "A", "time_zone": "UTC", "schedule_layers": [{"rotation_virtual_start": "2026-01-01T00:00:00Z", "rotation_turn_length_seconds": 86400, "restrictions": [{}]}]}}`, "restrictions[0].start_time_of_day"},
	} {
		_, err := Import([]importer.File{{Name: "f", Text: []byte(c.text)}}, importertest.Autumn())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
}

// TestRandomSchedulesAreEqual holds PagerDuty's rules against ours for any
// schedule that can be carried over whole.
func TestRandomSchedulesAreEqual(t *testing.T) {
	w := importertest.Autumn()
	rapid.Check(t, func(t *rapid.T) {
		a := answer{Rotas: []rota{randomRota(t)}}
		for i := range 4 {
			id := "U" + strconv.Itoa(i)
			a.Users = append(a.Users, user{ID: id, Name: "Person " + id, Email: id + "@example.org"})
		}
		for range rapid.IntRange(0, 3).Draw(t, "overrides") {
			start := w.From.Add(time.Duration(rapid.IntRange(-100, 2200).Draw(t, "from")) * time.Hour)
			a.Rotas[0].Covers = append(a.Rotas[0].Covers, override{
				ID: strconv.Itoa(len(a.Rotas[0].Covers)), Start: start, End: start.Add(time.Duration(rapid.IntRange(1, 200).Draw(t, "hours")) * time.Hour),
				User: reference{ID: "U" + strconv.Itoa(rapid.IntRange(0, 3).Draw(t, "who"))},
			})
		}
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

func randomRota(t *rapid.T) rota {
	zone := rapid.SampledFrom([]string{"UTC", "Europe/London", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Santiago"}).Draw(t, "zone")
	at, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	r := rota{ID: "P1", Name: "Random", TimeZone: zone}
	for range rapid.IntRange(1, 3).Draw(t, "layers") {
		first := time.Date(2026, 9, rapid.IntRange(1, 60).Draw(t, "day"), rapid.IntRange(0, 23).Draw(t, "hour"), 15*rapid.IntRange(0, 3).Draw(t, "quarter"), 0, 0, at)
		l := layer{ID: "L" + strconv.Itoa(len(r.Layers)), First: first, Start: first.AddDate(0, 0, rapid.IntRange(-30, 10).Draw(t, "start"))}
		l.Turn = rapid.SampledFrom([]int64{3600 * 8, 3600 * 12, 86400, 3 * 86400, 7 * 86400, 14 * 86400}).Draw(t, "turn")
		for range rapid.IntRange(1, 4).Draw(t, "users") {
			u := struct {
				User reference `json:"user"`
			}{reference{ID: "U" + strconv.Itoa(rapid.IntRange(0, 3).Draw(t, "user"))}}
			l.Users = append(l.Users, u)
		}
		for range rapid.IntRange(0, 2).Draw(t, "restrictions") {
			h := restriction{Type: "daily_restriction", Start: rapid.SampledFrom([]string{"00:00:00", "02:30:00", "08:00:00", "20:00:00"}).Draw(t, "from"), Length: 3600 * rapid.Int64Range(1, 24).Draw(t, "length")}
			if rapid.Bool().Draw(t, "weekly") {
				h.Type, h.Day, h.Length = "weekly_restriction", rapid.IntRange(1, 7).Draw(t, "weekday"), 3600*rapid.Int64Range(1, 168).Draw(t, "long")
			}
			l.Hours = append(l.Hours, h)
		}
		r.Layers = append(r.Layers, l)
	}
	return r
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
