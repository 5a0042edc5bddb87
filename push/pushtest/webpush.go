package pushtest

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"
)

// WebPushOptions describe a Web Push simulator. The zero value is the rules of
// RFC 8030, 8291 and 8292.
type WebPushOptions struct {
	Address     string           // to listen on; empty is a free port of 127.0.0.1
	Certificate []byte           // certificate and key to serve with, PEM, as [WebPush.Certificate] returns them; empty makes new ones
	Now         func() time.Time // of VAPID tokens' expiry; nil is time.Now
	Skew        time.Duration    // added to Now in the Date header; SetSkew changes it
	Latency     time.Duration    // of every answer; SetLatency changes it
	KeepLog     int              // newest requests recorded; 0 is 100,000, below 0 none

	OnRequest func(Request) // called after each answer, on the connection's goroutine: must not block
}

// The push services of browsers, for [WebPush.SubscribeAt].
const (
	ServiceApple     = "web.push.apple.com"
	ServiceGoogle    = "fcm.googleapis.com"
	ServiceMicrosoft = "wns2-db5p.notify.windows.com"
	ServiceMozilla   = "updates.push.services.mozilla.com"
)

// WebPush is a simulator of the push service of a browser, and of the browser
// that holds the subscriptions: it decrypts what arrives.
type WebPush struct {
	Service

	opts WebPushOptions

	mu     sync.Mutex
	subs   map[string]*subscription // by the endpoint's path
	number int
}

// Subscription is what a browser hands to its web app.
type Subscription struct {
	Endpoint string // https URL
	P256dh   string // base64url, 65 bytes
	Auth     string // base64url, 16 bytes
}

// subscription is a Subscription with the browser's half of its keys.
type subscription struct {
	endpoint string
	private  *ecdh.PrivateKey
	auth     []byte
	vapid    string // public key that it was made for; "" for any
	phone    *Phone
	gone     int       // 404 or 410; 0 while it is in force
	from     time.Time // until then it is still accepted
}

// NewWebPush starts a simulator; Close ends it. The certificate is also good
// for the names of the real push services, for providers that connect here
// in their place.
func NewWebPush(o WebPushOptions) (*WebPush, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.KeepLog == 0 {
		o.KeepLog = 100_000
	}
	id, err := identityOf(o.Certificate, ServiceApple, ServiceGoogle, ServiceMozilla, "*.push.apple.com", "*.notify.windows.com")
	if err != nil {
		return nil, fmt.Errorf("start the Web Push simulator: %w", err)
	}
	w := &WebPush{
		Service: Service{ca: id.ca, pair: id.pair, tape: tape{limit: o.KeepLog, tell: o.OnRequest}},
		opts:    o, subs: make(map[string]*subscription),
	}
	w.latency.Store(int64(o.Latency))
	w.skew.Store(int64(o.Skew))
	if w.server, err = newServer(o.Address, id.tls, w.handle); err != nil {
		return nil, fmt.Errorf("start the Web Push simulator: %w", err)
	}
	return w, nil
}

// Subscribe gives a phone's browser a subscription whose endpoint is on the
// simulator's own address. A nil phone makes one that leads nowhere and is
// accepted.
func (w *WebPush) Subscribe(p *Phone) (Subscription, error) { return w.subscribe(p, w.URL(), "") }

// SubscribeAt is Subscribe with an endpoint at the name of a real push
// service. A provider whose test endpoint is the simulator connects here for it.
func (w *WebPush) SubscribeAt(host string, p *Phone) (Subscription, error) {
	return w.subscribe(p, "https://"+host, "")
}

// SubscribeWith is SubscribeAt for one application server: messages that are
// signed by another than its VAPID public key (base64url) are refused, as
// services do for a subscription that was made with an applicationServerKey.
// An empty host is the simulator's own address.
func (w *WebPush) SubscribeWith(vapid, host string, p *Phone) (Subscription, error) {
	base := w.URL()
	if host != "" {
		base = "https://" + host
	}
	return w.subscribe(p, base, vapid)
}

func (w *WebPush) subscribe(p *Phone, base, vapid string) (Subscription, error) {
	private, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return Subscription{}, fmt.Errorf("make a subscription: %w", err)
	}
	s := &subscription{private: private, auth: make([]byte, 16), vapid: vapid, phone: p}
	_, _ = rand.Read(s.auth) // never fails: crypto/rand ends the process instead
	path := pushPath + randomHex(32)
	s.endpoint = base + path
	w.mu.Lock()
	w.subs[path] = s
	w.mu.Unlock()
	p.join(s.app(), s.endpoint, w)
	return s.public(), nil
}

