package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// inboxBatch is how many entries are read at once. It bounds how long a page
// waits behind others that came with it.
const inboxBatch = 256

// fewTurns is below how many of them an event is decided at once and by itself:
// where more goes on, events are cheaper together.
const fewTurns = 2

// receive decides what comes in, until ctx ends.
func (o *owner) receive(ctx context.Context) {
	o.arrive()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case f := <-o.first:
			err = o.decideFirst(ctx, f)
		case <-o.arrived:
			err = o.drainInbox(ctx)
		}
		if err != nil && ctx.Err() == nil {
			if !o.handsOver(err) {
				o.log.WarnContext(ctx, "events interrupted", slog.Any("error", err))
			}
			o.rest(ctx, err)
			o.arrive()
		}
	}
}

// arrive lets the loop look into the inbox.
func (o *owner) arrive() {
	select {
	case o.arrived <- struct{}{}:
	default: // it will
	}
}

// offer hands the first entry of an inbox to the loop, if that has nothing to do
// and hardly any other has. A repeat pages nobody and waits to be folded with others.
func (o *owner) offer(ctx context.Context, f *store.First) bool {
	if f == nil || f.Linked != "" || o.turns.taken(ctx, o.partition) >= fewTurns {
		return false
	}
	select {
	case o.first <- f:
		return true
	default:
		return false
	}
}

// decideFirst decides an entry that nothing waits before and whose key leads
// nowhere, as the append has told: neither is read again. When either holds no
// more the commit is refused, and the entry decided as any other, or gone.
func (o *owner) decideFirst(ctx context.Context, f *store.First) error {
	giveBack, err := o.turns.take(ctx, o.partition)
	if err != nil {
		return err
	}
	defer giveBack()
	if err := o.sort(ctx, o.desk.Now()); err != nil {
		return err
	}
	e, err := f.Entry()
	if err != nil {
		return fmt.Errorf("read the first entry of partition %s: %w", o.partition, err)
	}
	one := lane{e}
	return o.decideAll(ctx, []step{one.next()}, map[store.LinkedKey]incident.ID{})
}

// drainInbox decides everything that waits in the inbox, one turn after the
// other. It returns an error only when the store does not answer: what it could
// not decide stays.
func (o *owner) drainInbox(ctx context.Context) error {
	for {
		giveBack, err := o.turns.take(ctx, o.partition)
		if err != nil {
			return err
		}
		n, err := o.turn(ctx)
		giveBack()
		if err != nil || n < inboxBatch { // what has come since has said so
			return err
		}
	}
}

// turn decides one batch, and returns how many entries it had.
func (o *owner) turn(ctx context.Context) (int, error) {
	if err := o.sort(ctx, o.desk.Now()); err != nil {
		return 0, err
	}
	entries, err := o.store.Inbox(ctx, o.partition, inboxBatch)
	if err != nil {
		return 0, fmt.Errorf("read the inbox of partition %s: %w", o.partition, err)
	}
	return len(entries), o.takeIn(ctx, entries)
}

// takeIn decides the entries in waves: each wave has one step of every key, so
// that the order within a key is kept and all keys travel in one batch.
func (o *owner) takeIn(ctx context.Context, entries []store.InboxEntry) error {
	for lanes := byKey(entries); len(lanes) > 0; {
		steps := make([]step, len(lanes))
		for i := range lanes {
			steps[i] = lanes[i].next()
		}
		if err := o.decideAll(ctx, steps, nil); err != nil {
			return err
		}
		rest := lanes[:0]
		for _, l := range lanes {
			if len(l) > 0 {
				rest = append(rest, l)
			}
		}
		lanes = rest
	}
	return nil
}

