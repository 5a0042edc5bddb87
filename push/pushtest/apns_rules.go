package pushtest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	devicePath = "/3/device/"

	maxPayload     = 4096
	maxPayloadVoIP = 5120
	maxTokenAge    = time.Hour
	refreshLimit   = 20 * time.Minute
	futureLimit    = 5 * time.Minute // how far in the future an iat may be
)

var (
	hexToken   = regexp.MustCompile(`^[0-9a-fA-F]{64,200}$`)
	bundleForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$`)
	uuidForm   = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
)

// verdict is what Apple's rules say about a request.
type verdict struct {
	status int
	reason string
	since  time.Time
}

func refused(status int, reason string) verdict { return verdict{status: status, reason: reason} }

// issue is what Apple remembers of a team's provider tokens.
type issue struct {
	known map[string]bool
	at    time.Time // when the newest was first seen
}

// bearerNote is what a connection remembers of them.
type bearerNote struct {
	team    string
	key     string // of the first accepted token
	expired bool   // an expired token was seen: every later one is refused
	limited time.Time
	used    time.Time // last
}

// pushType is a kind of push that Apple names, with what it adds to the bundle
// id in the topic.
type pushType struct{ name, suffix string }

// pushTypes are all of them. A missing one is taken for an alert.
// https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns
//
//nolint:gochecknoglobals // look-up table
var pushTypes = []pushType{
	{"alert", ""},
	{"background", ""},
	{"", ""},
	{"liveactivity", ".push-type.liveactivity"},
	{"voip", ".voip"},
	{"mdm", ""},
	{"widgets", ".push-type.widgets"},
	{"controls", ".push-type.controls"},
	{"complication", ".complication"},
	{"fileprovider", ".pushkit.fileprovider"},
	{"location", ".location-query"},
	{"pushtotalk", ".voip-ptt"},
}

// judge applies Apple's rules in the order in which Apple is known to.
func (a *APNs) judge(e *exchange) verdict {
	switch {
	case e.method != http.MethodPost:
		return refused(http.StatusMethodNotAllowed, "MethodNotAllowed")
	case !strings.HasPrefix(e.path, devicePath):
		return refused(http.StatusNotFound, "BadPath")
	case e.path == devicePath:
		return refused(http.StatusBadRequest, "MissingDeviceToken")
	case e.twice:
		return refused(http.StatusBadRequest, "DuplicateHeaders")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if bad := a.judgeConnection(e); bad.status != 0 {
		return bad
	}
	team, bad := a.judgeSender(e)
	if bad.status != 0 {
		return bad
	}
	if bad := judgeHeader(e); bad.status != 0 {
		return bad
	}
	if owner := a.topics[topicBase(e.header["apns-topic"])]; len(a.topics) > 0 && owner != team && team != "" {
		return refused(http.StatusBadRequest, "TopicDisallowed")
	}
	if bad := judgePayload(e); bad.status != 0 {
		return bad
	}
	return a.judgeToken(e)
}

// note is what the simulator remembers of the request's connection.
func (e *exchange) note() *bearerNote {
	note, _ := e.conn.note.(*bearerNote)
	if note == nil {
		note = &bearerNote{}
		e.conn.note = note
	}
	return note
}

// judgeConnection refuses what comes on a connection that is about to end.
func (a *APNs) judgeConnection(e *exchange) verdict {
	e.conn.mu.Lock()
	leaving := e.conn.shutdown
	e.conn.mu.Unlock()
	if leaving {
		return refused(http.StatusServiceUnavailable, "Shutdown")
	}
	if a.opts.IdleAfter <= 0 {
		return verdict{}
	}
	note, now := e.note(), a.opts.Now()
	idle := !note.used.IsZero() && now.Sub(note.used) > a.opts.IdleAfter
	if note.used = now; idle {
		return refused(http.StatusBadRequest, "IdleTimeout")
	}
	return verdict{}
}

// judgeSender says which team sends, or why it may not. Without checks of
// provider tokens there is no team.
func (a *APNs) judgeSender(e *exchange) (team string, bad verdict) {
	switch {
	case a.opts.AnyBearer:
		return "", verdict{}
	case e.conn.peer != nil && e.header["authorization"] == "":
		return "", a.judgeCertificate(e)
	}
	team, bad = a.judgeBearer(e)
	if bad.status == 0 && a.blocked[team] {
		return "", refused(http.StatusForbidden, "Forbidden")
	}
	return team, bad
}

// judgeCertificate is for providers without tokens. The certificate stands for
// one bundle id, which is the topic of requests that name none.
func (a *APNs) judgeCertificate(e *exchange) verdict {
	cert, known := a.certs[string(e.conn.peer)]
	switch {
	case !known:
		return refused(http.StatusForbidden, "BadCertificate")
	case cert.environment != a.environment():
		return refused(http.StatusForbidden, "BadCertificateEnvironment")
	case e.header["apns-topic"] == "":
		e.header["apns-topic"] = cert.bundle
	case topicBase(e.header["apns-topic"]) != cert.bundle:
		return refused(http.StatusBadRequest, "TopicDisallowed")
	}
	return verdict{}
}

func (a *APNs) environment() string {
	if a.opts.Sandbox {
		return Sandbox
	}
	return Production
}

// topicBase is the bundle id in a topic.
func topicBase(topic string) string {
	for _, t := range pushTypes {
		if base, ok := strings.CutSuffix(topic, t.suffix); ok && t.suffix != "" {
			return base
		}
	}
	return topic
}

func (a *APNs) judgeToken(e *exchange) verdict {
	token := strings.TrimPrefix(e.path, devicePath)
	if d, dead := a.gone[token]; dead {
		if a.opts.Now().Before(d.from) { // Apple has not heard of it yet
			return verdict{status: http.StatusOK}
		}
		return verdict{status: http.StatusGone, reason: d.reason, since: d.since}
	}
	h := a.homes[token]
	switch {
	case !hexToken.MatchString(token), h == nil && !a.opts.AnyToken:
		return refused(http.StatusBadRequest, "BadDeviceToken")
	case h != nil && h.app != topicBase(e.header["apns-topic"]):
		return refused(http.StatusBadRequest, "DeviceTokenNotForTopic")
	case a.opts.DevicePerSecond > 0 && a.tooMany(token):
		return refused(http.StatusTooManyRequests, "TooManyRequests")
	}
	return verdict{status: http.StatusOK}
}

// tooMany counts the requests for a token in the second that runs.
func (a *APNs) tooMany(token string) bool {
	if len(a.counters) > 100_000 { // long ago, most of them
		clear(a.counters)
	}
	now, c := a.opts.Now().Unix(), a.counters[token]
	if c.second != now {
		c = counter{second: now}
	}
	c.n++
	a.counters[token] = c
	return c.n > a.opts.DevicePerSecond
}

func judgeHeader(e *exchange) verdict {
	h := e.header
	kind := h["apns-push-type"]
	known := slices.ContainsFunc(pushTypes, func(t pushType) bool { return t.name == kind })
	switch {
	case h["apns-topic"] == "":
		return refused(http.StatusBadRequest, "MissingTopic")
	case !bundleForm.MatchString(h["apns-topic"]):
		return refused(http.StatusBadRequest, "BadTopic")
	case h["apns-id"] != "" && !uuidForm.MatchString(h["apns-id"]):
		return refused(http.StatusBadRequest, "BadMessageId")
	case len(h["apns-collapse-id"]) > 64:
		return refused(http.StatusBadRequest, "BadCollapseId")
	case !known:
		return refused(http.StatusBadRequest, "InvalidPushType")
	}
	if v := h["apns-expiration"]; v != "" {
		if n, err := strconv.ParseInt(v, 10, 64); err != nil || n < 0 {
			return refused(http.StatusBadRequest, "BadExpirationDate")
		}
	}
	switch h["apns-priority"] {
	case "", "10":
		if kind == "background" || silent(e.body) {
			return refused(http.StatusBadRequest, "BadPriority")
		}
	case "1", "5":
	default:
		return refused(http.StatusBadRequest, "BadPriority")
	}
	return verdict{}
}

// silent tells whether a payload wakes the app and shows nothing, which Apple
// does not let be urgent.
func silent(body []byte) bool {
	if !bytes.Contains(body, []byte(`"content-available"`)) {
		return false
	}
	var p struct {
		APS struct {
			Available    int `json:"content-available"`
			Alert, Sound any
			Badge        any
		}
	}
	return json.Unmarshal(body, &p) == nil && p.APS.Available == 1 && p.APS.Alert == nil && p.APS.Sound == nil && p.APS.Badge == nil
}

func judgePayload(e *exchange) verdict {
	limit := maxPayload
	if e.header["apns-push-type"] == "voip" {
		limit = maxPayloadVoIP
	}
	switch {
	case len(e.body) == 0 || !json.Valid(e.body):
		return refused(http.StatusBadRequest, "PayloadEmpty")
	case len(e.body) > limit:
		return refused(http.StatusRequestEntityTooLarge, "PayloadTooLarge")
	}
	return verdict{}
}

// judgeBearer checks the provider token. Tokens are counted per team, and a
// connection belongs to the first team that used it, and to its key.
func (a *APNs) judgeBearer(e *exchange) (team string, bad verdict) {
	forbidden := func(reason string) (string, verdict) { return "", refused(http.StatusForbidden, reason) }
	jwt, ok := strings.CutPrefix(e.header["authorization"], "bearer ")
	if !ok || jwt == "" {
		return forbidden("MissingProviderToken")
	}
	note := e.note()
	now := a.opts.Now()
	key, issued, ok := a.verify(jwt)
	switch {
	case !ok, issued.After(now.Add(futureLimit)):
		return forbidden("InvalidProviderToken")
	case note.team != "" && note.team != key.team:
		return forbidden("InvalidProviderToken")
	case key.only != "" && key.only != a.environment():
		return forbidden("BadEnvironmentKeyIdInToken")
	case note.key != "" && note.key != key.id:
		return forbidden("UnrelatedKeyIdInToken")
	case note.expired, now.Sub(issued) > maxTokenAge:
		note.expired = true
		return forbidden("ExpiredProviderToken")
	case now.Before(note.limited):
		return "", refused(http.StatusTooManyRequests, "TooManyProviderTokenUpdates")
	}
	note.team = key.team
	seen := a.issued[key.team]
	if seen == nil {
		seen = &issue{known: make(map[string]bool)}
		a.issued[key.team] = seen
	}
	if !seen.known[jwt] {
		if len(seen.known) > 0 && now.Sub(seen.at) < refreshLimit {
			note.limited = seen.at.Add(refreshLimit)
			return "", refused(http.StatusTooManyRequests, "TooManyProviderTokenUpdates")
		}
		if len(seen.known) > 1000 { // all but the last of them expired long ago
			clear(seen.known)
		}
		seen.known[jwt], seen.at = true, now
	}
	note.key = key.id
	return key.team, verdict{}
}

// verify checks the signature and the claims of a provider token.
func (a *APNs) verify(jwt string) (key teamKey, issued time.Time, ok bool) {
	if c, known := a.checks[jwt]; known {
		return c.key, c.issued, true
	}
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return key, issued, false
	}
	var header struct{ Alg, Kid string }
	var claims struct {
		Iss string
		Iat int64
	}
	if !decodeSegment(parts[0], &header) || !decodeSegment(parts[1], &claims) || header.Alg != "ES256" {
		return key, issued, false
	}
	key, known := a.keys[header.Kid]
	sig, err := base64.RawURLEncoding.DecodeString(parts[2])
	if !known || err != nil || len(sig) != 64 || key.team != claims.Iss {
		return key, issued, false
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
	issued = time.Unix(claims.Iat, 0)
	if ok = ecdsa.Verify(key.public, digest[:], r, s); ok {
		if len(a.checks) > 10_000 {
			clear(a.checks)
		}
		a.checks[jwt] = checked{key, issued}
	}
	return key, issued, ok
}

func decodeSegment(s string, into any) bool {
	b, err := base64.RawURLEncoding.DecodeString(s)
	return err == nil && json.Unmarshal(b, into) == nil
}
