package engine_test

import (
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// A trigger that its sender sent before a resolve, and that comes after it,
// pages nobody; the ring says why. A newer one does.
func TestTriggerFromBeforeTheResolvePagesNobody(t *testing.T) {
	h := newHouse(t)
	i := h.start()
	now := time.Now()
	send := func(a event.Action, at time.Time) {
		t.Helper()
		err := i.engine.Accept(t.Context(), []store.InboxEntry{{
			Service: "shop", Integration: "am", Key: "k", Received: now,
			Event: event.Event{Action: a, DedupKey: "k", Summary: "disk full", Severity: event.Critical, Timestamp: at},
		}})
		if err != nil {
			t.Fatal(err)
		}
		i.settled()
	}
	send(event.Resolve, now)
	send(event.Trigger, now.Add(-time.Second))
	h.mu.Lock()
	if n := count(h.works, incident.WorkPage, ""); n != 0 {
		t.Errorf("%d pages for a trigger that the resolve had overtaken", n)
	}
	h.mu.Unlock()
	send(event.Trigger, now.Add(time.Second))
	h.await("the newer trigger pages", paged("ann"))
}
