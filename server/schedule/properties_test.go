package schedule

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/server/civil"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// drawWindow is up to 400 days, not far from now.
func drawWindow(t *rapid.T, now time.Time) (from, to time.Time) {
	from = now.Add(time.Duration(rapid.IntRange(-10*1440, 1440).Draw(t, "from")) * time.Minute)
	days := rapid.SampledFrom([]int{1, 3, 10, 40, 400}).Draw(t, "days")
	return from, from.Add(time.Duration(rapid.IntRange(1, days*1440).Draw(t, "window")) * time.Minute)
}

// TestRenderedShifts holds P1 to P5: shifts are in order and without overlaps,
// cover the window together with the gaps, are what the point query says at
// their edges and elsewhere, can be rendered in two halves, and name members.
func TestRenderedShifts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, now := drawSchedule(t)
		from, to := drawWindow(t, now)
		r := compiled(t, s)
		shifts := r.Render(from, to)

		probe := func(when time.Time) {
			if when.Before(from) || !when.Before(to) {
				return
			}
			var want Shift
			for _, x := range shifts {
				if x.contains(when) {
					want = x
				}
			}
			got := r.At(when)
			if got.User != want.User || got.User != "" && !got.same(want) {
				t.Fatalf("asked at %v: %+v, rendered: %+v", when, got, want)
			}
			if !got.contains(when) {
				t.Fatalf("the answer for %v holds in [%v, %v)", when, got.Start, got.End)
			}
			if cached := r.Current(when); !cached.same(got) || !cached.contains(when) {
				t.Fatalf("remembered for %v: %+v, asked: %+v", when, cached, got)
			}
			if why := holds(r.Explain(when)); !why.same(got) {
				t.Fatalf("at %v it is %+v, explained: %+v", when, got, why)
			}
			// Nothing changes within the stretch that the answer gives.
			for _, inside := range []time.Time{got.Start, got.End.Add(-time.Second)} {
				if !inside.IsZero() && got.contains(inside) && !r.At(inside).same(got) {
					t.Fatalf("within the stretch of %v, at %v, it is %+v, want %+v", when, inside, r.At(inside), got)
				}
			}
		}
		end, covered := from, time.Duration(0)
		for _, x := range shifts {
			if x.Start.Before(end) || !x.Start.Before(x.End) || x.End.After(to) || x.Gap() {
				t.Fatalf("a shift %+v after %v in the window until %v", x, end, to)
			}
			if x.Start.After(end) {
				probe(end.Add(x.Start.Sub(end) / 2))
			}
			end, covered = x.End, covered+x.End.Sub(x.Start)
			if len(shifts) < 50 || rapid.IntRange(0, len(shifts)/50).Draw(t, "probe") == 0 {
				for _, edge := range []time.Time{x.Start, x.End} {
					probe(edge.Add(-time.Second))
					probe(edge)
					probe(edge.Add(time.Second))
				}
			}
			if !member(s, x) {
				t.Fatalf("%q is no member of layer %q or override %q", x.User, x.Layer, x.Override)
			}
		}
		gaps := r.Gaps(from, to)
		for _, g := range gaps {
			covered += g.End.Sub(g.Start)
		}
		if covered != to.Sub(from) {
			t.Fatalf("shifts and gaps are %v together, want %v", covered, to.Sub(from))
		}

		middle := from.Add(to.Sub(from) / 2)
		halves := slices.Concat(r.Render(from, middle), r.Render(middle, to))
		for i := 1; i < len(halves); i++ {
			if halves[i-1].End.Equal(middle) && halves[i].Start.Equal(middle) && halves[i-1].same(halves[i]) {
				halves[i].Start = halves[i-1].Start
				halves = slices.Delete(halves, i-1, i)
			}
		}
		if !slices.Equal(halves, shifts) {
			t.Fatalf("in two halves at %v: %+v, want %+v", middle, halves, shifts)
		}
	})
}

// holds is the answer that an explanation gives reasons for.
func holds(e Explanation) Shift {
	for _, o := range e.Overrides {
		if o.Verdict == Holds {
			return Shift{User: o.Override.User, Override: o.Override.ID}
		}
	}
	for _, l := range e.Layers {
		if l.Verdict == Holds {
			return Shift{User: l.User, Layer: l.Layer.ID}
		}
	}
	return Shift{}
}

func member(s Schedule, x Shift) bool {
	for _, l := range s.Layers {
		if l.ID == x.Layer && slices.Contains(l.Participants, x.User) {
			return true
		}
	}
	return slices.ContainsFunc(s.Overrides, func(o Override) bool { return o.ID == x.Override && o.User == x.User })
}

