package store

import (
	"bytes"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
)

func TestWorkStaysUntilItIsDone(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.Start(t).URL())
	ctx := t.Context()
	in, done := mustCommit(t, s, begin(opened(freshService(t), base), "disk"))
	p := PartitionOf(string(in.Service))
	_, second := mustCommit(t, s, Commit{Before: in, Work: []incident.Work{{Kind: incident.WorkNotice, User: "bob"}}})
	all, err := s.Work(ctx, p, "", 10)
	if d := diff(stored(append(slices.Clone(done.Work), second.Work...)...), all); d != "" || err != nil {
		t.Fatalf("work: %v (-want +got):\n%s", err, d)
	}
	if rest, err := s.Work(ctx, p, all[0].ID, 10); err != nil || diff(all[1:], rest) != "" {
		t.Errorf("behind the first: got %v, %v", rest, err)
	}
	for want := 1; want <= 3; want++ {
		if n, err := s.WorkFailed(ctx, p, all[1].ID); n != want || err != nil {
			t.Errorf("failures: got %d, %v, want %d", n, err, want)
		}
	}
	mustCommit(t, s, Commit{Before: in, Done: []string{all[0].ID}})
	if err := s.WorkDone(ctx, p, all[1].ID); err != nil {
		t.Fatal(err)
	}
	if rest, err := s.Work(ctx, p, "", 10); err != nil || len(rest) != 0 {
		t.Errorf("all done: got %v, %v", rest, err)
	}
	if n := s.rdb.Exists(ctx, triesKey(p)).Val(); n != 0 {
		t.Error("failures of done work are still counted")
	}
}

// stored is what the stream has of items: what they were handed on with is not in it.
func stored(items ...WorkItem) []WorkItem {
	items = slices.Clone(items)
	for i := range items {
		items[i].Incident, items[i].Person = nil, nil
	}
	return items
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.Start(t).URL())
	ctx := t.Context()
	_, done := mustCommit(t, s, begin(opened("payments", base), "disk"))
	p := PartitionOf("payments")
	if err := s.Append(ctx, []InboxEntry{{Service: "payments", Key: "cpu", Received: base}}); err != nil {
		t.Fatal(err)
	}
	inbox, err := s.Inbox(ctx, p, 1)
	if err != nil {
		t.Fatal(err)
	}
	// An entry of a version that we cannot read must not stop those behind it.
	if err := s.rdb.XAdd(ctx, &redis.XAddArgs{Stream: inboxKey(p), Values: []any{"e", "\xff\xff"}}).Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.rdb.XAdd(ctx, &redis.XAddArgs{Stream: workKey(p), Values: []any{"w", "\xff\xff"}}).Err(); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Inbox(ctx, p, 10); err != nil || len(got) != 1 {
		t.Errorf("inbox: got %v, %v, want the readable entry", got, err)
	}
	if got, err := s.Work(ctx, p, "", 10); err != nil || len(got) != 1 {
		t.Errorf("work: got %v, %v, want the readable item", got, err)
	}
	for range 2 { // giving up twice leaves one letter
		if err := s.DeadLetterWork(ctx, done.Work[0], "five tries"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.DeadLetterInbox(ctx, inbox[0], "poison"); err != nil {
		t.Fatal(err)
	}
	letters, err := s.DeadLetters(ctx, p, "", 10)
	if err != nil || len(letters) != 4 {
		t.Fatalf("letters: got %d, %v, want 4", len(letters), err)
	}
	work, event := letters[2], letters[3]
	if work.Kind != DeadWork || work.Reason != "five tries" || work.Origin != done.Work[0].ID || diff(done.Work[0].Work, work.Work) != "" {
		t.Errorf("letter: got %+v", work)
	}
	if event.Kind != DeadInbox || event.Entry.Key != "cpu" || !event.At.Equal(base) {
		t.Errorf("letter: got %+v", event)
	}
	if rest, err := s.DeadLetters(ctx, p, letters[0].ID, 1); err != nil || len(rest) != 1 || rest[0].ID != letters[1].ID {
		t.Errorf("behind the first: got %v, %v", rest, err)
	}
	if err := s.Retry(ctx, p, work.ID); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Work(ctx, p, "", 10); err != nil || len(got) != 1 || diff(done.Work[0].Work, got[0].Work) != "" {
		t.Errorf("after the retry: got %v, %v", got, err)
	}
	if err := s.Dismiss(ctx, p, event.ID); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func() error{
		"retry":   func() error { return s.Retry(ctx, p, work.ID) },
		"dismiss": func() error { return s.Dismiss(ctx, p, event.ID) },
	} {
		if err := f(); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%s again: got %v, want not found", name, err)
		}
	}
	if stats, err := s.Stats(ctx); err != nil || stats[p].Dead != 2 || stats[p].Work != 1 || stats[p].Open != 1 || stats[p].Due.IsZero() {
		t.Errorf("stats: got %+v, %v", stats[p], err)
	}
}

func TestRings(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.Start(t).URL())
	ctx := t.Context()
	events := []Dropped{
		{At: base, Service: "a", Integration: "i", Reason: "DISABLED", Key: "k", Summary: "one"},
		{At: base.Add(1e9), Service: "b", Reason: "RULE", Summary: "two"},
		{At: base.Add(2e9), Service: "a", Reason: "DISABLED", Summary: "three"},
	}
	if err := s.NoteDropped(ctx, events...); err != nil {
		t.Fatal(err)
	}
	if got, err := s.DroppedEvents(ctx, "", 2); err != nil || diff([]Dropped{events[2], events[1]}, got) != "" {
		t.Errorf("latest two: got %v, %v", got, err)
	}
	if got, err := s.DroppedEvents(ctx, "a", 9); err != nil || diff([]Dropped{events[2], events[0]}, got) != "" {
		t.Errorf("of a: got %v, %v", got, err)
	}
	if got, err := s.DroppedCounts(ctx, ""); err != nil || diff([]DroppedCount{{"a", "DISABLED", 2}, {"b", "RULE", 1}}, got) != "" {
		t.Errorf("counts: got %v, %v", got, err)
	}
	long := bytes.Repeat([]byte("x"), rawLongest+1)
	for _, body := range [][]byte{[]byte(`{"a":1}`), long} {
		if err := s.NoteRaw(ctx, Raw{At: base, Integration: "i", Source: "generic", Status: 202, Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	want := []Raw{
		{At: base, Integration: "i", Source: "generic", Status: 202, Body: long[:rawLongest], Cut: true},
		{At: base, Integration: "i", Source: "generic", Status: 202, Body: []byte(`{"a":1}`)},
	}
	if got, err := s.Raws(ctx, "i", 5); err != nil || diff(want, got) != "" {
		t.Errorf("bodies: %v, got %d", err, len(got))
	}
	if got, err := s.Raws(ctx, "j", 5); err != nil || len(got) != 0 {
		t.Errorf("bodies of another: got %v, %v", got, err)
	}
}
