package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/store/storepb"
)

// InboxEntry is one accepted event on its way to its incident.
type InboxEntry struct {
	ID          string    // of the stream; set by Inbox
	Partition   Partition // that of the service; set by Append and Inbox
	Service     catalog.ServiceID
	Integration catalog.IntegrationID
	Source      string // ingest source, for the timeline
	Key         string // the dedup key within the service's scope
	Event       event.Event
	Received    time.Time
	Config      string // position of the configuration that it was accepted under
	Trace       string // W3C traceparent
	Hops        int    // how often it was forwarded
	// Target is the incident that a forwarded event is for: the alert's key was
	// merged away, and the event goes to the partition of the target.
	Target incident.ID
}

// seenKept is how long a sender's event id is remembered.
const seenKept = time.Hour

// ErrInboxFull refuses events when too many wait already.
var ErrInboxFull = fault.New(fault.Exhausted, "INBOX_FULL", "too many events are waiting to be handled").After(retryAfter)

// ErrStoreFull refuses events when Redis has no memory for them.
var ErrStoreFull = fault.New(fault.Exhausted, "STORE_FULL", "the store has no memory left for events").After(5 * retryAfter)

// Append makes events durable, in the partition of their service or of their
// target: when it
// returns nil they will be handled. An event whose sender's id was seen within
// the hour is left out. Entries of one partition are appended together or not
// at all; on an error some partitions may have theirs, and the sender's retry
// folds.
func (s *Store) Append(ctx context.Context, entries []InboxEntry) error {
	defer s.around("append")()
	var order []Partition
	parts := map[Partition][]InboxEntry{}
	for _, e := range entries {
		e.Partition = PartitionOf(string(e.Service))
		if e.Target != "" {
			p, err := PartitionOfIncident(e.Target)
			if err != nil {
				return err
			}
			e.Partition = p
		}
		if _, ok := parts[e.Partition]; !ok {
			order = append(order, e.Partition)
		}
		parts[e.Partition] = append(parts[e.Partition], e)
	}
	calls := make([]*call, len(order))
	for i, p := range order {
		calls[i] = s.appendCall(p, parts[p])
	}
	for i, o := range s.appends.do(ctx, calls...) {
		if err := s.appended(o); err != nil {
			return failed(err, "append %d events to partition %s", len(parts[order[i]]), order[i])
		}
	}
	return nil
}

func (s *Store) appendCall(p Partition, entries []InboxEntry) *call {
	c := &call{
		keys: []string{inboxKey(p)}, args: make([]any, appendHead, appendHead+2*len(entries)),
		wake: Wake{Partition: p, Kinds: WakeInbox}, kept: true,
	}
	for _, e := range entries {
		mark := 0
		if e.Event.SenderID != "" {
			c.keys = append(c.keys, seenKey(p, e.Integration, e.Event.SenderID))
			mark = len(c.keys)
		}
		raw := s.form().record(inboxToProto(e))
		c.args = append(c.args, mark, raw)
		c.size += len(raw) + 64
	}
	linked, key := 0, ""
	if e := entries[0]; len(entries) == 1 && e.Target == "" {
		c.keys = append(c.keys, keysKey(p, e.Service))
		linked, key = len(c.keys), e.Key
		c.only, _ = c.args[appendHead+1].([]byte)
	}
	copy(c.args, []any{len(c.keys), len(entries), linked, key})
	return c
}

// appendHead is how many arguments of an append come before its entries.
const appendHead = 4

// First is an entry that nothing waited before when it was appended, and where
// its dedup key led at that instant ("": nowhere): whoever decides it before
// anything else has to read neither. A commit sees to it that it still holds.
type First struct {
	Linked incident.ID

	id        string
	partition Partition
	raw       []byte
}

// first returns the entry that a call appended to an empty inbox, nil for others.
func (c *call) first() *First {
	reply, _ := c.reply.([]any)
	if c.only == nil || len(reply) != 2 {
		return nil
	}
	told := texts(reply)
	return &First{Linked: incident.ID(told[1]), id: told[0], partition: c.wake.Partition, raw: c.only}
}

// Entry is what [Store.Inbox] would return of it.
func (f *First) Entry() (InboxEntry, error) { return readEntry(f.partition, f.id, f.raw) }

func readEntry[B string | []byte](p Partition, id string, raw B) (InboxEntry, error) {
	var m storepb.InboxEntry
	if err := readRecord(raw, &m); err != nil {
		return InboxEntry{}, err
	}
	e := inboxFromProto(&m)
	e.ID, e.Partition = id, p
	return e, nil
}

func (s *Store) appended(o outcome) error {
	if isOOM(o.err) {
		return ErrStoreFull.Because(o.err)
	}
	if o.err != nil {
		return o.err
	}
	if _, ok := o.reply.([]any); !ok {
		return ErrInboxFull
	}
	if o.short {
		return errShort()
	}
	return nil
}

