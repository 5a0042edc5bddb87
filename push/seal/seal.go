package seal

import (
	"crypto/ecdh"
	"crypto/hpke"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
)

// Info is HPKE's info parameter: the purpose of the encryption, and its version.
const Info = "tocsin-push-v1"

// Sizes, in bytes.
const (
	KeySize = 65  // of a public key: an uncompressed point of P-256
	Step    = 512 // lengths are multiples of it before they are encrypted
	// MaxText is how long a text may be: with its length it fills four steps, and
	// its sealed form of 2,840 characters leaves room in a push for the rest.
	MaxText = 4*Step - lengthSize

	lengthSize = 2
	tagSize    = 16
)

// ErrOpen is the error of [PrivateKey.Open] for what cannot be opened: sealed
// for another key, bound to something else, or changed on the way. Which of
// them it was cannot be known.
var ErrOpen = errors.New("seal: the text is not for this key and this push, or was changed on the way")

// Binding is what a sealed text belongs to. All of it is in the push, in the
// clear, but for the device, which a phone knows of itself.
type Binding struct {
	Delivery string `json:"delivery"`
	Incident string `json:"incident"` // empty where the push is about none
	Device   string `json:"device"`
	Key      string `json:"key"`      // the phone's name for the key
	Deadline int64  `json:"deadline"` // Unix seconds
}

// Data returns HPKE's additional data: the fields in their order, the deadline
// in decimal, each with its length before it (4 bytes, big endian).
func (b Binding) Data() []byte {
	var data []byte
	for _, field := range [...]string{b.Delivery, b.Incident, b.Device, b.Key, strconv.FormatInt(b.Deadline, 10)} {
		data = binary.BigEndian.AppendUint32(data, uint32(len(field))) //nolint:gosec // far below 4 GiB
		data = append(data, field...)
	}
	return data
}

// Seal encrypts text for the holder of a public key, an uncompressed point of
// P-256. Two sealed forms of the same text differ. A text of more than
// [MaxText] bytes, and a key that is no point of the curve, are refused.
func Seal(key, text []byte, b Binding) (string, error) {
	if len(text) > MaxText {
		return "", fmt.Errorf("seal: the text has %d bytes, the limit is %d", len(text), MaxText)
	}
	public, err := kem().NewPublicKey(key)
	if err != nil {
		return "", fmt.Errorf("seal: the key is no uncompressed point of P-256: %w", err)
	}
	enc, sender, err := hpke.NewSender(public, hpke.HKDFSHA256(), hpke.AES128GCM(), []byte(Info))
	if err != nil {
		return "", fmt.Errorf("seal: %w", err)
	}
	ciphertext, err := sender.Seal(b.Data(), pad(text))
	if err != nil {
		return "", fmt.Errorf("seal: %w", err)
	}
	return base64.StdEncoding.EncodeToString(append(enc, ciphertext...)), nil
}

// CheckKey reports why a public key cannot be sealed for, nil when it can.
func CheckKey(key []byte) error {
	if len(key) != KeySize {
		return fmt.Errorf("seal: the key has %d bytes; an uncompressed point of P-256 has %d", len(key), KeySize)
	}
	if _, err := kem().NewPublicKey(key); err != nil {
		return errors.New("seal: the key is no point of P-256")
	}
	return nil
}

// PrivateKey opens what was sealed for its public half. It is what a phone
// has; a server never does.
type PrivateKey struct{ key hpke.PrivateKey }

// NewPrivateKey makes a key.
func NewPrivateKey() (PrivateKey, error) {
	k, err := kem().GenerateKey()
	if err != nil {
		return PrivateKey{}, fmt.Errorf("seal: make a key: %w", err)
	}
	return PrivateKey{k}, nil
}

// ParsePrivateKey reads a key of 32 bytes, big endian.
func ParsePrivateKey(scalar []byte) (PrivateKey, error) {
	k, err := kem().NewPrivateKey(scalar)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("seal: no private key of P-256: %w", err)
	}
	return PrivateKey{k}, nil
}

// Public returns the half to seal for: an uncompressed point, [KeySize] bytes.
func (k PrivateKey) Public() []byte { return k.key.PublicKey().Bytes() }

// Bytes returns what [ParsePrivateKey] reads.
func (k PrivateKey) Bytes() ([]byte, error) { return k.key.Bytes() }

// Open returns the text of a sealed form, or [ErrOpen].
func (k PrivateKey) Open(sealed string, b Binding) ([]byte, error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(sealed)
	if err != nil || len(raw) < KeySize+Step+tagSize {
		return nil, ErrOpen
	}
	recipient, err := hpke.NewRecipient(raw[:KeySize], k.key, hpke.HKDFSHA256(), hpke.AES128GCM(), []byte(Info))
	if err != nil {
		return nil, ErrOpen
	}
	padded, err := recipient.Open(b.Data(), raw[KeySize:])
	if err != nil {
		return nil, ErrOpen
	}
	return unpad(padded)
}

func kem() hpke.KEM { return hpke.DHKEM(ecdh.P256()) }

func pad(text []byte) []byte {
	steps := (lengthSize + len(text) + Step - 1) / Step
	padded := make([]byte, steps*Step)
	binary.BigEndian.PutUint16(padded, uint16(len(text))) //nolint:gosec // at most MaxText
	copy(padded[lengthSize:], text)
	return padded
}

func unpad(padded []byte) ([]byte, error) {
	if len(padded) < lengthSize {
		return nil, ErrOpen
	}
	n := int(binary.BigEndian.Uint16(padded))
	if n > len(padded)-lengthSize {
		return nil, ErrOpen
	}
	return padded[lengthSize : lengthSize+n], nil
}
