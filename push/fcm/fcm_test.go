package fcm

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"firebase.google.com/go/v4/messaging"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/oauth2"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/internal/golden"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

const (
	plain404  = `{"error":{"code":404,"message":"Requested entity was not found.","status":"NOT_FOUND"}}`
	tokenText = `{"error":{"code":400,"message":"The registration token is not a valid FCM registration token","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"INVALID_ARGUMENT"}]}}`
	field     = `{"error":{"code":400,"message":"x","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"message.token","description":"x"}]}]}}`
	info      = `{"error":{"code":429,"message":"Quota exceeded for quota metric 'Send requests'","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"RATE_LIMIT_EXCEEDED","domain":"googleapis.com","metadata":{"consumer":"projects/1234"}}]}}`
	device    = `{"error":{"code":429,"message":"x","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"QUOTA_EXCEEDED"},{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"subject":"device:x"}]}]}}`
	disabled  = `{"error":{"code":403,"message":"x","status":"PERMISSION_DENIED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"SERVICE_DISABLED"}]}}`
	odd       = `{"error":{"code":"404","message":17,"status":"NOT_FOUND","details":[7,{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"UNREGISTERED","fieldViolations":9}]}}`
	project   = `{"error":{"code":429,"message":"x","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"subject":"project:1234","description":"x"}]}]}}`
)

func coded(code string) string {
	return `{"error":{"code":1,"message":"x","status":"S","details":[{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"` + code + `"}]}}`
}

