package auth_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

func TestVectors(t *testing.T) {
	vectors, err := auth.Vectors()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		if err := v.Check(); (err == nil) != v.Valid {
			t.Errorf("%s: %v; want valid %v", v.Name, err, v.Valid)
		}
	}
	// Pinned: phones keep tokens of an older server over an upgrade.
	const want = "v1.20513.0b9e3c1a-6f0d-4a57-9d1e-2f7c5b8a4e10.1772410500.ack."
	if got := vectors[0].Token; !strings.HasPrefix(got, want) {
		t.Errorf("token %s; want it to begin with %s", got, want)
	}
}

var binding = auth.Binding{
	Delivery: "0b9e3c1a-6f0d-4a57-9d1e-2f7c5b8a4e10", Incident: "1a0q3k7w2m4x", User: "ann", Device: "d1", Epoch: 7,
}

func TestActionExpiry(t *testing.T) {
	_, _, ring := rings(t)
	s := auth.NewSigner(ring)
	issued := time.Date(2026, 5, 5, 3, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name     string
		deadline time.Duration
		want     time.Duration
	}{
		{"ten minutes", 10 * time.Minute, 25 * time.Minute},
		{"an hour", time.Hour, time.Hour},
		{"already over", -5 * time.Minute, 10 * time.Minute},
	} {
		text, err := s.Action(binding, issued, issued.Add(tc.deadline))
		if err != nil {
			t.Fatal(err)
		}
		tok, err := auth.ParseAction(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := tok.Expires.Sub(issued); got != tc.want || len(text) > auth.MaxActionToken {
			t.Errorf("%s: expires after %v in %d bytes; want %v and at most %d", tc.name, got, len(text), tc.want, auth.MaxActionToken)
		}
		if err := s.VerifyAction(tok, binding, auth.VerbAck, issued.Add(tc.want-time.Second)); err != nil {
			t.Errorf("%s: a second before: %v", tc.name, err)
		}
		if err := s.VerifyAction(tok, binding, auth.VerbAck, issued.Add(tc.want)); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%s: at expiry: %v; want unauthenticated", tc.name, err)
		}
		if err := s.VerifyAction(tok, binding, "resolve", issued); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%s: resolve: %v; want unauthenticated", tc.name, err)
		}
	}
}

func TestActionAfterRotation(t *testing.T) {
	old, now, rotated := rings(t)
	at := time.Date(2026, 5, 5, 3, 0, 0, 0, time.UTC)
	text, err := auth.NewSigner(old).Action(binding, at, at.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	tok, err := auth.ParseAction(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := auth.NewSigner(rotated).VerifyAction(tok, binding, auth.VerbAck, at); err != nil {
		t.Errorf("with the old key kept: %v", err)
	}
	if err := auth.NewSigner(now).VerifyAction(tok, binding, auth.VerbAck, at); err == nil {
		t.Error("with the old key gone the token is still good")
	}
}

// Fields may not be shifted into each other: what is bound is the tuple.
func TestActionBindsEveryField(t *testing.T) {
	_, _, ring := rings(t)
	s := auth.NewSigner(ring)
	at := time.Date(2026, 5, 5, 3, 0, 0, 0, time.UTC)
	draw := func(t *rapid.T, name string) auth.Binding {
		id := rapid.StringMatching(`[ab]{1,3}`)
		return auth.Binding{
			Delivery: binding.Delivery, Incident: "i", Epoch: uint32(rapid.IntRange(0, 2).Draw(t, name+" epoch")),
			User: roster.UserID(id.Draw(t, name+" user")), Device: roster.DeviceID(id.Draw(t, name+" device")),
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw(t, "a"), draw(t, "b")
		text, err := s.Action(a, at, at.Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		tok, err := auth.ParseAction(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.VerifyAction(tok, b, auth.VerbAck, at); (err == nil) != (a == b) {
			t.Fatalf("issued for %+v, presented for %+v: %v", a, b, err)
		}
		key, err := s.ReceiptKey(a, at)
		if err != nil {
			t.Fatal(err)
		}
		same := a.Device == b.Device && a.Epoch == b.Epoch
		if err := s.VerifyReceipt(key, b, at); (err == nil) != same {
			t.Fatalf("receipt key for %+v, presented for %+v: %v", a, b, err)
		}
	})
}

// Whatever a signer signed last, what it signed another day or for another
// purpose is good, and what a signer that begins anew signs is the same.
func TestDaysDoNotMix(t *testing.T) {
	_, _, ring := rings(t)
	s := auth.NewSigner(ring)
	monday := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	days := []time.Time{monday, monday.Add(24 * time.Hour), monday, monday.Add(48 * time.Hour)}
	keys := make([]string, len(days))
	for i, at := range days {
		var err error
		if keys[i], err = s.ReceiptKey(binding, at); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Action(binding, at, at.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		fresh, err := auth.NewSigner(ring).ReceiptKey(binding, at)
		if err != nil || fresh != keys[i] {
			t.Errorf("%v: a fresh signer makes %q, %v, want %q", at, fresh, err, keys[i])
		}
	}
	if keys[0] != keys[2] || keys[0] == keys[1] || keys[1] == keys[3] {
		t.Errorf("keys of three days are %q, want the first and the third alike only", keys)
	}
	for i, key := range keys {
		if err := s.VerifyReceipt(key, binding, days[i].Add(time.Hour)); err != nil {
			t.Errorf("the key of %v: %v, want good", days[i], err)
		}
	}
}

// FuzzAction holds that no text but the issued one verifies, whatever it parses to.
func FuzzAction(f *testing.F) {
	vectors, err := auth.Vectors()
	if err != nil {
		f.Fatal(err)
	}
	for _, v := range vectors {
		f.Add(v.Token)
	}
	f.Add("v1.20513.0b9e3c1a-6f0d-4a57-9d1e-2f7c5b8a4e10.1772410500.ack,ack.AAAAAAAAAAAAAAAAAAAAAA")
	f.Add("v1.-1.0b9e3c1a-6f0d-4a57-9d1e-2f7c5b8a4e10.0177.ack.AAAAAAAAAAAAAAAAAAAAAB")
	good := vectors[0]
	receipt := vectors[7]
	f.Fuzz(func(t *testing.T, text string) {
		v := good
		v.Token = text
		if err := v.Check(); err == nil && text != good.Token {
			t.Errorf("forged: %q", text)
		} else if err != nil && fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%q: kind %v, want unauthenticated", text, fault.KindOf(err))
		}
		r := receipt
		r.Token = text
		if err := r.Check(); err == nil && text != receipt.Token {
			t.Errorf("forged receipt key: %q", text)
		}
	})
}
