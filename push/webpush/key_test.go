package webpush

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
)

func pemOf(t testing.TB, kind string, key any) string {
	t.Helper()
	var der []byte
	var err error
	if kind == "EC PRIVATE KEY" {
		der, err = x509.MarshalECPrivateKey(key.(*ecdsa.PrivateKey))
	} else {
		der, err = x509.MarshalPKCS8PrivateKey(key)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func TestKeyFile(t *testing.T) {
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	file, err := k.File()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := k.raw()
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ file, says string }{
		"its own file":     {string(file), ""},
		"base64url":        {raw + "\n", ""},
		"padded":           {raw + "=", ""},
		"JSON, private":    {`{"privateKey":"` + raw + `"}`, ""},
		"PKCS 8":           {pemOf(t, "PRIVATE KEY", k.private), ""},
		"openssl ecparam":  {"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + pemOf(t, "EC PRIVATE KEY", k.private), ""},
		"nothing":          {" \n", "empty"},
		"damaged JSON":     {`{"privateKey":`, "damaged JSON"},
		"no private key":   {`{"publicKey":"` + k.PublicKey() + `"}`, "privateKey"},
		"another public":   {strings.Replace(string(file), k.PublicKey(), other.PublicKey(), 1), "does not belong"},
		"the public one":   {k.PublicKey(), "32 bytes"},
		"an APNs topic":    {"com.example.oncall", "32 bytes"},
		"zero":             {strings.Repeat("A", 43), "range"},
		"too large":        {strings.Repeat("_", 42) + "8", "range"},
		"P-384":            {pemOf(t, "PRIVATE KEY", p384), "P-256"},
		"RSA":              {pemOf(t, "PRIVATE KEY", rsaKey), "P-256"},
		"a certificate":    {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "CERTIFICATE"},
		"damaged PEM":      {"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "damaged"},
		"PEM without end":  {"-----BEGIN PRIVATE KEY-----\nAAAA\n", "PEM"},
		"parameters alone": {"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n", "PEM"},
	} {
		got, err := ParseKey([]byte(tc.file))
		switch {
		case tc.says == "" && (err != nil || got.PublicKey() != k.PublicKey()):
			t.Errorf("%s: %v, %v; want the key", name, got, err)
		case tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)):
			t.Errorf("%s: error %v, want one that says %q", name, err, tc.says)
		}
		if err != nil && strings.Contains(err.Error(), raw) {
			t.Errorf("%s: the private key is in the error", name)
		}
	}
	if s := fmt.Sprintf("%v %+v %s", k, k, k); strings.Contains(s, raw) {
		t.Error("the private key prints itself")
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add([]byte(`{"privateKey":"q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"}`))
	f.Add([]byte("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := ParseKey(b)
		if err != nil {
			return
		}
		file, err := k.File()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseKey(file)
		if err != nil || again.PublicKey() != k.PublicKey() {
			t.Errorf("its own file reads as %v, %v", again, err)
		}
	})
}
