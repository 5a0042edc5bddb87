package notify

import (
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

func caller(device roster.DeviceID) auth.Principal {
	return auth.Principal{Kind: auth.KindDevice, User: "ann", Device: device}
}

func (r *rig) report(c auth.Principal, key, delivery string, s incident.DeliveryState, silent bool) ReceiptStatus {
	r.t.Helper()
	got, err := r.n.Report(r.t.Context(), c, key, []Receipt{{Delivery: delivery, State: s, Silent: silent, Reason: "channel blocked"}})
	if err != nil {
		r.t.Fatal(err)
	}
	return got[0]
}

// TestCase51_ReceiptsTwiceAndOutOfOrder: receipts come twice, displayed before
// received, and ten minutes apart; all are answered as recorded, each state
// keeps its first instant, no state goes back, and nobody is reached another way.
func TestCase51_ReceiptsTwiceAndOutOfOrder(t *testing.T) {
	r := newRig(t)
	in, work := r.trigger("Disk full", page("ann", roster.PushAll))
	r.must(work...)
	id := r.push.to(push.KindPage, "iphone")[0].DeliveryID
	first := r.now()
	for _, s := range []incident.DeliveryState{
		incident.DeliveryDisplayed, incident.DeliveryReceived, incident.DeliveryDisplayed, incident.DeliveryOpened,
	} {
		if got := r.report(caller("iphone"), "", id, s, false); got != ReceiptRecorded {
			t.Errorf("receipt %v = %v, want it recorded", s, got)
		}
		r.advance(10 * time.Minute)
	}
	if got := r.failures(); len(got) != 0 {
		t.Errorf("failures = %+v, want none", got)
	}
	i := slices.IndexFunc(r.deliveries(in), func(d incident.Delivery) bool { return d.ID == id })
	dv := r.deliveries(in)[i]
	if dv.State != incident.DeliveryOpened || !dv.Displayed.Equal(first) || dv.Silent {
		t.Errorf("record = %+v, want opened, displayed at %v the first time", dv, first)
	}
	if !incident.Receipts(r.deliveries(in), ever)["ann"].Received {
		t.Error("ann does not count as reached, want it")
	}
}

// TestCase52_ReceiptOfAnother: somebody reports a receipt of a delivery that is
// not his device's, or with a key that is not for it; it is denied and counted,
// and the record stays as it was.
func TestCase52_ReceiptOfAnother(t *testing.T) {
	r := newRig(t)
	_, work := r.trigger("Disk full", page("ann", roster.PushAll))
	r.must(work...)
	m := r.push.to(push.KindPage, "iphone")[0]
	other := r.push.to(push.KindPage, "pixel")[0]
	thief := auth.Principal{Kind: auth.KindDevice, User: "bob", Device: "bobs-phone"}
	if got := r.report(thief, "", m.DeliveryID, incident.DeliveryDisplayed, false); got != ReceiptDenied {
		t.Errorf("of another person's device: %v, want it denied", got)
	}
	if _, dv, _, err := r.store.Delivery(t.Context(), m.DeliveryID); err != nil || dv.State != incident.DeliveryAccepted {
		t.Errorf("after it the record is %+v (%v), want it accepted as before", dv, err)
	}
	if got := testutil.ToFloat64(r.n.metrics.refused.WithLabelValues("denied")); got != 1 {
		t.Errorf("push_receipts_refused_total{why=denied} = %v, want 1", got)
	}
	for name, c := range map[string]struct {
		caller auth.Principal
		key    string
		want   ReceiptStatus
	}{
		"another device":             {caller("pixel"), "", ReceiptDenied},
		"a person's token":           {auth.Principal{Kind: auth.KindUser, User: "ann"}, "", ReceiptDenied},
		"nobody":                     {auth.Principal{}, "", ReceiptDenied},
		"nobody with its key":        {auth.Principal{}, m.ReceiptKey, ReceiptRecorded},
		"the key of another page":    {auth.Principal{}, other.ReceiptKey, ReceiptDenied},
		"its device and a wrong key": {caller("iphone"), "r1.1.1.x", ReceiptDenied},
		"its device":                 {caller("iphone"), "", ReceiptRecorded},
	} {
		if got := r.report(c.caller, c.key, m.DeliveryID, incident.DeliveryReceived, false); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	r.dir.phones["ann"][0].State = roster.DeviceRevoked
	if got := r.report(auth.Principal{}, m.ReceiptKey, m.DeliveryID, incident.DeliveryReceived, false); got != ReceiptDenied {
		t.Errorf("key of a revoked phone: %v, want it denied", got)
	}
}

func TestOddReceipts(t *testing.T) {
	r := newRig(t)
	_, work := r.trigger("Disk full", page("ann", roster.PushAll))
	r.must(work...)
	id := r.push.to(push.KindPage, "iphone")[0].DeliveryID
	if got := r.report(caller("iphone"), "", id, incident.DeliveryActed, false); got != ReceiptInvalid {
		t.Errorf("acted by a phone = %v, want it invalid", got)
	}
	if got := r.report(caller("iphone"), "", "0a8b8ad8-0f2d-8a67-8b1a-2c1f5e0d9f11", incident.DeliveryReceived, false); got != ReceiptUnknown {
		t.Errorf("unknown delivery = %v, want it unknown", got)
	}
	if got := r.report(caller("iphone"), "", "no id", incident.DeliveryReceived, false); got != ReceiptUnknown {
		t.Errorf("no delivery id = %v, want it unknown", got)
	}
	r.advance(7*24*time.Hour + time.Minute)
	if got := r.report(caller("iphone"), "", id, incident.DeliveryReceived, false); got != ReceiptIgnored {
		t.Errorf("after a week = %v, want it ignored", got)
	}
	if _, err := r.n.Report(t.Context(), caller("iphone"), "", make([]Receipt, 101)); fault.KindOf(err) != fault.Invalid {
		t.Errorf("101 receipts = %v, want a fault of the field", err)
	}
}

func TestPageWithoutSoundIsNotHeard(t *testing.T) {
	r := newRig(t)
	r.dir.only("pixel")
	in, work := r.trigger("Disk full", page("ann", roster.PushAll))
	r.must(work...)
	r.report(caller("pixel"), "", r.push.to(push.KindPage, "pixel")[0].DeliveryID, incident.DeliveryDisplayed, true)
	if got := incident.Receipts(r.deliveries(in), ever)["ann"]; got.Received {
		t.Errorf("receipt = %+v, want not received: the phone was mute", got)
	}
}

func TestSilentCardMayBeMute(t *testing.T) {
	r := newRig(t)
	r.dir.only("pixel")
	_, first := r.trigger("One", page("ann", roster.PushAll))
	r.must(first...)
	in, second := r.trigger("Two", page("ann", roster.PushAll))
	r.must(second...)
	r.settle("ann")
	all := r.push.to(push.KindPage, "pixel")
	r.report(caller("pixel"), "", all[len(all)-1].DeliveryID, incident.DeliveryDisplayed, true)
	if got := incident.Receipts(r.deliveries(in), ever)["ann"]; !got.Received {
		t.Errorf("receipt = %+v, want received: the card was sent to be silent", got)
	}
}

// TestCase53_Suppressed: every device says that it does not show pages, as
// notifications are off, one of them after it has said that its app ran; that
// counts as refused, and the next way is asked for at once. (That the phone is red
// from then on is in TestAnAppThatRunsAndShowsNothingWakesNobody.)
func TestCase53_Suppressed(t *testing.T) {
	r := newRig(t)
	r.dir.only("iphone", "pixel")
	_, work := r.trigger("Disk full", page("ann", roster.PushAll))
	r.must(work...)
	r.report(caller("iphone"), "", r.push.to(push.KindPage, "iphone")[0].DeliveryID, incident.DeliverySuppressed, false)
	if got := r.failures(); len(got) != 0 {
		t.Errorf("failures = %+v, want none: the pixel may still show it", got)
	}
	r.report(caller("pixel"), "", r.push.to(push.KindPage, "pixel")[0].DeliveryID, incident.DeliveryReceived, false)
	r.report(caller("pixel"), "", r.push.to(push.KindPage, "pixel")[0].DeliveryID, incident.DeliverySuppressed, false)
	if got := r.failures(); len(got) != 1 || got[0].Method != roster.PushAll {
		t.Errorf("failures = %+v, want one for push", got)
	}
	if got := testutil.ToFloat64(r.n.metrics.fallbacks.WithLabelValues("rejected")); got != 1 {
		t.Errorf("push_fallback_total{cause=rejected} = %v, want 1", got)
	}
}

// What an Android app says with its notifications off: it ran, and shows nothing.
// That has woken nobody, whichever of the two comes first, and makes the phone red
// until it shows a page. A page that is stale or late proves nothing either way.
func TestAnAppThatRunsAndShowsNothingWakesNobody(t *testing.T) {
	const got, hidden = incident.DeliveryReceived, incident.DeliverySuppressed
	for _, c := range []struct {
		name, reason string
		states       []incident.DeliveryState
		fallbacks    int
		health       roster.Health
	}{
		{"permission", "permission", []incident.DeliveryState{got, hidden}, 1, roster.HealthRed},
		{"the other way round", "permission", []incident.DeliveryState{hidden, got}, 1, roster.HealthRed},
		{"do not disturb", "dnd", []incident.DeliveryState{got, hidden}, 1, roster.HealthRed},
		{"no reason", "", []incident.DeliveryState{hidden, got}, 1, roster.HealthRed},
		{"stale", "stale", []incident.DeliveryState{got, hidden}, 0, roster.HealthGreen},
		{"stale, and nothing else", "stale", []incident.DeliveryState{hidden}, 0, roster.HealthAmber},
		{"shown after all", "permission", []incident.DeliveryState{hidden, incident.DeliveryDisplayed}, 1, roster.HealthGreen},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.dir.only("pixel")
			in, work := r.trigger("Disk full", page("ann", roster.PushAll))
			r.must(work...)
			id := r.push.to(push.KindPage, "pixel")[0].DeliveryID
			for _, s := range c.states {
				r.advance(time.Second)
				if _, err := r.n.Report(t.Context(), caller("pixel"), "", []Receipt{{Delivery: id, State: s, Reason: c.reason}}); err != nil {
					t.Fatal(err)
				}
			}
			if got := len(r.failures()); got != c.fallbacks {
				t.Errorf("%d times another way was asked for, want %d", got, c.fallbacks)
			}
			if got := incident.Receipts(r.deliveries(in), ever)["ann"]; got.Received != (c.health == roster.HealthGreen) {
				t.Errorf("receipt = %+v, want it received only by a phone that may show it", got)
			}
			words, err := r.store.Devices(t.Context(), "pixel")
			if err != nil {
				t.Fatal(err)
			}
			w := words["pixel"]
			phone, _ := r.dir.Phone("pixel")
			if got, why := phone.Health(w, r.now()); got != c.health {
				t.Errorf("health %s (%q) of %+v, want %s", got, why, w, c.health)
			}
		})
	}
}

