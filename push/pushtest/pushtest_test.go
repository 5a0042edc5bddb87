package pushtest_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push/apns"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

const bundle = "com.example.oncall"

// client speaks HTTP/2 to a simulator, as any third party's would.
func client(t *testing.T, ca []byte) *http.Client {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		t.Fatal("the simulator's CA is no certificate")
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, Protocols: protocols}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}
}

type answer struct {
	status int
	reason string
	header http.Header
}

func post(t *testing.T, c *http.Client, url string, header map[string]string, body string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		r.Header.Set(k, v)
	}
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return answerOf(t, res)
}

func answerOf(t *testing.T, res *http.Response) answer {
	t.Helper()
	defer res.Body.Close()
	if res.ProtoMajor != 2 {
		t.Errorf("answered in %s, want HTTP/2", res.Proto)
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var fields struct{ Reason string }
	_ = json.Unmarshal(b, &fields) // an empty body has no reason
	return answer{res.StatusCode, fields.Reason, res.Header}
}

func newAPNs(t *testing.T, o pushtest.APNsOptions) *pushtest.APNs {
	t.Helper()
	a, err := pushtest.NewAPNs(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

// bearer is a provider token that was made at a moment.
func bearer(t *testing.T, key []byte, team, keyID string, now time.Time) string {
	t.Helper()
	s, err := apns.NewSigner(team, keyID, key, now)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Bearer(now)
	if err != nil {
		t.Fatal(err)
	}
	return "bearer " + b.JWT
}

func TestAPNsRules(t *testing.T) {
	now := time.Now()
	a := newAPNs(t, pushtest.APNsOptions{})
	key := a.NewKey("TEAM000001", "KEY0000001")
	foreign := newAPNs(t, pushtest.APNsOptions{}).NewKey("TEAM000001", "KEY0000001")
	token := a.Register(nil, bundle)
	elsewhere := a.Register(nil, "com.example.other")
	dead := a.Register(nil, bundle)
	a.Unregister(dead, now)
	good := map[string]string{
		"authorization": bearer(t, key, "TEAM000001", "KEY0000001", now), "apns-topic": bundle, "apns-push-type": "alert",
		"apns-id": "8f14e45f-ceea-467f-9a1b-3c2f4b7d9e01", "apns-expiration": "0", "apns-priority": "10",
	}
	const payload = `{"aps":{"alert":"x"}}`
	for _, tc := range []struct {
		name   string
		token  string
		header map[string]string // changes; "" removes
		body   string
		status int
		reason string
	}{
		{"accepted", token, nil, payload, 200, ""},
		{"no token", "", nil, payload, 400, "MissingDeviceToken"},
		{"not hexadecimal", "xyz", nil, payload, 400, "BadDeviceToken"},
		{"unknown token", strings.Repeat("ab", 32), nil, payload, 400, "BadDeviceToken"},
		{"another app's token", elsewhere, nil, payload, 400, "DeviceTokenNotForTopic"},
		{"dead token", dead, nil, payload, 410, "Unregistered"},
		{"no bearer", token, map[string]string{"authorization": ""}, payload, 403, "MissingProviderToken"},
		{"empty bearer", token, map[string]string{"authorization": "bearer "}, payload, 403, "MissingProviderToken"},
		{"nonsense bearer", token, map[string]string{"authorization": "bearer a.b.c"}, payload, 403, "InvalidProviderToken"},
		{"foreign key", token, map[string]string{"authorization": bearer(t, foreign, "TEAM000001", "KEY0000001", now)}, payload, 403, "InvalidProviderToken"},
		{"unknown key id", token, map[string]string{"authorization": bearer(t, key, "TEAM000001", "KEY0000009", now)}, payload, 403, "InvalidProviderToken"},
		{"wrong team", token, map[string]string{"authorization": bearer(t, key, "TEAM000009", "KEY0000001", now)}, payload, 403, "InvalidProviderToken"},
		{"from the future", token, map[string]string{"authorization": bearer(t, key, "TEAM000001", "KEY0000001", now.Add(2*time.Hour))}, payload, 403, "InvalidProviderToken"},
		{"no topic", token, map[string]string{"apns-topic": ""}, payload, 400, "MissingTopic"},
		{"bad id", token, map[string]string{"apns-id": "42"}, payload, 400, "BadMessageId"},
		{"long collapse id", token, map[string]string{"apns-collapse-id": strings.Repeat("x", 65)}, payload, 400, "BadCollapseId"},
		{"bad expiration", token, map[string]string{"apns-expiration": "soon"}, payload, 400, "BadExpirationDate"},
		{"bad priority", token, map[string]string{"apns-priority": "7"}, payload, 400, "BadPriority"},
		{"urgent background", token, map[string]string{"apns-push-type": "background"}, payload, 400, "BadPriority"},
		{"bad type", token, map[string]string{"apns-push-type": "page"}, payload, 400, "InvalidPushType"},
		{"empty payload", token, nil, "", 400, "PayloadEmpty"},
		{"4,097 bytes", token, nil, `{"aps":"` + strings.Repeat("x", 4097-10) + `"}`, 413, "PayloadTooLarge"},
		{"4,096 bytes", token, nil, `{"aps":"` + strings.Repeat("x", 4096-10) + `"}`, 200, ""},
	} {
		c := client(t, a.CA()) // a connection of its own: some refusals stay with it
		header := maps.Clone(good)
		for k, v := range tc.header {
			if header[k] = v; v == "" {
				delete(header, k)
			}
		}
		got := post(t, c, a.URL()+"/3/device/"+tc.token, header, tc.body)
		if got.status != tc.status || got.reason != tc.reason {
			t.Errorf("%s: %d %s, want %d %s", tc.name, got.status, got.reason, tc.status, tc.reason)
		}
	}
	if got := post(t, client(t, a.CA()), a.URL()+"/4/device/"+token, good, payload); got.reason != "BadPath" {
		t.Errorf("another path: %d %s, want BadPath", got.status, got.reason)
	}
}

func TestAPNsProviderTokenRules(t *testing.T) {
	now := time.Unix(1_800_000_600, 0) // forty minutes into a signer's slot of forty-five
	at := func() time.Time { return now }
	a := newAPNs(t, pushtest.APNsOptions{Now: at})
	key := a.NewKey("TEAM000001", "KEY0000001")
	other := a.NewKey("TEAM000002", "KEY0000002")
	token := a.Register(nil, bundle)
	send := func(c *http.Client, auth string) answer {
		return post(t, c, a.URL()+"/3/device/"+token, map[string]string{"authorization": auth, "apns-topic": bundle, "apns-push-type": "alert"}, `{"aps":{}}`)
	}
	first := bearer(t, key, "TEAM000001", "KEY0000001", now)
	c := client(t, a.CA())
	if got := send(c, first); got.status != 200 {
		t.Fatalf("first token: %d %s", got.status, got.reason)
	}
	if got := send(c, bearer(t, other, "TEAM000002", "KEY0000002", now)); got.reason != "InvalidProviderToken" {
		t.Errorf("a second team on one connection: %d %s, want InvalidProviderToken", got.status, got.reason)
	}
	now = now.Add(10 * time.Minute)
	second := bearer(t, key, "TEAM000001", "KEY0000001", now)
	d := client(t, a.CA())
	if got := send(d, second); got.reason != "TooManyProviderTokenUpdates" {
		t.Errorf("a second token after ten minutes: %d %s, want TooManyProviderTokenUpdates", got.status, got.reason)
	}
	if got := send(d, first); got.reason != "TooManyProviderTokenUpdates" {
		t.Errorf("the old token on that connection: %d %s, want it still refused", got.status, got.reason)
	}
	if got := send(c, first); got.status != 200 {
		t.Errorf("the old token on another connection: %d %s, want 200", got.status, got.reason)
	}
	now = now.Add(2 * time.Hour)
	if got := send(c, first); got.reason != "ExpiredProviderToken" {
		t.Errorf("after two hours: %d %s, want ExpiredProviderToken", got.status, got.reason)
	}
	fresh := bearer(t, key, "TEAM000001", "KEY0000001", now)
	if got := send(c, fresh); got.reason != "ExpiredProviderToken" {
		t.Errorf("a fresh token on the wedged connection: %d %s, want it refused", got.status, got.reason)
	}
	if got := send(client(t, a.CA()), fresh); got.status != 200 {
		t.Errorf("a fresh token on a fresh connection: %d %s, want 200", got.status, got.reason)
	}
}

// push sends a page of an app's own making.
func push(t *testing.T, a *pushtest.APNs, c *http.Client, token, expiration, collapse, priority, body string) {
	t.Helper()
	got := post(t, c, a.URL()+"/3/device/"+token, map[string]string{
		"apns-topic": bundle, "apns-push-type": "alert", "apns-expiration": expiration, "apns-collapse-id": collapse, "apns-priority": priority,
	}, body)
	if got.status != 200 {
		t.Fatalf("not accepted: %d %s", got.status, got.reason)
	}
}

func pageBody(delivery, incident string, revision int, expires time.Time) string {
	return fmt.Sprintf(`{"aps":{"alert":{"title":"T","body":"B"},"sound":"page.caf"},"t":{"v":1,"k":"page","d":%q,"i":%q,"r":%d,"x":%d}}`,
		delivery, incident, revision, expires.Unix())
}

func TestPhoneKeepsOnePagePerAppWhileOffline(t *testing.T) {
	a := newAPNs(t, pushtest.APNsOptions{AnyBearer: true})
	c := client(t, a.CA())
	p := pushtest.NewPhone(pushtest.PhoneOptions{Name: "iPhone"})
	t.Cleanup(p.Close)
	token := a.Register(p, bundle)
	later := time.Now().Add(time.Hour)
	until := fmt.Sprint(later.Unix())
	p.Offline(true)
	push(t, a, c, token, until, "inc-1", "10", pageBody("d1", "1", 1, later))
	push(t, a, c, token, until, "inc-2", "10", pageBody("d2", "2", 1, later))
	push(t, a, c, token, "0", "inc-3", "10", pageBody("d3", "3", 1, later))
	if n := len(p.Got()); n != 0 {
		t.Fatalf("%d notifications on a phone that is offline", n)
	}
	p.Offline(false)
	got := p.Got()
	if len(got) != 1 || got[0].DeliveryID != "d2" {
		t.Errorf("got %+v, want only the last page that was to be stored", got)
	}
}

func TestPhoneMergesAndMarks(t *testing.T) {
	a := newAPNs(t, pushtest.APNsOptions{AnyBearer: true})
	c := client(t, a.CA())
	told := make(chan pushtest.Notification, 10)
	p := pushtest.NewPhone(pushtest.PhoneOptions{Name: "iPhone", OnPush: func(n pushtest.Notification) { told <- n }})
	t.Cleanup(p.Close)
	token := a.Register(p, bundle)
	later, past := time.Now().Add(time.Hour), time.Now().Add(-time.Minute)
	push(t, a, c, token, "0", "inc-1", "10", pageBody("d1", "1", 2, later))
	push(t, a, c, token, "0", "inc-1", "10", pageBody("d2", "1", 3, later))
	push(t, a, c, token, "0", "inc-1", "10", pageBody("d2", "1", 3, later))
	push(t, a, c, token, "0", "inc-1", "10", pageBody("d3", "1", 2, later))
	push(t, a, c, token, "0", "inc-9", "10", pageBody("d4", "9", 1, past))
	type marks struct{ replaced, duplicate, stale, missed, audible bool }
	for i, want := range []marks{
		{audible: true}, {replaced: true, audible: true}, {duplicate: true}, {replaced: true, stale: true}, {missed: true},
	} {
		n := <-told
		if got := (marks{n.Replaced, n.Duplicate, n.Stale, n.Missed, n.Audible()}); got != want {
			t.Errorf("notification %d: %+v, want %+v", i+1, got, want)
		}
	}
	if n := len(p.Shown()); n != 2 {
		t.Errorf("%d on the screen, want 2", n)
	}
	p.Dismiss(bundle, "inc-1")
	if n := len(p.Shown()); n != 1 {
		t.Errorf("%d on the screen after a dismissal, want 1", n)
	}
}

func TestPhoneInDoze(t *testing.T) {
	f, err := pushtest.NewFCM(pushtest.FCMOptions{AnyBearer: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	c := client(t, f.CA())
	p := pushtest.NewPhone(pushtest.PhoneOptions{Name: "Android"})
	t.Cleanup(p.Close)
	token := f.Register(p, "com.example.oncall.android")
	p.Doze(true)
	send := func(delivery, priority, key, ttl string) {
		body := fmt.Sprintf(`{"message":{"token":%q,"data":{"k":"page","d":%q,"x":"4000000000"},"android":{"priority":%q,"collapse_key":%q,"ttl":%q}}}`, token, delivery, priority, key, ttl)
		if got := post(t, c, f.URL()+"/v1/projects/"+f.Project()+"/messages:send", nil, body); got.status != 200 {
			t.Fatalf("not accepted: %d", got.status)
		}
	}
	send("slept", "normal", "", "100s")
	send("old", "normal", "k", "100s")
	send("new", "normal", "k", "100s")
	send("never", "normal", "", "0s")
	send("page", "high", "", "100s")
	ids := func() (ids []string) {
		for _, n := range p.Got() {
			ids = append(ids, n.DeliveryID)
		}
		return ids
	}
	if got := strings.Join(ids(), " "); got != "page" {
		t.Errorf("in Doze: %s, want only the page", got)
	}
	p.Doze(false)
	if got := strings.Join(ids(), " "); got != "page slept new" {
		t.Errorf("awake: %s, want what was kept, merged by key", got)
	}
}

func TestFCMRules(t *testing.T) {
	f, err := pushtest.NewFCM(pushtest.FCMOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	c := client(t, f.CA())
	url := f.URL() + "/v1/projects/" + f.Project() + "/messages:send"
	if got := post(t, c, url, nil, `{}`); got.status != http.StatusUnauthorized {
		t.Errorf("without a token: %d, want 401", got.status)
	}
	open, err := pushtest.NewFCM(pushtest.FCMOptions{AnyBearer: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(open.Close)
	c = client(t, open.CA())
	url = open.URL() + "/v1/projects/" + open.Project() + "/messages:send"
	token := open.Register(nil, "x")
	for name, tc := range map[string]struct {
		body   string
		status int
	}{
		"accepted":      {`{"message":{"token":"` + token + `","data":{"a":"b"}}}`, 200},
		"not JSON":      {`{`, 400},
		"unknown token": {`{"message":{"token":"nobody"}}`, 400},
		"number value":  {`{"message":{"token":"` + token + `","data":{"a":1}}}`, 400},
		"reserved key":  {`{"message":{"token":"` + token + `","data":{"google.x":"1"}}}`, 400},
		"too large":     {`{"message":{"token":"` + token + `","data":{"a":"` + strings.Repeat("x", 4096) + `"}}}`, 400},
		"bad priority":  {`{"message":{"token":"` + token + `","android":{"priority":"urgent"}}}`, 400},
		"bad ttl":       {`{"message":{"token":"` + token + `","android":{"ttl":"3000000s"}}}`, 400},
	} {
		if got := post(t, c, url, nil, tc.body); got.status != tc.status {
			t.Errorf("%s: %d, want %d", name, got.status, tc.status)
		}
	}
	if got := post(t, c, open.URL()+"/v1/projects/other/messages:send", nil, `{}`); got.status != http.StatusNotFound {
		t.Errorf("another project: %d, want 404", got.status)
	}
	open.Unregister(token)
	if got := post(t, c, url, nil, `{"message":{"token":"`+token+`"}}`); got.status != http.StatusNotFound {
		t.Errorf("unregistered: %d, want 404", got.status)
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	p := pushtest.NewPhone(pushtest.PhoneOptions{Name: "silent"})
	t.Cleanup(p.Close)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Wait(ctx, func(pushtest.Notification) bool { return true }); err == nil {
		t.Error("no error although nothing came")
	}
}
