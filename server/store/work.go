package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tocsin-oncall/tocsin/server/attention"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/store/storepb"
)

// WorkItem is one item to be done outside, as it stands in the work stream.
type WorkItem struct {
	ID        string // unique within the partition, ordered
	Partition Partition
	Work      incident.Work
	// Incident is what the commit left that wrote a page, as reading it gives it;
	// nil when the item was read, or has waited.
	Incident *incident.Incident
	// Person is what the one who is paged had been told by then, read by that
	// commit (Commit.Ahead); nil: not known.
	Person *attention.Person
}

// Key names the item in the whole installation.
func (w WorkItem) Key() string { return w.Partition.String() + "/" + w.ID }

// Work returns the oldest n items of a partition behind the id ("" = from the
// start). Items stay until [Store.WorkDone]. One of a newer version is an error
// (ErrNewerSchema): whoever can read it has to do the others too.
func (s *Store) Work(ctx context.Context, p Partition, after string, n int) ([]WorkItem, error) {
	start := "-"
	if after != "" {
		start = "(" + after
	}
	list, err := s.rdb.XRangeN(ctx, workKey(p), start, "+", int64(n)).Result()
	if err != nil {
		return nil, failed(err, "read the work of partition %s", p)
	}
	items := make([]WorkItem, 0, len(list))
	for _, x := range list {
		raw, _ := x.Values["w"].(string)
		var m storepb.Work
		err := readRecord(raw, &m)
		if errors.Is(err, ErrNewerSchema) {
			return nil, failed(err, "read work %s of partition %s", x.ID, p)
		}
		if err != nil {
			if err := s.setAside(ctx, p, DeadWork, x, err); err != nil {
				return nil, err
			}
			continue
		}
		items = append(items, WorkItem{ID: x.ID, Partition: p, Work: workFromProto(&m)})
	}
	return items, nil
}

// WorkDone deletes items that have been done.
func (s *Store) WorkDone(ctx context.Context, p Partition, ids ...string) error {
	defer s.around("work done")()
	if len(ids) == 0 {
		return nil
	}
	pipe := s.rdb.Pipeline()
	pipe.XDel(ctx, workKey(p), ids...)
	pipe.HDel(ctx, triesKey(p), ids...)
	return failed(s.trips.travel(ctx, pipe), "delete work of partition %s", p)
}

// WorkFailed counts a failed handling of an item and returns how many there
// have been, over all owners of the partition.
func (s *Store) WorkFailed(ctx context.Context, p Partition, id string) (int, error) {
	n, err := s.allow(ctx, "HINCRBY", triesKey(p), id, 1).Int()
	return n, failed(err, "count a failure of work %s", id)
}

// DeadKind says what a dead letter was.
type DeadKind uint8

// The kinds of dead letter.
const (
	DeadInbox DeadKind = iota + 1 // an accepted event
	DeadWork                      // an item of work
)

func (k DeadKind) String() string {
	switch k {
	case DeadInbox:
		return "event"
	case DeadWork:
		return "work"
	}
	return ""
}

// DeadLetter is something that was given up on. It stays until it is retried or
// dismissed.
type DeadLetter struct {
	ID        string
	Partition Partition
	Kind      DeadKind
	Reason    string
	At        time.Time
	Origin    string        // its id in the stream that it was taken from
	Work      incident.Work // for DeadWork, when it can be read
	Entry     InboxEntry    // for DeadInbox, when it can be read
	payload   []byte
}

// DeadLetterWork gives up on an item of work: it leaves the stream for the dead
// letters, in one step.
func (s *Store) DeadLetterWork(ctx context.Context, item WorkItem, reason string) error {
	return s.bury(ctx, item.Partition, DeadWork, item.ID, s.form().record(workToProto(item.Work)), reason)
}

// DeadLetterInbox gives up on an accepted event.
func (s *Store) DeadLetterInbox(ctx context.Context, e InboxEntry, reason string) error {
	return s.bury(ctx, e.Partition, DeadInbox, e.ID, s.form().record(inboxToProto(e)), reason)
}

