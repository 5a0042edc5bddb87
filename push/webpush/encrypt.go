package webpush

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/tocsin-oncall/tocsin/push"
)

const (
	recordSize = 4096 // bytes of a body that every push service takes (RFC 8030, 7.2)
	saltSize   = 16
	headerSize = saltSize + 4 + 1 + 65 // salt, record size, and our key with its length (RFC 8188, 2.1)
	tagSize    = 16
	padStep    = 512

	// MaxClear is how many bytes of a message fit into one body: beside the
	// header, 16 bytes prove it and one ends it (RFC 8291, 4).
	MaxClear = recordSize - headerSize - tagSize - 1
)

// encrypt seals a message for a browser (RFC 8291): one record of aes128gcm
// (RFC 8188), padded to the full size, so that its length says nothing. A form
// that a service called too large is padded to the next step only: it would be
// no smaller otherwise.
func encrypt(plain []byte, browser *ecdh.PublicKey, auth []byte, form push.Form) ([]byte, error) {
	once, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key for one message: %w", err)
	}
	var salt [saltSize]byte
	_, _ = rand.Read(salt[:]) // never fails: crypto/rand ends the process instead
	size := MaxClear
	if form != push.FormFull {
		size = min(size, (len(plain)/padStep+1)*padStep)
	}
	return seal(plain, browser, auth, once, salt, size)
}

// seal is encrypt with what has to be new for every message, padding it to
// size bytes.
func seal(plain []byte, browser *ecdh.PublicKey, auth []byte, once *ecdh.PrivateKey, salt [saltSize]byte, size int) ([]byte, error) {
	if len(plain) > size {
		return nil, fmt.Errorf("a message of %d bytes is to be encrypted, the limit is %d", len(plain), size)
	}
	shared, err := once.ECDH(browser)
	if err != nil {
		return nil, fmt.Errorf("agree on a key with the browser: %w", err)
	}
	ours := once.PublicKey().Bytes()
	info := make([]byte, 0, 14+65+65)
	info = append(append(append(info, "WebPush: info\x00"...), browser.Bytes()...), ours...)
	ikm, err := hkdf.Key(sha256.New, shared, auth, string(info), 32)
	if err != nil {
		return nil, fmt.Errorf("derive the message's key: %w", err)
	}
	prk, err := hkdf.Extract(sha256.New, ikm, salt[:])
	if err != nil {
		return nil, fmt.Errorf("derive the message's key: %w", err)
	}
	key, err := hkdf.Expand(sha256.New, prk, "Content-Encoding: aes128gcm\x00", 16)
	if err != nil {
		return nil, fmt.Errorf("derive the message's key: %w", err)
	}
	nonce, err := hkdf.Expand(sha256.New, prk, "Content-Encoding: nonce\x00", 12)
	if err != nil {
		return nil, fmt.Errorf("derive the message's nonce: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("encrypt a message: %w", err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("encrypt a message: %w", err)
	}
	body := make([]byte, 0, headerSize+size+1+tagSize)
	body = append(body, salt[:]...)
	body = binary.BigEndian.AppendUint32(body, recordSize)
	body = append(body, byte(len(ours)))
	body = append(body, ours...)
	record := body[headerSize : headerSize+size+1]
	copy(record, plain)
	record[len(plain)] = 2 // this is the last record; zeros follow
	return gcm.Seal(body, nonce, record, nil), nil
}
