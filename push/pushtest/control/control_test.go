package control_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/push/pushtest/control"
)

// desk is a simulator of APNs that is driven as any language would: by HTTP.
type desk struct {
	t     *testing.T
	apple *pushtest.APNs
	url   string
	push  *http.Client
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	apple, err := pushtest.NewAPNs(pushtest.APNsOptions{AnyBearer: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(apple.Close)
	s, err := control.Start("127.0.0.1:0", control.Options{Simulator: apple})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(apple.CA())
	tr := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	t.Cleanup(tr.CloseIdleConnections)
	return &desk{t: t, apple: apple, url: s.URL(), push: &http.Client{Transport: tr, Timeout: 10 * time.Second}}
}

// call does one call of the API and reads its answer.
func (d *desk) call(method, path, body string, into any) int {
	d.t.Helper()
	r, err := http.NewRequestWithContext(d.t.Context(), method, d.url+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	if into != nil {
		if err := json.Unmarshal(text, into); err != nil {
			d.t.Fatalf("%s %s: %s: %v", method, path, text, err)
		}
	}
	return res.StatusCode
}

func (d *desk) page(token, title string) int {
	d.t.Helper()
	body := fmt.Sprintf(`{"aps":{"alert":{"title":%q},"sound":"page.caf","mutable-content":1},"t":{"k":"page","d":%q,"i":%q,"r":1,"x":4000000000,"u":"/r"}}`, title, title, title)
	r, err := http.NewRequestWithContext(d.t.Context(), http.MethodPost, d.apple.URL()+"/3/device/"+token, bytes.NewReader([]byte(body)))
	if err != nil {
		d.t.Fatal(err)
	}
	for k, v := range map[string]string{
		"apns-topic": "com.example.oncall", "apns-push-type": "alert", "apns-collapse-id": title, "apns-expiration": "4000000000",
		"authorization": "bearer " + strings.Repeat("secret", 20),
	} {
		r.Header.Set(k, v)
	}
	res, err := d.push.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}

type phone struct {
	Name      string
	Token     string
	Tokens    []string
	Behaviour pushtest.Behaviour
	Shown     []struct {
		Title   string
		Audible bool
	}
	Got   []struct{ Title string }
	Lost  int
	Error string
}

// TestDrivenFromAnyLanguage: a phone is made, answers are scripted, requests
// are read, and the phone changes, all by plain HTTP.
func TestDrivenFromAnyLanguage(t *testing.T) {
	d := newDesk(t)
	var p phone
	if status := d.call("POST", "/api/phones", `{"name":"Ann's iPhone","behaviour":{"do_not_disturb":true}}`, &p); status != 200 || len(p.Token) != 64 {
		t.Fatalf("%d %+v", status, p)
	}
	if status := d.call("POST", "/api/phones", `{"name":"Ann's iPhone"}`, nil); status != http.StatusConflict {
		t.Errorf("a second phone of that name: %d, want 409", status)
	}
	d.call("POST", "/api/answers", fmt.Sprintf(`{"token":%q,"times":2,"answer":{"status":503,"reason":"ServiceUnavailable"}}`, p.Token), nil)
	for i, want := range []int{503, 503, 200} {
		if got := d.page(p.Token, "first"); got != want {
			t.Errorf("page %d: %d, want %d", i+1, got, want)
		}
	}
	var log struct {
		Requests []struct {
			Number, Status int
			Reason, Token  string
			At             time.Time
			Header         map[string]string
			Body           struct{ T struct{ D string } }
		}
		Next int
	}
	d.call("GET", "/api/requests?after=1", "", &log)
	if len(log.Requests) != 2 || log.Next != 3 || log.Requests[0].Reason != "ServiceUnavailable" || log.Requests[1].Body.T.D != "first" || log.Requests[1].At.IsZero() {
		t.Errorf("requests: %+v", log)
	}
	if strings.Count(log.Requests[0].Header["authorization"], "secret") > 4 {
		t.Error("the provider token is shown whole")
	}
	path := "/api/phones/Ann%27s%20iPhone"
	var got phone
	d.call("GET", path, "", &got)
	if len(got.Got) != 1 || got.Shown[0].Title != "first" || got.Shown[0].Audible {
		t.Errorf("on the phone: %+v, want it quiet in Do Not Disturb", got)
	}
	d.call("PATCH", path, `{"offline":true}`, nil)
	d.page(p.Token, "second")
	d.page(p.Token, "third")
	var back phone
	if d.call("PATCH", path, `{"offline":false,"do_not_disturb":false}`, &back); back.Lost != 1 || len(back.Shown) != 2 || back.Behaviour.DoNotDisturb {
		t.Errorf("back on line: %+v, want the last page, and one lost", back)
	}
	if status := d.call("POST", path+"/acknowledge", "", &got); status != http.StatusConflict || !strings.Contains(got.Error, "no agent") {
		t.Errorf("%d %s, want that it has no agent", status, got.Error)
	}
	var moved struct{ Tokens map[string]string }
	d.call("POST", path+"/rotate", `{}`, &moved)
	if d.page(p.Token, "x") != 410 || d.page(moved.Tokens[p.Token], "x") != 200 {
		t.Errorf("after its token changed: %+v", moved)
	}
	d.call("DELETE", path, "", nil)
	if status := d.call("GET", path, "", nil); status != http.StatusNotFound {
		t.Errorf("removed: %d, want 404", status)
	}
}

func TestPhoneActsThroughItsServer(t *testing.T) {
	acted := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		acted <- r.URL.Path + " " + r.Header.Get("Authorization")
		_, _ = io.WriteString(w, `{"outcome":"OUTCOME_DONE","holder":"Ann"}`)
	}))
	t.Cleanup(server.Close)
	d := newDesk(t)
	var p phone
	d.call("POST", "/api/phones", fmt.Sprintf(`{"name":"a","server":%q,"credential":"tcd_1"}`, server.URL), &p)
	d.page(p.Token, "first")
	if got := <-acted; got != "/v1/push/receipts Bearer tcd_1" {
		t.Errorf("called %s", got)
	}
	var result struct{ Holder string }
	if status := d.call("POST", "/api/phones/a/acknowledge", "", &result); status != 200 || result.Holder != "Ann" {
		t.Errorf("%d %+v", status, result)
	}
	if got := <-acted; got != "/v1/push/actions Bearer tcd_1" {
		t.Errorf("called %s", got)
	}
}

