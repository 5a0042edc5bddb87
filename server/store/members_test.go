package store

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

func TestPartitionsAreTakenOverFromTheDead(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	a := openAt(t, srv.URL(), func(o *Options) { o.Instance = "a" })
	b := openAt(t, srv.URL(), func(o *Options) { o.Instance = "b" })
	beat := func(s *Store, now time.Time, want ...Partition) Membership {
		t.Helper()
		m, err := s.Heartbeat(t.Context(), now, Member{Name: "host", Version: "1", Started: base}, want)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := beat(a, base, All()...)
	if len(m.Members) != 1 || m.Members[0].Instance != "a" || m.Members[0].Schema != Schema || !m.Members[0].Seen.Equal(base) {
		t.Errorf("members: got %+v, want a", m.Members)
	}
	if m.Leases[63] != (Lease{"a", 1}) {
		t.Errorf("lease: got %+v, want a in epoch 1", m.Leases[63])
	}
	m = beat(b, base.Add(time.Second), 63)
	if len(m.Members) != 2 || m.Leases[63] != (Lease{"a", 1}) {
		t.Errorf("b wants what a has: got %+v of %d members, want a in epoch 1", m.Leases[63], len(m.Members))
	}
	beat(a, base.Add(1500*time.Millisecond), All()[:63]...) // a sees b and gives its share back
	m = beat(b, base.Add(2*time.Second), 63)
	if m.Leases[63] != (Lease{"b", 2}) || m.Leases[0] != (Lease{"a", 1}) {
		t.Errorf("given back: got %+v and %+v, want b in epoch 2 and a in epoch 1", m.Leases[63], m.Leases[0])
	}
	if m = beat(b, base.Add(4400*time.Millisecond), All()...); m.Leases[0] != (Lease{"a", 1}) {
		t.Errorf("a silent for 2.9 s: got %+v, want still a", m.Leases[0])
	}
	m = beat(b, base.Add(4600*time.Millisecond), All()...)
	if len(m.Members) != 1 || m.Leases[0] != (Lease{"b", 2}) || m.Leases[63] != (Lease{"b", 2}) {
		t.Errorf("a silent for 3.1 s: got %+v and %+v, want b in epoch 2", m.Leases[0], m.Leases[63])
	}
	if err := b.Leave(t.Context(), base.Add(5*time.Second)); err != nil {
		t.Fatal(err)
	}
	m = beat(a, base.Add(5*time.Second), 0)
	if len(m.Members) != 1 || m.Leases[0] != (Lease{"a", 3}) || m.Leases[1].Owner != "" {
		t.Errorf("b has left: got %+v and %+v, want a in epoch 3 and nobody", m.Leases[0], m.Leases[1])
	}
}

func TestTurnsGoRound(t *testing.T) {
	t.Parallel()
	s := shared(t)
	policy := escalation.PolicyID(freshService(t))
	members := []roster.UserID{"ann", "bob", "cem"}
	claim := func(in string, members ...roster.UserID) roster.UserID {
		t.Helper()
		u, err := s.ClaimTurn(t.Context(), policy, 1, incident.ID(in), members)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	for _, c := range []struct {
		in      string
		members []roster.UserID
		want    roster.UserID
	}{
		{"1", members, "ann"},
		{"2", members, "bob"},
		{"2", members, "bob"}, // asked again
		{"1", members, "ann"},
		{"3", members, "cem"},
		{"4", members, "ann"},
		{"4", []roster.UserID{"bob", "cem"}, "bob"}, // ann has left
		{"5", []roster.UserID{"cem"}, "cem"},
		{"6", nil, ""},
	} {
		if got := claim(c.in, c.members...); got != c.want {
			t.Errorf("incident %s: got %q, want %q", c.in, got, c.want)
		}
	}
	for range 2 { // looking takes no turn
		if got, err := s.NextTurn(t.Context(), policy, 1, members); err != nil || got != "ann" {
			t.Errorf("the next turn is %q's (%v), want ann's", got, err)
		}
	}
	if got := claim("7", members...); got != "ann" {
		t.Errorf("incident 7: got %q, want whom the look named", got)
	}
}

func TestOnceIsTakenOnce(t *testing.T) {
	t.Parallel()
	s := shared(t)
	ctx := t.Context()
	if err := s.PutOnce(ctx, "enrol-1", []byte("ann"), time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := s.PutOnce(ctx, "enrol-1", []byte("bob"), time.Minute); fault.KindOf(err) != fault.Exists {
		t.Errorf("put again: got %v, want exists", err)
	}
	if got, err := s.Peek(ctx, "enrol-1"); err != nil || string(got) != "ann" {
		t.Errorf("peek: got %q, %v, want ann", got, err)
	}
	for _, text := range []string{"first", "second"} {
		if err := s.Keep(ctx, "note-1", []byte(text), time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.Peek(ctx, "note-1"); err != nil || string(got) != "second" {
		t.Errorf("peek at what was kept twice: got %q, %v, want the second", got, err)
	}
	if got, err := s.Take(ctx, "enrol-1"); err != nil || string(got) != "ann" {
		t.Errorf("take: got %q, %v, want ann", got, err)
	}
	if _, err := s.Take(ctx, "enrol-1"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("take again: got %v, want not found", err)
	}
}

func TestNumbersNeverRepeat(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	a, b := openAt(t, srv.URL()), openAt(t, srv.URL())
	seen := map[int64]bool{}
	for i := range 100 {
		s := a
		if i%3 == 0 {
			s = b
		}
		n, err := s.NextNumber(t.Context())
		if err != nil || n < 1 || seen[n] {
			t.Fatalf("number %d: got %d, %v, seen before %v", i, n, err, seen[n])
		}
		seen[n] = true
	}
	if !seen[1] {
		t.Error("the first number is not 1")
	}
}

func TestDeviceWords(t *testing.T) {
	t.Parallel()
	s := shared(t)
	ctx := t.Context()
	seen := time.Date(2026, 11, 28, 13, 0, 0, 123_000_000, time.FixedZone("CET", 3600))
	for _, set := range []map[string]any{
		{roster.WordSeen: seen, roster.WordPassed: true}, {roster.WordPassed: false}, {roster.WordMutedBy: "c/d"},
	} {
		if err := s.TouchDevice(ctx, "words-1", set); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.TouchDevice(ctx, "words-2", map[string]any{roster.WordSeen: seen}); err != nil {
		t.Fatal(err)
	}
	if err := s.ForgetDevice(ctx, "words-2"); err != nil {
		t.Fatal(err)
	}
	broken := devicesKey(PartitionOf("words-4"))
	if err := s.rdb.HSet(ctx, broken, "words-4", "no JSON").Err(); err != nil {
		t.Fatal(err)
	}
	got, err := s.Devices(ctx, "words-1", "words-2", "words-3", "words-4")
	if err != nil {
		t.Fatal(err)
	}
	if d := diff(map[roster.DeviceID]roster.Word{"words-1": {Seen: seen.UTC(), MutedBy: "c/d"}}, got); d != "" {
		t.Errorf("words: (-want +got):\n%s", d)
	}
	if err := s.TouchDevice(ctx, "words-4", map[string]any{roster.WordSeen: seen}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Devices(ctx, "words-4"); err != nil || !got["words-4"].Seen.Equal(seen) {
		t.Errorf("what was unreadable: %+v, %v; want the next word in its place", got, err)
	}
}

// Of many who claim the same field at once, one gets it.
func TestDeviceClaims(t *testing.T) {
	t.Parallel()
	s := shared(t)
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			ok, err := s.ClaimDevice(t.Context(), "claims-1", roster.WordAsked, time.Time{}, map[string]any{roster.WordAsked: base.Add(time.Duration(i))})
			if err != nil {
				t.Error(err)
			}
			if ok {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d got the claim, want 1", won.Load())
	}
	if ok, err := s.ClaimDevice(t.Context(), "claims-1", roster.WordAsked, time.Time{}, map[string]any{roster.WordAsked: base}); ok || err != nil {
		t.Errorf("a claim on what is not there any more: %v, %v", ok, err)
	}
	words, err := s.Devices(t.Context(), "claims-1")
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := s.ClaimDevice(t.Context(), "claims-1", roster.WordAsked, words["claims-1"].Asked, map[string]any{roster.WordAsked: base.Add(time.Hour)}); !ok || err != nil {
		t.Errorf("a claim on what was read: %v, %v; want it won", ok, err)
	}
}

func TestWakesReachTheOtherInstance(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	a, b := openAt(t, srv.URL()), openAt(t, srv.URL())
	ctx, cancel := context.WithCancel(t.Context())
	local, remote := make(chan Wake, 1000), make(chan Wake, 1000)
	ended := make(chan error, 2)
	go func() { ended <- a.Listen(ctx, func(w Wake) { local <- w }) }()
	go func() { ended <- b.Listen(ctx, func(w Wake) { remote <- w }) }()

	// Subscribing takes a moment: knock until b hears it.
	for heard := false; !heard; {
		if err := a.Wake(ctx, Wake{Partition: 5, Kinds: WakeInbox}); err != nil {
			t.Fatal(err)
		}
		select {
		case w := <-remote:
			if w.Partition != 5 || w.Kinds != WakeInbox || w.Local {
				t.Errorf("knock: got %+v", w)
			}
			heard = true
		case <-time.After(10 * time.Millisecond):
		}
	}
	in, _ := mustCommit(t, a, begin(opened(freshService(t), base), "disk"))
	p := PartitionOf(string(in.Service))
	want := Wake{Partition: p, Kinds: WakeWork | WakeTimer | WakeFeed, Due: in.Due()}
	for who, c := range map[string]chan Wake{"itself": local, "the other": remote} {
		w := <-c
		for w.Kinds == WakeInbox { // knocks
			w = <-c
		}
		want.Local = who == "itself"
		if w != want {
			t.Errorf("wake of %s: got %+v, want %+v", who, w, want)
		}
	}
	cancel()
	for range 2 {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("listen: got %v, want it to end with its context", err)
		}
	}
}

func FuzzWakes(f *testing.F) {
	f.Add(encodeWakes("me", []Wake{{Partition: 3, Kinds: WakeTimer, Due: base}}))
	f.Fuzz(func(t *testing.T, payload string) {
		_, wakes := decodeWakes(payload)
		if slices.ContainsFunc(wakes, func(w Wake) bool { return w.Partition >= Partitions }) {
			t.Errorf("got %v of %q", wakes, payload)
		}
	})
}

func TestClock(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.URL(t), func(o *Options) { o.Now = func() time.Time { return time.Now().Add(-time.Hour) } })
	offset, within, err := s.Clock(t.Context())
	if err != nil || (offset-time.Hour).Abs() > within+5*time.Millisecond {
		t.Errorf("offset: got %v within %v, %v, want an hour", offset, within, err)
	}
}
