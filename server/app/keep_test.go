package app

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// TestHousekeeping lets the ages pass: what is closed is removed, the feed ends
// at a day, and a version of a policy stays as long as an open incident has it.
func TestHousekeeping(t *testing.T) {
	w := newWorld(t, redistest.Start(t).URL())
	in := w.start(func(o *Options) { o.Config.Retention.KeepClosed = 30 * 24 * time.Hour })
	s := in.server
	in.apply(organisation)
	ann := in.enrol(w, "ann", roster.IOS)
	in.send("trigger", "old", "disk full")
	closed := incident.ID(gets(t, ann, "the page", page).IncidentID)
	in.send("resolve", "old", "disk full")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := incidents(ctx, s.store, 1, incident.Resolved); err != nil {
		t.Fatal(err)
	}
	in.send("trigger", "new", "network down")
	open := incident.ID(gets(t, ann, "the other page", func(n pushtest.Notification) bool { return page(n) && n.IncidentID != string(closed) }).IncidentID)

	old, err := s.store.Incident(ctx, open)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 { // versions 2 to 4
		in.change(func(e *directory.Edit) error {
			p, _ := e.GetPolicy("shop")
			c := *p
			c.Loops = i + 1
			return e.Update(&c, "")
		})
	}
	used, err := inUse(s.store)(ctx, directory.VersionKey(old.Policy))
	if err != nil || !slices.Equal(used, []string{"incidents/" + string(open)}) {
		t.Errorf("the incident's version of its policy is in use by %v (%v), want by it", used, err)
	}
	next := escalation.Ref{ID: old.Policy.ID, Version: old.Policy.Version + 1}
	if used, err := inUse(s.store)(ctx, directory.VersionKey(next)); err != nil || len(used) > 0 {
		t.Errorf("a version that no incident has is in use by %v (%v), want by none", used, err)
	}

	w.watch.forward(500 * 24 * time.Hour)
	if err := s.directory.Tidy(ctx); err != nil {
		t.Fatal(err)
	}
	snap := s.directory.Snapshot()
	if _, ok := snap.Policy(old.Policy); !ok {
		t.Errorf("version %d of the policy is gone, which an open incident has", old.Policy.Version)
	}
	if _, ok := snap.Policy(next); ok {
		t.Errorf("version %d of the policy is kept, which nobody has", next.Version)
	}
	k := &keeper{
		store: s.store, owned: store.All, directory: s.directory,
		retention: s.c.Retention, now: w.watch.Now, log: s.log, every: time.Hour,
	}
	for range 2 { // packed first, then removed
		k.round(ctx)
	}
	if _, err := s.store.Incident(ctx, closed); fault.KindOf(err) != fault.NotFound || err == nil {
		t.Errorf("the incident that was closed long ago reads as %v, want it gone", err)
	}
	if _, err := s.store.Incident(ctx, open); err != nil {
		t.Errorf("the open incident is gone: %v", err)
	}
	p, err := store.PartitionOfIncident(open)
	if err != nil {
		t.Fatal(err)
	}
	ago := &store.Cursor{}
	ago[p] = store.Position{MS: 1}
	if _, _, err := s.store.Feeds(ctx, ago, 10, p); fault.KindOf(err) != fault.OutOfRange {
		t.Errorf("the feed of long ago reads as %v, want that it does not reach back", err)
	}
}

// change changes the configuration, whatever it leaves of somebody's reach.
func (in *instance) change(edit func(*directory.Edit) error) {
	in.t.Helper()
	_, err := in.server.directory.Change(in.t.Context(), directory.ByServer("test"), func(e *directory.Edit) error {
		e.Force()
		return edit(e)
	})
	if err != nil {
		in.t.Fatal(fmt.Errorf("change: %w", err))
	}
}
