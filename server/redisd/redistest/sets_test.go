package redistest_test

import (
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
)

func TestSentinelPromotesAReplica(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t, 1)
	if got := s.Master(t); got != s.Nodes[0] {
		t.Fatalf("the master is on port %d, want %d", got.Port(), s.Nodes[0].Port())
	}
	s.Nodes[0].Kill(t)
	for deadline := time.Now().Add(time.Minute); s.Master(t) != s.Nodes[1]; {
		if time.Now().After(deadline) {
			t.Fatal("the replica was not promoted")
		}
	}
}

func TestClusterServesAllSlots(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 1)
	if len(c.Masters) != 3 || len(c.Replicas) != 3 {
		t.Fatalf("got %d masters and %d replicas, want 3 and 3", len(c.Masters), len(c.Replicas))
	}
	for i := range c.Replicas {
		master := c.Masters[i].Client(t)
		if n := master.Do(t.Context(), "WAIT", 1, 5000).Val(); n != int64(1) {
			t.Errorf("master %d: %v replicas answer, want 1", i+1, n)
		}
	}
}
