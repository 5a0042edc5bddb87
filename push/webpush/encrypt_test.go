package webpush

import (
	"bytes"
	"crypto/ecdh"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/tocsin-oncall/tocsin/push"
)

func b64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := decode(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestEncryptIsRFC8291 makes the message of RFC 8291, section 5, out of the keys
// of its appendix.
func TestEncryptIsRFC8291(t *testing.T) {
	once, err := ecdh.P256().NewPrivateKey(b64(t, "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"))
	if err != nil {
		t.Fatal(err)
	}
	browser, auth, err := parseKeys(push.SubscriptionKeys{
		P256dh: "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4", Auth: "BTBZMqHH6r4Tts7J_aSIgg",
	})
	if err != nil {
		t.Fatal(err)
	}
	plain := []byte("When I grow up, I want to be a watermelon")
	got, err := seal(plain, browser, auth, once, [saltSize]byte(b64(t, "DGv6ra1nlYgDCS1FRnbzlw")), len(plain))
	if err != nil {
		t.Fatal(err)
	}
	want := b64(t, "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_"+
		"yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN")
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", hex.EncodeToString(got), hex.EncodeToString(want))
	}
}

// Every message has the same length and other bytes, and one that is too long
// is refused here and not by the service.
func TestEncryptHidesTheLength(t *testing.T) {
	k, err := ecdh.P256().GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, n := range []int{0, 1, 100, MaxClear, 100} {
		body, err := encrypt([]byte(strings.Repeat("x", n)), k.PublicKey(), make([]byte, 16), push.FormFull)
		if err != nil || len(body) != recordSize {
			t.Errorf("%d bytes become %d, %v; want %d", n, len(body), err, recordSize)
		}
		if seen[string(body)] || seen[string(body[:saltSize])] {
			t.Error("two messages are alike")
		}
		seen[string(body)], seen[string(body[:saltSize])] = true, true
	}
	if MaxClear != 3993 {
		t.Errorf("MaxClear is %d, want 3993", MaxClear)
	}
	if _, err := encrypt(make([]byte, MaxClear+1), k.PublicKey(), make([]byte, 16), push.FormFull); err == nil {
		t.Error("a message that is too long was encrypted")
	}
}

func TestKeysOfASubscription(t *testing.T) {
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	good := push.SubscriptionKeys{P256dh: k.PublicKey(), Auth: "BTBZMqHH6r4Tts7J_aSIgg"}
	for name, tc := range map[string]struct {
		keys push.SubscriptionKeys
		says string
	}{
		"good":            {good, ""},
		"padded":          {push.SubscriptionKeys{P256dh: good.P256dh + "=", Auth: good.Auth + "=="}, ""},
		"none":            {push.SubscriptionKeys{}, "p256dh"},
		"no auth":         {push.SubscriptionKeys{P256dh: good.P256dh}, "auth"},
		"short auth":      {push.SubscriptionKeys{P256dh: good.P256dh, Auth: "AAAA"}, "16 bytes"},
		"long auth":       {push.SubscriptionKeys{P256dh: good.P256dh, Auth: good.P256dh}, "16 bytes"},
		"not base64":      {push.SubscriptionKeys{P256dh: "!!!", Auth: good.Auth}, "base64url"},
		"no point":        {push.SubscriptionKeys{P256dh: "B" + strings.Repeat("A", 86), Auth: good.Auth}, "point"},
		"infinity":        {push.SubscriptionKeys{P256dh: "AA", Auth: good.Auth}, "point"},
		"a private key":   {push.SubscriptionKeys{P256dh: "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94", Auth: good.Auth}, "32"},
		"the wrong order": {push.SubscriptionKeys{P256dh: good.Auth, Auth: good.P256dh}, "point"},
	} {
		err := CheckKeys(tc.keys)
		if (err == nil) != (tc.says == "") || (err != nil && !strings.Contains(err.Error(), tc.says)) {
			t.Errorf("%s: %v, want one that says %q", name, err, tc.says)
		}
		if err != nil && len(tc.keys.Auth) > 8 && strings.Contains(err.Error(), tc.keys.Auth) {
			t.Errorf("%s: the secret is in the error", name)
		}
	}
}

// A message that a service called too large is smaller on the wire the next time.
func TestSmallerFormsAreSmaller(t *testing.T) {
	k, err := ecdh.P256().GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	for plain, want := range map[int]int{0: 512, 511: 512, 512: 1024, 1300: 1536, MaxClear - 1: MaxClear, MaxClear: MaxClear} {
		body, err := encrypt(make([]byte, plain), k.PublicKey(), make([]byte, 16), push.FormShrunk)
		if err != nil || len(body) != headerSize+want+1+tagSize {
			t.Errorf("%d bytes become %d (%v), want %d padded ones", plain, len(body), err, want)
		}
	}
}
