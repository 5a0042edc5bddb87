package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/tocsin-oncall/tocsin/server/roster"
)

// The forms of a credential. A key without a prefix is an integration's.
const (
	TokenPrefix          = "tcs_"
	DevicePrefix         = "tcd_"
	FeedPrefix           = "tcf_"
	IntegrationKeyLength = 32 // characters of [a-z0-9], about 165 bits

	secretLength  = 43  // characters of [a-z0-9], about 222 bits
	maxCredential = 512 // longer ones are refused before they are hashed; an OIDC token may be MaxBearer
	keyAlphabet   = "abcdefghijklmnopqrstuvwxyz0123456789"
)

// Hash is the SHA-256 of a credential: what is stored instead of it. A plain
// hash is enough because every credential is random and long.
type Hash [sha256.Size]byte

// HashSecret returns what is stored of a credential.
func HashSecret(secret string) Hash { return sha256.Sum256([]byte(secret)) }

// Equal compares in constant time.
func (h Hash) Equal(o Hash) bool { return subtle.ConstantTimeCompare(h[:], o[:]) == 1 }

// IsZero reports whether there is no credential.
func (h Hash) IsZero() bool { return h == Hash{} }

// MarshalText and UnmarshalText keep a hash as base64 in stored records.
func (h Hash) MarshalText() ([]byte, error) {
	if h.IsZero() {
		return nil, nil
	}
	return base64.RawStdEncoding.AppendEncode(nil, h[:]), nil
}

// UnmarshalText reads what MarshalText wrote.
func (h *Hash) UnmarshalText(text []byte) error {
	*h = Hash{}
	if len(text) == 0 {
		return nil
	}
	raw, err := base64.RawStdEncoding.AppendDecode(nil, text)
	if err != nil || len(raw) != len(h) {
		return fmt.Errorf("a stored hash has %d bytes, not %d", len(raw), len(h))
	}
	*h = Hash(raw)
	return nil
}

// NewIntegrationKey returns a new key for sending events, 32 characters of [a-z0-9].
func NewIntegrationKey() string { return randomText(IntegrationKeyLength) }

// NewToken returns the text of a new API token, "tcs_" and 43 characters.
func NewToken() string { return TokenPrefix + randomText(secretLength) }

// NewFeedSecret returns the secret of a new calendar feed, "tcf_" and 43 characters.
func NewFeedSecret() string { return FeedPrefix + randomText(secretLength) }

// NewDeviceCredential returns the text of a new credential of the device,
// "tcd_<device>_<secret>".
func NewDeviceCredential(device roster.DeviceID) string {
	return DevicePrefix + string(device) + "_" + randomText(secretLength)
}

// NewID returns a random id for a record: 16 characters of [a-z0-9] of which
// the first is a letter, about 82 bits.
func NewID() string {
	id := []byte(randomText(16))
	for id[0] < 'a' {
		id[0] = randomText(1)[0]
	}
	return string(id)
}

// DeviceOf returns the device that a credential names. That it is right has
// still to be proven by its hash.
func DeviceOf(credential string) (roster.DeviceID, bool) {
	rest, ok := strings.CutPrefix(credential, DevicePrefix)
	if !ok {
		return "", false
	}
	cut := strings.LastIndexByte(rest, '_') // the secret has no underscore, an id may
	if cut <= 0 || len(rest)-cut-1 != secretLength {
		return "", false
	}
	return roster.DeviceID(rest[:cut]), true
}

// IsIntegrationKey reports whether the text has the form of an integration key.
func IsIntegrationKey(key string) bool {
	return len(key) == IntegrationKeyLength && isKeyText(key)
}

func isKeyText(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// randomText returns n characters of [a-z0-9], each equally likely: bytes that
// would favour the first characters are thrown away.
func randomText(n int) string {
	const fair = 256 - 256%len(keyAlphabet)
	out := make([]byte, 0, n)
	var buf [64]byte
	for len(out) < n {
		rand.Read(buf[:]) // never fails
		for _, b := range buf {
			if int(b) < fair && len(out) < n {
				out = append(out, keyAlphabet[int(b)%len(keyAlphabet)])
			}
		}
	}
	return string(out)
}
