package schedule

import (
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/roster"
)

// TestExplain has each verdict once, and how it reads.
func TestExplain(t *testing.T) {
	layer := func(id LayerID, priority int, user string) Layer {
		return Layer{
			ID: id, Priority: priority, Participants: people(user),
			Rotation: Rotation{Unit: Weeks, Length: 1, Anchor: wall(t, "2026-06-01T09:00")},
		}
	}
	night := layer("night", 5, "NM")
	night.Restrictions = []Restriction{{Weekday: 7, Length: hours(1)}, {Start: hours(22), Length: hours(10)}}
	future, past := layer("future", 9, "F"), layer("past", 8, "P")
	future.Start, past.End = at(t, "2027-01-01T00:00Z"), at(t, "2026-01-01T00:00Z")
	s := Schedule{
		ID: "s", Name: "Shop", Zone: "Europe/London",
		Layers: []Layer{layer("low", 1, "LKJ"), night, layer("empty", 6, "E."), future, past},
	}
	for _, c := range []struct {
		name      string
		at        string
		overrides []Override
		want      string
	}{
		{
			"by day", "2026-06-09T12:00Z", nil, `2026-06-09 12:00Z: K is on call
layer future (priority 9): not_begun
layer past (priority 8): ended
layer empty (priority 6): empty_place, an empty place by turn 1, place 2 of 2, until 2026-06-15 08:00Z
layer night (priority 5): masked, M by turn 1, place 2 of 2, until 2026-06-15 08:00Z; no restriction lets it count until 2026-06-09 21:00Z
layer low (priority 1): holds, K by turn 1, place 2 of 3, until 2026-06-15 08:00Z`,
		},
		{
			"by night", "2026-06-09T23:00Z", nil, `2026-06-09 23:00Z: M is on call
layer future (priority 9): not_begun
layer past (priority 8): ended
layer empty (priority 6): empty_place, an empty place by turn 1, place 2 of 2, until 2026-06-15 08:00Z
layer night (priority 5): holds, M by turn 1, place 2 of 2, until 2026-06-15 08:00Z; restriction 2 lets it count until 2026-06-10 07:00Z
layer low (priority 1): outranked, K by turn 1, place 2 of 3, until 2026-06-15 08:00Z`,
		},
		{
			"overridden", "2026-06-09T12:00Z", []Override{
				{ID: "old", Start: at(t, "2026-06-09T11:00Z"), End: at(t, "2026-06-09T14:00Z"), User: "O", CreatedAt: time.Unix(1, 0)},
				{ID: "new", Start: at(t, "2026-06-09T12:00Z"), End: at(t, "2026-06-09T13:00Z"), CreatedAt: time.Unix(2, 0)},
			}, `2026-06-09 12:00Z: nobody is on call
override new, nobody until 2026-06-09 13:00Z: holds
override old, O until 2026-06-09 14:00Z: overridden
layer future (priority 9): not_begun
layer past (priority 8): ended
layer empty (priority 6): empty_place, an empty place by turn 1, place 2 of 2, until 2026-06-15 08:00Z
layer night (priority 5): masked, M by turn 1, place 2 of 2, until 2026-06-15 08:00Z; no restriction lets it count until 2026-06-09 21:00Z
layer low (priority 1): overridden, K by turn 1, place 2 of 3, until 2026-06-15 08:00Z`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := s
			s.Overrides = c.overrides
			r := compiled(t, s)
			e := r.Explain(at(t, c.at))
			if got := e.String(); got != c.want {
				t.Errorf("explained:\n%s\nwant:\n%s", got, c.want)
			}
			if e.Shift != r.At(at(t, c.at)) {
				t.Errorf("explained is %+v, but on call is %+v", e.Shift, r.At(at(t, c.at)))
			}
		})
	}
}

// TestExplainOfThePast names the version that held then, not what the layer is now.
func TestExplainOfThePast(t *testing.T) {
	s := edited(t, Schedule{}, at(t, "2026-05-01T00:00Z"), AtOnce, func(s *Schedule) { *s = weekly(t, "ABC") })
	s = edited(t, s, at(t, "2026-06-09T10:00Z"), AtOnce, func(s *Schedule) { s.Layers[0].Participants = people("BX") })
	e := compiled(t, s).Explain(at(t, "2026-06-03T10:00Z"))
	if len(e.Layers) != 1 || e.Layers[0].User != "A" || len(e.Layers[0].Layer.Participants) != 3 {
		t.Errorf("in the first week: %+v, want A of three", e.Layers)
	}
}

func TestNextAndWhole(t *testing.T) {
	r := compiled(t, weekly(t, "ABC"))
	now := at(t, "2026-06-09T10:00Z") // B's week
	if got, ok := r.Next("A", now); !ok || !got.Start.Equal(at(t, "2026-06-22T07:00Z")) || !got.End.Equal(at(t, "2026-06-29T07:00Z")) {
		t.Errorf("A's next is %+v (%v), want the week from 22 June", got, ok)
	}
	if got, ok := r.Next("B", now); !ok || !got.Start.Equal(at(t, "2026-06-29T07:00Z")) {
		t.Errorf("B's next after the present one is %+v (%v), want the week from 29 June", got, ok)
	}
	if got, ok := r.Next("Z", now); ok {
		t.Errorf("Z's next is %+v, want none", got)
	}
	if got, ok := r.Whole(now); !ok || got.User != "B" || !got.Start.Equal(at(t, "2026-06-08T07:00Z")) || !got.End.Equal(at(t, "2026-06-15T07:00Z")) {
		t.Errorf("the present shift is %+v (%v), want B's week", got, ok)
	}
	alone := compiled(t, weekly(t, "A"))
	if got, ok := alone.Whole(now); !ok || got.End.Sub(now) != Horizon {
		t.Errorf("of one who is always there it is %+v (%v), want as far as anybody looks", got, ok)
	}
	empty := compiled(t, Schedule{ID: "s", Zone: "UTC"})
	if got, ok := empty.Whole(now); ok || empty.At(now) != (Shift{}) || empty.Explain(now).Shift.User != roster.UserID("") {
		t.Errorf("of a schedule without layers it is %+v, want a gap for ever", got)
	}
}
