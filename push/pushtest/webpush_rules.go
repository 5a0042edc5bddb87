package pushtest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	maxWebBody   = 4096 // of a body that every service takes (RFC 8030, 7.2)
	maxVapidLife = 24 * time.Hour
)

var topicForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

// judge applies the rules of the three RFCs, and what the services are known
// to add to them.
func (w *WebPush) judge(r Request) webVerdict {
	w.mu.Lock()
	s := w.subs[r.Path]
	gone := 0
	if s != nil && !w.opts.Now().Before(s.from) {
		gone = s.gone
	}
	w.mu.Unlock()
	host := r.Header[":authority"]
	switch {
	case r.Method != http.MethodPost:
		return webVerdict{http.StatusMethodNotAllowed, "method not allowed"}
	case s == nil:
		return webVerdict{http.StatusNotFound, "no such subscription"}
	case s.endpoint != r.Token:
		return webVerdict{http.StatusNotFound, "the subscription is another service's"}
	case gone != 0:
		return webVerdict{gone, "the subscription has ended"}
	case len(r.Body) > maxWebBody:
		return webVerdict{http.StatusRequestEntityTooLarge, "the body is too large"}
	}
	if v := w.vapid(r.Header["authorization"], host, s.vapid); v.status != 0 {
		return v
	}
	switch {
	case !validSeconds(r.Header["ttl"]):
		return webVerdict{http.StatusBadRequest, "the TTL is missing or no number of seconds"}
	case !validUrgency(r.Header["urgency"]):
		return webVerdict{http.StatusBadRequest, "the Urgency is none of very-low, low, normal, high"}
	case r.Header["topic"] != "" && !topicForm.MatchString(r.Header["topic"]):
		return webVerdict{http.StatusBadRequest, "the Topic is not 1 to 32 characters of base64url"}
	case r.Header["content-encoding"] != "aes128gcm":
		return webVerdict{http.StatusBadRequest, "the Content-Encoding is not aes128gcm"}
	}
	return webVerdict{status: http.StatusCreated}
}

func validSeconds(s string) bool {
	n, err := strconv.ParseUint(s, 10, 31)
	return err == nil && strconv.FormatUint(n, 10) == s
}

func validUrgency(s string) bool {
	switch s {
	case "", "very-low", "low", "normal", "high":
		return true
	}
	return false
}

// vapid checks the Authorization header (RFC 8292). A zero verdict is none.
func (w *WebPush) vapid(header, host, made string) webVerdict {
	token, key, err := parseVapid(header)
	if err != nil {
		return webVerdict{http.StatusUnauthorized, err.Error()}
	}
	if made != "" && made != key {
		return mismatch(host)
	}
	claims, err := verifyVapid(token, key)
	if err == nil {
		err = claims.check(host, w.opts.Now())
	}
	if err != nil {
		if strings.HasSuffix(host, ".push.apple.com") {
			return webVerdict{http.StatusForbidden, "BadJwtToken"}
		}
		return webVerdict{http.StatusForbidden, err.Error()}
	}
	return webVerdict{}
}

// mismatch is how each service says that a subscription belongs to another
// application server.
func mismatch(host string) webVerdict {
	switch {
	case strings.HasSuffix(host, ".push.apple.com"):
		return webVerdict{http.StatusBadRequest, "VapidPkHashMismatch"}
	case host == ServiceMozilla:
		return webVerdict{http.StatusUnauthorized, "VAPID public key mismatch"}
	}
	return webVerdict{http.StatusForbidden, "the VAPID credentials in the authorization header do not correspond to the credentials used to create the subscriptions."}
}

// parseVapid takes "vapid t=<jwt>, k=<key>" apart.
func parseVapid(header string) (token, key string, err error) {
	rest, ok := strings.CutPrefix(header, "vapid ")
	if !ok {
		return "", "", errors.New("the Authorization header is not of the scheme vapid")
	}
	for p := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		switch name {
		case "t":
			token = value
		case "k":
			key = value
		}
	}
	if token == "" || key == "" {
		return "", "", errors.New("the Authorization header lacks t or k")
	}
	return token, key, nil
}

// vapidClaims are what a VAPID token says.
type vapidClaims struct {
	Audience string `json:"aud"`
	Expires  int64  `json:"exp"`
	Subject  string `json:"sub"`
}

