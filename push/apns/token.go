package apns

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"math/big"
	"sync"
	"time"

	"github.com/sideshow/apns2/token"
)

// Apple refuses provider tokens older than an hour, and connections on which
// they change more than once in twenty minutes.
const (
	slotLength  = 45 * time.Minute
	slotDelay   = time.Minute // a token is used this long after its iat, for clocks that run fast
	tokenLife   = slotLength + slotDelay
	maxTokenAge = 55 * time.Minute // never used when older, whatever the reason
	minTokenAge = 20 * time.Minute // between two changes
	lateInSlot  = maxTokenAge - minTokenAge
)

// Bearer is a provider token and the moment it says it was made.
type Bearer struct {
	JWT    string
	Issued time.Time

	carrier *token.Token // the form in which apns2 takes it
}

// LogValue shows when the token was made, and nothing of it: whoever has it may
// push to every phone of the team for an hour.
func (b Bearer) LogValue() slog.Value { return slog.StringValue(b.String()) }

// String shows what LogValue does.
func (b Bearer) String() string { return "provider token of " + b.Issued.UTC().Format(time.RFC3339) }

// GoString keeps the token out of %#v.
func (b Bearer) GoString() string { return b.String() }

// newBearer puts a signed token into the form that apns2 takes.
//
// token.Token would sign by itself, after fifty minutes by the machine's clock,
// with a random source, and would hand out an empty bearer when that fails. So
// it gets a token that never counts as expired, and no key to sign with.
func newBearer(jwt string, issued time.Time) Bearer {
	return Bearer{jwt, issued, &token.Token{Bearer: jwt, IssuedAt: math.MaxInt64 - token.TokenTimeout}}
}

// Signer makes the provider tokens of one team's key.
//
// Tokens are cut into slots of 45 minutes and signed deterministically
// (RFC 6979), so that instances which share nothing but the key make the same
// token, and Apple sees one per slot instead of one per instance. What they
// cannot agree on so, they agree on through a [Vault].
//
// A token that has been used is kept for twenty minutes at least, whatever the
// slot: whoever sends for the first time shortly before the end of one takes
// the token of the half slot, which lives on.
type Signer struct {
	team, keyID string
	key         *ecdsa.PrivateKey

	mu      sync.Mutex
	phase   time.Duration // of the slots; see Keyring
	current Bearer
	since   time.Time     // first use of current; zero when it was only heard of
	made    chan struct{} // holds something after a token has been made
}

// NewSigner returns the signer of a key after it has signed once.
func NewSigner(team, keyID string, file []byte, now time.Time) (*Signer, error) {
	key, err := ParseKey(file)
	if err != nil {
		return nil, err
	}
	s := &Signer{team: team, keyID: keyID, key: key, made: make(chan struct{}, 1)}
	if _, err := s.sign(now); err != nil {
		return nil, fmt.Errorf("sign a provider token: %w", err)
	}
	return s, nil
}

// Bearer is the token to use at now. Asking for it counts as using it. A
// Bearer without an error is never empty.
func (s *Signer) Bearer(now time.Time) (Bearer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.usable(now) {
		if s.since.IsZero() {
			s.since = now
		}
		return s.current, nil
	}
	issued := s.slotOf(now)
	if now.Sub(issued) > lateInSlot {
		issued = s.slotOf(now.Add(-slotLength / 2)).Add(slotLength / 2)
	}
	return s.adopt(issued, now)
}

func (s *Signer) usable(now time.Time) bool {
	if s.current.JWT == "" {
		return false
	}
	age := now.Sub(s.current.Issued)
	if age < -slotDelay { // the clock was ahead and has been set back: Apple refuses tokens from the future
		return false
	}
	return age < tokenLife || (age < maxTokenAge && now.Sub(s.since) < minTokenAge)
}

// adopt makes the token of an instant the one in use.
func (s *Signer) adopt(issued, now time.Time) (Bearer, error) {
	jwt, err := s.sign(issued)
	if err != nil {
		return Bearer{}, fmt.Errorf("sign a provider token: %w", err)
	}
	s.current, s.since = newBearer(jwt, issued), now
	select {
	case s.made <- struct{}{}:
	default:
	}
	return s.current, nil
}

// Peek is the token in use, without using it; zero before the first use.
func (s *Signer) Peek() Bearer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// Expire makes the next token out of turn, after Apple called the one it was
// given too old. It refuses when that token is younger than twenty minutes:
// then a clock is wrong, and more tokens would only get the team throttled.
func (s *Signer) Expire(old Bearer, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !old.Issued.Equal(s.current.Issued) {
		return true // somebody else has renewed it since
	}
	if now.Sub(old.Issued) < minTokenAge {
		return false
	}
	_, err := s.adopt(now.Truncate(time.Minute), now)
	return err == nil
}

// learn takes over the token of another instance when it is newer than the one
// in use. The signature must be ours: signing is deterministic, so whoever has
// the key makes the same.
func (s *Signer) learn(b Bearer, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !b.Issued.After(s.current.Issued) || b.Issued.After(now) || now.Sub(b.Issued) >= tokenLife {
		return
	}
	if jwt, err := s.sign(b.Issued); err != nil || jwt != b.JWT {
		return
	}
	s.current, s.since = newBearer(b.JWT, b.Issued), time.Time{}
}

// setPhase moves the slots. The token in use keeps its time.
func (s *Signer) setPhase(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase = d
}

// slotOf is the iat of the slot in use at now.
func (s *Signer) slotOf(now time.Time) time.Time {
	const slot = int64(slotLength / time.Second)
	phase := int64(s.phase / time.Second)
	return time.Unix((now.Add(-slotDelay).Unix()-phase)/slot*slot+phase, 0)
}

// sign makes the JWT of RFC 7519 with ES256 (RFC 7518, 3.4): header, claims,
// and the signature as two 32-byte numbers.
func (s *Signer) sign(issued time.Time) (string, error) {
	header, err := json.Marshal(struct {
		Alg string `json:"alg"`
		Kid string `json:"kid"`
	}{"ES256", s.keyID})
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(struct {
		Iss string `json:"iss"`
		Iat int64  `json:"iat"`
	}{s.team, issued.Unix()})
	if err != nil {
		return "", err
	}
	b64 := base64.RawURLEncoding
	signed := b64.EncodeToString(header) + "." + b64.EncodeToString(claims)
	digest := sha256.Sum256([]byte(signed))
	der, err := s.key.Sign(nil, digest[:], crypto.SHA256) // without a random source: deterministic
	if err != nil {
		return "", err
	}
	var sig struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &sig); err != nil {
		return "", err
	}
	raw := make([]byte, 64)
	sig.R.FillBytes(raw[:32])
	sig.S.FillBytes(raw[32:])
	return signed + "." + b64.EncodeToString(raw), nil
}
