package store

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// sendTo is a page of work item "w-1" to a device.
func sendTo(tb testing.TB, id incident.ID, generation uint32, device roster.DeviceID) Send {
	tb.Helper()
	d := IncidentDoc(id)
	delivery, err := DeliveryID(d, "w-1", string(device))
	if err != nil {
		tb.Fatal(err)
	}
	return Send{Doc: d, Generation: generation, Delivery: incident.Delivery{
		ID: delivery, Work: "w-1", User: "ann", Device: device, Method: roster.PushAll, Kind: roster.Push, Native: true, Page: true,
		Urgency: incident.High, State: incident.DeliveryAttempted, Audible: true, Attempts: 1,
		Queued: base, Attempted: base, Deadline: base.Add(10 * time.Minute),
	}}
}

func TestBeginSend(t *testing.T) {
	t.Parallel()
	s := shared(t)
	ctx := t.Context()
	in, _ := mustCommit(t, s, begin(opened(freshService(t), base), "disk"))
	begun := func(now time.Time, send Send) Begun {
		t.Helper()
		got, err := s.BeginSend(ctx, now, []Send{send})
		if err != nil || len(got) != 1 {
			t.Fatalf("begin: got %v, %v", got, err)
		}
		return got[0]
	}
	phone, tablet := sendTo(t, in.ID, in.Generation, "iphone"), sendTo(t, in.ID, in.Generation, "ipad")
	if got := begun(base, phone); got != BegunGo {
		t.Errorf("first: got %v, want go", got)
	}
	if got := begun(base.Add(9*time.Second), phone); got != BegunInFlight {
		t.Errorf("again after 9 s: got %v, want in flight", got)
	}
	again := phone
	again.Delivery.Attempts, again.Delivery.Attempted = 2, base.Add(10*time.Second)
	if got := begun(base.Add(10*time.Second), again); got != BegunGo {
		t.Errorf("again after 10 s: got %v, want go", got)
	}
	sent := again.Delivery
	sent.State, sent.Accepted, sent.Provider = incident.DeliveryAccepted, base.Add(11*time.Second), "apns-1"
	if err := s.RecordDelivery(ctx, phone.Doc, sent); err != nil {
		t.Fatal(err)
	}
	if got := begun(base.Add(time.Hour), phone); got != BegunEnded {
		t.Errorf("after it was accepted: got %v, want ended", got)
	}

	acked := *in
	acked.Status, acked.Generation = incident.Acknowledged, in.Generation+1
	mustCommit(t, s, Commit{Before: in, After: &acked})
	if got := begun(base, tablet); got != BegunStale {
		t.Errorf("after the acknowledgement: got %v, want stale", got)
	}
	tablet.Unguarded = true
	if got := begun(base, tablet); got != BegunGo {
		t.Errorf("a replacement card after the acknowledgement: got %v, want go", got)
	}
	unknown := sendTo(t, NewIncidentID(PartitionOf(string(in.Service)), base), 1, "iphone")
	if got := begun(base, unknown); got != BegunStale {
		t.Errorf("no such incident: got %v, want stale", got)
	}

	list, err := s.Deliveries(ctx, phone.Doc)
	slices.SortFunc(list, func(a, b incident.Delivery) int { return b.Attempts - a.Attempts })
	if d := diff([]incident.Delivery{sent, tablet.Delivery}, list); d != "" || err != nil {
		t.Errorf("deliveries: %v (-want +got):\n%s", err, d)
	}
}

// Who has not heard the answer asks again, and is not in his own way; everybody
// else is held off.
func TestBeginSendAgain(t *testing.T) {
	t.Parallel()
	s := shared(t)
	in, _ := mustCommit(t, s, begin(opened(freshService(t), base), "disk"))
	mine := sendTo(t, in.ID, in.Generation, "iphone")
	mine.Nonce = NewNonce()
	other := mine
	other.Nonce = NewNonce()
	for i, c := range []struct {
		send Send
		want Begun
	}{{mine, BegunGo}, {mine, BegunGo}, {other, BegunInFlight}} {
		got, errs := s.BeginSend(t.Context(), base.Add(time.Duration(i)*time.Second), []Send{c.send})
		if errs != nil || got[0] != c.want {
			t.Errorf("call %d: got %v, %v, want %v", i, got, errs, c.want)
		}
	}
	later, late := mine, mine // the first call is carried out after the second
	later.Delivery.Attempted, late.Delivery.Attempted = base.Add(5*time.Second), base
	for _, send := range []Send{later, late} {
		if got, errs := s.BeginSend(t.Context(), base.Add(6*time.Second), []Send{send}); errs != nil || got[0] != BegunGo {
			t.Errorf("again: got %v, %v, want go", got, errs)
		}
	}
	if got, errs := s.BeginSend(t.Context(), base.Add(12*time.Second), []Send{other}); errs != nil || got[0] != BegunInFlight {
		t.Errorf("somebody else 7 s after the last attempt: got %v, %v, want in flight", got, errs)
	}
}

