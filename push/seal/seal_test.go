package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// fataler is a test, a benchmark, or a law's check.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

func newKey(t fataler) PrivateKey {
	t.Helper()
	k, err := NewPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func mustSeal(t fataler, key, text []byte, b Binding) string {
	t.Helper()
	s, err := Seal(key, text, b)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sample is what most tests vary.
var sample = Binding{
	Delivery: "8f14e45f-ceea-467f-9a1b-3c2f4b7d9e01", Incident: "01k9x2m4q7", Device: "d7pixel8", Key: "k1", Deadline: 1_800_000_000,
}

// What was sealed opens for its key and its push, whatever it says, and for no
// other; its length shows in steps alone.
func TestRoundTrip(t *testing.T) {
	k, other := newKey(t), newKey(t)
	field := rapid.StringN(0, 40, 60)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOfN(rapid.Byte(), 0, MaxText).Draw(t, "text")
		b := Binding{field.Draw(t, "delivery"), field.Draw(t, "incident"), field.Draw(t, "device"), field.Draw(t, "key"), rapid.Int64().Draw(t, "deadline")}
		sealed := mustSeal(t, k.Public(), text, b)
		if got, err := k.Open(sealed, b); err != nil || !bytes.Equal(got, text) {
			t.Fatalf("opened to %q, %v; want %q", got, err, text)
		}
		if again := mustSeal(t, k.Public(), text, b); again == sealed {
			t.Fatal("the same text has the same sealed form twice")
		}
		raw, err := base64.StdEncoding.DecodeString(sealed)
		if err != nil || (len(raw)-KeySize-tagSize)%Step != 0 || len(raw) < KeySize+Step+tagSize || len(sealed) > 2840 {
			t.Fatalf("%d bytes sealed to %d, in %d characters: %v", len(text), len(raw), len(sealed), err)
		}
		if _, err := other.Open(sealed, b); !errors.Is(err, ErrOpen) {
			t.Fatalf("another key: %v, want ErrOpen", err)
		}
		raw[rapid.IntRange(0, len(raw)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if _, err := k.Open(base64.StdEncoding.EncodeToString(raw), b); !errors.Is(err, ErrOpen) {
			t.Fatalf("one bit changed: %v, want ErrOpen", err)
		}
	})
}

// A sealed text is of one push alone: whichever field of the binding is
// another, it does not open, and no two bindings have the same data.
func TestBoundToItsPush(t *testing.T) {
	k := newKey(t)
	sealed := mustSeal(t, k.Public(), []byte("disk full"), sample)
	for name, change := range map[string]func(*Binding){
		"delivery":                      func(b *Binding) { b.Delivery = "x" },
		"incident":                      func(b *Binding) { b.Incident = "" },
		"device":                        func(b *Binding) { b.Device = "other" },
		"key id":                        func(b *Binding) { b.Key = "k2" },
		"deadline":                      func(b *Binding) { b.Deadline++ },
		"a character across two fields": func(b *Binding) { b.Incident, b.Device = b.Incident+"d", "7pixel8" },
	} {
		b := sample
		change(&b)
		if _, err := k.Open(sealed, b); !errors.Is(err, ErrOpen) {
			t.Errorf("with another %s: %v, want ErrOpen", name, err)
		}
	}
}

func TestSealRefuses(t *testing.T) {
	k := newKey(t)
	if _, err := Seal(k.Public(), make([]byte, MaxText+1), sample); err == nil || !strings.Contains(err.Error(), "2047 bytes, the limit is 2046") {
		t.Errorf("a text that is too long: %v, want its length and the limit", err)
	}
	offCurve := slices.Clone(k.Public())
	offCurve[64] ^= 1
	for name, key := range map[string][]byte{"none": nil, "short": k.Public()[:64], "off the curve": offCurve, "infinity": {0}, "compressed": append([]byte{2}, k.Public()[1:33]...)} {
		if _, err := Seal(key, nil, sample); err == nil {
			t.Errorf("key %s: sealed for, want it refused", name)
		}
		if CheckKey(key) == nil {
			t.Errorf("key %s: taken as good", name)
		}
	}
	if err := CheckKey(k.Public()); err != nil {
		t.Errorf("a good key: %v", err)
	}
}

// Apps open with other libraries. This is what RFC 9180 says, written out for
// the one suite: whatever this package does beyond it, they could not follow.
func TestOpensAsTheStandardSays(t *testing.T) {
	k := newKey(t)
	scalar, err := k.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	sealed := mustSeal(t, k.Public(), []byte("disk full"), sample)
	raw, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil {
		t.Fatal(err)
	}
	private, err := ecdh.P256().NewPrivateKey(scalar)
	if err != nil {
		t.Fatal(err)
	}
	ephemeral, err := ecdh.P256().NewPublicKey(raw[:65])
	if err != nil {
		t.Fatal(err)
	}
	dh, err := private.ECDH(ephemeral)
	if err != nil {
		t.Fatal(err)
	}
	extract := func(suite, salt []byte, label string, ikm []byte) []byte {
		out, err := hkdf.Extract(sha256.New, slices.Concat([]byte("HPKE-v1"), suite, []byte(label), ikm), salt)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	expand := func(suite, prk []byte, label string, info []byte, n int) []byte {
		labelled := slices.Concat(binary.BigEndian.AppendUint16(nil, uint16(n)), []byte("HPKE-v1"), suite, []byte(label), info)
		out, err := hkdf.Expand(sha256.New, prk, string(labelled), n)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	kem, suite := []byte("KEM\x00\x10"), []byte("HPKE\x00\x10\x00\x01\x00\x01")
	shared := expand(kem, extract(kem, nil, "eae_prk", dh), "shared_secret", slices.Concat(raw[:65], k.Public()), 32)
	context := slices.Concat([]byte{0}, extract(suite, nil, "psk_id_hash", nil), extract(suite, nil, "info_hash", []byte("tocsin-push-v1")))
	secret := extract(suite, shared, "secret", nil)
	block, err := aes.NewCipher(expand(suite, secret, "key", context, 16))
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := gcm.Open(nil, expand(suite, secret, "base_nonce", context, 12), raw[65:], sample.Data())
	if err != nil {
		t.Fatal(err)
	}
	if want := append([]byte("\x00\x09disk full"), make([]byte, 512-11)...); !bytes.Equal(plain, want) {
		t.Errorf("opened to %q, want the length, the text and zeros up to 512 bytes", plain)
	}
}

// The JSON of a text always fits, is valid, and loses things in their order.
func TestEncodeFits(t *testing.T) {
	str := rapid.StringN(0, 1500, 4000)
	rapid.Check(t, func(t *rapid.T) {
		text := Text{
			Title: str.Draw(t, "title"), Subtitle: str.Draw(t, "subtitle"), Body: str.Draw(t, "body"), Severity: str.Draw(t, "severity"),
			Details: map[string]string{"k": str.Draw(t, "detail")}, Links: []Link{{URL: str.Draw(t, "link")}}, ActionToken: str.Draw(t, "token"),
		}
		b := text.Encode()
		if len(b) > MaxText || !json.Valid(b) || !utf8.Valid(b) {
			t.Fatalf("%d bytes, JSON %v: %s", len(b), json.Valid(b), b)
		}
		got, err := ParseText(b)
		if err != nil {
			t.Fatal(err)
		}
		if got.Title == "" && text.Title != "" {
			t.Fatal("the title is gone")
		}
		if got.Subtitle != "" && len(text.Subtitle) < len(b) && got.Title != text.Title {
			t.Fatalf("the title was cut before the subtitle went: %s", b)
		}
	})
}

func FuzzOpen(f *testing.F) {
	k := newKey(f)
	f.Add(mustSeal(f, k.Public(), []byte("disk full"), sample), "")
	f.Add("", "d")
	f.Add("====", "d")
	f.Add(base64.StdEncoding.EncodeToString(make([]byte, KeySize+Step+tagSize)), "d")
	f.Fuzz(func(t *testing.T, sealed, device string) {
		b := sample
		b.Device += device
		if text, err := k.Open(sealed, b); err == nil && (device != "" || string(text) != "disk full") {
			t.Fatalf("%q opened to %q", sealed, text)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	k := newKey(b)
	text := bytes.Repeat([]byte("x"), 1000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Seal(k.Public(), text, sample); err != nil {
			b.Fatal(err)
		}
	}
}
