package store

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// beating is one heartbeat of an instance of any version.
func (s *Store) beating(tb testing.TB, now time.Time, name string, reads int, patience time.Duration, want ...Partition) Membership {
	tb.Helper()
	other := &Store{o: s.o, rdb: s.rdb, trips: s.trips}
	other.o.Instance, other.o.WayBack = name, patience
	me := Member{Version: fmt.Sprintf("v%d", reads), Schema: reads}
	m, err := other.heartbeat(tb.Context(), now, me, fmt.Sprintf(`{"version":"v%d","schema":%d}`, reads, reads), want)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// TestSchemaRisesForGood plays instances of several versions that come, beat, go
// and die, and holds the heartbeat to its promises about the schema.
func TestSchemaRisesForGood(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.Start(t).URL())
	rapid.Check(t, func(r *rapid.T) {
		if err := s.rdb.Del(t.Context(), membersKey, leasesKey, formatKey).Err(); err != nil {
			r.Fatal(err)
		}
		patience := rapid.SampledFrom([]time.Duration{0, 5 * time.Second, 20 * time.Second}).Draw(r, "patience")
		now, written, seen := base, firstSchema, map[string]time.Time{}
		names := []string{"one of 1", "two of 1", "one of 2", "one of 3", "two of 3"}[rapid.IntRange(0, 3).Draw(r, "oldest"):]
		reads := func(name string) int { return int(name[len(name)-1] - '0') }
		for range rapid.IntRange(1, 40).Draw(r, "beats") {
			now = now.Add(time.Duration(rapid.IntRange(0, 4000).Draw(r, "ms")) * time.Millisecond)
			name := rapid.SampledFrom(names).Draw(r, "who")
			m := s.beating(t, now, name, reads(name), patience, All()...)
			seen[name] = now
			if m.Schema.Written < written {
				r.Fatalf("the schema fell from %d to %d", written, m.Schema.Written)
			}
			for other, at := range seen {
				if m.Schema.Written > written && reads(other) < m.Schema.Written && now.Sub(at) < patience {
					r.Fatalf("the schema rose to %d, and %q was seen %s ago", m.Schema.Written, other, now.Sub(at))
				}
			}
			written = m.Schema.Written
			for p, l := range m.Leases {
				if l.Owner == name && reads(name) < written {
					r.Fatalf("%q owns partition %d of schema %d", name, p, written)
				}
			}
			if able := m.Readers(); slices.ContainsFunc(able, func(i string) bool { return reads(i) < written }) {
				r.Fatalf("%q are said to read schema %d", able, written)
			}
		}
		// In the end only the newest are left.
		for range 2 {
			now = now.Add(DeadAfter + patience + time.Second)
			if m := s.beating(t, now, "one of 3", 3, patience); m.Schema.Written == 3 {
				return
			}
		}
		r.Fatal("the schema never rose to what all who are left read")
	})
}

// TestTheWayBack: until an older instance has been gone for long enough it can
// come back, and its coming back begins the wait anew.
func TestTheWayBack(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.Start(t).URL())
	const patience = time.Minute
	state := func(m Membership) SchemaState { return m.Schema }
	s.beating(t, base, "old", 1, patience)
	if got := state(s.beating(t, base.Add(time.Second), "new", 2, patience)); got.To != 0 || got.Written != 1 {
		t.Errorf("beside an older one: %+v, want that it stays", got)
	}
	got := state(s.beating(t, base.Add(5*time.Second), "new", 2, patience)) // the old one is dead by now
	if want := (SchemaState{Written: 1, To: 2, At: base.Add(5*time.Second + patience)}); got != want {
		t.Errorf("alone: %+v, want %+v", got, want)
	}
	if got := state(s.beating(t, base.Add(50*time.Second), "old", 1, patience)); got.To != 0 {
		t.Errorf("the older one is back: %+v, want that it stays", got)
	}
	s.beating(t, base.Add(60*time.Second), "new", 2, patience)
	if got := state(s.beating(t, base.Add(110*time.Second), "new", 2, patience)); got.Written != 1 {
		t.Errorf("50 s later: %+v, want that it waits for the minute anew", got)
	}
	if got := state(s.beating(t, base.Add(120*time.Second), "new", 2, patience)); got != (SchemaState{Written: 2, By: "v2"}) {
		t.Errorf("a minute later: %+v, want schema 2 by v2", got)
	}
}

