package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
)

// Send is one page that is about to be handed to a provider.
type Send struct {
	Doc        Doc
	Generation uint32 // of the work
	Unguarded  bool   // goes out whatever the incident's generation: a replacement card, a notice
	// Delivery is the record to write: its ID made by [DeliveryID], Attempted now.
	Delivery incident.Delivery
}

// Begun says whether a page may go.
type Begun uint8

// The answers of BeginSend.
const (
	BegunGo       Begun = iota + 1 // recorded as attempted: send it
	BegunStale                     // the incident has moved on: do not
	BegunInFlight                  // somebody is sending it, or died doing so less than ten seconds ago
	BegunEnded                     // it has been sent or given up
)

// BeginSend records attempts, and refuses pages whose incident has moved on. A
// page begins when this returns: after an acknowledgement has been committed
// none of its pages gets BegunGo. The sends of one partition are one step.
func (s *Store) BeginSend(ctx context.Context, now time.Time, sends []Send) ([]Begun, error) {
	defer s.around("begin send")()
	nonce := newNonce()
	e := errand{script: beginSendScript, head: []any{
		ms(now), redoAfter.Milliseconds(), nonce, int(deliveryKept.Seconds()), int(incident.DeliveryAccepted),
	}}
	for _, send := range sends {
		raw, p, err := recordPlace(send.Doc, send.Delivery.ID)
		if err != nil {
			return nil, err
		}
		generation, expire := generationText(send.Generation), 0
		if send.Unguarded || send.Doc.Person != "" {
			generation = ""
		}
		if send.Doc.Person != "" { // nothing archives these
			expire = 1
		}
		e.add(s, p, []string{docKey(p, send.Doc), deliveriesKey(p, send.Doc), deliveryKey(p, raw)},
			generation, raw, sealDelivery(send.Delivery, s.form(), nonce), send.Doc.member(), expire)
	}
	verdicts, err := s.runErrand(ctx, &e)
	if err != nil {
		return nil, failed(err, "begin %d sends", len(sends))
	}
	begun := make([]Begun, len(sends))
	for i, v := range verdicts {
		begun[i] = Begun(v) //nolint:gosec // one of four
	}
	return begun, nil
}

// EndSends records how sends ended that this process began: each delivery is
// what it was told [Store.BeginSend], with what has become of it. What a phone
// has said meanwhile stays.
func (s *Store) EndSends(ctx context.Context, sends []Send) error {
	defer s.around("record delivery")()
	e := errand{script: endSendScript}
	for _, send := range sends {
		raw, p, err := recordPlace(send.Doc, send.Delivery.ID)
		if err != nil {
			return err
		}
		d := send.Delivery
		e.add(s, p, []string{deliveriesKey(p, send.Doc)}, raw, deliveryHead(incident.DeliveryAttempted, d.Attempted), sealDelivery(d, s.form(), ""))
	}
	written, err := s.runErrand(ctx, &e)
	if err != nil {
		return failed(err, "record the ends of %d sends", len(sends))
	}
	for i, w := range written {
		if w == 1 {
			continue
		}
		if err := s.RecordDelivery(ctx, sends[i].Doc, sends[i].Delivery); err != nil {
			return err
		}
	}
	return nil
}

// recordPlace returns where a delivery's record is.
func recordPlace(d Doc, id string) (raw []byte, p Partition, err error) {
	raw, p, ok := parseDelivery(id)
	if at, err := d.Partition(); err != nil || !ok || at != p {
		return nil, 0, fault.New(fault.Internal, "DELIVERY_ID", "the delivery's id does not belong to its document", "delivery", id)
	}
	return raw, p, nil
}

// errand is what one script is to do for many deliveries, in as few executions as
// slots and limits allow.
type errand struct {
	script *redis.Script
	head   []any // what the script is told once
	parts  []*errandPart
	open   map[Partition]*errandPart
	n      int
}

type errandPart struct {
	which []int
	keys  []string
	args  []any
	cmd   *redis.Cmd
}

// add puts in what is to be done for the next delivery.
func (e *errand) add(s *Store, p Partition, keys []string, args ...any) {
	if s.kind != "cluster" {
		p = 0 // all slots are in one place
	}
	if e.open == nil {
		e.open = map[Partition]*errandPart{}
	}
	part := e.open[p]
	if part == nil || len(part.which) == maxSends {
		part = &errandPart{args: slices.Clip(e.head)}
		e.open[p], e.parts = part, append(e.parts, part)
	}
	part.which = append(part.which, e.n)
	part.keys, part.args = append(part.keys, keys...), append(part.args, args...)
	e.n++
}

// runErrand returns the script's number for each delivery.
func (s *Store) runErrand(ctx context.Context, e *errand) ([]int64, error) {
	results := make([]int64, e.n)
	if e.n == 0 {
		return results, nil
	}
	pipe := s.rdb.Pipeline()
	for _, part := range e.parts {
		part.cmd = e.script.EvalSha(ctx, pipe, part.keys, part.args...)
	}
	if err := s.trips.travel(ctx, pipe); err != nil && (ctx.Err() != nil || errors.Is(err, redis.ErrClosed)) {
		return nil, err
	}
	for _, part := range e.parts { // each command has its own error
		numbers, err := part.cmd.Int64Slice()
		if redis.HasErrorPrefix(err, "NOSCRIPT") {
			numbers, err = s.run(ctx, e.script, part.keys, part.args...).Int64Slice()
		}
		if err == nil && len(numbers) != len(part.which) {
			err = fmt.Errorf("the script answered %d times for %d deliveries", len(numbers), len(part.which))
		}
		if err != nil {
			return nil, err
		}
		for k, i := range part.which {
			results[i] = numbers[k]
		}
	}
	return results, nil
}