// TestClassify has a row for each line of the table of errors, and for what
// proxies and the future may say.
func TestClassify(t *testing.T) {
	now := time.Unix(1_800_000_000, 0).UTC()
	for _, tc := range []struct {
		name   string
		status int
		after  string
		body   string
		class  push.Class
		scope  push.Scope
		reason string
		wait   time.Duration
		flags  string
	}{
		{"accepted", 200, "", `{"name":"x"}`, push.Accepted, 0, "", 0, ""},
		{"unregistered", 404, "", coded("UNREGISTERED"), push.DropAddress, 0, "UNREGISTERED", 0, ""},
		{"wrong project", 404, "", plain404, push.OurBug, 0, "NOT_FOUND", 0, "alert"},
		{"404 of a proxy", 404, "", "<html>", push.OurBug, 0, "", 0, "alert"},
		{"token by its sentence", 400, "", tokenText, push.DropAddress, 0, "INVALID_ARGUMENT", 0, "suspect verify"},
		{"token by its field", 400, "", field, push.DropAddress, 0, "INVALID_ARGUMENT", 0, "suspect verify"},
		{"other argument", 400, "", coded("INVALID_ARGUMENT"), push.OurBug, 0, "INVALID_ARGUMENT", 0, "safe alert"},
		{"400 of a proxy", 400, "", "<html>", push.OurBug, 0, "", 0, "safe alert"},
		{"another project's phone", 403, "", coded("SENDER_ID_MISMATCH"), push.Park, 0, "SENDER_ID_MISMATCH", 0, "alert"},
		{"partner", 401, "", coded("THIRD_PARTY_AUTH_ERROR"), push.AuthConfig, push.ScopePlatform, "THIRD_PARTY_AUTH_ERROR", 0, "alert"},
		{"account", 401, "", "", push.AuthConfig, 0, "", 0, "alert"},
		{"permission", 403, "", "", push.AuthConfig, 0, "", 0, "alert"},
		{"quota with time", 429, "7", coded("QUOTA_EXCEEDED"), push.RetryLater, push.ScopeQuota, "QUOTA_EXCEEDED", 7 * time.Second, ""},
		{"quota without", 429, "", "", push.RetryLater, push.ScopeQuota, "", time.Minute, ""},
		{"project quota by its consumer", 429, "", info, push.RetryLater, push.ScopeApp, "RATE_LIMIT_EXCEEDED", time.Minute, ""},
		{"quota of one phone", 429, "30", device, push.RetryLater, push.ScopeDevice, "QUOTA_EXCEEDED", 30 * time.Second, ""},
		{"API switched off", 403, "", disabled, push.AuthConfig, 0, "SERVICE_DISABLED", 0, "alert"},
		{"fields of other types", 404, "", odd, push.DropAddress, 0, "UNREGISTERED", 0, ""},
		{"partner by its older name", 401, "", coded("APNS_AUTH_ERROR"), push.AuthConfig, push.ScopePlatform, "APNS_AUTH_ERROR", 0, "alert"},
		{"project quota", 429, "9", project, push.RetryLater, push.ScopeApp, "RESOURCE_EXHAUSTED", 9 * time.Second, ""},
		{"internal", 500, "", coded("INTERNAL"), push.RetryLater, 0, "INTERNAL", 0, ""},
		{"unavailable", 503, "", coded("UNAVAILABLE"), push.RetryLater, 0, "UNAVAILABLE", 0, ""},
		{"with a date", 503, now.Add(time.Minute).Format(http.TimeFormat), coded("UNAVAILABLE"), push.RetryLater, 0, "UNAVAILABLE", time.Minute, ""},
		{"with nonsense", 503, "soon", "", push.RetryLater, 0, "", 0, ""},
		{"bad gateway", 502, "", "<html>", push.RetryLater, 0, "", 0, ""},
		{"gateway timeout", 504, "", "", push.RetryLater, 0, "", 0, ""},
		{"too large", 413, "", "", push.TooLarge, 0, "", 0, ""},
		{"teapot", 418, "", "", push.OurBug, 0, "", 0, "alert"},
		{"redirect", 302, "", "", push.OurBug, 0, "", 0, "alert"},
		{"future code", 503, "", coded("NEW_IN_2027"), push.RetryLater, 0, "NEW_IN_2027", 0, ""},
		{"unregistered with 503", 503, "", coded("UNREGISTERED"), push.RetryLater, 0, "UNREGISTERED", 0, ""},
	} {
		h := http.Header{}
		if tc.after != "" {
			h.Set("Retry-After", tc.after)
		}
		o := Classify(tc.status, h, []byte(tc.body), now)
		var flags []string
		for _, f := range []struct {
			name string
			on   bool
		}{{"suspect", o.Suspect}, {"verify", o.Verify}, {"safe", o.Safe}, {"alert", o.Alert != ""}} {
			if f.on {
				flags = append(flags, f.name)
			}
		}
		got := []any{o.Class, o.Scope, o.Reason, o.RetryAfter, strings.Join(flags, " "), o.Status}
		want := []any{tc.class, tc.scope, tc.reason, tc.wait, tc.flags, tc.status}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}

func FuzzClassify(f *testing.F) {
	for _, s := range []string{plain404, tokenText, field, project, coded("UNREGISTERED"), "<html>", "", "null", "[]", `{"error":[]}`, `{"error":{"details":[1,null]}}`} {
		f.Add(404, "120", []byte(s))
		f.Add(503, "Wed, 21 Oct 2026 07:28:00 GMT", []byte(s))
	}
	now := time.Unix(1_800_000_000, 0)
	f.Fuzz(func(t *testing.T, status int, after string, body []byte) {
		h := http.Header{"Retry-After": {after}}
		o := Classify(status, h, body, now)
		switch {
		case o.Class == 0:
			t.Fatalf("no class for %d", status)
		case o.Status != status:
			t.Fatalf("status %d became %d", status, o.Status)
		case o.RetryAfter < 0 || o.RetryAfter > 24*time.Hour:
			t.Fatalf("Retry-After %q became %v", after, o.RetryAfter)
		case o.Class == push.DropAddress && status != 404 && status != 400:
			t.Fatalf("a status of %d cost a phone its address", status)
		case status >= 500 && o.Class != push.RetryLater:
			t.Fatalf("%d is not tried again", status)
		case len(o.Reason) > 200 || len(o.Raw) > 512:
			t.Fatalf("reason of %d bytes, raw of %d", len(o.Reason), len(o.Raw))
		}
	})
}

func sample() push.Message {
	badge := 3
	return push.Message{
		Kind: push.KindPage, DeliveryID: "8f14e45f-ceea-467f-9a1b-3c2f4b7d9e01", IncidentID: "01k9x2m4q7", IncidentNumber: 42, Revision: 7,
		Severity: "critical", Title: "CRITICAL checkout", Subtitle: "Database down", Body: "pg-1 does not answer <since 03:12>",
		Details: map[string]string{"runbook": "https://wiki.example.com/pg"}, OpenPages: 2, Badge: &badge, CollapseID: "inc-01k9x2m4q7", ThreadID: "checkout",
		Sound: push.SoundCritical, Volume: 0.8, Deadline: time.Unix(1_800_000_120, 0), HighUrgency: true, ReceiptPath: "/v1/push/receipts",
	}
}

func TestPayloadGolden(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for name, change := range map[string]func(*push.Message){
		"page":          func(m *push.Message) { m.Sound = push.SoundNormal },
		"page-critical": func(*push.Message) {},
		"page-again":    func(m *push.Message) { m.Again = true },
		"page-sealed": func(m *push.Message) {
			m.Title, m.Subtitle, m.Body, m.Details, m.Redacted = "Page", "", "1 incident needs you: #42", nil, true
			m.Sealed, m.SealedKeyID = "c2VhbGVk", "k1"
		},
		"test": func(m *push.Message) { m.Kind = push.KindTest },
		"clear": func(m *push.Message) {
			m.Kind, m.Title, m.Subtitle, m.Body, m.Details, m.ReceiptPath = push.KindClear, "Acked by Ann", "", "#42 CRITICAL checkout", nil, ""
			m.PagedAt = now.Add(-time.Minute)
		},
		"info": func(m *push.Message) {
			m.Kind, m.Title, m.Body, m.Sound, m.Details = push.KindInfo, "You are on call", "From 09:00", push.SoundNone, nil
		},
		"heartbeat": func(m *push.Message) { m.Kind = push.KindHeartbeat },
		"minimal":   func(*push.Message) {},
	} {
		t.Run(name, func(t *testing.T) {
			m, form := sample(), push.FormFull
			change(&m)
			if name == "minimal" {
				form = push.FormMinimal
			}
			msg, _, _ := Build(&m, &push.Device{Token: "the-token-of-a-phone", Capabilities: push.Capabilities{Critical: true}}, form, now)
			got, err := json.MarshalIndent(msg, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden.Check(t, "payload/"+name+".json", string(got)+"\n")
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func FuzzBuild(f *testing.F) {
	f.Add("title", "sub", "body", "inc", "sealed", "key", "value", uint8(1), uint8(0), uint8(2), 3)
	f.Add("\x00\xff", "<&>", "\u2028🔥", strings.Repeat("i", 5000), strings.Repeat("s", 9000), "\"", "\\", uint8(2), uint8(2), uint8(1), -1)
	now := time.Unix(1_800_000_000, 0)
	var wire struct{ Message messaging.Message }
	client, err := newClient("oncall-1a2b3", "https://127.0.0.1:1/v1", roundTripper(func(r *http.Request) (*http.Response, error) {
		wire.Message = messaging.Message{}
		if err := json.NewDecoder(r.Body).Decode(&wire); err != nil {
			return nil, err
		}
		return shown(r, &exchange{status: http.StatusOK, body: []byte(`{"name":"x"}`)}), nil
	}))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, title, subtitle, body, incident, sealed, key, value string, kind, form, sound uint8, open int) {
		m := sample()
		m.Kind = push.Kind(kind%5 + 1)
		m.Title, m.Subtitle, m.Body, m.IncidentID, m.Sealed = title, subtitle, body, incident, sealed
		m.Details, m.Sound, m.OpenPages = map[string]string{key: value}, push.Sound(sound%3), open
		m.ThreadID, m.ReceiptPath, m.ActionToken, m.Severity = incident, key, sealed, title
		msg, size, _ := Build(&m, &push.Device{Token: "t"}, push.Form(form%3), now)
		if size > push.MaxPayload || size != dataSize(msg.Data) {
			t.Fatalf("%d bytes of data, said to be %d", dataSize(msg.Data), size)
		}
		for k, v := range msg.Data {
			if !utf8.ValidString(v) || k == "from" || k == "message_type" || strings.HasPrefix(k, "google") || strings.HasPrefix(k, "gcm") {
				t.Fatalf("data %q: %q", k, v)
			}
		}
		if msg.Android.Priority == "high" && !m.Kind.Loud() {
			t.Fatalf("a %v has high priority", m.Kind)
		}
		if _, err := client.Send(t.Context(), msg); err != nil {
			t.Fatalf("the SDK refuses it: %v", err)
		}
		if diff := cmp.Diff(msg, &wire.Message, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("on the wire (-built +read):\n%s", diff)
		}
	})
}

func FuzzToken(f *testing.F) {
	for _, s := range []string{"", "cXf0:APA91bAbc-_d", "a b", "../../etc/passwd", strings.Repeat("a", 5000)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if validToken(push.Token(s)) && (len(s) < 16 || len(s) > maxToken || strings.ContainsAny(s, " /\\\"<>?#\n\x00")) {
			t.Fatalf("token %q is let through", s)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "120", "-1", "1.5", "1e400", "NaN", "+Inf", "0x10", "Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 9999 07:28:00 GMT"} {
		f.Add(s, int64(1_800_000_000))
	}
	f.Fuzz(func(t *testing.T, value string, now int64) {
		if d := RetryAfter(value, time.Unix(now%1e11, 0)); d < 0 || d > 24*time.Hour {
			t.Fatalf("RetryAfter(%q) = %v", value, d)
		}
	})
}

func FuzzAccount(f *testing.F) {
	sim, err := pushtest.NewFCM(pushtest.FCMOptions{Project: "oncall-1a2b3"})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(sim.Close)
	file := sim.ServiceAccountJSON()
	for _, s := range []string{string(file), string(file[:200]), "", "{}", "[]", "null", "-----BEGIN", "AIza", `{"web":{}}`, `{"type":"service_account","private_key":"x"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		a, err := parseAccount(file, "oncall-1a2b3")
		if err != nil {
			if len(err.Error()) > 1000 {
				t.Fatalf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		if err := checkKey(a.PrivateKey); err != nil || a.ProjectID != "oncall-1a2b3" || a.ClientEmail == "" {
			t.Fatalf("an account that cannot be used is accepted: %v", err)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "-1": 0, "2": 2 * time.Second, " 10 ": 10 * time.Second, "1.5": 1500 * time.Millisecond, "1e9": 24 * time.Hour, "NaN": 0,
		"Sat, 21 Nov 2026 03:01:00 GMT": time.Minute, "Sat, 21 Nov 2026 02:00:00 GMT": 0, "tomorrow": 0,
	} {
		if got := RetryAfter(value, now); got != want {
			t.Errorf("RetryAfter(%q) = %v, want %v", value, got, want)
		}
	}
}

func TestConfigurationIsRefusedWithTheReason(t *testing.T) {
	sim, err := pushtest.NewFCM(pushtest.FCMOptions{Project: "oncall-1a2b3"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	edit := func(change func(m map[string]any)) []byte {
		m := map[string]any{}
		if err := json.Unmarshal(sim.ServiceAccountJSON(), &m); err != nil {
			t.Fatal(err)
		}
		change(m)
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	p8, _, err := pushtest.NewP8()
	if err != nil {
		t.Fatal(err)
	}
	damage := func(key any) string { return strings.Replace(fmt.Sprint(key), "M", "N", 3) }
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weakKey := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(weak)}))
	public := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&weak.PublicKey)}))
	simulator := &TestEndpoint{URL: sim.URL(), CA: sim.CA()}
	good := Config{App: "night", ProjectID: "oncall-1a2b3", ServiceAccount: sim.ServiceAccountJSON(), TestEndpoint: simulator}
	for name, tc := range map[string]struct {
		change func(*Config)
		says   string
	}{
		"project":         {func(c *Config) { c.ProjectID = "My Project" }, "project id"},
		"another project": {func(c *Config) { c.ProjectID = "oncall-other" }, "oncall-other"},
		"APNs key":        {func(c *Config) { c.ServiceAccount = p8 }, "a PEM file"},
		"not JSON":        {func(c *Config) { c.ServiceAccount = []byte("hello") }, "not JSON"},
		"empty":           {func(c *Config) { c.ServiceAccount = nil }, "is empty"},
		"a list":          {func(c *Config) { c.ServiceAccount = []byte("[1]") }, "not JSON of the expected form"},
		"OAuth client": {func(c *Config) {
			c.ServiceAccount = []byte(`{"installed":{"client_id":"x","project_id":"oncall-1a2b3"}}`)
		}, "an OAuth client"},
		"web OAuth client": {func(c *Config) { c.ServiceAccount = []byte(`{"web":{"client_id":"x"}}`) }, "an OAuth client"},
		"google-services": {func(c *Config) {
			c.ServiceAccount = []byte(`{"project_info":{"project_id":"oncall-1a2b3"},"client":[]}`)
		}, "google-services.json"},
		"API key": {func(c *Config) { c.ServiceAccount = []byte("AIzaSyD-not-a-key") }, "an API key"},
		"API key file": {func(c *Config) {
			c.ServiceAccount = []byte(`{"name":"projects/1/locations/global/keys/2","keyString":"AIzaSy"}`)
		}, "an API key"},
		"web app": {func(c *Config) { c.ServiceAccount = []byte(`{"apiKey":"AIzaSy","projectId":"oncall-1a2b3"}`) }, "a web app's configuration"},
		"100 KB": {func(c *Config) {
			c.ServiceAccount = edit(func(m map[string]any) { m["x"] = strings.Repeat("x", 100<<10) })
		}, "a key file has about 2,400"},
		"damaged key": {func(c *Config) {
			c.ServiceAccount = edit(func(m map[string]any) { m["private_key"] = damage(m["private_key"]) })
		}, "damaged"},
		"public key":       {func(c *Config) { c.ServiceAccount = edit(func(m map[string]any) { m["private_key"] = public }) }, "not a private key"},
		"short key":        {func(c *Config) { c.ServiceAccount = edit(func(m map[string]any) { m["private_key"] = weakKey }) }, "1024 bits"},
		"user credentials": {func(c *Config) { c.ServiceAccount = edit(func(m map[string]any) { m["type"] = "authorized_user" }) }, "service_account"},
		"no e-mail":        {func(c *Config) { c.ServiceAccount = edit(func(m map[string]any) { delete(m, "client_email") }) }, "client_email"},
		"no key":           {func(c *Config) { c.ServiceAccount = edit(func(m map[string]any) { m["private_key"] = "" }) }, "private_key"},
		"wrong key":        {func(c *Config) { c.ServiceAccount = edit(func(m map[string]any) { m["private_key"] = string(p8) }) }, "RSA"},
		"stranger":         {func(c *Config) { c.TestEndpoint = &TestEndpoint{URL: "https://192.0.2.1", CA: sim.CA()} }, "loopback"},
		"token stranger":   {func(c *Config) { c.TestEndpoint = nil }, "token_uri"},
		"no id":            {func(c *Config) { c.App = "" }, "no id"},
	} {
		c := good
		tc.change(&c)
		_, err := New(c)
		if err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: error %v, want one that says %q", name, err, tc.says)
		}
	}
	withMark := good // as some editors save it
	withMark.ServiceAccount = append([]byte("\xef\xbb\xbf"), good.ServiceAccount...)
	ofTheFile := good // the project is the account's
	ofTheFile.ProjectID = ""
	for _, c := range []Config{good, withMark, ofTheFile} {
		p, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A provider is made without asking anybody: neither Google's metadata server,
// which the SDK finds by its address, nor credentials that happen to lie around.
func TestNothingIsLookedUpAtTheStart(t *testing.T) {
	asked := make(chan string, 16)
	meta := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path }))
	t.Cleanup(meta.Close)
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(meta.URL, "http://"))
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "none.json"))
	t.Setenv("FIREBASE_CONFIG", "{damaged")
	t.Setenv("GOOGLE_API_USE_MTLS_ENDPOINT", "always")
	t.Setenv("EXPERIMENTAL_GOOGLE_API_USE_S2A", "true")
	var path string
	client, err := newClient("oncall-1a2b3", "https://"+hostFCM+"/v1", roundTripper(func(r *http.Request) (*http.Response, error) {
		path = r.URL.String()
		return shown(r, &exchange{status: http.StatusOK, body: []byte(`{"name":"x"}`)}), nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Send(t.Context(), &messaging.Message{Token: "x"}); err != nil {
		t.Fatal(err)
	}
	if want := "https://fcm.googleapis.com/v1/projects/oncall-1a2b3/messages:send"; path != want {
		t.Errorf("the message goes to %s, want %s", path, want)
	}
	select {
	case p := <-asked:
		t.Errorf("the metadata server was asked for %s", p)
	default:
	}
}

// What the SDK would try again or follow, it is not shown.
func TestTheSDKIsShownNothingToRepeat(t *testing.T) {
	lost := &exchange{err: &wayError{push.Outcome{Class: push.RetryLater, Reason: "NoConnection"}, errors.New("nobody there")}}
	for name, x := range map[string]*exchange{
		"503":            {status: 503, header: http.Header{"Retry-After": {"1"}}, body: []byte(coded("UNAVAILABLE"))},
		"lost":           lost,
		"redirect":       {status: 307, header: http.Header{"Location": {"https://example.com"}}},
		"429":            {status: 429, header: http.Header{"Retry-After": {"1"}}},
		"500":            {status: 500},
		"200 of a proxy": {status: 200, body: []byte("<html>")},
	} {
		calls := 0
		client, err := newClient("oncall-1a2b3", "https://127.0.0.1:1/v1", roundTripper(func(r *http.Request) (*http.Response, error) {
			calls++
			return shown(r, x), nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Send(t.Context(), &messaging.Message{Token: "x"}); err == nil {
			t.Errorf("%s: no error of the SDK", name)
		}
		if calls != 1 {
			t.Errorf("%s: %d requests of one call, want 1", name, calls)
		}
		if res := shown(nil, x); x.err == nil && (res.Header.Get("Retry-After") != x.header.Get("Retry-After") || res.ContentLength != int64(len(x.body))) { //nolint:bodyclose // nothing is behind it
			t.Errorf("%s: the SDK is shown %v with %d bytes, want what FCM said", name, res.Header, res.ContentLength)
		}
	}
	if res := shown(nil, lost); res.Header.Get(noAnswer) == "" { //nolint:bodyclose // it has none
		t.Error("an answer that never came has no mark")
	}
}

func TestFourCollapseKeysAPhone(t *testing.T) {
	var k keys
	now := time.Unix(1_800_000_000, 0)
	until := now.Add(time.Minute)
	for i := range 6 {
		if got, want := k.take("a", fmt.Sprint("inc-", i), until, now), i < 4; got != want {
			t.Errorf("key %d: %v, want %v", i, got, want)
		}
	}
	if !k.take("a", "inc-2", until.Add(time.Minute), now) {
		t.Error("a key that is there already is refused")
	}
	if !k.take("b", "inc-9", until, now) {
		t.Error("another phone is refused its first key")
	}
	if !k.take("a", "inc-9", until.Add(time.Hour), until) {
		t.Error("FCM has given the old messages up, and a new key is refused")
	}
	for i := range 3 * minSweep {
		at := until.Add(time.Duration(i) * time.Minute)
		k.take(push.Token(fmt.Sprint("phone", i)), "inc-1", at.Add(time.Minute), at)
	}
	if n := len(k.phones); n > minSweep {
		t.Errorf("%d phones are remembered although one can have anything stored", n)
	}
}

// A token service that answers without a usable token is no success: no request
// ever carries an empty bearer.
func TestTokensThatAreNone(t *testing.T) {
	for name, answer := range map[string]*oauth2.Token{
		"empty": {Expiry: time.Now().Add(time.Hour)}, "over": {AccessToken: "x", Expiry: time.Now().Add(-time.Second)},
	} {
		k := &tokens{
			fetch: func(context.Context) (*oauth2.Token, error) { return answer, nil },
			now:   time.Now, life: t.Context,
		}
		if bearer, err := k.get(t.Context()); err == nil || bearer != "" {
			t.Errorf("%s: %q, %v; want an error", name, bearer, err)
		}
		k.wg.Wait()
	}
}

// Only Google's own no is one: a proxy that redirects, or wants a password, is
// trouble on the way, and no reason to call the service account refused.
func TestWhoRefusesTheAccount(t *testing.T) {
	for status, want := range map[int]bool{302: false, 400: true, 401: true, 403: true, 407: false, 408: false, 429: false, 500: false, 503: false} {
		_, _, no := refused(&oauth2.RetrieveError{Response: &http.Response{StatusCode: status}, Body: []byte("<html>")})
		if no != want {
			t.Errorf("%d: refused %t, want %t", status, no, want)
		}
	}
}

// Each try to get a token has a connection of its own: one that died in the
// middle of a try does not take the next ones along.
func TestEachLoginHasItsConnection(t *testing.T) {
	var from []string
	server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { from = append(from, r.RemoteAddr) }))
	defer server.Close()
	client := newHTTP(server.Client().Transport.(*http.Transport).TLSClientConfig) //nolint:forcetypeassert // as made by httptest
	for range 2 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
	}
	if len(from) != 2 || from[0] == from[1] {
		t.Errorf("requests came from %v, want two connections", from)
	}
}
