package store

import (
	"testing"
	"time"
)

func TestNewestBearerIsKept(t *testing.T) {
	t.Parallel()
	s := shared(t)
	ctx, name := t.Context(), "TEAM/"+string(freshService(t))
	if b, err := s.NewestBearer(ctx, name); err != nil || b.Sealed != nil {
		t.Fatalf("nothing was offered, and there is %q (%v)", b.Sealed, err)
	}
	for _, c := range []struct {
		offered string
		issued  time.Duration
		newest  string
	}{
		{"first", 0, "first"},
		{"first again", 0, "first"},
		{"older", -time.Minute, "first"},
		{"newer", time.Minute, "newer"},
		{"late", 30 * time.Second, "newer"},
	} {
		got, err := s.OfferBearer(ctx, name, Bearer{[]byte(c.offered), base.Add(c.issued)}, time.Hour)
		if err != nil || string(got.Sealed) != c.newest {
			t.Errorf("offered %q: newest %q (%v), want %q", c.offered, got.Sealed, err, c.newest)
		}
		kept, err := s.NewestBearer(ctx, name)
		if err != nil || string(kept.Sealed) != c.newest || !kept.Issued.Equal(got.Issued) {
			t.Errorf("offered %q: kept %q of %v (%v), want %q of %v", c.offered, kept.Sealed, kept.Issued, err, c.newest, got.Issued)
		}
	}
	ttl, err := s.rdb.PTTL(ctx, bearerKey(name)).Result()
	if err != nil || ttl <= 0 || ttl > time.Hour {
		t.Errorf("kept for %v (%v), want at most an hour", ttl, err)
	}
	if got, err := s.OfferBearer(ctx, name, Bearer{[]byte("over"), base.Add(time.Hour)}, 0); err != nil || string(got.Sealed) != "newer" {
		t.Errorf("a token that is over was kept: %q (%v)", got.Sealed, err)
	}
	if err := s.rdb.Set(ctx, bearerKey(name), "short", time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.NewestBearer(ctx, name); err == nil {
		t.Error("something else than a token was read as one")
	}
}
