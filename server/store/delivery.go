package store

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store/storepb"
)

// A delivery's record is state(2) attempt(13, Unix ms) nonce(8) and protobuf.
// The prefix is what begin_send.lua decides on.
const deliveryPrefix = 23

const (
	redoAfter     = 10 * time.Second   // a send whose outcome is unknown is done again then
	deliveryKept  = 8 * 24 * time.Hour // a delivery can be found by its id that long
	receiptsUntil = 7 * 24 * time.Hour // later receipts are ignored
	maxSends      = 64                 // pages in one script, so that it stays short
)

func sealDelivery(d incident.Delivery, f form, nonce string) []byte {
	m := deliveryToProto(d)
	m.Id, m.State, m.Attempted = "", 0, 0
	b := make([]byte, 0, deliveryRoom)
	b = appendPrefix(b, d.State, d.Attempted)
	b = append(b, nonce...)
	for len(b) < deliveryPrefix {
		b = append(b, ' ')
	}
	return f.appendRecord(b, m)
}

// deliveryRoom is what most records need.
const deliveryRoom = 256

// deliveryHead is how a record begins: what scripts compare.
func deliveryHead(state incident.DeliveryState, attempted time.Time) string {
	var b [15]byte
	return string(appendPrefix(b[:0], state, attempted))
}

func appendPrefix(b []byte, state incident.DeliveryState, attempted time.Time) []byte {
	return appendPadded(appendPadded(b, uint64(state), 2), uint64(ms(attempted)), 13) //nolint:gosec // after 1970
}

func openDelivery(id string, raw []byte) (incident.Delivery, error) {
	if len(raw) < deliveryPrefix {
		return incident.Delivery{}, fmt.Errorf("record of delivery %s is %d bytes long", id, len(raw))
	}
	state, err1 := strconv.ParseUint(string(raw[:2]), 10, 8)
	attempted, err2 := strconv.ParseInt(string(raw[2:15]), 10, 64)
	var m storepb.Delivery
	err3 := readRecord(raw[deliveryPrefix:], &m)
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			return incident.Delivery{}, fmt.Errorf("read delivery %s: %w", id, err)
		}
	}
	m.Id, m.State, m.Attempted = id, uint32(state), attempted
	return deliveryFromProto(&m), nil
}

// fieldID is the id of the delivery with that field in its hash.
func fieldID(field string) string {
	if len(field) != deliverySize {
		return fmt.Sprintf("%x", field) // none of ours
	}
	return deliveryID([deliverySize]byte([]byte(field)))
}

// RecordDelivery merges what became of deliveries into their records: states
// never go back, and the first instant of each stays. Those of an incident that is
// archived are in its archive, and of one that is gone nothing is recorded.
func (s *Store) RecordDelivery(ctx context.Context, d Doc, news ...incident.Delivery) error {
	defer s.around("record delivery")()
	p, err := d.Partition()
	if err != nil {
		return err
	}
	for _, n := range news {
		raw, at, ok := parseDelivery(n.ID)
		if !ok || at != p {
			return fault.New(fault.Internal, "DELIVERY_ID", "the delivery's id does not belong to its document", "delivery", n.ID)
		}
		_, _, err := s.mergeDelivery(ctx, p, d, raw, func(old incident.Delivery, found bool) (incident.Delivery, bool) {
			if !found {
				return n, true
			}
			merged := MergeDelivery(old, n)
			return merged, merged != old
		})
		if err != nil {
			return failed(err, "record delivery %s", n.ID)
		}
	}
	return nil
}

