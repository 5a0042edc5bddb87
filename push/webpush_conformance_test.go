package push_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/push/webpush"
)

// TestCase43_WebPage: a page decrypts to our JSON; TTL is the time that is left,
// Urgency is high, Topic is set and the same for the clear; the VAPID token is
// for the service's origin, good for less than 24 hours, and names us with one
// mailto: it is signed once for all messages to one service, and anew in time.
func TestCase43_WebPage(t *testing.T) {
	t.Parallel()
	r := newWebRig(t, nil)
	d, phone := r.browser(pushtest.ServiceMozilla)
	m := r.page()
	r.want(r.send(m, d), push.EndAccepted, push.AddressKeep)
	req, body := r.opened()
	first := req.Header["authorization"]
	ttl, err := strconv.Atoi(req.Header["ttl"])
	if err != nil || ttl < 118 || ttl > 120 {
		t.Errorf("TTL %q, want the two minutes that are left", req.Header["ttl"])
	}
	sum := sha256.Sum256([]byte(m.CollapseID))
	topic := base64.RawURLEncoding.EncodeToString(sum[:24])
	if req.Header["urgency"] != "high" || req.Header["topic"] != topic || len(topic) != 32 || req.Header["content-encoding"] != "aes128gcm" {
		t.Errorf("headers %v, want high urgency and topic %s", req.Header, topic)
	}
	if len(req.Body) != 4096 {
		t.Errorf("the body has %d bytes, want the full 4096: its length must say nothing", len(req.Body))
	}
	n, ok := body["notification"].(map[string]any)
	if !ok || n["title"] != m.Title || n["tag"] != m.CollapseID || n["renotify"] != true || n["requireInteraction"] != true {
		t.Errorf("the message is %v", body)
	}
	if data, ok := n["data"].(map[string]any); !ok || data["d"] != m.DeliveryID || data["k"] != "page" || data["i"] != m.IncidentID || data["u"] != m.ReceiptPath {
		t.Errorf("data is %v", n["data"])
	}
	claims := vapidClaims(t, first)
	if left := time.Unix(claims.Exp, 0).Sub(r.clock.Now()); claims.Aud != "https://"+pushtest.ServiceMozilla || claims.Sub != webSubject || left <= 0 || left > 24*time.Hour {
		t.Errorf("the VAPID token says %+v", claims)
	}
	if got, err := phone.Wait(t.Context(), func(n pushtest.Notification) bool { return n.DeliveryID == m.DeliveryID }); err != nil || !got.Audible() || got.Title != m.Title {
		t.Errorf("the browser shows %+v, %v", got, err)
	}

	over := m
	over.Kind, over.DeliveryID, over.Revision, over.Title, over.Subtitle, over.Body = push.KindClear, uuid(), 2, "Acknowledged", "", "by Ben"
	r.want(r.send(over, d), push.EndAccepted, push.AddressKeep)
	req, _ = r.opened()
	if req.Header["topic"] != topic || req.Header["ttl"] != "300" || req.Header["urgency"] != "high" {
		t.Errorf("the clear has headers %v, want the page's topic, TTL 300, high urgency", req.Header)
	}
	if req.Header["authorization"] != first {
		t.Error("a second message was signed anew, want the token of its origin again")
	}
	info := r.page()
	info.Kind, info.Sound = push.KindInfo, push.SoundNone
	r.want(r.send(info, d), push.EndAccepted, push.AddressKeep)
	if req, _ = r.opened(); req.Header["ttl"] != "3600" || req.Header["urgency"] != "normal" {
		t.Errorf("information has headers %v, want TTL 3600, normal urgency", req.Header)
	}
	other, _ := r.browser(pushtest.ServiceGoogle)
	r.want(r.send(r.page(), other), push.EndAccepted, push.AddressKeep)
	if req, _ = r.opened(); vapidClaims(t, req.Header["authorization"]).Aud != "https://"+pushtest.ServiceGoogle {
		t.Errorf("a message to another service has the token %+v", vapidClaims(t, req.Header["authorization"]))
	}
	r.clock.Forward(7 * time.Hour)
	r.want(r.send(r.page(), d), push.EndAccepted, push.AddressKeep)
	if req, _ = r.opened(); req.Header["authorization"] == first {
		t.Error("after seven hours the old token is still used, want a new one long before it expires")
	}
}