// newerThings puts something of each kind into a partition, and then makes all of
// it look as if a newer version had written it.
type newerThings struct {
	service catalog.ServiceID
	in      *incident.Incident
	person  roster.UserID
}

func newerData(t *testing.T, s *Store) newerThings {
	t.Helper()
	things := newerThings{service: freshService(t), person: "ann"}
	entry := InboxEntry{Service: things.service, Key: "other", Event: event.Event{Action: event.Trigger, Summary: "newer"}}
	if err := s.Append(t.Context(), []InboxEntry{entry}); err != nil {
		t.Fatal(err)
	}
	things.in, _ = mustCommit(t, s, begin(opened(things.service, base), "k"))
	p := PartitionOf(string(things.service))
	if err := s.rdb.SetRange(t.Context(), incidentKey(p, things.in.ID), 17, fmt.Sprintf("%02d", Schema+1)).Err(); err != nil {
		t.Fatal(err)
	}
	for key, field := range map[string]string{inboxKey(p): "e", workKey(p): "w"} {
		list, err := s.rdb.XRange(t.Context(), key, "-", "+").Result()
		if err != nil || len(list) != 1 {
			t.Fatalf("%s has %d entries (%v), want one", key, len(list), err)
		}
		_, body := formOf([]byte(list[0].Values[field].(string)))
		s.rdb.XDel(t.Context(), key, list[0].ID)
		s.rdb.XAdd(t.Context(), streamEntry(key, field, append([]byte{0, Schema + 1}, body...)))
	}
	alerts := alertsKey(p, things.in.ID)
	for field, raw := range s.rdb.HGetAll(t.Context(), alerts).Val() {
		_, body := formOf([]byte(raw))
		s.rdb.HSet(t.Context(), alerts, field, append([]byte{0, Schema + 1}, body...))
	}
	timeline := timelineKey(p, things.in.ID)
	for i, raw := range s.rdb.LRange(t.Context(), timeline, 0, -1).Val() {
		_, body := formOf([]byte(raw))
		s.rdb.LSet(t.Context(), timeline, int64(i), append([]byte{0, Schema + 1}, body...))
	}
	return things
}

func streamEntry(key, field string, raw []byte) *redis.XAddArgs {
	return &redis.XAddArgs{Stream: key, Values: []any{field, raw}}
}

// TestNewerThingsAreLeftAlone: whatever is asked of what a newer version has
// written is answered with the one error, and not a byte of it moves.
func TestNewerThingsAreLeftAlone(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.Start(t).URL())
	things := newerData(t, s)
	p, id, ctx := PartitionOf(string(things.service)), things.in.ID, t.Context()
	before := dump(t, s.rdb)
	for name, f := range map[string]func() error{
		"incident":  func() error { _, err := s.Incident(ctx, id); return err },
		"incidents": func() error { _, err := s.Incidents(ctx, id); return err },
		"list":      func() error { _, err := s.List(ctx, Query{}, ""); return err },
		"record":    func() error { _, err := s.Record(ctx, id); return err },
		"archive":   func() error { return s.Archive(ctx, id, nil) },
		"expire":    func() error { return s.expire(ctx, p, "1-1", id, base.Add(time.Hour)) },
		"alerts":    func() error { _, err := s.Alerts(ctx, id); return err },
		"alert": func() error {
			_, _, err := s.AlertsAt(ctx, []incident.ID{id}, []LinkedKey{{things.service, "k"}})
			return err
		},
		"timeline": func() error { _, err := s.Timeline(ctx, id, 1, 0); return err },
		"last":     func() error { _, _, err := s.LastEntry(ctx, id); return err },
		"inbox":    func() error { _, err := s.Inbox(ctx, p, 10); return err },
		"work":     func() error { _, err := s.Work(ctx, p, "", 10); return err },
	} {
		if err := f(); !errors.Is(err, ErrNewerSchema) || fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: got %v, want %v", name, err, ErrNewerSchema)
		}
	}
	if d := cmp.Diff(before, dump(t, s.rdb)); d != "" {
		t.Errorf("the data changed (-before +after):\n%s", d)
	}
}

