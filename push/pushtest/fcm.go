package pushtest

import (
	"bytes"
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

// FCMOptions describe an FCM simulator. The zero value is Google's rules,
// without quotas.
type FCMOptions struct {
	Address        string           // to listen on; empty is a free port of 127.0.0.1
	Certificate    []byte           // certificate and key to serve with, PEM, as [FCM.Certificate] returns them; empty makes new ones
	Project        string           // the Firebase project; empty is "tocsin-demo"
	ServiceAccount []byte           // key file of that project to take again, as ServiceAccountJSON returned it; empty makes a new one
	Now            func() time.Time // of token expiry; nil is time.Now
	Skew           time.Duration    // added to Now in the Date header; SetSkew changes it
	Latency        time.Duration    // of every answer; SetLatency changes it
	KeepLog        int              // newest requests recorded; 0 is 100,000, below 0 none
	TokenLife      time.Duration    // of OAuth tokens; 0 is an hour
	AnyToken       bool             // registration tokens that nobody registered are accepted
	AnyBearer      bool             // OAuth tokens are not checked

	ProjectPerMinute int // more messages in a minute of the clock get 429 for the project; 0 is no limit
	DevicePerMinute  int // more messages to one token in a minute get 429 for the device; 0 is no limit

	OnRequest func(Request) // called after each answer, on the connection's goroutine: must not block
}

// FCM is a simulator of Firebase Cloud Messaging's HTTP v1 API, with the
// OAuth token service that it needs.
type FCM struct {
	Service

	opts    FCMOptions
	oauth   script
	account []byte
	email   string
	public  *rsa.PublicKey

	mu       sync.Mutex
	homes    map[string]*home
	gone     map[string]death
	bearers  map[string]time.Time // until when
	partners map[string]bool      // platforms whose credential is broken
	denied   bool
	project  minute
	devices  map[string]minute
	grants   int
	number   int
}

// minute counts messages in a minute of the clock.
type minute struct {
	at int64
	n  int
}

// over counts one more, and tells whether that is above limit; 0 is none.
func (m *minute) over(now time.Time, limit int) bool {
	if at := now.Unix() / 60; m.at != at {
		*m = minute{at: at}
	}
	m.n++
	return limit > 0 && m.n > limit
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
	id, err := identityOf(o.Certificate)
	if err != nil {
		return nil, fmt.Errorf("start the FCM simulator: %w", err)
	}
	f := &FCM{
		Service: Service{ca: id.ca, pair: id.pair, tape: tape{limit: o.KeepLog, tell: o.OnRequest}}, opts: o, homes: make(map[string]*home),
		gone: make(map[string]death), bearers: make(map[string]time.Time), partners: make(map[string]bool), devices: make(map[string]minute),
	}
	f.latency.Store(int64(o.Latency))
	f.skew.Store(int64(o.Skew))
	if f.server, err = newServer(o.Address, id.tls, f.handle); err != nil {
		return nil, fmt.Errorf("start the FCM simulator: %w", err)
	}
	var sa serviceAccount
	if len(o.ServiceAccount) > 0 {
		f.account, sa, f.public, err = oldServiceAccount(o.ServiceAccount, o.Project, f.URL()+"/token")
	} else {
		f.account, sa, f.public, err = newServiceAccount(o.Project, f.URL()+"/token")
	}
	if err != nil {
		f.server.close()
		return nil, fmt.Errorf("start the FCM simulator: %w", err)
	}
	f.email = sa.ClientEmail
	return f, nil
}

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
func (f *FCM) RegisterToken(p *Phone, pkg, token string) { f.register(p, pkg, token, "", "android") }

// RegisterForeign gives a phone's app a token of another Firebase project:
// messages to it get 403 SENDER_ID_MISMATCH.
func (f *FCM) RegisterForeign(p *Phone, pkg, project string) string {
	token := randomHex(11) + ":APA91b" + randomHex(60)
	f.register(p, pkg, token, project, "android")
	return token
}

// RegisterFor gives an app of another platform, "ios" or "web", a token: the
// real service passes its messages on to Apple, or to a browser's push service.
func (f *FCM) RegisterFor(platform string, p *Phone, app string) string {
	token := randomHex(11) + ":APA91b" + randomHex(60)
	f.register(p, app, token, "", platform)
	return token
}

func (f *FCM) register(p *Phone, app, token, project, platform string) {
	f.mu.Lock()
	f.homes[token] = &home{phone: p, app: app, project: project, platform: platform}
	delete(f.gone, token)
	f.mu.Unlock()
	p.join(app, token, f)
}

// BreakPartner spoils the project's credential for a platform, "ios" or "web":
// messages to its tokens get 401 THIRD_PARTY_AUTH_ERROR.
func (f *FCM) BreakPartner(platform string, on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.partners[platform] = on
}

// Deny takes the account's right to send away: 403, without an FCM code.
func (f *FCM) Deny(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.denied = on
}

// Unregister makes a token answer 404 UNREGISTERED.
func (f *FCM) Unregister(token string) { f.Uninstall(token, 0) }

// Uninstall takes the app off the phone. Google does not know it at once: for
// acceptedFor more its token is answered 200, and then 404 UNREGISTERED.
func (f *FCM) Uninstall(token string, acceptedFor time.Duration) {
	now := f.opts.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if h := f.homes[token]; h != nil {
		h.phone.leave(h.app, token)
	}
	delete(f.homes, token)
	f.gone[token] = death{since: now, from: now.Add(acceptedFor)}
}

// uninstall implements carrier.
func (f *FCM) uninstall(token string, acceptedFor time.Duration) { f.Uninstall(token, acceptedFor) }

// rotate implements carrier: the old token is dead at once.
func (f *FCM) rotate(p *Phone, app, old string) string {
	f.Unregister(old)
	return f.Register(p, app)
}

// Tokens are the tokens that lead somewhere or are known to be accepted, with
// their apps.
func (f *FCM) Tokens() []Registration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return registrations(f.homes)
}

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

