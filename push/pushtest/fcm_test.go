package pushtest_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

// googleAnswer is an error as Google's client libraries read it.
type googleAnswer struct {
	http   int
	kind   string
	header http.Header
	Error  struct {
		Code    int
		Message string
		Status  string
		Details []struct {
			Type            string `json:"@type"`
			ErrorCode       string
			Reason          string
			FieldViolations []struct{ Field string }
			Violations      []struct{ Subject string }
		}
	}
}

func (g googleAnswer) code() string {
	for _, d := range g.Error.Details {
		if strings.HasSuffix(d.Type, "FcmError") {
			return d.ErrorCode
		}
	}
	return ""
}

// claims are those of an assertion.
type claims map[string]any

// account is made once: its RSA key takes longer than any test.
var account = sync.OnceValue(func() []byte {
	f, err := pushtest.NewFCM(pushtest.FCMOptions{})
	if err != nil {
		panic(err)
	}
	defer f.Close()
	return f.ServiceAccountJSON()
})

type fcmBench struct {
	t     *testing.T
	fcm   *pushtest.FCM
	c     *http.Client
	token string
	auth  string
}

func newFCMBench(t *testing.T, o pushtest.FCMOptions) *fcmBench {
	t.Helper()
	if o.Project == "" {
		o.ServiceAccount = account()
	}
	f, err := pushtest.NewFCM(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	b := &fcmBench{t: t, fcm: f, c: client(t, f.CA()), token: f.Register(nil, "app")}
	status, _, token := b.grant(b.assertion(nil))
	if status != http.StatusOK {
		t.Fatalf("no OAuth token: %d", status)
	}
	b.auth = "Bearer " + token
	return b
}

// assertion signs what a service account says, with some claims changed.
func (b *fcmBench) assertion(changes claims) string {
	b.t.Helper()
	var account struct {
		ClientEmail string `json:"client_email"`
		PrivateKey  string `json:"private_key"`
		TokenURI    string `json:"token_uri"`
	}
	if err := json.Unmarshal(b.fcm.ServiceAccountJSON(), &account); err != nil {
		b.t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(account.PrivateKey))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		b.t.Fatal(err)
	}
	now := time.Now()
	all := claims{
		"iss": account.ClientEmail, "aud": account.TokenURI, "scope": "https://www.googleapis.com/auth/firebase.messaging",
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	maps.Copy(all, changes)
	body, err := json.Marshal(all)
	if err != nil {
		b.t.Fatal(err)
	}
	s := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(body)
	digest := sha256.Sum256([]byte(s))
	sig, err := rsa.SignPKCS1v15(nil, key.(*rsa.PrivateKey), crypto.SHA256, digest[:])
	if err != nil {
		b.t.Fatal(err)
	}
	return s + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func (b *fcmBench) grant(assertion string) (status int, word, token string) {
	b.t.Helper()
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}}
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.fcm.URL()+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := b.c.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	var fields struct {
		Error string
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&fields); err != nil {
		b.t.Fatal(err)
	}
	return res.StatusCode, fields.Error, fields.Token
}

func (b *fcmBench) send(token string) googleAnswer {
	b.t.Helper()
	return b.post("/v1/projects/"+b.fcm.Project()+"/messages:send", fmt.Sprintf(`{"message":{"token":%q,"data":{"k":"page"}}}`, token))
}

func (b *fcmBench) post(path, body string) (g googleAnswer) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.fcm.URL()+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Authorization", b.auth)
	res, err := b.c.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	g.http, g.kind, g.header = res.StatusCode, res.Header.Get("Content-Type"), res.Header
	if strings.HasPrefix(g.kind, "application/json") {
		if err := json.Unmarshal(text, &g); err != nil {
			b.t.Fatalf("%s: %v", text, err)
		}
	}
	return g
}

