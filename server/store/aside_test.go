package store

import (
	"slices"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
)

// TestSetAside: what is set aside is due for nobody, comes back to its instant,
// and is live again as soon as somebody touches it.
func TestSetAside(t *testing.T) {
	s := openAt(t, redistest.Start(t).URL())
	service := freshService(t)
	p := PartitionOf(string(service))
	late, next := base.Add(-3*time.Hour), base.Add(-time.Hour)
	var ins []*incident.Incident
	for i, at := range []time.Time{late, late.Add(time.Minute), late.Add(2 * time.Minute), base} {
		in := opened(service, at)
		in, _ = mustCommit(t, s, begin(in, string(rune('a'+i))))
		ins = append(ins, in)
	}
	due := func(what string, want ...incident.ID) {
		t.Helper()
		docs, _, err := s.Due(t.Context(), p, base, 10)
		if err != nil {
			t.Fatal(err)
		}
		var got []incident.ID
		for _, d := range docs {
			got = append(got, d.Incident)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: due are %v, want %v", what, got, want)
		}
	}
	count := func(want int) {
		t.Helper()
		if n, err := s.Aside(t.Context()); err != nil || n != want {
			t.Errorf("%d are set aside (%v), want %d", n, err, want)
		}
	}
	due("at first", ins[0].ID, ins[1].ID, ins[2].ID)
	if n, people, err := s.Overdue(t.Context(), p, next); err != nil || n != 3 || len(people) != 0 {
		t.Fatalf("overdue are %d incidents and %v (%v), want 3 and nobody", n, people, err)
	}
	if n, err := s.SetAside(t.Context(), p, next); err != nil || n != 3 {
		t.Fatalf("set aside %d (%v), want 3", n, err)
	}
	if n, err := s.SetAside(t.Context(), p, next); err != nil || n != 0 {
		t.Fatalf("set aside %d more (%v), want none", n, err)
	}
	due("set aside")
	count(3)

	touched := *ins[1]
	touched.Priority, touched.Updated = 1, base
	mustCommit(t, s, Commit{Before: ins[1], After: &touched})
	due("touched", ins[1].ID)
	if !ins[0].WaitsAsOverdue(next) || touched.WaitsAsOverdue(next) || ins[3].WaitsAsOverdue(next) {
		t.Error("WaitsAsOverdue does not say what the timers say")
	}
	for range 2 { // the second time it is no more aside
		if err := s.TakeUp(t.Context(), ins[0]); err != nil {
			t.Fatal(err)
		}
	}
	due("reported again", ins[0].ID, ins[1].ID)
	count(1)
	if n, err := s.TakeBack(t.Context(), p); err != nil || n != 1 {
		t.Errorf("took %d back (%v), want 1", n, err)
	}
	due("resumed", ins[0].ID, ins[1].ID, ins[2].ID)
	count(0)
}