// outside keeps the parts of shifts that lie outside a stretch.
func outside(shifts []Shift, s span) []Shift {
	var kept []Shift
	for _, x := range shifts {
		before, after := x, x
		if before.End = earlier(x.End, s.start); before.Start.Before(before.End) {
			kept = append(kept, before)
		}
		if after.Start = later(x.Start, s.end); after.Start.Before(after.End) {
			kept = append(kept, after)
		}
	}
	return kept
}

// TestOverrideChangesNothingElse holds P6, and that cutting the middle out of an
// override brings to light what was there.
func TestOverrideChangesNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, now := drawSchedule(t)
		from, to := drawWindow(t, now)
		before := compiled(t, s).Render(from, to)
		o := drawOverride(t, "new", now)
		if !o.End.After(now) {
			o.End = now.Add(time.Minute)
		}
		with, err := s.WithOverrides(now, o)
		if err != nil {
			t.Fatalf("override: %v", err)
		}
		o.Start = later(o.Start, now)
		after := compiled(t, with).Render(from, to)
		where := span{o.Start, o.End}
		if !slices.Equal(outside(before, where), outside(after, where)) {
			t.Fatalf("outside of the override: %+v, want %+v", outside(after, where), outside(before, where))
		}
		for _, x := range after {
			if x.Override != "new" && !(span{x.Start, x.End}).within(where).empty() {
				t.Fatalf("within the override: %+v", x)
			}
		}

		without, err := with.WithoutOverride("new", time.Time{}, time.Time{}, "", now)
		if err != nil {
			t.Fatalf("remove it: %v", err)
		}
		if again := compiled(t, without).Render(from, to); !slices.Equal(again, before) {
			t.Fatalf("after its removal: %+v, want %+v", again, before)
		}

		cut := span{o.Start.Add(o.End.Sub(o.Start) / 4), o.Start.Add(o.End.Sub(o.Start) / 2)}
		if cut.empty() {
			return
		}
		holed, err := with.WithoutOverride("new", cut.start, cut.end, "rest", now)
		if err != nil {
			t.Fatalf("cut it: %v", err)
		}
		var want []roster.UserID
		probes := []time.Time{cut.start, cut.end.Add(-time.Nanosecond)}
		for _, p := range probes {
			want = append(want, compiled(t, s).At(p).User)
		}
		r := compiled(t, holed)
		for i, p := range probes {
			if got := r.At(p).User; got != want[i] {
				t.Fatalf("in the hole, at %v: %q, want %q", p, got, want[i])
			}
		}
		for _, p := range []time.Time{o.Start, cut.start.Add(-time.Nanosecond), cut.end, o.End.Add(-time.Nanosecond)} {
			if got := r.At(p).User; got != o.User {
				t.Fatalf("around the hole, at %v: %q, want %q", p, got, o.User)
			}
		}
	})
}

// TestOrderOfLayersSaysNothing holds P7.
func TestOrderOfLayersSaysNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, now := drawSchedule(t)
		from, to := drawWindow(t, now)
		want := compiled(t, s).Render(from, to)
		mixed := s
		mixed.Layers = slices.Clone(s.Layers)
		rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)).Shuffle(len(mixed.Layers), func(i, j int) {
			mixed.Layers[i], mixed.Layers[j] = mixed.Layers[j], mixed.Layers[i]
		})
		if got := compiled(t, mixed).Render(from, to); !slices.Equal(got, want) {
			t.Fatalf("in another order: %+v, want %+v", got, want)
		}
	})
}

// changes are the changes of a zone's clocks in a stretch of time.
func changes(loc *time.Location, from, to time.Time) (all []time.Duration, largest time.Duration) {
	for at := from; ; {
		_, end := at.In(loc).ZoneBounds()
		if end.IsZero() || end.After(to) {
			return all, largest
		}
		_, before := end.Add(-time.Second).In(loc).Zone()
		_, after := end.In(loc).Zone()
		d := (time.Duration(after-before) * time.Second).Abs()
		if d > 0 {
			all, largest = append(all, d), max(largest, d)
		}
		at = end
	}
}

