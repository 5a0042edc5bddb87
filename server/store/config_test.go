package store

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
)

func apply(tb testing.TB, s *Store, changes ...ConfigChange) Applied {
	tb.Helper()
	a, err := s.ConfigApply(tb.Context(), base, changes)
	if err != nil {
		tb.Fatalf("apply: %v", err)
	}
	return a
}

func loaded(tb testing.TB, s *Store) (map[string]ConfigRecord, string) {
	tb.Helper()
	all := map[string]ConfigRecord{}
	position, err := s.ConfigLoad(tb.Context(), func(r ConfigRecord) error {
		all[r.Kind+"/"+r.ID] = r
		return nil
	})
	if err != nil {
		tb.Fatalf("load: %v", err)
	}
	return all, position
}

func TestConfigurationIsAppliedWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.Start(t).URL())
	ctx := t.Context()
	if all, position := loaded(t, s); len(all) != 0 || position != "0-0" {
		t.Errorf("empty: got %v at %s", all, position)
	}
	first := apply(
		t, s,
		ConfigChange{Kind: "user", ID: "ann", Payload: []byte("Ann")},
		ConfigChange{Kind: "team", ID: "a/b", Payload: []byte("Team"), Created: base.Add(-time.Hour)},
	)
	all, position := loaded(t, s)
	want := map[string]ConfigRecord{
		"user/ann": {Kind: "user", ID: "ann", Revision: first.Revisions[0], Created: base, Updated: base, Payload: []byte("Ann")},
		"team/a/b": {Kind: "team", ID: "a/b", Revision: first.Revisions[1], Created: base.Add(-time.Hour), Updated: base, Payload: []byte("Team")},
	}
	if d := diff(want, all); d != "" || position != first.Position {
		t.Errorf("loaded at %s, want %s (-want +got):\n%s", position, first.Position, d)
	}

	unchanged := func() map[string]string {
		all := dump(t, s.rdb)
		delete(all, configRevisionKey) // numbers may have gaps
		return all
	}
	before := unchanged()
	for name, changes := range map[string][]ConfigChange{
		"stale":          {{Kind: "user", ID: "bob"}, {Kind: "user", ID: "ann", Was: first.Revisions[0] - 1}},
		"made twice":     {{Kind: "user", ID: "bob"}, {Kind: "user", ID: "ann"}},
		"delete nothing": {{Kind: "user", ID: "bob", Was: 3, Delete: true}},
		"stale guard":    {{Kind: "user", ID: "bob"}, {Kind: "user", ID: "ann", Was: 3, Keep: true}},
	} {
		if _, err := s.ConfigApply(ctx, base, changes, []byte("audit")); !isFault(err, ErrConfigMoved) {
			t.Errorf("%s: got %v, want %v", name, err, ErrConfigMoved)
		}
	}
	if d := diff(before, unchanged()); d != "" {
		t.Errorf("something was written (-before +after):\n%s", d)
	}

	second := apply(
		t, s,
		ConfigChange{Kind: "user", ID: "ann", Was: first.Revisions[0], Created: base, Payload: []byte("Ann B")},
		ConfigChange{Kind: "team", ID: "a/b", Was: first.Revisions[1], Delete: true},
	)
	events, err := s.ConfigChanges(ctx, first.Position, 10)
	if err != nil || len(events) != 2 || string(events[0].Record.Payload) != "Ann B" || events[0].Deleted || !events[1].Deleted ||
		events[1].Record.ID != "a/b" || events[1].Position != second.Position || events[0].Record.Revision != second.Revisions[0] {
		t.Errorf("changes: got %+v, %v", events, err)
	}
	if all, _ := loaded(t, s); len(all) != 1 || string(all["user/ann"].Payload) != "Ann B" {
		t.Errorf("loaded: got %v", all)
	}

	// A record that is made again never shows an etag of its former life.
	again, err := s.ConfigApply(ctx, base.Add(time.Second), []ConfigChange{{Kind: "team", ID: "a/b"}})
	if err != nil || again.Revisions[0] <= second.Revisions[1] {
		t.Errorf("made again: got revision %v, %v, want more than %d", again.Revisions, err, second.Revisions[1])
	}
	kept, err := s.ConfigApply(ctx, base, []ConfigChange{{Kind: "user", ID: "ann", Was: second.Revisions[0], Keep: true}})
	if err != nil || kept.Position != again.Position || kept.Revisions[0] != second.Revisions[0] {
		t.Errorf("only a guard: got %+v, %v", kept, err)
	}
}