func TestConnectionsAndSettings(t *testing.T) {
	d := newDesk(t)
	var p phone
	d.call("POST", "/api/tokens", `{}`, &p)
	d.page(p.Token, "x")
	var s struct {
		Service     string
		Latency     string
		Streams     int
		Down        bool
		Count       int
		Connections struct{ Opened, Open int }
		Reasons     []pushtest.Reason
	}
	d.call("PATCH", "/api/settings", `{"latency":"30ms","streams":7,"skew":"-1h","ignore_pings":true,"weather":{"internal":0.5}}`, &s)
	if s.Latency != "30ms" || s.Streams != 7 || s.Service != "apns" || len(s.Reasons) < 30 {
		t.Errorf("%+v", s)
	}
	d.call("PATCH", "/api/settings", `{"weather":{}}`, nil)
	d.call("POST", "/api/connections", `{"do":"goaway"}`, nil)
	d.push.CloseIdleConnections() // a push that was already written to the old one is lost with it
	if d.page(p.Token, "x") != 200 {
		t.Error("not accepted after GOAWAY")
	}
	if d.call("POST", "/api/connections", `{"do":"down"}`, &s); !s.Down {
		t.Error("not down")
	}
	d.call("POST", "/api/connections", `{"do":"up"}`, nil)
	d.push.CloseIdleConnections()
	if d.page(p.Token, "x") != 200 {
		t.Error("not accepted after it came up")
	}
	d.call("DELETE", "/api/tokens", fmt.Sprintf(`{"token":%q,"expired":true}`, p.Token), nil)
	if got := d.page(p.Token, "x"); got != 410 {
		t.Errorf("an expired token: %d", got)
	}
	var key struct{ P8 string }
	d.call("POST", "/api/keys", `{"team":"TEAM000001","key_id":"KEY0000001"}`, &key)
	if _, err := pushtest.ReadP8([]byte(key.P8)); err != nil {
		t.Error(err)
	}
}

// TestRequestsAreWaitedFor: a call that waits is answered by the request.
func TestRequestsAreWaitedFor(t *testing.T) {
	d := newDesk(t)
	token := d.apple.Register(nil, "com.example.oncall")
	got := make(chan int, 1)
	go func() {
		var log struct{ Requests []struct{ Number int } }
		d.call("GET", "/api/requests?after=0&wait=20s", "", &log)
		got <- len(log.Requests)
	}()
	d.page(token, "x")
	if n := <-got; n != 1 {
		t.Errorf("%d requests, want the one that came", n)
	}
}

