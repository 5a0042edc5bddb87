package push_test

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/apns"
	"github.com/tocsin-oncall/tocsin/push/fcm"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

const (
	team   = "TEAM000001"
	keyID  = "KEY0000001"
	bundle = "com.example.oncall"
	pkg    = "com.example.oncall.android"
)

// rig is a sender with both providers against simulators.
type rig struct {
	t      testing.TB
	apple  *pushtest.APNs
	google *pushtest.FCM
	sender *push.Sender
	apns   *apns.Provider
	fcm    *fcm.Provider
	clock  *clock
	mu     sync.Mutex
	alerts []push.Alert
}

// clock is time that a test can move; it runs on between moves.
type clock struct {
	mu     sync.Mutex
	offset time.Duration
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

func (c *clock) Forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
}

type rigOption func(*rigOptions)

type rigOptions struct {
	apple   pushtest.APNsOptions
	google  pushtest.FCMOptions
	config  apns.Config
	apps    func([]push.App) []push.App
	options push.Options
	clock   *clock // the rig's
}

func newRig(t testing.TB, options ...rigOption) *rig {
	t.Helper()
	r := &rig{t: t, clock: &clock{}}
	o := rigOptions{clock: r.clock, config: apns.Config{App: "ios", BundleID: bundle, TeamID: team, KeyID: keyID, CriticalEntitled: true, Now: r.clock.Now}}
	o.apple.Now, o.google.Now = r.clock.Now, r.clock.Now
	for _, f := range options {
		f(&o)
	}
	var err error
	if r.apple, err = pushtest.NewAPNs(o.apple); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.apple.Close)
	if r.google, err = pushtest.NewFCM(o.google); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.google.Close)
	o.config.Key = r.apple.NewKey(team, keyID)
	o.config.Metrics = o.options.Metrics
	o.config.TestEndpoint = &apns.TestEndpoint{URL: r.apple.URL(), CA: r.apple.CA()}
	if r.apns, err = apns.New(o.config); err != nil {
		t.Fatal(err)
	}
	r.fcm, err = fcm.New(fcm.Config{
		App: "android", ProjectID: r.google.Project(), ServiceAccount: r.google.ServiceAccountJSON(), Now: r.clock.Now,
		TestEndpoint: &fcm.TestEndpoint{URL: r.google.URL(), CA: r.google.CA()}, Metrics: o.options.Metrics,
	})
	if err != nil {
		t.Fatal(err)
	}
	o.options.OnAlert = func(a push.Alert) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.alerts = append(r.alerts, a)
	}
	if testing.Verbose() {
		o.options.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	r.sender = push.NewSender(o.options)
	apps := []push.App{
		{ID: "ios", Provider: "apns", Environment: push.Production, Via: r.apns},
		{ID: "android", Provider: "fcm", Via: r.fcm},
	}
	if o.apps != nil {
		apps = o.apps(apps)
	}
	if err := r.sender.SetApps(apps); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.sender.Close(t.Context()); err != nil && t.Context().Err() == nil {
			t.Errorf("close the sender: %v", err)
		}
	})
	return r
}

func (r *rig) phone(name string) *pushtest.Phone {
	p := pushtest.NewPhone(pushtest.PhoneOptions{Name: name, Now: r.clock.Now})
	r.t.Cleanup(p.Close)
	return p
}

func (r *rig) iphone() (push.Device, *pushtest.Phone) {
	p := r.phone("iPhone")
	d := iosDevice(r.apple.Register(p, bundle))
	return d, p
}

func iosDevice(token string) push.Device {
	return push.Device{
		ID: uuid(), Platform: push.IOS, App: "ios", Environment: push.Production, EnvironmentConfirmed: true,
		Token: push.Token(token), Capabilities: push.Capabilities{Critical: true, TimeSensitive: true},
	}
}

func (r *rig) android() (push.Device, *pushtest.Phone) {
	p := r.phone("Android")
	return push.Device{ID: uuid(), Platform: push.Android, App: "android", Token: push.Token(r.google.Register(p, pkg))}, p
}

// page is a page with a deadline in two minutes.
func (r *rig) page() push.Message {
	incident := "inc" + uuid()[:8]
	return push.Message{
		Kind: push.KindPage, DeliveryID: uuid(), IncidentID: incident, IncidentNumber: 42, Revision: 1, Severity: "critical",
		Title: "CRITICAL checkout", Subtitle: "Database down", Body: "pg-1 does not answer", OpenPages: 1,
		CollapseID: "inc-" + incident, ThreadID: "checkout", Sound: push.SoundNormal, HighUrgency: true,
		Deadline: r.clock.Now().Add(2 * time.Minute), ReceiptPath: "/v1/push/receipts",
	}
}

func (r *rig) send(m push.Message, d push.Device) push.Result {
	r.t.Helper()
	return r.sender.Send(r.t.Context(), push.Delivery{Message: m, Device: d})
}

func (r *rig) want(res push.Result, end push.End) {
	r.t.Helper()
	if res.End != end {
		r.t.Fatalf("ended %v, want %v; last outcome %+v, tries %+v", res.End, end, res.Outcome, res.Tries)
	}
}

func (r *rig) alerted() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var texts []string
	for _, a := range r.alerts {
		texts = append(texts, a.Text)
	}
	return texts
}

func uuid() string {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		panic(err)
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
