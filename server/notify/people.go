package notify

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tocsin-oncall/tocsin/server/attention"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// people gathers what is to be decided about one person while a decision about
// that person is being written: a storm is a few commits, not hundreds.
type people struct {
	mu      sync.Mutex
	waiting map[roster.UserID][]*ask // present while somebody decides about the person
}

// ask is one command about a person that waits for its decision.
type ask struct {
	cmd     attention.Command
	answer  chan struct{}
	outcome attention.Outcome
	err     error
}

// maxTries bounds how often a decision is taken anew; each try lost means that
// another one won.
const maxTries = 16

// attend has a command about a person decided and made durable. Cards that it
// leads to are sent by the way. known is what the person was told, if it was read
// a moment ago; nil: it is read.
func (n *Notifier) attend(ctx context.Context, u roster.UserID, cmd attention.Command, known *attention.Person) (attention.Outcome, error) {
	a := &ask{cmd: cmd, answer: make(chan struct{})}
	n.people.mu.Lock()
	queue, busy := n.people.waiting[u]
	n.people.waiting[u] = append(queue, a)
	n.people.mu.Unlock()
	if !busy {
		n.running.Go(func() { n.attendAll(n.context(), u, known) }) //nolint:contextcheck // it serves other callers too
	}
	select {
	case <-a.answer:
		return a.outcome, a.err
	case <-ctx.Done():
		return attention.Outcome{}, ctx.Err()
	}
}

// attendAll decides what waits for the person until nothing does.
func (n *Notifier) attendAll(ctx context.Context, u roster.UserID, known *attention.Person) {
	for ; ; known = nil { // by now it has changed
		n.people.mu.Lock()
		asks := n.people.waiting[u]
		if len(asks) == 0 {
			delete(n.people.waiting, u)
			n.people.mu.Unlock()
			return
		}
		n.people.waiting[u] = nil
		n.people.mu.Unlock()
		cards, err := n.decide(ctx, u, asks, known)
		for _, a := range asks {
			if err != nil {
				a.err = err
			}
			close(a.answer)
		}
		for _, c := range cards {
			n.running.Go(func() { n.card(ctx, u, c) })
		}
	}
}

// decide decides all of asks on one reading of the person and commits them
// together. A reading that was made before, and does not hold any more, is
// refused with the commit, as any is.
func (n *Notifier) decide(ctx context.Context, u roster.UserID, asks []*ask, known *attention.Person) ([]attention.Card, error) {
	for range maxTries {
		before, old := known, known != nil
		if known = nil; !old {
			var err error
			if before, err = n.o.Ledger.Person(ctx, u); err != nil {
				return nil, err
			}
		}
		view, err := n.view(ctx, before, asks)
		if err != nil {
			return nil, err
		}
		person, changed, now := before, false, n.now()
		var cards []attention.Card
		for _, a := range asks {
			d, err := attention.Decide(person, a.cmd, view, now)
			if a.err = err; err != nil {
				continue
			}
			a.outcome = d.Outcome
			if d.Changed {
				person, changed = d.Person, true
			}
			cards = append(cards, d.Cards...)
		}
		switch {
		case !changed && old: // no commit says whether that still holds
			continue
		case !changed:
			return nil, nil
		}
		change := store.PersonChange{Before: before, After: person}
		if before.Revision == 0 {
			change.Before = nil
		}
		_, err = n.o.Ledger.Commit(ctx, store.Commit{Person: &change})
		switch {
		case err == nil:
			return latest(cards), nil
		case fault.KindOf(err) != fault.Conflict:
			return nil, fmt.Errorf("commit what %s is told: %w", u, err)
		}
	}
	return nil, fault.New(fault.Conflict, "PERSON_BUSY", "what the person is told changes faster than it could be decided", "user", string(u))
}

// view returns what the decisions may know. Which incidents still need the
// person is read for a tick alone.
func (n *Notifier) view(ctx context.Context, p *attention.Person, asks []*ask) (attention.View, error) {
	user, _ := n.o.Directory.User(p.User)
	view := attention.View{User: user, Zone: n.zone(user)}
	for _, a := range asks {
		if _, ok := a.cmd.(attention.Tick); !ok {
			continue
		}
		need, err := n.needed(ctx, p)
		if err != nil {
			return view, err
		}
		view.Needs = func(id incident.ID) bool {
			need, known := need[id]
			return need || !known
		}
		break
	}
	return view, nil
}

// needed says which of the incidents that the person was told of still need him.
// One that is damaged is missing: the sound of the others does not wait for it.
func (n *Notifier) needed(ctx context.Context, p *attention.Person) (map[incident.ID]bool, error) {
	ids, overdue := p.Waiting(), n.o.Directory.Settings().OverdueBefore
	need := make(map[incident.ID]bool, len(ids))
	for i, f := range n.o.Ledger.Each(ctx, ids...) {
		switch {
		case f.Err == nil, fault.KindOf(f.Err) == fault.NotFound:
			// One that waits as overdue pages anew when it goes on.
			need[ids[i]] = needs(f.Incident, p.User) && !f.Incident.WaitsAsOverdue(overdue)
		case fault.KindOf(f.Err) == fault.Unavailable:
			return nil, f.Err
		default:
			n.log.ErrorContext(ctx, "incident unreadable: taken for one that needs the person",
				slog.String("user", string(p.User)), slog.String("incident", string(ids[i])), slog.Any("error", f.Err))
		}
	}
	return need, nil
}

func (n *Notifier) zone(u roster.User) *time.Location {
	zone, err := time.LoadLocation(u.Zone)
	if err != nil { // checked when it was configured; the zone data may be older than that
		n.log.Warn("time zone of a person is unknown; quiet hours are in UTC", slog.String("user", string(u.ID)), slog.String("zone", u.Zone))
		return time.UTC
	}
	return zone
}

// latest drops updates of the storm card that a later decision of the same
// commit replaced.
func latest(cards []attention.Card) []attention.Card {
	last := map[string]int{}
	for i, c := range cards {
		if c.Kind == attention.CardStorm {
			last[c.Collapse] = i
		}
	}
	kept := cards[:0]
	for i, c := range cards {
		if c.Kind != attention.CardStorm || last[c.Collapse] == i {
			kept = append(kept, c)
		}
	}
	return kept
}

// Tick decides the document of a person that is due.
func (n *Notifier) Tick(ctx context.Context, person store.Doc, _ time.Time) error {
	_, err := n.attend(ctx, person.Person, attention.Tick{}, nil)
	if err != nil {
		return fmt.Errorf("decide what %s is told: %w", person.Person, err)
	}
	return nil
}
