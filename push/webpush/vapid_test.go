package webpush

import (
	"testing"
	"time"
)

func TestSubject(t *testing.T) {
	for subject, fine := range map[string]bool{
		"mailto:oncall@example.com": true, "mailto:on.call+push@sub.example.co.uk": true, "https://oncall.example.com": true, "https://oncall.example.com/contact": true,
		"":                   false,
		"oncall@example.com": false, // webpush libraries take it; a push service does not
		"mailto:":            false, "mailto:oncall": false, "mailto:@example.com": false, "mailto:a@b@example.com": false, "mailto:mailto:a@example.com": false,
		"mailto: oncall@example.com": false, "mailto:<oncall@example.com>": false, "mailto:a@example.com,b@example.com": false,
		"mailto:oncall@localhost": false, "mailto:oncall@relay.local": false, "mailto:oncall@relay.LOCAL": false, "mailto:oncall@pager.invalid": false, "mailto:oncall@host.internal": false,
		"mailto:oncall@10.0.0.1": false, "https://localhost": false, "https://localhost:8443": false, "https://10.0.0.1": false, "https://[::1]/": false, "https://oncall": false, "https://oncall.local": false,
		"http://oncall.example.com": false, "https://user@example.com": false, "ftp://example.com": false, "https://": false,
	} {
		if err := CheckSubject(subject); (err == nil) != fine {
			t.Errorf("%q: %v, want it fine %t", subject, err, fine)
		}
	}
}

// A token is signed once for each origin and renewed after half of its life,
// also when the clock has been set back; it never lives for more than a day.
func TestTokensAreReused(t *testing.T) {
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)
	tokens := newTokens(k, "mailto:a@example.com")
	get := func(origin string, after time.Duration) string {
		t.Helper()
		h, err := tokens.get(origin, at.Add(after))
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	first := get("https://a", 0)
	for after, same := range map[time.Duration]bool{time.Minute: true, 6*time.Hour - time.Second: true, -5 * time.Hour: true} {
		if got := get("https://a", after); (got == first) != same {
			t.Errorf("after %v: the same token is %t, want %t", after, got == first, same)
		}
	}
	if get("https://b", 0) == first {
		t.Error("two origins share a token")
	}
	if tokens.spoil("https://a", first, at.Add(time.Second)) {
		t.Error("a fresh token was blamed, want the key to be")
	}
	if !tokens.spoil("https://a", "another", at) {
		t.Error("a token that has been replaced was blamed")
	}
	if got := get("https://a", 6*time.Hour); got == first {
		t.Error("after six hours the token is the same")
	}
	if got := tokens.age(at.Add(7 * time.Hour)); got != time.Hour {
		t.Errorf("age %v, want that of the oldest in use, 1h", got)
	}
	if got := get("https://a", -24*time.Hour); got == "" {
		t.Error("no token after the clock was set back")
	}
	for i := range 2 * maxTokens {
		get("https://"+string(rune('a'+i%26))+time.Duration(i).String(), 0)
	}
	if n := len(tokens.made); n > maxTokens {
		t.Errorf("%d tokens are kept, want at most %d", n, maxTokens)
	}
}