// mergeDelivery reads a record, lets change make the new one and writes that if
// the record is still what was read, else again. It returns the record, and
// whether it was changed.
func (s *Store) mergeDelivery(
	ctx context.Context, p Partition, d Doc, raw []byte, change func(old incident.Delivery, found bool) (incident.Delivery, bool),
) (incident.Delivery, bool, error) {
	key, id := deliveriesKey(p, d), fieldID(string(raw))
	keep := ""
	if d.Person != "" { // nothing archives these
		keep = strconv.Itoa(int(deliveryKept.Seconds()))
	}
	for range 16 {
		var record *redis.StringCmd
		err := s.trips.alone(ctx, func(pipe redis.Pipeliner) { record = pipe.HGet(ctx, key, string(raw)) })
		if err != nil && !isNil(err) {
			return incident.Delivery{}, false, err
		}
		before := []byte(record.Val())
		var old incident.Delivery
		found := err == nil
		nonce := ""
		if found {
			if old, err = openDelivery(id, before); err != nil {
				return old, false, err
			}
			nonce = string(before[15:deliveryPrefix])
		} else if d.Incident != "" {
			done, dv, changed, err := s.mergeArchived(ctx, d.Incident, id, change)
			if done || err != nil {
				return dv, changed, err
			}
		}
		now, changed := change(old, found)
		if !changed {
			return old, false, nil
		}
		written, err := s.run(ctx, receiptScript, []string{docKey(p, d), key}, raw, before, sealDelivery(now, s.form(), nonce), keep).Int()
		if err != nil {
			return old, false, err
		}
		if written == 1 {
			return now, true, nil
		}
	}
	return incident.Delivery{}, false, fault.New(fault.Conflict, "DELIVERY_BUSY", "the delivery's record keeps changing", "delivery", id)
}

// MergeDelivery adds what is newly known of a delivery to its record. The result
// does not depend on the order in which news arrive, apart from words.
func MergeDelivery(old, n incident.Delivery) incident.Delivery {
	m := old
	m.State = max(old.State, n.State)
	m.Attempts = max(old.Attempts, n.Attempts)
	m.Audible = old.Audible || n.Audible
	m.Silent = old.Silent || n.Silent
	m.Epoch = max(old.Epoch, n.Epoch)
	if n.Reason != "" {
		m.Reason = n.Reason
	}
	if n.Provider != "" {
		m.Provider = n.Provider
	}
	if len(n.Tries) > len(old.Tries) {
		m.Tries = n.Tries
	}
	if n.Attempted.After(old.Attempted) { // the last one: it says when to do it again
		m.Attempted = n.Attempted
	}
	for _, t := range []struct {
		to *time.Time
		at time.Time
	}{
		{&m.Deadline, n.Deadline},
		{&m.Queued, n.Queued},
		{&m.Accepted, n.Accepted},
		{&m.Received, n.Received},
		{&m.Displayed, n.Displayed},
		{&m.Opened, n.Opened},
		{&m.Acted, n.Acted},
		{&m.Ended, n.Ended},
	} {
		if t.to.IsZero() || (!t.at.IsZero() && t.at.Before(*t.to)) {
			*t.to = t.at
		}
	}
	return m
}

// Receipt is what a device says about a delivery.
type Receipt struct {
	Delivery string
	Device   roster.DeviceID // who says it; a delivery of another device is denied. Empty: not checked
	State    incident.DeliveryState
	At       time.Time // when the server heard it
	Silent   bool      // shown without sound
	Reason   string    // for suppressed
}

// ReceiptVerdict is what a receipt did.
type ReceiptVerdict uint8

// The verdicts on receipts.
const (
	ReceiptApplied ReceiptVerdict = iota + 1
	ReceiptKnown                  // said before
	ReceiptUnknown                // no such delivery
	ReceiptDenied                 // it is another device's
	ReceiptLate                   // older than seven days: ignored
)

// Receipted is the outcome of a receipt: the document and the record after it.
type Receipted struct {
	Verdict  ReceiptVerdict
	Doc      Doc
	Delivery incident.Delivery
}

// Delivery finds a delivery by its id alone; false when there is none, or its
// page is older than eight days.
func (s *Store) Delivery(ctx context.Context, id string) (Doc, incident.Delivery, bool, error) {
	raw, p, ok := parseDelivery(id)
	if !ok {
		return Doc{}, incident.Delivery{}, false, nil
	}
	name, err := s.rdb.Get(ctx, deliveryKey(p, raw)).Result()
	if isNil(err) {
		return Doc{}, incident.Delivery{}, false, nil
	}
	if err != nil {
		return Doc{}, incident.Delivery{}, false, failed(err, "look up delivery %s", id)
	}
	d, ok := parseMember(name)
	if !ok {
		return Doc{}, incident.Delivery{}, false, fmt.Errorf("look up delivery %s: %q is no document", id, name)
	}
	var dv incident.Delivery
	found := false
	// A change that changes nothing is a read, of archives too.
	_, _, err = s.mergeDelivery(ctx, p, d, raw, func(old incident.Delivery, there bool) (incident.Delivery, bool) {
		dv, found = old, there
		return old, false
	})
	if err != nil {
		return Doc{}, incident.Delivery{}, false, failed(err, "read delivery %s", id)
	}
	return d, dv, found, nil
}

