package engine_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/event"
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
			i := h.start()
			o, err := redis.ParseURL(h.url)
			if err != nil {
				t.Fatal(err)
			}
			r := redis.NewClient(o)
			t.Cleanup(func() { _ = r.Close() })
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

// find returns the one key that the pattern names.
func find(t *testing.T, r *redis.Client, pattern string) string {
	t.Helper()
	keys, err := r.Keys(t.Context(), pattern).Result()
	if err != nil || len(keys) != 1 {
		t.Fatalf("keys %q: %v (%v), want one", pattern, keys, err)
	}
	return keys[0]
}
