package attention

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// onStorm reports whether the incident is on the storm card.
func (t *turn) onStorm(id incident.ID) bool {
	return slices.ContainsFunc(t.p.Open, func(i Item) bool { return i.Incident == id && i.Card != 0 })
}

// join puts an incident onto the storm card, to be shown with its next update,
// and notes that its sound is owed. One that is there already is shown again:
// its page waits for a receipt as any other.
func (t *turn) join(item Item) {
	p := t.p
	if p.Storm.Start.IsZero() {
		p.Storm.Start = t.now // not of the last sound: a storm may be over and another begin before the next
	}
	item.Card, item.Owed = -1, true
	if i := slices.IndexFunc(p.Open, func(o Item) bool { return o.Incident == item.Incident }); i >= 0 {
		item.Loud = item.Loud || p.Open[i].Owed && p.Open[i].Loud
	}
	p.Open = put(p.Open, item)
	t.refresh()
}

// refresh has the storm card shown again, at once or as soon as it may be. The
// spacing delays silent updates only.
func (t *turn) refresh() {
	s := &t.p.Storm
	space := time.Second
	if s.Sent >= quickUpdates {
		space = 4 * time.Second
	}
	if next := s.Last.Add(space); t.now.Before(next) {
		s.Update = next
		return
	}
	t.update(false)
}

// update shows the storm card now. Within one decision it makes one card, the last.
func (t *turn) update(sound bool) {
	p, s := t.p, &t.p.Storm
	t.sounded = t.sounded || sound
	name := p.stormName()
	if i := slices.IndexFunc(t.cards, func(c Card) bool { return c.Kind == CardStorm && c.Collapse == name }); i >= 0 {
		t.cards = slices.Delete(t.cards, i, i+1)
		s.Sent-- // the number of the card that this one takes the place of
	}
	s.Sent++
	s.Last, s.Update = t.now, time.Time{}
	c := Card{
		ID: p.CardID(s.Sent), Kind: CardStorm, Method: roster.PushAll, Urgency: incident.Low, Number: s.Sent,
		Collapse: name, Sound: t.sounded, At: t.now, Deadline: t.now.Add(cardLife), Retry: t.now.Add(retryEvery),
	}
	t.supersede(&c)
	for i := range p.Open {
		o := &p.Open[i]
		if o.Card == 0 {
			continue
		}
		c.Urgency = min(c.Urgency, o.Urgency)
		if o.Card == -1 {
			o.Card = s.Sent
		}
		if t.sounded {
			c.Loud = c.Loud || o.Owed && o.Loud
			o.Owed, o.Loud = false, false
		}
	}
	if t.sounded {
		p.Owed = time.Time{}
	}
	p.Outbox = append(p.Outbox, c)
	c.Items = p.CardItems(s.Sent)
	t.cards = append(t.cards, c)
	t.changed = true
}

// supersede replaces updates that are not known to have been sent. What they
// were to show first, and their sound, go over to the new one.
func (t *turn) supersede(c *Card) {
	p := t.p
	p.Outbox = slices.DeleteFunc(p.Outbox, func(old Card) bool {
		if old.Kind != CardStorm || old.Collapse != c.Collapse {
			return false
		}
		c.Sound, c.Loud = c.Sound || old.Sound, c.Loud || old.Loud
		for i := range p.Open {
			if p.Open[i].Card == old.Number {
				p.Open[i].Card = -1
			}
		}
		return true
	})
}

// shrink follows the settling of an incident on the storm card: its count goes
// down, and with the last one the card goes quiet.
func (t *turn) shrink() {
	p := t.p
	left, owed := 0, false
	for i := range p.Open {
		if p.Open[i].Card != 0 {
			left++
			owed = owed || p.Open[i].Owed
		}
	}
	if !owed {
		p.Owed = time.Time{}
	}
	if left > 0 {
		t.refresh()
		return
	}
	if p.Storm.Sent > 0 {
		for i := range p.Outbox { // a sound that was still on its way is not needed either
			if p.Outbox[i].Kind == CardStorm {
				p.Outbox[i].Sound, p.Outbox[i].Loud = false, false
			}
		}
		t.update(false)
	}
	p.Storm = Storm{}
}

// nextUpdate returns the number of the update that shows, or showed, what has joined.
func (t *turn) nextUpdate() int {
	if t.p.Storm.Update.IsZero() {
		return t.p.Storm.Sent
	}
	return t.p.Storm.Sent + 1
}

// CardItems returns what update number n of the storm card listed and still
// needs the person: what "acknowledge all" on that card acts on. It never
// holds an incident that joined later.
func (p *Person) CardItems(n int) []Item {
	var items []Item
	for _, i := range p.Open {
		if i.Card > 0 && i.Card <= n {
			items = append(items, i)
		}
	}
	return items
}

// stormName is the collapse id of the storm card, within Apple's 64 bytes.
func (p *Person) stormName() string {
	user := string(p.User)
	user = user[:min(len(user), 40)]
	return "storm-" + user + "-" + strconv.FormatInt(p.Storm.Start.UnixMilli(), 36)
}

// CardID names update number n of the storm card: the work that its deliveries are made of.
func (p *Person) CardID(n int) string { return p.stormName() + "#" + strconv.Itoa(n) }

// UpdateNumber returns the number of the storm card's update that a card id
// names; false when it is not one of the present storm's.
func (p *Person) UpdateNumber(card string) (int, bool) {
	name, number, ok := strings.Cut(card, "#")
	if !ok || p.Storm.Start.IsZero() || name != p.stormName() {
		return 0, false
	}
	n, err := strconv.Atoi(number)
	return n, err == nil && n > 0 && n <= p.Storm.Sent
}
