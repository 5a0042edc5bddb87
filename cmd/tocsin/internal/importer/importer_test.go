package importer

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

func TestWall(t *testing.T) {
	for _, c := range []struct{ zone, wall, first, last string }{
		{"Europe/London", "2026-07-01T09:00", "2026-07-01T08:00Z", "2026-07-01T08:00Z"},
		{"Europe/London", "2026-03-29T01:30", "2026-03-29T01:00Z", "2026-03-29T01:00Z"}, // skipped
		{"Europe/London", "2026-10-25T01:30", "2026-10-25T00:30Z", "2026-10-25T01:30Z"}, // twice
		{"America/New_York", "2026-11-01T01:00", "2026-11-01T05:00Z", "2026-11-01T06:00Z"},
		{"America/Santiago", "2026-09-06T00:00", "2026-09-06T04:00Z", "2026-09-06T04:00Z"}, // no midnight
		{"Australia/Lord_Howe", "2026-10-04T02:15", "2026-10-03T15:30Z", "2026-10-03T15:30Z"},
	} {
		zone, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse("2006-01-02T15:04", c.wall)
		if err != nil {
			t.Fatal(err)
		}
		w := WallOf(at, time.UTC)
		if first, last := instant(w.First(zone)), instant(w.Last(zone)); first != c.first || last != c.last {
			t.Errorf("%s in %s: got %s and %s, want %s and %s", c.wall, c.zone, first, last, c.first, c.last)
		}
	}
}

func TestIDs(t *testing.T) {
	var ids IDs
	ids.Reserve("me")
	for _, c := range []struct{ source, name, want string }{
		{"1", "Ann Example", "ann-example"},
		{"2", "Ánn  Éxample!", "ann-example-2"},
		{"1", "Ann Example, again", "ann-example"},
		{"3", "me", "me-2"},
		{"P4", "李雷", "p4"},
		{"韓", "…", "x"},
		{"5", strings.Repeat("long ", 40), "long-long-long-long-long-long-long-long-long-long-l"},
	} {
		if got := ids.New(c.source, c.name); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestDifferences(t *testing.T) {
	at := func(hour int) time.Time { return time.Date(2026, 1, 1, hour, 0, 0, 0, time.UTC) }
	there := []Shift{{at(0), at(8), "ann"}, {at(4), at(12), "ben"}}
	here := []Shift{{at(0), at(6), "ann"}, {at(4), at(12), "ben"}, {at(12), at(30), "cy"}}
	want := []Difference{
		{at(6), at(8), []string{"ann", "ben"}, []string{"ben"}},
		{at(12), at(20), nil, []string{"cy"}},
	}
	if diff := cmp.Diff(want, Differences(there, here, Window{at(1), at(20)})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if d := Differences(there, slices.Concat(there[1:], there[:1]), Window{at(1), at(20)}); len(d) > 0 {
		t.Errorf("the order of shifts is a difference: %+v", d)
	}
}

// TestLanesHaveEverybody lays random layers of some levels into schedules, and
// sees that at any instant they have, together, whoever the highest level has.
func TestLanesHaveEverybody(t *testing.T) {
	from := time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		var layers []directory.LayerDoc
		for i := range rapid.IntRange(1, 5).Draw(t, "layers") {
			l := directory.LayerDoc{
				ID: "l" + strconv.Itoa(i), Priority: rapid.IntRange(0, 2).Draw(t, "level"),
				Rotation:     directory.RotationDoc{Unit: "days", Length: rapid.IntRange(1, 3).Draw(t, "length"), Handoff: "2026-09-01T09:00"},
				Participants: []string{"a" + strconv.Itoa(i), rapid.SampledFrom([]string{"", "b"}).Draw(t, "second")},
			}
			if hours := rapid.IntRange(0, 24).Draw(t, "hours"); hours > 0 {
				l.Restrictions = []directory.RestrictionDoc{{Start: rapid.SampledFrom([]string{"00:00", "08:00", "20:00"}).Draw(t, "start"), Length: Lasting(time.Duration(hours) * time.Hour)}}
			}
			layers = append(layers, l)
		}
		lanes, err := Lanes(directory.ScheduleDoc{ID: "s", Name: "S", TimeZone: "Europe/London"}, layers, from)
		if err != nil {
			t.Fatal(err)
		}
		doc := directory.Document{Schedules: lanes}
		turns, err := doc.Turns()
		if err != nil {
			t.Fatal(err)
		}
		alone, err := holding("Europe/London", layers, from)
		if err != nil {
			t.Fatal(err)
		}
		at := from.Add(time.Duration(rapid.IntRange(0, 90*24*60).Draw(t, "minute")) * time.Minute)
		var got, want []string
		for _, r := range turns {
			if u := r.At(at).User; u != "" {
				got = append(got, string(u))
			}
		}
		top := -1
		for _, l := range layers {
			n := slices.IndexFunc(alone[l.ID], func(s schedule.Stint) bool { return !at.Before(s.Start) && at.Before(s.End) })
			if n < 0 || l.Priority < top {
				continue
			}
			if l.Priority > top {
				top, want = l.Priority, nil
			}
			want = append(want, string(alone[l.ID][n].User))
		}
		slices.Sort(got)
		slices.Sort(want)
		if got, want := slices.Compact(got), slices.Compact(want); !slices.Equal(got, want) {
			t.Fatalf("at %v: got %v, want %v in %d schedules", at, got, want, len(lanes))
		}
	})
}
