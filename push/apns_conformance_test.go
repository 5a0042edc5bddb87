package push_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/apns"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

// TestCase01_PageToAValidToken: a page to a valid token is one POST with every header set as a page needs it,
// and its result is accepted.
func TestCase01_PageToAValidToken(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, phone := r.iphone()
	m := r.page()
	res := r.send(m, d)
	r.want(res, push.EndAccepted)
	if res.Outcome.ProviderID != m.DeliveryID {
		t.Errorf("provider id %q, want the delivery id %q", res.Outcome.ProviderID, m.DeliveryID)
	}
	got := r.apple.Requests()
	if len(got) != 1 {
		t.Fatalf("%d requests, want 1", len(got))
	}
	want := map[string]string{
		"apns-topic": bundle, "apns-push-type": "alert", "apns-priority": "10", "apns-id": m.DeliveryID, "apns-collapse-id": m.CollapseID,
		"apns-expiration": strconv.FormatInt(m.Deadline.Add(30*time.Second).Unix(), 10),
	}
	for k, v := range want {
		if got[0].Header[k] != v {
			t.Errorf("header %s = %q, want %q", k, got[0].Header[k], v)
		}
	}
	if got[0].Path != "/3/device/"+string(d.Token) || got[0].Method != http.MethodPost {
		t.Errorf("%s %s, want POST /3/device/<token>", got[0].Method, got[0].Path)
	}
	n, err := phone.Wait(t.Context(), func(n pushtest.Notification) bool { return n.DeliveryID == m.DeliveryID })
	if err != nil {
		t.Fatal(err)
	}
	if n.Title != "CRITICAL checkout" || n.Body != "1 open: pg-1 does not answer" || n.Sound != "page.caf" || n.Level != "time-sensitive" || n.Critical {
		t.Errorf("the phone shows %+v", n)
	}
	if n.ReceiptPath != m.ReceiptPath || n.Number != 42 || n.Kind != "page" || n.Expires.Unix() != m.Deadline.Unix() {
		t.Errorf("the app reads %+v", n)
	}
}

// TestCase10_UnregisteredLater: the token died after the app registered it: the address is to be dropped.
func TestCase10_UnregisteredLater(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.iphone()
	d.RegisteredAt = time.Now().Add(-time.Hour)
	r.apple.Unregister(string(d.Token), time.Now().Add(-time.Minute))
	res := r.send(r.page(), d)
	r.want(res, push.EndRejected)
	if res.Address != push.AddressDrop || res.Outcome.Reason != "Unregistered" || res.Outcome.Status != http.StatusGone {
		t.Errorf("address %v, outcome %+v; want the address dropped", res.Address, res.Outcome)
	}
}

// TestCase11_UnregisteredEarlier: the token died before the app registered it again: the address is kept.
func TestCase11_UnregisteredEarlier(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.iphone()
	d.RegisteredAt = time.Now().Add(-time.Minute)
	r.apple.Unregister(string(d.Token), time.Now().Add(-time.Hour))
	res := r.send(r.page(), d)
	r.want(res, push.EndRejected)
	if res.Address != push.AddressKeep {
		t.Errorf("address %v, want keep: the app has registered since", res.Address)
	}
}

