package push_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/fcm"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

// sent is the part of an FCM request that the tests look at.
type sent struct {
	Message struct {
		Token        string
		Notification json.RawMessage
		Data         map[string]string
		Android      struct {
			Priority, TTL string
			CollapseKey   string `json:"collapse_key"`
			DirectBoot    bool   `json:"direct_boot_ok"`
		}
	}
}

// badToken is Google's answer to a token that is none: nothing names the field.
func (r *rig) badToken() pushtest.Answer {
	return pushtest.Answer{Status: http.StatusBadRequest, Body: []byte(`{"error":{"code":400,` +
		`"message":"The registration token is not a valid FCM registration token","status":"INVALID_ARGUMENT",` +
		`"details":[{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"INVALID_ARGUMENT"}]}}`)}
}

// app is how the provider's app fares.
func (r *rig) app(provider string) push.AppState {
	r.t.Helper()
	for _, st := range r.sender.State() {
		if st.Provider == provider {
			return st
		}
	}
	r.t.Fatalf("no app of %s", provider)
	return push.AppState{}
}

func (r *rig) lastFCM() sent {
	r.t.Helper()
	all := r.google.Requests()
	if len(all) == 0 {
		r.t.Fatal("no request arrived at FCM")
	}
	var s sent
	if err := json.Unmarshal(all[len(all)-1].Body, &s); err != nil {
		r.t.Fatalf("the request is not what FCM reads: %v", err)
	}
	return s
}

// TestCase31_FCMPage: a page goes to Android as data only, with high priority,
// a time to live of what is left until its deadline, strings alone and at most
// 4,096 bytes of them, and without a collapse key unless it is sent again.
func TestCase31_FCMPage(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, phone := r.android()
	m := r.page()
	res := r.send(m, d)
	r.want(res, push.EndAccepted)
	if !strings.HasPrefix(res.Outcome.ProviderID, "projects/"+r.google.Project()+"/messages/") {
		t.Errorf("provider id %q, want FCM's name of the message", res.Outcome.ProviderID)
	}
	s := r.lastFCM().Message
	ttl, err := strconv.Atoi(strings.TrimSuffix(s.Android.TTL, "s"))
	if err != nil || ttl < 119 || ttl > 121 {
		t.Errorf("ttl %q, want 120s ± 1", s.Android.TTL)
	}
	if s.Notification != nil || s.Android.Priority != "high" || !s.Android.DirectBoot || s.Android.CollapseKey != "" {
		t.Errorf("android %+v, notification %s; want data only, high, direct boot, no collapse key", s.Android, s.Notification)
	}
	size := 0
	for k, v := range s.Data {
		size += len(k) + len(v)
	}
	if size > push.MaxPayload || size != res.Outcome.Bytes {
		t.Errorf("data has %d bytes, the outcome says %d", size, res.Outcome.Bytes)
	}
	n, err := phone.Wait(t.Context(), func(n pushtest.Notification) bool { return n.DeliveryID == m.DeliveryID })
	if err != nil {
		t.Fatal(err)
	}
	if n.Title != m.Title || n.Body != "1 open: "+m.Body || n.Category != "page_normal" || n.CollapseID != m.CollapseID || n.Kind != "page" || !n.Audible() {
		t.Errorf("the app reads %+v", n)
	}
	again := m
	again.DeliveryID, again.Again = uuid(), true
	r.want(r.send(again, d), push.EndAccepted)
	if key := r.lastFCM().Message.Android.CollapseKey; key != m.CollapseID {
		t.Errorf("collapse key of a page sent again is %q, want %q", key, m.CollapseID)
	}
}

// TestCase32_UnavailableIsRetriedByUsAlone: 503 without a Retry-After costs as
// many requests as our own schedule has attempts, not five for each as the
// Firebase SDK would make, and the page is accepted when FCM is back.
func TestCase32_UnavailableIsRetriedByUsAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.android()
	r.google.Script(string(d.Token), pushtest.Reject(503, "UNAVAILABLE"), pushtest.Reject(503, "UNAVAILABLE"))
	res := r.send(r.page(), d)
	r.want(res, push.EndAccepted)
	if n := r.google.Count(); n != 3 || res.Attempts != 3 {
		t.Errorf("%d requests for %d attempts, want 3 and 3", n, res.Attempts)
	}
}

