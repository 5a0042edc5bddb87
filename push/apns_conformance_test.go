package push_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/apns"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

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

func TestCase03_TokenRenewedUnderLoad(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.iphone()
	bearers := map[string]time.Time{}
	for range 8 { // two hours and forty minutes
		m := r.page()
		r.want(r.send(m, d), push.EndAccepted)
		r.clock.Forward(20 * time.Minute)
	}
	for _, q := range r.apple.Requests() {
		if _, seen := bearers[q.Header["authorization"]]; !seen {
			bearers[q.Header["authorization"]] = q.At
		}
		if q.Status != http.StatusOK {
			t.Errorf("answered %d %s, want 200", q.Status, q.Reason)
		}
	}
	if len(bearers) < 3 || len(bearers) > 5 {
		t.Errorf("%d provider tokens in 2 h 40 min, want one per 45 minutes", len(bearers))
	}
}

func TestCase04_ExpiredProviderTokenOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.iphone()
	r.clock.Forward(inSlot(r.clock.Now(), 30*time.Minute))
	r.apple.Script(string(d.Token), pushtest.Reject(http.StatusForbidden, "ExpiredProviderToken"))
	r.want(r.send(r.page(), d), push.EndAccepted)
	got := r.apple.Requests()
	if len(got) != 2 {
		t.Fatalf("%d requests, want one extra", len(got))
	}
	if got[0].Header["authorization"] == got[1].Header["authorization"] {
		t.Error("the second request carried the expired token again")
	}
	if got[0].Connection == got[1].Connection {
		t.Error("the second request went over the connection with the expired token")
	}
}

// inSlot is how far to move so that a provider token is of an age.
func inSlot(now time.Time, age time.Duration) time.Duration {
	const slot = 45 * time.Minute
	into := time.Duration(now.Add(-time.Minute).Unix()%int64(slot/time.Second)) * time.Second
	return (slot - into) + age - time.Minute
}

func TestCase05_ExpiredProviderTokenThatIsFresh(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.iphone()
	r.clock.Forward(inSlot(r.clock.Now(), 2*time.Minute))
	r.apple.Always("", pushtest.Reject(http.StatusForbidden, "ExpiredProviderToken"))
	began := time.Now()
	res := r.send(r.page(), d)
	r.want(res, push.EndProviderDown)
	if took := time.Since(began); took > time.Second {
		t.Errorf("took %v, want under 1 s", took)
	}
	if n := r.apple.Count(); n != 1 {
		t.Errorf("%d requests, want 1: no loop of new tokens", n)
	}
	if !strings.Contains(strings.Join(r.alerted(), "\n"), "clock") {
		t.Errorf("alerts %q, want one about the clock", r.alerted())
	}
}

func TestCase06_TooManyProviderTokenUpdates(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.iphone()
	r.apple.Script(string(d.Token), pushtest.Reject(http.StatusTooManyRequests, "TooManyProviderTokenUpdates"))
	r.want(r.send(r.page(), d), push.EndAccepted)
	got := r.apple.Requests()
	if len(got) != 2 || got[0].Connection == got[1].Connection {
		t.Fatalf("requests %v, want a second one over another connection", got)
	}
	if got[0].Header["authorization"] != got[1].Header["authorization"] {
		t.Error("a new token was signed, want the same")
	}
	if len(r.alerted()) == 0 {
		t.Error("no alert for the operator")
	}
}

func TestCase08_InvalidProviderToken(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.iphone()
	a, _ := r.android()
	r.apple.Always("", pushtest.Reject(http.StatusForbidden, "InvalidProviderToken"))
	began := time.Now()
	r.want(r.send(r.page(), d), push.EndProviderDown)
	for range 5 {
		r.want(r.send(r.page(), d), push.EndProviderDown)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("answers took %v, want under 1 s for another way to start", took)
	}
	if n := r.apple.Count(); n != 1 {
		t.Errorf("%d requests, want the breaker open after 1", n)
	}
	r.want(r.send(r.page(), a), push.EndAccepted)
	r.apple.Heal("")
	r.clock.Forward(time.Minute)
	// The sender's own clock is real time: a new app state is what a reload brings.
	if err := r.sender.SetApps([]push.App{{ID: "ios", Provider: "apns", Via: mustAPNs(t, r)}, {ID: "android", Provider: "fcm", Via: r.fcm}}); err != nil {
		t.Fatal(err)
	}
	r.want(r.send(r.page(), d), push.EndAccepted)
}