// TestMistakesAreTold: each names what is wrong.
func TestMistakesAreTold(t *testing.T) {
	d := newDesk(t)
	for _, tc := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"POST", "/api/answers", `{`, 400, "read the body"},
		{"POST", "/api/answers", `{}`, 400, "answer is missing"},
		{"POST", "/api/answers", `{"answer":{"status":99}}`, 400, "status 99"},
		{"POST", "/api/answers", `{"answer":{"delay":"soon"}}`, 400, `"soon" is no duration`},
		{"POST", "/api/answers", `{"answer":{"delay":"2h"}}`, 400, "delay 2h"},
		{"POST", "/api/answers", `{"answer":{"fault":"earthquake"}}`, 400, "there is no fault"},
		{"POST", "/api/answers", `{"answer":{"statuss":500}}`, 400, "statuss"},
		{"POST", "/api/answers", `{"times":5000,"answer":{}}`, 400, "times"},
		{"POST", "/api/answers", `{"always":true,"answers":[{},{}]}`, 400, "always takes one"},
		{"POST", "/api/answers", `{"answer":{"html":true}}`, 400, "html needs a status"},
		{"PATCH", "/api/settings", `{"streams":0}`, 400, "streams"},
		{"PATCH", "/api/settings", `{"latency":"-1s"}`, 400, "latency"},
		{"PATCH", "/api/settings", `{"weather":{"cut":2}}`, 400, "weather"},
		{"POST", "/api/connections", `{"do":"explode"}`, 400, "explode"},
		{"POST", "/api/phones", `{}`, 400, "name is missing"},
		{"POST", "/api/phones", `{"name":"a","server":"ftp://x"}`, 400, "server"},
		{"POST", "/api/phones/nobody/acknowledge", ``, 404, "no phone"},
		{"DELETE", "/api/tokens", `{}`, 400, "token is missing"},
		{"POST", "/api/keys", `{}`, 400, "team and key_id"},
		{"POST", "/api/oauth", `{"revoke":true}`, 400, "only FCM"},
		{"GET", "/api/requests?after=x", ``, 400, "after"},
		{"GET", "/api/requests?wait=1h", ``, 400, "wait"},
		{"GET", "/api/nothing", ``, 404, "no call GET /api/nothing"},
	} {
		var got struct{ Error string }
		if status := d.call(tc.method, tc.path, tc.body, &got); status != tc.status || !strings.Contains(got.Error, tc.says) {
			t.Errorf("%s %s %s: %d %q, want %d with %q", tc.method, tc.path, tc.body, status, got.Error, tc.status, tc.says)
		}
	}
}

// TestOthersAreKeptOut: names that lead here, other sites, and forms.
func TestOthersAreKeptOut(t *testing.T) {
	d := newDesk(t)
	for name, tc := range map[string]struct {
		method string
		change func(*http.Request)
		status int
	}{
		"as it should be":      {"POST", func(*http.Request) {}, 200},
		"the page":             {"GET", func(r *http.Request) { r.URL.Path = "/" }, 200},
		"another host":         {"GET", func(r *http.Request) { r.Host = "evil.example" }, 403},
		"a name that lies":     {"POST", func(r *http.Request) { r.Host = "127.0.0.1.evil.example:80" }, 403},
		"another site":         {"POST", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403},
		"another origin":       {"POST", func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }, 403},
		"a form":               {"POST", func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, 415},
		"localhost is welcome": {"POST", func(r *http.Request) { r.Host = "localhost:1" }, 200},
	} {
		r, err := http.NewRequestWithContext(t.Context(), tc.method, d.url+"/api/tokens", strings.NewReader(map[string]string{"POST": "{}"}[tc.method]))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		tc.change(r)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != tc.status {
			t.Errorf("%s: %d, want %d", name, res.StatusCode, tc.status)
		}
	}
	for _, address := range []string{"0.0.0.0:0", ":0", "192.0.2.1:80", "example.com:80", "127.0.0.1"} {
		if s, err := control.Start(address, control.Options{Simulator: d.apple}); err == nil {
			s.Close()
			t.Errorf("it listens on %s", address)
		}
	}
}

// TestOtherServices: the same calls drive FCM and Web Push.
func TestOtherServices(t *testing.T) {
	google, err := pushtest.NewFCM(pushtest.FCMOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(google.Close)
	web, err := pushtest.NewWebPush(pushtest.WebPushOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(web.Close)
	for _, sim := range []control.Simulator{google, web} {
		s, err := control.Start("127.0.0.1:0", control.Options{Simulator: sim})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		d := &desk{t: t, url: s.URL()}
		var out struct{ Token, P256dh, Auth string }
		d.call("POST", "/api/phones", map[bool]string{false: `{"name":"p"}`, true: `{"name":"p","host":"web.push.apple.com"}`}[sim == control.Simulator(web)], &out)
		if out.Token == "" || (sim == control.Simulator(web)) != (len(out.P256dh) == 87 && len(out.Auth) == 22) {
			t.Errorf("%+v", out)
		}
		if len(sim.Tokens()) != 1 || (sim == control.Simulator(web)) != strings.HasPrefix(out.Token, "https://web.push.apple.com/") {
			t.Errorf("tokens: %+v", sim.Tokens())
		}
		d.call("DELETE", "/api/phones/p", "", nil)
		if len(sim.Tokens()) != 0 {
			t.Errorf("after it was removed: %+v", sim.Tokens())
		}
	}
	d := &desk{t: t}
	s, err := control.Start("127.0.0.1:0", control.Options{Simulator: google})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	d.url = s.URL()
	if status := d.call("POST", "/api/oauth", `{"answer":{"status":400,"reason":"invalid_grant"},"deny":true,"revoke":true}`, nil); status != 200 {
		t.Errorf("oauth: %d", status)
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add(`{"answer":{"status":503,"reason":"x","delay":"1s","fault":"reset","timestamp":1}}`)
	f.Add(`{"answers":[{"header":{"a":"b"},"body":"c","html":true,"status":404}],"times":3}`)
	f.Fuzz(func(t *testing.T, body string) { control.CheckAnswers(t, body) })
}
