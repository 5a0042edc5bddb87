package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// Sealed form: version(1) key id(4) nonce(12) ciphertext tag(16).
const (
	sealVersion = 1
	sealHeader  = 1 + len(KeyID{})
	// SealOverhead is how much longer a sealed secret is than its plain form, in bytes.
	SealOverhead = sealHeader + 12 + 16
)

// Sealer keeps secrets of one purpose at rest: AES-256-GCM under a key of that
// purpose, with the record that the secret belongs to bound as additional data,
// so that a secret copied to another record does not open there.
type Sealer struct {
	ciphers []sealCipher // newest first
}

type sealCipher struct {
	id   KeyID
	aead cipher.AEAD
}

// Sealer returns the sealer of a purpose, such as "device address". Purposes
// are constants of the calling package; changing one loses what it sealed.
func (r Keyring) Sealer(purpose string) Sealer {
	var s Sealer
	for _, k := range r.keys {
		s.ciphers = append(s.ciphers, sealCipher{k.id, newGCM(k.derive("seal/"+purpose, 32))})
	}
	return s
}

func newGCM(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err == nil {
		var aead cipher.AEAD
		if aead, err = cipher.NewGCMWithRandomNonce(block); err == nil {
			return aead
		}
	}
	panic(fmt.Sprintf("auth: cipher: %v", err)) //nolint:forbidigo // the key has 32 bytes by construction
}

// Seal encrypts plain for the record named by bound ("device/d1"). It fails
// only when the sealer has no key.
func (s Sealer) Seal(plain []byte, bound string) ([]byte, error) {
	if len(s.ciphers) == 0 {
		return nil, fault.New(fault.Internal, "NO_MASTER_KEY", "there is no master key to seal with")
	}
	c := s.ciphers[0]
	out := make([]byte, sealHeader, SealOverhead+len(plain))
	out[0] = sealVersion
	copy(out[1:], c.id[:])
	return c.aead.Seal(out, nil, plain, sealData(out[:sealHeader], bound)), nil
}

// Open decrypts what Seal made for the same purpose and record. The error does
// not say what of it was wrong, except when the key itself is not on the ring.
func (s Sealer) Open(sealed []byte, bound string) ([]byte, error) {
	if len(sealed) < SealOverhead || sealed[0] != sealVersion {
		return nil, fault.New(fault.Internal, "SEALED_FORM", "the sealed secret is damaged", "record", bound)
	}
	id := KeyID(sealed[1:sealHeader])
	for _, c := range s.ciphers {
		if c.id != id {
			continue
		}
		plain, err := c.aead.Open(nil, nil, sealed[sealHeader:], sealData(sealed[:sealHeader], bound))
		if err != nil {
			return nil, fault.New(fault.Internal, "SEALED_FORM", "the sealed secret is damaged or belongs to another record",
				"record", bound)
		}
		return plain, nil
	}
	return nil, fault.New(fault.Precondition, "MASTER_KEY_UNKNOWN",
		"the secret was sealed under a master key that this server does not have", "record", bound, "key", id.String())
}

// Current reports whether the secret is sealed under the newest key.
func (s Sealer) Current(sealed []byte) bool {
	return len(s.ciphers) > 0 && len(sealed) >= SealOverhead && KeyID(sealed[1:sealHeader]) == s.ciphers[0].id
}

func sealData(header []byte, bound string) []byte {
	return append(append(make([]byte, 0, len(header)+len(bound)), header...), bound...)
}
