package apns

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

func newSigner(t testing.TB, now time.Time) (*Signer, *ecdsa.PublicKey, []byte) {
	t.Helper()
	file, public, err := pushtest.NewP8()
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSigner("TEAM000001", "KEY0000001", file, now)
	if err != nil {
		t.Fatal(err)
	}
	return s, public, file
}

func TestTokenIsWhatAppleReads(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s, public, _ := newSigner(t, now)
	b, err := s.Bearer(now)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(b.JWT, ".")
	if len(parts) != 3 {
		t.Fatalf("token %q has %d parts, want 3", b.JWT, len(parts))
	}
	decode := func(s string) string {
		raw, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	if got, want := decode(parts[0]), `{"alg":"ES256","kid":"KEY0000001"}`; got != want {
		t.Errorf("header %s, want %s", got, want)
	}
	var claims map[string]any
	if err := json.Unmarshal([]byte(decode(parts[1])), &claims); err != nil {
		t.Fatal(err)
	}
	if len(claims) != 2 || claims["iss"] != "TEAM000001" || claims["iat"] != float64(b.Issued.Unix()) {
		t.Errorf("claims %v, want only iss and iat", claims)
	}
	sig := decode(parts[2])
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if len(sig) != 64 || !ecdsa.Verify(public, digest[:], new(big.Int).SetBytes([]byte(sig[:32])), new(big.Int).SetBytes([]byte(sig[32:]))) {
		t.Error("the signature does not verify")
	}
}

// TestInstancesAgree: instances that share nothing but the key make one token
// per slot, never older than 55 minutes and never from the future.
func TestInstancesAgree(t *testing.T) {
	_, _, file := newSigner(t, time.Unix(1_800_000_000, 0))
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(rapid.Int64Range(1_700_000_000, 1_900_000_000).Draw(t, "now"), 0)
		a, err := NewSigner("TEAM000001", "KEY0000001", file, now.Add(-time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		b, err := NewSigner("TEAM000001", "KEY0000001", file, now)
		if err != nil {
			t.Fatal(err)
		}
		x, err := a.Bearer(now)
		if err != nil {
			t.Fatal(err)
		}
		y, err := b.Bearer(now)
		if err != nil {
			t.Fatal(err)
		}
		if x.JWT != y.JWT {
			t.Fatalf("two instances made two tokens at %v:\n%s\n%s", now, x.JWT, y.JWT)
		}
		if age := now.Sub(x.Issued); age < slotDelay || age > 46*time.Minute {
			t.Fatalf("a token of age %v is in use", age)
		}
		if z, err := b.Bearer(now.Add(minTokenAge - time.Second)); err != nil || z.JWT != y.JWT {
			t.Fatalf("a token first used at age %v was changed within 20 minutes (%v)", now.Sub(y.Issued), err)
		}
	})
}

func TestTokensChangeAtMostOncePerTwentyMinutes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(rapid.Int64Range(1_700_000_000, 1_900_000_000).Draw(t, "start"), 0)
		file, _, err := pushtest.NewP8()
		if err != nil {
			t.Fatal(err)
		}
		s, err := NewSigner("TEAM000001", "KEY0000001", file, now)
		if err != nil {
			t.Fatal(err)
		}
		var last Bearer
		var changed time.Time
		expired := false // Apple asked for another
		for range 40 {
			b, err := s.Bearer(now)
			if err != nil {
				t.Fatal(err)
			}
			if b.JWT != last.JWT {
				if !changed.IsZero() && now.Sub(changed) < minTokenAge && !expired {
					t.Fatalf("a token was changed %v after the one before it was first used", now.Sub(changed))
				}
				changed = now
			}
			if age := now.Sub(b.Issued); age > 56*time.Minute {
				t.Fatalf("a token of age %v is in use", age)
			}
			last, expired = b, false
			if rapid.Bool().Draw(t, "expire") {
				if expired = s.Expire(b, now); expired != (now.Sub(b.Issued) >= minTokenAge) {
					t.Fatalf("expiring a token of age %v", now.Sub(b.Issued))
				}
			}
			now = now.Add(time.Duration(rapid.IntRange(1, 900).Draw(t, "seconds")) * time.Second)
		}
	})
}

