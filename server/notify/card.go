package notify

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/server/attention"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// card sends a message about several incidents. Whatever keeps it from being
// begun, it stays in the person's outbox and is given out again.
func (n *Notifier) card(ctx context.Context, u roster.UserID, c attention.Card) {
	if n.o.Directory.Settings().Held {
		return
	}
	if _, inHand := n.cards.LoadOrStore(c.ID, true); inHand {
		return // given out again while a provider that is out still has it
	}
	n.metrics.cards.WithLabelValues(cardName(c.Kind)).Inc()
	user, ok := n.o.Directory.User(u)
	method, known := user.Method(c.Method)
	if !ok || !known {
		n.cardEnded(ctx, u, c, result{failed: 1}) // whoever was to be told is gone
		return
	}
	items, ins, err := n.listed(ctx, u, c)
	if err != nil {
		n.log.WarnContext(ctx, "card put off", slog.String("user", string(u)), slog.String("card", c.ID), slog.Any("error", err))
		n.cards.Delete(c.ID)
		return
	}
	if len(ins) == 0 && len(c.Lines) == 0 {
		if c.Kind == attention.CardStorm {
			n.send(ctx, n.clearStorm(user, method, c, n.badge(ctx, u)))
			return
		}
		n.cardEnded(ctx, u, c, result{})
		return
	}
	e := n.cardEnvelope(user, method, c, items, ins)
	e.badge = n.badge(ctx, u)
	n.send(ctx, e)
}

// badge is how many incidents still need the person of those that he was paged
// for, nil when that cannot be read: the message goes out without it.
func (n *Notifier) badge(ctx context.Context, u roster.UserID) *int {
	p, err := n.o.Ledger.Person(ctx, u)
	if err != nil {
		return nil
	}
	_, open, err := n.listed(ctx, u, attention.Card{Items: p.Open})
	if err != nil {
		return nil
	}
	count := len(open)
	return &count
}

// listed returns the incidents of a card that still need the person.
func (n *Notifier) listed(ctx context.Context, u roster.UserID, c attention.Card) ([]attention.Item, []*incident.Incident, error) {
	ids := make([]incident.ID, len(c.Items))
	for i, item := range c.Items {
		ids[i] = item.Incident
	}
	ins, err := n.o.Ledger.Incidents(ctx, ids...)
	if err != nil {
		return nil, nil, err
	}
	var items []attention.Item
	var open []*incident.Incident
	for i, in := range ins {
		if needs(in, u) {
			items, open = append(items, c.Items[i]), append(open, in)
		}
	}
	return items, open, nil
}

// cardEnvelope words a card. It goes out as a page of the newest incident that
// it shows first, and is recorded for each of them.
func (n *Notifier) cardEnvelope(user roster.User, method roster.Method, c attention.Card, items []attention.Item, ins []*incident.Incident) envelope {
	services := make([]catalog.ServiceID, len(ins))
	refs := make([]Ref, len(ins))
	for i, in := range ins {
		services[i] = in.Service
	}
	level := n.level(user, services...)
	for i, in := range ins {
		refs[i] = n.ref(in, level)
	}
	e := envelope{
		work: c.ID, user: user, method: method, urgency: c.Urgency, page: len(ins) > 0,
		doc: store.PersonDoc(user.ID), unguarded: true, kind: push.KindPage, collapse: c.Collapse, open: len(ins),
		letter: cardName(c.Kind), refs: refs, reason: cardName(c.Kind), at: c.At, deadline: c.Deadline,
		details: map[string]string{"card": c.ID}, again: c.Number > 1,
		privacy: level, lines: digestLines(c, ins, n.serviceName, level),
	}
	say := func(level roster.Privacy) words {
		if c.Kind == attention.CardDigest {
			return digestWords(c, len(ins), digestLines(c, ins, n.serviceName, level))
		}
		return stormWords(ins, user.ID, n.serviceName, level)
	}
	if onlyObserved(ins, user.ID) {
		e.shadow = schedule.Observe
	}
	e.words, e.sealed = say(level), n.fuller(level, nil, say)
	e.sound, e.level = loudness(c.Urgency, c.Sound, c.Loud)
	fresh := first(c, items)
	if lead, ok := leader(items, fresh); ok {
		item := items[lead]
		e.doc, e.generation, e.unguarded, e.incident = store.IncidentDoc(item.Incident), ins[lead].Generation, false, ins[lead]
		for _, i := range fresh {
			if i != lead {
				e.with = append(e.with, store.Send{Doc: store.IncidentDoc(items[i].Incident), Generation: ins[i].Generation})
			}
		}
	}
	if c.Kind == attention.CardStorm && isPush(method) {
		e.method.Device = n.onlyDevice(user, items)
	}
	e.failed = func(ctx context.Context, f failure) {
		for _, i := range fresh {
			item := items[i]
			n.undelivered(ctx, item.Incident, incident.Undelivered{
				User: user.ID, Method: item.Method, Generation: ins[i].Generation, Reason: f.reason, Passing: f.passing,
			})
		}
	}
	// Sent by one way is sent: an update that is out on one phone must not hand
	// its sound to the next one because another phone's provider is down.
	e.accepted = func(ctx context.Context) { n.sent(ctx, user.ID, c.ID) }
	e.ended = func(ctx context.Context, r result) { n.cardEnded(ctx, user.ID, c, r) }
	return e
}

