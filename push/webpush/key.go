package webpush

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// Key is a VAPID key pair: it is what push services know us by. A subscription
// is bound to the public key that it was made with, so a key is for good: with
// another one, every browser has to subscribe anew.
type Key struct{ private *ecdsa.PrivateKey }

// keyFile is a key on disk, in the form that the command line tools of other
// Web Push libraries write.
type keyFile struct {
	Public  string `json:"publicKey,omitempty"`
	Private string `json:"privateKey"`
}

const hintKey = "make one with tocsin vapid, or take the one that the browsers have subscribed with"

// NewKey makes a key pair.
func NewKey() (*Key, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a VAPID key: %w", err)
	}
	return &Key{private}, nil
}

// ParseKey reads a key file: JSON with privateKey (and publicKey, which has to
// fit) as [Key.File] and other Web Push tools write it, the private key alone
// in base64url, or a P-256 key in PEM. An error says what the file is instead.
func ParseKey(file []byte) (*Key, error) {
	file = bytes.TrimSpace(file)
	switch {
	case len(file) == 0:
		return nil, errors.New("the VAPID key file is empty: " + hintKey)
	case file[0] == '{':
		var f keyFile
		if err := json.Unmarshal(file, &f); err != nil {
			return nil, fmt.Errorf("the VAPID key file is damaged JSON: %w", err)
		}
		if f.Private == "" {
			return nil, errors.New("the VAPID key file has no privateKey: " + hintKey)
		}
		k, err := parseRaw(f.Private)
		if err != nil {
			return nil, err
		}
		if f.Public != "" {
			if err := k.fits(f.Public); err != nil {
				return nil, err
			}
		}
		return k, nil
	case bytes.HasPrefix(file, []byte("-----BEGIN ")):
		return parsePEM(file)
	}
	return parseRaw(string(file))
}

// parseRaw reads the 32 bytes of a private key in base64url, padded or not.
func parseRaw(text string) (*Key, error) {
	raw, err := decode(text)
	if err != nil || len(raw) != 32 {
		return nil, fmt.Errorf("the VAPID private key is not 32 bytes in base64url (43 characters) but %d characters of something else: %s", len(text), hintKey)
	}
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw)
	if err != nil {
		return nil, fmt.Errorf("the VAPID private key is out of the range of P-256: %s", hintKey)
	}
	return &Key{private}, nil
}

func parsePEM(file []byte) (*Key, error) {
	for block, rest := pem.Decode(file); block != nil; block, rest = pem.Decode(rest) {
		var key any
		var err error
		switch block.Type {
		case "EC PARAMETERS": // openssl writes them before the key
			continue
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		default:
			return nil, fmt.Errorf("the VAPID key file holds a %q, wanted is a private key: %s", block.Type, hintKey)
		}
		if err != nil {
			return nil, fmt.Errorf("the VAPID key file is damaged: %w", err)
		}
		private, ok := key.(*ecdsa.PrivateKey)
		if !ok || private.Curve != elliptic.P256() {
			return nil, fmt.Errorf("the VAPID key file holds a %T that is not of the curve P-256: %s", key, hintKey)
		}
		return &Key{private}, nil
	}
	return nil, errors.New("the VAPID key file holds no private key in PEM: " + hintKey)
}

// PublicKey is the public half in base64url: what the web app passes to
// pushManager.subscribe as applicationServerKey.
func (k *Key) PublicKey() string { return encode(k.Point()) }

// Point is the public half as an uncompressed point of P-256, 65 bytes.
func (k *Key) Point() []byte {
	b, err := k.private.PublicKey.Bytes()
	if err != nil {
		return nil // cannot be: the key has been parsed
	}
	return b
}

// File is the key pair as [ParseKey] reads it. It holds the secret.
func (k *Key) File() ([]byte, error) {
	raw, err := k.raw()
	if err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(keyFile{Public: k.PublicKey(), Private: raw}, "", "  ")
	return append(b, '\n'), err
}

func (k *Key) raw() (string, error) {
	b, err := k.private.Bytes()
	if err != nil {
		return "", fmt.Errorf("write a VAPID key: %w", err)
	}
	return encode(b), nil
}

// LogValue shows the public half.
func (k *Key) LogValue() slog.Value { return slog.StringValue(k.PublicKey()) }

// String shows what LogValue does.
func (k *Key) String() string { return k.PublicKey() }

// fits compares with a public key that was written down beside the private one.
func (k *Key) fits(public string) error {
	b, err := decode(public)
	if err != nil || !bytes.Equal(b, k.Point()) {
		return fmt.Errorf("the VAPID public key %.12s… does not belong to the private key, whose public half is %s: one of them is another installation's", public, k.PublicKey())
	}
	return nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// decode reads base64, of either alphabet, with padding or without: browsers
// and tools differ.
func decode(s string) ([]byte, error) {
	s = strings.TrimRight(strings.TrimSpace(s), "=")
	if strings.ContainsAny(s, "+/") {
		return base64.RawStdEncoding.DecodeString(s)
	}
	return base64.RawURLEncoding.DecodeString(s)
}