// verifyVapid checks a token's signature by the key that came along.
func verifyVapid(token, key string) (c vapidClaims, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, errors.New("the VAPID token is no JWT")
	}
	point, err := base64.RawURLEncoding.DecodeString(key)
	if err != nil {
		return c, errors.New("the VAPID key is not in base64url")
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return c, errors.New("the VAPID key is no point of P-256")
	}
	var raw [3][]byte
	for i := range raw {
		if raw[i], err = base64.RawURLEncoding.DecodeString(parts[i]); err != nil {
			return c, errors.New("the VAPID token is not in base64url")
		}
	}
	var head struct{ Alg string }
	if json.Unmarshal(raw[0], &head) != nil || head.Alg != "ES256" || len(raw[2]) != 64 {
		return c, errors.New("the VAPID token is not signed with ES256")
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if !ecdsa.Verify(public, digest[:], new(big.Int).SetBytes(raw[2][:32]), new(big.Int).SetBytes(raw[2][32:])) {
		return c, errors.New("the VAPID token's signature is wrong")
	}
	if json.Unmarshal(raw[1], &c) != nil {
		return c, errors.New("the VAPID token's claims are no JSON")
	}
	return c, nil
}

func (c *vapidClaims) check(host string, now time.Time) error {
	expires := time.Unix(c.Expires, 0)
	switch {
	case c.Audience != "https://"+host:
		return fmt.Errorf("the VAPID token is for %q, not for this service", c.Audience)
	case !expires.After(now):
		return errors.New("the VAPID token has expired")
	case expires.Sub(now) > maxVapidLife:
		return errors.New("the VAPID token is good for more than 24 hours")
	case !validSubject(c.Subject):
		return fmt.Errorf("the VAPID token's subject %q is nobody who can be reached", c.Subject)
	}
	return nil
}

// validSubject is what Apple demands of a subject; the others take anything.
func validSubject(s string) bool {
	domain := ""
	if address, ok := strings.CutPrefix(s, "mailto:"); ok {
		user, after, found := strings.Cut(address, "@")
		if !found || user == "" || strings.ContainsAny(address, ": ") {
			return false
		}
		domain = after
	} else if u, err := url.Parse(s); err == nil && u.Scheme == "https" {
		domain = u.Hostname()
	}
	if _, err := netip.ParseAddr(domain); err == nil {
		return true
	}
	top := domain[strings.LastIndex(domain, ".")+1:]
	return strings.Contains(domain, ".") && top != "" && top != "local" && top != "localhost" && top != "invalid"
}

// decrypt opens a message (RFC 8188 and RFC 8291), written from the RFCs and
// apart from how the library encrypts.
func decrypt(body []byte, private *ecdh.PrivateKey, auth []byte) ([]byte, error) {
	const fixed = 16 + 4 + 1
	if len(body) < fixed {
		return nil, errors.New("the message is shorter than its header")
	}
	salt, size, idLen := body[:16], binary.BigEndian.Uint32(body[16:20]), int(body[20])
	if len(body) < fixed+idLen || size < 18 {
		return nil, errors.New("the message's header is damaged")
	}
	sender, record := body[fixed:fixed+idLen], body[fixed+idLen:]
	if len(record) > int(size) {
		return nil, errors.New("the message has more than one record")
	}
	public, err := ecdh.P256().NewPublicKey(sender)
	if err != nil {
		return nil, fmt.Errorf("the sender's key: %w", err)
	}
	shared, err := private.ECDH(public)
	if err != nil {
		return nil, fmt.Errorf("agree on a key: %w", err)
	}
	info := append([]byte("WebPush: info\x00"), private.PublicKey().Bytes()...)
	ikm := expand(mac(auth, shared), append(info, sender...), 32)
	prk := mac(salt, ikm)
	block, err := aes.NewCipher(expand(prk, []byte("Content-Encoding: aes128gcm\x00"), 16))
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	plain, err := gcm.Open(nil, expand(prk, []byte("Content-Encoding: nonce\x00"), 12), record, nil)
	if err != nil {
		return nil, errors.New("the message cannot be opened with the subscription's keys")
	}
	unpadded := bytes.TrimRight(plain, "\x00")
	if !bytes.HasSuffix(unpadded, []byte{2}) { // the delimiter of the last record
		return nil, errors.New("the message's padding has no delimiter")
	}
	return unpadded[:len(unpadded)-1], nil
}

// expand is HKDF-Expand (RFC 5869) for a single block, which is all there is.
func expand(prk, info []byte, length int) []byte {
	return mac(prk, append(slices.Clip(info), 1))[:length]
}

func mac(key, message []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(message)
	return h.Sum(nil)
}
