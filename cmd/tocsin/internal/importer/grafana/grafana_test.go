package grafana

import (
	"encoding/json"
	"flag"
	"slices"
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
		if equal := p.ID == "SWEB"; p.Equal() != equal { // the others have a calendar, and a rule that is not read
			t.Errorf("schedule %s: equal %v, want %v", p.Name, p.Equal(), equal)
		}
		if len(p.Differences) > 0 {
			t.Errorf("schedule %s: %d differences, want none", p.Name, len(p.Differences))
		}
		if p.ID == "SWEB" && (len(p.Here) != 2 || len(p.Shown) == 0) {
			t.Errorf("%s went to %v with %d final shifts, want two schedules and some", p.Name, p.Here, len(p.Shown))
		}
	}
}

func TestWhatCannotBeRead(t *testing.T) {
	for _, c := range []struct{ name, shift, want string }{
		{"no JSON", `hello`, "read on_call_shifts: it is no answer of Grafana OnCall's public API"},
		{"no start", `{"duration": 3600}`, "shift O: start: is missing"},
		{"a start with a zone", `{"start": "2026-01-01T00:00:00+01:00"}`, "is no date and time such as"},
		{"no length", `{"start": "2026-01-01T00:00:00"}`, "duration: 0 seconds"},
		{"another day", `{"start": "2026-01-01T00:00:00", "duration": 60, "by_day": ["XX"]}`, `by_day: "XX" is none of`},
		{"an unknown zone", `{"start": "2026-01-01T00:00:00", "duration": 60, "time_zone": "Mars/Base"}`, `time_zone: "Mars/Base" is not known`},
	} {
		_, err := Import([]importer.File{
			{Name: "schedules", Text: []byte(`{"results": [{"id": "S", "name": "A", "type": "web", "shifts": ["O"]}]}`)},
			{Name: "on_call_shifts", Text: []byte(strings.Replace(`{"results": [`+c.shift+`]}`, "{\"results\": [{", `{"results": [{"id": "O", `, 1))},
		}, importertest.Autumn())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
}

// TestRandomSchedulesAreEqual holds Grafana OnCall's rules against ours for any
// shifts that have turns of ours: levels, groups of several, chosen days, overrides.
// The zones are some whose clocks go forward in the window: which of two hours
// an event ends in, where clocks go back, is not known of Grafana OnCall.
func TestRandomSchedulesAreEqual(t *testing.T) {
	w := importertest.Autumn()
	rapid.Check(t, func(t *rapid.T) {
		var users []map[string]any
		for i := range 4 {
			id := "U" + strconv.Itoa(i)
			users = append(users, map[string]any{"id": id, "email": id + "@example.org", "username": id})
		}
		zone := rapid.SampledFrom([]string{"UTC", "Asia/Kathmandu", "Australia/Lord_Howe", "Australia/Adelaide"}).Draw(t, "zone")
		group := func() []string {
			all := []string{"U0", "U1", "U2", "U3"}[rapid.IntRange(0, 3).Draw(t, "who"):]
			return all[:min(len(all), rapid.IntRange(1, 2).Draw(t, "group"))]
		}
		var shifts []map[string]any
		var ids []string
		for i := range rapid.IntRange(1, 3).Draw(t, "shifts") {
			start := time.Date(2026, 9, rapid.IntRange(1, 60).Draw(t, "day"), rapid.IntRange(0, 23).Draw(t, "hour"), 30, 0, 0, time.UTC).Format("2006-01-02T15:04:05")
			unit := rapid.SampledFrom([]string{"daily", "weekly", "hourly"}).Draw(t, "frequency")
			interval := rapid.IntRange(1, 3).Draw(t, "interval")
			id := "O" + strconv.Itoa(i)
			s := map[string]any{
				"id": id, "name": "Shift", "type": "rolling_users", "time_zone": zone, "level": rapid.IntRange(0, 2).Draw(t, "level"), "start": start,
				"rotation_start": start, "start_rotation_from_user_index": 0, "duration": 3600 * rapid.IntRange(1, 30).Draw(t, "length"),
				"interval": interval, "frequency": unit,
			}
			if rapid.Bool().Draw(t, "whole") {
				s["duration"] = interval * map[string]int{"daily": 86400, "weekly": 604800, "hourly": 3600}[unit]
			}
			groups := [][]string{group()}
			for range rapid.IntRange(0, 2).Draw(t, "groups") {
				groups = append(groups, group())
			}
			s["rolling_users"] = groups
			if unit != "hourly" && rapid.Bool().Draw(t, "chosen") {
				s["week_start"] = rapid.SampledFrom(week).Draw(t, "week")
				s["by_day"] = slices.Compact(slices.Sorted(slices.Values(rapid.SliceOfN(rapid.SampledFrom(week), 1, 4).Draw(t, "days"))))
			}
			if rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
				s["type"], s["users"] = "override", groups[0]
			}
			shifts, ids = append(shifts, s), append(ids, id)
		}
		im, err := Import([]importer.File{
			file(t, "users", users), file(t, "on_call_shifts", shifts),
			file(t, "schedules", []map[string]any{{"id": "S", "name": "Random", "type": "web", "time_zone": zone, "shifts": ids}}),
		}, w)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range im.Notes {
			if strings.Contains(n.What, "have no turns that are the same") {
				t.Skip(n.What)
			}
		}
		parity, err := im.Compare(w)
		if err != nil {
			t.Fatal(err)
		}
		if d := parity[0].Differences; len(d) > 0 {
			t.Fatalf("%d differences, first %+v\n%+v", len(d), d[0], shifts)
		}
	})
}

func file(t *rapid.T, name string, results any) importer.File {
	text, err := json.Marshal(map[string]any{"results": results})
	if err != nil {
		t.Fatal(err)
	}
	return importer.File{Name: name, Text: text}
}

func FuzzImport(f *testing.F) {
	for _, file := range importertest.Files(f, "testdata") {
		f.Add(file.Name, file.Text)
	}
	f.Add("on_call_shifts", []byte(`{"results": [{"id": "OWEEK"}]}`))
	schedules := importertest.Files(f, "testdata")
	w := importertest.Autumn()
	w.To = w.From.AddDate(0, 0, 7)
	f.Fuzz(func(t *testing.T, name string, text []byte) {
		im, err := Import(append(slices.Clone(schedules), importer.File{Name: name, Text: text}), w)
		if err != nil {
			return
		}
		if _, err := im.Compare(w); err != nil {
			return // the document is refused, with a reason
		}
	})
}
