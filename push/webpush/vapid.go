package webpush

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	// tokenLife is how long a VAPID token is good for; a day is the most that
	// RFC 8292 allows. With half of that, and a new one after half of the half,
	// our clock may be wrong by six hours in either direction.
	tokenLife  = 12 * time.Hour
	tokenRenew = 6 * time.Hour
	tokenFresh = time.Minute // a token that is refused at this age is not the trouble

	maxTokens = 512 // origins that are remembered
)

// tokens keeps one signed token for each push service's origin. A signature
// for every message would cost a third of what a message costs, and would say
// nothing new.
type tokens struct {
	key     *Key
	subject string
	suffix  string // the public key, as the header ends

	mu   sync.Mutex
	made map[string]token // by origin
}

type token struct {
	header string
	issued time.Time
}

func newTokens(k *Key, subject string) *tokens {
	return &tokens{key: k, subject: subject, suffix: ", k=" + k.PublicKey(), made: make(map[string]token)}
}

// get returns the Authorization header for an origin.
func (t *tokens) get(origin string, now time.Time) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	made, ok := t.made[origin]
	if age := now.Sub(made.issued); ok && age >= -tokenRenew && age < tokenRenew {
		return made.header, nil
	}
	jwt, err := t.key.sign(origin, t.subject, now.Add(tokenLife))
	if err != nil {
		return "", err
	}
	if len(t.made) >= maxTokens {
		clear(t.made)
	}
	made = token{header: "vapid t=" + jwt + t.suffix, issued: now}
	t.made[origin] = made
	return made.header, nil
}

// spoil forgets a token that was refused, unless it is so fresh that the key
// or the subject must be the trouble. It tells whether another try is worth it.
func (t *tokens) spoil(origin, header string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	made, ok := t.made[origin]
	switch {
	case !ok || made.header != header:
		return true // another attempt was told the same, and it has been replaced
	case now.Sub(made.issued).Abs() < tokenFresh:
		return false
	}
	delete(t.made, origin)
	return true
}

// age is how old the oldest token in use is.
func (t *tokens) age(now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	var oldest time.Duration
	for _, made := range t.made {
		if age := now.Sub(made.issued); age < tokenRenew {
			oldest = max(oldest, age)
		}
	}
	return oldest
}

// sign makes a VAPID token (RFC 8292, section 2).
func (k *Key) sign(audience, subject string, expires time.Time) (string, error) {
	claims, err := json.Marshal(struct {
		Audience string `json:"aud"`
		Expires  int64  `json:"exp"`
		Subject  string `json:"sub"`
	}{audience, expires.Unix(), subject})
	if err != nil {
		return "", fmt.Errorf("sign a VAPID token: %w", err)
	}
	signed := encode([]byte(`{"typ":"JWT","alg":"ES256"}`)) + "." + encode(claims)
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, k.private, digest[:])
	if err != nil {
		return "", fmt.Errorf("sign a VAPID token: %w", err)
	}
	var signature [64]byte
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signed + "." + encode(signature[:]), nil
}

// CheckSubject takes what a push service's operator could reach us by. Apple
// refuses every message whose subject is on this machine or in the house, with
// BadJwtToken and no further word.
func CheckSubject(s string) error {
	domain := ""
	address, mail := strings.CutPrefix(s, "mailto:")
	if mail {
		user, after, found := strings.Cut(address, "@")
		if !found || user == "" || strings.ContainsAny(address, " <>,;:\"\t\r\n") || strings.Contains(after, "@") {
			return fmt.Errorf("the subject %q is no address: write mailto:oncall@example.com", s)
		}
		domain = after
	} else {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "https" || u.User != nil || u.Host == "" {
			return fmt.Errorf("the subject %q: write mailto: and an e-mail address, or an https:// URL, by which a push service can reach you", s)
		}
		domain = u.Hostname()
	}
	if _, err := netip.ParseAddr(strings.Trim(domain, "[]")); err == nil {
		return fmt.Errorf("the subject %q: Apple refuses addresses in digits; write a domain name", s)
	}
	domain = strings.ToLower(domain)
	if !validName(domain) {
		return fmt.Errorf("the subject %q: Apple refuses it, since %q is no domain name of the Internet", s, domain)
	}
	switch top := domain[strings.LastIndexByte(domain, '.')+1:]; top {
	case "local", "localhost", "localdomain", "internal", "lan", "home", "invalid", "test", "example":
		return fmt.Errorf("the subject %q: Apple refuses names that end in .%s; write an address that is yours on the Internet", s, top)
	}
	return nil
}