// TestOlderEntriesBeforeANewerOne are still decided, in their order.
func TestOlderEntriesBeforeANewerOne(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.Start(t).URL())
	service := freshService(t)
	entry := InboxEntry{Service: service, Key: "k", Event: event.Event{Action: event.Trigger, Summary: "old"}}
	if err := s.Append(t.Context(), []InboxEntry{entry}); err != nil {
		t.Fatal(err)
	}
	p := PartitionOf(string(service))
	s.rdb.XAdd(t.Context(), streamEntry(inboxKey(p), "e", []byte{0, Schema + 1, 1, 2}))
	if err := s.Append(t.Context(), []InboxEntry{entry}); err != nil {
		t.Fatal(err)
	}
	list, err := s.Inbox(t.Context(), p, 10)
	if err != nil || len(list) != 1 {
		t.Fatalf("got %d entries (%v), want the one before", len(list), err)
	}
	if err := s.InboxDone(t.Context(), p, list[0].ID); err != nil {
		t.Fatal(err)
	}
	if list, err = s.Inbox(t.Context(), p, 10); !errors.Is(err, ErrNewerSchema) {
		t.Errorf("got %d entries (%v), want %v", len(list), err, ErrNewerSchema)
	}
}

// TestOldVersionIsRefused: an old version does not open what a newer one has
// written, says which is needed, and changes nothing.
func TestOldVersionIsRefused(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t).URL()
	s := openAt(t, url)
	mustCommit(t, s, begin(opened(freshService(t), base), "k"))
	s.beating(t, base, "new", 99, 0)
	before := dump(t, s.rdb)
	_, err := Open(t.Context(), Options{URL: url})
	if !errors.Is(err, ErrOutgrown) || fault.KindOf(err) != fault.Precondition {
		t.Fatalf("got %v, want %v", err, ErrOutgrown)
	}
	for _, want := range []string{"schema is 99", "v99 or a later", fmt.Sprintf("up to %d", Schema)} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if d := cmp.Diff(before, dump(t, s.rdb)); d != "" {
		t.Errorf("the data changed (-before +after):\n%s", d)
	}
}

// TestWhatWasMetIsTold: a failover has set the schema back, and an old instance
// meets what a newer one wrote. With its next heartbeat it owns nothing, and an
// old one that starts afterwards is refused.
func TestWhatWasMetIsTold(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t).URL()
	s := openAt(t, url, func(o *Options) { o.Instance = "old" })
	things := newerData(t, s)
	beat := func(now time.Time) Membership {
		m, err := s.Heartbeat(t.Context(), now, Member{}, All())
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	if m := beat(base); m.Leases[0].Owner != "old" || s.Outgrown() != nil {
		t.Fatalf("before it has met anything: %+v, %v", m.Leases[0], s.Outgrown())
	}
	_, err := s.Incident(t.Context(), things.in.ID)
	s.Heed(err)
	if err := s.Outgrown(); !errors.Is(err, ErrOutgrown) {
		t.Errorf("got %v, want %v", err, ErrOutgrown)
	}
	m := beat(base.Add(time.Second))
	if m.Leases[0].Owner != "" || m.Schema.Written != Schema+1 || len(m.Readers()) != 0 {
		t.Errorf("afterwards: %+v of %+v, read by %q", m.Leases[0], m.Schema, m.Readers())
	}
	if _, err := Open(t.Context(), Options{URL: url}); !errors.Is(err, ErrOutgrown) {
		t.Errorf("another old one: got %v, want %v", err, ErrOutgrown)
	}
	// A newer one that comes takes them at once.
	if m := s.beating(t, base.Add(2*time.Second), "new", 99, 0, All()...); m.Leases[0].Owner != "new" {
		t.Errorf("a newer one: %+v, want that it owns the partition", m.Leases[0])
	}
}

// TestRecordsSayTheirForm: a record of the first form is bare, as the first
// version wrote it; any later one says its number, and survives the way.
func TestRecordsSayTheirForm(t *testing.T) {
	t.Parallel()
	w := incident.Work{Kind: incident.WorkPage, User: "ann", Text: "x"}
	bare := form(1).record(workToProto(w))
	if f, body := formOf(bare); f != 1 || !bytes.Equal(body, bare) {
		t.Errorf("the first form: got %d and %q", f, body)
	}
	if f, body := formOf(form(7).record(workToProto(w))); f != 7 || !bytes.Equal(body, bare) {
		t.Errorf("the seventh form: got %d and %q", f, body)
	}
	rapid.Check(t, func(r *rapid.T) {
		raw := rapid.SliceOf(rapid.Byte()).Draw(r, "raw")
		if f, _ := formOf(raw); f < 1 {
			r.Fatalf("%q is of form %d", raw, f)
		}
	})
}