// TestTurnsAreFair holds P8: over whole rounds of a year of weekly turns, two
// people differ by what the clocks changed in between and no more, which is two
// hours where they change by an hour twice a year.
func TestTurnsAreFair(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		loc := zone(t, drawZone(t))
		now := drawInstant(t, loc)
		n := rapid.IntRange(2, 8).Draw(t, "people")
		r := Rotation{Weeks, 1, civil.Show(now, loc)}
		clock := civil.NewClock(loc)
		total := make([]time.Duration, n)
		rounds := 52 / n * n
		for k := range rounds {
			u := r.turn(int64(k), &clock)
			total[k%n] += u.end.Sub(u.start)
		}
		all, _ := changes(loc, now.Add(-2*day), clock.First(r.begin(int64(rounds))).Add(2*day))
		var allowed time.Duration
		for _, c := range all {
			allowed += c
		}
		if differ := slices.Max(total) - slices.Min(total); differ > allowed {
			t.Fatalf("%v apart over a year in %v, whose clocks changed by %v", differ, loc, all)
		}
	})
}

// TestHandOffsGoForward holds P9 over all zones: in the days around each change
// of clocks, every turn is found again from each half hour in it, begins where
// the one before ended, and no time is left out.
func TestHandOffsGoForward(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, name := range allZones() {
		loc := zone(t, name)
		for at := start; ; {
			_, end := at.In(loc).ZoneBounds()
			if end.IsZero() || end.Year() > 2027 {
				break
			}
			at = end
			for _, r := range []Rotation{
				{Hours, 1, civil.Show(start, loc)},
				{Hours, 8, civil.Time{Day: civil.Date(2026, 1, 1)}},
				{Days, 1, civil.Time{Day: civil.Date(2026, 1, 1), Clock: 150 * time.Minute}},
				{Weeks, 1, civil.Time{Day: civil.Date(2026, 1, 5)}},
				{Months, 1, civil.Time{Day: civil.Date(2026, 1, 31), Clock: 90 * time.Minute}},
			} {
				clock := civil.NewClock(loc)
				u := r.at(at.Add(-26*time.Hour), &clock)
				for when := at.Add(-26 * time.Hour); when.Before(at.Add(26 * time.Hour)); when = when.Add(30 * time.Minute) {
					for !u.end.After(when) {
						next := r.after(u, &clock)
						if !next.start.Equal(u.end) || next.end.Before(next.start) {
							t.Fatalf("%s: after [%v, %v) comes [%v, %v)", name, u.start, u.end, next.start, next.end)
						}
						u = next
					}
					if got := r.at(when, &clock); got != u {
						t.Fatalf("%s: at %v it is %+v, want %+v", name, when, got, u)
					}
				}
			}
		}
	}
}

// TestDaysLastADay holds P10 over all zones and the days of three years: a daily
// shift differs from 24 h by no more than the zone's clocks ever jump.
func TestDaysLastADay(t *testing.T) {
	from, to := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, name := range allZones() {
		loc := zone(t, name)
		all, largest := changes(loc, from.Add(-2*day), to.Add(2*day))
		if len(all) == 0 {
			continue
		}
		clock := civil.NewClock(loc)
		for _, hand := range []time.Duration{0, 9 * time.Hour, 90 * time.Minute, 150 * time.Minute} {
			r := Rotation{Days, 1, civil.Time{Day: civil.Date(2024, 1, 1), Clock: hand}}
			for k := range int64(3 * 365) {
				u := r.turn(k, &clock)
				if off := (u.end.Sub(u.start) - day).Abs(); off > largest {
					t.Fatalf("%s: the day from %v lasts %v, want 24 h within %v", name, u.start, u.end.Sub(u.start), largest)
				}
			}
		}
	}
}

// TestPastDoesNotChange holds P11: whatever is edited, everything before the edit
// has the answer that it had, shadows too.
func TestPastDoesNotChange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, now := drawSchedule(t)
		first, err := Edit(Schedule{}, s, now.Add(-40*day), AtOnce, zones)
		if err != nil {
			t.Fatalf("make it: %v", err)
		}
		first.Overrides, first.Shadows = s.Overrides, s.Shadows
		s = first
		for range rapid.IntRange(1, 6).Draw(t, "edits") {
			from := now.Add(-35 * day)
			r := compiled(t, s)
			want, shadows := r.Render(from, now), r.RenderShadows(from, now)
			s = change(t, s, now)
			r = compiled(t, s)
			if got := r.Render(from, now); !slices.Equal(got, want) {
				t.Fatalf("before %v: %+v, want %+v", now, got, want)
			}
			if got := r.RenderShadows(from, now); !slices.Equal(got, shadows) {
				t.Fatalf("shadows before %v: %+v, want %+v", now, got, shadows)
			}
			now = now.Add(time.Duration(rapid.IntRange(0, 20000).Draw(t, "later")) * time.Minute)
		}
	})
}

