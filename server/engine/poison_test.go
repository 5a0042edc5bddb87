package engine_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// One damaged key must not keep the events of everybody else in its partition
// from paging: what cannot be decided becomes a dead letter.
func TestDamageStopsItsOwnServiceOnly(t *testing.T) {
	const broken, fine = catalog.ServiceID("shop"), catalog.ServiceID("shop-2")
	p := store.PartitionOf(string(broken))
	for name, damage := range map[string]func(*instance, *redis.Client) error{
		"dedup index": func(i *instance, r *redis.Client) error {
			i.send(broken, "k", event.Trigger)
			i.stored(broken, "k")
			return r.Set(t.Context(), find(t, r, "*:dd:"+string(broken)), "damaged", 0).Err()
		},
		"document": func(i *instance, r *redis.Client) error {
			i.send(broken, "k", event.Trigger)
			i.stored(broken, "k")
			in := i.find(broken, "k")
			return r.Set(t.Context(), find(t, r, "*:i:"+string(in.ID)), "damaged", 0).Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			i, r := h.start(), h.redis()
			if err := damage(i, r); err != nil {
				t.Fatal(err)
			}
			other := fine
			for n := 0; store.PartitionOf(string(other)) != p; n++ {
				other = catalog.ServiceID(string(fine) + string(rune('a'+n%26)) + string(rune('a'+n/26)))
			}
			i.send(broken, "k", event.Trigger)
			i.send(other, "k", event.Trigger)
			i.stored(other, "k")
			i.settled()
			letters, err := i.store.DeadLetters(t.Context(), p, "", 10)
			if err != nil || len(letters) != 1 || letters[0].Kind != store.DeadInbox || letters[0].Entry.Service != broken {
				t.Errorf("dead letters %+v (%v), want the one event of %s", letters, err, broken)
			}
		})
	}
}

// Nor must it keep the others of a burst from being escalated: it alone is put off.
func TestDamageStopsItsOwnTimerOnly(t *testing.T) {
	const service = catalog.ServiceID("shop")
	h := newHouse(t)
	h.world.hold(true) // all are due at once when paging goes on
	i, r := h.start(), h.redis()
	keys := []string{"a", "b", "c", "d", "e"}
	for _, k := range keys {
		i.send(service, k, event.Trigger)
		i.stored(service, k)
	}
	broken := i.find(service, "c")
	if err := r.Set(t.Context(), find(t, r, "*:i:"+string(broken.ID)), "damaged", 0).Err(); err != nil {
		t.Fatal(err)
	}
	h.world.hold(false)
	h.await("bo is paged for the others", func(ws []incident.Work) bool { return count(ws, incident.WorkPage, "bo") >= len(keys)-1 })
	timers := find(t, r, "*:tm")
	late := time.Now().Add(20 * time.Second)
	for due := 0.0; due < float64(time.Now().Add(time.Minute).UnixMilli()); { // it is put off after the others were decided
		if due = r.ZScore(t.Context(), timers, "i:"+string(broken.ID)).Val(); time.Now().After(late) {
			t.Fatalf("the damaged one is due at %v, want that it is put off", time.UnixMilli(int64(due)))
		}
	}
	for _, k := range keys {
		if k == "c" {
			continue
		}
		if in := i.find(service, k); in.Level != 1 {
			t.Errorf("the incident of key %s is at level %d, want that it was escalated", k, in.Level+1)
		}
	}
}

// redis is a client of what the instances keep, to damage it.
func (h *house) redis() *redis.Client {
	h.t.Helper()
	o, err := redis.ParseURL(h.url)
	if err != nil {
		h.t.Fatal(err)
	}
	r := redis.NewClient(o)
	h.t.Cleanup(func() { _ = r.Close() })
	return r
}

// find returns the one key that the pattern names.
func find(t *testing.T, r *redis.Client, pattern string) string {
	t.Helper()
	keys, err := r.Keys(t.Context(), pattern).Result()
	if err != nil || len(keys) != 1 {
		t.Fatalf("keys %q: %v (%v), want one", pattern, keys, err)
	}
	return keys[0]
}