// app is how the phone names the subscription: by its push service.
func (s *subscription) app() string {
	return strings.TrimPrefix(s.endpoint[:len(s.endpoint)-len(s.path())], "https://")
}

func (s *subscription) path() string { return s.endpoint[strings.LastIndex(s.endpoint, pushPath):] }

func (s *subscription) public() Subscription {
	encode := base64.RawURLEncoding.EncodeToString
	return Subscription{Endpoint: s.endpoint, P256dh: encode(s.private.PublicKey().Bytes()), Auth: encode(s.auth)}
}

// Subscriptions are those that are in force, in no order.
func (w *WebPush) Subscriptions() []Subscription {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []Subscription
	for _, s := range w.subs {
		if s.gone == 0 {
			all = append(all, s.public())
		}
	}
	return all
}

// Tokens are the endpoints in force, with the push service that each is of.
func (w *WebPush) Tokens() []Registration {
	w.mu.Lock()
	defer w.mu.Unlock()
	homes := make(map[string]*home, len(w.subs))
	for _, s := range w.subs {
		if s.gone == 0 {
			homes[s.endpoint] = &home{phone: s.phone, app: s.app()}
		}
	}
	return registrations(homes)
}

// Uninstall removes the web app. The service does not know it at once: for
// acceptedFor more it accepts, and then answers 410.
func (w *WebPush) Uninstall(endpoint string, acceptedFor time.Duration) {
	w.end(endpoint, http.StatusGone, w.opts.Now().Add(acceptedFor))
}

func (w *WebPush) end(endpoint string, status int, from time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.subs {
		if s.endpoint == endpoint {
			s.gone, s.from = status, from
			s.phone.leave(s.app(), endpoint)
		}
	}
}

// uninstall implements carrier.
func (w *WebPush) uninstall(endpoint string, acceptedFor time.Duration) {
	w.Uninstall(endpoint, acceptedFor)
}

// rotate implements carrier: browsers change a subscription now and then.
func (w *WebPush) rotate(p *Phone, app, old string) string {
	w.mu.Lock()
	vapid := ""
	for _, s := range w.subs {
		if s.endpoint == old {
			vapid = s.vapid
		}
	}
	w.mu.Unlock()
	w.Unsubscribe(old, http.StatusGone)
	s, err := w.subscribe(p, "https://"+app, vapid)
	if err != nil {
		return ""
	}
	return s.Endpoint
}

// Unsubscribe makes an endpoint answer status from now on: 410 as after an
// unsubscription, or 404 as services do later.
func (w *WebPush) Unsubscribe(endpoint string, status int) { w.end(endpoint, status, time.Time{}) }

// Subscribed tells whether an endpoint is in force. A browser ends a
// subscription by itself when a push shows nothing.
func (w *WebPush) Subscribed(endpoint string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.subs {
		if s.endpoint == endpoint {
			return s.gone == 0
		}
	}
	return false
}

// Open decrypts a request's body with its subscription's private key.
func (w *WebPush) Open(r Request) ([]byte, error) {
	w.mu.Lock()
	s := w.subs[r.Path]
	w.mu.Unlock()
	if s == nil {
		return nil, fmt.Errorf("open a message to %s: there is no such subscription", r.Path)
	}
	return decrypt(r.Body, s.private, s.auth)
}

func (w *WebPush) handle(e *exchange) {
	r := Request{
		At: e.at, Connection: e.conn.id, Stream: e.stream, Method: e.method, Path: e.path, Header: e.header, Body: e.body,
		Token: "https://" + e.header[":authority"] + e.path,
	}
	answer := w.script.next(r)
	if answer.undecided() {
		answer = answer.with(w.sky.strike("internal error", "the service is unavailable"))
	}
	answer.Delay += w.Latency()
	if answer.Delay <= 0 {
		w.carryOut(e, r, answer)
		return
	}
	w.server.after(e, answer.Delay, func() { w.carryOut(e, r, answer) })
}

func (w *WebPush) carryOut(e *exchange, r Request, answer Answer) {
	v := webVerdict{status: answer.Status, reason: answer.Reason}
	judged := w.judge(r)
	if answer.Status == 0 {
		v = judged
	}
	if (answer.Fault == NoFault && v.status == http.StatusCreated) || answer.Deliver {
		w.deliver(r, answer)
	}
	if r.Fault = answer.Fault; r.Fault == NoFault {
		r.Status, r.Reason = v.status, v.reason
	}
	w.tape.record(r)
	header := map[string]string{"date": w.opts.Now().Add(w.Skew()).UTC().Format(http.TimeFormat)}
	if v.status == http.StatusCreated {
		header["location"] = "https://" + e.header[":authority"] + "/message/" + w.next()
		header["ttl"] = e.header["ttl"]
	}
	maps.Copy(header, answer.Header)
	e.send(v.status, header, v.body(e.header[":authority"], answer), answer)
	if answer.GoAway {
		e.conn.goAway(e.stream, "")
	}
}