// TestCase33_RetryAfter: a 503 that asks for two seconds gets the next try not
// before them; one that asks for longer than the deadline gets none, and the
// person is reached another way at once.
func TestCase33_RetryAfter(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.android()
	r.google.Script(string(d.Token), pushtest.WithRetryAfter("2", pushtest.Reject(503, "UNAVAILABLE")))
	began := time.Now()
	r.want(r.send(r.page(), d), push.EndAccepted)
	if took := time.Since(began); took < 2*time.Second || took > 4*time.Second {
		t.Errorf("the next try came after %v, want 2 s", took)
	}
	r.google.Forget()
	r.google.Script(string(d.Token), pushtest.WithRetryAfter("300", pushtest.Reject(503, "UNAVAILABLE")))
	began = time.Now()
	r.want(r.send(r.page(), d), push.EndProviderDown)
	if took := time.Since(began); took > time.Second || r.google.Count() != 1 {
		t.Errorf("%d requests in %v, want one and the end at once", r.google.Count(), took)
	}
}

// TestCase34_ProcessedThenCut: FCM takes the page and the connection ends before
// the answer; our next try makes a second push of the same delivery, which the
// phone receipts and does not show again.
func TestCase34_ProcessedThenCut(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]pushtest.Fault{"closed": pushtest.CloseConnection, "reset": pushtest.ResetStream} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			d, phone := r.android()
			answer := pushtest.Break(fault)
			answer.Deliver = true
			r.google.Script(string(d.Token), answer)
			m := r.page()
			res := r.send(m, d)
			r.want(res, push.EndAccepted)
			if n := r.google.Count(); n != 2 || n != res.Attempts {
				t.Errorf("%d requests for %d attempts, want 2 and 2", n, res.Attempts)
			}
			if !res.Tries[0].Unknown {
				t.Errorf("first try %+v, want its outcome unknown", res.Tries[0])
			}
			if _, err := phone.Wait(t.Context(), func(n pushtest.Notification) bool { return n.Duplicate }); err != nil {
				t.Fatal(err)
			}
			if n := len(phone.Shown()); n != 1 {
				t.Errorf("the phone shows %d notifications, want 1", n)
			}
		})
	}
}

// TestCase35_NotFound: 404 UNREGISTERED drops the address, unless the app has
// registered again since; a 404 that does not say so, from a proxy or for a
// project that is not there, keeps it and raises an alert.
func TestCase35_NotFound(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.android()
	r.google.Script(string(d.Token), pushtest.Page(http.StatusNotFound))
	res := r.send(r.page(), d)
	r.want(res, push.EndRejected)
	if res.Address != push.AddressKeep || len(r.alerted()) == 0 {
		t.Errorf("404 of a proxy: address %v, alerts %q; want it kept and an alert", res.Address, r.alerted())
	}
	r.google.Script(string(d.Token), pushtest.Reject(404, "")) // Google's own, without a code: the project is not there
	if res = r.send(r.page(), d); res.End != push.EndRejected || res.Address != push.AddressKeep {
		t.Errorf("404 without a code: %v, address %v; want it rejected and kept", res.End, res.Address)
	}
	r.google.Unregister(string(d.Token))
	res = r.send(r.page(), d)
	r.want(res, push.EndRejected)
	if res.Address != push.AddressDrop || res.Outcome.Reason != "UNREGISTERED" {
		t.Errorf("UNREGISTERED: address %v, reason %q; want it dropped", res.Address, res.Outcome.Reason)
	}
	d.RegisteredAt = time.Now().Add(time.Minute) // the app registered again while we were sending
	if res = r.send(r.page(), d); res.Address != push.AddressKeep {
		t.Errorf("registered since: address %v, want keep", res.Address)
	}
}