// TestCase12_EnvironmentCorrected: a token that was never confirmed is refused by one of Apple's environments
// and accepted by the other: the page arrives with one extra request, and the result says where.
func TestCase12_EnvironmentCorrected(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	sandbox, err := pushtest.NewAPNs(pushtest.APNsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sandbox.Close)
	p, err := apns.New(apns.Config{
		App: "ios", BundleID: bundle, Environment: push.Sandbox, TeamID: team, KeyID: keyID, Key: sandbox.NewKey(team, keyID),
		TestEndpoint: &apns.TestEndpoint{URL: sandbox.URL(), CA: sandbox.CA()},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.sender.SetApps([]push.App{
		{ID: "ios", Provider: "apns", Via: r.apns}, {ID: "ios", Provider: "apns", Environment: push.Sandbox, Via: p}, {ID: "android", Provider: "fcm", Via: r.fcm},
	}); err != nil {
		t.Fatal(err)
	}
	d := iosDevice(sandbox.Register(nil, bundle))
	d.EnvironmentConfirmed = false
	res := r.send(r.page(), d)
	r.want(res, push.EndAccepted)
	if res.Address != push.AddressCorrect || res.Environment != push.Sandbox {
		t.Errorf("address %v in %v, want it corrected to sandbox", res.Address, res.Environment)
	}
	if n := r.apple.Count() + sandbox.Count(); n != 2 {
		t.Errorf("%d requests, want one extra", n)
	}
}

// TestCase13_DroppingStops: 25 of 50 tokens of an app look dead within a minute: 20 are dropped, then
// dropping stops and an alert is raised.
func TestCase13_DroppingStops(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var dropped, parked int
	for i := range 50 {
		d, _ := r.iphone()
		if i%2 == 0 {
			d.Token = push.Token(strings.Repeat("ab", 32))
		}
		switch res := r.send(r.page(), d); res.Address {
		case push.AddressDrop:
			dropped++
		case push.AddressPark:
			parked++
		case push.AddressKeep, push.AddressCorrect:
		}
	}
	if dropped != 20 || parked != 5 {
		t.Errorf("dropped %d and parked %d, want 20 and 5", dropped, parked)
	}
	if !slices.ContainsFunc(r.alerted(), func(s string) bool { return strings.Contains(s, "none are dropped") }) {
		t.Errorf("alerts %q, want one about dropping", r.alerted())
	}
}

// TestCase14_TokenNotForTopic: a token of another app's is parked, not dropped, with an alert and an end at
// once.
func TestCase14_TokenNotForTopic(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := iosDevice(r.apple.Register(nil, "com.example.foreign"))
	res := r.send(r.page(), d)
	r.want(res, push.EndRejected)
	if res.Address != push.AddressPark || len(r.alerted()) == 0 {
		t.Errorf("address %v, alerts %q; want it parked and an alert", res.Address, r.alerted())
	}
}

// TestCase25_OneDeviceThrottled: 429 for one device holds back that device only; of the pages of one incident
// that wait for it the newest goes.
func TestCase25_OneDeviceThrottled(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	slow, _ := r.iphone()
	well, _ := r.iphone()
	r.apple.Script(string(slow.Token), pushtest.Reject(http.StatusTooManyRequests, "TooManyRequests"))
	results := make(chan push.Result, 3)
	first := r.page()
	submit := func(m push.Message) {
		r.sender.Submit(push.Delivery{Message: m, Device: slow}, func(res push.Result) { results <- res })
	}
	began := time.Now()
	throttled := make(chan struct{})
	r.sender.Submit(push.Delivery{
		Message: first, Device: slow, Progress: func(push.Progress) { close(throttled) },
	}, func(res push.Result) { results <- res })
	<-throttled
	newer := first
	newer.DeliveryID, newer.Revision = uuid(), 2
	newest := newer
	newest.DeliveryID, newest.Revision = uuid(), 3
	submit(newer)
	submit(newest)
	r.want(r.send(r.page(), well), push.EndAccepted)
	if took := time.Since(began); took > 500*time.Millisecond {
		t.Errorf("another device waited %v", took)
	}
	r.want(<-results, push.EndSuperseded)
	r.want(<-results, push.EndSuperseded)
	r.want(<-results, push.EndAccepted)
	if took := time.Since(began); took < time.Second {
		t.Errorf("the throttled device was tried again after %v, want at least 1 s", took)
	}
}

// TestCase28_CriticalOnlyWhereAllowed: a sound is critical only where Apple has granted the app the entitlement and
// the owner has allowed it; elsewhere it is an ordinary sound at the time-sensitive level.
func TestCase28_CriticalOnlyWhereAllowed(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		entitled, allowed, critical bool
	}{
		"neither": {}, "not entitled": {allowed: true}, "refused by its owner": {entitled: true}, "both": {true, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(o *rigOptions) { o.config.CriticalEntitled = tc.entitled })
			d, phone := r.iphone()
			d.Capabilities.Critical = tc.allowed
			m := r.page()
			m.Sound, m.Volume = push.SoundCritical, 0.5
			r.want(r.send(m, d), push.EndAccepted)
			n, err := phone.Wait(t.Context(), func(pushtest.Notification) bool { return true })
			if err != nil {
				t.Fatal(err)
			}
			var p struct {
				APS struct{ Sound json.RawMessage }
			}
			if err := json.Unmarshal(n.Raw, &p); err != nil {
				t.Fatal(err)
			}
			sound, level := `"page.caf"`, "time-sensitive"
			if tc.critical {
				sound, level = `{"critical":1,"name":"page.caf","volume":0.5}`, "critical"
			}
			if string(p.APS.Sound) != sound || n.Level != level {
				t.Errorf("sound %s, level %s; want %s, %s", p.APS.Sound, n.Level, sound, level)
			}
		})
	}
}

// TestCase30_EndlessRefusals: every request is refused on every connection: the
// breaker opens, pages end so that another way can start, the requests are
// bounded, and the machine idles afterwards although pages still wait.
func TestCase30_EndlessRefusals(t *testing.T) { // not parallel: it measures what the process uses
	r := newRig(t)
	d, _ := r.iphone()
	r.apple.Always("", pushtest.Break(pushtest.RefuseStream))
	const pages = 50 // of each sort
	results := make(chan push.Result, pages)
	down := make(chan struct{}, pages)
	for i := range 2 * pages {
		e := d
		e.ID = uuid()
		if i%2 == 0 {
			r.sender.Submit(push.Delivery{Message: r.page(), Device: e}, func(res push.Result) { results <- res })
			continue
		}
		r.sender.Submit(push.Delivery{Message: r.page(), Device: e, Persist: true, Progress: func(p push.Progress) {
			if p.Down {
				down <- struct{}{}
			}
		}}, func(push.Result) {})
	}
	for range pages {
		r.want(<-results, push.EndProviderDown)
		<-down
	}
	if n := r.apple.Count(); n > 6*2*pages {
		t.Errorf("%d requests for %d pages, want them bounded", n, 2*pages)
	}
	before, requests, window := processorTime(t), r.apple.Count(), 2*time.Second
	<-time.After(window)
	if used := processorTime(t) - before; used > window/4 {
		t.Errorf("used %v of processor time in %v with the breaker open, want it idle", used, window)
	}
	if n := r.apple.Count() - requests; n > 10 {
		t.Errorf("%d requests in %v with the breaker open, want a probe now and then", n, window)
	}
}