func TestActionTokenIsForThisDeliveryAlone(t *testing.T) {
	r := newRig(t)
	in, work := r.trigger("Disk full", page("ann", roster.PushAll))
	r.must(work...)
	m := r.push.to(push.KindPage, "browser")[0]
	token, err := auth.ParseAction(m.ActionToken)
	if err != nil {
		t.Fatal(err)
	}
	b := auth.Binding{Delivery: m.DeliveryID, Incident: in.ID, User: "ann", Device: "browser", Epoch: 1}
	signer := auth.NewSigner(r.ring)
	if err := signer.VerifyAction(token, b, auth.VerbAck, r.now()); err != nil {
		t.Errorf("the token does not acknowledge: %v", err)
	}
	b.Epoch = 2
	if err := signer.VerifyAction(token, b, auth.VerbAck, r.now()); err == nil {
		t.Error("the token of a revoked device acknowledges, want it refused")
	}
	if err := r.n.Acted(t.Context(), m.DeliveryID); err != nil {
		t.Fatal(err)
	}
	_, dv, _, err := r.store.Delivery(t.Context(), m.DeliveryID)
	if err != nil || dv.State != incident.DeliveryActed {
		t.Errorf("record = %+v (%v), want it acted", dv, err)
	}
}

func TestTestPush(t *testing.T) {
	r := newRig(t)
	test, err := r.n.SendTest(t.Context(), "iphone", true, "request-1")
	if err != nil {
		t.Fatal(err)
	}
	var m push.Message
	r.until("the test is sent", func() bool {
		all := r.push.to(push.KindTest, "iphone")
		if len(all) > 0 {
			m = all[0]
		}
		return len(all) > 0
	})
	if m.Sound != push.SoundCritical || m.ReceiptPath == "" || m.ActionToken != "" {
		t.Errorf("test = %+v, want it to sound and be receipted as a critical page", m)
	}
	if again, err := r.n.SendTest(t.Context(), "iphone", true, "request-1"); err != nil || again.ID != test.ID || len(r.push.to(push.KindTest, "iphone")) != 1 {
		t.Errorf("the same request again = %v, %v; want the same test", again.ID, err)
	}
	r.receipt(t, m.DeliveryID, incident.DeliveryReceived)
	got, err := r.n.GetTest(t.Context(), test.ID)
	if err != nil || got.Verdict != 0 || got.Delivery.State != incident.DeliveryReceived {
		t.Errorf("after the receipt: %+v, %v; want it received and not over", got, err)
	}
	if _, err := r.n.ConfirmTest(t.Context(), auth.Principal{Kind: auth.KindUser, User: "bob"}, test.ID, true); fault.KindOf(err) != fault.Denied {
		t.Errorf("bob's word = %v, want it denied", err)
	}
	if got, err = r.n.ConfirmTest(t.Context(), caller("iphone"), test.ID, true); err != nil || got.Verdict != TestPassed {
		t.Errorf("heard: %+v, %v; want it passed", got, err)
	}
	states := 0
	if err := r.n.WatchTest(t.Context(), test.ID, func(Test) error { states++; return nil }); err != nil || states != 1 {
		t.Errorf("watching a test that is over: %d states, %v; want the last one", states, err)
	}
}

