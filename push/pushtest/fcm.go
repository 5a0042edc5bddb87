package pushtest

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// FCMOptions describe an FCM simulator. The zero value is Google's rules.
type FCMOptions struct {
	Address   string           // to listen on; empty is a free port of 127.0.0.1
	Project   string           // the Firebase project; empty is "tocsin-demo"
	Now       func() time.Time // of token expiry; nil is time.Now
	Latency   time.Duration    // of every answer
	KeepLog   int              // requests recorded; 0 is 100,000, below 0 none
	TokenLife time.Duration    // of OAuth tokens; 0 is an hour
	AnyToken  bool             // registration tokens that nobody registered are accepted
	AnyBearer bool             // OAuth tokens are not checked
}

// FCM is a simulator of Firebase Cloud Messaging's HTTP v1 API, with the
// OAuth token service that it needs.
type FCM struct {
	server  *server
	opts    FCMOptions
	ca      []byte
	script  script
	oauth   script
	tape    tape
	account []byte
	email   string
	public  *rsa.PublicKey

	mu      sync.Mutex
	homes   map[string]*home
	gone    map[string]bool
	bearers map[string]time.Time // until when
	grants  int
	number  int
}

// NewFCM starts a simulator; Close ends it.
func NewFCM(o FCMOptions) (*FCM, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Project == "" {
		o.Project = "tocsin-demo"
	}
	if o.KeepLog == 0 {
		o.KeepLog = 100_000
	}
	if o.TokenLife == 0 {
		o.TokenLife = time.Hour
	}
	cert, ca, err := newCertificate()
	if err != nil {
		return nil, fmt.Errorf("start the FCM simulator: %w", err)
	}
	f := &FCM{
		opts: o, ca: ca, tape: tape{limit: o.KeepLog}, homes: make(map[string]*home),
		gone: make(map[string]bool), bearers: make(map[string]time.Time),
	}
	if f.server, err = newServer(o.Address, cert, f.handle); err != nil {
		return nil, fmt.Errorf("start the FCM simulator: %w", err)
	}
	var sa serviceAccount
	if f.account, sa, f.public, err = newServiceAccount(o.Project, f.URL()+"/token"); err != nil {
		f.server.close()
		return nil, fmt.Errorf("start the FCM simulator: %w", err)
	}
	f.email = sa.ClientEmail
	return f, nil
}

// Close ends the simulator and all its connections.
func (f *FCM) Close() { f.server.close() }

// URL is the base address, https on loopback.
func (f *FCM) URL() string { return "https://" + f.server.listener.Addr().String() }

// CA is the certificate authority to trust, PEM.
func (f *FCM) CA() []byte { return f.ca }

// Project is the project's id.
func (f *FCM) Project() string { return f.opts.Project }

// ServiceAccountJSON is the key file of an account that may send.
func (f *FCM) ServiceAccountJSON() []byte { return f.account }

// Register gives a phone's app a token. A nil phone makes a token that leads
// nowhere and is accepted.
func (f *FCM) Register(p *Phone, pkg string) string {
	token := randomHex(11) + ":APA91b" + randomHex(60)
	f.RegisterToken(p, pkg, token)
	return token
}

// RegisterToken is Register with a token that is already known.
func (f *FCM) RegisterToken(p *Phone, pkg, token string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.homes[token] = &home{p, pkg}
	delete(f.gone, token)
}

// Unregister makes a token answer 404 UNREGISTERED.
func (f *FCM) Unregister(token string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.homes, token)
	f.gone[token] = true
}

// Script sets what the next messages to a token get, one each, in order.
func (f *FCM) Script(token string, answers ...Answer) { f.script.add(token, answers) }

// ScriptAny is Script for messages to any token that has no answers of its own.
func (f *FCM) ScriptAny(answers ...Answer) { f.script.add("", answers) }

// Always sets what all messages to a token get from now on; token "" is all
// tokens. Heal takes it back.
func (f *FCM) Always(token string, a Answer) { f.script.stand(token, a, true) }

// Heal takes back what Always set.
func (f *FCM) Heal(token string) { f.script.stand(token, Answer{}, false) }

// Decide asks fn about every message that no script covers.
func (f *FCM) Decide(fn func(Request) (Answer, bool)) { f.script.set(fn) }

// ScriptOAuth sets what the next token requests get.
func (f *FCM) ScriptOAuth(answers ...Answer) { f.oauth.add("", answers) }

// AlwaysOAuth sets what all token requests get from now on; on false ends it.
func (f *FCM) AlwaysOAuth(a Answer, on bool) { f.oauth.stand("", a, on) }

// RevokeTokens makes all OAuth tokens invalid at once.
func (f *FCM) RevokeTokens() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.bearers)
}

// Grants is how many OAuth tokens have been given out.
func (f *FCM) Grants() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.grants
}

// Requests is what messages arrived, in order; token requests are not among them.
func (f *FCM) Requests() []Request { return f.tape.all() }