// change does something to a schedule that somebody may do.
func change(t *rapid.T, s Schedule, now time.Time) Schedule {
	next, err := s, error(nil)
	switch rapid.SampledFrom([]string{"layers", "layers", "layers", "layers", "override", "cut", "shadow", "no shadow"}).Draw(t, "change") {
	case "override":
		next, err = s.WithOverrides(now, drawOverride(t, "x"+now.String(), now))
	case "cut":
		if len(s.Overrides) > 0 {
			o := rapid.SampledFrom(s.Overrides).Draw(t, "which")
			next, err = s.WithoutOverride(o.ID, o.Start.Add(time.Minute), o.End, "r"+OverrideID(now.String()), now)
		}
	case "shadow":
		next, err = s.WithShadow(Shadow{ID: ShadowID(now.String()), User: "W", Mode: Duty, Start: now.Add(-day)}, now)
	case "no shadow":
		if len(s.Shadows) > 0 {
			next, err = s.WithoutShadow(s.Shadows[0].ID, now)
		}
	default:
		effect := rapid.SampledFrom([]Effect{AtHandOff, AtOnce}).Draw(t, "effect")
		next, err = Edit(s, drawEdit(t, s, now), now, effect, zones)
	}
	if err != nil {
		return s // refused: nothing is changed
	}
	return next
}

// drawEdit is a schedule as somebody may want it instead of s.
func drawEdit(t *rapid.T, s Schedule, now time.Time) Schedule {
	s.Layers = slices.Clone(s.Layers)
	what := rapid.SampledFrom([]string{"people", "people", "people and hours", "all", "new", "gone"}).Draw(t, "edit")
	if len(s.Layers) == 0 || what == "new" {
		l := drawLayer(t, rapid.IntRange(6, 9).Draw(t, "id"), now, s.Zone)
		s.Layers = slices.DeleteFunc(s.Layers, func(o Layer) bool { return o.ID == l.ID })
		s.Layers = append(s.Layers, l)
		return s
	}
	i := rapid.IntRange(0, len(s.Layers)-1).Draw(t, "layer")
	if what == "gone" {
		s.Layers = slices.Delete(s.Layers, i, i+1)
		return s
	}
	l, drawn := &s.Layers[i], drawLayer(t, 0, now, s.Zone)
	l.Participants, l.Trainees = drawn.Participants, drawn.Trainees
	if what != "people" {
		l.Priority, l.Restrictions = drawn.Priority, drawn.Restrictions
	}
	if what == "all" {
		l.Rotation, l.Zone, l.Start, l.End = drawn.Rotation, drawn.Zone, drawn.Start, drawn.End
	}
	return s
}

// TestEditsGoOnAfterTheHolder: whatever is edited of the participants of one
// rotation, the holder stays while he takes part, and the next is whoever stands
// after him.
func TestEditsGoOnAfterTheHolder(t *testing.T) {
	letters := rapid.SliceOfNDistinct(rapid.SampledFrom(people("ABCDEFGH")), 1, 8, rapid.ID[roster.UserID])
	rapid.Check(t, func(t *rapid.T) {
		now := drawInstant(t, time.UTC)
		s := Schedule{Name: "Shop", Zone: drawZone(t), Layers: []Layer{{ID: "l", Rotation: drawRotation(t, civil.Show(now, time.UTC)), Participants: letters.Draw(t, "participants")}}}
		s, err := Edit(Schedule{}, s, now.Add(-40*day), AtOnce, zones)
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 5).Draw(t, "edits") {
			before := compiled(t, s).At(now)
			wanted := s
			wanted.Layers = slices.Clone(s.Layers)
			wanted.Layers[0].Participants = letters.Draw(t, "wanted")
			effect := rapid.SampledFrom([]Effect{AtHandOff, AtOnce}).Draw(t, "effect")
			if s, err = Edit(s, wanted, now, effect, zones); err != nil {
				t.Fatal(err)
			}
			r := compiled(t, s)
			after, list := r.At(now), s.Layers[0].Participants
			holder := after.User
			if slices.Contains(list, before.User) && holder != before.User {
				t.Fatalf("%q is on call, and after an edit to %v it is %q", before.User, list, holder)
			}
			if i := slices.Index(list, holder); i < 0 || r.At(r.Explain(now).Layers[0].End).User != list[(i+1)%len(list)] {
				t.Fatalf("after %q of %v comes %q", holder, list, r.At(r.Explain(now).Layers[0].End).User)
			}
			now = now.Add(time.Duration(rapid.IntRange(0, 20000).Draw(t, "later")) * time.Minute)
		}
	})
}
