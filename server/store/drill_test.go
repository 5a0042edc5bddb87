package store

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-oncall/tocsin/server/drill"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Of many who begin one drill, and of many who end it, one is told that he did.
func TestDrillIsBegunOnce(t *testing.T) {
	s := openAt(t, redistest.Start(t).URL())
	d := drill.New("one", "ann", base, time.Minute)
	race := func(d drill.Drill) int64 {
		t.Helper()
		var won atomic.Int64
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				kept, err := s.PutDrill(t.Context(), d)
				if err != nil {
					t.Error(err)
				}
				if kept {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		return won.Load()
	}
	if n := race(d); n != 1 {
		t.Errorf("%d have begun it", n)
	}
	open, err := s.OpenDrills(t.Context())
	if err != nil || len(open) != 1 || open[0].Revision != 1 {
		t.Fatalf("open: %+v (%v)", open, err)
	}
	end := open[0].Judge(base.Add(time.Minute))
	if n := race(end); n != 1 {
		t.Errorf("%d have ended it", n)
	}
	if open, err := s.OpenDrills(t.Context()); err != nil || len(open) != 0 {
		t.Errorf("open after its end: %+v (%v)", open, err)
	}
	got, err := s.Drill(t.Context(), "one")
	end.Revision = 2
	if diff := cmp.Diff(end, got); diff != "" || err != nil {
		t.Errorf("kept (-want +got) %v:\n%s", err, diff)
	}
}

// The list of drills is complete page by page, also where many began at once.
func TestDrillsAreListed(t *testing.T) {
	s := openAt(t, redistest.Start(t).URL())
	for i := range 25 {
		d := drill.New(drill.ID(fmt.Sprintf("d%02d", i)), "ann", base.Add(time.Duration(i/5)*time.Second), time.Minute)
		if i%5 == 0 {
			d.User = "bob"
		}
		if _, err := s.PutDrill(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	for user, want := range map[string]int{"": 25, "ann": 20, "bob": 5, "cyd": 0} {
		seen := map[drill.ID]bool{}
		for before := base.Add(time.Hour); ; {
			page, err := s.Drills(t.Context(), "", before, 3)
			if user != "" {
				page, err = s.Drills(t.Context(), roster.UserID(user), before, 3)
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			for _, d := range page {
				if seen[d.ID] {
					t.Errorf("%s comes twice", d.ID)
				}
				seen[d.ID] = true
			}
			before = page[len(page)-1].Begun
		}
		if len(seen) != want {
			t.Errorf("of %q there are %d, want %d", user, len(seen), want)
		}
	}
	if err := s.ForgetDrills(t.Context(), base.Add(drillsKept+2500*time.Millisecond), 100); err != nil {
		t.Fatal(err)
	}
	if all, err := s.Drills(t.Context(), "", base.Add(time.Hour), 100); err != nil || len(all) != 10 {
		t.Errorf("after 400 days there are %d (%v), want the 10 that began later", len(all), err)
	}
	if _, err := s.Drill(t.Context(), "d00"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("the first is still there: %v", err)
	}
}

// A reading that failed leaves the instant of the last good one.
func TestReadings(t *testing.T) {
	s := openAt(t, redistest.Start(t).URL())
	if r, err := s.Reading(t.Context(), "ann"); err != nil || r != (Reading{}) {
		t.Errorf("before: %+v (%v)", r, err)
	}
	for _, r := range []Reading{{Tried: base, Read: base}, {Tried: base.Add(time.Hour), Error: "answers 500"}} {
		if err := s.KeepReading(t.Context(), "ann", r); err != nil {
			t.Fatal(err)
		}
	}
	want := Reading{Tried: base.Add(time.Hour), Read: base, Error: "answers 500"}
	if r, err := s.Reading(t.Context(), "ann"); err != nil || !cmp.Equal(r, want) {
		t.Errorf("got %+v (%v), want %+v", r, err, want)
	}
	if err := s.ForgetReading(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Reading(t.Context(), "ann"); err != nil || r != (Reading{}) {
		t.Errorf("after: %+v (%v)", r, err)
	}
}