var googleProvocations = map[string]struct {
	options pushtest.FCMOptions
	do      func(*fcmBench) googleAnswer
}{
	"400 INVALID_ARGUMENT": {do: func(b *fcmBench) googleAnswer { return b.send("nobody") }},
	"401 THIRD_PARTY_AUTH_ERROR": {do: func(b *fcmBench) googleAnswer {
		b.fcm.BreakPartner("ios", true)
		if got := b.send(b.token); got.http != http.StatusOK {
			b.t.Errorf("an Android phone got %d for Apple's credential", got.http)
		}
		return b.send(b.fcm.RegisterFor("ios", nil, "app"))
	}},
	"401 ": {do: func(b *fcmBench) googleAnswer {
		b.fcm.RevokeTokens()
		return b.send(b.token)
	}},
	"403 SENDER_ID_MISMATCH": {do: func(b *fcmBench) googleAnswer { return b.send(b.fcm.RegisterForeign(nil, "app", "another-project")) }},
	"403 ": {do: func(b *fcmBench) googleAnswer {
		b.fcm.Deny(true)
		return b.send(b.token)
	}},
	"404 UNREGISTERED": {do: func(b *fcmBench) googleAnswer {
		b.fcm.Unregister(b.token)
		return b.send(b.token)
	}},
	"404 ": {do: func(b *fcmBench) googleAnswer { return b.post("/v1/projects/another/messages:send", `{}`) }},
	"429 QUOTA_EXCEEDED": {pushtest.FCMOptions{DevicePerMinute: 1, Now: func() time.Time { return time.Unix(1_800_000_000, 0) }}, func(b *fcmBench) googleAnswer {
		b.send(b.token)
		return b.send(b.token)
	}},
	"500 INTERNAL":    {do: googleWeather(pushtest.Weather{Internal: 1})},
	"503 UNAVAILABLE": {do: googleWeather(pushtest.Weather{Unavailable: 1})},
}

func googleWeather(w pushtest.Weather) func(*fcmBench) googleAnswer {
	return func(b *fcmBench) googleAnswer {
		if err := b.fcm.SetWeather(w); err != nil {
			b.t.Fatal(err)
		}
		return b.send(b.token)
	}
}

// TestEveryReasonOfFCM: each code that Google documents comes by a rule, and by
// a script, in the form in which Google writes it.
func TestEveryReasonOfFCM(t *testing.T) {
	for _, want := range pushtest.FCMReasons() {
		name := fmt.Sprint(want.Status, " ", want.Reason)
		check := func(t *testing.T, got googleAnswer) {
			t.Helper()
			if got.http != want.Status || got.code() != want.Reason || got.Error.Code != want.Status || got.Error.Status == "" || got.Error.Message == "" {
				t.Errorf("%+v, want %s, the status again, its word and a text", got, name)
			}
		}
		if p, ok := googleProvocations[name]; ok {
			t.Run(name+" by rule", func(t *testing.T) {
				t.Parallel()
				check(t, p.do(newFCMBench(t, p.options)))
			})
		} else if want.Rule != "" {
			t.Errorf("%s: %q is said to bring it about, and nothing tries", name, want.Rule)
		}
		t.Run(name+" by script", func(t *testing.T) {
			t.Parallel()
			b := newFCMBench(t, pushtest.FCMOptions{})
			b.fcm.Script(b.token, pushtest.WithRetryAfter("7", pushtest.Reject(want.Status, want.Reason)))
			got := b.send(b.token)
			check(t, got)
			if got.header.Get("Retry-After") != "7" {
				t.Errorf("Retry-After %q, want 7", got.header.Get("Retry-After"))
			}
			if got := b.send(b.token); got.http != http.StatusOK {
				t.Errorf("afterwards %d, want 200", got.http)
			}
		})
	}
}

// TestFCMBadTokenIsToldInASentence: Google names no field when a token is none.
func TestFCMBadTokenIsToldInASentence(t *testing.T) {
	got := newFCMBench(t, pushtest.FCMOptions{}).send("nobody")
	if got.Error.Message != "The registration token is not a valid FCM registration token" || len(got.Error.Details) != 1 || got.code() != "INVALID_ARGUMENT" {
		t.Errorf("%+v, want the sentence and FcmError alone", got.Error)
	}
}

