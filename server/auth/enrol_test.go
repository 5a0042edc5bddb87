package auth_test

import (
	"bytes"
	"context"
	"image/png"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// once is a OnceStore in memory; it never expires anything by itself.
type once struct {
	mu   sync.Mutex
	vals map[string][]byte
}

func (o *once) PutOnce(_ context.Context, key string, value []byte, _ time.Duration) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.vals[key] = value
	return nil
}

func (o *once) Take(ctx context.Context, key string) ([]byte, error) {
	v, err := o.Peek(ctx, key)
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.vals, key)
	return v, err
}

func (o *once) Peek(_ context.Context, key string) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if v, ok := o.vals[key]; ok {
		return v, nil
	}
	return nil, fault.New(fault.NotFound, "ONCE_GONE", "gone")
}

func TestEnrolment(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	store := &once{vals: map[string][]byte{}}
	e := auth.Enroller{Store: store, PublicURL: "https://page.example.org/base/", Now: func() time.Time { return now }}
	link, err := e.Create(t.Context(), "ann", auth.Console())
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(link.URL)
	if err != nil || u.Path != "/base/enrol" || u.Fragment != link.Code || u.RawQuery != "" {
		t.Errorf("link %s; want the code in the fragment only", link.URL)
	}
	for key, value := range store.vals {
		if strings.Contains(key, link.Code) || bytes.Contains(value, []byte(link.Code)) {
			t.Error("the code is kept in clear")
		}
	}
	if en, err := e.Preview(t.Context(), link.Code); err != nil || en.User != "ann" {
		t.Fatalf("preview: %+v, %v", en, err)
	}
	en, err := e.Redeem(t.Context(), " "+link.URL+"\n")
	if err != nil || en.User != "ann" || en.By != "console" {
		t.Fatalf("redeem: %+v, %v", en, err)
	}
	if _, err := e.Redeem(t.Context(), link.Code); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("second use: %v; want unauthenticated", err)
	}
	late, err := e.Create(t.Context(), "ann", auth.Console())
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(auth.EnrolmentLife)
	if _, err := e.Redeem(t.Context(), late.Code); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("after ten minutes: %v; want unauthenticated", err)
	}
	e.PublicURL = ""
	if _, err := e.Create(t.Context(), "ann", auth.Console()); fault.KindOf(err) != fault.Precondition {
		t.Errorf("without a public address: %v; want precondition", err)
	}
}

func TestQR(t *testing.T) {
	const link = "https://page.example.org/enrol#abcdefghijklmnopqrstuvwxyz012345"
	text, err := auth.QRText(link)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	width := len([]rune(lines[0]))
	for i, line := range lines {
		if n := len([]rune(line)); n != width {
			t.Errorf("line %d has %d characters, want %d", i, n, width)
		}
	}
	if (width+1)/2 != len(lines) || width > 80 {
		t.Errorf("%d lines of %d; want square modules that fit a terminal of 80", len(lines), width)
	}
	if strings.Trim(lines[0], "█") != "" || strings.Trim(lines[1], "█") != "" {
		t.Error("no quiet zone above the code")
	}
	img, err := auth.QRPNG(link)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := png.Decode(bytes.NewReader(img)); err != nil {
		t.Error(err)
	}
	if _, err := auth.QRText(strings.Repeat("x", 5000)); err == nil {
		t.Error("a text that no QR code holds is drawn")
	}
}

func TestCredentialForms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if key := auth.NewIntegrationKey(); !auth.IsIntegrationKey(key) {
			t.Fatalf("key %q is not of its own form", key)
		}
		if id := auth.NewID(); len(id) != 16 || id[0] < 'a' || id[0] > 'z' {
			t.Fatalf("id %q", id)
		}
		id := rapid.StringMatching(`[a-z0-9_-]{1,40}`).Draw(t, "device")
		if got, ok := auth.DeviceOf(auth.NewDeviceCredential(roster.DeviceID(id))); !ok || string(got) != id {
			t.Fatalf("device %q read back as %q, %v", id, got, ok)
		}
	})
	if _, ok := auth.DeviceOf("tcd__" + strings.Repeat("a", 43)); ok {
		t.Error("a credential without a device is taken")
	}
}