// ForgetScripts takes back everything that Script, ScriptAny and Always asked
// for, of the token service too.
func (f *FCM) ForgetScripts() {
	f.script.clear()
	f.oauth.clear()
}

// sent is a message as it arrives; both spellings of a field are Google's.
type sent struct {
	Message struct {
		Token        string
		Topic        string
		Condition    string
		Data         map[string]json.RawMessage
		Notification map[string]json.RawMessage
		Android      struct {
			CollapseKey  string `json:"collapse_key"`
			CollapseKey2 string `json:"collapseKey"`
			Priority     string
			TTL          string
		}
	}
	ValidateOnly  bool `json:"validate_only"`
	ValidateOnly2 bool `json:"validateOnly"`
}

func (m *sent) trial() bool { return m.ValidateOnly || m.ValidateOnly2 }

func (f *FCM) handle(e *exchange) {
	if e.path == "/token" {
		answer := f.oauth.next(Request{})
		f.pace(e, answer, func() { f.grant(e, answer) })
		return
	}
	var m sent
	malformed := json.Unmarshal(e.body, &m)
	r := Request{
		At: e.at, Connection: e.conn.id, Stream: e.stream, Method: e.method, Path: e.path, Header: e.header, Body: e.body,
		Token: m.Message.Token,
	}
	answer := f.script.next(r)
	if answer.undecided() {
		answer = answer.with(f.sky.strike("INTERNAL", "UNAVAILABLE"))
	}
	answer.Delay += f.Latency()
	f.pace(e, answer, func() { f.carryOut(e, r, &m, malformed, answer) })
}

func (f *FCM) pace(e *exchange, a Answer, fn func()) {
	if a.Delay > 0 {
		f.server.after(e, a.Delay, fn)
		return
	}
	fn()
}

func (f *FCM) carryOut(e *exchange, r Request, m *sent, malformed error, answer Answer) {
	v := googleError{status: answer.Status, code: answer.Reason}
	if answer.Status == 0 {
		v = f.judge(e, m, malformed)
	} else if v.status != http.StatusOK {
		v = googleErrorOf(answer, f.opts.Project)
	}
	if (answer.Fault == NoFault && v.status == http.StatusOK && !m.trial()) || answer.Deliver {
		f.deliver(r, m, answer)
	}
	if r.Fault = answer.Fault; r.Fault == NoFault {
		r.Status, r.Reason = v.status, v.word()
	}
	f.tape.record(r)
	header := map[string]string{"content-type": "application/json; charset=UTF-8", "date": f.opts.Now().Add(f.Skew()).UTC().Format(http.TimeFormat)}
	body := answer.Body
	switch {
	case body != nil:
	case v.html:
		header["content-type"] = "text/html; charset=UTF-8"
		body = Page(v.status).Body
	case v.status == http.StatusOK:
		f.mu.Lock()
		f.number++
		body = fmt.Appendf(nil, "{\n  \"name\": \"projects/%s/messages/0:%d\"\n}\n", f.opts.Project, f.number)
		f.mu.Unlock()
	default:
		body = v.json(answer.Detail)
	}
	maps.Copy(header, answer.Header)
	e.send(v.status, header, body, answer)
	if answer.GoAway {
		e.conn.goAway(e.stream, "")
	}
}

