package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// The end of a send is written in one step as long as nobody has said anything of
// it; what a phone has said before the push service answered stays.
func TestEndSends(t *testing.T) {
	t.Parallel()
	s := shared(t)
	ctx := t.Context()
	in, _ := mustCommit(t, s, begin(opened(freshService(t), base), "disk"))
	quick, spoken, never := sendTo(t, in.ID, in.Generation, "iphone"), sendTo(t, in.ID, in.Generation, "ipad"), sendTo(t, in.ID, in.Generation, "watch")
	if _, err := s.BeginSend(ctx, base, []Send{quick, spoken}); err != nil {
		t.Fatal(err)
	}
	shown := Receipt{Delivery: spoken.Delivery.ID, Device: "ipad", State: incident.DeliveryDisplayed, At: base.Add(time.Second)}
	if got, err := s.Receipt(ctx, shown); err != nil || got.Verdict != ReceiptApplied {
		t.Fatalf("receipt: got %v, %v", got, err)
	}
	want := map[roster.DeviceID]incident.Delivery{}
	ends := []Send{quick, spoken, never}
	for i := range ends {
		d := &ends[i].Delivery
		d.State, d.Accepted, d.Provider = incident.DeliveryAccepted, base.Add(2*time.Second), "apns-1"
		want[d.Device] = *d
	}
	said := want["ipad"]
	said.State, said.Displayed = incident.DeliveryDisplayed, shown.At
	want["ipad"] = said

	for _, when := range []string{"first", "again"} {
		if err := s.EndSends(ctx, ends); err != nil {
			t.Fatal(err)
		}
		list, err := s.Deliveries(ctx, quick.Doc)
		if err != nil {
			t.Fatal(err)
		}
		got := map[roster.DeviceID]incident.Delivery{}
		for _, d := range list {
			got[d.Device] = d
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	if err := s.EndSends(ctx, []Send{{Doc: quick.Doc, Delivery: incident.Delivery{ID: "no id"}}}); err == nil {
		t.Error("a delivery of no document: got no error")
	}
}

// One step ends sends of many partitions.
func TestEndSendsOfManyPartitions(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.Start(t).URL())
	var sends []Send
	for i := range 2*maxSends + 1 {
		in, _ := mustCommit(t, s, begin(opened(freshService(t), base), "disk"))
		sends = append(sends, sendTo(t, in.ID, in.Generation, roster.DeviceID(fmt.Sprint("phone-", i))))
	}
	begun, err := s.BeginSend(t.Context(), base, sends)
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range begun {
		if b != BegunGo {
			t.Fatalf("send %d: got %v, want go", i, b)
		}
		sends[i].Delivery.State, sends[i].Delivery.Accepted = incident.DeliveryAccepted, base
	}
	if err := s.EndSends(t.Context(), sends); err != nil {
		t.Fatal(err)
	}
	for _, send := range sends {
		list, err := s.Deliveries(t.Context(), send.Doc)
		if err != nil || len(list) != 1 || list[0].State != incident.DeliveryAccepted || list[0].Device != send.Delivery.Device {
			t.Fatalf("deliveries of %s: got %v, %v, want the one that ended", send.Doc, list, err)
		}
	}
}

// A master of a cluster hangs: the sends of the others begin and end as ever,
// though they were asked about in one call, and which they are can be told.
func TestSendsBesideAMasterThatHangs(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 0)
	s := openAt(t, c.URL())
	ctx := t.Context()
	sick, well := servicesAt(t, s, c.Masters[1])
	var sends []Send
	for _, service := range []catalog.ServiceID{well, sick} {
		in, _ := mustCommit(t, s, begin(opened(service, base), "disk"))
		sends = append(sends, sendTo(t, in.ID, in.Generation, "iphone"))
	}
	if a, b := s.Home(ctx, PartitionOf(string(well))), s.Home(ctx, PartitionOf(string(sick))); a == b || a == "" || b == "" {
		t.Errorf("homes: got %q and %q, want two", a, b)
	}
	check := func(what string, began time.Time, errs []error) {
		t.Helper()
		if len(errs) != 2 || errs[0] != nil || fault.KindOf(errs[1]) != fault.Unavailable {
			t.Fatalf("%s: got %v, want the second unavailable", what, errs)
		}
		if took := time.Since(began); took >= 2*s.o.Timeout {
			t.Errorf("%s took %v, more than a timeout", what, took)
		}
	}
	c.Masters[1].Pause(t)
	began := time.Now()
	begun, errs := s.BeginSend(ctx, base, sends)
	check("begin", began, errs)
	if begun[0] != BegunGo || begun[1] != 0 {
		t.Errorf("begin: got %v, want the first to go and nothing of the second", begun)
	}
	for i := range sends {
		sends[i].Delivery.State, sends[i].Delivery.Accepted = incident.DeliveryAccepted, base
	}
	began = time.Now()
	check("end", began, s.EndSends(ctx, sends))
	list, err := s.Deliveries(ctx, sends[0].Doc)
	if err != nil || len(list) != 1 || list[0].State != incident.DeliveryAccepted {
		t.Errorf("deliveries: got %v, %v, want the one that ended", list, err)
	}
	c.Masters[1].Resume(t)
}

// A delivery that is none of its document's keeps no other from beginning.
func TestASendThatIsRefusedIsAlone(t *testing.T) {
	t.Parallel()
	s := shared(t)
	in, _ := mustCommit(t, s, begin(opened(freshService(t), base), "disk"))
	good := sendTo(t, in.ID, in.Generation, "iphone")
	bad := Send{Doc: good.Doc, Delivery: incident.Delivery{ID: "no id"}}
	begun, errs := s.BeginSend(t.Context(), base, []Send{bad, good})
	if len(errs) != 2 || errs[0] == nil || errs[1] != nil || begun[0] != 0 || begun[1] != BegunGo {
		t.Errorf("got %v, %v, want an error and go", begun, errs)
	}
}

func TestKeysOfManyServices(t *testing.T) {
	t.Parallel()
	s := shared(t)
	a, b := freshService(t), freshService(t)
	first, _ := mustCommit(t, s, begin(opened(a, base), "disk"))
	second, _ := mustCommit(t, s, begin(opened(b, base), "disk"))
	got, err := s.LinkedAll(t.Context(), []LinkedKey{{a, "other"}, {a, "disk"}, {b, "disk"}, {"nobody", "disk"}})
	want := map[LinkedKey]incident.ID{{a, "disk"}: first.ID, {b, "disk"}: second.ID}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("keys: %v (-want +got):\n%s", err, diff)
	}
}