// onlyObserved reports whether there is nothing on the card that the person may
// acknowledge.
func onlyObserved(ins []*incident.Incident, u roster.UserID) bool {
	return len(ins) > 0 && !slices.ContainsFunc(ins, func(in *incident.Incident) bool { return modeOf(in, u) != schedule.Observe })
}

// rewordAfter keeps a card whose incidents change all the time from being
// worded in a tight loop.
const rewordAfter = 50 * time.Millisecond

// cardEnded takes a card out of the outbox. When the last look refused it, as
// the incident that it went out for has just been acknowledged, what is left of
// it is worded anew.
func (n *Notifier) cardEnded(ctx context.Context, u roster.UserID, c attention.Card, r result) {
	n.cards.Delete(c.ID)
	switch {
	case r.stopped:
	case r.notNeeded > 0 && r.accepted == 0 && r.failed == 0 && n.superseded(ctx, u, c):
	case r.notNeeded > 0 && r.accepted == 0 && r.failed == 0 && n.now().Before(c.Deadline) && wait(ctx, rewordAfter):
		n.card(ctx, u, c)
	default:
		n.sent(ctx, u, c.ID)
	}
}

// superseded reports whether the card is out of the outbox: a later update of
// the storm card has taken its place.
func (n *Notifier) superseded(ctx context.Context, u roster.UserID, c attention.Card) bool {
	p, err := n.o.Ledger.Person(ctx, u)
	return err != nil || !slices.ContainsFunc(p.Outbox, func(o attention.Card) bool { return o.ID == c.ID })
}

// sent reports a card as done.
func (n *Notifier) sent(ctx context.Context, u roster.UserID, card string) {
	if _, err := n.attend(ctx, u, attention.Sent{Card: card}, nil); err != nil && ctx.Err() == nil {
		n.log.WarnContext(ctx, "card not reported sent; it may come again", slog.String("user", string(u)), slog.String("card", card), slog.Any("error", err))
	}
}

// first returns which items the card is the first to show.
func first(c attention.Card, items []attention.Item) []int {
	var at []int
	for i, item := range items {
		if c.Kind != attention.CardStorm || item.Card == c.Number {
			at = append(at, i)
		}
	}
	return at
}

// leader is the newest of the incidents that the card shows first, or of all.
func leader(items []attention.Item, fresh []int) (int, bool) {
	if len(fresh) > 0 {
		return fresh[len(fresh)-1], true
	}
	return len(items) - 1, len(items) > 0
}

// onlyDevice returns the one device that every item of a storm is meant for,
// "" when there is more than one.
func (n *Notifier) onlyDevice(user roster.User, items []attention.Item) roster.DeviceID {
	var only roster.DeviceID
	for i, item := range items {
		m, _ := user.Method(item.Method)
		if m.Device == "" || (i > 0 && m.Device != only) {
			return ""
		}
		only = m.Device
	}
	return only
}

// clearStorm takes the storm card away when nothing on it needs the person. An
// update that a later one has replaced says nothing: that one may show incidents
// which are open.
func (n *Notifier) clearStorm(user roster.User, method roster.Method, c attention.Card, badge *int) envelope {
	return envelope{
		work: c.ID, user: user, method: method, urgency: incident.Low, doc: store.PersonDoc(user.ID), unguarded: true,
		kind: push.KindClear, words: words{Title: "All handled"}, collapse: c.Collapse, at: c.At, deadline: c.Deadline,
		pagedAt: c.At, badge: badge, privacy: n.level(user),
		still: func(ctx context.Context) error {
			if n.superseded(ctx, user.ID, c) {
				return push.ErrNotNeeded
			}
			return nil
		},
		ended: func(ctx context.Context, r result) { n.cardEnded(ctx, user.ID, c, r) },
	}
}

func digestWords(c attention.Card, incidents int, lines []string) words {
	w := words{Title: count(len(c.Items)+len(c.Lines)+c.More, "message from quiet hours", "messages from quiet hours")}
	if incidents > 0 {
		w.Subtitle = count(incidents, "incident is open", "incidents are open")
	}
	w.Body = cut(strings.Join(lines, " · "), maxLine)
	return w
}

func cardName(k attention.CardKind) string {
	switch k {
	case attention.CardStorm:
		return "storm"
	case attention.CardBundle, attention.CardFallback:
		return "summary"
	case attention.CardDigest:
		return "digest"
	}
	return "other"
}

// Listed returns the incidents that the message of a delivery stood for, with
// the versions that the person saw: what "acknowledge all" on it acts on. For
// the page of one incident that is this incident. NotFound for an unknown delivery.
func (n *Notifier) Listed(ctx context.Context, delivery string) ([]attention.Item, error) {
	doc, dv, ok, err := n.o.Ledger.Delivery(ctx, delivery)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fault.New(fault.NotFound, "DELIVERY_NOT_FOUND", "there is no delivery of that id", "delivery", delivery)
	}
	if strings.Contains(dv.Work, "#") {
		p, err := n.o.Ledger.Person(ctx, dv.User)
		if err != nil {
			return nil, err
		}
		if number, ok := p.UpdateNumber(dv.Work); ok {
			return p.CardItems(number), nil
		}
	}
	if doc.Incident == "" {
		return nil, nil
	}
	return []attention.Item{{Incident: doc.Incident, Urgency: dv.Urgency, Method: dv.Method, At: dv.Queued}}, nil
}