func TestConfigurationIsFollowedWithoutAGap(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := openAt(t, srv.URL())
	_, position := loaded(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan string, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- s.ConfigFollow(ctx, position, func(events []ConfigEvent) error {
			for _, e := range events {
				got <- e.Record.ID
			}
			return nil
		})
	}()
	for i := range 5 {
		if i == 3 { // the connection is lost, and Redis with it
			srv.Kill(t)
			srv.Restart(t)
		}
		apply(t, s, ConfigChange{Kind: "user", ID: fmt.Sprint(i)})
	}
	for i := range 5 {
		if id := <-got; id != fmt.Sprint(i) {
			t.Errorf("change %d: got %s", i, id)
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("follow: got %v, want it to end with its context", err)
	}
}

func TestFollowerThatMissedSomethingLoadsAgain(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := openAt(t, srv.URL())
	ctx := t.Context()
	first := apply(t, s, ConfigChange{Kind: "user", ID: "ann"})
	last := apply(t, s, ConfigChange{Kind: "user", ID: "bob"}, ConfigChange{Kind: "user", ID: "cem"})
	if err := s.run(ctx, trimScript, []string{configLogKey, configLowKey}, "low", "", 1).Err(); err != nil {
		t.Fatal(err)
	}
	never := func([]ConfigEvent) error { return errors.New("called") }
	for name, position := range map[string]string{"trimmed": first.Position, "start": "0-0", "of the future": "99999999999999-0", "nonsense": "x"} {
		if err := s.ConfigFollow(ctx, position, never); fault.KindOf(err) != fault.OutOfRange {
			t.Errorf("%s: got %v, want out of range", name, err)
		}
	}
	if events, err := s.ConfigChanges(ctx, last.Position, 10); err != nil || len(events) != 0 {
		t.Errorf("at the end: got %v, %v, want nothing", events, err)
	}
}

func TestRetriedApplyFindsItsNonce(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.Start(t).URL())
	a := apply(t, s, ConfigChange{Kind: "user", ID: "ann"})
	raw, err := s.rdb.HGet(t.Context(), configKey, "user/ann").Result()
	if err != nil {
		t.Fatal(err)
	}
	plan := newPlan()
	plan.nonce = raw[20:prefixLen]
	plan.guard(ErrConfigMoved, "rec", configKey, "", "user/ann")
	plan.write("DEL", configKey)
	if done, err := s.plain(t.Context(), plan, Wake{}); !done || err != nil {
		t.Errorf("retry: got %v, %v, want done", done, err)
	}
	if all, _ := loaded(t, s); all["user/ann"].Revision != a.Revisions[0] {
		t.Errorf("loaded: got %v", all)
	}
}

func TestAuditRecords(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.Start(t).URL())
	ctx := t.Context()
	if _, err := s.ConfigApply(ctx, base, []ConfigChange{{Kind: "user", ID: "ann"}}, []byte("a"), []byte("b")); err != nil {
		t.Fatal(err)
	}
	if err := s.Audit(ctx, []byte("c")); err != nil {
		t.Fatal(err)
	}
	page, err := s.Audits(ctx, "", 2)
	if err != nil || len(page) != 2 || string(page[0].Record) != "c" || string(page[1].Record) != "b" || page[0].At.IsZero() {
		t.Fatalf("audit: got %v, %v, want c and b", page, err)
	}
	if rest, err := s.Audits(ctx, page[1].ID, 2); err != nil || len(rest) != 1 || string(rest[0].Record) != "a" {
		t.Errorf("before: got %v, %v, want a", rest, err)
	}
}
