package pushtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// NewP8 makes an APNs authentication key: the .p8 file, and the public half.
func NewP8() (file []byte, public *ecdsa.PublicKey, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make an APNs key: %w", err)
	}
	file, err = pkcs8(key)
	return file, &key.PublicKey, err
}

func pkcs8(key any) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// serviceAccount is a Google service account key file.
type serviceAccount struct {
	Type         string `json:"type"`
	ProjectID    string `json:"project_id"`
	PrivateKeyID string `json:"private_key_id"`
	PrivateKey   string `json:"private_key"`
	ClientEmail  string `json:"client_email"`
	ClientID     string `json:"client_id"`
	TokenURI     string `json:"token_uri"`
}

func newServiceAccount(project, tokenURI string) ([]byte, serviceAccount, *rsa.PublicKey, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, serviceAccount{}, nil, fmt.Errorf("make a service account key: %w", err)
	}
	file, err := pkcs8(key)
	if err != nil {
		return nil, serviceAccount{}, nil, err
	}
	sa := serviceAccount{
		Type: "service_account", ProjectID: project, PrivateKeyID: randomHex(20), PrivateKey: string(file),
		ClientEmail: "tocsin@" + project + ".iam.gserviceaccount.com", ClientID: "1", TokenURI: tokenURI,
	}
	out, err := json.MarshalIndent(sa, "", "  ")
	return out, sa, &key.PublicKey, err
}

// oldServiceAccount takes a key file again, perhaps with another address of
// the token service.
func oldServiceAccount(file []byte, project, tokenURI string) ([]byte, serviceAccount, *rsa.PublicKey, error) {
	var sa serviceAccount
	if err := json.Unmarshal(file, &sa); err != nil {
		return nil, sa, nil, fmt.Errorf("read the service account: %w", err)
	}
	if sa.ProjectID != project {
		return nil, sa, nil, fmt.Errorf("the service account is of the project %q, not %q", sa.ProjectID, project)
	}
	block, _ := pem.Decode([]byte(sa.PrivateKey))
	if block == nil {
		return nil, sa, nil, errors.New("the service account has no private key")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(*rsa.PrivateKey)
	if err != nil || !ok {
		return nil, sa, nil, errors.New("the service account's private key is no RSA key")
	}
	sa.TokenURI = tokenURI
	out, err := json.MarshalIndent(sa, "", "  ")
	return out, sa, &key.PublicKey, err
}

// identity is what a simulator serves TLS with.
type identity struct {
	tls  tls.Certificate
	ca   []byte // PEM, for clients to trust
	pair []byte // PEM of certificate and key
}

// identityOf reads certificate and key, or makes new ones of nothing.
func identityOf(pair []byte, names ...string) (identity, error) {
	if len(pair) == 0 {
		return newIdentity("tocsin push simulator", names...)
	}
	cert, err := tls.X509KeyPair(pair, pair)
	if err != nil {
		return identity{}, fmt.Errorf("read the certificate: %w; it takes the PEM of a certificate and its key", err)
	}
	return identity{tls: cert, ca: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), pair: pair}, nil
}

// newIdentity makes a certificate for loopback, and for other names if it has to
// stand in for them, that is its own authority.
func newIdentity(name string, names ...string) (identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return identity{}, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return identity{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(10, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true, IsCA: true,
		DNSNames: append([]string{"localhost"}, names...), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return identity{}, err
	}
	file, err := pkcs8(key)
	if err != nil {
		return identity{}, err
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return identity{
		tls: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, ca: ca, pair: append(append([]byte(nil), ca...), file...),
	}, nil
}

// newUUID makes a random UUID in lower case (RFC 9562, version 4).
func newUUID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the process instead
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b)
}

// ReadP8 reads the public half of an APNs authentication key, for
// [APNs.AddKey].
func ReadP8(file []byte) (*ecdsa.PublicKey, error) {
	block, _ := pem.Decode(file)
	if block == nil {
		return nil, errors.New("read the APNs key: the file is no PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("read the APNs key: the file is no P-256 key in PKCS #8")
	}
	return &key.PublicKey, nil
}
