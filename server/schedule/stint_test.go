package schedule

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/server/roster"
)

// TestHandOffs: a turn that goes on by an override of the same person is no
// hand-off; a gap is two.
func TestHandOffs(t *testing.T) {
	s := weekly(t, "AB.") // the third week is empty
	monday := at(t, "2026-06-08T07:00Z")
	s.Overrides = []Override{
		{ID: "1", Start: monday.Add(-time.Hour), End: monday.Add(day), User: "A"}, // A goes on for a day
		{ID: "2", Start: monday.Add(2 * day), End: monday.Add(3 * day), User: "B"},
	}
	r := compiled(t, s)
	got := r.HandOffs(monday.Add(-7*day), monday.Add(21*day))
	want := []HandOff{
		{monday.Add(-7 * day), "", "A"},
		{monday.Add(day), "A", "B"},
		{monday.Add(7 * day), "B", ""},
		{monday.Add(14 * day), "", "A"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("hand-offs are %+v, want %+v", got, want)
	}
	if got := r.HandOffs(monday.Add(-6*day), monday.Add(day)); len(got) != 0 {
		t.Errorf("in A's time there is %+v, want none: the end is outside", got)
	}
}

// TestHandOffsAreWhereTheAnswerChanges asks on both sides of each.
func TestHandOffsAreWhereTheAnswerChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, now := drawSchedule(t)
		from, to := drawWindow(t, now)
		to = earlier(to, from.Add(20*day))
		r := compiled(t, s)
		who := r.At(from.Add(-1)).User
		for _, h := range r.HandOffs(from, to) {
			if h.At.Before(from) || !h.At.Before(to) || h.From == h.To || h.From != who {
				t.Fatalf("%+v after %q in the window from %v to %v", h, who, from, to)
			}
			if r.At(h.At.Add(-1)).User != h.From || r.At(h.At).User != h.To {
				t.Fatalf("at %+v it is %q, then %q", h, r.At(h.At.Add(-1)).User, r.At(h.At).User)
			}
			who = h.To
		}
		if last := r.At(to.Add(-1)).User; last != who {
			t.Fatalf("%q is the last, want %q as after the hand-offs", last, who)
		}
	})
}

// TestFollowTheSunHasAGapInBetween: London and New York change their clocks in
// other weeks, and what fits for the rest of the year does not in these.
func TestFollowTheSunHasAGapInBetween(t *testing.T) {
	region := func(id LayerID, zone string, start, length float64) Layer {
		return Layer{
			ID: id, Zone: zone, Participants: people("ab"), Restrictions: []Restriction{{Start: hours(start), Length: hours(length)}},
			Rotation: Rotation{Unit: Weeks, Length: 1, Anchor: wall(t, "2026-01-05T00:00")},
		}
	}
	s := Schedule{ID: "s", Name: "Sun", Zone: "UTC", Layers: []Layer{
		region("london", "Europe/London", 8, 8),    // to 16:00 there, 11:00 in New York
		region("york", "America/New_York", 11, 16), // to 03:00 there, 08:00 in London
	}}
	r := compiled(t, s)
	gaps := r.Gaps(at(t, "2026-02-01T12:00Z"), at(t, "2026-12-01T12:00Z"))
	for _, g := range gaps {
		spring := g.Start.After(at(t, "2026-03-08T00:00Z")) && g.Start.Before(at(t, "2026-03-29T12:00Z"))
		autumn := g.Start.After(at(t, "2026-10-25T00:00Z")) && g.Start.Before(at(t, "2026-11-01T12:00Z"))
		if g.End.Sub(g.Start) != time.Hour || !spring && !autumn {
			t.Errorf("a gap %+v outside of the weeks between the changes", g)
		}
	}
	if len(gaps) != 28 { // 8 to 28 March, and 25 to 31 October, one each day
		t.Errorf("%d gaps, want one a day for four weeks", len(gaps))
	}
	if notices := gaps[0].Notices(); !notices[0].Equal(gaps[0].Start.Add(-30 * day)) {
		t.Errorf("the owner is told first %v, want 30 days before %v", notices[0], gaps[0].Start)
	}
}

// TestDifferences: what a preview shows is where the answers differ, and nothing else.
func TestDifferences(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, now := drawSchedule(t)
		from, to := drawWindow(t, now)
		to = earlier(to, from.Add(30*day))
		a, b := compiled(t, s), compiled(t, change(t, s, now))
		changes := Differences(a, b, from, to)
		for i, c := range changes {
			if c.Before == c.After || !c.Start.Before(c.End) || i > 0 && c.Start.Before(changes[i-1].End) {
				t.Fatalf("change %d is %+v", i, c)
			}
		}
		for range 40 {
			when := from.Add(time.Duration(rapid.Int64Range(0, int64(to.Sub(from))-1).Draw(t, "when")))
			before, after := a.At(when).User, b.At(when).User
			i := slices.IndexFunc(changes, func(c Change) bool { return !when.Before(c.Start) && when.Before(c.End) })
			if (i >= 0) != (before != after) || i >= 0 && (changes[i].Before != before || changes[i].After != after) {
				t.Fatalf("at %v it was %q and is %q, told: %+v", when, before, after, changes)
			}
		}
	})
}

func TestDifferenceOfANewSchedule(t *testing.T) {
	from := at(t, "2026-06-09T10:00Z")
	got := Differences(nil, compiled(t, weekly(t, "A")), from, from.Add(day))
	if len(got) != 1 || got[0] != (Change{from, from.Add(day), "", "A"}) {
		t.Errorf("a new schedule changes %+v, want all to A", got)
	}
}

// TestHandOffsOnBothSides: the last and the next hand-off of anybody, and of one
// person, however far away; at its very instant a hand-off is the last one.
func TestHandOffsOnBothSides(t *testing.T) {
	r, monday := compiled(t, weekly(t, "ABC")), at(t, "2026-06-08T07:00Z") // A's
	alone := compiled(t, weekly(t, "A"))
	noon := monday.Add(3 * day)
	for name, c := range map[string]struct {
		find func(time.Time, roster.UserID) (HandOff, bool)
		at   time.Time
		user roster.UserID
		want HandOff
	}{
		"last":               {r.LastHandOff, noon, "", HandOff{monday, "A", "B"}},
		"last at it":         {r.LastHandOff, monday, "", HandOff{monday, "A", "B"}},
		"next at it":         {r.NextHandOff, monday, "", HandOff{monday.Add(7 * day), "B", "C"}},
		"next":               {r.NextHandOff, noon, "", HandOff{monday.Add(7 * day), "B", "C"}},
		"next of A":          {r.NextHandOff, noon, "A", HandOff{monday.Add(14 * day), "C", "A"}},
		"last of C":          {r.LastHandOff, noon.Add(28 * day), "C", HandOff{monday.Add(28 * day), "B", "C"}},
		"next of a stranger": {r.NextHandOff, noon, "Z", HandOff{}},
		"next of one alone":  {alone.NextHandOff, noon, "", HandOff{}},
	} {
		got, ok := c.find(c.at, c.user)
		if got != c.want || ok != (c.want != HandOff{}) {
			t.Errorf("%s: %+v, %v, want %+v", name, got, ok, c.want)
		}
	}
}
