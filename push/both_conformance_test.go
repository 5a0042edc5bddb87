package push_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

// The cases that hold for Apple and Google alike.

// TestCase15_LongTextIsShrunk: an incident's text of many kilobytes, with emoji
// and quotes, is sent once, within 4,096 bytes of valid UTF-8, and its beginning
// is shown.
func TestCase15_LongTextIsShrunk(t *testing.T) {
	t.Parallel()
	long := func(r *rig) push.Message {
		m := r.page()
		m.Body = strings.Repeat(`"🔥 pg-1 <down>" `, 400)
		m.Details = map[string]string{"runbook": strings.Repeat("x", 3000)}
		return m
	}
	shown := func(t *testing.T, r *rig, phone *pushtest.Phone, m push.Message, res push.Result) {
		t.Helper()
		r.want(res, push.EndAccepted)
		if res.Outcome.Shrunk == "" || res.Outcome.Bytes > push.MaxPayload || res.Attempts != 1 {
			t.Errorf("shrunk %q to %d bytes in %d attempts; want it said, within the limit, in one", res.Outcome.Shrunk, res.Outcome.Bytes, res.Attempts)
		}
		n, err := phone.Wait(t.Context(), func(n pushtest.Notification) bool { return n.DeliveryID == m.DeliveryID })
		if err != nil {
			t.Fatal(err)
		}
		if n.Title != m.Title || !strings.HasPrefix(n.Body, `1 open: "🔥 pg-1 <down>"`) {
			t.Errorf("shown %q / %q", n.Title, n.Body)
		}
	}
	t.Run("apns", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		d, phone := r.iphone()
		m := long(r)
		shown(t, r, phone, m, r.send(m, d))
		body := r.apple.Requests()[0].Body
		if len(body) > push.MaxPayload || !json.Valid(body) || !utf8.Valid(body) {
			t.Errorf("%d bytes arrived, JSON %v, UTF-8 %v", len(body), json.Valid(body), utf8.Valid(body))
		}
	})
	t.Run("fcm", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		d, phone := r.android()
		m := long(r)
		shown(t, r, phone, m, r.send(m, d))
		size := 0
		for k, v := range r.lastFCM().Message.Data {
			if size += len(k) + len(v); !utf8.ValidString(v) {
				t.Errorf("%s is not UTF-8", k)
			}
		}
		if size > push.MaxPayload {
			t.Errorf("%d bytes of data arrived, want at most %d", size, push.MaxPayload)
		}
	})
	t.Run("webpush", webLongText)
}

// TestCase16_TooLargeAnyway: the service calls a payload too large that was
// measured to fit: one smaller request, and it is accepted. Google has no status
// for it and calls such a message an invalid argument.
func TestCase16_TooLargeAnyway(t *testing.T) {
	t.Parallel()
	large := func(r *rig) push.Message {
		m := r.page()
		m.Details = map[string]string{"runbook": strings.Repeat("x", 1000)}
		return m
	}
	smaller := func(t *testing.T, got []pushtest.Request) {
		t.Helper()
		if len(got) != 2 || len(got[1].Body) >= len(got[0].Body) {
			t.Fatalf("%d requests, want a second and smaller one", len(got))
		}
	}
	t.Run("apns", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		d, _ := r.iphone()
		r.apple.Script(string(d.Token), pushtest.Reject(http.StatusRequestEntityTooLarge, "PayloadTooLarge"))
		r.want(r.send(large(r), d), push.EndAccepted)
		smaller(t, r.apple.Requests())
	})
	t.Run("fcm", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		d, _ := r.android()
		r.google.Script(string(d.Token), pushtest.Reject(http.StatusBadRequest, "INVALID_ARGUMENT"))
		r.want(r.send(large(r), d), push.EndAccepted)
		smaller(t, r.google.Requests())
	})
	t.Run("webpush", webTooLarge)
}

// TestCase23_OddAnswers: an HTML page of a proxy, and a 410 whose timestamp is
// no number, are judged by their status: tried again, or dropped; never a
// "status 0".
func TestCase23_OddAnswers(t *testing.T) {
	t.Parallel()
	retried := func(t *testing.T, r *rig, res push.Result) {
		t.Helper()
		r.want(res, push.EndAccepted)
		if len(res.Tries) != 2 || res.Tries[0].Status != 500 || res.Tries[0].Class != push.RetryLater {
			t.Errorf("tries %+v, want status 500 and another try", res.Tries)
		}
	}
	t.Run("apns", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		d, _ := r.iphone()
		r.apple.Script(string(d.Token), pushtest.Page(http.StatusInternalServerError))
		retried(t, r, r.send(r.page(), d))
		for _, timestamp := range []any{"yesterday", 1.5, nil, []int{1}} {
			answer := pushtest.Reject(http.StatusGone, "Unregistered")
			answer.Timestamp = timestamp
			r.apple.Script(string(d.Token), answer)
			res := r.send(r.page(), d)
			r.want(res, push.EndRejected)
			if res.Address != push.AddressDrop || res.Outcome.Status != http.StatusGone {
				t.Errorf("timestamp %v: address %v, status %d; want it dropped for 410", timestamp, res.Address, res.Outcome.Status)
			}
		}
	})
	t.Run("fcm", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		d, _ := r.android()
		r.google.Script(string(d.Token), pushtest.Page(http.StatusInternalServerError))
		retried(t, r, r.send(r.page(), d))
	})
	t.Run("webpush", webOddAnswers)
}

