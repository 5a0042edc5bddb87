package notify

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/webpush"
	"github.com/tocsin-oncall/tocsin/server/attention"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// clearLife is how long it is worth telling a phone that a page is over.
const clearLife = 10 * time.Minute

// shown is what a person's devices may be showing of an incident.
type shown struct {
	devices map[roster.DeviceID]bool
	last    time.Time
}

// Clears of one phone are not gathered first, which would make every one of
// them late: a card has one clear, a storm is on one card, and what follows
// another clear of the same card takes its place in the sender.

// replace puts a quiet line in the place of the pages of an incident, on every
// device that may show one, and takes the incident out of what waits for the
// people who were paged.
func (n *Notifier) replace(j job) error {
	all, err := n.o.Ledger.Deliveries(j.ctx, store.IncidentDoc(j.in.ID))
	if err != nil {
		return err
	}
	users := n.paged(j, all)
	for u := range users {
		if _, err := n.attend(j.ctx, u, attention.Settle{Incident: j.in.ID}, nil); err != nil {
			return fmt.Errorf("settle what %s was told: %w", u, err)
		}
	}
	var waiting sync.WaitGroup
	stopped := false
	var mu sync.Mutex
	for u, s := range users {
		if n.spare(j.work.Actor, u, s); len(s.devices) == 0 {
			continue
		}
		waiting.Add(1)
		n.send(j.ctx, n.clear(j, u, s, func(_ context.Context, r result) {
			mu.Lock()
			stopped = stopped || r.stopped
			mu.Unlock()
			waiting.Done()
		}))
	}
	n.running.Go(func() {
		waiting.Wait()
		if !stopped {
			j.end()
		}
	})
	return nil
}

// spare leaves out the browsers on Apple's systems of whoever acted. The tap has
// taken the notification away, and a push there has to show something: it would
// tell him what he has just done.
func (n *Notifier) spare(actor incident.Actor, u roster.UserID, s *shown) {
	if actor.Kind != incident.ActorUser || actor.ID != string(u) {
		return
	}
	for _, p := range n.o.Directory.Phones(u) {
		if p.Push.Platform == push.Web && webpush.AtApple(p.Push.Token) {
			delete(s.devices, p.ID)
		}
	}
}

// paged returns who may be showing a page of the incident from before the
// decision. Somebody who is asked by that very decision keeps his card: it has
// been, or will be, renewed by its own page.
func (n *Notifier) paged(j job, all []incident.Delivery) map[roster.UserID]*shown {
	users := map[roster.UserID]*shown{}
	for _, d := range all {
		revision, own := revisionOf(d.Work) // not its own: on a card with others, which is updated by itself
		late := own && revision >= j.work.Revision
		if (j.work.User != "" && d.User != j.work.User) || late || needs(j.in, d.User) {
			continue
		}
		s := users[d.User]
		if s == nil {
			s = &shown{devices: map[roster.DeviceID]bool{}}
			users[d.User] = s
		}
		if own && d.Page && d.Kind == roster.Push && d.Device != "" && mayShow(d) {
			s.devices[d.Device] = true
			if d.Queued.After(s.last) {
				s.last = d.Queued
			}
		}
	}
	return users
}

// mayShow reports whether a page may be on the phone's screen. One that was
// withdrawn or ran out of time counts when an attempt of it had begun: whoever
// made that attempt may have died before it could say how it ended.
func mayShow(d incident.Delivery) bool {
	switch d.State {
	case incident.DeliveryAttempted, incident.DeliveryAccepted, incident.DeliveryReceived,
		incident.DeliveryDisplayed, incident.DeliveryOpened, incident.DeliveryActed:
		return true
	case incident.DeliveryWithdrawn, incident.DeliveryExpired:
		return !d.Attempted.IsZero()
	case incident.DeliveryQueued, incident.DeliveryRejected, incident.DeliverySuppressed:
	}
	return false
}

// clear words the quiet line for one person.
func (n *Notifier) clear(j job, u roster.UserID, s *shown, ended func(context.Context, result)) envelope {
	user, ok := n.o.Directory.User(u)
	if !ok {
		n.log.Debug("replacing the card of somebody who is gone", slog.String("user", string(u)))
		user.ID = u
	}
	method, _ := user.Method(roster.PushAll)
	level := n.level(user, j.in.Service)
	return envelope{
		work: j.name(), user: user, method: method, urgency: incident.Low, doc: store.IncidentDoc(j.in.ID), unguarded: true,
		alive: j.ctx.Err, kind: push.KindClear, incident: j.in, collapse: collapseID(j.in.ID),
		words:   clearWords(j.in, j.work, n.personName(j.work.Actor), level),
		privacy: level, badge: n.badge(j.ctx, u), pagedAt: s.last, at: j.at, deadline: n.now().Add(clearLife),
		only:  func(p Phone) bool { return s.devices[p.ID] },
		ended: ended,
	}
}
