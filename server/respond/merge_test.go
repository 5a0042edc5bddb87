package respond_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/respond"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// A shadow who observes or practises merges nothing away that he follows; into
// it he may, as nobody is paged less for that. One on duty may do both.
func TestMergeByAShadow(t *testing.T) {
	for mode, refused := range map[schedule.Mode]bool{schedule.Observe: true, schedule.Practise: true, schedule.Duty: false} {
		d, w := newDesk(t)
		w.Shadowed = map[roster.UserID][]schedule.Shadow{"ann": {{ID: "s", User: "cy", Person: "ann", Mode: mode}}}
		followed, other := begin(t, d, "shop", "a"), begin(t, d, "bank", "b")
		if s := followed.Following("cy"); s == nil || s.Shadow.Mode != mode {
			t.Fatalf("%v: cy does not follow it: %+v", mode, followed.Shadows)
		}
		_, err := d.Merge(t.Context(), other.ID, []incident.ID{followed.ID}, by("cy"), respond.Options{})
		if f, ok := errors.AsType[*fault.Error](err); refused != (ok && f.Kind == fault.Denied && f.Reason == "SHADOW_ONLY") || !refused && err != nil {
			t.Errorf("%v: merged away with %v, want it refused: %v", mode, err, refused)
		}
		in, err := d.Store.Incident(t.Context(), followed.ID)
		if err != nil || in.Open() != refused {
			t.Errorf("%v: it is open: %v (%v), want %v", mode, in.Open(), err, refused)
		}
		if !refused {
			continue
		}
		fresh := begin(t, d, "site", "c")
		if s := fresh.Following("cy"); s == nil {
			t.Fatalf("%v: cy does not follow the third one", mode)
		}
		plain := begin(t, d, "till", "e")
		plain, err = d.Do(t.Context(), plain.ID, incident.Reassign{By: by("ann"), Users: []roster.UserID{"bo"}}, respond.Options{})
		if err != nil || plain.Following("cy") != nil {
			t.Fatalf("%v: cy follows Bo's: %v", mode, err)
		}
		if _, err := d.Merge(t.Context(), fresh.ID, []incident.ID{plain.ID}, by("cy"), respond.Options{}); err != nil {
			t.Errorf("%v: another one merged into what cy follows: %v", mode, err)
		}
	}
}

// Two people merge two incidents into each other at the same time: one of them
// is left open, with everything.
func TestMergeIntoEachOther(t *testing.T) {
	d, _ := newDesk(t)
	for round := range 40 {
		a, b := begin(t, d, "shop", "a"), begin(t, d, "bank", "b")
		var wg sync.WaitGroup
		errs := make([]error, 2)
		wg.Go(func() { _, errs[0] = d.Merge(t.Context(), a.ID, []incident.ID{b.ID}, by("ann"), respond.Options{}) })
		wg.Go(func() { _, errs[1] = d.Merge(t.Context(), b.ID, []incident.ID{a.ID}, by("bo"), respond.Options{}) })
		wg.Wait()
		var open []*incident.Incident
		for _, id := range []incident.ID{a.ID, b.ID} {
			in, err := d.Store.Incident(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if in.Open() {
				open = append(open, in)
			}
		}
		if len(open) != 1 || open[0].AlertsOpen != 2 {
			t.Fatalf("round %d: %d incidents are open, want one with both alerts; errors %v", round, len(open), errs)
		}
		if fault.KindOf(errs[0]) == fault.Internal && errs[0] != nil || fault.KindOf(errs[1]) == fault.Internal && errs[1] != nil {
			t.Fatalf("round %d: errors %v, want what a caller can understand", round, errs)
		}
		if _, err := d.Do(t.Context(), open[0].ID, incident.Resolve{By: by("ann")}, respond.Options{}); err != nil {
			t.Fatal(err)
		}
		for _, k := range []struct{ service, key string }{{"shop", "a"}, {"bank", "b"}} {
			if err := d.Store.Unlink(t.Context(), "shop", k.key, leads(t, d, "shop", k.key)); err != nil {
				t.Fatal(err)
			}
			if err := d.Store.Unlink(t.Context(), "bank", k.key, leads(t, d, "bank", k.key)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestMergeByEtag(t *testing.T) {
	d, _ := newDesk(t)
	target, source := begin(t, d, "shop", "a"), begin(t, d, "bank", "b")
	open := func(id incident.ID) bool {
		t.Helper()
		in, err := d.Store.Incident(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return in.Open()
	}
	_, err := d.Merge(t.Context(), target.ID, []incident.ID{source.ID}, by("ann"), respond.Options{Etag: target.Version + 7})
	if !errors.Is(err, respond.ErrStale) || !open(source.ID) {
		t.Fatalf("with a stale etag: %v, source open %v; want it refused and nothing done", err, open(source.ID))
	}
	if _, err := d.Merge(t.Context(), target.ID, []incident.ID{source.ID}, by("ann"), respond.Options{Etag: target.Version}); err != nil {
		t.Fatalf("with the present etag: %v", err)
	}
	if open(source.ID) || !open(target.ID) {
		t.Errorf("source open %v, target open %v; want the target alone", open(source.ID), open(target.ID))
	}
}

// A merge that cannot be done for one source is not done for the others.
func TestMergeIsRefusedAsAWhole(t *testing.T) {
	d, _ := newDesk(t)
	target, good, over := begin(t, d, "shop", "a"), begin(t, d, "bank", "b"), begin(t, d, "bank", "c")
	if _, err := d.Do(t.Context(), over.ID, incident.Resolve{By: by("ann")}, respond.Options{}); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]incident.ID{
		"resolved": over.ID, "unknown": store.NewIncidentID(3, d.Now()), "itself": target.ID,
	} {
		_, err := d.Merge(t.Context(), target.ID, []incident.ID{good.ID, bad}, by("ann"), respond.Options{})
		in, readErr := d.Store.Incident(t.Context(), good.ID)
		if readErr != nil {
			t.Fatal(readErr)
		}
		if err == nil || !in.Open() {
			t.Fatalf("%s: error %v, the good source open %v; want it refused and nothing done", name, err, in.Open())
		}
	}
}