// TestCase44_WebAnswers: 404 and 410 drop the subscription; 500, 429, no answer
// and no connection keep it and are tried again until it passes.
func TestCase44_WebAnswers(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusNotFound, http.StatusGone} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			r := newWebRig(t, nil)
			d, _ := r.browser("")
			r.sim.Unsubscribe(string(d.Token), status)
			r.want(r.send(r.page(), d), push.EndRejected, push.AddressDrop)
		})
	}
	for name, trouble := range map[string]pushtest.Answer{
		"500":        pushtest.Reject(500, ""),
		"503 page":   pushtest.Page(503),
		"429":        pushtest.WithRetryAfter("1", pushtest.Reject(429, "slow down")),
		"406":        pushtest.Reject(406, ""),
		"connection": pushtest.Break(pushtest.CloseConnection),
		"reset":      pushtest.Break(pushtest.ResetStream),
		"refused":    pushtest.Break(pushtest.RefuseStream),
		"goaway":     pushtest.Break(pushtest.GoAwayCovering),
		"timeout":    pushtest.Break(pushtest.FreezeConnection),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newWebRig(t, nil)
			d, phone := r.browser(pushtest.ServiceApple)
			r.sim.Script(string(d.Token), trouble)
			m := r.page()
			r.want(r.send(m, d), push.EndAccepted, push.AddressKeep)
			if got := r.sim.Count(); got != 2 {
				t.Errorf("%d requests, want the one that failed and one more", got)
			}
			if _, err := phone.Wait(t.Context(), func(n pushtest.Notification) bool { return n.DeliveryID == m.DeliveryID }); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("no connection", func(t *testing.T) {
		r := newWebRig(t, nil)
		d, _ := r.browser("")
		r.sim.Down(true)
		m := r.page()
		failed := make(chan struct{}, 64)
		done := make(chan push.Result, 1)
		r.sender.Submit(push.Delivery{Message: m, Device: d, Progress: func(p push.Progress) { failed <- struct{}{} }}, func(r push.Result) { done <- r })
		<-failed
		r.sim.Down(false)
		r.want(<-done, push.EndAccepted, push.AddressKeep)
	})
}

