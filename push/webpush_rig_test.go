package push_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/push/webpush"
)

const webSubject = "mailto:oncall@example.com"

// webRig is a sender with a Web Push provider against a simulator that stands
// for the push services of all browsers.
type webRig struct {
	t      testing.TB
	sim    *pushtest.WebPush
	via    *webpush.Provider
	sender *push.Sender
	clock  *clock

	mu     sync.Mutex
	alerts []push.Alert
}

func newWebRig(t testing.TB, change func(*pushtest.WebPushOptions, *webpush.Config)) *webRig {
	t.Helper()
	r := &webRig{t: t, clock: &clock{}}
	o := pushtest.WebPushOptions{Now: r.clock.Now}
	key, err := webpush.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	file, err := key.File()
	if err != nil {
		t.Fatal(err)
	}
	c := webpush.Config{App: "web", Key: file, Subject: webSubject, AppURL: "https://oncall.example.com/app/", Now: r.clock.Now}
	if change != nil {
		change(&o, &c)
	}
	if r.sim, err = pushtest.NewWebPush(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.sim.Close)
	c.TestEndpoint = &webpush.TestEndpoint{URL: r.sim.URL(), CA: r.sim.CA()}
	if r.via, err = webpush.New(c); err != nil {
		t.Fatal(err)
	}
	options := push.Options{OnAlert: func(a push.Alert) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.alerts = append(r.alerts, a)
	}}
	if testing.Verbose() {
		options.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	r.sender = push.NewSender(options)
	if err := r.sender.SetApps([]push.App{{ID: "web", Provider: "webpush", Via: r.via}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.sender.Close(context.Background()); err != nil {
			t.Errorf("close the sender: %v", err)
		}
	})
	return r
}

// browser is a browser with a subscription at a push service.
func (r *webRig) browser(host string) (push.Device, *pushtest.Phone) {
	r.t.Helper()
	p := pushtest.NewPhone(pushtest.PhoneOptions{Name: "browser", Now: r.clock.Now})
	r.t.Cleanup(p.Close)
	s, err := r.sim.SubscribeWith(r.via.PublicKey(), host, p)
	if err != nil {
		r.t.Fatal(err)
	}
	return webDevice(s), p
}

func webDevice(s pushtest.Subscription) push.Device {
	return push.Device{
		ID: uuid(), Platform: push.Web, App: "web", Token: push.Token(s.Endpoint),
		Keys: push.SubscriptionKeys{P256dh: s.P256dh, Auth: s.Auth},
	}
}

func (r *webRig) page() push.Message { return (&rig{clock: r.clock}).page() }

func (r *webRig) send(m push.Message, d push.Device) push.Result {
	r.t.Helper()
	return r.sender.Send(r.t.Context(), push.Delivery{Message: m, Device: d})
}

func (r *webRig) want(res push.Result, end push.End, address push.Address) {
	r.t.Helper()
	if res.End != end || res.Address != address {
		r.t.Fatalf("ended %v, address %v; want %v, %v; last outcome %+v, tries %+v", res.End, res.Address, end, address, res.Outcome, res.Tries)
	}
}

func (r *webRig) alerted() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, a := range r.alerts {
		all = append(all, a.App+": "+a.Text)
	}
	return strings.Join(all, "; ")
}

// opened is what the last request carried.
func (r *webRig) opened() (pushtest.Request, map[string]any) {
	r.t.Helper()
	all := r.sim.Requests()
	last := all[len(all)-1]
	plain, err := r.sim.Open(last)
	if err != nil {
		r.t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(plain, &m); err != nil {
		r.t.Fatalf("%s: %v", plain, err)
	}
	return last, m
}

func vapidClaims(t testing.TB, header string) (claims struct {
	Aud, Sub string
	Exp      int64
},
) {
	t.Helper()
	_, jwt, _ := strings.Cut(header, "t=")
	parts := strings.Split(jwt, ".")
	if len(parts) < 3 {
		t.Fatalf("Authorization %q", header)
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}
