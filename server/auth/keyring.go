package auth

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// MasterKeySize is the length of a master key in bytes.
const MasterKeySize = 32

// MasterKeyEnv is the environment variable that replaces the master key file.
const MasterKeyEnv = "TOCSIN_MASTER_KEY"

// KeyID names a master key without telling anything about it.
type KeyID [4]byte

// Keyring is the master keys of the installation: the first seals and signs,
// all of them open and verify. The zero Keyring is unusable.
type Keyring struct {
	keys []masterKey
}

type masterKey struct {
	id     KeyID
	secret [MasterKeySize]byte
}

// NewKeyring makes a keyring of raw keys, newest first.
func NewKeyring(secrets ...[MasterKeySize]byte) (Keyring, error) {
	if len(secrets) == 0 {
		return Keyring{}, keyFault("there is no key in it")
	}
	r := Keyring{keys: make([]masterKey, len(secrets))}
	for i, secret := range secrets {
		k := masterKey{secret: secret}
		copy(k.id[:], k.derive("key id", len(k.id)))
		r.keys[i] = k
	}
	return r, nil
}

// ParseKeyring reads master keys as text: one per line, 32 bytes in base64,
// newest first. Empty lines and lines that begin with # are skipped.
func ParseKeyring(text string) (Keyring, error) {
	var secrets [][MasterKeySize]byte
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(raw) != MasterKeySize {
			// The line itself is a secret: only its number is told.
			return Keyring{}, keyFault(fmt.Sprintf("line %d is not %d bytes in base64", n+1, MasterKeySize))
		}
		secrets = append(secrets, [MasterKeySize]byte(raw))
	}
	return NewKeyring(secrets...)
}

// LoadKeyring returns the keyring of text (the value of MasterKeyEnv) when that
// is set, else of the file, which is made on the first start. Made reports that
// it was, so that the caller can say aloud that the file has to be backed up.
func LoadKeyring(path, text string) (ring Keyring, made bool, err error) {
	if text != "" {
		ring, err = ParseKeyring(text)
		if err != nil {
			return Keyring{}, false, fmt.Errorf("read %s: %w", MasterKeyEnv, err)
		}
		return ring, false, nil
	}
	made, err = makeKeyFile(path)
	if err != nil {
		return Keyring{}, false, fmt.Errorf("make master key %s: %w", path, err)
	}
	ring, err = readKeyFile(path)
	if err != nil {
		return Keyring{}, false, fmt.Errorf("read master key %s: %w", path, err)
	}
	return ring, made, nil
}

func readKeyFile(path string) (Keyring, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Keyring{}, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return Keyring{}, keyFault(fmt.Sprintf("others may read the file (mode %04o); run chmod 600 on it", info.Mode().Perm()))
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Keyring{}, err
	}
	return ParseKeyring(string(text))
}

// makeKeyFile writes a new key unless there is a file. The file appears whole
// or not at all, and of two processes that start at once one makes it.
func makeKeyFile(path string) (bool, error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return false, err
	}
	var secret [MasterKeySize]byte
	rand.Read(secret[:])                                     // never fails
	f, err := os.CreateTemp(filepath.Dir(path), ".master-*") // mode 0600
	if err != nil {
		return false, err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // the name is of no use any more, gone or not
	_, err = fmt.Fprintf(f, "# tocsin master key. Back it up apart from the data: without it sealed secrets are lost.\n%s\n",
		base64.StdEncoding.EncodeToString(secret[:]))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return false, err
	}
	if err := os.Link(f.Name(), path); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return false, nil
		}
		return false, err
	}
	return true, syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// ID returns the id of the key that seals.
func (r Keyring) ID() KeyID {
	if len(r.keys) == 0 {
		return KeyID{}
	}
	return r.keys[0].id
}

// Valid reports whether the keyring has a key.
func (r Keyring) Valid() bool { return len(r.keys) > 0 }

// LogValue keeps the keys out of logs.
func (r Keyring) LogValue() slog.Value { return slog.StringValue("keyring " + r.ID().String()) }

// String keeps the keys out of formatted text.
func (r Keyring) String() string { return "keyring " + r.ID().String() }

// GoString keeps the keys out of %#v.
func (r Keyring) GoString() string { return r.String() }

func (id KeyID) String() string { return fmt.Sprintf("%x", id[:]) }

// derive returns a subkey for one purpose (HKDF-SHA256, RFC 5869). The labels
// are domain separation: no two purposes share a key.
func (k masterKey) derive(purpose string, size int) []byte {
	key, err := hkdf.Key(sha256.New, k.secret[:], nil, "tocsin/v1/"+purpose, size)
	if err != nil { // only for sizes above 255 hashes, which no caller asks for
		panic(fmt.Sprintf("auth: derive %s: %v", purpose, err)) //nolint:forbidigo // a constant of this package is wrong
	}
	return key
}

func keyFault(message string) error {
	return fault.New(fault.Invalid, "MASTER_KEY", "the master key cannot be used: "+message)
}