// Count is how many messages arrived.
func (f *FCM) Count() int { return f.tape.count() }

// Forget empties the log.
func (f *FCM) Forget() { f.tape.reset() }

// Connections is as for APNs.
func (f *FCM) Connections() (opened, open, mostInFlight int) { return f.server.connections() }

// Down refuses connections and cuts the open ones; false ends that.
func (f *FCM) Down(on bool) { f.server.refuse(on) }

// Freeze makes all open connections go silent, as a dead peer does.
func (f *FCM) Freeze(on bool) { f.server.each(func(c *conn) { c.gate.freeze(on) }) }

// Cut ends all connections as a crash does.
func (f *FCM) Cut() { f.server.each((*conn).kill) }

// sent is a message as it arrives; both spellings of a field are Google's.
type sent struct {
	Message struct {
		Token        string
		Data         map[string]json.RawMessage
		Notification json.RawMessage
		Android      struct {
			CollapseKey  string `json:"collapse_key"`
			CollapseKey2 string `json:"collapseKey"`
			Priority     string
			TTL          string
		}
	}
}

func (f *FCM) handle(e *exchange) {
	if e.path == "/token" {
		answer := f.oauth.next(Request{})
		f.pace(e, answer, func() { f.grant(e, answer) })
		return
	}
	var m sent
	malformed := json.Unmarshal(e.body, &m) != nil
	r := Request{
		At: e.at, Connection: e.conn.id, Stream: e.stream, Method: e.method, Path: e.path, Header: e.header, Body: e.body,
		Token: m.Message.Token,
	}
	answer := f.script.next(r)
	answer.Delay += f.opts.Latency
	f.pace(e, answer, func() { f.carryOut(e, r, &m, malformed, answer) })
}

func (f *FCM) pace(e *exchange, a Answer, fn func()) {
	if a.Delay > 0 {
		f.server.after(e, a.Delay, fn)
		return
	}
	fn()
}

func (f *FCM) carryOut(e *exchange, r Request, m *sent, malformed bool, answer Answer) {
	v := googleError{status: answer.Status, code: answer.Reason}
	if answer.Status == 0 {
		v = f.judge(e, m, malformed)
	} else if v.status != http.StatusOK {
		v = googleErrorOf(answer)
	}
	if (answer.Fault == NoFault && v.status == http.StatusOK) || answer.Deliver {
		f.deliver(r, m)
	}
	if answer.Fault != NoFault {
		f.tape.record(r)
		e.fault(answer.Fault)
		return
	}
	r.Status, r.Reason = v.status, v.code
	f.tape.record(r)
	header := map[string]string{"content-type": "application/json; charset=UTF-8", "date": f.opts.Now().UTC().Format(http.TimeFormat)}
	maps.Copy(header, answer.Header)
	body := answer.Body
	switch {
	case body != nil:
	case v.status == http.StatusOK:
		f.mu.Lock()
		f.number++
		body = fmt.Appendf(nil, "{\n  \"name\": \"projects/%s/messages/0:%d\"\n}\n", f.opts.Project, f.number)
		f.mu.Unlock()
	default:
		body = v.json(answer.Detail)
	}
	e.respond(v.status, header, body)
}

// judge applies Google's rules.
func (f *FCM) judge(e *exchange, m *sent, malformed bool) googleError {
	want := "/v1/projects/" + f.opts.Project + "/messages:send"
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case e.path != want:
		return googleError{status: 404, text: "Requested entity was not found."}
	case e.method != http.MethodPost:
		return googleError{status: 405}
	case !f.opts.AnyBearer && !f.knows(e.header["authorization"]):
		return googleError{status: 401, text: "Request had invalid authentication credentials."}
	case malformed:
		return googleError{status: 400, text: "Invalid JSON payload received."}
	}
	size := 0
	for k, raw := range m.Message.Data {
		var v string
		if json.Unmarshal(raw, &v) != nil {
			return badField("message.data["+k+"]", "Invalid value (TYPE_STRING)")
		}
		if k == "from" || k == "message_type" || strings.HasPrefix(k, "google") || strings.HasPrefix(k, "gcm") {
			return badField("message.data", "Invalid data payload key: "+k)
		}
		size += len(k) + len(v)
	}
	a := m.Message.Android
	switch p := strings.ToLower(a.Priority); {
	case size > maxPayload:
		return googleError{status: 400, code: "INVALID_ARGUMENT", text: "Android message is too big"}
	case p != "" && p != "high" && p != "normal":
		return badField("message.android.priority", "Invalid value")
	case !validTTL(a.TTL):
		return badField("message.android.ttl", "Invalid value")
	}
	token := m.Message.Token
	switch {
	case f.gone[token]:
		return googleError{status: 404, code: "UNREGISTERED", text: "Requested entity was not found."}
	case f.homes[token] == nil && !f.opts.AnyToken:
		return googleError{status: 400, code: "INVALID_ARGUMENT", text: "The registration token is not a valid FCM registration token"}
	}
	return googleError{status: http.StatusOK}
}