func TestFCMQuotas(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	b := newFCMBench(t, pushtest.FCMOptions{ProjectPerMinute: 2, Now: func() time.Time { return at }})
	other := b.fcm.Register(nil, "app")
	b.send(b.token)
	b.send(other)
	got := b.send(other)
	if got.http != http.StatusTooManyRequests || got.Error.Details[len(got.Error.Details)-1].Violations[0].Subject != "project:"+b.fcm.Project() {
		t.Errorf("%+v, want 429 with a violation of the project's quota", got)
	}
	at = at.Add(time.Minute)
	if got := b.send(other); got.http != http.StatusOK {
		t.Errorf("in the next minute %d, want 200", got.http)
	}
}

func TestFCMOtherPathsAreHTML(t *testing.T) {
	b := newFCMBench(t, pushtest.FCMOptions{})
	if got := b.post("/fcm/send", `{}`); got.http != http.StatusNotFound || !strings.HasPrefix(got.kind, "text/html") {
		t.Errorf("%d %s, want 404 text/html", got.http, got.kind)
	}
	b.fcm.Script(b.token, pushtest.Page(http.StatusBadGateway))
	if got := b.send(b.token); got.http != http.StatusBadGateway || got.kind != "text/html" {
		t.Errorf("%d %s, want 502 text/html", got.http, got.kind)
	}
}

func TestFCMChecksAssertions(t *testing.T) {
	b := newFCMBench(t, pushtest.FCMOptions{})
	foreign := newFCMBench(t, pushtest.FCMOptions{Project: "foreign"})
	now := time.Now()
	for name, tc := range map[string]struct {
		assertion string
		status    int
		word      string
	}{
		"valid":              {b.assertion(nil), 200, ""},
		"nothing":            {"", 400, "invalid_grant"},
		"another key":        {foreign.assertion(nil), 400, "invalid_grant"},
		"another account":    {b.assertion(claims{"iss": "x@example.com"}), 400, "invalid_grant"},
		"another audience":   {b.assertion(claims{"aud": "https://oauth2.googleapis.com/token"}), 400, "invalid_grant"},
		"another scope":      {b.assertion(claims{"scope": "email"}), 400, "invalid_grant"},
		"a clock an hour on": {b.assertion(claims{"iat": now.Add(time.Hour).Unix(), "exp": now.Add(2 * time.Hour).Unix()}), 400, "invalid_grant"},
		"good for a day":     {b.assertion(claims{"exp": now.Add(24 * time.Hour).Unix()}), 400, "invalid_grant"},
	} {
		if status, word, _ := b.grant(tc.assertion); status != tc.status || word != tc.word {
			t.Errorf("%s: %d %s, want %d %s", name, status, word, tc.status, tc.word)
		}
	}
	b.fcm.ScriptOAuth(pushtest.Reject(400, "invalid_grant"))
	if status, word, _ := b.grant(b.assertion(nil)); status != 400 || word != "invalid_grant" {
		t.Errorf("scripted: %d %s", status, word)
	}
}

func TestFCMTakesItsAccountAgain(t *testing.T) {
	first := newFCMBench(t, pushtest.FCMOptions{Project: "p"})
	second, err := pushtest.NewFCM(pushtest.FCMOptions{Project: "p", ServiceAccount: first.fcm.ServiceAccountJSON(), Certificate: first.fcm.Certificate()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.Close)
	b := &fcmBench{t: t, fcm: second, c: client(t, first.fcm.CA())}
	if status, word, _ := b.grant(b.assertion(nil)); status != http.StatusOK {
		t.Errorf("%d %s, want the account of before to be known, under the certificate of before", status, word)
	}
	if _, err := pushtest.NewFCM(pushtest.FCMOptions{Project: "q", ServiceAccount: first.fcm.ServiceAccountJSON()}); err == nil {
		t.Error("the account of another project was taken")
	}
}

func TestFCMOnlyTries(t *testing.T) {
	b := newFCMBench(t, pushtest.FCMOptions{})
	p := pushtest.NewPhone(pushtest.PhoneOptions{Name: "Android"})
	t.Cleanup(p.Close)
	token := b.fcm.Register(p, "app")
	got := b.post("/v1/projects/"+b.fcm.Project()+"/messages:send", fmt.Sprintf(`{"validate_only":true,"message":{"token":%q}}`, token))
	if got.http != http.StatusOK || len(p.Got()) != 0 {
		t.Errorf("%d and %d on the phone, want 200 and nothing", got.http, len(p.Got()))
	}
}
