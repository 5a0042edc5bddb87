package webpush_test

import (
	"strings"
	"testing"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/push/pushtest/providertest"
	"github.com/tocsin-oncall/tocsin/push/webpush"
)

func TestProvider(t *testing.T) {
	providertest.Run(t, func(t *testing.T) providertest.Subject {
		sim, err := pushtest.NewWebPush(pushtest.WebPushOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(sim.Close)
		p := newProvider(t, func(c *webpush.Config) { c.TestEndpoint = &webpush.TestEndpoint{URL: sim.URL(), CA: sim.CA()} })
		s, err := sim.SubscribeAt(pushtest.ServiceGoogle, nil)
		if err != nil {
			t.Fatal(err)
		}
		return providertest.Subject{
			Provider: p, Service: sim, Dead: pushtest.Reject(410, "gone"), NoHeartbeat: true,
			Device: push.Device{
				ID: "d1", Platform: push.Web, App: "web", Token: push.Token(s.Endpoint), Keys: push.SubscriptionKeys{P256dh: s.P256dh, Auth: s.Auth},
			},
			Foreign: []push.Token{"https://evil.example/", "https://169.254.169.254/latest", "http://fcm.googleapis.com/x", "https://127.0.0.1:1/x"},
		}
	})
}

func TestConfigurationIsRefusedWithTheReason(t *testing.T) {
	other, err := webpush.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		change func(*webpush.Config)
		says   string
	}{
		"no id":             {func(c *webpush.Config) { c.App = "" }, "no id"},
		"no key":            {func(c *webpush.Config) { c.Key = nil }, "empty"},
		"another key":       {func(c *webpush.Config) { c.PublicKey = other.PublicKey() }, "does not belong"},
		"no subject":        {func(c *webpush.Config) { c.Subject = "" }, "mailto:"},
		"subject at home":   {func(c *webpush.Config) { c.Subject = "mailto:oncall@localhost" }, "Apple refuses"},
		"no app":            {func(c *webpush.Config) { c.AppURL = "" }, "app URL"},
		"app without TLS":   {func(c *webpush.Config) { c.AppURL = "http://oncall.example.com/" }, "https://"},
		"app with fragment": {func(c *webpush.Config) { c.AppURL = "https://oncall.example.com/#x" }, "fragment"},
		"host":              {func(c *webpush.Config) { c.Hosts = []string{"https://push.example.org"} }, "host name"},
		"stranger":          {func(c *webpush.Config) { c.TestEndpoint = &webpush.TestEndpoint{URL: "https://192.0.2.1"} }, "loopback"},
		"no authority":      {func(c *webpush.Config) { c.TestEndpoint = &webpush.TestEndpoint{URL: "https://127.0.0.1:1"} }, "CA"},
	} {
		_, err := webpush.New(config(t, tc.change))
		if err == nil || !strings.Contains(err.Error(), tc.says) || !strings.HasPrefix(err.Error(), "webpush app ") {
			t.Errorf("%s: error %v, want one that names the app and says %q", name, err, tc.says)
		}
	}
	if err := webpush.CheckAppURL("https://oncall.example.com/" + strings.Repeat("x", 4000)); err == nil {
		t.Error("an app URL was taken that fills the payload of every page")
	}
	newProvider(t, func(c *webpush.Config) { c.AppURL = "http://localhost:8080/app/" }) // a secure context too
}