// TestCase24_UnknownReasons: a reason that nobody has heard of, with 400: no
// other try of a full message and no drop; with 503: tried again; verbatim both
// times. Google's 400 gets one safe try, as it says so little about them.
func TestCase24_UnknownReasons(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, r *rig, d push.Device, script func(token string, answers ...pushtest.Answer), tries int) {
		t.Helper()
		bad := pushtest.Reject(http.StatusBadRequest, "NEW_IN_2027")
		script(string(d.Token), bad, bad)
		res := r.send(r.page(), d)
		r.want(res, push.EndRejected)
		if res.Address != push.AddressKeep || res.Attempts > tries || res.Outcome.Reason != "NEW_IN_2027" {
			t.Errorf("400: %+v, want the address kept, at most %d attempts, the reason verbatim", res, tries)
		}
	}
	later := func(t *testing.T, r *rig, d push.Device, script func(token string, answers ...pushtest.Answer)) {
		t.Helper()
		script(string(d.Token), pushtest.Reject(http.StatusServiceUnavailable, "NEW_IN_2027"))
		res := r.send(r.page(), d)
		r.want(res, push.EndAccepted)
		if res.Attempts != 2 || res.Tries[0].Reason != "NEW_IN_2027" {
			t.Errorf("503: %+v, want two attempts, the reason verbatim", res)
		}
	}
	t.Run("apns", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		d, _ := r.iphone()
		later(t, r, d, r.apple.Script)
		check(t, r, d, r.apple.Script, 1)
	})
	t.Run("fcm", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		d, _ := r.android()
		later(t, r, d, r.google.Script)
		check(t, r, d, r.google.Script, 2)
	})
	t.Run("webpush", webUnknownReasons)
}

// TestCase26_ExpirationIsAlwaysThere: what is to be shown now or never says so,
// as both services keep for weeks what says nothing: Apple gets an expiration of
// 0, Google a time to live.
func TestCase26_ExpirationIsAlwaysThere(t *testing.T) {
	t.Parallel()
	kinds := []push.Kind{push.KindClear, push.KindInfo, push.KindHeartbeat}
	t.Run("apns", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		d, _ := r.iphone()
		for _, k := range kinds {
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
	})
	t.Run("fcm", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		d, _ := r.android()
		for _, k := range append(kinds, push.KindPage) {
			m := r.page()
			m.Kind = k
			r.want(r.send(m, d), push.EndAccepted)
			if ttl := r.lastFCM().Message.Android.TTL; ttl == "" || len(ttl) > len("120s") {
				t.Errorf("ttl %q of a %v, want at most the time to its deadline", ttl, k)
			}
		}
	})
	t.Run("webpush", webTTL)
}

// TestCase27_MalformedTokenNeverOnTheWire: a token with characters that no token
// has is parked without a request.
func TestCase27_MalformedTokenNeverOnTheWire(t *testing.T) {
	t.Parallel()
	parked := func(t *testing.T, r *rig, d push.Device) {
		t.Helper()
		res := r.send(r.page(), d)
		r.want(res, push.EndRejected)
		if res.Address != push.AddressPark {
			t.Errorf("token %q: address %v, want park", string(d.Token), res.Address)
		}
	}
	t.Run("apns", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		for _, token := range []string{"", "ab/../cd?x", strings.Repeat("A", 64), strings.Repeat("a", 63), strings.Repeat("a", 201), strings.Repeat("a", 63) + "\n"} {
			parked(t, r, iosDevice(token))
		}
		if n := r.apple.Count(); n != 0 {
			t.Errorf("%d requests, want none", n)
		}
	})
	t.Run("fcm", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		for _, token := range []string{"", "ab/../cd?x", "short", strings.Repeat("a", 30) + " ", strings.Repeat("a", 30) + "\n", strings.Repeat("a", 10_000)} {
			parked(t, r, push.Device{ID: uuid(), Platform: push.Android, App: "android", Token: push.Token(token)})
		}
		if n := r.google.Count(); n != 0 {
			t.Errorf("%d requests, want none", n)
		}
	})
	t.Run("webpush", webMalformed)
}
