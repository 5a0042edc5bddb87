package directory

import (
	"maps"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// builder makes a snapshot out of another and changes to it.
type builder struct {
	next     Snapshot
	records  map[Kind]*tableEdit[string, Record]
	emails   *tableEdit[string, roster.UserID]
	hashes   *tableEdit[auth.Hash, Key]
	address  *tableEdit[auth.Hash, roster.DeviceID]
	installs *tableEdit[string, roster.DeviceID]
	referrer *tableEdit[reference, set]
	latest   *tableEdit[escalation.PolicyID, int64]
	counts   *tableEdit[Kind, int]
	turned   map[schedule.ID]bool // schedules of which a piece has changed
}

func (s *Snapshot) build() *builder {
	return &builder{
		next: *s, records: map[Kind]*tableEdit[string, Record]{}, emails: s.emails.edit(), hashes: s.hashes.edit(), address: s.address.edit(),
		installs: s.installs.edit(), referrer: s.referrer.edit(), latest: s.latest.edit(), counts: s.counts.edit(), turned: map[schedule.ID]bool{},
	}
}

// done returns the new snapshot; the builder must not be used any more.
func (b *builder) done() *Snapshot {
	n := b.next
	n.records = maps.Clone(n.records)
	if n.records == nil {
		n.records = make(map[Kind]table[string, Record], len(b.records))
	}
	for kind, e := range b.records {
		n.records[kind] = e.done()
	}
	n.emails, n.hashes, n.address = b.emails.done(), b.hashes.done(), b.address.done()
	n.installs, n.referrer, n.latest, n.counts = b.installs.done(), b.referrer.done(), b.latest.done(), b.counts.done()
	n.turns = b.turns(&n)
	return &n
}

// turns makes what answers for the schedules that have changed.
func (b *builder) turns(n *Snapshot) table[schedule.ID, *turns] {
	if len(b.turned) == 0 {
		return n.turns
	}
	e := n.turns.edit()
	for id := range b.turned {
		if r, ok := n.GetSchedule(id); ok {
			e.put(id, &turns{whole: n.whole(r), zones: n.zones.get})
		} else {
			e.remove(id)
		}
	}
	return e.done()
}

// turn notes that a piece of a schedule changes.
func (b *builder) turn(r Record) {
	switch r := r.(type) {
	case *Schedule:
		b.turned[r.ID] = true
	case *Override:
		b.turned[r.Schedule] = true
	case *Shadow:
		if r.Schedule != "" {
			b.turned[r.Schedule] = true
		}
	}
}

// of returns the edit of the records of a kind.
func (b *builder) of(kind Kind) *tableEdit[string, Record] {
	e, ok := b.records[kind]
	if !ok {
		e = b.next.records[kind].edit()
		b.records[kind] = e
	}
	return e
}

func (b *builder) put(r Record) {
	k := r.key()
	b.remove(k)
	b.of(k.Kind).put(k.ID, r)
	b.index(r)
}

func (b *builder) remove(k Key) {
	e := b.of(k.Kind)
	if old, ok := e.get(k.ID); ok {
		b.unindex(old)
		e.remove(k.ID)
	}
}

// index enters a record where it is found by something else than its id. A
// tombstone is found by its id only.
func (b *builder) index(r Record) {
	b.turn(r)
	if v, ok := r.(*Version); ok {
		if n, _ := b.latest.get(v.ID); v.Version > n {
			b.latest.put(v.ID, v.Version)
		}
	}
	if !r.meta().Deleted.IsZero() {
		return
	}
	k := r.key()
	n, _ := b.counts.get(k.Kind)
	b.counts.put(k.Kind, n+1)
	r.refs(func(_ string, to Key) {
		ref := reference{to, k.Kind}
		old, _ := b.referrer.get(ref)
		b.referrer.put(ref, old.with(k.ID))
	})
	switch r := r.(type) {
	case *User:
		if r.Email != "" {
			b.emails.put(foldEmail(r.Email), r.ID)
		}
	case *Token:
		b.hashes.put(r.Hash, k)
	case *Feed:
		b.hashes.put(r.Hash, k)
	case *Integration:
		b.hashes.put(r.KeyHash, k)
	case *Device:
		if r.Install != "" {
			b.installs.put(r.Install, r.ID)
		}
		if r.Address.Kind != 0 {
			b.address.put(r.Address.Lookup, r.ID)
		}
	}
}

func (b *builder) unindex(r Record) {
	b.turn(r)
	if v, ok := r.(*Version); ok {
		removeIf(b.latest, v.ID, v.Version)
	}
	if !r.meta().Deleted.IsZero() {
		return
	}
	k := r.key()
	n, _ := b.counts.get(k.Kind)
	b.counts.put(k.Kind, n-1)
	r.refs(func(_ string, to Key) {
		ref := reference{to, k.Kind}
		old, _ := b.referrer.get(ref)
		if left := old.without(k.ID); left.size() > 0 {
			b.referrer.put(ref, left)
		} else {
			b.referrer.remove(ref)
		}
	})
	switch r := r.(type) {
	case *User:
		removeIf(b.emails, foldEmail(r.Email), r.ID)
	case *Token:
		removeIf(b.hashes, r.Hash, k)
	case *Feed:
		removeIf(b.hashes, r.Hash, k)
	case *Integration:
		removeIf(b.hashes, r.KeyHash, k)
	case *Device:
		removeIf(b.installs, r.Install, r.ID)
		removeIf(b.address, r.Address.Lookup, r.ID)
	}
}

// removeIf removes an index entry that is still the record's own: within one
// change an address may have moved on to another record already.
func removeIf[K, V comparable](e *tableEdit[K, V], key K, v V) {
	if now, ok := e.get(key); ok && now == v {
		e.remove(key)
	}
}

// apply enters what the log says. Records of unknown kinds are left out.
func (b *builder) apply(s Stored) error {
	if len(s.Payload) == 0 {
		b.remove(s.Key)
		return nil
	}
	r, err := decode(s)
	if err != nil || r == nil {
		return err
	}
	b.put(r)
	return nil
}
