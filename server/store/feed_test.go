package store

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
)

func TestFeedShowsEveryChangeBehindTheCursor(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.Start(t).URL())
	ctx := t.Context()
	mustCommit(t, s, begin(opened(freshService(t), base), "before"))
	cursor, err := s.FeedTail(ctx)
	if err != nil {
		t.Fatal(err)
	}
	type change struct {
		id       incident.ID
		revision uint64
	}
	var want []change
	for range 20 {
		in, _ := mustCommit(t, s, begin(opened(freshService(t), base), "disk"))
		want = append(want, change{in.ID, 1}, change{in.ID, 2})
		resolve(t, s, in, base)
	}
	var got []change
	for {
		entries, next, err := s.Feeds(ctx, cursor, 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 0 {
			break
		}
		for _, e := range entries {
			got = append(got, change{e.Incident, e.Revision})
			if e.Revision == 2 && !slices.Equal(e.Types, []incident.EntryType{incident.EntryResolved}) {
				t.Errorf("what happened: got %v, want resolved", e.Types)
			}
		}
		if cursor, err = ParseCursor(next.String()); err != nil { // as a watcher that comes back
			t.Fatal(err)
		}
	}
	order := func(a, b change) int {
		if a.id != b.id {
			if a.id < b.id {
				return -1
			}
			return 1
		}
		return int(a.revision) - int(b.revision)
	}
	slices.SortFunc(want, order)
	slices.SortFunc(got, order)
	if !slices.Equal(want, got) {
		t.Errorf("changes: got %v, want %v", got, want)
	}
}

func TestCursorBeforeWhatIsKept(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.Start(t).URL())
	ctx := t.Context()
	service := freshService(t)
	p := PartitionOf(string(service))
	start, err := s.FeedTail(ctx)
	if err != nil {
		t.Fatal(err)
	}
	mustCommit(t, s, begin(opened(service, base), "disk"))
	tail, err := s.FeedTail(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.TrimFeed(ctx, p, time.Now()); err != nil { // nothing is a day old
		t.Fatal(err)
	}
	if _, _, err := s.Feeds(ctx, start, 10); err != nil {
		t.Errorf("nothing was trimmed: got %v", err)
	}
	if err := s.TrimFeed(ctx, p, time.Now().Add(feedKept+time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Feeds(ctx, start, 10); fault.KindOf(err) != fault.OutOfRange {
		t.Errorf("before the trim: got %v, want out of range", err)
	}
	if entries, _, err := s.Feeds(ctx, tail, 10); err != nil || len(entries) != 0 {
		t.Errorf("at the tail of a feed that is all trimmed: got %v, %v, want nothing new", entries, err)
	}
	if again, err := s.FeedTail(ctx); err != nil || *again != *tail {
		t.Errorf("tail: got %v, %v, want %v", again, err, tail)
	}
	mustCommit(t, s, begin(opened(service, base), "cpu"))
	if entries, _, err := s.Feeds(ctx, tail, 10); err != nil || len(entries) != 1 {
		t.Errorf("after the trim: got %v, %v, want one entry", entries, err)
	}
}

// TestFeedsWhileAMasterIsOut: what cannot be read is not taken for empty, nobody
// waits for it for long, and what the others have is told, once.
func TestFeedsWhileAMasterIsOut(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 0)
	s := openAt(t, c.URL(), func(o *Options) { o.Timeout = 500 * time.Millisecond })
	ctx := t.Context()
	at, err := s.FeedTail(ctx)
	if err != nil {
		t.Fatal(err)
	}
	read := func(how string, want ...incident.ID) {
		t.Helper()
		began := time.Now()
		entries, next, err := s.Feeds(ctx, at, 10)
		if took := time.Since(began); took > 3*s.o.Timeout { // it would repeat itself for twelve
			t.Errorf("a reading while a master %s took %v, want no more than %v", how, took, s.o.Timeout)
		}
		if how != "" && fault.KindOf(err) != fault.Unavailable || how == "" && err != nil {
			t.Fatalf("the feeds while a master %q: got %v", how, err)
		}
		var got []incident.ID
		for _, e := range entries {
			got = append(got, e.Incident)
		}
		if !slices.Equal(got, want) {
			t.Errorf("the feeds while a master %q: got %v, want %v", how, got, want)
		}
		at = next
		if how != "is out" {
			return
		}
		if tail, err := s.FeedTail(ctx); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("the end of the feeds while a master %s: got %v, %v, want unavailable", how, tail, err)
		}
	}
	sick, well := servicesAt(t, s, c.Masters[1])
	begun := func(service catalog.ServiceID) incident.ID {
		in, _ := mustCommit(t, s, begin(opened(service, base), "disk"))
		return in.ID
	}
	late, told := begun(sick), begun(well)
	c.Masters[1].Pause(t)
	read("hangs", told)
	read("hangs")
	c.Masters[1].Resume(t) // before the others take it for dead
	read("", late)
	sick, well = servicesAt(t, s, c.Masters[2])
	begun(sick)
	told = begun(well)
	c.Masters[2].Kill(t) // feeds that were never trimmed are asked for before its own
	read("is out", told)
	for _, m := range c.Masters[:2] {
		m.Kill(t)
	}
	if entries, next, err := s.Feeds(ctx, at, 10); next != nil || fault.KindOf(err) != fault.Unavailable {
		t.Errorf("the feeds while all masters are out: got %v, %v, %v, want unavailable and no cursor", entries, next, err)
	}
}

func TestCursorRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		var c Cursor
		for i := range c {
			c[i] = Position{rapid.Int64Range(0, 1<<42).Draw(r, "ms"), rapid.Int64Range(0, 1<<20).Draw(r, "seq")}
		}
		token := c.String()
		if len(token) > 1024 {
			r.Fatalf("token of %d bytes, want 1,024 at most", len(token))
		}
		got, err := ParseCursor(token)
		if err != nil || *got != c {
			r.Fatalf("got %v, %v, want %v", got, err, c)
		}
	})
}

func FuzzCursor(f *testing.F) {
	f.Add((&Cursor{}).String())
	f.Add((&Cursor{3: {5, 7}}).String())
	f.Fuzz(func(t *testing.T, token string) {
		c, err := ParseCursor(token)
		if (c == nil) == (err == nil) {
			t.Fatalf("got %v and %v, want one of them", c, err)
		}
		if err == nil {
			if again, err := ParseCursor(c.String()); err != nil || *again != *c {
				t.Errorf("got %v, %v again, want %v", again, err, c)
			}
		}
	})
}

func FuzzFeedEntry(f *testing.F) {
	f.Add(string(FeedEntry{Incident: "x", Revision: 3, Version: 2, Types: []incident.EntryType{1}}.encode()))
	f.Fuzz(func(t *testing.T, raw string) {
		if e, err := decodeFeed(raw); err == nil && e.Incident == "" && raw[0] != 0 {
			t.Errorf("got %+v of %q", e, raw)
		}
	})
}
