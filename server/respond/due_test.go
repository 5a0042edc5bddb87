package respond_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/incident/incidenttest"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/respond"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// overNight makes a desk whose policy asks ann, and bo at once after her; its
// clock stands still.
func overNight(t *testing.T) (*respond.Desk, *incidenttest.World, *redis.Client) {
	t.Helper()
	srv := redistest.Start(t)
	s, err := store.Open(t.Context(), store.Options{URL: srv.URL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	w := incidenttest.New()
	w.AnyService = &catalog.Service{Name: "any", Policy: "night"}
	w.SetPolicy("night", 0, incidenttest.Level(5*time.Minute, "ann"), incidenttest.Level(time.Hour, "bo"))
	now := time.Now()
	return &respond.Desk{Store: s, View: func() incident.View { return w }, Now: func() time.Time { return now }}, w, srv.Client(t)
}

// later moves the clock of a desk.
func later(d *respond.Desk, by time.Duration) {
	now := d.Now().Add(by)
	d.Now = func() time.Time { return now }
}

func TestTickOfMany(t *testing.T) {
	d, w, rdb := overNight(t)
	const many = 20
	var ids []incident.ID
	for i := range many {
		ids = append(ids, begin(t, d, "shop", fmt.Sprint(i)).ID)
	}
	gone := store.NewIncidentID(store.PartitionOf("shop"), d.Now())
	ids = append(ids, gone, "no id")
	damaged, acked, quiet := ids[3], ids[7], ids[15]
	for _, key := range rdb.Keys(t.Context(), "*:i:"+string(damaged)).Val() {
		if err := rdb.Set(t.Context(), key, "damaged", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	later(d, 4*time.Minute)
	if _, err := d.Do(t.Context(), quiet, incident.Acknowledge{By: by("ann")}, respond.Options{}); err != nil {
		t.Fatal(err)
	}
	later(d, time.Minute)
	// Between the reading and the commit ann takes one of them.
	person := &respond.Desk{Store: d.Store, View: func() incident.View { return w }, Now: d.Now}
	var once sync.Once
	d.View = func() incident.View {
		once.Do(func() {
			if _, err := person.Do(t.Context(), acked, incident.Acknowledge{By: by("ann")}, respond.Options{}); err != nil {
				t.Errorf("acknowledge in between: %v", err)
			}
		})
		return w
	}
	var told []store.WorkItem
	d.Committed = func(items []store.WorkItem) { told = append(told, items...) }

	for i, o := range d.Tick(t.Context(), ids...) {
		switch id := ids[i]; {
		case id == gone || id == "no id":
			if fault.KindOf(o.Err) != fault.NotFound {
				t.Errorf("incident %q that is not there: %v, want not found", id, o.Err)
			}
		case id == damaged:
			if o.Err == nil || fault.KindOf(o.Err) != fault.Internal {
				t.Errorf("the damaged one: %v, want an error of its own", o.Err)
			}
		case o.Err != nil:
			t.Errorf("incident %d: %v", i, o.Err)
		case id == acked || id == quiet:
			if o.Incident.Status != incident.Acknowledged || o.Incident.Level != 0 {
				t.Errorf("incident %d, which ann has: %v at level %d", i, o.Incident.Status, o.Incident.Level)
			}
		default:
			stored, err := d.Store.Incident(t.Context(), id)
			if err != nil || stored.Level != 1 || stored.Revision != o.Incident.Revision || o.Incident.Level != 1 {
				t.Errorf("incident %d: got %+v, stored is %+v (%v), want both at the second level", i, o.Incident, stored, err)
			}
			if !slices.ContainsFunc(told, func(w store.WorkItem) bool { return w.Work.Incident == id && w.Work.User == "bo" }) {
				t.Errorf("nobody was told to page bo for incident %d", i)
			}
		}
	}
}

func TestTickOfNothing(t *testing.T) {
	d, _, _ := overNight(t)
	if got := d.Tick(t.Context()); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestTickOfManyWithoutAStore(t *testing.T) {
	d, _, _ := overNight(t)
	ids := []incident.ID{begin(t, d, "shop", "a").ID, begin(t, d, "shop", "b").ID}
	if err := d.Store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, o := range d.Tick(t.Context(), ids...) {
		if o.Incident != nil || o.Err == nil || errors.Is(o.Err, store.ErrRevisionMoved) {
			t.Errorf("got %+v and %v, want that the store is out", o.Incident, o.Err)
		}
	}
}