func TestBeginSendSpreadsOverPartitions(t *testing.T) {
	t.Parallel()
	s := shared(t)
	var sends []Send
	for range 5 {
		in, _ := mustCommit(t, s, begin(opened(freshService(t), base), "disk"))
		for i := range 40 {
			sends = append(sends, sendTo(t, in.ID, in.Generation, roster.DeviceID(rune('a'+i))))
		}
		sends = append(sends, sendTo(t, in.ID, in.Generation+1, "late"))
	}
	got, err := s.BeginSend(t.Context(), base, sends)
	if err != nil {
		t.Fatal(err)
	}
	for i, send := range sends {
		want := BegunGo
		if send.Delivery.Device == "late" {
			want = BegunStale
		}
		if got[i] != want {
			t.Fatalf("send %d to %s: got %v, want %v", i, send.Delivery.Device, got[i], want)
		}
	}
}

func TestDeliveriesOfPersons(t *testing.T) {
	t.Parallel()
	s := shared(t)
	ctx := t.Context()
	ann := roster.UserID(freshService(t))
	d := PersonDoc(ann)
	id, err := DeliveryID(d, "card-1", "iphone")
	if err != nil {
		t.Fatal(err)
	}
	dv := incident.Delivery{ID: id, User: ann, Device: "iphone", State: incident.DeliveryAttempted, Attempted: base, Attempts: 1}
	if got, err := s.BeginSend(ctx, base, []Send{{Doc: d, Delivery: dv}}); err != nil || got[0] != BegunGo {
		t.Fatalf("begin: got %v, %v, want go", got, err)
	}
	r, err := s.Receipt(ctx, Receipt{Delivery: id, Device: "iphone", State: incident.DeliveryDisplayed, At: base, Silent: true})
	if err != nil || r.Verdict != ReceiptApplied || r.Doc != d || !r.Delivery.Silent || !r.Delivery.Displayed.Equal(base) {
		t.Errorf("receipt: got %+v, %v, want applied to %s", r, err, d)
	}
	if ttl := s.rdb.TTL(ctx, deliveriesKey(PartitionOf(string(ann)), d)).Val(); ttl <= 0 || ttl > deliveryKept {
		t.Errorf("the records of a person's cards are kept for %v, want up to %v", ttl, deliveryKept)
	}
}

func TestReceipts(t *testing.T) {
	t.Parallel()
	s := shared(t)
	ctx := t.Context()
	in, _ := mustCommit(t, s, begin(opened(freshService(t), base), "disk"))
	send := sendTo(t, in.ID, in.Generation, "iphone")
	if _, err := s.BeginSend(ctx, base, []Send{send}); err != nil {
		t.Fatal(err)
	}
	none, err := DeliveryID(send.Doc, "w-2", "iphone")
	if err != nil {
		t.Fatal(err)
	}
	id := send.Delivery.ID
	for _, c := range []struct {
		name string
		r    Receipt
		want ReceiptVerdict
	}{
		{"first", Receipt{Delivery: id, Device: "iphone", State: incident.DeliveryReceived, At: base}, ReceiptApplied},
		{"again", Receipt{Delivery: id, Device: "iphone", State: incident.DeliveryReceived, At: base.Add(1)}, ReceiptKnown},
		{"further", Receipt{Delivery: id, State: incident.DeliveryOpened, At: base}, ReceiptApplied},
		{"skipped state afterwards", Receipt{Delivery: id, State: incident.DeliveryDisplayed, At: base}, ReceiptApplied},
		{"another device", Receipt{Delivery: id, Device: "pixel", State: incident.DeliveryOpened, At: base}, ReceiptDenied},
		{"no such delivery", Receipt{Delivery: none, State: incident.DeliveryOpened, At: base}, ReceiptUnknown},
		{"no id at all", Receipt{Delivery: "x", State: incident.DeliveryOpened, At: base}, ReceiptUnknown},
		{"after eight days", Receipt{Delivery: id, State: incident.DeliveryActed, At: base.Add(8 * 24 * time.Hour)}, ReceiptLate},
		{"not for devices to say", Receipt{Delivery: id, State: incident.DeliveryRejected, At: base}, ReceiptKnown},
	} {
		got, err := s.Receipt(ctx, c.r)
		if err != nil || got.Verdict != c.want {
			t.Errorf("%s: got %v, %v, want %v", c.name, got.Verdict, err, c.want)
		}
	}
	_, dv, ok, err := s.Delivery(ctx, id)
	if err != nil || !ok || dv.State != incident.DeliveryOpened {
		t.Errorf("record: got %+v, %v, %v, want opened", dv, ok, err)
	}
}

