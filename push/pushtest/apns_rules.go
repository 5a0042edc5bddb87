package pushtest

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"regexp"
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
	hexToken = regexp.MustCompile(`^[0-9a-fA-F]{64,200}$`)
	uuidForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
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
	expired bool // an expired token was seen: every later one is refused
	limited time.Time
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
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	team, bad := "", verdict{}
	if !a.opts.AnyBearer {
		if team, bad = a.judgeBearer(e); bad.status != 0 {
			return bad
		}
	}
	if bad := judgeHeader(e); bad.status != 0 {
		return bad
	}
	if owner := a.topics[topicBase(e.header["apns-topic"])]; len(a.topics) > 0 && owner != team && !a.opts.AnyBearer {
		return refused(http.StatusBadRequest, "TopicDisallowed")
	}
	if bad := judgePayload(e); bad.status != 0 {
		return bad
	}
	return a.judgeToken(e)
}

func topicBase(topic string) string {
	base, _, _ := strings.Cut(topic, ".push-type.")
	return strings.TrimSuffix(base, ".voip")
}

func (a *APNs) judgeToken(e *exchange) verdict {
	token := strings.TrimPrefix(e.path, devicePath)
	if since, dead := a.gone[token]; dead {
		return verdict{status: http.StatusGone, reason: "Unregistered", since: since}
	}
	h := a.homes[token]
	switch {
	case !hexToken.MatchString(token), h == nil && !a.opts.AnyToken:
		return refused(http.StatusBadRequest, "BadDeviceToken")
	case h != nil && h.bundle != topicBase(e.header["apns-topic"]):
		return refused(http.StatusBadRequest, "DeviceTokenNotForTopic")
	}
	return verdict{status: http.StatusOK}
}

func judgeHeader(e *exchange) verdict {
	h := e.header
	kind := h["apns-push-type"]
	switch {
	case h["apns-topic"] == "":
		return refused(http.StatusBadRequest, "MissingTopic")
	case h["apns-id"] != "" && !uuidForm.MatchString(h["apns-id"]):
		return refused(http.StatusBadRequest, "BadMessageId")
	case len(h["apns-collapse-id"]) > 64:
		return refused(http.StatusBadRequest, "BadCollapseId")
	case kind != "alert" && kind != "background" && kind != "liveactivity" && kind != "voip":
		return refused(http.StatusBadRequest, "InvalidPushType")
	}
	if v := h["apns-expiration"]; v != "" {
		if n, err := strconv.ParseInt(v, 10, 64); err != nil || n < 0 {
			return refused(http.StatusBadRequest, "BadExpirationDate")
		}
	}
	switch h["apns-priority"] {
	case "", "10":
		if kind == "background" {
			return refused(http.StatusBadRequest, "BadPriority")
		}
	case "1", "5":
	default:
		return refused(http.StatusBadRequest, "BadPriority")
	}
	return verdict{}
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
// connection belongs to the first team that used it.
func (a *APNs) judgeBearer(e *exchange) (team string, bad verdict) {
	forbidden := func(reason string) (string, verdict) { return "", refused(http.StatusForbidden, reason) }
	jwt, ok := strings.CutPrefix(e.header["authorization"], "bearer ")
	if !ok || jwt == "" {
		return forbidden("MissingProviderToken")
	}
	note, _ := e.conn.note.(*bearerNote)
	if note == nil {
		note = &bearerNote{}
		e.conn.note = note
	}
	now := a.opts.Now()
	key, issued, ok := a.verify(jwt)
	switch {
	case !ok, issued.After(now.Add(futureLimit)):
		return forbidden("InvalidProviderToken")
	case note.team != "" && note.team != key.team:
		return forbidden("InvalidProviderToken")
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
		seen.known[jwt], seen.at = true, now
	}
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
		a.checks[jwt] = checked{key, issued}
	}
	return key, issued, ok
}

func decodeSegment(s string, into any) bool {
	b, err := base64.RawURLEncoding.DecodeString(s)
	return err == nil && json.Unmarshal(b, into) == nil
}
