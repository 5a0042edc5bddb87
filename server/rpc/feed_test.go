package rpc

import (
	"log/slog"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/directory"
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

// TestBehindACursor: of each incident the last change comes, with what happened
// in all that the caller has not had.
func TestBehindACursor(t *testing.T) {
	t.Parallel()
	changes := []changed{
		entry("a", 1, incident.EntryTriggered), entry("b", 2, incident.EntryTriggered),
		entry("a", 3, incident.EntryAssigned), entry("a", 4, incident.EntryAcknowledged), entry("a", 5, incident.EntryAssigned),
	}
	at := cursorAt(1)
	var ids []incident.ID
	var last []pb.TimelineEntry_Type
	for c, types := range behind(at, changes) {
		ids, last = append(ids, c.Incident), types
		if at[0] != c.At {
			t.Errorf("at %s the cursor is %v, want %v", c.Incident, at[0], c.At)
		}
	}
	if !slices.Equal(ids, []incident.ID{"b", "a"}) {
		t.Errorf("behind the first change came %v, want b and then a", ids)
	}
	if want := []pb.TimelineEntry_Type{pb.TimelineEntry_TYPE_ASSIGNED, pb.TimelineEntry_TYPE_ACKNOWLEDGED}; !slices.Equal(last, want) {
		t.Errorf("of a happened %v, want %v", last, want)
	}
	for c := range behind(cursorAt(5), changes) {
		t.Errorf("%s comes again", c.Incident)
	}
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

// TestWhoComesDuringAReading begins with the next: what had happened before he
// came is not new to him.
func TestWhoComesDuringAReading(t *testing.T) {
	t.Parallel()
	f := newFeed(nil, nil, slog.New(slog.DiscardHandler))
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