// streamOf is where letters of a kind come from and go back to, and their field.
func streamOf(p Partition, k DeadKind) (key, field string) {
	if k == DeadInbox {
		return inboxKey(p), "e"
	}
	return workKey(p), "w"
}

func (s *Store) bury(ctx context.Context, p Partition, kind DeadKind, id string, payload []byte, reason string) error {
	from, _ := streamOf(p, kind)
	plan := newPlan()
	plan.guard(ErrInboxGone, "take", from, id, "")
	plan.write("XADD", deadKey(p), "*", "d", s.form().record(&storepb.DeadLetter{
		Kind: uint32(kind), Payload: payload, Reason: reason, At: ms(s.o.Now()), Origin: id,
	}))
	plan.write("HDEL", triesKey(p), id)
	_, err := s.plain(ctx, plan, Wake{Partition: p})
	return failed(err, "give up on %s %s", kind, id)
}

// DeadLetters returns the dead letters of a partition behind the id, at most n.
func (s *Store) DeadLetters(ctx context.Context, p Partition, after string, n int) ([]DeadLetter, error) {
	start := "-"
	if after != "" {
		start = "(" + after
	}
	list, err := s.rdb.XRangeN(ctx, deadKey(p), start, "+", int64(n)).Result()
	if err != nil {
		return nil, failed(err, "read the dead letters of partition %s", p)
	}
	letters := make([]DeadLetter, 0, len(list))
	for _, x := range list {
		raw, _ := x.Values["d"].(string)
		l, err := decodeLetter(p, x.ID, raw)
		if err != nil {
			return nil, err
		}
		letters = append(letters, l)
	}
	return letters, nil
}

func decodeLetter(p Partition, id, raw string) (DeadLetter, error) {
	var m storepb.DeadLetter
	if err := readRecord(raw, &m); err != nil {
		return DeadLetter{}, fmt.Errorf("read dead letter %s of partition %s: %w", id, p, err)
	}
	l := DeadLetter{
		ID: id, Partition: p, Kind: DeadKind(m.GetKind()), Reason: m.GetReason(), At: at(m.GetAt()),
		Origin: m.GetOrigin(), payload: m.GetPayload(),
	}
	// What cannot be read is why it is here; it is shown without its content.
	switch l.Kind {
	case DeadWork:
		var w storepb.Work
		if readRecord(l.payload, &w) == nil {
			l.Work = workFromProto(&w)
		}
	case DeadInbox:
		var e storepb.InboxEntry
		if readRecord(l.payload, &e) == nil {
			l.Entry = inboxFromProto(&e)
			l.Entry.Partition = p
		}
	}
	return l, nil
}

// Retry puts a dead letter back where it came from. NotFound when it is gone.
func (s *Store) Retry(ctx context.Context, p Partition, id string) error {
	list, err := s.rdb.XRange(ctx, deadKey(p), id, id).Result()
	if err != nil {
		return failed(err, "read dead letter %s", id)
	}
	if len(list) == 0 {
		return letterGone(id)
	}
	raw, _ := list[0].Values["d"].(string)
	l, err := decodeLetter(p, id, raw)
	if err != nil {
		return err
	}
	to, field := streamOf(p, l.Kind)
	wake := Wake{Partition: p, Kinds: WakeWork}
	if l.Kind == DeadInbox {
		wake.Kinds = WakeInbox
	}
	plan := newPlan()
	plan.guard(ErrInboxGone, "take", deadKey(p), id, "")
	plan.write("XADD", to, "*", field, l.payload)
	done, err := s.plain(ctx, plan, wake)
	if err == nil && !done {
		return letterGone(id)
	}
	return failed(err, "retry dead letter %s", id)
}

// Dismiss forgets a dead letter. NotFound when it is gone.
func (s *Store) Dismiss(ctx context.Context, p Partition, id string) error {
	n, err := s.rdb.XDel(ctx, deadKey(p), id).Result()
	if err == nil && n == 0 {
		return letterGone(id)
	}
	return failed(err, "dismiss dead letter %s", id)
}

func letterGone(id string) error {
	return fault.New(fault.NotFound, "DEAD_LETTER_NOT_FOUND", "there is no dead letter of that id", "id", id)
}
