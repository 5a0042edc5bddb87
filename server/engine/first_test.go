package engine_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/respond"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// alone starts an instance that owns all partitions and has nothing to do.
func (h *house) alone() *instance {
	h.t.Helper()
	i := h.start()
	i.send("warm", "k", event.Trigger)
	h.await("the first of all pages", paged("ann"))
	i.settled()
	h.mu.Lock()
	h.works, h.items = nil, nil
	h.mu.Unlock()
	return i
}

// stallOnce stops the next decision about an event before it is made, has f
// done, and lets it go on.
func (i *instance) stallOnce(f func()) {
	stuck, let := make(chan struct{}), make(chan struct{})
	done := false // of the owner's loop
	i.world.stall(func() {
		if !done {
			done = true
			close(stuck)
			<-let
		}
	})
	i.send("shop", "k", event.Trigger)
	<-stuck
	f()
	close(let)
}

// A page of an instance that has nothing else to do goes on with all that it
// needs: neither its event nor its incident nor its person is read.
func TestAFirstPageReadsNothing(t *testing.T) {
	h := newHouse(t)
	i := h.alone()
	for n := 1; n <= 50; n++ { // where a machine is so busy that a page waits, it is read
		i.send("shop", fmt.Sprint(n), event.Trigger)
		h.await("ann is paged", func(ws []incident.Work) bool { return count(ws, incident.WorkPage, "ann") == n })
		i.settled()
		h.mu.Lock()
		got := h.items[len(h.items)-1]
		h.mu.Unlock()
		if got.Incident != nil && got.Incident.ID == got.Work.Incident && got.Person != nil && got.Person.User == "ann" {
			return
		}
	}
	t.Error("none of 50 pages came with its incident and its person")
}

// Another instance decides the event between the answer to its sender and the
// decision here.
func TestAnEventThatAnotherHasDecidedIsNotDecidedAgain(t *testing.T) {
	h := newHouse(t)
	i := h.alone()
	i.stallOnce(func() {
		p := store.PartitionOf("shop")
		entries, err := i.store.Inbox(t.Context(), p, 10)
		if err != nil || len(entries) != 1 {
			t.Fatalf("the inbox has %d entries (%v), want the one that is being decided", len(entries), err)
		}
		if _, err := i.store.Commit(t.Context(), store.Commit{Partition: p, Inbox: []string{entries[0].ID}}); err != nil {
			t.Fatal(err)
		}
	})
	i.send("shop", "other", event.Trigger) // behind it, in the same loop
	h.await("the next event pages", paged("ann"))
	linked, err := i.store.Linked(t.Context(), "shop", "k")
	if err != nil || linked["k"] != "" {
		t.Errorf("the key leads to %q (%v), want nowhere", linked["k"], err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := count(h.works, incident.WorkPage, "ann"); n != 1 {
		t.Errorf("ann was paged %d times, want once", n)
	}
}

// The key, which led nowhere when the event was accepted, leads to an incident
// when it is decided.
func TestAKeyThatIsLinkedMeanwhileCounts(t *testing.T) {
	h := newHouse(t)
	i := h.alone()
	var open incident.ID
	i.stallOnce(func() {
		now := time.Now()
		id := store.NewIncidentID(store.PartitionOf("shop"), now)
		svc, _ := h.world.Service("shop")
		dec, err := i.desk.Decide(t.Context(), nil, id, incident.Begin{
			ID: id, Service: svc, Number: 4711, Event: event.Event{Action: event.Trigger, Summary: "disk full", Severity: event.Critical},
			Alert: incident.Alert{Service: "shop", Key: "k", Integration: "am", Count: 1},
		})
		if err != nil {
			t.Fatal(err)
		}
		c := respond.Commit(nil, dec)
		c.Keys = []store.KeyGuard{{Service: "shop", Key: "k", Now: id}}
		if _, err := i.store.Commit(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		open = id
	})
	i.settled()
	in := i.find("shop", "k")
	alerts, err := i.store.Alerts(t.Context(), in.ID)
	if in.ID != open || err != nil || len(alerts) != 1 || alerts[0].Count != 2 {
		t.Errorf("the key leads to %s with %+v (%v), want %s with one alert that counts 2", in.ID, alerts, err, open)
	}
}

// The event that is being decided was on a master that is no more: its replica
// never had it, and gets it from the instance that had accepted it.
func TestAFirstEventOutlivesAFailover(t *testing.T) {
	pair := redistest.StartPair(t)
	h := newHouse(t)
	h.url, h.ring = pair.URL(), 1<<20
	i := h.alone()
	pair.InStep(t)
	pair.Cut()
	i.stallOnce(func() { pair.Promote(t) })
	h.await("ann is paged", paged("ann"))
	deadline := time.Now().Add(20 * time.Second)
	for i.store.FailoverStats().Failovers == 0 {
		if time.Now().After(deadline) {
			t.Fatal("the failover was never noticed")
		}
		<-time.After(time.Millisecond)
	}
	i.settled()
	in := i.find("shop", "k")
	alerts, err := i.store.Alerts(t.Context(), in.ID)
	if err != nil || len(alerts) != 1 || alerts[0].Count != 1 {
		t.Errorf("alerts %+v (%v), want one that counts the event once", alerts, err)
	}
}
