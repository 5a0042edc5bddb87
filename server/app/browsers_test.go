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
	browsers, err := pushtest.NewWebPush(pushtest.WebPushOptions{Now: w.watch.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(browsers.Close)
	vapid, err := webpush.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	file, err := vapid.File()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"vapid.json": file, "browsers.pem": browsers.CA()} {
		if err := os.WriteFile(w.file(name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	in := w.start(func(o *Options) {
		o.Config.Push.Apps = append(o.Config.Push.Apps, config.PushApp{
			ID: "oncall", Platform: "web", Environment: "production", VAPIDKeyFile: w.file("vapid.json"), Subject: "mailto:oncall@example.com",
			TestEndpoint: browsers.URL(), TestCAFile: w.file("browsers.pem"),
		})
	})
	in.apply(organisation)
	in.enrol(w, "cy", roster.Android)

	status, body := in.get("/v1/webPushKey")
	var key struct{ Key []byte }
	if err := json.Unmarshal([]byte(body), &key); status != http.StatusOK || err != nil {
		t.Fatalf("the key: %d %s", status, body)
	}
	public := base64.RawURLEncoding.EncodeToString(key.Key)
	if public != vapid.PublicKey() {
		t.Fatalf("the key is %s, want %s", public, vapid.PublicKey())
	}
	phone := pushtest.NewPhone(pushtest.PhoneOptions{Name: "ann's browser", Now: w.watch.Now})
	t.Cleanup(phone.Close)
	sub, err := browsers.SubscribeWith(public, pushtest.ServiceMozilla, phone)
	if err != nil {
		t.Fatal(err)
	}
	secret := directory.AddressSecret{Value: sub.Endpoint, P256dh: decoded(t, sub.P256dh), Auth: decoded(t, sub.Auth)}
	if err := in.server.pushes.CheckSubscription("oncall", secret); err != nil {
		t.Errorf("the browser's own subscription: %v", err)
	}
	strange := secret
	strange.Value = "https://evil.example/x"
	if err := in.server.pushes.CheckSubscription("oncall", strange); err == nil {
		t.Error("an endpoint of a stranger may be registered")
	}
	d := directory.Device{
		Device: roster.Device{ID: "dann", User: "ann", Name: "browser", Platform: roster.Web, State: roster.DeviceActive},
		App:    "oncall", Install: newUUID(), Permission: directory.PermissionGranted, Can: directory.Capabilities{Alert: true, Actions: true},
	}
	if d.Address, err = in.server.directory.SealAddress(d.ID, directory.WebPush, secret, time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := in.server.directory.Change(t.Context(), by("test"), func(e *directory.Edit) error { return e.Create(&d) }); err != nil {
		t.Fatal(err)
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

func decoded(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