// TestCase36_InvalidArgument: a token that Google calls no registration token is
// dropped after a second, minimal message met the same, and parked when there
// was no second word; a 400 about anything else is tried once more in the
// minimal form and never costs an address. The first hit alone drops nothing,
// since Google answers a bad token with the same code as a bad message.
func TestCase36_InvalidArgument(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.android()
	unknown := d
	unknown.Token = "cXf0:APA91bNobodyRegisteredThisToken"
	res := r.send(r.page(), unknown)
	r.want(res, push.EndRejected)
	if res.Address != push.AddressDrop || r.google.Count() != 2 {
		t.Errorf("a token that Google calls invalid: address %v after %d requests; want it dropped after a second, minimal one", res.Address, r.google.Count())
	}
	if body := r.lastFCM().Message.Data["subtitle"]; body != "" {
		t.Errorf("the second request was not minimal: subtitle %q", body)
	}
	r.google.Script(string(d.Token), r.badToken())
	res = r.send(r.page(), d)
	r.want(res, push.EndAccepted) // the second, minimal one
	r.google.Script(string(d.Token), r.badToken(), pushtest.Reject(503, "UNAVAILABLE"))
	res = r.send(r.page(), d)
	r.want(res, push.EndRejected)
	if res.Address != push.AddressPark || res.Attempts != 2 {
		t.Errorf("called dead and then no word: address %v after %d attempts, want it parked after 2", res.Address, res.Attempts)
	}
	field := pushtest.Reject(400, "INVALID_ARGUMENT")
	field.Detail = []any{
		map[string]any{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "INVALID_ARGUMENT"},
		map[string]any{
			"@type":           "type.googleapis.com/google.rpc.BadRequest",
			"fieldViolations": []any{map[string]any{"field": "message.token", "description": "Invalid registration token"}},
		},
	}
	r.google.Script(string(d.Token), field, field)
	if res = r.send(r.page(), d); res.Address != push.AddressDrop {
		t.Errorf("field message.token: address %v, want drop", res.Address)
	}
	r.google.Script(string(d.Token), pushtest.Reject(400, "INVALID_ARGUMENT"))
	res = r.send(r.page(), d)
	r.want(res, push.EndAccepted)
	if res.Attempts != 2 {
		t.Errorf("400 about something else: %d attempts, want a second, safe one", res.Attempts)
	}
	r.google.Always(string(d.Token), pushtest.Page(http.StatusBadRequest))
	res = r.send(r.page(), d)
	r.want(res, push.EndRejected)
	if res.Address != push.AddressKeep || res.Attempts != 2 {
		t.Errorf("400 without details: address %v after %d attempts, want it kept after 2", res.Address, res.Attempts)
	}
}

// TestCase37_SenderAndPartner: 403 SENDER_ID_MISMATCH parks the phone; 401
// THIRD_PARTY_AUTH_ERROR opens a breaker for the phones that get it, which are
// another platform's, and Android phones go on.
func TestCase37_SenderAndPartner(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.android()
	r.google.Script(string(d.Token), pushtest.Reject(403, "SENDER_ID_MISMATCH"))
	res := r.send(r.page(), d)
	r.want(res, push.EndRejected)
	if res.Address != push.AddressPark {
		t.Errorf("SENDER_ID_MISMATCH: address %v, want park", res.Address)
	}
	r.want(r.send(r.page(), d), push.EndAccepted)
	partner := pushtest.Reject(401, "THIRD_PARTY_AUTH_ERROR")
	r.google.Always(string(d.Token), partner) // an iPhone that registered as Android
	r.want(r.send(r.page(), d), push.EndProviderDown)
	r.google.Forget()
	r.want(r.send(r.page(), d), push.EndProviderDown)
	if n := r.google.Count(); n != 0 {
		t.Errorf("%d requests with the breaker open, want none", n)
	}
	well, _ := r.android()
	r.want(r.send(r.page(), well), push.EndAccepted)
	if st := r.app("fcm"); st.Breaker != push.BreakerClosed {
		t.Errorf("the app's breaker is %v: one phone of another platform stopped all of Android", st.Breaker)
	}
	if a := r.alerted(); !slices.ContainsFunc(a, func(s string) bool { return strings.Contains(s, "another platform") }) {
		t.Errorf("alerts %q, want one that says what to mend", a)
	}
	again := d
	again.Token = push.Token(r.google.Register(nil, pkg)) // the app, mended, registers anew
	r.want(r.send(r.page(), again), push.EndAccepted)
	r.google.Heal(string(d.Token))
	r.want(r.send(r.page(), d), push.EndAccepted) // that success has closed the breaker
}

