package notify

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// What phones confirm is read from the records twenty seconds after their push
// service took the page, wherever the receipt went; a phone that says that it
// shows nothing has got it.
func TestConfirmationsAreReadFromTheRecords(t *testing.T) {
	r := newRig(t)
	r.dir.mu.Lock()
	r.dir.phones["ann"] = nil
	for i := range 12 {
		id := fmt.Sprint("iphone", i)
		r.dir.phones["ann"] = append(r.dir.phones["ann"], Phone{
			Device: roster.Device{ID: roster.DeviceID(id), User: "ann", Platform: roster.IOS, State: roster.DeviceActive},
			Push:   push.Device{ID: id, Platform: push.IOS, App: "app", Token: push.Token("token-of-" + id)}, Epoch: 1, Credential: true,
		})
	}
	r.dir.mu.Unlock()
	send := func(answer func(i int, d push.Delivery)) {
		t.Helper()
		_, work := r.trigger("Disk full", page("ann", roster.PushAll))
		before := len(r.push.sent(push.KindPage))
		r.must(work...)
		for i, d := range r.push.sent(push.KindPage)[before:] {
			answer(i, d)
		}
		r.pass("ann", confirmWait+10*time.Second) // further pages make a sound of their own
		r.n.judge(t.Context(), roster.IOS)
	}
	none := func(int, push.Delivery) {}
	send(none)
	if got := r.n.Confirmed(roster.IOS); got.Degraded || got.Pages != 12 || got.Missing != 12 {
		t.Errorf("after 12 pages without a receipt: %+v, want too little to say anything", got)
	}
	send(none)
	if got := r.n.Confirmed(roster.IOS); !got.Degraded || got.Missing != 24 || !r.n.Silent(roster.IOS) || r.n.Silent(roster.Android) {
		t.Errorf("after 24: %+v, want iPhones silent, and nothing of Androids", got)
	}
	if got := testutil.ToFloat64(r.n.metrics.degraded.WithLabelValues("apns")); got != 1 {
		t.Errorf("push_delivery_degraded = %v, want 1", got)
	}
	r.advance(6 * time.Minute)
	send(func(i int, d push.Delivery) {
		state := incident.DeliveryReceived
		if i%2 == 0 {
			state = incident.DeliverySuppressed
		}
		r.report(caller(roster.DeviceID(d.Device.ID)), "", d.Message.DeliveryID, state, false)
	})
	if got := r.n.Confirmed(roster.IOS); got.Degraded || got.Missing != 0 || got.Pages != 12 {
		t.Errorf("after twelve that were confirmed: %+v, want it well", got)
	}
	if got := testutil.ToFloat64(r.n.metrics.ratio.WithLabelValues("apns")); got != 1 {
		t.Errorf("push_receipt_ratio = %v, want 1", got)
	}
}

// One page that did not reach a phone is counted once, by why.
func TestFallbacksAreCountedOnce(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(push.Delivery) push.Result
		only   []roster.DeviceID
		want   fallbackCause
	}{
		"no device": {nil, nil, causeNoDevice},
		"rejected": {func(push.Delivery) push.Result {
			return push.Result{End: push.EndRejected, Outcome: push.Outcome{Reason: "Unregistered"}}
		}, []roster.DeviceID{"iphone", "pixel"}, causeRejected},
		"the service is out": {func(d push.Delivery) push.Result {
			d.Progress(push.Progress{Down: true})
			return push.Result{End: push.EndProviderDown}
		}, []roster.DeviceID{"iphone", "pixel"}, causeBreaker},
		"one refused, one out": {func(d push.Delivery) push.Result {
			if d.Device.ID == "iphone" {
				return push.Result{End: push.EndRejected}
			}
			return push.Result{End: push.EndProviderDown}
		}, []roster.DeviceID{"iphone", "pixel"}, causeBreaker},
		"too late": {func(push.Delivery) push.Result { return push.Result{End: push.EndExpired} }, []roster.DeviceID{"iphone"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.dir.only(c.only...)
			r.push.answer = c.answer
			_, work := r.trigger("Disk full", page("ann", roster.PushAll))
			r.must(work...)
			for _, cause := range []fallbackCause{causeRejected, causeNoReceipt, causeNoDevice, causeBreaker} {
				want := 0.0
				if cause == c.want {
					want = 1
				}
				if got := testutil.ToFloat64(r.n.metrics.fallbacks.WithLabelValues(string(cause))); got != want {
					t.Errorf("push_fallback_total{cause=%q} = %v, want %v", cause, got, want)
				}
			}
		})
	}
}