// TestCase45_WebEndpointsThatAreNone: an endpoint that is not https at port 443 of
// a known push service, has a user in it, or leads into the house by its name, its
// address or a redirect, is refused at registration and at sending; nothing is
// connected to it.
func TestCase45_WebEndpointsThatAreNone(t *testing.T) {
	t.Parallel()
	r := newWebRig(t, nil)
	good, _ := r.browser("")
	for _, endpoint := range []string{
		"https://evil.example/", "http://fcm.googleapis.com/fcm/send/x", "https://x.google.com.evil.tld/x", "https://169.254.169.254/latest/meta-data",
		"https://fcm.googleapis.com.evil.tld/x", "https://evilfcm.googleapis.com/x", "https://notfcm.googleapis.com/x", "https://push.apple.com/x", "https://evilpush.apple.com/x",
		"https://127.0.0.1/x", "https://127.0.0.1:8443/a.push.apple.com/x", "https://[::ffff:127.0.0.1]/x", "https://[::1]/x", "https://localhost/x",
		"https://user@fcm.googleapis.com/x", "https://fcm.googleapis.com:8443/x", "https://fcm.googleapis.com:80/x", "https://fcm.googleapis.com@evil.example/x",
		"https://evil.example/a.push.apple.com", "https://evil.example?.push.apple.com/x", "https://evil.example#.push.apple.com/x", `https://evil.example\.push.apple.com/x`,
		"https://fcm.googleapis.com", "https://fcm.googleapis.com/x#y", "fcm.googleapis.com/x", "", "https://fcm.googleapis.com/" + strings.Repeat("x", 3000),
		"https://web.push.apple.com./x", "https:fcm.googleapis.com/x", "https://fcm.googleapis.com/x\nHost: evil.example",
	} {
		if err := webpush.CheckEndpoint(endpoint); err == nil {
			t.Errorf("%.60q may be registered, want it refused", endpoint)
		}
		d := good
		d.ID, d.Token = uuid(), push.Token(endpoint)
		res := r.send(r.page(), d)
		if res.End != push.EndRejected || res.Address != push.AddressPark || !res.Outcome.Local {
			t.Errorf("%.60q: ended %v, address %v, %+v; want it refused without a request", endpoint, res.End, res.Address, res.Outcome)
		}
	}
	for _, endpoint := range []string{
		"https://fcm.googleapis.com/fcm/send/abc:APA91b", "https://updates.push.services.mozilla.com/wpush/v2/gAAAA", "https://web.push.apple.com/QX",
		"https://wns2-par02p.notify.windows.com/w/?token=BQYAAA%3d%3d", "https://fcm.googleapis.com:443/fcm/send/x", "https://FCM.googleapis.com/x",
	} {
		if err := webpush.CheckEndpoint(endpoint); err != nil {
			t.Errorf("%q: %v, want it taken", endpoint, err)
		}
	}
	if err := webpush.CheckEndpoint("https://push.example.org/x", "push.example.org"); err != nil {
		t.Errorf("a host that the configuration allows: %v", err)
	}
	if n := r.sim.Count(); n != 0 {
		t.Errorf("%d requests arrived, want none", n)
	}

	t.Run("redirect", func(t *testing.T) {
		r := newWebRig(t, nil)
		d, _ := r.browser(pushtest.ServiceMozilla)
		r.sim.Script(string(d.Token), pushtest.Answer{Status: http.StatusTemporaryRedirect, Header: map[string]string{"location": "https://127.0.0.1:1/"}})
		r.want(r.send(r.page(), d), push.EndRejected, push.AddressKeep)
		if r.sim.Count() != 1 || !strings.Contains(r.alerted(), "redirect") {
			t.Errorf("%d requests, alerts %q; want one request, and the operator told", r.sim.Count(), r.alerted())
		}
	})
}

// TestCase46_LongWebText: a page with 4,000 bytes of text, with emoji and quotes,
// has at most 3,993 bytes before it is encrypted, is accepted, and says that there
// is more to fetch or less to read; what is last to go is the title.
func TestCase46_LongWebText(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"", pushtest.ServiceApple} {
		r := newWebRig(t, nil)
		d, phone := r.browser(host)
		for _, text := range []string{strings.Repeat("x", 4000), strings.Repeat(`"quoted" 🔥 `, 400), strings.Repeat("\x01", 4000)} {
			m := r.page()
			m.Body = text
			m.Details = map[string]string{"stack": strings.Repeat("y", 6000)}
			res := r.send(m, d)
			r.want(res, push.EndAccepted, push.AddressKeep)
			if res.Outcome.Bytes > 3993 || res.Outcome.Shrunk == "" {
				t.Errorf("%d bytes, shrunk %q; want at most 3993, shrunk", res.Outcome.Bytes, res.Outcome.Shrunk)
			}
			if req, _ := r.opened(); len(req.Body) > 4096 {
				t.Errorf("the body has %d bytes", len(req.Body))
			}
			if n, err := phone.Wait(t.Context(), func(n pushtest.Notification) bool { return n.DeliveryID == m.DeliveryID }); err != nil || n.Title != m.Title {
				t.Errorf("the browser shows %q, %v", n.Title, err)
			}
		}
	}
}