// Receipt applies one receipt. Repeating it is safe: the first instant of each
// state stays, and a state never goes back.
func (s *Store) Receipt(ctx context.Context, r Receipt) (Receipted, error) {
	defer s.around("receipt")()
	d, dv, found, err := s.Delivery(ctx, r.Delivery)
	if err != nil {
		return Receipted{}, err
	}
	if !found {
		return Receipted{Verdict: ReceiptUnknown}, nil
	}
	if r.Device != "" && r.Device != dv.Device {
		return Receipted{Verdict: ReceiptDenied, Doc: d}, nil
	}
	if sent := dv.Attempted; !sent.IsZero() && r.At.Sub(sent) > receiptsUntil {
		return Receipted{Verdict: ReceiptLate, Doc: d, Delivery: dv}, nil
	}
	raw, p, _ := parseDelivery(r.Delivery)
	verdict := ReceiptKnown
	now, changed, err := s.mergeDelivery(ctx, p, d, raw, func(old incident.Delivery, there bool) (incident.Delivery, bool) {
		if !there {
			return old, false
		}
		merged := receipted(old, r)
		return merged, merged != old
	})
	if err != nil {
		return Receipted{}, failed(err, "apply a receipt to delivery %s", r.Delivery)
	}
	if changed {
		verdict = ReceiptApplied
	}
	return Receipted{Verdict: verdict, Doc: d, Delivery: now}, nil
}

// receipted is the record after a receipt: the instant of its state, once.
func receipted(old incident.Delivery, r Receipt) incident.Delivery {
	var to *time.Time
	m := old
	switch r.State {
	case incident.DeliveryReceived:
		to = &m.Received
	case incident.DeliveryDisplayed:
		to = &m.Displayed
	case incident.DeliveryOpened:
		to = &m.Opened
	case incident.DeliveryActed:
		to = &m.Acted
	case incident.DeliverySuppressed:
		to = &m.Ended
	default:
		return old // nothing that a device may say
	}
	m.State = furthest(old, r)
	if to.IsZero() {
		*to = at(ms(r.At))
	} else if m.State == old.State {
		return old // said before: the first time wins
	}
	m.Silent = m.Silent || r.Silent
	if r.State == incident.DeliverySuppressed && r.Reason != "" {
		m.Reason = r.Reason
	}
	return m
}

// furthest is the state after a receipt, in whatever order receipts come. An app
// that ran and then shows nothing has not reached anybody: that outweighs its
// having run, and is outweighed by whatever says that the page was shown after all.
func furthest(old incident.Delivery, r Receipt) incident.DeliveryState {
	switch {
	case old.State == incident.DeliveryReceived && r.State == incident.DeliverySuppressed && incident.Hides(r.Reason):
		return r.State
	case old.State == incident.DeliverySuppressed && r.State == incident.DeliveryReceived && incident.Hides(old.Reason):
		return old.State
	}
	return max(old.State, r.State)
}

// Deliveries returns the deliveries of an incident or a person, in no particular order.
func (s *Store) Deliveries(ctx context.Context, d Doc) ([]incident.Delivery, error) {
	p, err := d.Partition()
	if err != nil {
		return nil, err
	}
	fields, err := s.rdb.HGetAll(ctx, deliveriesKey(p, d)).Result()
	if err != nil {
		return nil, failed(err, "read the deliveries of %s", d)
	}
	if len(fields) == 0 && d.Incident != "" {
		a, err := s.archived(ctx, d.Incident)
		if a == nil || err != nil {
			return nil, err
		}
		return a.deliveries, nil
	}
	list := make([]incident.Delivery, 0, len(fields))
	for raw, record := range fields {
		dv, err := openDelivery(fieldID(raw), []byte(record))
		if err != nil {
			return nil, fmt.Errorf("read the deliveries of %s: %w", d, err)
		}
		list = append(list, dv)
	}
	return list, nil
}
