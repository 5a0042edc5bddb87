package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// entry is a change of an incident in the first partition.
func entry(id incident.ID, ms int64, types ...incident.EntryType) changed {
	return changed{
		FeedEntry: store.FeedEntry{Incident: id, At: store.Position{MS: ms}, Types: types},
		incident:  &incident.Incident{ID: id, Number: 7},
	}
}

func cursorAt(ms int64) *store.Cursor { return &store.Cursor{{MS: ms}} }

// TestBehindACursor: of each incident the last change comes, where the first one
// lies that the caller has not had, with what happened in all.
func TestBehindACursor(t *testing.T) {
	t.Parallel()
	changes := []changed{
		entry("a", 1, incident.EntryTriggered), entry("b", 2, incident.EntryTriggered),
		entry("a", 3, incident.EntryAssigned), entry("c", 4, incident.EntryTriggered),
		entry("a", 5, incident.EntryAcknowledged), entry("a", 6, incident.EntryAssigned),
	}
	type came struct {
		id       incident.ID
		at, last int64
	}
	at := cursorAt(1)
	var got []came
	types := map[incident.ID][]pb.TimelineEntry_Type{}
	for c, ts := range behind(at, changes) {
		got = append(got, came{c.Incident, at[0].MS, c.At.MS})
		types[c.Incident] = ts
	}
	if want := []came{{"b", 2, 2}, {"a", 3, 6}, {"c", 4, 4}}; !slices.Equal(got, want) {
		t.Errorf("behind the first change came %v, want %v", got, want)
	}
	if want := []pb.TimelineEntry_Type{pb.TimelineEntry_TYPE_ASSIGNED, pb.TimelineEntry_TYPE_ACKNOWLEDGED}; !slices.Equal(types["a"], want) {
		t.Errorf("of a happened %v, want %v", types["a"], want)
	}
	if *at != *cursorAt(6) {
		t.Errorf("at the end the cursor is %v, want that all was had", at)
	}
	for c := range behind(cursorAt(6), changes) {
		t.Errorf("%s comes again", c.Incident)
	}
}

// TestALineThatBreaksLosesNothing: wherever it breaks, who comes back with the
// last cursor has heard of everything that happened.
func TestALineThatBreaksLosesNothing(t *testing.T) {
	t.Parallel()
	kinds := []incident.EntryType{incident.EntryTriggered, incident.EntryAssigned, incident.EntryNote, incident.EntryAcknowledged, incident.EntryResolved}
	rapid.Check(t, func(r *rapid.T) {
		var changes []changed
		happened := map[incident.ID]map[pb.TimelineEntry_Type]bool{}
		for _, p := range []store.Partition{0, 1} { // a reading has one partition after the other
			for ms := range rapid.Int64Range(0, 8).Draw(r, "changes") {
				kind := rapid.SampledFrom(kinds).Draw(r, "kind")
				c := entry(incident.ID(fmt.Sprint(p, rapid.IntRange(0, 2).Draw(r, "incident"))), ms+1, kind)
				c.Partition = p
				if changes = append(changes, c); happened[c.Incident] == nil {
					happened[c.Incident] = map[pb.TimelineEntry_Type]bool{}
				}
				happened[c.Incident][entryTypes[kind]] = true
			}
		}
		cursor := &store.Cursor{}
		for more := true; more; { // once for each line
			at, left := *cursor, rapid.IntRange(1, 4).Draw(r, "told before the line breaks")
			more = false
			for c, types := range behind(&at, changes) {
				for _, e := range types {
					delete(happened[c.Incident], e)
				}
				last := at // what the message says
				cursor, more = &last, true
				if left--; left == 0 {
					break
				}
			}
		}
		for id, missed := range happened {
			if len(missed) > 0 {
				r.Fatalf("of %s was never told %v", id, missed)
			}
		}
	})
}