// TestCase47_WebClearReplaces: the service worker gets a clear with a title and the
// page's tag, and shows it in the page's place without a sound; no push that we
// send ever shows nothing, for then a browser ends the subscription. A heartbeat
// is therefore never sent.
func TestCase47_WebClearReplaces(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"", pushtest.ServiceApple, pushtest.ServiceGoogle} {
		r := newWebRig(t, nil)
		d, phone := r.browser(host)
		page := r.page()
		r.want(r.send(page, d), push.EndAccepted, push.AddressKeep)
		over := page
		over.Kind, over.DeliveryID, over.Revision = push.KindClear, uuid(), 2
		over.Title, over.Subtitle, over.Body, over.Sound, over.ReceiptPath = "", "", "", push.SoundNone, "" // even when nobody worded it
		r.want(r.send(over, d), push.EndAccepted, push.AddressKeep)
		n, err := phone.Wait(t.Context(), func(n pushtest.Notification) bool { return n.DeliveryID == over.DeliveryID })
		if err != nil {
			t.Fatal(err)
		}
		if n.Title == "" || n.CollapseID != page.CollapseID || !n.Replaced || n.Audible() {
			t.Errorf("the clear is shown as %+v, want it silently in the page's place", n)
		}
		if shown := phone.Shown(); len(shown) != 1 || shown[0].DeliveryID != over.DeliveryID {
			t.Errorf("on the screen: %+v, want the clear alone", shown)
		}
		beat := r.page()
		beat.Kind, beat.Title, beat.Subtitle, beat.Body, beat.Sound = push.KindHeartbeat, "", "", "", push.SoundNone
		count := r.sim.Count()
		r.want(r.send(beat, d), push.EndRejected, push.AddressKeep)
		if r.sim.Count() != count || !r.sim.Subscribed(string(d.Token)) {
			t.Error("a heartbeat reached the push service")
		}
	}
}

// A subscription that was made with another VAPID key is parked, so that the app
// asks its browser for a new one; the others of that service go on. A refused
// key stops one service, not the others.
func TestWebKeyTrouble(t *testing.T) {
	t.Parallel()
	for _, host := range []string{pushtest.ServiceApple, pushtest.ServiceGoogle, pushtest.ServiceMozilla} {
		r := newWebRig(t, nil)
		old, err := r.sim.SubscribeWith("another key", host, nil)
		if err != nil {
			t.Fatal(err)
		}
		res := r.send(r.page(), webDevice(old))
		r.want(res, push.EndRejected, push.AddressPark)
		if res.Outcome.Reason != "VapidKeyMismatch" || !strings.Contains(r.alerted(), "subscribe anew") {
			t.Errorf("%s: reason %q, alerts %q", host, res.Outcome.Reason, r.alerted())
		}
		d, _ := r.browser(host)
		r.want(r.send(r.page(), d), push.EndAccepted, push.AddressKeep)
	}
	r := newWebRig(t, nil)
	apple, _ := r.browser(pushtest.ServiceApple)
	mozilla, _ := r.browser(pushtest.ServiceMozilla)
	r.sim.Script(string(apple.Token), pushtest.Reject(403, "BadJwtToken"), pushtest.Reject(403, "BadJwtToken"))
	r.want(r.send(r.page(), apple), push.EndProviderDown, push.AddressKeep)
	r.want(r.send(r.page(), mozilla), push.EndAccepted, push.AddressKeep)
	n := r.sim.Count()
	r.want(r.send(r.page(), apple), push.EndProviderDown, push.AddressKeep)
	if r.sim.Count() != n || !strings.Contains(r.alerted(), "web/apple: ") {
		t.Errorf("%d requests more, alerts %q; want the answer at once, and Apple's service named", r.sim.Count()-n, r.alerted())
	}
}

// Whoever registers an endpoint chooses its path, and so what the service answers:
// a refusal of one does not stop the pages to everybody else's browsers.
func TestWebRefusedEndpointStopsNobodyElse(t *testing.T) {
	t.Parallel()
	r := newWebRig(t, nil)
	well, _ := r.browser(pushtest.ServiceGoogle)
	odd, _ := r.browser(pushtest.ServiceGoogle)
	r.want(r.send(r.page(), well), push.EndAccepted, push.AddressKeep)
	r.sim.Always(string(odd.Token), pushtest.Reject(403, "PERMISSION_DENIED"))
	r.want(r.send(r.page(), odd), push.EndRejected, push.AddressKeep)
	r.want(r.send(r.page(), well), push.EndAccepted, push.AddressKeep)
	if !strings.Contains(r.alerted(), "while it takes it for others") {
		t.Errorf("alerts %q, want one about the browser", r.alerted())
	}
}