// TestCase38_QuotaExceeded: a 429 pauses the phone that it is about, and the
// project once three phones got one within ten seconds or Google names the
// project; then pages are told to go another way, one of high urgency asks
// every five seconds, and APNs goes on.
func TestCase38_QuotaExceeded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	quota := pushtest.WithRetryAfter("60", pushtest.Reject(429, "QUOTA_EXCEEDED"))
	var phones []push.Device
	for range 3 {
		d, _ := r.android()
		phones = append(phones, d)
	}
	well, _ := r.android()
	// One device over its quota holds back that device alone.
	r.google.Script(string(phones[0].Token), quota)
	results := make(chan push.Result, 3)
	ordinary := func(d push.Device) push.Delivery {
		m := r.page()
		m.HighUrgency = false
		return push.Delivery{Message: m, Device: d}
	}
	throttled := make(chan struct{}, 3)
	submit := func(d push.Device) {
		del := ordinary(d)
		del.Progress = func(p push.Progress) { throttled <- struct{}{} }
		r.sender.Submit(del, func(res push.Result) { results <- res })
		<-throttled
	}
	submit(phones[0])
	r.want(r.send(ordinary(well).Message, well), push.EndAccepted)
	// Three devices within ten seconds are the project.
	r.google.Script(string(phones[1].Token), quota)
	r.google.Script(string(phones[2].Token), quota)
	submit(phones[1])
	submit(phones[2])
	r.google.Forget()
	began := time.Now()
	r.want(r.send(ordinary(well).Message, well), push.EndProviderDown)
	if took := time.Since(began); took > time.Second {
		t.Errorf("the answer took %v, want at once", took)
	}
	if n := r.google.Count(); n != 0 {
		t.Errorf("%d requests to a project that asked for a minute, want none", n)
	}
	d, _ := r.iphone()
	r.want(r.send(r.page(), d), push.EndAccepted) // the other provider goes on
	// A page of high urgency asks again after five seconds, and goes through.
	down, through := make(chan push.Progress, 1), make(chan push.Result, 1)
	r.sender.Submit(push.Delivery{Message: r.page(), Device: well, Persist: true, Progress: func(p push.Progress) {
		if p.Down {
			down <- p
		}
	}}, func(res push.Result) { through <- res })
	<-down
	res := <-through
	r.want(res, push.EndAccepted)
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the probe went %v after the pause began, want about 5 s", took)
	}
	if n := r.google.Count(); n != 1 {
		t.Errorf("%d requests in the pause, want the probe alone", n)
	}
}

// TestCase39_WrappingChangesNothing: an answer means the same whether it is read
// from the wire or comes out of the Firebase SDK, whose own predicates no longer
// recognise an error that somebody has wrapped; a provider returns outcomes, not
// errors, so there is nothing left to wrap.
func TestCase39_WrappingChangesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.android()
	r.want(r.send(r.page(), d), push.EndAccepted)
	now := r.clock.Now()
	date := map[string]string{"date": now.UTC().Format(http.TimeFormat)}
	for _, a := range []pushtest.Answer{
		{Status: 200, Body: []byte("<html>accepted</html>")},
		{Status: 202, Body: []byte{}},
		pushtest.Reject(404, "UNREGISTERED"), pushtest.Page(404),
		r.badToken(), pushtest.Reject(400, "INVALID_ARGUMENT"), pushtest.Page(400),
		pushtest.Reject(403, "SENDER_ID_MISMATCH"), pushtest.Reject(403, ""), pushtest.Reject(401, "THIRD_PARTY_AUTH_ERROR"),
		pushtest.Page(413), pushtest.WithRetryAfter("7", pushtest.Reject(429, "QUOTA_EXCEEDED")),
		pushtest.Reject(500, "INTERNAL"), pushtest.WithRetryAfter("3", pushtest.Reject(503, "UNAVAILABLE")), pushtest.Page(502), pushtest.Page(302),
	} {
		if a.Body == nil {
			a.Body = fmt.Appendf(nil, `{"error":{"code":%d,"status":"X","details":[{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":%q}]}}`, a.Status, a.Reason)
		}
		maps.Copy(date, a.Header)
		a.Header = maps.Clone(date)
		r.google.Script(string(d.Token), a)
		m := r.page()
		got := r.fcm.Send(t.Context(), push.Attempt{Message: &m, Device: &d, Number: 1})
		header := http.Header{}
		header.Set("Retry-After", a.Header["retry-after"])
		delete(date, "retry-after")
		want := fcm.Classify(a.Status, header, a.Body, now)
		want.Via, want.Bytes, want.Elapsed, want.Deadness = got.Via, got.Bytes, got.Elapsed, got.Deadness
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d %s (-wire +SDK):\n%s", a.Status, a.Reason, diff)
		}
	}
}

// TestCase40_OneInvalidAmongMany: one phone of a hundred has a token that is
// none; the other ninety-nine are paged.
func TestCase40_OneInvalidAmongMany(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	accepted := 0
	for i := range 100 {
		d, _ := r.android()
		if i == 50 {
			d.Token = "not a token"
		}
		if r.send(r.page(), d).End == push.EndAccepted {
			accepted++
		}
	}
	if accepted != 99 {
		t.Errorf("%d of 100 accepted, want 99", accepted)
	}
}