// TestEncodedOnce: what goes to many has the bytes of what goes to one.
func TestEncodedOnce(t *testing.T) {
	t.Parallel()
	shape, changes := shaper{names: &directory.Snapshot{}}, []changed{entry("a", 1, incident.EntryTriggered)}
	all := tell(shape, cursorAt(0), changes)
	if len(all) != 1 {
		t.Fatalf("one change is told as %d", len(all))
	}
	b, err := newCodec().Marshal(all[0].message)
	if err != nil {
		t.Fatal(err)
	}
	got := &pb.WatchIncidentsResponse{}
	if err := newCodec().Unmarshal(b, got); err != nil {
		t.Fatal(err)
	}
	if want := watchMessage(shape, cursorAt(1), changes[0], all[0].types); !proto.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	broken := &pb.WatchIncidentsResponse{Cursor: "\xff"} // no UTF-8
	if _, err := newCodec().Marshal(encodedOnce(broken)); err == nil {
		t.Error("what cannot be encoded is sent")
	}
}

// line is a stream that keeps what was sent.
type line struct {
	grpc.ServerStreamingServer[pb.WatchIncidentsResponse]

	sent chan *pb.WatchIncidentsResponse
}

func (l *line) Send(m *pb.WatchIncidentsResponse) error {
	l.sent <- m
	return nil
}

// TestAHeartbeatSaysThatNothingHappened: none is sent while that is not known.
func TestAHeartbeatSaysThatNothingHappened(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFeed(nil, nil, time.Now, slog.New(slog.DiscardHandler))
		l := &line{sent: make(chan *pb.WatchIncidentsResponse, 9)}
		w := &watch{
			incidents: &incidents{Server: &Server{c: Config{Now: time.Now}, feed: f}},
			stream:    l, at: cursorAt(1),
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.follow(ctx, f.enter()) }()
		read := func() { f.hand(&reading{began: time.Now(), whole: true, to: cursorAt(1)}) }
		read()
		for _, c := range []struct {
			how  string
			want int
			then func()
		}{
			{"the feed was read when the stream began", 1, func() {}},
			{"the feed has not been read since", 0, read},
			{"the feed was read at the last heartbeat", 1, func() {}},
		} {
			<-time.After(heartbeatEvery) // the bubble has a clock of its own
			synctest.Wait()
			if got := len(l.sent); got != c.want {
				t.Errorf("%s: %d heartbeats, want %d", c.how, got, c.want)
			}
			for range len(l.sent) {
				<-l.sent
			}
			c.then()
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the stream ended with %v", err)
		}
	})
}

// feeds are those of two masters, of which the second may be out. A change in the
// feed of a partition is the incident of its name.
type feeds struct {
	changes [2][]store.FeedEntry
	out     bool
}

var errOut = fault.New(fault.Unavailable, "STORE_UNAVAILABLE", "out")

func (s *feeds) happens(p store.Partition, id incident.ID) {
	at := store.Position{MS: int64(len(s.changes[p]) + 1)}
	s.changes[p] = append(s.changes[p], store.FeedEntry{Partition: p, At: at, Incident: id, Types: []incident.EntryType{incident.EntryNote}})
}

func (s *feeds) FeedTail(context.Context) (*store.Cursor, error) {
	if s.out {
		return nil, errOut
	}
	c := &store.Cursor{}
	for p, list := range s.changes {
		c[p].MS = int64(len(list))
	}
	return c, nil
}

func (s *feeds) Feeds(_ context.Context, after *store.Cursor, _ int, of ...store.Partition) ([]store.FeedEntry, *store.Cursor, error) {
	if len(of) == 0 {
		of = []store.Partition{0, 1}
	}
	next := *after
	var entries []store.FeedEntry
	var err error
	for _, p := range of {
		if p == 1 && s.out {
			err = errOut
			continue
		}
		entries = append(entries, s.changes[p][after[p].MS:]...)
		next[p].MS = int64(len(s.changes[p]))
	}
	if err != nil && len(of) == 1 {
		return nil, nil, err
	}
	return entries, &next, err
}

func (s *feeds) Incidents(_ context.Context, ids ...incident.ID) ([]*incident.Incident, error) {
	found := make([]*incident.Incident, len(ids))
	for i, id := range ids {
		found[i] = &incident.Incident{ID: id}
	}
	return found, nil
}