// How long a message is kept is told by the sender's clock, which its deadline is
// of, and not by the machine's.
func TestWebTTLIsOfTheSendersClock(t *testing.T) {
	t.Parallel()
	r := newWebRig(t, nil)
	d, _ := r.browser(pushtest.ServiceGoogle)
	m := r.page()
	ahead := m.Deadline.Add(-90 * time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), push.DefaultAttemptTimeout)
	defer cancel()
	r.clock.Forward(time.Hour)
	if o := r.via.Send(ctx, push.Attempt{Message: &m, Device: &d, Number: 1, At: ahead}); o.Class != push.Accepted {
		t.Fatalf("%+v", o)
	}
	if ttl := r.sim.Requests()[0].Header["ttl"]; ttl != "90" {
		t.Errorf("TTL %s, want the 90 s that are left by the clock of the deadline", ttl)
	}
}

// A VAPID token that is refused after a while is replaced once before the key is
// blamed.
func TestWebTokenIsReplacedOnce(t *testing.T) {
	t.Parallel()
	r := newWebRig(t, nil)
	d, _ := r.browser(pushtest.ServiceGoogle)
	r.want(r.send(r.page(), d), push.EndAccepted, push.AddressKeep)
	r.clock.Forward(time.Hour)
	r.sim.Script(string(d.Token), pushtest.Reject(403, "the token is not known"))
	r.want(r.send(r.page(), d), push.EndAccepted, push.AddressKeep)
	all := r.sim.Requests()
	if len(all) != 3 || all[0].Header["authorization"] != all[1].Header["authorization"] || all[1].Header["authorization"] == all[2].Header["authorization"] {
		t.Errorf("%d requests, want the same token until it is refused and then a new one", len(all))
	}
}

// One push service that does not answer costs the pages of another nothing, and
// its own connections are given up for new ones.
func TestWebBlackHoleOfOneService(t *testing.T) {
	t.Parallel()
	r := newWebRig(t, nil)
	mozilla, _ := r.browser(pushtest.ServiceMozilla)
	apple, _ := r.browser(pushtest.ServiceApple)
	r.sim.Decide(func(q pushtest.Request) (pushtest.Answer, bool) {
		return pushtest.Break(pushtest.Silence), q.Header[":authority"] == pushtest.ServiceMozilla
	})
	done := make(chan push.Result, 2000)
	for range 2000 {
		d := mozilla
		d.ID = uuid()
		r.sender.Submit(push.Delivery{Message: r.page(), Device: d}, func(r push.Result) { done <- r })
	}
	for range 20 {
		began := time.Now()
		r.want(r.send(r.page(), apple), push.EndAccepted, push.AddressKeep)
		if took := time.Since(began); took > 4*time.Second { // an attempt into the black hole takes five
			t.Errorf("a page to the other service took %v", took)
		}
	}
	for range 2000 {
		if res := <-done; res.End != push.EndProviderDown {
			t.Fatalf("a page into the black hole ended %v, want another way of reaching the person", res.End)
		}
	}
}

// A cold burst opens a few connections, not one for each page.
func TestWebColdBurst(t *testing.T) {
	t.Parallel()
	r := newWebRig(t, nil)
	const pages = 500
	done := make(chan push.Result, pages)
	d, _ := r.browser(pushtest.ServiceGoogle)
	for range pages {
		one := d
		one.ID = uuid()
		r.sender.Submit(push.Delivery{Message: r.page(), Device: one}, func(r push.Result) { done <- r })
	}
	for range pages {
		if res := <-done; res.End != push.EndAccepted {
			t.Fatalf("ended %v: %+v", res.End, res.Outcome)
		}
	}
	// Eight at a time; on a busy machine net/http dials some more as the first ones turn out to be HTTP/2.
	if opened, _, _ := r.sim.Connections(); opened > pages/10 {
		t.Errorf("%d connections for %d pages, want at most %d", opened, pages, pages/10)
	}
}

// What follows is the part that browsers have in the cases of all providers.

