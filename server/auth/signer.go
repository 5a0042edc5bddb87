package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"sync"
	"time"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Labels keep the MAC of one kind from being of use as another's.
const (
	actionLabel  = "tocsin action token v1"
	receiptLabel = "tocsin receipt key v1"
)

const (
	macSize = 16 // HMAC-SHA256 cut to 128 bits
	daySecs = 24 * 60 * 60
)

// Binding is what an action token or a receipt key is good for: one delivery of
// one incident to one device of one person, while the device is not revoked.
type Binding struct {
	Delivery string // UUID, lower case
	Incident incident.ID
	User     roster.UserID
	Device   roster.DeviceID
	Epoch    uint32 // of the device: revoking raises it, which ends all that was signed before
}

// Signer makes and checks what travels in a push. Its keys are derived from
// the master key, one per day of issue, so every instance has them without
// storing any, and a key of long ago signs nothing that is still valid.
type Signer struct {
	ring Keyring
	days *dayKeys
}

// NewSigner returns the signer of the ring.
func NewSigner(ring Keyring) Signer { return Signer{ring, &dayKeys{last: map[dayKeyOf]dayKey{}}} }

// dayKeys remembers the key that was derived last for each purpose: deriving one
// takes several times as long as the MAC that it makes, and a day has many.
type dayKeys struct {
	mu   sync.Mutex
	last map[dayKeyOf]dayKey // as many as there are master keys and labels
}

type dayKeyOf struct {
	master KeyID
	label  string
}

type dayKey struct {
	day int64
	key []byte
}

// of returns the key of a master key for the label and the day.
func (d *dayKeys) of(k masterKey, label string, day int64) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	name := dayKeyOf{k.id, label}
	if last, ok := d.last[name]; ok && last.day == day {
		return last.key
	}
	key := k.derive(label+"/"+strconv.FormatInt(day, 10), sha256.Size)
	d.last[name] = dayKey{day, key}
	return key
}

// dayOf is the key id of tokens issued at the instant: days since 1970 in UTC.
func dayOf(at time.Time) int64 { return at.Unix() / daySecs }

// mac returns the MAC of the label and the fields under the key of the label and
// the day. Each has its length before it (four bytes, big endian), so that moving
// a byte from one to its neighbour changes the MAC.
func (s Signer) mac(k masterKey, label string, day int64, fields ...string) []byte {
	var room [256]byte
	text := appendField(room[:0], label)
	for _, f := range fields {
		text = appendField(text, f)
	}
	h := hmac.New(sha256.New, s.days.of(k, label, day))
	h.Write(text)
	return h.Sum(nil)[:macSize]
}

func appendField(b []byte, field string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(field))) //nolint:gosec // fields are far below 4 GiB
	return append(b, field...)
}

// verifies reports whether any key of the ring made the MAC. Every key is
// tried, whatever the earlier ones said, so that time tells nothing.
func (s Signer) verifies(got []byte, label string, day int64, fields ...string) bool {
	ok := 0
	for _, k := range s.ring.keys {
		ok |= subtle.ConstantTimeCompare(got, s.mac(k, label, day, fields...))
	}
	return ok == 1
}

func (b Binding) check() error {
	switch {
	case !isUUID(b.Delivery):
		return fault.New(fault.Internal, "BINDING", "the delivery id is no lower-case UUID", "delivery", b.Delivery)
	case b.User == "" || b.Device == "":
		return fault.New(fault.Internal, "BINDING", "a token needs a user and a device", "delivery", b.Delivery)
	}
	return nil
}

func encodeMAC(m []byte) string { return base64.RawURLEncoding.EncodeToString(m) }

// decodeMAC reads a MAC strictly: one text for one value, or a token could be
// varied without changing what it says.
func decodeMAC(s string) ([]byte, bool) {
	m, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return m, err == nil && len(m) == macSize
}

// number reads a plain decimal number without sign or leading zero.
func number(s string) (int64, bool) {
	if s == "" || len(s) > 12 || (len(s) > 1 && s[0] == '0') {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// isUUID reports whether s is a UUID in its canonical lower-case form (RFC 9562, 4).
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	return true
}
