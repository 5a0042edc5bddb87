package store

import (
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
)

// A key that was kept because it could have re-opened its incident goes with
// it: senders that make a key for each event would fill the memory for ever.
func TestExpiredIncidentTakesItsKeysAlong(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.Start(t).URL())
	ctx := t.Context()
	service := freshService(t)
	c := begin(opened(service, base), "kept")
	in, _ := mustCommit(t, s, c)
	leads, err := s.Linked(ctx, service, "kept")
	if err != nil || leads["kept"] != in.ID {
		t.Fatalf("the key leads to %q (%v), want %s", leads["kept"], err, in.ID)
	}
	resolve(t, s, in, base.Add(time.Minute))
	other := opened(service, base)
	next, _ := mustCommit(t, s, begin(other, "other"))
	if n, err := s.Expire(ctx, PartitionOf(string(service)), time.Now().Add(time.Hour), 100); err != nil || n != 1 {
		t.Fatalf("Expire looked at %d, %v, want 1", n, err)
	}
	leads, err = s.Linked(ctx, service, "kept", "other")
	if err != nil || leads["kept"] != "" || leads["other"] != next.ID {
		t.Errorf("the keys lead to %v (%v), want the open one's alone", leads, err)
	}
}
