package pushtest

import (
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"
)

// APNsOptions describe an APNs simulator. The zero value is Apple's rules.
type APNsOptions struct {
	Address     string           // to listen on; empty is a free port of 127.0.0.1
	Certificate []byte           // certificate and key to serve with, PEM, as [APNs.Certificate] returns them; empty makes new ones
	Now         func() time.Time // of the provider-token rules; nil is time.Now
	Skew        time.Duration    // added to Now in the Date header; SetSkew changes it
	Latency     time.Duration    // of every answer; SetLatency changes it
	KeepLog     int              // newest requests recorded; 0 is 100,000, below 0 none
	AnyToken    bool             // well-formed tokens that nobody registered are accepted
	AnyBearer   bool             // provider tokens are not checked
	Sandbox     bool             // the development environment: answers carry an apns-unique-id, restricted keys are judged by it

	OneStreamFirst  bool          // a connection may have one stream until its first success
	IdleAfter       time.Duration // a request on a connection that was idle for longer gets 400 IdleTimeout, then GOAWAY; 0 is never
	DevicePerSecond int           // more requests for one token in a second get 429 TooManyRequests; 0 is no limit

	OnRequest func(Request) // called after each answer, on the connection's goroutine: must not block
}

// APNs is a simulator of the Apple Push Notification service.
type APNs struct {
	Service

	opts APNsOptions

	mu       sync.Mutex
	keys     map[string]teamKey // by key id
	topics   map[string]string  // bundle id -> team; empty map allows all
	homes    map[string]*home   // by token
	issued   map[string]*issue  // by team
	gone     map[string]death
	checks   map[string]checked // provider tokens whose signature was verified
	certs    map[string]grantee // client certificates, by their DER
	blocked  map[string]bool    // teams
	counters map[string]counter // requests of this second, by token
}

type checked struct {
	key    teamKey
	issued time.Time
}

type teamKey struct {
	id     string
	team   string
	public *ecdsa.PublicKey
	only   string // environment it is restricted to; "" is none
}

// grantee is what a client certificate may do.
type grantee struct {
	bundle      string
	environment string
}

// death is a token that leads nowhere any more.
type death struct {
	since  time.Time // what the answer says
	from   time.Time // until then it is still accepted
	reason string
}

type counter struct {
	second int64
	n      int
}

// home is where a token leads.
type home struct {
	phone    *Phone
	app      string
	project  string // of Firebase, when it is another one
	platform string // of FCM: "android", "ios", "web"
}

// The environments of APNs.
const (
	Sandbox    = "sandbox"
	Production = "production"
)

// NewAPNs starts a simulator; Close ends it.
func NewAPNs(o APNsOptions) (*APNs, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.KeepLog == 0 {
		o.KeepLog = 100_000
	}
	id, err := identityOf(o.Certificate)
	if err != nil {
		return nil, fmt.Errorf("start the APNs simulator: %w", err)
	}
	a := &APNs{
		Service: Service{ca: id.ca, pair: id.pair, tape: tape{limit: o.KeepLog, tell: o.OnRequest}}, opts: o, keys: make(map[string]teamKey),
		topics: make(map[string]string), homes: make(map[string]*home), issued: make(map[string]*issue), gone: make(map[string]death),
		checks: make(map[string]checked), certs: make(map[string]grantee), blocked: make(map[string]bool), counters: make(map[string]counter),
	}
	a.latency.Store(int64(o.Latency))
	a.skew.Store(int64(o.Skew))
	if a.server, err = newServer(o.Address, id.tls, a.handle); err != nil {
		return nil, fmt.Errorf("start the APNs simulator: %w", err)
	}
	if o.OneStreamFirst {
		a.server.cold.Store(1)
	}
	return a, nil
}

// NewKey makes a key, makes it known for team, and returns the .p8 file.
func (a *APNs) NewKey(team, keyID string) []byte {
	file, public, err := NewP8()
	if err != nil {
		return nil
	}
	a.AddKey(team, keyID, public)
	return file
}

// AddKey makes the public half of a key known.
func (a *APNs) AddKey(team, keyID string, public *ecdsa.PublicKey) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keys[keyID] = teamKey{id: keyID, team: team, public: public}
	clear(a.checks)
}

// RestrictKey lets a key be used in one environment only, [Sandbox] or
// [Production]; "" is both.
func (a *APNs) RestrictKey(keyID, environment string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if k, known := a.keys[keyID]; known {
		k.only = environment
		a.keys[keyID] = k
		clear(a.checks)
	}
}