// TestCase41_TokenServiceDown: while Google's token service is down the cached
// token is used as long as it lasts; then the breaker opens, and no attempt
// hangs for more than five seconds.
func TestCase41_TokenServiceDown(t *testing.T) {
	t.Parallel()
	t.Run("the cached token is used", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		d, _ := r.android()
		r.want(r.send(r.page(), d), push.EndAccepted)
		r.google.AlwaysOAuth(pushtest.Break(pushtest.Silence), true)
		r.clock.Forward(57 * time.Minute)
		began := time.Now()
		r.want(r.send(r.page(), d), push.EndAccepted)
		if took := time.Since(began); took > time.Second {
			t.Errorf("took %v although the token was good for another three minutes", took)
		}
	})
	t.Run("afterwards nothing hangs", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		r.google.AlwaysOAuth(pushtest.Reject(503, "unavailable"), true)
		results := make(chan push.Result, 20)
		var longest atomic.Int64
		for range 20 {
			d, _ := r.android()
			r.sender.Submit(push.Delivery{Message: r.page(), Device: d, Progress: func(p push.Progress) {
				longest.Store(max(longest.Load(), int64(p.Try.Took)))
			}}, func(res push.Result) { results <- res })
		}
		for range 20 {
			r.want(<-results, push.EndProviderDown)
		}
		if took := time.Duration(longest.Load()); took > 5500*time.Millisecond {
			t.Errorf("an attempt took %v, want at most 5 s", took)
		}
		if n := r.google.Count(); n != 0 {
			t.Errorf("%d messages were sent without a token", n)
		}
	})
	t.Run("a refusal opens the breaker", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		d, _ := r.android()
		r.google.AlwaysOAuth(pushtest.Reject(400, "invalid_grant"), true)
		res := r.send(r.page(), d)
		r.want(res, push.EndProviderDown)
		if res.Outcome.Class != push.AuthConfig || res.Outcome.Reason != "OAuth_invalid_grant" {
			t.Errorf("outcome %+v, want the credential named", res.Outcome)
		}
	})
	t.Run("a revoked token is renewed once", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		d, _ := r.android()
		r.want(r.send(r.page(), d), push.EndAccepted)
		r.clock.Forward(2 * time.Minute)
		r.google.RevokeTokens()
		r.want(r.send(r.page(), d), push.EndAccepted)
		if n := r.google.Grants(); n != 2 {
			t.Errorf("%d tokens were fetched, want 2", n)
		}
	})
}

// TestCase42_SilentKindsAreNeverHighPriority: only what a person sees at once has
// high priority: pages, tests, and the line that takes the place of a page less
// than fifteen minutes old. Every other clear, information and heartbeats are
// normal, or Google lowers the priority of the whole app.
func TestCase42_SilentKindsAreNeverHighPriority(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	now := r.clock.Now()
	cases := []struct {
		name    string
		kind    push.Kind
		pagedAt time.Time
		want    string
	}{
		{"page", push.KindPage, time.Time{}, "high"},
		{"test", push.KindTest, time.Time{}, "high"},
		{"clear of a fresh page", push.KindClear, now.Add(-14 * time.Minute), "high"},
		{"clear of an old page", push.KindClear, now.Add(-16 * time.Minute), "normal"},
		{"clear of an unknown page", push.KindClear, time.Time{}, "normal"},
		{"info", push.KindInfo, time.Time{}, "normal"},
		{"heartbeat", push.KindHeartbeat, time.Time{}, "normal"},
	}
	for _, tc := range cases {
		d, phone := r.android()
		m := r.page()
		m.Kind, m.PagedAt, m.Title = tc.kind, tc.pagedAt, "Acked by Ann"
		if tc.kind == push.KindInfo {
			m.Sound = push.SoundNone
		}
		r.want(r.send(m, d), push.EndAccepted)
		if got := r.lastFCM().Message.Android.Priority; got != tc.want {
			t.Errorf("%s: priority %s, want %s", tc.name, got, tc.want)
		}
		n, err := phone.Wait(t.Context(), func(pushtest.Notification) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		if loud := tc.kind.Loud(); n.Audible() != loud {
			t.Errorf("%s: audible %v, want %v", tc.name, n.Audible(), loud)
		}
	}
}
