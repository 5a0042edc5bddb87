package push_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
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
	r.google.Script(string(d.Token), pushtest.Reject(401, "THIRD_PARTY_AUTH_ERROR"))
	r.want(r.send(r.page(), d), push.EndProviderDown)
	r.google.Forget()
	r.want(r.send(r.page(), d), push.EndProviderDown)
	if n := r.google.Count(); n != 0 {
		t.Errorf("%d requests with the breaker open, want none", n)
	}
}

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
}

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

func TestFCMConnectionsFrozenInMidPage(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.android()
	r.want(r.send(r.page(), d), push.EndAccepted)
	r.google.Freeze(true)
	res := r.send(r.page(), d)
	r.want(res, push.EndAccepted)
	if took := res.At.Sub(res.Tries[0].At); res.Attempts > 3 || took > 4*time.Second {
		t.Errorf("took %v in tries %+v, want a fresh connection within 4 s", took, res.Tries)
	}
}

func TestFCMStormOfDistinctPhones(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	results := make(chan push.Result, 500)
	for i := range 500 {
		d, _ := r.android()
		if i%10 == 0 {
			r.google.Script(string(d.Token), pushtest.Reject(503, "UNAVAILABLE"))
		}
		r.sender.Submit(push.Delivery{Message: r.page(), Device: d}, func(res push.Result) { results <- res })
	}
	ends := map[push.End]int{}
	for range 500 {
		ends[(<-results).End]++
	}
	if fmt.Sprint(ends) != fmt.Sprint(map[push.End]int{push.EndAccepted: 500}) {
		t.Errorf("ends %v, want 500 accepted", ends)
	}
}
