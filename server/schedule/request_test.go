package schedule

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

func reason(err error) string {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f.Reason
	}
	return ""
}

// who are those on call in a window, with their stints.
func who(r *Resolver, from, to time.Time) string {
	var s string
	for _, x := range r.Stints(from, to) {
		s += string(x.User)
	}
	return s
}

// TestCoverTakesOnlyWhatIsHis: daily turns of A, B and C, of which C has one of
// A's by override. A asks for five days; only what is A's in them changes hands.
func TestCoverTakesOnlyWhatIsHis(t *testing.T) {
	now, first := at(t, "2026-06-01T00:00Z"), at(t, "2026-06-09T07:00Z") // one of A's days
	s := weekly(t, "ABC")
	s.Layers[0].Rotation = Rotation{Unit: Days, Length: 1, Anchor: wall(t, "2026-06-09T09:00")}
	s.Overrides = []Override{{ID: "o", Start: first.Add(3 * day), End: first.Add(3*day + 6*time.Hour), User: "C"}}
	for _, c := range []struct {
		name     string
		from, to time.Duration // since the first of A's days
		want     []span
	}{
		{"one whole turn", 0, day, []span{{first, first.Add(day)}}},
		{"split at the start", -12 * time.Hour, 12 * time.Hour, []span{{first, first.Add(12 * time.Hour)}}},
		{"split at the end", 12 * time.Hour, 2 * day, []span{{first.Add(12 * time.Hour), first.Add(day)}}},
		{"split at both", -day, 2 * day, []span{{first, first.Add(day)}}},
		{"part of one", time.Hour, 2 * time.Hour, []span{{first.Add(time.Hour), first.Add(2 * time.Hour)}}},
		{"two turns, of one a part", 0, 5 * day, []span{{first, first.Add(day)}, {first.Add(3*day + 6*time.Hour), first.Add(4 * day)}}},
		{"none", day, 3 * day, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := compiled(t, s)
			cover := Cover{ID: "q", Schedule: "s", User: "A", Start: first.Add(c.from), End: first.Add(c.to), CreatedAt: now}
			if err := cover.Validate(r, now); (err != nil) != (c.want == nil) {
				t.Errorf("asked: %v", err)
			}
			taken, overrides, err := cover.Take("B", r, now)
			if c.want == nil {
				if reason(err) != "NOT_ON_CALL" {
					t.Errorf("taken: %v, want that there is nothing to take", err)
				}
				return
			}
			if err != nil || taken.StateAt(now) != RequestTaken || taken.By != "B" {
				t.Fatalf("taken: %+v, %v", taken, err)
			}
			var got []span
			for _, o := range overrides {
				got = append(got, span{o.Start, o.End})
				if o.User != "B" || o.Request != "q" {
					t.Errorf("the override is %+v, want B's for the request", o)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("overridden: %v, want %v", got, c.want)
			}
			with, err := s.WithOverrides(now, overrides...)
			if err != nil {
				t.Fatal(err)
			}
			for _, change := range Differences(r, compiled(t, with), now, first.Add(30*day)) {
				if change.Before != "A" || change.After != "B" {
					t.Errorf("changed: %+v, want A's to B and nothing else", change)
				}
			}
		})
	}
}

func TestCoverStates(t *testing.T) {
	now := at(t, "2026-06-01T12:00Z")
	r := compiled(t, weekly(t, "ABC"))
	cover := Cover{ID: "q", Schedule: "s", User: "B", Start: at(t, "2026-06-08T07:00Z"), End: at(t, "2026-06-10T07:00Z"), CreatedAt: now}
	if err := cover.Validate(r, now); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []struct {
		name   string
		change func(*Cover)
	}{
		{"nobody's", func(c *Cover) { c.User = "" }},
		{"ends before it starts", func(c *Cover) { c.End = c.Start }},
		{"has begun", func(c *Cover) { c.Start = now }},
		{"not theirs", func(c *Cover) { c.User = "C" }},
	} {
		c := cover
		bad.change(&c)
		if err := c.Validate(r, now); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v, want a complaint", bad.name, err)
		}
	}
	if got := cover.Candidates(r.Schedule()); !slices.Equal(got, people("AC")) {
		t.Errorf("who may take it: %v, want A and C", got)
	}
	for _, user := range people("BX") { // himself, and somebody else's colleague
		if _, _, err := cover.Take(user, r, now); reason(err) != "NOT_A_CANDIDATE" {
			t.Errorf("taken by %s: %v, want a refusal", user, err)
		}
	}
	taken, overrides, err := cover.Take("A", r, now)
	if err != nil || len(overrides) != 1 {
		t.Fatalf("taken by A: %+v, %v", overrides, err)
	}
	if _, overrides, err := taken.Take("A", r, now); err != nil || len(overrides) != 0 {
		t.Errorf("taken by A again: %+v, %v, want no change", overrides, err)
	}
	_, _, err = taken.Take("C", r, now)
	if f, _ := errors.AsType[*fault.Error](err); f == nil || f.Kind != fault.Precondition || f.Meta["state"] != "taken" || f.Meta["taken_by"] != "A" {
		t.Errorf("taken by C after A: %v, want a conflict that names A", err)
	}
	if _, err := taken.Cancel("B", now); reason(err) != "NOT_OPEN" {
		t.Errorf("cancelled after it was taken: %v", err)
	}
	cancelled, err := cover.Cancel("B", now)
	if err != nil || cancelled.StateAt(cover.End) != RequestCancelled {
		t.Errorf("cancelled: %+v, %v", cancelled, err)
	}
	if _, _, err := cancelled.Take("A", r, now); reason(err) != "NOT_OPEN" {
		t.Errorf("taken after it was cancelled: %v", err)
	}
	if cover.StateAt(cover.Start.Add(-1)) != RequestOpen || cover.StateAt(cover.Start) != RequestPastDue {
		t.Error("an open request is past due from its start on, and not before")
	}
	if _, _, err := cover.Take("A", r, cover.Start); reason(err) != "NOT_OPEN" {
		t.Errorf("taken when it had begun: %v", err)
	}
	if got := r.At(cover.Start).User; got != "B" {
		t.Errorf("not taken, %q is on call, want B still", got)
	}
}