func webLongText(t *testing.T) {
	t.Parallel()
	r := newWebRig(t, nil)
	d, phone := r.browser("")
	m := r.page()
	m.Body, m.Details = strings.Repeat(`"🔥 pg-1 <down>" `, 400), map[string]string{"runbook": strings.Repeat("x", 3000)}
	res := r.send(m, d)
	r.want(res, push.EndAccepted, push.AddressKeep)
	if res.Outcome.Shrunk == "" || res.Outcome.Bytes > webpush.MaxClear || res.Attempts != 1 {
		t.Errorf("shrunk %q to %d bytes in %d attempts; want it said, within the limit, in one", res.Outcome.Shrunk, res.Outcome.Bytes, res.Attempts)
	}
	n, err := phone.Wait(t.Context(), func(n pushtest.Notification) bool { return n.DeliveryID == m.DeliveryID })
	if err != nil || n.Title != m.Title || !strings.Contains(n.Body, `1 open: "🔥 pg-1 <down>"`) {
		t.Errorf("shown %q / %q, %v", n.Title, n.Body, err)
	}
}

func webTooLarge(t *testing.T) {
	t.Parallel()
	r := newWebRig(t, nil)
	d, _ := r.browser("")
	r.sim.Script(string(d.Token), pushtest.Reject(http.StatusRequestEntityTooLarge, "too large"))
	m := r.page()
	m.Details = map[string]string{"runbook": strings.Repeat("x", 1000)}
	r.want(r.send(m, d), push.EndAccepted, push.AddressKeep)
	var sizes []int
	for _, q := range r.sim.Requests() { // on the wire all have the same size
		plain, err := r.sim.Open(q)
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, len(plain))
	}
	if len(sizes) != 2 || sizes[1] >= sizes[0] {
		t.Errorf("messages of %v bytes, want a second and smaller one", sizes)
	}
}

func webOddAnswers(t *testing.T) {
	t.Parallel()
	r := newWebRig(t, nil)
	d, _ := r.browser("")
	r.sim.Script(string(d.Token), pushtest.Page(http.StatusInternalServerError))
	res := r.send(r.page(), d)
	r.want(res, push.EndAccepted, push.AddressKeep)
	if len(res.Tries) != 2 || res.Tries[0].Status != 500 || res.Tries[0].Class != push.RetryLater {
		t.Errorf("tries %+v, want the page judged by its status", res.Tries)
	}
	r.sim.Script(string(d.Token), pushtest.Answer{Status: http.StatusGone, Body: []byte(`{"reason":`)})
	r.want(r.send(r.page(), d), push.EndRejected, push.AddressDrop)
}

func webUnknownReasons(t *testing.T) {
	t.Parallel()
	r := newWebRig(t, nil)
	d, _ := r.browser("")
	r.sim.Script(string(d.Token), pushtest.Reject(http.StatusServiceUnavailable, "NEW_IN_2027"))
	res := r.send(r.page(), d)
	r.want(res, push.EndAccepted, push.AddressKeep)
	if res.Attempts != 2 || res.Tries[0].Reason != "NEW_IN_2027" {
		t.Errorf("503: %+v, want two attempts, the reason verbatim", res)
	}
	r.sim.Script(string(d.Token), pushtest.Reject(http.StatusBadRequest, "NEW_IN_2027"))
	res = r.send(r.page(), d)
	r.want(res, push.EndRejected, push.AddressKeep)
	if res.Attempts != 1 || res.Outcome.Reason != "NEW_IN_2027" {
		t.Errorf("400: %+v, want one attempt, the reason verbatim", res)
	}
}

func webTTL(t *testing.T) {
	t.Parallel()
	r := newWebRig(t, nil)
	d, _ := r.browser("")
	for k, most := range map[push.Kind]int{push.KindPage: 120, push.KindTest: 120, push.KindClear: 300, push.KindInfo: 3600} {
		m := r.page()
		m.Kind = k
		r.want(r.send(m, d), push.EndAccepted, push.AddressKeep)
		req, _ := r.opened()
		if ttl, err := strconv.Atoi(req.Header["ttl"]); err != nil || ttl < 1 || ttl > most {
			t.Errorf("TTL %q of a %v, want 1 to %d", req.Header["ttl"], k, most)
		}
	}
}

