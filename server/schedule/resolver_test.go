package schedule

import (
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
