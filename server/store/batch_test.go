package store

import (
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
)

// A batch goes to two masters of a cluster, of which one hangs: the call for the
// other is answered while that is still tried, and the lane is free again before
// it would be tried a second time.
func TestABatchBesideAMasterThatHangs(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 0)
	s := openAt(t, c.URL())
	sick, well := servicesAt(t, s, c.Masters[1])
	event := func(service catalog.ServiceID) InboxEntry {
		return InboxEntry{Service: service, Integration: "am", Key: "disk", Received: base}
	}
	if err := s.Append(t.Context(), []InboxEntry{event(sick), event(well)}); err != nil { // both have been looked into
		t.Fatal(err)
	}
	appendTo := func(service catalog.ServiceID) *call {
		one := s.appendCall(PartitionOf(string(service)), []InboxEntry{event(service)})
		one.ctx, one.done = t.Context(), make(chan struct{})
		return one
	}
	forSick, forWell := appendTo(sick), appendTo(well)
	node, err := s.master(t.Context(), forSick.keys[0])
	if err != nil {
		t.Fatal(err)
	}

	c.Masters[1].Pause(t)
	began, sent := time.Now(), make(chan struct{})
	go func() {
		defer close(sent)
		s.appends.send([]*call{forSick, forWell}, false)
	}()
	<-forWell.done
	if forWell.err != nil {
		t.Errorf("the call for the one that is well: got %v", forWell.err)
	}
	if s.appends.parked.trouble(node) {
		t.Error("it was answered only after the other one had been given up")
	}
	<-sent
	if took := time.Since(began); took >= 2*s.o.Timeout {
		t.Errorf("the batch took %v, more than a timeout", took)
	}
	c.Masters[1].Resume(t)
	<-forSick.done // tried again, or given up
}
