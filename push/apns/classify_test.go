package apns

import (
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
)

// TestClassify has one row for each line of Apple's table and for what is not in it.
func TestClassify(t *testing.T) {
	since := time.UnixMilli(1_800_000_000_000)
	type flags struct{ suspect, env, safe, alert bool }
	for _, tc := range []struct {
		status int
		reason string
		class  push.Class
		scope  push.Scope
		flags
	}{
		{200, "", push.Accepted, 0, flags{}},
		{400, "BadDeviceToken", push.DropAddress, 0, flags{suspect: true, env: true}},
		{400, "DeviceTokenNotForTopic", push.Park, 0, flags{alert: true}},
		{400, "MissingDeviceToken", push.OurBug, 0, flags{alert: true}},
		{404, "BadPath", push.OurBug, 0, flags{alert: true}},
		{405, "MethodNotAllowed", push.OurBug, 0, flags{alert: true}},
		{400, "BadCollapseId", push.OurBug, 0, flags{safe: true, alert: true}},
		{400, "BadExpirationDate", push.OurBug, 0, flags{safe: true, alert: true}},
		{400, "BadMessageId", push.OurBug, 0, flags{safe: true, alert: true}},
		{400, "BadPriority", push.OurBug, 0, flags{safe: true, alert: true}},
		{400, "BadTopic", push.OurBug, 0, flags{safe: true, alert: true}},
		{400, "MissingTopic", push.OurBug, 0, flags{safe: true, alert: true}},
		{400, "InvalidPushType", push.OurBug, 0, flags{safe: true, alert: true}},
		{400, "DuplicateHeaders", push.OurBug, 0, flags{safe: true, alert: true}},
		{400, "PayloadEmpty", push.OurBug, 0, flags{safe: true, alert: true}},
		{400, "TopicDisallowed", push.AuthConfig, 0, flags{alert: true}},
		{400, "IdleTimeout", push.RetryNow, 0, flags{}},
		{403, "ExpiredProviderToken", push.RetryNow, 0, flags{}},
		{403, "InvalidProviderToken", push.AuthConfig, 0, flags{alert: true}},
		{403, "MissingProviderToken", push.AuthConfig, 0, flags{alert: true}},
		{403, "BadEnvironmentKeyInToken", push.AuthConfig, 0, flags{alert: true}},
		{403, "UnrelatedKeyIdInToken", push.AuthConfig, 0, flags{alert: true}},
		{403, "BadCertificate", push.AuthConfig, 0, flags{alert: true}},
		{403, "BadCertificateEnvironment", push.AuthConfig, 0, flags{alert: true}},
		{403, "Forbidden", push.AuthConfig, 0, flags{alert: true}},
		{410, "Unregistered", push.DropAddress, 0, flags{}},
		{410, "ExpiredToken", push.DropAddress, 0, flags{}},
		{413, "PayloadTooLarge", push.TooLarge, 0, flags{alert: true}},
		{429, "TooManyRequests", push.RetryLater, push.ScopeDevice, flags{}},
		{429, "TooManyProviderTokenUpdates", push.RetryNow, 0, flags{alert: true}},
		{500, "InternalServerError", push.RetryLater, 0, flags{}},
		{503, "ServiceUnavailable", push.RetryLater, 0, flags{}},
		{503, "Shutdown", push.RetryNow, 0, flags{}},
		// Not in Apple's table: by status, and never at the cost of an address.
		{400, "", push.OurBug, 0, flags{alert: true}},
		{400, "Unregistered", push.OurBug, 0, flags{alert: true}},
		{403, "", push.OurBug, 0, flags{alert: true}},
		{403, "SomethingNew", push.OurBug, 0, flags{alert: true}},
		{404, "", push.OurBug, 0, flags{alert: true}},
		{410, "", push.OurBug, 0, flags{alert: true}},
		{413, "", push.TooLarge, 0, flags{alert: true}},
		{429, "SomethingNew", push.RetryLater, push.ScopeDevice, flags{}},
		{301, "", push.OurBug, 0, flags{alert: true}},
		{502, "", push.RetryLater, 0, flags{}},
		{503, "BadDeviceToken", push.RetryLater, 0, flags{}},
		{599, "SomethingNew", push.RetryLater, 0, flags{}},
	} {
		o := Classify(tc.status, tc.reason, since)
		got := flags{o.Suspect, o.Env, o.Safe, o.Alert != ""}
		if o.Class != tc.class || o.Scope != tc.scope || got != tc.flags {
			t.Errorf("%d %s: %v, scope %d, %+v; want %v, %d, %+v", tc.status, tc.reason, o.Class, o.Scope, got, tc.class, tc.scope, tc.flags)
		}
		if o.Status != tc.status || o.Reason != tc.reason {
			t.Errorf("%d %s: kept as %d %q", tc.status, tc.reason, o.Status, o.Reason)
		}
		if dated := !o.Deadness.IsZero(); dated != (tc.class == push.DropAddress) {
			t.Errorf("%d %s: dated %v", tc.status, tc.reason, dated)
		}
	}
	covered := map[string]bool{}
	for _, r := range table {
		if covered[r.reason] && r.reason != "BadPath" {
			t.Errorf("%s is in the table twice", r.reason)
		}
		covered[r.reason] = true
	}
}