// BlockTeam answers 403 Forbidden to everything that a team sends.
func (a *APNs) BlockTeam(team string, on bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.blocked[team] = on
}

// NewCertificate makes a client certificate that may push to a bundle id in
// one environment, as providers used them before keys: certificate and key, PEM.
func (a *APNs) NewCertificate(bundle, environment string) ([]byte, error) {
	id, err := newIdentity("Apple Push Services: " + bundle)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.certs[string(id.tls.Certificate[0])] = grantee{bundle, environment}
	return id.pair, nil
}

// RevokeKey makes a key unknown.
func (a *APNs) RevokeKey(keyID string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.keys, keyID)
	clear(a.checks)
}

// AllowTopic says that team owns a bundle id. Once one is owned, all others
// are refused.
func (a *APNs) AllowTopic(team, bundle string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.topics[bundle] = team
}

// Register gives a phone's app a token. A nil phone makes a token that leads
// nowhere and is accepted, as that of an app deleted long ago may be.
func (a *APNs) Register(p *Phone, bundle string) string {
	token := randomHex(32)
	a.RegisterToken(p, bundle, token)
	return token
}

// RegisterToken is Register with a token that is already known.
func (a *APNs) RegisterToken(p *Phone, bundle, token string) {
	a.mu.Lock()
	a.homes[token] = &home{phone: p, app: bundle}
	delete(a.gone, token)
	a.mu.Unlock()
	p.join(bundle, token, a)
}

// Unregister makes a token answer 410 Unregistered, dead since at.
func (a *APNs) Unregister(token string, at time.Time) {
	a.bury(token, death{since: at, reason: "Unregistered"})
}

// Expire makes a token answer 410 ExpiredToken.
func (a *APNs) Expire(token string) {
	a.bury(token, death{since: a.opts.Now(), reason: "ExpiredToken"})
}

// Uninstall takes the app off the phone. Apple does not know it at once: for
// acceptedFor more its token is answered 200, and then 410 Unregistered.
func (a *APNs) Uninstall(token string, acceptedFor time.Duration) {
	now := a.opts.Now()
	a.bury(token, death{since: now, from: now.Add(acceptedFor), reason: "Unregistered"})
}

func (a *APNs) bury(token string, d death) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if h := a.homes[token]; h != nil {
		h.phone.leave(h.app, token)
	}
	delete(a.homes, token)
	a.gone[token] = d
}

// uninstall implements carrier.
func (a *APNs) uninstall(token string, acceptedFor time.Duration) { a.Uninstall(token, acceptedFor) }

// rotate implements carrier: the old token is dead at once.
func (a *APNs) rotate(p *Phone, app, old string) string {
	a.Unregister(old, a.opts.Now())
	return a.Register(p, app)
}

// Tokens are the tokens that lead somewhere or are known to be accepted, with
// their apps.
func (a *APNs) Tokens() []Registration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return registrations(a.homes)
}

// ShutDown is how an APNs server leaves: GOAWAY on all connections, and what
// is still in flight is answered 503 Shutdown. New connections work.
func (a *APNs) ShutDown() {
	a.server.each(func(c *conn) {
		c.mu.Lock()
		c.shutdown = true
		c.mu.Unlock()
		c.goAway(c.lastStream(), "")
	})
}

func (a *APNs) handle(e *exchange) {
	r := Request{
		At: e.at, Connection: e.conn.id, Stream: e.stream, Method: e.method, Path: e.path, Header: e.header, Body: e.body,
		Token: strings.TrimPrefix(e.path, devicePath),
	}
	answer := a.script.next(r)
	if answer.undecided() {
		answer = answer.with(a.sky.strike("InternalServerError", "ServiceUnavailable"))
	}
	answer.Delay += a.Latency()
	if answer.Delay <= 0 {
		a.carryOut(e, r, answer)
		return
	}
	a.server.after(e, answer.Delay, func() { a.carryOut(e, r, answer) })
}

