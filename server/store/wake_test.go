package store

import (
	"context"
	"testing"

	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
)

// Wakes are for others: an instance sends them unless it knows that there are none.
func TestWakesAreSentToOthersOnly(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	one, two := openAt(t, srv.URL()), openAt(t, srv.URL())
	ctx := t.Context()
	sub := one.rdb.Subscribe(ctx, wakeChannel)
	t.Cleanup(func() { _ = sub.Close() })
	if _, err := sub.Receive(ctx); err != nil { // it is subscribed
		t.Fatal(err)
	}
	beat := func(s *Store) {
		t.Helper()
		if _, err := s.Heartbeat(ctx, base, Member{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	sent := func(when string, want bool) {
		t.Helper()
		if err := one.Append(ctx, []InboxEntry{eventOf(t, 0)}); err != nil {
			t.Fatal(err)
		}
		if err := one.rdb.Publish(ctx, wakeChannel, "end").Err(); err != nil {
			t.Fatal(err)
		}
		got := false
		for {
			m, err := sub.ReceiveMessage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if m.Payload == "end" {
				break
			}
			from, _ := decodeWakes(m.Payload)
			got = got || from == one.Instance()
		}
		if got != want {
			t.Errorf("%s: a wake was sent: %v, want %v", when, got, want)
		}
	}
	sent("before it knows of others", true)
	beat(one)
	sent("alone", false)
	beat(two)
	beat(one)
	sent("with another", true)
	if err := two.Leave(ctx, base); err != nil {
		t.Fatal(err)
	}
	beat(one)
	sent("alone again", false)
	stopped, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := one.Heartbeat(stopped, base, Member{}, nil); err == nil {
		t.Fatal("a heartbeat that was given up succeeded")
	}
	sent("after a heartbeat that failed", true)
}
