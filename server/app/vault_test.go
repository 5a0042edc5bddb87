package app

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/apns"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/store"
)

func testVault(t *testing.T, url, key string) (*vault, *store.Store) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{URL: url, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	ring, err := auth.ParseKeyring(key)
	if err != nil {
		t.Fatal(err)
	}
	return newVault(s, ring, time.Now), s
}

// TestProviderTokensAreSharedSealed: what one instance offers another finds, it
// is not readable in Redis, and who has another master key learns nothing.
func TestProviderTokensAreSharedSealed(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t).URL()
	one, kept := testVault(t, url, masterKey)
	two, _ := testVault(t, url, masterKey)
	ctx := context.Background()
	if b, err := two.Newest(ctx, "TEAM000001", "KEY0000001"); err != nil || b.JWT != "" {
		t.Fatalf("before anybody offered one: %q (%v)", b.JWT, err)
	}
	now := time.Now().Truncate(time.Second)
	offered := apns.Bearer{JWT: "header.claims.signature", Issued: now.Add(-10 * time.Minute)}
	if b, err := one.Offer(ctx, "TEAM000001", "KEY0000001", offered); err != nil || b.JWT != offered.JWT {
		t.Fatalf("offered: %q (%v)", b.JWT, err)
	}
	if b, err := two.Newest(ctx, "TEAM000001", "KEY0000001"); err != nil || b.JWT != offered.JWT || !b.Issued.Equal(offered.Issued) {
		t.Errorf("another instance finds %q of %v (%v), want what was offered", b.JWT, b.Issued, err)
	}
	older := apns.Bearer{JWT: "older", Issued: now.Add(-20 * time.Minute)}
	if b, err := two.Offer(ctx, "TEAM000001", "KEY0000001", older); err != nil || b.JWT != offered.JWT {
		t.Errorf("an older one offered: %q (%v), want the newest", b.JWT, err)
	}
	if b, err := two.Newest(ctx, "TEAM000001", "KEY0000002"); err != nil || b.JWT != "" {
		t.Errorf("another key of the team finds %q (%v), want nothing", b.JWT, err)
	}
	raw, err := kept.NewestBearer(ctx, bearerName("TEAM000001", "KEY0000001"))
	if err != nil || strings.Contains(string(raw.Sealed), "claims") {
		t.Errorf("redis holds %q (%v), want it sealed", raw.Sealed, err)
	}
	stranger, _ := testVault(t, url, strings.Replace(masterKey, "AAEC", "AAED", 1))
	if b, err := stranger.Newest(ctx, "TEAM000001", "KEY0000001"); err == nil {
		t.Errorf("another master key opened it: %q", b.JWT)
	}
	over := apns.Bearer{JWT: "over", Issued: now.Add(-2 * time.Hour)}
	if b, err := one.Offer(ctx, "TEAM000003", "KEY0000003", over); err != nil || b.JWT != "" {
		t.Errorf("a token of two hours ago was kept: %q (%v)", b.JWT, err)
	}
}

// TestBadCredentialStopsItsAppOnly: the other apps are served, phones of the
// bad one keep their addresses, and mending the file mends the app.
func TestBadCredentialStopsItsAppOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	good, err := os.ReadFile(w.file("key.p8"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.file("key.p8"), []byte("not a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	sender := push.NewSender(push.Options{})
	t.Cleanup(func() { _ = sender.Close(context.Background()) })
	p := newPushes(w.config(t.TempDir()).Push.Apps, slog.New(slog.DiscardHandler))
	p.sender, p.keyring = sender, &apns.Keyring{}
	if err := p.load(t.Context()); err == nil || !strings.Contains(err.Error(), "oncall (ios, production)") || !strings.Contains(err.Error(), "PEM") {
		t.Errorf("error %v, want one that names the app and what is wrong", err)
	}
	if !p.usable() {
		t.Error("a bad key of one app made all unusable")
	}
	send := func(platform push.Platform, token string) push.Result {
		return sender.Send(t.Context(), push.Delivery{
			Device: push.Device{ID: token[:8], Platform: platform, App: "oncall", Token: push.Token(token)},
			Message: push.Message{
				Kind: push.KindPage, DeliveryID: "8f14e45f-ceea-467f-9a1b-3c2f4b7d9e01", Title: "Page", Deadline: time.Now().Add(time.Minute),
			},
		})
	}
	iphone, android := w.apple.Register(nil, bundle), w.fcm.Register(nil, bundle)
	if r := send(push.IOS, iphone); r.End != push.EndProviderDown || r.Address != push.AddressKeep {
		t.Errorf("the app with the bad key: %v, address %v; want provider_down and the address kept", r.End, r.Address)
	}
	if r := send(push.Android, android); r.End != push.EndAccepted {
		t.Errorf("the other app: %v, %+v; want accepted", r.End, r.Outcome)
	}
	if err := os.WriteFile(w.file("key.p8"), good, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.load(t.Context()); err != nil {
		t.Errorf("after the file was mended: %v", err)
	}
	if r := send(push.IOS, iphone); r.End != push.EndAccepted {
		t.Errorf("after the file was mended: %v, %+v; want accepted", r.End, r.Outcome)
	}
}
