package apns

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/sideshow/apns2/token"
)

// ParseKey reads the .p8 file of an APNs authentication key: PKCS #8 in PEM
// with an ECDSA key on P-256. The error says what the file is instead, and how
// to mend it. A byte order mark and Windows line ends, which editors leave
// behind, do no harm.
func ParseKey(file []byte) (*ecdsa.PrivateKey, error) {
	file = bytes.TrimPrefix(file, []byte("\uFEFF"))
	if err := notKey(file); err != nil {
		return nil, err
	}
	key, err := token.AuthKeyFromBytes(file)
	switch {
	case errors.Is(err, token.ErrAuthKeyNotECDSA):
		return nil, fmt.Errorf("the key is %s; an APNs authentication key is an ECDSA key: is this another service's file?", algorithm(file))
	case err != nil:
		return nil, fmt.Errorf("the key file is damaged, download or copy it again: %w", err)
	case key.Curve != elliptic.P256():
		return nil, fmt.Errorf("the key is on curve %s; an APNs authentication key is on P-256: is this another service's file?", key.Params().Name)
	}
	return key, nil
}

// notKey says what a file is that has no private key in PKCS #8 form.
func notKey(file []byte) error {
	const wanted = "the .p8 file as downloaded from Apple, which starts with -----BEGIN PRIVATE KEY-----"
	block, _ := pem.Decode(file)
	switch text := bytes.TrimSpace(file); {
	case len(text) == 0:
		return errors.New("the key file is empty; wanted is " + wanted)
	case block == nil && bytes.HasPrefix(text, []byte("{")):
		return errors.New("the key file is JSON and not in PEM form, perhaps a service account of Google's; wanted is " + wanted)
	case block == nil && bytes.Contains(text, []byte{0}):
		return errors.New("the key file is not in PEM form: it is binary, or text in UTF-16; wanted is " + wanted)
	case block == nil && !utf8.Valid(text):
		return errors.New("the key file is not in PEM form: it is binary, perhaps a .p12 or .cer file; wanted is " + wanted)
	case block == nil:
		return errors.New("the key file is not in PEM form, or was cut off; wanted is " + wanted)
	}
	switch block.Type {
	case "PRIVATE KEY":
		return nil
	case "CERTIFICATE":
		return errors.New("the key file holds a CERTIFICATE, as for APNs with certificates; wanted is an authentication key: " + wanted)
	case "ENCRYPTED PRIVATE KEY":
		return errors.New("the key file is encrypted (ENCRYPTED PRIVATE KEY); take the password off: openssl pkcs8 -in FILE -out AuthKey.p8")
	case "EC PRIVATE KEY":
		return errors.New("the key file is in another form (EC PRIVATE KEY); convert it: openssl pkcs8 -topk8 -nocrypt -in FILE -out AuthKey.p8")
	}
	return fmt.Errorf("the key file holds a %q; wanted is %s", block.Type, wanted)
}

// algorithm names the key of a file in PKCS #8 that is no ECDSA key.
func algorithm(file []byte) string {
	if block, _ := pem.Decode(file); block != nil {
		if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			return fmt.Sprintf("a %T", key)
		}
	}
	return "none that is known"
}
