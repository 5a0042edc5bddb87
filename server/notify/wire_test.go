package notify

import (
	"context"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/apns"
	"github.com/tocsin-oncall/tocsin/push/fcm"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// wire is a rig whose pages go over HTTP/2 to simulators of both services, with
// a phone behind each.
type wire struct {
	*rig
	apple   *pushtest.APNs
	google  *pushtest.FCM
	iphone  *pushtest.Phone
	pixel   *pushtest.Phone
	appleID string
}

func newWire(t *testing.T) *wire {
	t.Helper()
	const bundle, pkg, team, key = "org.example.tocsin", "org.example.tocsin.android", "TEAM000001", "KEY0000001"
	w := &wire{}
	var err error
	if w.apple, err = pushtest.NewAPNs(pushtest.APNsOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.apple.Close)
	if w.google, err = pushtest.NewFCM(pushtest.FCMOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.google.Close)
	apple, err := apns.New(apns.Config{
		App: "ios", BundleID: bundle, TeamID: team, KeyID: key, Key: w.apple.NewKey(team, key), CriticalEntitled: true,
		TestEndpoint: &apns.TestEndpoint{URL: w.apple.URL(), CA: w.apple.CA()},
	})
	if err != nil {
		t.Fatal(err)
	}
	google, err := fcm.New(fcm.Config{
		App: "android", ProjectID: w.google.Project(), ServiceAccount: w.google.ServiceAccountJSON(),
		TestEndpoint: &fcm.TestEndpoint{URL: w.google.URL(), CA: w.google.CA()},
	})
	if err != nil {
		t.Fatal(err)
	}
	sender := push.NewSender(push.Options{})
	if err := sender.SetApps([]push.App{
		{ID: "ios", Provider: "apns", Environment: push.Production, Via: apple}, {ID: "android", Provider: "fcm", Via: google},
	}); err != nil {
		t.Fatal(err)
	}
	w.rig = rigWith(t, sender)
	t.Cleanup(func() { // before the rig's own, which waits for the sender's deliveries
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := sender.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	w.iphone, w.pixel = pushtest.NewPhone(pushtest.PhoneOptions{Name: "iphone"}), pushtest.NewPhone(pushtest.PhoneOptions{Name: "pixel"})
	t.Cleanup(w.iphone.Close)
	t.Cleanup(w.pixel.Close)
	w.appleID = w.apple.Register(w.iphone, bundle)
	w.dir.only("iphone", "pixel")
	for i := range w.dir.phones["ann"] {
		if p := &w.dir.phones["ann"][i].Push; p.Platform == push.IOS {
			p.App, p.Token, p.EnvironmentConfirmed = "ios", push.Token(w.appleID), true
		} else {
			p.App, p.Token = "android", push.Token(w.google.Register(w.pixel, pkg))
		}
	}
	return w
}

// got waits for a push of the kind on the phone.
func (w *wire) got(p *pushtest.Phone, kind string) pushtest.Notification {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
	defer cancel()
	n, err := p.Wait(ctx, func(n pushtest.Notification) bool { return n.Kind == kind })
	if err != nil {
		w.t.Fatalf("%s on the %s: %v", kind, p.Name(), err)
	}
	return n
}

// The way of a page: both phones ring, one says so with the key out of the
// page, somebody acknowledges, both go quiet within two seconds.
func TestWayOfAPage(t *testing.T) {
	w := newWire(t)
	in, work := w.trigger("Disk full", page("ann", roster.PushAll))
	w.must(work...)
	for _, p := range []*pushtest.Phone{w.iphone, w.pixel} {
		n := w.got(p, "page")
		if !n.Audible() || n.Title != "Critical: Checkout API" || n.IncidentID != string(in.ID) || n.Body != "1 open: #42 · alertmanager · db-1" {
			t.Errorf("%s shows %q, %q, audible %v; want the page", p.Name(), n.Title, n.Body, n.Audible())
		}
		status, err := w.n.Report(t.Context(), auth.Principal{}, n.ReceiptKey, []Receipt{{Delivery: n.DeliveryID, State: incident.DeliveryReceived}})
		if err != nil || status[0] != ReceiptRecorded {
			t.Errorf("receipt of the %s = %v, %v; want it recorded", p.Name(), status, err)
		}
	}
	if !incident.Receipts(w.deliveries(in), ever)["ann"].Received {
		t.Error("ann does not count as reached, want it: both phones answered")
	}
	begin := time.Now()
	w.must(w.acknowledge(in, "bob")...)
	for _, p := range []*pushtest.Phone{w.iphone, w.pixel} {
		if n := w.got(p, "clear"); n.Audible() || n.Title != "#42 acknowledged by Bob" || !n.Replaced {
			t.Errorf("%s shows %q, audible %v, replaced %v; want the page replaced in silence", p.Name(), n.Title, n.Audible(), n.Replaced)
		}
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("the phones went quiet after %v, want at most 2 s", took)
	}
}

// Domain test 12: the last token is dead, the next method is asked for at once.
func TestDeadTokenFailsOver(t *testing.T) {
	w := newWire(t)
	w.dir.only("iphone")
	w.apple.Unregister(w.appleID, time.Now())
	in, work := w.trigger("Disk full", page("ann", roster.PushAll))
	begin := time.Now()
	w.must(work...)
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("the failure took %v, want at most 2 s", took)
	}
	if got := w.failures(); len(got) != 1 || got[0].Reason != "Unregistered" {
		t.Errorf("failures = %+v, want one: Unregistered", got)
	}
	if got := w.dir.fates; len(got) != 1 || got[0].Address != push.AddressDrop || got[0].Token != push.Token(w.appleID) {
		t.Errorf("fates = %+v, want the address dropped", got)
	}
	if dv := w.deliveries(in)[0]; dv.State != incident.DeliveryRejected || dv.Reason != "Unregistered" {
		t.Errorf("record = %+v, want it rejected", dv)
	}
}

// A service that is ill for a moment is asked again; the page is accepted once.
func TestServiceIllForAMoment(t *testing.T) {
	w := newWire(t)
	w.dir.only("pixel")
	w.google.ScriptAny(pushtest.Reject(503, "UNAVAILABLE"))
	in, work := w.trigger("Disk full", page("ann", roster.PushAll))
	w.must(work...)
	w.got(w.pixel, "page")
	if dv := w.deliveries(in)[0]; dv.State != incident.DeliveryAccepted || dv.Attempts != 2 {
		t.Errorf("record = %+v, want it accepted at the second attempt", dv)
	}
}

func TestTestPushOnTheWire(t *testing.T) {
	w := newWire(t)
	test, err := w.n.SendTest(t.Context(), "iphone", true, "")
	if err != nil {
		t.Fatal(err)
	}
	n := w.got(w.iphone, "test")
	if n.Title != "TEST: This is how a page sounds" || !n.Audible() {
		t.Errorf("the phone shows %q, audible %v; want a test that sounds as a page", n.Title, n.Audible())
	}
	w.receipt(t, n.DeliveryID, incident.DeliveryReceived)
	if _, err := w.n.ConfirmTest(t.Context(), caller("iphone"), test.ID, true); err != nil {
		t.Fatal(err)
	}
	var last Test
	if err := w.n.WatchTest(t.Context(), test.ID, func(t Test) error { last = t; return nil }); err != nil || last.Verdict != TestPassed {
		t.Errorf("watched to %+v, %v; want it passed", last, err)
	}
}