func TestWrongKeysAreRefusedWithTheReason(t *testing.T) {
	pkcs8 := func(key any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good, _, err := pushtest.NewP8()
	if err != nil {
		t.Fatal(err)
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(p256)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, bytes []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes})
	}
	wide := []byte{0xff, 0xfe}
	for _, c := range good {
		wide = append(wide, c, 0)
	}
	for name, tc := range map[string]struct {
		file []byte
		says string
	}{
		"nothing":         {nil, "empty"},
		"blank lines":     {[]byte("\r\n\n"), "empty"},
		"service account": {[]byte(`{"type":"service_account"}`), "service account"},
		"prose":           {[]byte("the key is with Ann"), "PEM"},
		"utf-16":          {wide, "UTF-16"},
		"p12":             {[]byte{0x30, 0x82, 0x0c, 0xa1, 0x02}, ".p12"},
		"rsa":             {pkcs8(rsaKey), "*rsa.PrivateKey"},
		"p-384":           {pkcs8(p384), "P-384"},
		"ed25519":         {pkcs8(ed), "ed25519"},
		"cut off":         {good[:60], "cut off"},
		"a line missing":  {append(append([]byte{}, good[:60]...), good[len(good)-26:]...), "PEM"},
		"certificate":     {block("CERTIFICATE", []byte{1}), "CERTIFICATE"},
		"encrypted":       {block("ENCRYPTED PRIVATE KEY", []byte{1}), "password"},
		"sec1":            {block("EC PRIVATE KEY", sec1), "openssl pkcs8"},
		"public key":      {block("PUBLIC KEY", []byte{1}), "PUBLIC KEY"},
		"damaged":         {block("PRIVATE KEY", []byte{1}), "damaged"},
	} {
		_, err := New(Config{App: "night", BundleID: "com.example.oncall", TeamID: "TEAM000001", KeyID: "KEY0000001", Key: tc.file})
		if err == nil || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), "night") {
			t.Errorf("%s: error %v, want one that names the app and %q", name, err, tc.says)
		}
	}
	for name, file := range map[string][]byte{
		"as downloaded":   good,
		"byte order mark": append([]byte("\uFEFF"), good...),
		"windows":         bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n")),
		"no last newline": bytes.TrimSpace(good),
	} {
		if _, err := ParseKey(file); err != nil {
			t.Errorf("%s: refused: %v", name, err)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	good, _, err := pushtest.NewP8()
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{string(good), "", "{}", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "\uFEFF-----BEGIN"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		key, err := ParseKey(file)
		if err != nil {
			if key != nil || len(err.Error()) > 1000 {
				t.Fatalf("refused with a key, or with %d bytes of reason", len(err.Error()))
			}
			return
		}
		s := &Signer{team: "TEAM000001", keyID: "KEY0000001", key: key}
		jwt, err := s.sign(time.Unix(1_800_000_000, 0))
		if err != nil || strings.Count(jwt, ".") != 2 {
			t.Fatalf("an accepted key signs %q, %v", jwt, err)
		}
	})
}

func TestConfigurationIsRefusedWithTheReason(t *testing.T) {
	key, _, err := pushtest.NewP8()
	if err != nil {
		t.Fatal(err)
	}
	sim, err := pushtest.NewAPNs(pushtest.APNsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	good := Config{App: "a", BundleID: "com.example.oncall", TeamID: "TEAM000001", KeyID: "KEY0000001", Key: key}
	for name, tc := range map[string]struct {
		change func(*Config)
		says   string
	}{
		"bundle":       {func(c *Config) { c.BundleID = "com/example" }, "bundle id"},
		"team":         {func(c *Config) { c.TeamID = "short" }, "team id"},
		"key id":       {func(c *Config) { c.KeyID = "" }, "key id"},
		"environment":  {func(c *Config) { c.Environment = "staging" }, "environment"},
		"connections":  {func(c *Config) { c.Connections = 5 }, "connections"},
		"no id":        {func(c *Config) { c.App = "" }, "no id"},
		"plain http":   {func(c *Config) { c.TestEndpoint = &TestEndpoint{URL: "http://127.0.0.1:1", CA: sim.CA()} }, "https"},
		"stranger":     {func(c *Config) { c.TestEndpoint = &TestEndpoint{URL: "https://192.0.2.1:443", CA: sim.CA()} }, "loopback"},
		"metadata":     {func(c *Config) { c.TestEndpoint = &TestEndpoint{URL: "https://169.254.169.254", CA: sim.CA()} }, "loopback"},
		"by name":      {func(c *Config) { c.TestEndpoint = &TestEndpoint{URL: "https://localhost.evil.example", CA: sim.CA()} }, "loopback"},
		"userinfo":     {func(c *Config) { c.TestEndpoint = &TestEndpoint{URL: "https://u@127.0.0.1", CA: sim.CA()} }, "only scheme"},
		"no authority": {func(c *Config) { c.TestEndpoint = &TestEndpoint{URL: sim.URL()} }, "CA"},
	} {
		c := good
		tc.change(&c)
		p, err := New(c)
		if err == nil {
			_ = p.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: error %v, want one that says %q", name, err, tc.says)
		}
	}
	good.TestEndpoint = &TestEndpoint{URL: sim.URL(), CA: sim.CA()}
	p, err := New(good)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	var _ push.Provider = p
}

// TestClockThatIsSetBack: a token made by a clock that ran hours ahead is not
// used until the clock catches up with it, since Apple refuses it meanwhile.
func TestClockThatIsSetBack(t *testing.T) {
	t.Parallel()
	right := time.Unix(1_800_000_000, 0)
	s, _, _ := newSigner(t, right)
	wrong, err := s.Bearer(right.Add(2 * time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Bearer(right)
	if err != nil {
		t.Fatal(err)
	}
	if got.JWT == wrong.JWT || got.Issued.After(right) {
		t.Errorf("the token of %v is used at %v", got.Issued, right)
	}
	again, err := s.Bearer(right.Add(-10 * time.Second))
	if err != nil || again.JWT != got.JWT {
		t.Errorf("a few seconds back cost the token (%v)", err)
	}
}

func TestBearerIsNotPrinted(t *testing.T) {
	t.Parallel()
	s, _, _ := newSigner(t, time.Unix(1_800_000_000, 0))
	b, err := s.Bearer(time.Unix(1_800_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	for _, said := range []string{fmt.Sprint(b), fmt.Sprintf("%+v", b), fmt.Sprintf("%#v", b), fmt.Sprintf("%v", []Bearer{b}), b.LogValue().String()} {
		if strings.Contains(said, b.JWT[:20]) {
			t.Errorf("a provider token is printed: %.60s", said)
		}
	}
}
