package apns

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"time"
)

// Apple refuses provider tokens older than an hour, and connections on which
// they change more than once in twenty minutes.
const (
	slotLength  = 45 * time.Minute
	slotDelay   = time.Minute // a token is used this long after its iat, for clocks that run fast
	tokenLife   = slotLength + slotDelay
	minTokenAge = 20 * time.Minute // between two changes
	lateInSlot  = 35 * time.Minute // a token this old, first used now, would be too old after minTokenAge
)

// ParseKey reads the .p8 file of an APNs authentication key: PKCS #8 in PEM
// with an ECDSA key on P-256. The error says what the file is instead.
func ParseKey(file []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(file)
	if block == nil {
		return nil, errors.New("the key is not in PEM form: the .p8 file starts with -----BEGIN PRIVATE KEY-----")
	}
	if block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("the key file holds a %q, wanted is a \"PRIVATE KEY\": use the .p8 file as downloaded from Apple", block.Type)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the key file is damaged: %w", err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the key is a %T; an APNs authentication key is an ECDSA key: is this another service's file?", parsed)
	}
	if key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("the key is on curve %s; an APNs authentication key is on P-256", key.Params().Name)
	}
	return key, nil
}

// Bearer is a provider token and the moment it says it was made.
type Bearer struct {
	JWT    string
	Issued time.Time
}

// Signer makes the provider tokens of one team's key.
//
// Tokens are cut into slots of 45 minutes and signed deterministically
// (RFC 6979), so that instances which share nothing but the key make the same
// token, and Apple sees one per slot instead of one per instance.
//
// A token that has been used is kept for twenty minutes at least, whatever the
// slot: whoever sends for the first time shortly before the end of one takes
// the token of the half slot, which lives on.
type Signer struct {
	team, keyID string
	key         *ecdsa.PrivateKey

	mu      sync.Mutex
	current Bearer
	since   time.Time // first use of current
}

// NewSigner returns the signer of a key after it has signed once.
func NewSigner(team, keyID string, file []byte, now time.Time) (*Signer, error) {
	key, err := ParseKey(file)
	if err != nil {
		return nil, err
	}
	s := &Signer{team: team, keyID: keyID, key: key}
	if _, err := s.sign(now); err != nil {
		return nil, fmt.Errorf("sign a provider token: %w", err)
	}
	return s, nil
}

// Bearer is the token to use at now. Asking for it counts as using it.
func (s *Signer) Bearer(now time.Time) (Bearer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current.JWT != "" && (now.Sub(s.current.Issued) < tokenLife || now.Sub(s.since) < minTokenAge) {
		return s.current, nil
	}
	issued := slotOf(now)
	if now.Sub(issued) > lateInSlot {
		issued = slotOf(now.Add(-slotLength / 2)).Add(slotLength / 2)
	}
	return s.adopt(issued, now)
}

// adopt makes the token of an instant the one in use.
func (s *Signer) adopt(issued, now time.Time) (Bearer, error) {
	jwt, err := s.sign(issued)
	if err != nil {
		return Bearer{}, fmt.Errorf("sign a provider token: %w", err)
	}
	s.current, s.since = Bearer{JWT: jwt, Issued: issued}, now
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

// slotOf is the iat of the slot in use at now.
func slotOf(now time.Time) time.Time {
	return time.Unix(now.Add(-slotDelay).Unix()/int64(slotLength/time.Second)*int64(slotLength/time.Second), 0)
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