// carryOut judges a request and does what the answer says.
func (a *APNs) carryOut(e *exchange, r Request, answer Answer) {
	v := verdict{status: answer.Status, reason: answer.Reason}
	if answer.Status == 0 {
		v = a.judge(e)
	}
	if r.Fault = answer.Fault; r.Fault == NoFault {
		r.Status, r.Reason = v.status, v.reason
	}
	if (answer.Fault == NoFault && v.status == http.StatusOK) || answer.Deliver {
		a.deliver(r, answer)
	}
	a.tape.record(r)
	header := map[string]string{"date": a.opts.Now().Add(a.Skew()).UTC().Format(http.TimeFormat)}
	if id := e.header["apns-id"]; id != "" {
		header["apns-id"] = id
	} else {
		header["apns-id"] = strings.ToUpper(newUUID())
	}
	if a.opts.Sandbox && v.status == http.StatusOK {
		header["apns-unique-id"] = newUUID()
	}
	maps.Copy(header, answer.Header)
	e.send(v.status, header, v.body(answer), answer)
	if v.status == http.StatusOK && answer.Fault == NoFault {
		e.conn.succeed()
	}
	if answer.GoAway || v.reason == "IdleTimeout" {
		e.conn.goAway(e.stream, "")
	}
}

// body is what Apple says with a status: nothing with 200, else its reason.
func (v verdict) body(a Answer) []byte {
	switch {
	case a.Body != nil:
		return a.Body
	case v.status == http.StatusOK || v.reason == "":
		return nil
	}
	fields := map[string]any{"reason": v.reason}
	switch {
	case a.Timestamp != nil:
		fields["timestamp"] = a.Timestamp
	case !v.since.IsZero():
		fields["timestamp"] = v.since.UnixMilli()
	}
	b, err := json.Marshal(fields)
	if err != nil {
		return nil
	}
	return b
}

// deliver hands an accepted push to its phone.
func (a *APNs) deliver(r Request, answer Answer) {
	a.mu.Lock()
	h := a.homes[r.Token]
	a.mu.Unlock()
	if h == nil || h.phone == nil {
		return
	}
	n := parseIOS(r.Body)
	kind := r.Header["apns-push-type"]
	n.Platform, n.App, n.Token, n.CollapseID = "ios", h.app, r.Token, r.Header["apns-collapse-id"]
	a.server.hand(h.phone, parcel{
		n: n, until: expiration(r.Header["apns-expiration"], a.opts.Now()), only: true,
		high: r.Header["apns-priority"] != "5", visible: kind == "alert" || kind == "", held: answer.Held,
	}, answer.Late)
}

// expiration is until when a push is kept. Without the header Apple keeps it
// for thirty days.
func expiration(header string, now time.Time) time.Time {
	if header == "" {
		return now.AddDate(0, 0, 30)
	}
	var seconds int64
	if _, err := fmt.Sscan(header, &seconds); err != nil || seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

func parseIOS(body []byte) Notification {
	var p struct {
		APS struct {
			Alert struct{ Title, Subtitle, Body string }
			Badge *int
			Sound json.RawMessage
			Mut   int    `json:"mutable-content"`
			Cat   string `json:"category"`
			Level string `json:"interruption-level"`
			ID    string `json:"thread-id"`
		}
		T struct {
			D, K, I, S, U, UK, A, E, EK, SH string
			N, R, X                         int64
			Fetch                           int
			M                               map[string]string
		}
	}
	n := Notification{Raw: body}
	if err := json.Unmarshal(body, &p); err != nil {
		return n
	}
	n.Title, n.Subtitle, n.Body = p.APS.Alert.Title, p.APS.Alert.Subtitle, p.APS.Alert.Body
	n.Badge, n.Level, n.ThreadID, n.Category = p.APS.Badge, p.APS.Level, p.APS.ID, p.APS.Cat
	var sound struct {
		Critical int
		Name     string
		Volume   float64
	}
	if json.Unmarshal(p.APS.Sound, &n.Sound) != nil && json.Unmarshal(p.APS.Sound, &sound) == nil {
		n.Sound, n.Critical, n.Volume = sound.Name, sound.Critical == 1, sound.Volume
	}
	n.Kind, n.DeliveryID, n.IncidentID, n.Severity = p.T.K, p.T.D, p.T.I, p.T.S
	n.Number, n.Revision, n.Fetch, n.Details = p.T.N, p.T.R, p.T.Fetch == 1, p.T.M
	n.ReceiptPath, n.ReceiptKey, n.ActionToken, n.Sealed, n.SealedKeyID = p.T.U, p.T.UK, p.T.A, p.T.E, p.T.EK
	n.Shadow = p.T.SH
	n.mutable = p.APS.Mut == 1
	if p.T.X > 0 {
		n.Expires = time.Unix(p.T.X, 0)
	}
	return n
}