func TestReminders(t *testing.T) {
	start := at(t, "2026-06-08T07:00Z")
	cover := Cover{Start: start, CreatedAt: start.Add(-8 * day)}
	want := []time.Time{start.Add(-7 * day), start.Add(-3 * day), start.Add(-2 * day), start.Add(-day), start.Add(-12 * time.Hour)}
	if got := cover.Reminders(); !slices.Equal(got, want) {
		t.Errorf("asked eight days before, reminded %v, want %v", got, want)
	}
	cover.CreatedAt = start.Add(-40 * day)
	if got := cover.Reminders(); len(got) != 8 || !got[0].Equal(start.Add(-28*day)) {
		t.Errorf("asked long before, reminded %v, want four weeks before first", got)
	}
}

// TestSwap: both or none, and only by the one who is asked.
func TestSwap(t *testing.T) {
	now := at(t, "2026-06-01T12:00Z") // A's week; then B's, then C's
	s := weekly(t, "ABC")
	r := compiled(t, s)
	b, c := at(t, "2026-06-08T07:00Z"), at(t, "2026-06-15T07:00Z")
	swap := Swap{ID: "w", Schedule: "s", CreatedAt: now, Mine: Part{"B", b, b.Add(2 * day)}, Theirs: Part{"C", c.Add(day), c.Add(3 * day)}}
	if err := swap.Validate(r, now); err != nil {
		t.Fatal(err)
	}
	if _, _, err := swap.Accept("A", r, now); reason(err) != "NOT_A_CANDIDATE" {
		t.Errorf("accepted by somebody else: %v", err)
	}
	accepted, overrides, err := swap.Accept("C", r, now)
	if err != nil || accepted.StateAt(now) != RequestTaken {
		t.Fatalf("accepted: %+v, %v", accepted, err)
	}
	with, err := s.WithOverrides(now, overrides...)
	if err != nil {
		t.Fatal(err)
	}
	if got := who(compiled(t, with), b, c.Add(7*day)); got != "CBCBC" {
		t.Errorf("in the two weeks: %s, want CBCBC", got)
	}
	if _, overrides, err := accepted.Accept("C", r, now); err != nil || len(overrides) != 0 {
		t.Errorf("accepted again: %+v, %v", overrides, err)
	}

	if got := swap.Reminders(); len(got) != 4 || !got[0].Equal(b.Add(-3*day)) {
		t.Errorf("C is reminded %v, want from three days before on: the first part begins in less than a week", got)
	}

	gone := s
	gone.Overrides = []Override{{ID: "o", Start: c, End: c.Add(7 * day), User: "A"}}
	if _, overrides, err := swap.Accept("C", compiled(t, gone), now); reason(err) != "NOT_ON_CALL" || len(overrides) != 0 {
		t.Errorf("accepted when C's time was not C's any more: %+v, %v; want neither side", overrides, err)
	}
	if _, _, err := swap.Accept("C", r, b); reason(err) != "NOT_OPEN" {
		t.Errorf("accepted when the first part had begun: %v", err)
	}
	swap.Theirs.User = "B"
	if err := swap.Validate(r, now); fault.KindOf(err) != fault.Invalid {
		t.Errorf("with himself: %v", err)
	}
	declined, err := swap.Cancel("C", now)
	if err != nil || declined.By != roster.UserID("C") {
		t.Errorf("declined: %+v, %v", declined, err)
	}
	if again, err := declined.Cancel("B", now.Add(time.Hour)); err != nil || again.Outcome != declined.Outcome {
		t.Errorf("taken back as well: %+v, %v, want no change", again, err)
	}
}
