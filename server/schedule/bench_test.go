package schedule

import (
	"fmt"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/civil"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// tenLayers is a schedule as large as they come: follow-the-sun regions, nights
// and weekends apart, eight people each, zones of their own, a few overrides.
func tenLayers(b failer) (*Resolver, time.Time) {
	s := Schedule{ID: "s", Name: "Large", Zone: "Europe/London"}
	regions := []string{"Europe/London", "America/New_York", "Australia/Sydney", "America/Santiago", "Asia/Kolkata"}
	anchor := civil.Time{Day: civil.Date(2026, 1, 5), Clock: 9 * time.Hour}
	for i := range 10 {
		l := Layer{
			ID: LayerID(fmt.Sprintf("l%d", i)), Priority: 10 - i, Zone: regions[i%5], Rotation: Rotation{Days, 1, anchor},
			Restrictions: weekdays(8, 10, 1, 2, 3, 4, 5),
		}
		if i >= 5 {
			l.Rotation.Unit, l.Restrictions = Hours, weekdays(18, 14, 6, 7)
			l.Rotation.Length = 12
		}
		for p := range 8 {
			l.Participants = append(l.Participants, roster.UserID(fmt.Sprintf("u%d-%d", i, p)))
		}
		s.Layers = append(s.Layers, l)
	}
	s.Layers[9].Restrictions = nil
	start := time.Date(2026, 1, 6, 0, 0, 0, 0, time.UTC)
	for i := range 20 {
		from := start.Add(time.Duration(i) * 17 * day)
		s.Overrides = append(s.Overrides, Override{ID: OverrideID(fmt.Sprintf("o%02d", i)), Start: from, End: from.Add(7 * time.Hour), User: "stand-in"})
	}
	return compiled(b, s), start
}

// BenchmarkPointQuery asks for an instant as if for the first time. The bar is 50 µs.
func BenchmarkPointQuery(b *testing.B) {
	r, start := tenLayers(b)
	for i := 0; b.Loop(); i++ {
		r.At(start.Add(time.Duration(i%8760) * time.Hour))
	}
}

// BenchmarkPointQueryBeneathAll asks for instants at which only the lowest layer
// has somebody, so that all ten are asked.
func BenchmarkPointQueryBeneathAll(b *testing.B) {
	r, _ := tenLayers(b)
	for l := range r.tracks {
		if r.tracks[l].layer.ID != "l9" {
			r.tracks[l].layer.Participants = []roster.UserID{""}
		}
	}
	r.overrides = nil
	start := time.Date(2026, 3, 8, 0, 0, 0, 0, time.UTC) // clocks change in New York
	for i := 0; b.Loop(); i++ {
		r.At(start.Add(time.Duration(i%48) * time.Hour))
	}
}

// BenchmarkLookup asks who is on call now, again and again. The bar is 1,000,000/s.
func BenchmarkLookup(b *testing.B) {
	r, start := tenLayers(b)
	for b.Loop() {
		r.Current(start)
	}
}

// BenchmarkRenderYear renders a year. The bar is 20 ms.
func BenchmarkRenderYear(b *testing.B) {
	r, start := tenLayers(b)
	for b.Loop() {
		r.Render(start, start.Add(365*day))
	}
}

// BenchmarkRenderYearOfChanges renders a year with as many overrides as there may
// be, and with a layer that was edited every day.
func BenchmarkRenderYearOfChanges(b *testing.B) {
	r, start := tenLayers(b)
	s := r.Schedule()
	for i := range MaxOverrides {
		from := start.Add(time.Duration(i) * 16 * time.Hour)
		s.Overrides = append(s.Overrides, Override{ID: OverrideID(fmt.Sprintf("c%03d", i)), Start: from, End: from.Add(20 * time.Hour), User: "c"})
	}
	for i := range 365 {
		l := s.Layers[9]
		l.Since = start.Add(time.Duration(i) * day)
		s.Replaced = append(s.Replaced, Version{l, l.Since.Add(day)})
	}
	s.Layers[9].Since = start.Add(365 * day)
	r = compiled(b, s)
	for b.Loop() {
		r.Render(start, start.Add(365*day))
	}
}

// BenchmarkCompile makes a resolver of a schedule whose zones are known.
func BenchmarkCompile(b *testing.B) {
	r, _ := tenLayers(b)
	for b.Loop() {
		compiled(b, r.Schedule())
	}
}