// judge applies Google's rules.
func (f *FCM) judge(e *exchange, m *sent, malformed error) googleError {
	want := "/v1/projects/" + f.opts.Project + "/messages:send"
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case !strings.HasPrefix(e.path, "/v1/projects/") || !strings.HasSuffix(e.path, "/messages:send"):
		return googleError{status: http.StatusNotFound, html: true}
	case e.method != http.MethodPost:
		return googleError{status: http.StatusMethodNotAllowed, html: true}
	case !f.opts.AnyBearer && !f.knows(e.header["authorization"]):
		return badCredential()
	case e.path != want:
		return googleError{status: 404, text: "Requested entity was not found."}
	case f.denied:
		return denied(f.opts.Project)
	case f.project.over(f.opts.Now(), f.opts.ProjectPerMinute):
		return overQuota("project:" + f.opts.Project)
	case malformed != nil:
		return googleError{status: 400, text: "Invalid JSON payload received. " + malformed.Error()}
	}
	if bad := judgeMessage(m); bad.status != 0 {
		return bad
	}
	return f.judgeToken(m.Message.Token)
}

// judgeMessage checks the fields, and the size as Google counts it.
func judgeMessage(m *sent) googleError {
	size := 0
	for k, raw := range m.Message.Data {
		n, ok := textSize(raw)
		if !ok {
			return badField("message.data["+k+"]", "Invalid value (TYPE_STRING)")
		}
		if k == "from" || k == "message_type" || strings.HasPrefix(k, "google") || strings.HasPrefix(k, "gcm") {
			return badField("message.data", "Invalid data payload key: "+k)
		}
		size += len(k) + n
	}
	for k, raw := range m.Message.Notification {
		size += len(k) + len(raw)
	}
	a := m.Message.Android
	switch p := strings.ToLower(a.Priority); {
	case size > maxPayload:
		return googleError{status: 400, code: "INVALID_ARGUMENT", text: "Android message is too big"}
	case p != "" && p != "high" && p != "normal":
		return badField("message.android.priority", "Invalid value")
	case !validTTL(a.TTL):
		return badField("message.android.ttl", "Invalid value")
	case m.Message.Topic != "" || m.Message.Condition != "":
		return badField("message.topic", "this simulator sends to tokens only")
	case m.Message.Token == "":
		return badField("message", "Recipient of the message is not set.")
	}
	return googleError{}
}

// textSize is the length of a JSON string, in bytes of UTF-8.
func textSize(raw json.RawMessage) (n int, ok bool) {
	if len(raw) >= 2 && raw[0] == '"' && bytes.IndexByte(raw, '\\') < 0 { // the whole was read already: it is valid
		return len(raw) - 2, true
	}
	var v string
	if json.Unmarshal(raw, &v) != nil {
		return 0, false
	}
	return len(v), true
}

