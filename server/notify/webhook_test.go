package notify

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/roster"
)

// loopback are the addresses that the tests' own servers have.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

func hooks(allow []netip.Prefix) *Webhooks {
	return NewWebhooks(WebhookConfig{
		Allow: allow, Plain: true, Now: func() time.Time { return time.Unix(1782907200, 0) },
		Unseal: func(b []byte) ([]byte, error) { return append([]byte("opened-"), b...), nil },
	})
}

func TestWebhookIsSigned(t *testing.T) {
	var got *http.Request
	var body []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusAccepted)
	}))
	defer server.Close()
	m := letter()
	m.To, m.Secret, m.User = server.URL+"/hook?x=1", []byte("s"), roster.User{ID: "ann", Name: "Ann"}
	m.Incidents = []Ref{{ID: "i1", Number: 7, Title: "Disk full"}}
	if _, err := hooks(loopback).Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if got.Header.Get("Webhook-Id") != m.ID || got.Header.Get("Webhook-Timestamp") != "1782907200" {
		t.Errorf("id %q, timestamp %q; want the delivery's id and the time", got.Header.Get("Webhook-Id"), got.Header.Get("Webhook-Timestamp"))
	}
	want := "v1," + WebhookSignature([]byte("opened-s"), m.ID, "1782907200", body)
	if sig := got.Header.Get("Webhook-Signature"); sig != want {
		t.Errorf("signature = %q, want %q", sig, want)
	}
	var content struct {
		Type string `json:"type"`
		Data struct {
			Delivery  string `json:"delivery"`
			User      string `json:"user"`
			Incidents []Ref  `json:"incidents"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &content); err != nil || content.Type != "page" || content.Data.User != "ann" || content.Data.Incidents[0].Number != 7 {
		t.Errorf("body = %s (%v), want the page for ann about number 7", body, err)
	}
}

// The example of the Standard Webhooks specification.
func TestWebhookSignatureVector(t *testing.T) {
	secret := []byte{ // MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw in base64
		0x31, 0xf2, 0x90, 0xf6, 0xbf, 0x06, 0x29, 0x8a, 0xab, 0x4f, 0x08, 0xd4,
		0x3c, 0x3f, 0x08, 0x2c, 0xf6, 0x48, 0xa3, 0x62, 0xda, 0x2d, 0xa4, 0xb0,
	}
	got := WebhookSignature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if want := "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("signature = %s, want %s", got, want)
	}
}

func TestWebhookAnswers(t *testing.T) {
	for _, c := range []struct {
		status           int
		refused, address bool
		fine             bool
	}{
		{status: 200, fine: true},
		{status: 204, fine: true},
		{status: 301, refused: true},
		{status: 400, refused: true},
		{status: 404, refused: true},
		{status: 410, refused: true, address: true},
		{status: 408},
		{status: 429},
		{status: 500},
		{status: 503},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://169.254.169.254/") // never followed
			w.WriteHeader(c.status)
		}))
		m := letter()
		m.To = server.URL
		_, err := hooks(loopback).Send(t.Context(), m)
		refused, ok := errors.AsType[*RefusedError](err)
		if (err == nil) != c.fine || ok != c.refused || (ok && refused.Address != c.address) {
			t.Errorf("%d: %v; want fine %v, final %v, address dead %v", c.status, err, c.fine, c.refused, c.address)
		}
		server.Close()
	}
}

func TestWebhookStaysOutOfTheHouse(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the server inside was reached") }))
	defer server.Close()
	m := letter()
	m.To = server.URL
	_, err := hooks(nil).Send(t.Context(), m)
	if _, ok := errors.AsType[*RefusedError](err); !ok || !strings.Contains(err.Error(), "inside the house") {
		t.Errorf("a call to loopback = %v, want it refused for good", err)
	}
}

func TestGuard(t *testing.T) {
	for address, open := range map[string]bool{
		"93.184.216.34:443": true, "127.0.0.1:443": false, "169.254.169.254:80": false, "[::ffff:127.0.0.1]:443": false, "nonsense": false,
	} {
		err := guard(nil)("tcp", address, nil)
		if _, refused := errors.AsType[*RefusedError](err); refused == open {
			t.Errorf("%s: %v, want it let through %t", address, err, open)
		}
	}
	if err := guard(loopback)("tcp", "127.0.0.1:80", nil); err != nil {
		t.Errorf("an allowed address: %v", err)
	}
}

func TestWebhookAddress(t *testing.T) {
	w := NewWebhooks(WebhookConfig{Now: time.Now})
	for _, to := range []string{"http://example.org/", "ftp://example.org/", "https://u:p@example.org/", "https:///x", "::", ""} {
		if err := w.check(to); err == nil {
			t.Errorf("check(%q) = nil, want it refused", to)
		}
	}
	if err := w.check("https://example.org/hook"); err != nil {
		t.Errorf("an https address: %v", err)
	}
}