func inboxToProto(e InboxEntry) *storepb.InboxEntry {
	return &storepb.InboxEntry{
		Service: string(e.Service), Integration: string(e.Integration), Source: e.Source, Key: e.Key, Event: eventToProto(e.Event),
		Received: ms(e.Received), Config: e.Config, Trace: e.Trace, Hops: int32(e.Hops), Target: string(e.Target),
	}
}

func inboxFromProto(m *storepb.InboxEntry) InboxEntry {
	return InboxEntry{
		Service: catalog.ServiceID(m.GetService()), Integration: catalog.IntegrationID(m.GetIntegration()), Source: m.GetSource(),
		Key: m.GetKey(), Event: eventFromProto(m.GetEvent()), Received: at(m.GetReceived()), Config: m.GetConfig(),
		Trace: m.GetTrace(), Hops: int(m.GetHops()), Target: incident.ID(m.GetTarget()),
	}
}

// Inbox returns the oldest n entries of a partition, in order. They stay until a
// commit takes them. What cannot be read is set aside as a dead letter. An entry
// of a newer version (ErrNewerSchema) ends the list, as those behind it come
// after it; alone it is an error.
func (s *Store) Inbox(ctx context.Context, p Partition, n int) ([]InboxEntry, error) {
	var list *redis.XMessageSliceCmd
	err := s.lookups.alone(ctx, func(pipe redis.Pipeliner) { list = pipe.XRangeN(ctx, inboxKey(p), "-", "+", int64(n)) })
	if err != nil {
		return nil, failed(err, "read the inbox of partition %s", p)
	}
	entries := make([]InboxEntry, 0, len(list.Val()))
	for _, x := range list.Val() {
		raw, _ := x.Values["e"].(string)
		e, err := readEntry(p, x.ID, raw)
		if errors.Is(err, ErrNewerSchema) && len(entries) > 0 {
			return entries, nil
		}
		if errors.Is(err, ErrNewerSchema) {
			return nil, failed(err, "read entry %s of the inbox of partition %s", x.ID, p)
		}
		if err != nil {
			if err := s.setAside(ctx, p, DeadInbox, x, err); err != nil {
				return nil, err
			}
			continue
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// setAside moves an unreadable stream entry to the dead letters.
func (s *Store) setAside(ctx context.Context, p Partition, kind DeadKind, x redis.XMessage, why error) error {
	s.o.Log.ErrorContext(ctx, "stream entry unreadable",
		slog.String("kind", kind.String()), slog.String("entry", x.ID), slog.Any("err", why))
	raw := ""
	for _, v := range x.Values {
		raw, _ = v.(string)
	}
	return s.bury(ctx, p, kind, x.ID, []byte(raw), fmt.Sprintf("unreadable: %v", why))
}

// InboxDone takes entries away that lead to nothing.
func (s *Store) InboxDone(ctx context.Context, p Partition, ids ...string) error {
	if len(ids) == 0 {
		return nil
	}
	return failed(s.rdb.XDel(ctx, inboxKey(p), ids...).Err(), "delete inbox entries of partition %s", p)
}

// Due returns the documents of a partition that want to be decided by now, the
// earliest first, at most n, and when the next one wants to be (zero: none).
// With n documents due the next may be due as well: call again.
func (s *Store) Due(ctx context.Context, p Partition, now time.Time, n int) ([]Doc, time.Time, error) {
	var list *redis.ZSliceCmd
	err := s.trips.alone(ctx, func(pipe redis.Pipeliner) { list = pipe.ZRangeWithScores(ctx, timersKey(p), 0, int64(n)) })
	if err != nil {
		return nil, time.Time{}, failed(err, "read the timers of partition %s", p)
	}
	var docs []Doc
	for i, z := range list.Val() {
		due := at(int64(z.Score))
		if i == n || due.After(now) {
			return docs, due, nil
		}
		member, _ := z.Member.(string)
		d, ok := parseMember(member)
		if !ok {
			return nil, time.Time{}, fmt.Errorf("read the timers of partition %s: %q is no document", p, member)
		}
		docs = append(docs, d)
	}
	return docs, time.Time{}, nil
}

// Disarm removes the timer of a document that is not there any more. The timer
// of one that is there belongs to its commits.
func (s *Store) Disarm(ctx context.Context, d Doc) error {
	p, err := d.Partition()
	if err != nil {
		return err
	}
	plan := newPlan()
	plan.guard(ErrRevisionMoved, "absent", docKey(p, d), "", "")
	plan.write("ZREM", timersKey(p), d.member())
	_, err = s.plain(ctx, plan, Wake{Partition: p})
	return failed(err, "disarm %s", d)
}