// An app that ran and shows nothing has reached nobody, in whatever order it says
// so; a page that is hidden for its own sake was received.
func TestSuppressedOutweighsReceived(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reason      string
		first, then incident.DeliveryState
		want        incident.DeliveryState
	}{
		{"permission", incident.DeliveryReceived, incident.DeliverySuppressed, incident.DeliverySuppressed},
		{"permission", incident.DeliverySuppressed, incident.DeliveryReceived, incident.DeliverySuppressed},
		{"", incident.DeliveryReceived, incident.DeliverySuppressed, incident.DeliverySuppressed},
		{"", incident.DeliverySuppressed, incident.DeliveryReceived, incident.DeliverySuppressed},
		{"stale", incident.DeliveryReceived, incident.DeliverySuppressed, incident.DeliveryReceived},
		{"stale", incident.DeliverySuppressed, incident.DeliveryReceived, incident.DeliveryReceived},
		{"expired", incident.DeliveryReceived, incident.DeliverySuppressed, incident.DeliveryReceived},
		{"permission", incident.DeliverySuppressed, incident.DeliveryDisplayed, incident.DeliveryDisplayed},
		{"permission", incident.DeliveryDisplayed, incident.DeliverySuppressed, incident.DeliveryDisplayed},
	} {
		dv := incident.Delivery{State: incident.DeliveryAccepted}
		for _, s := range []incident.DeliveryState{c.first, c.then, c.first, c.then} {
			r := Receipt{State: s, At: base}
			if s == incident.DeliverySuppressed {
				r.Reason = c.reason
			}
			dv = receipted(dv, r)
		}
		if dv.State != c.want {
			t.Errorf("%d and then %d (%q): state %d, want %d", c.first, c.then, c.reason, dv.State, c.want)
		}
	}
}

func TestReceiptsNeverGoBack(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.URL(t))
	in, _ := mustCommit(t, s, begin(opened(freshService(t), base), "disk"))
	states := []incident.DeliveryState{
		incident.DeliverySuppressed, incident.DeliveryReceived, incident.DeliveryDisplayed, incident.DeliveryOpened, incident.DeliveryActed,
	}
	n := 0
	// That nothing is shown outweighs that the app ran.
	rank := func(s incident.DeliveryState) int {
		return slices.Index([]incident.DeliveryState{
			0, incident.DeliveryReceived, incident.DeliverySuppressed, incident.DeliveryDisplayed, incident.DeliveryOpened, incident.DeliveryActed,
		}, s)
	}
	rapid.Check(t, func(r *rapid.T) {
		n++
		send := sendTo(t, in.ID, in.Generation, roster.DeviceID("d"+time.Duration(n).String()))
		if _, err := s.BeginSend(t.Context(), base, []Send{send}); err != nil {
			r.Fatal(err)
		}
		var last incident.Delivery
		for i, st := range rapid.SliceOfN(rapid.SampledFrom(states), 1, 8).Draw(r, "states") {
			now := base.Add(time.Duration(i) * time.Second)
			got, err := s.Receipt(t.Context(), Receipt{Delivery: send.Delivery.ID, State: st, At: now})
			if err != nil {
				r.Fatal(err)
			}
			if rank(got.Delivery.State) < rank(last.State) || rank(got.Delivery.State) < rank(st) {
				r.Fatalf("state after %d: got %d, before it was %d", st, got.Delivery.State, last.State)
			}
			if !last.Received.IsZero() && !got.Delivery.Received.Equal(last.Received) {
				r.Fatalf("received: got %v, first was %v", got.Delivery.Received, last.Received)
			}
			last = got.Delivery
		}
	})
}

func TestNewsOfADeliveryMergeInAnyOrder(t *testing.T) {
	t.Parallel()
	news := []incident.Delivery{
		{State: incident.DeliveryAttempted, Attempts: 1, Attempted: base, Queued: base},
		{State: incident.DeliveryAccepted, Accepted: base.Add(1), Provider: "p"},
		{State: incident.DeliveryReceived, Received: base.Add(2)},
		{State: incident.DeliveryDisplayed, Displayed: base.Add(3), Silent: true},
		{State: incident.DeliveryAttempted, Attempts: 2, Attempted: base.Add(4)},
	}
	merge := func(order []int) incident.Delivery {
		var d incident.Delivery
		for _, i := range order {
			d = MergeDelivery(d, news[i])
		}
		return d
	}
	want := merge([]int{0, 1, 2, 3, 4})
	rapid.Check(t, func(r *rapid.T) {
		order := rapid.Permutation([]int{0, 1, 2, 3, 4}).Draw(r, "order")
		if d := diff(want, merge(order)); d != "" {
			r.Fatalf("merged in order %v (-want +got):\n%s", order, d)
		}
	})
}
