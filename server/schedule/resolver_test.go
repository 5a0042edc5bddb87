package schedule

import (
	"slices"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/roster"
)

// shifts are layers whose restrictions are each one stretch of one day, which
// is how tables write down what everybody has.
func layered(t failer) Schedule {
	day := func(s string) time.Time { return at(t, "2026-06-03T"+s+"Z") }
	layer := func(id LayerID, priority int, user roster.UserID, spans ...[2]float64) Layer {
		l := Layer{
			ID: id, Priority: priority, Participants: []roster.UserID{user},
			Rotation: Rotation{Unit: Days, Length: 1, Anchor: wall(t, "2026-06-03T00:00")},
		}
		for _, s := range spans {
			l.Restrictions = append(l.Restrictions, Restriction{Start: hours(s[0]), Length: hours(s[1] - s[0])})
		}
		return l
	}
	return Schedule{
		ID: "s", Zone: "UTC",
		Layers: []Layer{
			layer("1a", 1, "A", [2]float64{10, 15}, [2]float64{16, 19}, [2]float64{21, 22}),
			layer("1b", 1, "B", [2]float64{22, 24}),
			layer("2a", 2, "C", [2]float64{12, 14}),
			layer("2b", 2, "D", [2]float64{14, 15}, [2]float64{17, 18}, [2]float64{20, 23}),
		},
		Overrides: []Override{
			{ID: "e", Start: day("22:00"), End: day("23:00"), User: "E", CreatedAt: day("01:00")},
			{ID: "a", Start: day("22:00"), End: day("22:30"), User: "A", CreatedAt: day("02:00")},
		},
	}
}

// TestLayersAndOverrides is one day of two levels of layers and two overrides.
func TestLayersAndOverrides(t *testing.T) {
	r := compiled(t, layered(t))
	for _, c := range []struct {
		from, to float64
		user     roster.UserID
	}{
		{0, 10, ""},
		{10, 12, "A"},
		{12, 14, "C"},
		{14, 15, "D"},
		{15, 16, ""},
		{16, 17, "A"},
		{17, 18, "D"},
		{18, 19, "A"},
		{19, 20, ""},
		{20, 22, "D"},
		{22, 22.5, "A"},
		{22.5, 23, "E"},
		{23, 24, "B"},
	} {
		start := at(t, "2026-06-03T00:00Z")
		for _, when := range []time.Time{start.Add(hours(c.from)), start.Add(hours(c.to)).Add(-time.Nanosecond)} {
			got := r.At(when)
			if got.User != c.user {
				t.Errorf("at %v it is %q (layer %q, override %q), want %q", when, got.User, got.Layer, got.Override, c.user)
			}
			if !got.contains(when) {
				t.Errorf("the answer for %v holds in [%v, %v)", when, got.Start, got.End)
			}
		}
	}
}

// TestLinesOfLayers is what each layer has of that day, whoever wins.
func TestLinesOfLayers(t *testing.T) {
	r := compiled(t, layered(t))
	from := at(t, "2026-06-03T00:00Z")
	day := func(h float64) time.Time { return from.Add(hours(h)) }
	want := []LayerShifts{
		{"2a", []Shift{{day(12), day(13), "C", "2a", ""}}},
		{"2b", nil},
		{"1a", []Shift{{day(10), day(13), "A", "1a", ""}}},
		{"1b", nil},
	}
	got := r.RenderLayers(from, day(13))
	if len(got) != len(want) {
		t.Fatalf("%d lines, want one for each layer", len(got))
	}
	for i := range want {
		if got[i].Layer != want[i].Layer {
			t.Errorf("line %d is that of %s, want %s: the highest is first", i, got[i].Layer, want[i].Layer)
		}
		compare(t, got[i].Shifts, want[i].Shifts)
	}
}

// TestLineOfAnEditedLayer goes on over its versions.
func TestLineOfAnEditedLayer(t *testing.T) {
	s := edited(t, Schedule{}, at(t, "2026-05-01T00:00Z"), AtOnce, func(s *Schedule) { *s = weekly(t, "AB") })
	s = edited(t, s, at(t, "2026-06-03T00:00Z"), AtHandOff, func(s *Schedule) { s.Layers[0].Participants = people("AX") })
	s = edited(t, s, at(t, "2026-06-05T00:00Z"), AtHandOff, func(s *Schedule) { s.Layers[0].Priority = 3 }) // at once, in A's week
	week := at(t, "2026-06-01T07:00Z")
	got := compiled(t, s).RenderLayers(week, week.Add(14*day))
	if len(got) != 1 {
		t.Fatalf("%d lines, want one", len(got))
	}
	compare(t, got[0].Shifts, []Shift{{week, week.Add(7 * day), "A", "l", ""}, {week.Add(7 * day), week.Add(14 * day), "X", "l", ""}})
}

// TestAnswersAreInUTC: in whatever zone instants were written, the same instants
// come out as the same values.
func TestAnswersAreInUTC(t *testing.T) {
	tokyo := zone(t, "Asia/Tokyo")
	s := layered(t)
	s.Layers[0].Start, s.Shadows = at(t, "2026-06-03T11:00Z"), []Shadow{{ID: "w", User: "W", Mode: Observe, Start: at(t, "2026-06-03T12:30Z")}}
	far := layered(t)
	far.Layers[0].Start = s.Layers[0].Start.In(tokyo)
	far.Shadows = []Shadow{s.Shadows[0]}
	far.Shadows[0].Start = far.Shadows[0].Start.In(tokyo)
	for i := range far.Overrides {
		o := &far.Overrides[i]
		o.Start, o.End = o.Start.In(tokyo), o.End.In(tokyo)
	}
	a, b := compiled(t, s), compiled(t, far)
	from, to := at(t, "2026-06-03T00:30Z"), at(t, "2026-06-03T22:15Z")
	compare(t, b.Render(from.In(tokyo), to.In(tokyo)), a.Render(from, to))
	compare(t, []Shift{b.At(to.In(tokyo))}, []Shift{a.At(to)})
	if x, y := a.Gaps(from, to), b.Gaps(from.In(tokyo), to.In(tokyo)); !slices.Equal(x, y) {
		t.Errorf("gaps: %v and %v", x, y)
	}
	if x, y := a.RenderShadows(from, to), b.RenderShadows(from.In(tokyo), to.In(tokyo)); !slices.Equal(x, y) {
		t.Errorf("shadows: %v and %v", x, y)
	}
	if x, y := a.HandOffs(from, to), b.HandOffs(from.In(tokyo), to.In(tokyo)); !slices.Equal(x, y) {
		t.Errorf("hand-offs: %v and %v", x, y)
	}
	if x, y := Differences(nil, a, from, to), Differences(nil, b, from.In(tokyo), to.In(tokyo)); !slices.Equal(x, y) {
		t.Errorf("differences: %v and %v", x, y)
	}
}

func TestUnknownZoneIsRefused(t *testing.T) {
	s := layered(t)
	s.Layers[2].Zone = "Europe/Atlantis"
	if _, err := New(s, zones); err == nil {
		t.Error("a layer in Europe/Atlantis was compiled")
	}
	s = layered(t)
	s.Layers[2].Rotation.Length = 0
	if _, err := New(s, zones); err == nil {
		t.Error("turns without a length were compiled")
	}
}
