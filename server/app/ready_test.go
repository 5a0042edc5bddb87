package app

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/server/config"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// TestReadinessKnowsTheChannels: an installation that sends neither pushes nor
// mail is not ready by anybody's phone or address.
func TestReadinessKnowsTheChannels(t *testing.T) {
	w := newWorld(t, redistest.Start(t).URL())
	deaf := w.start(func(o *Options) { o.Config.Push.Apps = nil })
	deaf.apply(organisation)
	deaf.enrol(w, "cy", roster.IOS)
	if status, body := deaf.get("/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "push.apps") {
		t.Errorf("with a phone and no push app /readyz answers %d %s, want 503 for push.apps", status, body)
	}
	_, err := deaf.server.directory.Change(t.Context(), directory.ByServer("test"), func(e *directory.Edit) error {
		u, _ := e.GetUser("cy")
		c := *u
		c.Methods = []roster.Method{{ID: "mail", Kind: roster.Email, Address: "cy@example.com", Verified: true}}
		e.Force()
		return e.Update(&c, "")
	})
	if err != nil {
		t.Fatal(err)
	}
	deaf.stop()

	able := w.start(func(o *Options) {
		o.Config.Push.Apps, o.Config.SMTP.Host, o.Config.SMTP.From = nil, "127.0.0.1", "tocsin@example.com"
	})
	if status, body := able.get("/readyz"); status != http.StatusOK {
		t.Errorf("with a verified address and smtp.host /readyz answers %d %s, want 200", status, body)
	}
}

func TestAppsServe(t *testing.T) {
	a := apps{
		{ID: "oncall", Platform: "ios", Bundle: "com.example.oncall"},
		{ID: "project", Platform: "android"},
	}
	for _, c := range []struct {
		apps     apps
		platform push.Platform
		name     string
		want     bool
	}{
		{a, push.IOS, "oncall", true},
		{a, push.IOS, "com.example.oncall", true},
		{a, push.IOS, "com.example.other", false},
		{a, push.Android, "com.example.whatever", true}, // the token says which project it is for
		{append(a[:2:2], config.PushApp{ID: "second", Platform: "android"}), push.Android, "com.example.whatever", false},
		{a, push.Web, "oncall", false},
		{nil, push.IOS, "oncall", false},
	} {
		if got := c.apps.serves(c.platform, c.name); got != c.want {
			t.Errorf("%v serve %s app %q: %t, want %t", c.apps, c.platform, c.name, got, c.want)
		}
	}
}