func (s *feeds) Listen(ctx context.Context, _ func(store.Wake)) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestAMasterIsOut: who watches hears of the other one, once; it is not taken for
// all there is, and who comes back is sent what he missed as long as he can be.
func TestAMasterIsOut(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 14, 3, 0, 0, 0, time.UTC)
	source := &feeds{}
	var said bytes.Buffer
	f := newFeed(source, func() shaper { return shaper{names: &directory.Snapshot{}} }, func() time.Time { return now }, slog.New(slog.NewTextHandler(&said, nil)))
	live := f.enter()
	f.step(t.Context())
	expect := func(when string, heard bool, want ...incident.ID) {
		t.Helper()
		f.step(t.Context())
		var got []incident.ID
		for range len(live.queue) {
			for _, c := range (<-live.queue).changes {
				got = append(got, c.Incident)
			}
		}
		if !slices.Equal(got, want) || f.heard() != heard {
			t.Errorf("%s: heard of %v, want %v; is all heard: %v, want %v", when, got, want, f.heard(), heard)
		}
	}
	back := func(joined *store.Cursor, missed int, code fault.Kind) {
		t.Helper()
		l := &line{sent: make(chan *pb.WatchIncidentsResponse, 9)}
		w := &watch{incidents: &incidents{Server: &Server{c: Config{Now: f.now}, feed: f}}, stream: l, at: &store.Cursor{}}
		err := w.begin(t.Context(), joined)
		if len(l.sent) != missed || (err != nil) != (code != 0) || (err != nil && fault.KindOf(err) != code) {
			t.Errorf("who comes back has %d messages and %v, want %d and the code %v", len(l.sent), err, missed, code)
		}
	}
	source.happens(0, "a")
	source.happens(1, "b")
	expect("all is well", true, "a", "b")
	source.out, now = true, now.Add(heartbeatEvery+time.Second)
	source.happens(0, "c")
	source.happens(1, "d")
	expect("a master is out", false, "c")
	expect("and nothing happens", false)
	back(&store.Cursor{{MS: 2}}, 2, 0)                          // he has all of the one that is out
	back(&store.Cursor{{MS: 2}, {MS: 1}}, 2, fault.Unavailable) // he lacks b
	source.out = false
	expect("it is back", true, "d")
	back(&store.Cursor{{MS: 2}, {MS: 2}}, 5, 0) // and a heartbeat
	if lines := strings.Count(said.String(), "\n"); lines != 2 {
		t.Errorf("two lines are to be in the log:\n%s", said.String())
	}
}

// TestWhoComesDuringAReading begins with the next: what had happened before he
// came is not new to him.
func TestWhoComesDuringAReading(t *testing.T) {
	t.Parallel()
	f := newFeed(nil, nil, time.Now, slog.New(slog.DiscardHandler))
	if _, ok := f.next(); ok {
		t.Fatal("it is read for nobody")
	}
	begun := func(w *watcher) bool {
		select {
		case <-w.begun:
			return true
		default:
			return false
		}
	}
	early := f.enter()
	r, _ := f.next()
	late := f.enter()
	r.to = cursorAt(1)
	f.hand(r)
	if !begun(early) || early.at != r.to || begun(late) {
		t.Fatalf("early began %v, late %v", begun(early), begun(late))
	}
	r, _ = f.next()
	if r.from != early.at {
		t.Errorf("the second reading begins at %v", r.from)
	}
	r.changes, r.to = []changed{entry("a", 2, incident.EntryTriggered)}, cursorAt(2)
	f.hand(r)
	if len(early.queue) != 1 || <-early.queue != r {
		t.Error("who was there does not have the change")
	}
	if !begun(late) || late.at != r.to || len(late.queue) != 0 {
		t.Errorf("late began %v at %v with %d readings", begun(late), late.at, len(late.queue))
	}
	f.leave(early)
	f.leave(late)
	if _, ok := f.next(); ok || f.at != nil {
		t.Error("it is read for those who have left")
	}
}