func mustAPNs(t *testing.T, r *rig) *apns.Provider {
	t.Helper()
	p, err := apns.New(apns.Config{
		App: "ios", BundleID: bundle, TeamID: team, KeyID: keyID, Key: r.apple.NewKey(team, keyID), Now: r.clock.Now,
		TestEndpoint: &apns.TestEndpoint{URL: r.apple.URL(), CA: r.apple.CA()},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

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

func TestCase15_LongTextIsShrunk(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, phone := r.iphone()
	m := r.page()
	m.Body = strings.Repeat(`"🔥 pg-1 <down>" `, 400)
	m.Details = map[string]string{"runbook": strings.Repeat("x", 3000)}
	res := r.send(m, d)
	r.want(res, push.EndAccepted)
	got := r.apple.Requests()
	if len(got) != 1 || len(got[0].Body) > push.MaxPayload || !json.Valid(got[0].Body) || !utf8.Valid(got[0].Body) {
		t.Fatalf("%d requests, first of %d bytes; want one valid payload within %d", len(got), len(got[0].Body), push.MaxPayload)
	}
	if res.Outcome.Shrunk == "" {
		t.Error("the result does not say that the payload was shrunk")
	}
	n, err := phone.Wait(t.Context(), func(n pushtest.Notification) bool { return n.DeliveryID == m.DeliveryID })
	if err != nil {
		t.Fatal(err)
	}
	if n.Title != m.Title || !strings.HasPrefix(n.Body, `1 open: "🔥 pg-1 <down>"`) {
		t.Errorf("shown %q / %q", n.Title, n.Body)
	}
}

func TestCase16_TooLargeAnyway(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.iphone()
	m := r.page()
	m.Details = map[string]string{"runbook": strings.Repeat("x", 1000)}
	r.apple.Script(string(d.Token), pushtest.Reject(http.StatusRequestEntityTooLarge, "PayloadTooLarge"))
	r.want(r.send(m, d), push.EndAccepted)
	got := r.apple.Requests()
	if len(got) != 2 || len(got[1].Body) >= len(got[0].Body) {
		t.Fatalf("%d requests, want a second and smaller one", len(got))
	}
}

func TestCase23_OddAnswers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.iphone()
	r.apple.Script(string(d.Token), pushtest.Page(http.StatusInternalServerError))
	res := r.send(r.page(), d)
	r.want(res, push.EndAccepted)
	if res.Tries[0].Status != 500 || res.Tries[0].Class != push.RetryLater {
		t.Errorf("first try %+v, want status 500 and another try", res.Tries[0])
	}
	for _, timestamp := range []any{"yesterday", 1.5, nil, []int{1}} {
		answer := pushtest.Reject(http.StatusGone, "Unregistered")
		answer.Timestamp = timestamp
		r.apple.Script(string(d.Token), answer)
		res = r.send(r.page(), d)
		r.want(res, push.EndRejected)
		if res.Address != push.AddressDrop || res.Outcome.Status != http.StatusGone {
			t.Errorf("timestamp %v: address %v, status %d; want it dropped for 410", timestamp, res.Address, res.Outcome.Status)
		}
	}
}

func TestCase24_UnknownReasons(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.iphone()
	r.apple.Script(string(d.Token), pushtest.Reject(http.StatusBadRequest, "NewIn2027"))
	res := r.send(r.page(), d)
	r.want(res, push.EndRejected)
	if res.Address != push.AddressKeep || res.Attempts != 1 || res.Outcome.Reason != "NewIn2027" {
		t.Errorf("400: %+v, want the address kept, one attempt, the reason verbatim", res)
	}
	r.apple.Script(string(d.Token), pushtest.Reject(http.StatusServiceUnavailable, "NewIn2027"))
	res = r.send(r.page(), d)
	r.want(res, push.EndAccepted)
	if res.Attempts != 2 || res.Tries[0].Reason != "NewIn2027" {
		t.Errorf("503: %+v, want two attempts, the reason verbatim", res)
	}
}

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

func TestCase26_ExpirationIsAlwaysThere(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.iphone()
	for _, k := range []push.Kind{push.KindClear, push.KindInfo, push.KindHeartbeat} {
		m := r.page()
		m.Kind = k
		r.want(r.send(m, d), push.EndAccepted)
	}
	for _, q := range r.apple.Requests() {
		if q.Header["apns-expiration"] != "0" {
			t.Errorf("expiration %q of a %s push, want 0", q.Header["apns-expiration"], q.Header["apns-push-type"])
		}
		if q.Header["apns-priority"] != "5" {
			t.Errorf("priority %q, want 5", q.Header["apns-priority"])
		}
	}
}

func TestCase27_MalformedTokenNeverOnTheWire(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, token := range []string{"", "ab/../cd?x", strings.Repeat("A", 64), strings.Repeat("a", 63), strings.Repeat("a", 201), strings.Repeat("a", 63) + "\n"} {
		res := r.send(r.page(), iosDevice(token))
		r.want(res, push.EndRejected)
		if res.Address != push.AddressPark {
			t.Errorf("token %q: address %v, want park", token, res.Address)
		}
	}
	if n := r.apple.Count(); n != 0 {
		t.Errorf("%d requests, want none", n)
	}
}

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

func TestCase30_EndlessRefusals(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.iphone()
	r.apple.Always("", pushtest.Break(pushtest.RefuseStream))
	results := make(chan push.Result, 50)
	for range 50 {
		e := d
		e.ID = uuid()
		r.sender.Submit(push.Delivery{Message: r.page(), Device: e}, func(res push.Result) { results <- res })
	}
	for range 50 {
		r.want(<-results, push.EndProviderDown)
	}
	if n := r.apple.Count(); n > 300 {
		t.Errorf("%d requests for 50 pages, want them bounded", n)
	}
}