// decideAll decides one step for each of several keys and commits the
// decisions together. A refused commit is decided again: somebody was faster.
// linked is where the keys lead, if that is known; nil: it is looked up.
func (o *owner) decideAll(ctx context.Context, steps []step, linked map[store.LinkedKey]incident.ID) error {
	for ; len(steps) > 0; linked = nil {
		found, err := o.look(ctx, steps, linked)
		if err != nil {
			return o.apart(ctx, steps, err)
		}
		var commits []store.Commit
		var which []step
		var later []step
		taken := map[incident.ID]bool{}
		for i, s := range steps {
			if in := found[i].in; in != nil && taken[in.ID] {
				later = append(later, s) // two keys of one incident: one after the other
				continue
			} else if in != nil {
				taken[in.ID] = true
			}
			c, err := o.settle(ctx, s, found[i])
			if err != nil {
				return err
			}
			if c != nil {
				c.Ahead = linked != nil
				commits, which = append(commits, *c), append(which, s)
			}
		}
		for i, r := range o.store.CommitAll(ctx, commits) {
			switch {
			case r.Err == nil:
				o.desk.Tell(r.Committed)
			case errors.Is(r.Err, store.ErrInboxGone): // another owner was here
			case fault.KindOf(r.Err) == fault.Conflict:
				later = append(later, which[i])
			default:
				err := fmt.Errorf("commit an event of service %s: %w", which[i].Service, r.Err)
				if fault.KindOf(err) == fault.Internal && ctx.Err() == nil {
					err = o.poison(ctx, which[i], err)
				}
				if err != nil {
					return err
				}
			}
		}
		steps = later
	}
	return nil
}

// apart decides the steps one by one when something of one of them is damaged,
// so that only that one is put away. When the store is out they all stay.
func (o *owner) apart(ctx context.Context, steps []step, cause error) error {
	if fault.KindOf(cause) != fault.Internal || ctx.Err() != nil {
		return cause
	}
	if len(steps) == 1 {
		return o.poison(ctx, steps[0], cause)
	}
	for _, s := range steps {
		if err := o.decideAll(ctx, []step{s}, nil); err != nil {
			return err
		}
	}
	return nil
}

// place is where an event belongs.
type place struct {
	service catalog.Service
	linked  incident.ID        // what the key leads to; "" for nothing
	in      *incident.Incident // that incident, if it is here and of use
	alert   incident.Alert     // as stored in it
}

// look finds the places of the steps, in as few trips as the store allows.
func (o *owner) look(ctx context.Context, steps []step, linked map[store.LinkedKey]incident.ID) ([]place, error) {
	keys := make([]store.LinkedKey, len(steps))
	for i, s := range steps {
		keys[i] = store.LinkedKey{Service: s.Service, Key: s.Key}
	}
	if linked == nil {
		var err error
		if linked, err = o.linked(ctx, keys); err != nil {
			return nil, err
		}
	}
	places := make([]place, len(steps))
	ids := make([]incident.ID, len(steps))
	for i, s := range steps {
		places[i].service = o.service(ctx, s.InboxEntry)
		places[i].linked = linked[keys[i]]
		ids[i] = places[i].linked
		if s.Target != "" {
			ids[i] = s.Target
		}
	}
	incidents, alerts, err := o.store.AlertsAt(ctx, ids, keys)
	if err != nil {
		return nil, fmt.Errorf("read the incidents of %d events: %w", len(steps), err)
	}
	for i := range places {
		places[i].in, places[i].alert = incidents[i], alerts[i]
		if alerts[i].Count == 0 {
			places[i].alert.Integration = steps[i].Integration
		}
	}
	return places, nil
}

// linked looks the keys up that live in this partition. Those of a forwarded
// event live elsewhere; it carries the incident that they lead to.
func (o *owner) linked(ctx context.Context, keys []store.LinkedKey) (map[store.LinkedKey]incident.ID, error) {
	mine := make([]store.LinkedKey, 0, len(keys))
	for _, k := range keys {
		if store.PartitionOf(string(k.Service)) == o.partition {
			mine = append(mine, k)
		}
	}
	linked, err := o.store.LinkedAll(ctx, mine)
	if err != nil {
		return nil, fmt.Errorf("look up the dedup keys of %d events: %w", len(mine), err)
	}
	return linked, nil
}

// service returns the service of an entry as the directory knows it, after
// catching up with what it knew when the event was accepted. One that is gone
// is taken as a service without a policy: the catch-all is asked.
func (o *owner) service(ctx context.Context, e store.InboxEntry) catalog.Service {
	if err := o.directory.CatchUp(ctx, e.Config); err != nil {
		o.log.WarnContext(ctx, "deciding on an older configuration", slog.Any("error", err))
	}
	svc, ok := o.desk.View().Service(e.Service)
	if !ok {
		return catalog.Service{ID: e.Service, Name: string(e.Service), Urgency: catalog.UrgencyHigh}
	}
	return svc
}