// judgeToken says what a message to a token gets. For a token that is none
// Google names no field: only its sentence tells.
func (f *FCM) judgeToken(token string) googleError {
	now := f.opts.Now()
	if d, dead := f.gone[token]; dead {
		if now.Before(d.from) {
			return googleError{status: http.StatusOK}
		}
		return googleError{status: 404, code: "UNREGISTERED", text: "Requested entity was not found."}
	}
	h := f.homes[token]
	switch {
	case h == nil && !f.opts.AnyToken:
		return googleError{status: 400, code: "INVALID_ARGUMENT", text: "The registration token is not a valid FCM registration token"}
	case h != nil && h.project != "" && h.project != f.opts.Project:
		return googleErrorOf(Reject(http.StatusForbidden, "SENDER_ID_MISMATCH"), f.opts.Project)
	case h != nil && f.partners[h.platform]:
		return googleErrorOf(Reject(http.StatusUnauthorized, "THIRD_PARTY_AUTH_ERROR"), f.opts.Project)
	}
	if f.opts.DevicePerMinute > 0 {
		if len(f.devices) > 100_000 { // long ago, most of them
			clear(f.devices)
		}
		m := f.devices[token]
		over := m.over(now, f.opts.DevicePerMinute)
		f.devices[token] = m
		if over {
			return overQuota("device:" + token)
		}
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

func (f *FCM) deliver(r Request, m *sent, answer Answer) {
	f.mu.Lock()
	h := f.homes[r.Token]
	f.mu.Unlock()
	if h == nil || h.phone == nil {
		return
	}
	n := parseAndroid(m.Message.Data)
	n.Platform, n.App, n.Token, n.Raw = h.platform, h.app, r.Token, r.Body
	key := m.Message.Android.CollapseKey
	if key == "" {
		key = m.Message.Android.CollapseKey2
	}
	f.server.hand(h.phone, parcel{
		n: n, until: f.opts.Now().Add(ttlOf(m.Message.Android.TTL)), key: key, high: strings.EqualFold(m.Message.Android.Priority, "high"),
		visible: n.Kind != "heartbeat", held: answer.Held,
	}, answer.Late)
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
		Sound: get("sound"), SealedKeyID: get("ek"), Shadow: get("sh"),
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
	header := map[string]string{"content-type": "application/json; charset=utf-8"}
	maps.Copy(header, answer.Header)
	reply := func(status int, body []byte) {
		if answer.Body != nil {
			body = answer.Body
		}
		e.send(status, header, body, answer)
	}
	refuse := func(status int, word, text string) {
		reply(status, fmt.Appendf(nil, `{"error":%q,"error_description":%q}`, word, text))
	}
	if answer.Status != 0 && answer.Status != http.StatusOK {
		refuse(answer.Status, answer.Reason, answer.Reason)
		return
	}
	form, err := url.ParseQuery(string(e.body))
	if err != nil || form.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		refuse(http.StatusBadRequest, "unsupported_grant_type", "Invalid grant_type: "+form.Get("grant_type"))
		return
	}
	if why := f.verify(form.Get("assertion")); why != "" {
		refuse(http.StatusBadRequest, "invalid_grant", why)
		return
	}
	token := "ya29." + randomHex(40)
	f.mu.Lock()
	f.grants++
	if len(f.bearers) > 10_000 { // most have expired
		clear(f.bearers)
	}
	f.bearers[token] = f.opts.Now().Add(f.opts.TokenLife)
	f.mu.Unlock()
	reply(http.StatusOK, fmt.Appendf(nil, `{"access_token":%q,"expires_in":%d,"token_type":"Bearer"}`, token, int(f.opts.TokenLife/time.Second)))
}

// verify says what is wrong with an assertion; "" is nothing. Its times are
// held against the wall clock as well as against the simulator's, since
// Google's client libraries know no other clock.
func (f *FCM) verify(assertion string) (why string) {
	parts := strings.Split(assertion, ".")
	var header struct{ Alg string }
	var claims struct {
		Iss, Aud, Scope string
		Iat, Exp        int64
	}
	if len(parts) != 3 || !decodeSegment(parts[0], &header) || !decodeSegment(parts[1], &claims) || header.Alg != "RS256" {
		return "Invalid JWT: it is not three parts of JSON signed with RS256."
	}
	sig, err := base64.RawURLEncoding.DecodeString(parts[2])
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	now := f.opts.Now()
	switch {
	case err != nil || rsa.VerifyPKCS1v15(f.public, crypto.SHA256, digest[:], sig) != nil:
		return "Invalid JWT Signature."
	case claims.Iss != f.email:
		return "Invalid grant: account not found"
	case claims.Aud != f.URL()+"/token":
		return "Invalid JWT: the audience is not " + f.URL() + "/token."
	case !strings.Contains(claims.Scope, "firebase.messaging") && !strings.Contains(claims.Scope, "cloud-platform"):
		return "Invalid scope: firebase.messaging is missing."
	case claims.Exp-claims.Iat > 3600+leeway || claims.Exp <= claims.Iat || (!timely(claims.Iat, claims.Exp, now) && !timely(claims.Iat, claims.Exp, time.Now())):
		return "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
	}
	return ""
}

const leeway = 300 // seconds, in an assertion: client libraries set iat back by some

// timely tells whether now is between two moments, give or take the leeway.
func timely(iat, exp int64, now time.Time) bool {
	return now.Unix() > iat-leeway && now.Unix() < exp+leeway
}
