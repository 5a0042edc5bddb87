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
	// Nonce is of who sends it ([NewNonce]), the same at every attempt: who has not
	// heard whether an attempt began is not in his own way. "": of this call.
	Nonce string
}

// Begun says whether a page may go.
type Begun uint8

// The answers of BeginSend.
const (
	BegunGo       Begun = iota + 1 // send it; it is recorded as attempted, unless its incident is archived or gone
	BegunStale                     // the incident has moved on: do not
	BegunInFlight                  // somebody is sending it, or died doing so less than ten seconds ago
	BegunEnded                     // it has been sent or given up
)

// BeginSend records attempts, and refuses pages whose incident has moved on. A
// page begins when this returns: after an acknowledgement has been committed
// none of its pages gets BegunGo. The sends of one partition are one step.
//
// The errors are nil when all is well, and otherwise one for each send: a master
// of a cluster that is out says nothing of the sends of the others.
func (s *Store) BeginSend(ctx context.Context, now time.Time, sends []Send) ([]Begun, []error) {
	defer s.around("begin send")()
	e := newErrand(beginSendScript, len(sends),
		ms(now), redoAfter.Milliseconds(), int(deliveryKept.Seconds()), int(incident.DeliveryAccepted))
	for i, send := range sends {
		raw, p, err := recordPlace(send.Doc, send.Delivery.ID)
		if err != nil {
			e.errs[i] = err
			continue
		}
		nonce := send.Nonce
		if nonce == "" {
			nonce = NewNonce()
		}
		generation, expire := generationText(send.Generation), 0
		if send.Unguarded || send.Doc.Person != "" {
			generation = ""
		}
		if send.Doc.Person != "" { // nothing archives these
			expire = 1
		}
		e.add(s, i, p, []string{docKey(p, send.Doc), deliveriesKey(p, send.Doc), deliveryKey(p, raw)},
			generation, raw, sealDelivery(send.Delivery, s.form(), nonce), send.Doc.member(), expire)
	}
	s.runErrand(ctx, e)
	begun := make([]Begun, len(sends))
	for i, v := range e.results {
		if begun[i] = Begun(v); begun[i] == begunBeside { //nolint:gosec // one of five, or 0: not known
			begun[i], e.errs[i] = s.inArchive(ctx, sends[i])
		}
	}
	return begun, e.failures("begin", sends)
}

// begunBeside is what begin_send.lua says of a send that may go, and of which
// there is nothing beside the document.
const begunBeside = BegunEnded + 1

// inArchive says whether a send may go whose incident is archived, or gone.
func (s *Store) inArchive(ctx context.Context, send Send) (Begun, error) {
	a, err := s.archived(ctx, send.Doc.Incident)
	switch {
	case err != nil:
		return 0, err
	case a != nil && slices.ContainsFunc(a.deliveries, func(d incident.Delivery) bool {
		return d.ID == send.Delivery.ID && d.State >= incident.DeliveryAccepted
	}):
		return BegunEnded, nil
	}
	return BegunGo, nil
}

// EndSends records how sends ended that this process began: each delivery is
// what it was told [Store.BeginSend], with what has become of it. What a phone
// has said meanwhile stays. The errors are as those of BeginSend.
func (s *Store) EndSends(ctx context.Context, sends []Send) []error {
	defer s.around("record delivery")()
	e := newErrand(endSendScript, len(sends))
	for i, send := range sends {
		raw, p, err := recordPlace(send.Doc, send.Delivery.ID)
		if err != nil {
			e.errs[i] = err
			continue
		}
		d := send.Delivery
		e.add(s, i, p, []string{deliveriesKey(p, send.Doc)}, raw, deliveryHead(incident.DeliveryAttempted, d.Attempted), sealDelivery(d, s.form(), ""))
	}
	s.runErrand(ctx, e)
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout) // for all that is left
	defer cancel()
	for i, send := range sends {
		if e.errs[i] == nil && e.results[i] != 1 {
			e.errs[i] = s.RecordDelivery(ctx, send.Doc, send.Delivery)
		}
	}
	return e.failures("record the end of", sends)
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
	script  *redis.Script
	head    []any // what the script is told once
	parts   []*errandPart
	open    map[Partition]*errandPart
	results []int64 // the script's number for each delivery
	errs    []error // of each delivery; with one, its number is 0
}

type errandPart struct {
	which []int
	keys  []string
	args  []any
	cmd   *redis.Cmd
}

func newErrand(script *redis.Script, deliveries int, head ...any) *errand {
	return &errand{
		script: script, head: head, open: map[Partition]*errandPart{},
		results: make([]int64, deliveries), errs: make([]error, deliveries),
	}
}

// add puts in what is to be done for one of the deliveries.
func (e *errand) add(s *Store, i int, p Partition, keys []string, args ...any) {
	if s.kind != "cluster" {
		p = 0 // all slots are in one place
	}
	part := e.open[p]
	if part == nil || len(part.which) == maxSends {
		part = &errandPart{args: slices.Clip(e.head)}
		e.open[p], e.parts = part, append(e.parts, part)
	}
	part.which = append(part.which, i)
	part.keys, part.args = append(part.keys, keys...), append(part.args, args...)
}

// failed notes that nothing is known of the deliveries of a part.
func (e *errand) failed(part *errandPart, err error) {
	for _, i := range part.which {
		e.errs[i] = err
	}
}

// failures returns the errors with what was being done, nil when there are none.
func (e *errand) failures(what string, sends []Send) []error {
	well := true
	for i, err := range e.errs {
		if err != nil {
			well, e.errs[i] = false, failed(err, "%s send %s", what, sends[i].Delivery.ID)
		}
	}
	if well {
		return nil
	}
	return e.errs
}

// runErrand has the script's number for each delivery, or an error of its own. A
// master that hangs costs its own deliveries one Timeout, and the others nothing.
func (s *Store) runErrand(ctx context.Context, e *errand) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	perMaster(ctx, s, e.parts, func(part *errandPart) string { return part.keys[0] }, func(_ *redis.Client, _ error, parts []*errandPart) {
		s.runParts(ctx, e, parts) // where no master is known the client says so by itself
	})
}

// runParts does the parts of an errand that are for one master.
func (s *Store) runParts(ctx context.Context, e *errand, parts []*errandPart) {
	pipe := s.rdb.Pipeline()
	for _, part := range parts {
		part.cmd = e.script.EvalSha(ctx, pipe, part.keys, part.args...)
	}
	if err := s.trips.travel(ctx, pipe); err != nil && (ctx.Err() != nil || errors.Is(err, redis.ErrClosed)) {
		for _, part := range parts { // their commands may be under way still
			e.failed(part, err)
		}
		return
	}
	for _, part := range parts { // each command has its own error
		numbers, err := part.cmd.Int64Slice()
		if redis.HasErrorPrefix(err, "NOSCRIPT") {
			numbers, err = s.run(ctx, e.script, part.keys, part.args...).Int64Slice()
		}
		if err == nil && len(numbers) != len(part.which) {
			err = fmt.Errorf("the script answered %d times for %d deliveries", len(numbers), len(part.which))
		}
		if err != nil {
			e.failed(part, err)
			continue
		}
		for k, i := range part.which {
			e.results[i] = numbers[k]
		}
	}
}
