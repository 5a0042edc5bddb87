package app

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/push/webpush"
	"github.com/tocsin-oncall/tocsin/server/config"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// An event rings the browser of somebody who has only that: the web app asks for
// the key, subscribes with it, and gets a page with an action token; the clear
// takes the page's place. Subscriptions of strangers are refused.
func TestAnEventRingsTheBrowser(t *testing.T) {
	w := newWorld(t, redistest.Start(t).URL())
	browsers := w.browsers()
	in := w.start(func(o *Options) { o.Config.Push.Apps = append(o.Config.Push.Apps, browsers.app) })
	in.apply(organisation)
	in.enrol(w, "cy", roster.Android)

	status, body := in.get("/v1/webPushKey")
	var key struct{ Key []byte }
	if err := json.Unmarshal([]byte(body), &key); status != http.StatusOK || err != nil {
		t.Fatalf("the key: %d %s", status, body)
	}
	public := base64.RawURLEncoding.EncodeToString(key.Key)
	if public != browsers.public {
		t.Fatalf("the key is %s, want %s", public, browsers.public)
	}
	phone, secret := in.browse(w, browsers, "ann")
	if err := in.server.pushes.CheckSubscription("oncall", secret); err != nil {
		t.Errorf("the browser's own subscription: %v", err)
	}
	strange := secret
	strange.Value = "https://evil.example/x"
	if err := in.server.pushes.CheckSubscription("oncall", strange); err == nil {
		t.Error("an endpoint of a stranger may be registered")
	}

	in.send("trigger", "db-1", "disk full")
	n := gets(t, phone, "the page", page)
	if !n.Audible() || n.IncidentID == "" || n.ActionToken == "" || n.ReceiptPath == "" || n.Platform != "web" {
		t.Errorf("the page is %+v", n)
	}
	in.send("resolve", "db-1", "disk full")
	over := gets(t, phone, "the clear", func(n pushtest.Notification) bool { return n.Kind == "clear" })
	if !over.Replaced || over.Audible() || over.CollapseID != n.CollapseID {
		t.Errorf("the clear is %+v, want it silently in the page's place", over)
	}
}

// browsers is a push service of browsers, and the app by which they are paged.
type browsers struct {
	*pushtest.WebPush
	app    config.PushApp
	public string // VAPID
}

func (w *world) browsers() *browsers {
	w.t.Helper()
	service, err := pushtest.NewWebPush(pushtest.WebPushOptions{Now: w.watch.Now})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(service.Close)
	vapid, err := webpush.NewKey()
	if err != nil {
		w.t.Fatal(err)
	}
	file, err := vapid.File()
	if err != nil {
		w.t.Fatal(err)
	}
	for name, text := range map[string][]byte{"vapid.json": file, "browsers.pem": service.CA()} {
		if err := os.WriteFile(w.file(name), text, 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	return &browsers{WebPush: service, public: vapid.PublicKey(), app: config.PushApp{
		ID: "oncall", Platform: "web", Environment: "production", VAPIDKeyFile: w.file("vapid.json"), Subject: "mailto:oncall@example.com",
		TestEndpoint: service.URL(), TestCAFile: w.file("browsers.pem"),
	}}
}

// browse gives a person a browser, and returns what it subscribed to.
func (in *instance) browse(w *world, b *browsers, user roster.UserID) (*pushtest.Phone, directory.AddressSecret) {
	in.t.Helper()
	phone := pushtest.NewPhone(pushtest.PhoneOptions{Name: string(user) + "'s browser", Now: w.watch.Now})
	in.t.Cleanup(phone.Close)
	sub, err := b.SubscribeWith(b.public, pushtest.ServiceMozilla, phone)
	if err != nil {
		in.t.Fatal(err)
	}
	secret := directory.AddressSecret{Value: sub.Endpoint, P256dh: decoded(in.t, sub.P256dh), Auth: decoded(in.t, sub.Auth)}
	d := directory.Device{
		Device: roster.Device{ID: roster.DeviceID("b" + user), User: user, Name: "browser", Platform: roster.Web, State: roster.DeviceActive},
		App:    "oncall", Install: newUUID(), Permission: directory.PermissionGranted, Can: directory.Capabilities{Alert: true, Actions: true},
	}
	if d.Address, err = in.server.directory.SealAddress(d.ID, directory.WebPush, secret, time.Now()); err != nil {
		in.t.Fatal(err)
	}
	if _, err := in.server.directory.Change(in.t.Context(), directory.ByServer("test"), func(e *directory.Edit) error { return e.Create(&d) }); err != nil {
		in.t.Fatal(err)
	}
	return phone, secret
}

func decoded(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