func (f *FCM) knows(authorization string) bool {
	bearer, ok := strings.CutPrefix(authorization, "Bearer ")
	return ok && f.bearers[bearer].After(f.opts.Now())
}

func validTTL(s string) bool {
	if s == "" {
		return true
	}
	n, ok := strings.CutSuffix(s, "s")
	v, err := strconv.ParseFloat(n, 64)
	return ok && err == nil && v >= 0 && v <= 28*24*3600
}

func ttlOf(s string) time.Duration {
	v, err := strconv.ParseFloat(strings.TrimSuffix(s, "s"), 64)
	if err != nil {
		return 28 * 24 * time.Hour
	}
	return time.Duration(v * float64(time.Second))
}

func (f *FCM) deliver(r Request, m *sent) {
	f.mu.Lock()
	h := f.homes[r.Token]
	f.mu.Unlock()
	if h == nil || h.phone == nil {
		return
	}
	n := parseAndroid(m.Message.Data)
	n.Platform, n.App, n.Token, n.Raw = "android", h.bundle, r.Token, r.Body
	key := m.Message.Android.CollapseKey
	if key == "" {
		key = m.Message.Android.CollapseKey2
	}
	until := f.opts.Now().Add(ttlOf(m.Message.Android.TTL))
	h.phone.deliver(parcel{n: n, until: until, key: key, high: strings.EqualFold(m.Message.Android.Priority, "high"), visible: n.Kind != "heartbeat"})
}

func parseAndroid(data map[string]json.RawMessage) Notification {
	get := func(k string) string {
		var s string
		_ = json.Unmarshal(data[k], &s) // a missing key is an empty string
		return s
	}
	number := func(k string) int64 {
		n, _ := strconv.ParseInt(get(k), 10, 64)
		return n
	}
	n := Notification{
		Kind: get("k"), DeliveryID: get("d"), IncidentID: get("i"), Severity: get("s"), Number: number("n"), Revision: number("r"),
		Title: get("title"), Subtitle: get("subtitle"), Body: get("body"), Level: get("level"), CollapseID: get("tag"), ThreadID: get("thread"),
		Category: get("channel"), ReceiptPath: get("u"), ReceiptKey: get("uk"), ActionToken: get("a"), Sealed: get("e"), Fetch: get("fetch") == "1",
		Sound: get("sound"), SealedKeyID: get("ek"),
	}
	n.Critical = n.Sound == "critical"
	if n.Critical {
		n.Volume = 1
		if v, err := strconv.ParseFloat(get("volume"), 64); err == nil {
			n.Volume = v
		}
	}
	if x := number("x"); x > 0 {
		n.Expires = time.Unix(x, 0)
	}
	if b, err := strconv.Atoi(get("badge")); err == nil {
		n.Badge = &b
	}
	_ = json.Unmarshal([]byte(get("m")), &n.Details) // optional
	return n
}

// grant is the OAuth token service: a signed assertion for an access token
// (RFC 7523).
func (f *FCM) grant(e *exchange, answer Answer) {
	if answer.Fault != NoFault {
		e.fault(answer.Fault)
		return
	}
	header := map[string]string{"content-type": "application/json; charset=utf-8"}
	refuse := func(status int, word string) {
		b := answer.Body
		if b == nil {
			b = fmt.Appendf(nil, `{"error":%q,"error_description":%q}`, word, word)
		}
		e.respond(status, header, b)
	}
	if answer.Status != 0 && answer.Status != http.StatusOK {
		refuse(answer.Status, answer.Reason)
		return
	}
	form, err := url.ParseQuery(string(e.body))
	if err != nil || form.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		refuse(400, "unsupported_grant_type")
		return
	}
	if !f.verify(form.Get("assertion")) {
		refuse(400, "invalid_grant")
		return
	}
	token := "ya29." + randomHex(40)
	f.mu.Lock()
	f.grants++
	f.bearers[token] = f.opts.Now().Add(f.opts.TokenLife)
	f.mu.Unlock()
	e.respond(200, header, fmt.Appendf(nil, `{"access_token":%q,"expires_in":%d,"token_type":"Bearer"}`, token, int(f.opts.TokenLife/time.Second)))
}

func (f *FCM) verify(assertion string) bool {
	parts := strings.Split(assertion, ".")
	var claims struct {
		Iss, Aud, Scope string
		Iat, Exp        int64
	}
	if len(parts) != 3 || !decodeSegment(parts[1], &claims) {
		return false
	}
	sig, err := base64.RawURLEncoding.DecodeString(parts[2])
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	return err == nil && claims.Iss == f.email && claims.Aud == f.URL()+"/token" && claims.Exp > claims.Iat &&
		strings.Contains(claims.Scope, "firebase.messaging") &&
		rsa.VerifyPKCS1v15(f.public, crypto.SHA256, digest[:], sig) == nil
}
