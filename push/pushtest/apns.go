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
	Address   string           // to listen on; empty is a free port of 127.0.0.1
	Now       func() time.Time // of the provider-token rules; nil is time.Now
	Skew      time.Duration    // added to Now in the Date header
	Latency   time.Duration    // of every answer
	KeepLog   int              // requests recorded; 0 is 100,000, below 0 none
	AnyToken  bool             // well-formed tokens that nobody registered are accepted
	AnyBearer bool             // provider tokens are not checked
}

// APNs is a simulator of the Apple Push Notification service.
type APNs struct {
	server *server
	opts   APNsOptions
	ca     []byte
	script script
	tape   tape

	mu     sync.Mutex
	keys   map[string]teamKey // by key id
	topics map[string]string  // bundle id -> team; empty map allows all
	homes  map[string]*home   // by token
	issued map[string]*issue  // by team
	gone   map[string]time.Time
	checks map[string]checked // provider tokens whose signature was verified
}

type checked struct {
	key    teamKey
	issued time.Time
}

type teamKey struct {
	team   string
	public *ecdsa.PublicKey
}

// home is where a token leads.
type home struct {
	phone  *Phone
	bundle string
}

// NewAPNs starts a simulator; Close ends it.
func NewAPNs(o APNsOptions) (*APNs, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.KeepLog == 0 {
		o.KeepLog = 100_000
	}
	cert, ca, err := newCertificate()
	if err != nil {
		return nil, fmt.Errorf("start the APNs simulator: %w", err)
	}
	a := &APNs{
		opts: o, ca: ca, tape: tape{limit: o.KeepLog}, keys: make(map[string]teamKey), topics: make(map[string]string),
		homes: make(map[string]*home), issued: make(map[string]*issue), gone: make(map[string]time.Time), checks: make(map[string]checked),
	}
	if a.server, err = newServer(o.Address, cert, a.handle); err != nil {
		return nil, fmt.Errorf("start the APNs simulator: %w", err)
	}
	return a, nil
}

// Close ends the simulator and all its connections.
func (a *APNs) Close() { a.server.close() }

// URL is the base address, https on loopback.
func (a *APNs) URL() string { return "https://" + a.server.listener.Addr().String() }

// CA is the certificate authority to trust, PEM.
func (a *APNs) CA() []byte { return a.ca }

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
	a.keys[keyID] = teamKey{team, public}
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
	defer a.mu.Unlock()
	a.homes[token] = &home{p, bundle}
	delete(a.gone, token)
}

// Unregister makes a token answer 410 Unregistered, dead since at.
func (a *APNs) Unregister(token string, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.homes, token)
	a.gone[token] = at
}

// Script sets what the next requests for a token get, one each, in order.
func (a *APNs) Script(token string, answers ...Answer) { a.script.add(token, answers) }

// ScriptAny is Script for requests of any token that has no answers of its own.
func (a *APNs) ScriptAny(answers ...Answer) { a.script.add("", answers) }

// Always sets what all requests for a token get from now on; token "" is all
// tokens. Heal takes it back.
func (a *APNs) Always(token string, answer Answer) { a.script.stand(token, answer, true) }

// Heal takes back what Always set.
func (a *APNs) Heal(token string) { a.script.stand(token, Answer{}, false) }

// Decide asks f about every request that no script covers; false lets the
// simulator judge. f runs on the connection's goroutine.
func (a *APNs) Decide(f func(Request) (Answer, bool)) { a.script.set(f) }

// Requests is what arrived, in order.
func (a *APNs) Requests() []Request { return a.tape.all() }

// Count is how many requests arrived.
func (a *APNs) Count() int { return a.tape.count() }

// Forget empties the log.
func (a *APNs) Forget() { a.tape.reset() }

// Connections is how many connections have been opened in all, how many are
// open, and the most requests that one of the open ones had in flight.
func (a *APNs) Connections() (opened, open, mostInFlight int) { return a.server.connections() }

// MaxStreams sets the limit of requests in flight per connection, on open
// connections too.
func (a *APNs) MaxStreams(n uint32) { a.server.setStreams(n) }

// Down refuses connections and cuts the open ones; false ends that.
func (a *APNs) Down(on bool) { a.server.refuse(on) }

// GoAway sends GOAWAY on all connections; what is in flight is still answered.
func (a *APNs) GoAway(debug string) {
	a.server.each(func(c *conn) { c.goAway(c.lastStream(), debug) })
}

// Freeze makes all open connections go silent, as a dead peer does: no
// answers, no pings. New connections work. False wakes them again.
func (a *APNs) Freeze(on bool) { a.server.each(func(c *conn) { c.gate.freeze(on) }) }

// Cut ends all connections as a crash does.
func (a *APNs) Cut() { a.server.each((*conn).kill) }

func (a *APNs) handle(e *exchange) {
	r := Request{
		At: e.at, Connection: e.conn.id, Stream: e.stream, Method: e.method, Path: e.path, Header: e.header, Body: e.body,
		Token: strings.TrimPrefix(e.path, devicePath),
	}
	answer := a.script.next(r)
	answer.Delay += a.opts.Latency
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
	if answer.Fault != NoFault {
		r.Status, r.Reason = 0, ""
	} else {
		r.Status, r.Reason = v.status, v.reason
	}
	if (answer.Fault == NoFault && v.status == http.StatusOK) || answer.Deliver {
		a.deliver(r)
	}
	a.tape.record(r)
	if answer.Fault != NoFault {
		e.fault(answer.Fault)
		return
	}
	header := map[string]string{"date": a.opts.Now().Add(a.opts.Skew).UTC().Format(http.TimeFormat)}
	if id := e.header["apns-id"]; id != "" {
		header["apns-id"] = id
	}
	maps.Copy(header, answer.Header)
	e.respond(v.status, header, v.body(answer))
	if answer.GoAway {
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
func (a *APNs) deliver(r Request) {
	a.mu.Lock()
	h := a.homes[r.Token]
	a.mu.Unlock()
	if h == nil || h.phone == nil {
		return
	}
	n := parseIOS(r.Body)
	n.Platform, n.App, n.Token, n.CollapseID = "ios", h.bundle, r.Token, r.Header["apns-collapse-id"]
	h.phone.deliver(parcel{
		n: n, until: expiration(r.Header["apns-expiration"], a.opts.Now()), only: true,
		high: r.Header["apns-priority"] != "5", visible: r.Header["apns-push-type"] == "alert",
	})
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
			Cat   string `json:"category"`
			Level string `json:"interruption-level"`
			ID    string `json:"thread-id"`
		}
		T struct {
			D, K, I, S, U, UK, A, E, EK string
			N, R, X                     int64
			Fetch                       int
			M                           map[string]string
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
	if p.T.X > 0 {
		n.Expires = time.Unix(p.T.X, 0)
	}
	return n
}