func (w *WebPush) next() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.number++
	return fmt.Sprint(w.number)
}

// deliver hands an accepted message to the browser on the phone.
func (w *WebPush) deliver(r Request, answer Answer) {
	w.mu.Lock()
	s := w.subs[r.Path]
	w.mu.Unlock()
	if s == nil || s.phone == nil || s.gone != 0 { // gone: nothing arrives, accepted or not
		return
	}
	plain, err := decrypt(r.Body, s.private, s.auth)
	if err != nil {
		return
	}
	n := parseWeb(plain)
	n.Platform, n.App, n.Token = "web", r.Header[":authority"], s.endpoint
	ttl := ttlOf(r.Header["ttl"])
	k := parcel{n: n, key: r.Header["topic"], high: r.Header["urgency"] == "high", visible: n.Title != ""}
	if ttl > 0 {
		k.until = w.opts.Now().Add(ttl)
	}
	k.held = answer.Held
	w.server.hand(s.phone, k, answer.Late) // which ends the subscription when too many pushes show nothing
}

// parseWeb is what the service worker of the web app does with a push: it
// passes "notification" to showNotification, as title and options.
func parseWeb(plain []byte) Notification {
	n := Notification{Raw: plain}
	var p struct {
		WebPush      int  `json:"web_push"`
		Badge        *int `json:"app_badge"`
		Notification struct {
			Title    string
			Body     string
			Tag      string
			Silent   bool
			Navigate string
			Data     struct {
				D, K, I, S, U, UK, A, E string
				N, R, X                 int64
				Fetch                   int
				Badge                   *int
				Level, Sound, Thread    string
				Volume                  float64
				M                       map[string]string
			}
		}
	}
	decoder := json.NewDecoder(bytes.NewReader(plain))
	if decoder.Decode(&p) != nil {
		return n
	}
	s, d := &p.Notification, &p.Notification.Data
	if p.WebPush != 0 && (p.WebPush != declarative || s.Navigate == "") {
		return n // a declaration that the browser refuses to understand
	}
	n.Title, n.Body, n.CollapseID = s.Title, s.Body, s.Tag
	n.Kind, n.DeliveryID, n.IncidentID, n.Severity = d.K, d.D, d.I, d.S
	n.Number, n.Revision, n.Fetch, n.Details = d.N, d.R, d.Fetch == 1, d.M
	n.ReceiptPath, n.ReceiptKey, n.ActionToken, n.Sealed = d.U, d.UK, d.A, d.E
	n.Level, n.ThreadID, n.Badge, n.Volume = d.Level, d.Thread, d.Badge, d.Volume
	if p.Badge != nil {
		n.Badge = p.Badge
	}
	if !s.Silent {
		n.Sound = d.Sound // a browser plays the system's sound, whatever is asked for
	}
	if d.X > 0 {
		n.Expires = time.Unix(d.X, 0)
	}
	return n
}

const (
	pushPath    = "/push/"
	declarative = 8030 // the number of RFC 8030, by which a declarative message is known
)

// webVerdict is what the rules say about a request.
type webVerdict struct {
	status int
	reason string
}

// body is what the services say with a refusal, each in its own form.
func (v webVerdict) body(host string, a Answer) []byte {
	switch {
	case a.Body != nil:
		return a.Body
	case v.status < 300 || v.reason == "":
		return nil
	case strings.HasSuffix(host, ".push.apple.com"):
		return fmt.Appendf(nil, `{"reason":%q}`, v.reason)
	case host == ServiceMozilla:
		return fmt.Appendf(nil, `{"code":%d,"errno":%d,"error":%q,"message":%q,"more_info":""}`, v.status, errno(v.status), http.StatusText(v.status), v.reason)
	}
	return []byte(v.reason + "\n")
}

// errno is Mozilla's number for a refusal.
// https://mozilla-services.github.io/autopush-rs/errors.html
func errno(status int) int {
	switch status {
	case http.StatusUnauthorized:
		return 109
	case http.StatusNotFound:
		return 102
	case http.StatusGone:
		return 106
	case http.StatusRequestEntityTooLarge:
		return 104
	case http.StatusTooManyRequests:
		return 114
	}
	return 999
}