func webMalformed(t *testing.T) {
	t.Parallel()
	r := newWebRig(t, nil)
	good, _ := r.browser("")
	for _, change := range []func(*push.Device){
		func(d *push.Device) { d.Token = "" },
		func(d *push.Device) { d.Token = "ab/../cd?x" },
		func(d *push.Device) { d.Token += "\n" },
		func(d *push.Device) { d.Token = push.Token(strings.Repeat("a", 10_000)) },
		func(d *push.Device) { d.Keys = push.SubscriptionKeys{} },
		func(d *push.Device) { d.Keys.Auth = "short" },
		func(d *push.Device) { d.Keys.P256dh = d.Keys.P256dh[:80] },
	} {
		d := good
		d.ID = uuid()
		change(&d)
		r.want(r.send(r.page(), d), push.EndRejected, push.AddressPark)
	}
	if n := r.sim.Count(); n != 0 {
		t.Errorf("%d requests, want none", n)
	}
}

func webDevicesInParallel(t *testing.T) {
	t.Parallel()
	r := newWebRig(t, nil)
	dead, _ := r.browser(pushtest.ServiceGoogle)
	silent, _ := r.browser(pushtest.ServiceMozilla)
	well, _ := r.browser(pushtest.ServiceApple)
	r.sim.Unsubscribe(string(dead.Token), http.StatusGone)
	r.sim.Script(string(silent.Token), pushtest.Break(pushtest.Silence))
	order := make(chan string, 3)
	for name, d := range map[string]push.Device{"dead": dead, "silent": silent, "well": well} {
		r.sender.Submit(push.Delivery{Message: r.page(), Device: d}, func(res push.Result) { order <- name + " " + res.End.String() })
	}
	first, second, third := <-order, <-order, <-order
	if third != "silent accepted" || (first != "dead rejected" && second != "dead rejected") {
		t.Errorf("ended in the order %s, %s, %s; want the silent one last, by its second try", first, second, third)
	}
}

func webRandomTrouble(t *testing.T) {
	t.Parallel()
	const pages, browsers = 600, 30
	r := newWebRig(t, nil)
	r.sim.Decide(func(q pushtest.Request) (pushtest.Answer, bool) {
		switch dice := (q.Connection*7919 + int(q.Stream)*104_729) % 1000; {
		case dice < 50:
			return pushtest.Reject(503, "unavailable"), true
		case dice < 60:
			return pushtest.Answer{Fault: pushtest.ResetStream, Deliver: dice%2 == 0}, true
		case dice < 61:
			return pushtest.Answer{Fault: pushtest.CloseConnection, Deliver: true}, true
		}
		return pushtest.Answer{}, false
	})
	hosts := []string{pushtest.ServiceApple, pushtest.ServiceGoogle, pushtest.ServiceMicrosoft, pushtest.ServiceMozilla}
	var devices []push.Device
	var phones []*pushtest.Phone
	for i := range browsers {
		d, p := r.browser(hosts[i%len(hosts)])
		devices, phones = append(devices, d), append(phones, p)
	}
	done := make(chan push.Result, pages)
	sent := map[string]bool{}
	for i := range pages {
		m := r.page()
		sent[m.DeliveryID] = true
		r.sender.Submit(push.Delivery{Message: m, Device: devices[i%browsers], Persist: true}, func(res push.Result) { done <- res })
	}
	for range pages {
		if res := <-done; res.End != push.EndAccepted {
			t.Fatalf("ended %v: %+v", res.End, res.Tries)
		}
	}
	got := map[string]bool{}
	for _, p := range phones {
		for _, n := range p.Got() {
			if got[n.DeliveryID] && !n.Duplicate {
				t.Errorf("delivery %s was shown twice", n.DeliveryID)
			}
			got[n.DeliveryID] = true
		}
	}
	for id := range sent {
		if !got[id] {
			t.Errorf("delivery %s was accepted and never arrived", id)
		}
	}
}
