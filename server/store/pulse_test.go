package store

import (
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
)

// A master of a cluster hangs: what waits in the partitions of the others is seen
// within a Timeout, and of its own nothing is said.
func TestPulseBesideAMasterThatHangs(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 0)
	s := openAt(t, c.URL())
	sick, well := servicesAt(t, s, c.Masters[1])
	for _, service := range []catalog.ServiceID{sick, well} {
		if err := s.Append(t.Context(), []InboxEntry{{Service: service, Integration: "am", Key: "disk", Received: base}}); err != nil {
			t.Fatal(err)
		}
	}
	var others, its []Partition
	for _, p := range All() {
		if isAt(t, s, c.Masters[1], p) {
			its = append(its, p)
		} else {
			others = append(others, p)
		}
	}

	c.Masters[1].Pause(t)
	began := time.Now()
	pulses, err := s.Pulse(t.Context(), All())
	if took := time.Since(began); took >= 2*s.o.Timeout {
		t.Errorf("it took %v, more than a timeout", took)
	}
	if err != nil || len(pulses) != len(others) {
		t.Fatalf("got %d pulses, %v, want %d", len(pulses), err, len(others))
	}
	for i, p := range pulses {
		waits := 0
		if p.Partition == PartitionOf(string(well)) {
			waits = 1
		}
		if p.Partition != others[i] || p.Inbox != waits || p.InboxOldest.IsZero() != (waits == 0) {
			t.Errorf("got %+v, want %d waiting in partition %s", p, waits, others[i])
		}
	}
	if pulses, err := s.Pulse(t.Context(), its); fault.KindOf(err) != fault.Unavailable || len(pulses) != 0 {
		t.Errorf("its own: got %v, %v, want unavailable", pulses, err)
	}
	c.Masters[1].Resume(t)
}

// A partition whose inbox is damaged keeps no other from being looked at.
func TestPulseBesideADamagedPartition(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.Start(t).URL())
	if err := s.rdb.Set(t.Context(), inboxKey(3), "damaged", 0).Err(); err != nil {
		t.Fatal(err)
	}
	pulses, err := s.Pulse(t.Context(), []Partition{2, 3, 4})
	if err != nil || len(pulses) != 2 || pulses[0].Partition != 2 || pulses[1].Partition != 4 {
		t.Errorf("got %v, %v, want partitions 2 and 4", pulses, err)
	}
}
