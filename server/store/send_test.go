package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
