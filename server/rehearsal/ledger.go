package rehearsal

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tocsin-oncall/tocsin/server/attention"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/notify"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// ledger is what the notifier remembers, in memory: what *store.Store keeps for
// a real one.
type ledger struct {
	s *stage

	mu         sync.Mutex
	persons    map[roster.UserID]*attention.Person
	deliveries map[string]record
}

type record struct {
	doc store.Doc
	incident.Delivery
}

var _ notify.Ledger = (*ledger)(nil)

func newLedger(s *stage) *ledger {
	return &ledger{s: s, persons: map[roster.UserID]*attention.Person{}, deliveries: map[string]record{}}
}

// people returns the documents of those who were told something, by their ids.
func (l *ledger) people() []*attention.Person {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.SortedFunc(maps.Values(l.persons), func(a, b *attention.Person) int { return cmp.Compare(a.User, b.User) })
}

// all returns the records of everything that was sent.
func (l *ledger) all() []incident.Delivery {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []incident.Delivery
	for _, r := range l.deliveries {
		all = append(all, r.Delivery)
	}
	return all
}

// Incident implements [notify.Ledger], as do the following.
func (l *ledger) Incident(context.Context, incident.ID) (*incident.Incident, error) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return l.s.in, nil
}

// Incidents returns the one incident for each id.
func (l *ledger) Incidents(ctx context.Context, ids ...incident.ID) ([]*incident.Incident, error) {
	all := make([]*incident.Incident, len(ids))
	for i, id := range ids {
		all[i], _ = l.Incident(ctx, id)
	}
	return all, nil
}

// Each is Incidents.
func (l *ledger) Each(ctx context.Context, ids ...incident.ID) []store.Found {
	all := make([]store.Found, len(ids))
	for i, id := range ids {
		all[i].Incident, all[i].Err = l.Incident(ctx, id)
	}
	return all
}

// Person returns what somebody was told.
func (l *ledger) Person(_ context.Context, id roster.UserID) (*attention.Person, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.persons[id]; p != nil {
		return p, nil
	}
	return &attention.Person{User: id}, nil
}

// Commit keeps the document of a person.
func (l *ledger) Commit(_ context.Context, c store.Commit) (store.Committed, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	after, was := *c.Person.After, uint64(0)
	if p := l.persons[after.User]; p != nil {
		was = p.Revision
	}
	if before := c.Person.Before; before != nil && before.Revision != was || before == nil && was != 0 {
		return store.Committed{}, fault.New(fault.Conflict, "REVISION_MOVED", "the person was told something else meanwhile")
	}
	after.Revision = was + 1
	l.persons[after.User] = &after
	return store.Committed{Revision: after.Revision}, nil
}

// Home is one for everything.
func (*ledger) Home(context.Context, store.Partition) string { return "" }

// BeginSend records attempts, and refuses those that nobody needs any more.
func (l *ledger) BeginSend(ctx context.Context, _ time.Time, sends []store.Send) ([]store.Begun, []error) {
	in, _ := l.Incident(ctx, "")
	l.mu.Lock()
	defer l.mu.Unlock()
	begun := make([]store.Begun, len(sends))
	for i, send := range sends {
		old, known := l.deliveries[send.Delivery.ID]
		switch {
		case send.Doc.Incident != "" && !send.Unguarded && send.Generation != in.Generation:
			begun[i] = store.BegunStale
		case known && old.State > incident.DeliveryAttempted:
			begun[i] = store.BegunEnded
		default:
			begun[i] = store.BegunGo
			l.deliveries[send.Delivery.ID] = record{send.Doc, send.Delivery}
		}
	}
	return begun, nil
}

// EndSends records how attempts ended. A phone that is not deaf confirms at once.
func (l *ledger) EndSends(_ context.Context, sends []store.Send) []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, send := range sends {
		d := send.Delivery
		if d.State == incident.DeliveryAccepted && d.Kind == roster.Push && !l.s.q.Deaf {
			d.State = incident.DeliveryDisplayed
		}
		l.deliveries[d.ID] = record{send.Doc, d}
	}
	return nil
}

// RecordDelivery keeps records of what was not sent.
func (l *ledger) RecordDelivery(_ context.Context, doc store.Doc, news ...incident.Delivery) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range news {
		l.deliveries[d.ID] = record{doc, d}
	}
	return nil
}

// Deliveries returns the records of a document.
func (l *ledger) Deliveries(_ context.Context, doc store.Doc) ([]incident.Delivery, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []incident.Delivery
	for _, r := range l.deliveries {
		if r.doc == doc {
			all = append(all, r.Delivery)
		}
	}
	return all, nil
}

// Delivery returns one record.
func (l *ledger) Delivery(_ context.Context, id string) (store.Doc, incident.Delivery, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, ok := l.deliveries[id]
	return r.doc, r.Delivery, ok, nil
}

// Receipt is not asked here: see EndSends.
func (*ledger) Receipt(context.Context, store.Receipt) (store.Receipted, error) {
	return store.Receipted{Verdict: store.ReceiptUnknown}, nil
}

// Devices returns nothing: no device has said anything.
func (*ledger) Devices(context.Context, ...roster.DeviceID) (map[roster.DeviceID]roster.Word, error) {
	return map[roster.DeviceID]roster.Word{}, nil
}

// TouchDevice keeps nothing.
func (*ledger) TouchDevice(context.Context, roster.DeviceID, map[string]any) error { return nil }

// ClaimDevice claims nothing.
func (*ledger) ClaimDevice(context.Context, roster.DeviceID, string, time.Time, map[string]any) (bool, error) {
	return false, nil
}