func TestTestPushVerdicts(t *testing.T) {
	r := newRig(t)
	now := r.now()
	accepted := incident.Delivery{ID: "x", State: incident.DeliveryAccepted, Queued: now, Accepted: now}
	with := func(f func(*incident.Delivery)) incident.Delivery { d := accepted; f(&d); return d }
	received := with(func(d *incident.Delivery) { d.State, d.Received = incident.DeliveryReceived, now })
	for _, c := range []struct {
		name  string
		dv    incident.Delivery
		after time.Duration
		want  TestVerdict
	}{
		{"accepted a moment ago", accepted, time.Second, 0},
		{"silent for half a minute", accepted, 30 * time.Second, TestNoReceipt},
		{"received, nobody says anything", received, 2 * time.Minute, TestNotHeard},
		{"received a moment ago", received, time.Minute, 0},
		{"refused", with(func(d *incident.Delivery) { d.State = incident.DeliveryRejected }), 0, TestRejected},
		{"suppressed", with(func(d *incident.Delivery) { d.State, d.Reason = incident.DeliverySuppressed, "permission" }), 0, TestSuppressed},
		{"not heard", with(func(d *incident.Delivery) { d.State, d.Received, d.Reason = incident.DeliveryReceived, now, notHeard }), 0, TestNotHeard},
		{"heard", with(func(d *incident.Delivery) { d.State, d.Displayed = incident.DeliveryActed, now }), 0, TestPassed},
		{"heard, says somebody, and no phone said that it rang", with(func(d *incident.Delivery) { d.State = incident.DeliveryActed }), time.Minute, TestNoReceipt},
		{"never accepted", with(func(d *incident.Delivery) { d.State, d.Accepted = incident.DeliveryAttempted, time.Time{} }), 2 * time.Minute, TestRejected},
	} {
		r.advance(c.after)
		got := r.n.test(c.dv)
		if got.Verdict != c.want || (c.want > TestPassed) != (len(got.Advice) > 0) {
			t.Errorf("%s: verdict %d, advice %q; want %d", c.name, got.Verdict, got.Advice, c.want)
		}
		r.advance(-c.after)
	}
}

func TestTestPushToNobody(t *testing.T) {
	r := newRig(t)
	if _, err := r.n.SendTest(t.Context(), "nokia", false, ""); fault.KindOf(err) != fault.NotFound {
		t.Errorf("an unknown device = %v, want NotFound", err)
	}
	r.dir.phones["ann"][0].State = roster.DeviceParked
	if _, err := r.n.SendTest(t.Context(), "iphone", false, ""); fault.KindOf(err) != fault.Precondition {
		t.Errorf("a parked device = %v, want Precondition", err)
	}
	for _, id := range []string{"", "x", "0a8b8ad80f2d8a678b1a2c1f5e0d9f11", "0A8B8AD80F2D8A678B1A2C1F5E0D9F11"} {
		if _, err := r.n.GetTest(t.Context(), id); fault.KindOf(err) != fault.NotFound {
			t.Errorf("GetTest(%q) = %v, want NotFound", id, err)
		}
	}
}
