package webpush

import (
	"net/url"
	"strings"
	"testing"

	"github.com/tocsin-oncall/tocsin/push"
)

func TestFurtherHosts(t *testing.T) {
	for host, says := range map[string]string{
		"push.example.org": "", "*.push.example.org": "", "https://push.example.org": "host name", "push": "host name", "*": "host name", "*.": "host name", "*.org": "host name",
		"": "host name", "10.0.0.1": "host name", "push.example.org:443": "host name", "Push.example.org": "host name", "-a.example.org": "host name", "a..b": "host name", "a*.example.org": "host name",
	} {
		if _, err := parseHosts([]string{host}); (err == nil) != (says == "") || (err != nil && !strings.Contains(err.Error(), says)) {
			t.Errorf("%q: %v, want %q", host, err, says)
		}
	}
	for endpoint, open := range map[string]bool{
		"https://a.push.example.org/x": true, "https://push.example.org/x": false, "https://apush.example.org/x": false, "https://a.b.push.example.org/x": true,
		"https://fcm.googleapis.com/x": true, "https://fcm.googleapis.com:443/x": true, "https://FCM.googleapis.com/x": true,
		"https://fcm.googleapis.com:/x": false, "https://fcm.googleapis.com./x": false, "https://fcm.googleapis.com:0443/x": false, // each would be another origin in the VAPID token
	} {
		if err := CheckEndpoint(endpoint, "*.push.example.org"); (err == nil) != open {
			t.Errorf("%s: %v, want it open %t", endpoint, err, open)
		}
	}
}

func TestPartNamesTheService(t *testing.T) {
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	file, err := k.File()
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(Config{App: "web", Key: file, Subject: "mailto:a@example.com", AppURL: "https://oncall.example.com/", Hosts: []string{"push.example.org", "*.corp.example.org"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	for endpoint, want := range map[string]string{
		"https://fcm.googleapis.com/fcm/send/x": "google", "https://updates.push.services.mozilla.com/wpush/v2/x": "mozilla",
		"https://wns2-par02p.notify.windows.com/w/?token=x": "microsoft", "https://web.push.apple.com/QX": "apple",
		"https://push.example.org/x": "push.example.org", "https://a.corp.example.org/x": "corp.example.org", "https://evil.example/x": "", "": "",
	} {
		if got := p.Part(&push.Device{Token: push.Token(endpoint)}); got != want {
			t.Errorf("%s is at %q, want %q", endpoint, got, want)
		}
	}
}

// FuzzCheckEndpoint holds what is let through to what a browser's maker could
// have given out, by another reading of the URL than the check's own.
func FuzzCheckEndpoint(f *testing.F) {
	for _, s := range []string{
		"https://fcm.googleapis.com/fcm/send/x", "https://web.push.apple.com/QX", "https://wns2-par02p.notify.windows.com/w/?token=B%3d",
		"https://127.0.0.1:8080/a.apple.com/x", "https://evil.example/a.google.com/", "https://fcm.googleapis.com@evil.example/", `https://evil.example\@fcm.googleapis.com/x`,
		"https://fcm.googleapis.com%2eevil.example/x", "https://[::1%25fcm.googleapis.com]/x", "https://fcm.googleapis.com:443x/",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if CheckEndpoint(s) != nil {
			return
		}
		rest, https := strings.CutPrefix(strings.ToLower(s), "https://")
		authority, _, path := strings.Cut(rest, "/")
		name := strings.TrimSuffix(authority, ":443")
		fine := name == "fcm.googleapis.com" || name == "updates.push.services.mozilla.com" ||
			strings.HasSuffix(name, ".notify.windows.com") || strings.HasSuffix(name, ".push.apple.com")
		if !https || !path || !fine || strings.ContainsAny(name, "@\\?#%[]: ") {
			t.Errorf("%q is let through", s)
		}
		u, err := url.Parse(s)
		if err != nil || u.User != nil || u.Fragment != "" || len(s) > maxEndpoint {
			t.Errorf("%q is let through: %v, %v", s, u, err)
		}
	})
}