func FuzzParseResponse(f *testing.F) {
	for _, s := range []string{
		`{"reason":"BadDeviceToken"}`, `{"reason":"Unregistered","timestamp":1800000000000}`, `{"reason":"Unregistered","timestamp":"soon"}`,
		`{"timestamp":1e300}`, `{"timestamp":-1}`, `{"reason":null}`, `{"reason":["x"]}`, `<html></html>`, ``, `[]`, `null`, `{"reason":`,
	} {
		f.Add(410, []byte(s))
		f.Add(503, []byte(s))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		r := ParseResponse(status, nil, body)
		if r.StatusCode != status {
			t.Fatalf("status %d became %d", status, r.StatusCode)
		}
		if len(r.Reason) > maxReason {
			t.Fatalf("a reason of %d bytes", len(r.Reason))
		}
		if !r.Timestamp.IsZero() && (r.Timestamp.Year() < 1970 || r.Timestamp.Year() > 5200) {
			t.Fatalf("timestamp %v", r.Timestamp)
		}
		o := Classify(r.StatusCode, r.Reason, r.Timestamp)
		if o.Class == 0 {
			t.Fatalf("no class for %d %q", status, r.Reason)
		}
		if o.Class == push.DropAddress && status != 410 && status != 400 {
			t.Fatalf("a status of %d cost a phone its address", status)
		}
		if status >= 500 && o.Class != push.RetryLater && o.Class != push.RetryNow {
			t.Fatalf("%d %q is not tried again", status, r.Reason)
		}
	})
}

func FuzzClassify(f *testing.F) {
	for _, r := range table {
		f.Add(r.status, r.reason, int64(1_800_000_000_000))
	}
	f.Add(0, "", int64(0))
	f.Fuzz(func(t *testing.T, status int, reason string, since int64) {
		o := Classify(status, reason, time.UnixMilli(since))
		documented := false
		for _, r := range table {
			documented = documented || (r.status == status && r.reason == reason)
		}
		switch {
		case o.Class == 0 || o.Status != status || o.Reason != reason:
			t.Fatalf("%d %q became %+v", status, reason, o)
		case (o.Class == push.DropAddress || o.Class == push.Park || o.Class == push.AuthConfig) && !documented:
			t.Fatalf("%d %q, which Apple does not document, became %v", status, reason, o.Class)
		case o.Class == push.Accepted && (status < 200 || status > 299):
			t.Fatalf("%d counts as accepted", status)
		}
	})
}
