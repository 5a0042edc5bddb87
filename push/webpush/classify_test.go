package webpush

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
)

func TestClassify(t *testing.T) {
	now := time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name   string
		status int
		after  string
		body   string
		class  push.Class
		scope  push.Scope
		wait   time.Duration
		reason string
		alert  string
	}{
		{"created", 201, "", "", push.Accepted, 0, 0, "", ""},
		{"ok", 200, "", "done", push.Accepted, 0, 0, "", ""},
		{"accepted", 202, "", "", push.Accepted, 0, 0, "", ""},
		{"bad request", 400, "", `{"reason":"BadWebPushTopic"}`, push.OurBug, 0, 0, "BadWebPushTopic", alertRequest},
		{"Apple, another key", 400, "", `{"reason":"VapidPkHashMismatch"}`, push.Park, 0, 0, "VapidKeyMismatch", alertKey},
		{"Apple, another key, 403", 403, "", `{"reason":"VapidPkHashMismatch"}`, push.Park, 0, 0, "VapidKeyMismatch", alertKey},
		{"Google, another key", 403, "", "the VAPID credentials in the authorization header do not correspond to the credentials used to create the subscriptions.\n", push.Park, 0, 0, "VapidKeyMismatch", alertKey},
		{"Google, old words", 403, "", "the key in the authorization header does not correspond to the sender ID used to subscribe this user.", push.Park, 0, 0, "VapidKeyMismatch", alertKey},
		{"Mozilla, another key", 401, "", `{"code":401,"errno":109,"error":"Unauthorized","message":"VAPID public key mismatch"}`, push.Park, 0, 0, "VapidKeyMismatch", alertKey},
		{"Mozilla, token", 401, "", `{"code":401,"errno":109,"message":"Request did not validate Invalid Authorization Header"}`, push.AuthConfig, 0, 0, "Request did not validate Invalid Authorization Header", alertAuth},
		{"Apple, token", 403, "", `{"reason":"BadJwtToken"}`, push.AuthConfig, 0, 0, "BadJwtToken", alertAuth},
		{"forbidden page", 403, "", "<html>proxy</html>", push.AuthConfig, 0, 0, "", alertAuth},
		{"lost", 404, "", "", push.DropAddress, 0, 0, "", ""},
		{"gone", 410, "", `{"reason":"Unregistered"}`, push.DropAddress, 0, 0, "Unregistered", ""},
		{"Microsoft's too many", 406, "10", "", push.RetryLater, push.ScopeQuota, 10 * time.Second, "", ""},
		{"too large", 413, "", "", push.TooLarge, 0, 0, "", alertSize},
		{"too many", 429, "Sat, 28 Nov 2026 03:01:00 GMT", "", push.RetryLater, push.ScopeQuota, time.Minute, "", ""},
		{"too many, no time", 429, "", "", push.RetryLater, push.ScopeQuota, 0, "", ""},
		{"request timeout", 408, "", "", push.RetryLater, 0, 0, "", ""},
		{"server", 500, "", "oh no\nsecond line", push.RetryLater, 0, 0, "oh no", ""},
		{"unavailable", 503, "2", "<html>", push.RetryLater, 0, 2 * time.Second, "", ""},
		{"unheard of", 599, "", "", push.RetryLater, 0, 0, "", ""},
		{"redirect", 307, "", "", push.OurBug, 0, 0, "", alertRedirect},
		{"teapot", 418, "", "short and stout", push.OurBug, 0, 0, "short and stout", alertUnknown},
	} {
		o := Classify(tc.status, http.Header{"Retry-After": {tc.after}, "Location": {"https://push.example/m/1"}}, []byte(tc.body), now)
		if o.Class != tc.class || o.Scope != tc.scope || o.RetryAfter != tc.wait || o.Reason != tc.reason || o.Alert != tc.alert || o.Status != tc.status {
			t.Errorf("%s: %v scope %v wait %v reason %q alert %q status %d", tc.name, o.Class, o.Scope, o.RetryAfter, o.Reason, o.Alert, o.Status)
		}
		if accepted := o.ProviderID != ""; accepted != (tc.class == push.Accepted) {
			t.Errorf("%s: the Location is kept %t", tc.name, accepted)
		}
		if o.Class == push.DropAddress && o.Suspect != (tc.status == 404) {
			t.Errorf("%s: suspect %t; a 404 may be a proxy's, a 410 is not", tc.name, o.Suspect)
		}
	}
}

// FuzzClassify holds answers of any form to what must be so: an address is lost
// only by 404 and 410, success is in the status alone.
func FuzzClassify(f *testing.F) {
	f.Add(201, "", []byte(""))
	f.Add(403, "5", []byte(`{"reason":"BadJwtToken"}`))
	f.Add(401, "x", []byte(`{"message":{"a":1}}`))
	f.Add(503, "1e400", []byte("<html>"))
	f.Fuzz(func(t *testing.T, status int, after string, body []byte) {
		o := Classify(status, http.Header{"Retry-After": {after}}, body, time.Unix(0, 0))
		switch {
		case o.Class == 0:
			t.Fatal("no class")
		case (o.Class == push.DropAddress) != (status == 404 || status == 410):
			t.Fatalf("%d became %v", status, o.Class)
		case (o.Class == push.Accepted) != (status >= 200 && status < 300):
			t.Fatalf("%d became %v", status, o.Class)
		case o.RetryAfter < 0 || o.RetryAfter > 24*time.Hour:
			t.Fatalf("Retry-After %q became %v", after, o.RetryAfter)
		case len(o.Reason) > maxReason || strings.Contains(o.Reason, "\n") || len(o.Raw) > 512:
			t.Fatalf("reason %q, raw of %d bytes", o.Reason, len(o.Raw))
		}
	})
}
