package store

import (
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/attention"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Whoever appends is told of an entry that nothing waits before, as it is read,
// and where its key leads; and of no other.
func TestAppendTellsOfTheFirst(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.Start(t).URL())
	ctx := t.Context()
	var firsts []*First
	s.wakes.add(&listener{f: func(w Wake) {
		if w.Kinds&WakeInbox != 0 {
			firsts = append(firsts, w.First)
		}
	}})
	service := freshService(t)
	p := PartitionOf(string(service))
	entry := InboxEntry{Service: service, Integration: "am", Key: "disk", Received: base.Add(time.Microsecond), Event: event.Event{
		Action: event.Trigger, DedupKey: "disk", Summary: "disk full", Severity: event.Critical, SenderID: "one",
	}}
	append1 := func(what string, es ...InboxEntry) *First {
		t.Helper()
		firsts = nil
		if err := s.Append(ctx, es); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if len(firsts) != 1 {
			t.Fatalf("%s: told %d times, want once", what, len(firsts))
		}
		return firsts[0]
	}
	read := func() []InboxEntry {
		t.Helper()
		entries, err := s.Inbox(ctx, p, 10)
		if err != nil {
			t.Fatal(err)
		}
		return entries
	}

	first := append1("an empty inbox", entry)
	if first == nil || first.Linked != "" {
		t.Fatalf("an empty inbox: told of %+v, want the entry, whose key leads nowhere", first)
	}
	got, err := first.Entry()
	if d := diff(read()[0], got); d != "" || err != nil {
		t.Errorf("the entry: %v (-read +told):\n%s", err, d)
	}
	other := entry
	other.Event.SenderID = "two"
	if f := append1("an inbox with an entry", other); f != nil {
		t.Errorf("an inbox with an entry: told of %+v", f)
	}
	for _, e := range read() {
		if err := s.InboxDone(ctx, p, e.ID); err != nil {
			t.Fatal(err)
		}
	}
	if f := append1("a sender's retry", entry); f != nil {
		t.Errorf("a sender's retry: told of %+v", f)
	}
	in, _ := mustCommit(t, s, begin(opened(service, base), "disk"))
	other.Event.SenderID = ""
	if f := append1("a key that leads on", other); f == nil || f.Linked != in.ID {
		t.Errorf("a key that leads on: told of %+v, want %s", f, in.ID)
	}
	if err := s.InboxDone(ctx, p, read()[0].ID); err != nil {
		t.Fatal(err)
	}
	if f := append1("two at once", other, other); f != nil {
		t.Errorf("two at once: told of %+v", f)
	}
	for _, e := range read() {
		if err := s.InboxDone(ctx, p, e.ID); err != nil {
			t.Fatal(err)
		}
	}
	other.Target = in.ID
	if f := append1("an event that was forwarded", other); f != nil {
		t.Errorf("an event that was forwarded, whose key may be another partition's: told of %+v", f)
	}
}

// A commit that reads ahead says of those whom it pages what reading them says.
func TestCommitReadsAhead(t *testing.T) {
	t.Parallel()
	s := shared(t)
	ctx := t.Context()
	service := freshService(t)
	known, damaged, unknown := roster.UserID(service+"-known"), roster.UserID(service+"-damaged"), roster.UserID(service+"-new")
	_, err := s.Commit(ctx, Commit{Person: &PersonChange{After: &attention.Person{
		User: known, Recent: []attention.Recent{{Work: "before", At: base}}, Updated: base,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.rdb.Set(ctx, personKey(PartitionOf(string(damaged)), damaged), "damaged", 0).Err(); err != nil {
		t.Fatal(err)
	}
	c := begin(opened(service, base), "disk")
	c.Work = nil
	for _, u := range []roster.UserID{known, damaged, unknown, known} {
		c.Work = append(c.Work, incident.Work{Kind: incident.WorkPage, User: u})
	}
	c.Work = append(c.Work, incident.Work{Kind: incident.WorkNotice, User: known})
	c.Ahead = true
	_, done := mustCommit(t, s, c)
	for i, u := range []roster.UserID{known, damaged, unknown, known} {
		want, err := s.Person(ctx, u)
		if err != nil {
			want = nil // whoever needs it is told what is wrong
		}
		if d := diff(want, done.Work[i].Person); d != "" {
			t.Errorf("%s (-read +ahead):\n%s", u, d)
		}
	}
	if last := done.Work[4]; last.Person != nil || last.Incident != nil {
		t.Errorf("what is no page is handed on with %v and %v", last.Person, last.Incident)
	}
}
