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
	Address string           // to listen on; empty is a free port of 127.0.0.1
	Now     func() time.Time // of VAPID tokens' expiry; nil is time.Now
	Skew    time.Duration    // added to Now in the Date header
	Latency time.Duration    // of every answer
	KeepLog int              // requests recorded; 0 is 100,000, below 0 none
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
	server *server
	opts   WebPushOptions
	ca     []byte
	script script
	tape   tape

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
	gone     int // 404 or 410; 0 while it is in force
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
	cert, ca, err := newCertificate(ServiceApple, ServiceGoogle, ServiceMozilla, "*.push.apple.com", "*.notify.windows.com")
	if err != nil {
		return nil, fmt.Errorf("start the Web Push simulator: %w", err)
	}
	w := &WebPush{opts: o, ca: ca, tape: tape{limit: o.KeepLog}, subs: make(map[string]*subscription)}
	if w.server, err = newServer(o.Address, cert, w.handle); err != nil {
		return nil, fmt.Errorf("start the Web Push simulator: %w", err)
	}
	return w, nil
}

// Close ends the simulator and all its connections.
func (w *WebPush) Close() { w.server.close() }

// URL is the base address, https on loopback.
func (w *WebPush) URL() string { return "https://" + w.server.listener.Addr().String() }

// CA is the certificate authority to trust, PEM.
func (w *WebPush) CA() []byte { return w.ca }

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
	encode := base64.RawURLEncoding.EncodeToString
	return Subscription{Endpoint: s.endpoint, P256dh: encode(private.PublicKey().Bytes()), Auth: encode(s.auth)}, nil
}

// Unsubscribe makes an endpoint answer status from now on: 410 as after an
// unsubscription, or 404 as services do later.
func (w *WebPush) Unsubscribe(endpoint string, status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.subs {
		if s.endpoint == endpoint {
			s.gone = status
		}
	}
}

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

// Script sets what the next messages to an endpoint get, one each, in order.
func (w *WebPush) Script(endpoint string, answers ...Answer) { w.script.add(endpoint, answers) }

// ScriptAny is Script for messages to any endpoint that has no answers of its own.
func (w *WebPush) ScriptAny(answers ...Answer) { w.script.add("", answers) }

// Always sets what all messages to an endpoint get from now on; endpoint "" is
// all of them. Heal takes it back.
func (w *WebPush) Always(endpoint string, a Answer) { w.script.stand(endpoint, a, true) }

// Heal takes back what Always set.
func (w *WebPush) Heal(endpoint string) { w.script.stand(endpoint, Answer{}, false) }

// Decide asks f about every message that no script covers; false lets the
// simulator judge. f runs on the connection's goroutine. The service that was
// asked for is the request's header ":authority".
func (w *WebPush) Decide(f func(Request) (Answer, bool)) { w.script.set(f) }

// Requests is what arrived, in order. Body is the encrypted body; see [WebPush.Open].
func (w *WebPush) Requests() []Request { return w.tape.all() }

// Count is how many messages arrived.
func (w *WebPush) Count() int { return w.tape.count() }

// Forget empties the log.
func (w *WebPush) Forget() { w.tape.reset() }

// Connections is as for APNs.
func (w *WebPush) Connections() (opened, open, mostInFlight int) { return w.server.connections() }

// Down refuses connections and cuts the open ones; false ends that.
func (w *WebPush) Down(on bool) { w.server.refuse(on) }

// Freeze makes all open connections go silent, as a dead peer does.
func (w *WebPush) Freeze(on bool) { w.server.each(func(c *conn) { c.gate.freeze(on) }) }

// Cut ends all connections as a crash does.
func (w *WebPush) Cut() { w.server.each((*conn).kill) }

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
	answer.Delay += w.opts.Latency
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
		w.deliver(r)
	}
	if answer.Fault != NoFault {
		w.tape.record(r)
		e.fault(answer.Fault)
		return
	}
	r.Status, r.Reason = v.status, v.reason
	w.tape.record(r)
	header := map[string]string{"date": w.opts.Now().Add(w.opts.Skew).UTC().Format(http.TimeFormat)}
	if v.status == http.StatusCreated {
		header["location"] = "https://" + e.header[":authority"] + "/message/" + w.next()
		header["ttl"] = e.header["ttl"]
	}
	maps.Copy(header, answer.Header)
	e.respond(v.status, header, v.body(e.header[":authority"], answer))
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
func (w *WebPush) deliver(r Request) {
	w.mu.Lock()
	s := w.subs[r.Path]
	w.mu.Unlock()
	if s == nil || s.phone == nil || s.gone != 0 {
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
	if !k.visible {
		// userVisibleOnly: a push that shows nothing breaks the browser's
		// promise to the person, and the subscription ends.
		w.Unsubscribe(s.endpoint, http.StatusGone)
	}
	s.phone.deliver(k)
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
