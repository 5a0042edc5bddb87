package seal

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "make the vectors anew")

// vectorFile is for apps that open with a library of their own. Sealing is
// different each time, so the file is the reference: it is made anew by
// `go test ./push/seal -run Vectors -update`, which changes every sealed form.
const vectorFile = "../../mobile-sdk/vectors/sealed.json"

const vectorAbout = "Sealed texts: HPKE base mode, DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-128-GCM, info \"tocsin-push-v1\". Keys and aad are base64; private_key is the scalar, public_key the uncompressed point. aad is made of the fields of binding. Those with a text open to it, the others (opens: false) must not. How to open one is in mobile-sdk/README.md."

type vector struct {
	Name       string  `json:"name"`
	PrivateKey []byte  `json:"private_key"`
	PublicKey  []byte  `json:"public_key"`
	Binding    Binding `json:"binding"`
	AAD        []byte  `json:"aad"`
	Sealed     string  `json:"sealed"`
	Opens      bool    `json:"opens"`
	Text       string  `json:"text,omitempty"`
}

type vectors struct {
	About string   `json:"about"`
	Cases []vector `json:"cases"`
}

func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	raw, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var all vectors
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	if all.About != vectorAbout || len(all.Cases) < 12 {
		t.Errorf("%d vectors about %q; make them anew", len(all.Cases), all.About)
	}
	for _, v := range all.Cases {
		k, err := ParsePrivateKey(v.PrivateKey)
		if err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
		if !bytes.Equal(v.AAD, v.Binding.Data()) || !bytes.Equal(v.PublicKey, k.Public()) {
			t.Errorf("%s: aad or public key are not of the binding and the private key", v.Name)
		}
		text, err := k.Open(v.Sealed, v.Binding)
		if (err == nil) != v.Opens || string(text) != v.Text {
			t.Errorf("%s: opened to %q, %v; want %q, opens %v", v.Name, text, err, v.Text, v.Opens)
		}
	}
}

func writeVectors(t *testing.T) {
	t.Helper()
	k, other := newKey(t), newKey(t)
	var all []vector
	add := func(name string, key PrivateKey, b Binding, sealed, text string, opens bool) {
		scalar, err := key.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, vector{
			Name: name, PrivateKey: scalar, PublicKey: key.Public(), Binding: b, AAD: b.Data(), Sealed: sealed, Opens: opens, Text: text,
		})
	}
	page := string(Text{
		Title: "Critical: Checkout API", Subtitle: "Disk full on db-1 – größer als 95 %", Body: "#42 · alertmanager · db-1 🔥", Severity: "critical",
		Links: []Link{{Text: "Runbook", URL: "https://wiki.example.com/disk"}}, ActionToken: "v1.20513.8f14e45f-ceea-467f-9a1b-3c2f4b7d9e01.1800000900.ack.AAAAAAAAAAAAAAAAAAAAAA",
	}.Encode())
	none := sample
	none.Incident = ""
	good := func(name string, b Binding, text string) {
		add(name, k, b, mustSeal(t, k.Public(), []byte(text), b), text, true)
	}
	good("a page", sample, page)
	good("the same again: another sealed form", sample, page)
	good("about no incident", none, `{"title":"TEST: This is how a page sounds"}`)
	good("empty", sample, "")
	good("510 bytes: one step of 512", sample, strings.Repeat("a", 510))
	good("511 bytes: two steps", sample, strings.Repeat("a", 511))
	good("the longest: 2046 bytes, four steps", sample, strings.Repeat("a", MaxText))
	sealed := mustSeal(t, k.Public(), []byte(page), sample)
	raw, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(raw)
	flipped[len(flipped)-20] ^= 1
	bad := func(name string, key PrivateKey, change func(*Binding), sealed string) {
		b := sample
		change(&b)
		add(name, key, b, sealed, "", false)
	}
	same := func(*Binding) {}
	bad("another key", other, same, sealed)
	bad("of another delivery", k, func(b *Binding) { b.Delivery = "8f14e45f-ceea-467f-9a1b-3c2f4b7d9e02" }, sealed)
	bad("of another incident", k, func(b *Binding) { b.Incident = "01k9x2m4q8" }, sealed)
	bad("for another device", k, func(b *Binding) { b.Device = "d7pixel9" }, sealed)
	bad("under another key's name", k, func(b *Binding) { b.Key = "k2" }, sealed)
	bad("with a later deadline", k, func(b *Binding) { b.Deadline++ }, sealed)
	bad("one bit changed", k, same, base64.StdEncoding.EncodeToString(flipped))
	bad("cut short", k, same, base64.StdEncoding.EncodeToString(raw[:len(raw)-1]))
	bad("no base64", k, same, sealed[:len(sealed)-2]+"*=")
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(vectors{vectorAbout, all}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(vectorFile, b.Bytes(), 0o644); err != nil { //nolint:gosec // of the repository, for all to read
		t.Fatal(err)
	}
}
