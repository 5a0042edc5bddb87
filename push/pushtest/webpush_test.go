package pushtest

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	webpush "github.com/SherClockHolmes/webpush-go"
)

func b64(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestDecryptOpensTheExampleOfRFC8291 opens the message of RFC 8291, section 5,
// and nothing that differs from it.
func TestDecryptOpensTheExampleOfRFC8291(t *testing.T) {
	private, err := ecdh.P256().NewPrivateKey(b64(t, "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"))
	if err != nil {
		t.Fatal(err)
	}
	auth := b64(t, "BTBZMqHH6r4Tts7J_aSIgg")
	body := b64(t, "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_"+
		"yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN")
	plain, err := decrypt(body, private, auth)
	if err != nil || string(plain) != "When I grow up, I want to be a watermelon" {
		t.Fatalf("opened %q, %v", plain, err)
	}
	for i := range body {
		spoilt := bytes.Clone(body)
		spoilt[i] ^= 1
		if plain, err := decrypt(spoilt, private, auth); err == nil && i > 19 {
			t.Fatalf("opened %q although byte %d differs", plain, i)
		}
	}
	for n := range body {
		if _, err := decrypt(body[:n], private, auth); err == nil {
			t.Fatalf("opened the first %d bytes", n)
		}
	}
}

// peer is another's implementation of a sender, against the simulator.
type peer struct {
	t               *testing.T
	sim             *WebPush
	client          *http.Client
	public, private string
	subject         string
}

func newPeer(t *testing.T, o WebPushOptions) *peer {
	t.Helper()
	sim, err := NewWebPush(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	p := &peer{t: t, sim: sim, subject: "oncall@example.com"}
	if p.private, p.public, err = webpush.GenerateVAPIDKeys(); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(sim.CA())
	at := strings.TrimPrefix(sim.URL(), "https://")
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, at)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	p.client = &http.Client{Transport: transport}
	return p
}

func (p *peer) options() *webpush.Options {
	return &webpush.Options{
		HTTPClient: p.client, Subscriber: p.subject, VAPIDPublicKey: p.public, VAPIDPrivateKey: p.private,
		TTL: 60, Urgency: webpush.UrgencyHigh, Topic: "abc",
	}
}

func (p *peer) send(s Subscription, plain string, change func(*webpush.Options)) (int, string, http.Header) {
	p.t.Helper()
	o := p.options()
	if change != nil {
		change(o)
	}
	res, err := webpush.SendNotificationWithContext(p.t.Context(), []byte(plain),
		&webpush.Subscription{Endpoint: s.Endpoint, Keys: webpush.Keys{P256dh: s.P256dh, Auth: s.Auth}}, o)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return res.StatusCode, strings.TrimSpace(string(body)), res.Header
}

func must[T any](t *testing.T, v T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

const webPage = `{"notification":{"title":"CRITICAL shop","body":"db is down","tag":"inc-1","data":{"v":1,"d":"d1","k":"page","x":4102444800,"i":"1","r":2,"sound":"normal"}}}`

// TestWebPushTakesWhatAnotherSends: webpush-go's messages are opened and shown.
func TestWebPushTakesWhatAnotherSends(t *testing.T) {
	p := newPeer(t, WebPushOptions{})
	phone := NewPhone(PhoneOptions{Name: "browser"})
	t.Cleanup(phone.Close)
	sub, err := p.sim.Subscribe(phone)
	status, body, header := p.send(must(t, sub, err), webPage, nil)
	if status != http.StatusCreated || header.Get("Location") == "" {
		t.Fatalf("answered %d %q %v, want 201 with a Location", status, body, header)
	}
	n, err := phone.Wait(t.Context(), func(n Notification) bool { return n.DeliveryID == "d1" })
	if err != nil {
		t.Fatal(err)
	}
	if n.Title != "CRITICAL shop" || n.CollapseID != "inc-1" || n.Platform != "web" || !n.Visible || !n.Audible() || n.Revision != 2 {
		t.Errorf("the browser shows %+v", n)
	}
	if plain, err := p.sim.Open(p.sim.Requests()[0]); err != nil || string(plain) != webPage {
		t.Errorf("opened %q, %v", plain, err)
	}
}

// TestWebPushRules: what the RFCs and the services refuse is refused, in the
// words of each service.
func TestWebPushRules(t *testing.T) {
	p := newPeer(t, WebPushOptions{})
	own := must2(t)(p.sim.Subscribe(nil))
	apple := must2(t)(p.sim.SubscribeAt(ServiceApple, nil))
	other := strings.Replace(own.Endpoint, pushPath, pushPath+"00", 1)
	gone, lost := must2(t)(p.sim.Subscribe(nil)), must2(t)(p.sim.Subscribe(nil))
	p.sim.Unsubscribe(gone.Endpoint, http.StatusGone)
	p.sim.Unsubscribe(lost.Endpoint, http.StatusNotFound)
	strange := must2(t)(p.sim.SubscribeWith("another key", "", nil))
	strangeApple := must2(t)(p.sim.SubscribeWith("another key", ServiceApple, nil))
	strangeMozilla := must2(t)(p.sim.SubscribeWith("another key", ServiceMozilla, nil))
	strangeGoogle := must2(t)(p.sim.SubscribeWith("another key", ServiceGoogle, nil))
	for name, tc := range map[string]struct {
		to     Subscription
		change func(*webpush.Options)
		status int
		says   string
	}{
		"fine":                      {own, nil, 201, ""},
		"fine at Apple":             {apple, nil, 201, ""},
		"unknown":                   {Subscription{other, own.P256dh, own.Auth}, nil, 404, "no such"},
		"gone":                      {gone, nil, 410, "ended"},
		"lost":                      {lost, nil, 404, "ended"},
		"long":                      {own, func(o *webpush.Options) { o.RecordSize = 5000 }, 413, "too large"},
		"topic":                     {own, func(o *webpush.Options) { o.Topic = "not base64url!" }, 400, "Topic"},
		"long topic":                {own, func(o *webpush.Options) { o.Topic = strings.Repeat("a", 33) }, 400, "Topic"},
		"negative TTL":              {own, func(o *webpush.Options) { o.TTL = -1 }, 400, "TTL"},
		"mailto twice":              {own, func(o *webpush.Options) { o.Subscriber = "mailto:oncall@example.com" }, 403, "subject"},
		"localhost":                 {own, func(o *webpush.Options) { o.Subscriber = "oncall@localhost" }, 403, "subject"},
		"subject at Apple":          {apple, func(o *webpush.Options) { o.Subscriber = "oncall@relay.local" }, 403, `{"reason":"BadJwtToken"}`},
		"another's":                 {strange, nil, 403, "do not correspond"},
		"another's, Google":         {strangeGoogle, nil, 403, "do not correspond"},
		"another's, Apple":          {strangeApple, nil, 400, `{"reason":"VapidPkHashMismatch"}`},
		"another's, Mozilla":        {strangeMozilla, nil, 401, "VAPID public key mismatch"},
		"a key that did not sign":   {own, func(o *webpush.Options) { _, o.VAPIDPublicKey, _ = webpush.GenerateVAPIDKeys() }, 403, "signature"},
		"a key that is none":        {own, func(o *webpush.Options) { o.VAPIDPublicKey = "AAAA" }, 403, "no point"},
		"urgency that is none sent": {own, func(o *webpush.Options) { o.Urgency = "loud" }, 201, ""}, // webpush-go leaves it out
	} {
		status, body, _ := p.send(tc.to, "{}", tc.change)
		if status != tc.status || !strings.Contains(body, tc.says) {
			t.Errorf("%s: answered %d %q, want %d %q", name, status, body, tc.status, tc.says)
		}
	}
}

func must2(t *testing.T) func(Subscription, error) Subscription {
	return func(s Subscription, err error) Subscription {
		t.Helper()
		return must(t, s, err)
	}
}

// TestWebPushClock: a VAPID token is refused before it began to be good for
// less than a day, and after it has expired.
func TestWebPushClock(t *testing.T) {
	for skew, status := range map[time.Duration]int{0: 201, -11 * time.Hour: 201, -13 * time.Hour: 403, 11 * time.Hour: 201, 13 * time.Hour: 403} {
		p := newPeer(t, WebPushOptions{Now: func() time.Time { return time.Now().Add(skew) }})
		if got, body, _ := p.send(must2(t)(p.sim.Subscribe(nil)), "{}", nil); got != status {
			t.Errorf("with a clock %v ahead: answered %d %q, want %d", skew, got, body, status)
		}
	}
}

// TestWebPushAuthorization: what is no VAPID token is refused and does no harm.
func TestWebPushAuthorization(t *testing.T) {
	p := newPeer(t, WebPushOptions{})
	sub := must2(t)(p.sim.Subscribe(nil))
	for _, header := range []string{"", "Bearer x", "vapid", "vapid t=, k=", "vapid t=a.b.c, k=" + p.public, "vapid t=e30.e30." + strings.Repeat("A", 86) + ", k=" + p.public} {
		req := request(t, sub.Endpoint)
		req.Header.Set("Authorization", header)
		req.Header.Set("Ttl", "1")
		res, err := p.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusUnauthorized && res.StatusCode != http.StatusForbidden {
			t.Errorf("Authorization %q: answered %d, want 401 or 403", header, res.StatusCode)
		}
	}
}

// TestWebPushWhileTheBrowserIsAway: messages are kept for their TTL, and one of
// the same topic takes the place of the other.
func TestWebPushWhileTheBrowserIsAway(t *testing.T) {
	p := newPeer(t, WebPushOptions{})
	phone := NewPhone(PhoneOptions{Name: "browser"})
	t.Cleanup(phone.Close)
	sub := must2(t)(p.sim.Subscribe(phone))
	phone.Offline(true)
	for id, change := range map[string]func(*webpush.Options){
		"kept":    func(o *webpush.Options) { o.Topic = "" },
		"at once": func(o *webpush.Options) { o.Topic, o.TTL = "", 0 },
	} {
		p.send(sub, strings.ReplaceAll(webPage, `"d1"`, `"`+id+`"`), change)
	}
	p.send(sub, strings.ReplaceAll(webPage, `"d1"`, `"page"`), nil)
	p.send(sub, strings.ReplaceAll(webPage, `"d1"`, `"clear"`), nil)
	phone.Offline(false)
	got := map[string]bool{}
	for _, n := range phone.Got() {
		got[n.DeliveryID] = true
	}
	if !got["kept"] || !got["clear"] || got["at once"] || got["page"] {
		t.Errorf("the browser got %v, want what was kept and the newest of its topic", got)
	}
}

// TestSilentWebPushEndsTheSubscription: browsers that were promised visible
// pushes end the subscription when one shows nothing.
func TestSilentWebPushEndsTheSubscription(t *testing.T) {
	p := newPeer(t, WebPushOptions{})
	phone := NewPhone(PhoneOptions{Name: "browser"})
	t.Cleanup(phone.Close)
	for _, silent := range []string{
		`{"notification":{"data":{"k":"heartbeat"}}}`, `not JSON`,
		`{"web_push":8030,"notification":{"title":"no navigate"}}`, `{"web_push":1,"notification":{"title":"x","navigate":"https://x.example/"}}`,
	} {
		sub := must2(t)(p.sim.Subscribe(phone))
		if !p.sim.Subscribed(sub.Endpoint) {
			t.Fatal("not subscribed")
		}
		if status, _, _ := p.send(sub, silent, nil); status != http.StatusCreated {
			t.Fatalf("answered %d, want 201: the service cannot see into it", status)
		}
		if status, _, _ := p.send(sub, webPage, nil); status != http.StatusGone || p.sim.Subscribed(sub.Endpoint) {
			t.Errorf("after %s the next message was answered %d, want 410", silent, status)
		}
	}
}

func request(t *testing.T, endpoint string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, endpoint, strings.NewReader("x"))
	return must(t, req, err)
}
