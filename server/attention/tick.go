package attention

import (
	"slices"
	"strconv"
	"time"

	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// tick decides whatever is due: what has settled meanwhile first, so that
// nobody hears of it again.
func (t *turn) tick() {
	for _, id := range t.p.Waiting() {
		if !t.needs(id) {
			t.settle(id)
		}
	}
	t.expire()
	t.flush()
	t.pay()
	if t.due(t.p.Storm.Update) {
		t.update(false)
	}
	t.digest()
	t.again()
}

func (t *turn) needs(id incident.ID) bool { return t.view.Needs == nil || t.view.Needs(id) }

func (t *turn) due(at time.Time) bool { return !at.IsZero() && !t.now.Before(at) }

// expire forgets pages so old that whoever asks for the person has paged again since.
func (t *turn) expire() {
	for _, i := range slices.Clone(t.p.Open) {
		if t.now.Sub(i.At) > keepOpen && !i.Owed {
			t.settle(i.Incident)
		}
	}
}

// pay makes the owed sound, for what still needs the person. Low urgency does
// not sound in quiet hours that have begun since: it waits for the morning.
func (t *turn) pay() {
	p := t.p
	if !t.due(p.payAt()) {
		return
	}
	urgency, owed := incident.Low, false
	for i := range p.Open {
		if p.Open[i].Owed {
			urgency, owed = min(urgency, p.Open[i].Urgency), true
		}
	}
	if !owed {
		p.Owed, t.changed = time.Time{}, true
		return
	}
	if until, quiet := t.quiet(); quiet && urgency == incident.Low {
		for i := range p.Open {
			if o := &p.Open[i]; o.Owed {
				o.Owed = false
				t.hold(Line{At: o.At, Incident: o.Incident, Method: o.Method, Item: *o}, until)
			}
		}
		p.Owed = time.Time{}
		return
	}
	t.heard(urgency)
	t.update(true)
}

// flush sends the bundles whose window has ended. The message that goes out
// opens the next window; a window that collected nothing is the end of it.
func (t *turn) flush() {
	until, quiet := t.quiet()
	for i := range t.p.Bundles {
		b := &t.p.Bundles[i]
		if !t.due(b.Until) {
			continue
		}
		t.changed = true
		items := b.Items
		b.Items = nil
		switch {
		case len(items) == 0: // forgotten at the end of the decision
		case b.Kind == BundleLow && quiet:
			for _, item := range items {
				t.hold(Line{At: item.At, Incident: item.Incident, Method: item.Method, Item: item}, until)
			}
		default:
			t.sendBundle(b.Kind, b.Method, items)
			b.Until = t.now.Add(window(b.Kind))
		}
	}
}

func window(k BundleKind) time.Duration {
	switch k {
	case BundleLow:
		return LowWindow
	case BundleFallback:
		return FallbackEvery
	case BundleMail:
	}
	return MailWindow
}

// sendBundle sends what a window collected: pushes through the storm card, so
// that the limit on sounds holds for them too; anything else as one message.
func (t *turn) sendBundle(kind BundleKind, method roster.MethodID, items []Item) {
	if t.view.kind(method) == roster.Push {
		urgency := incident.Low
		for _, item := range items {
			urgency = min(urgency, item.Urgency)
			t.join(item)
		}
		if t.maySound(urgency) {
			t.heard(urgency)
			t.update(true)
			return
		}
		t.owe()
		return
	}
	c := Card{
		ID: t.p.cardID("bundle", method, t.now), Kind: CardBundle, Method: method, Urgency: incident.Low,
		Items: items, At: t.now, Deadline: t.now.Add(cardLife), Retry: t.now.Add(retryEvery),
	}
	if kind == BundleFallback {
		c.Kind = CardFallback
	}
	for _, item := range items {
		c.Urgency = min(c.Urgency, item.Urgency)
		t.show(item)
	}
	t.send(c)
}

func (t *turn) send(c Card) {
	t.p.Outbox = append(t.p.Outbox, c)
	t.cards = append(t.cards, c)
	t.changed = true
}

// digest sends what quiet hours held, one message a method.
func (t *turn) digest() {
	p := t.p
	if !t.due(p.Release) {
		return
	}
	t.changed = true
	if until, quiet := t.quiet(); quiet { // the person moved them meanwhile
		p.Release = until
		return
	}
	lines := p.Held
	p.Held, p.Release = nil, time.Time{}
	for len(lines) > 0 {
		method := lines[0].Method
		var rest, mine []Line
		for _, l := range lines {
			if l.Method == method {
				mine = append(mine, l)
			} else {
				rest = append(rest, l)
			}
		}
		t.sendDigest(method, mine)
		lines = rest
	}
}

func (t *turn) sendDigest(method roster.MethodID, lines []Line) {
	c := Card{
		ID: t.p.cardID("digest", method, t.now), Kind: CardDigest, Method: method, Urgency: incident.Low,
		At: t.now, Deadline: t.now.Add(digestLife), Retry: t.now.Add(retryEvery),
		More: max(0, len(lines)-DigestLines),
	}
	c.Collapse = "digest-" + strconv.FormatInt(t.now.UnixMilli(), 36)
	for i, l := range lines {
		if l.Text == "" {
			t.show(l.Item)
		}
		switch {
		case i >= DigestLines:
		case l.Text == "":
			c.Items = append(c.Items, l.Item)
		default:
			c.Lines = append(c.Lines, l)
		}
	}
	if t.view.kind(method) == roster.Push && t.maySound(incident.Low) {
		t.heard(incident.Low)
		c.Sound = true
	}
	t.send(c)
}

// longPause is a time without ticks after which cards were in nobody's hand:
// the owner was dead, or paging held.
const longPause = time.Minute

// again gives cards out again that nobody has reported sent, until their
// deadline. One that passed its deadline in a pause gets a new one, when
// somebody still needs what is on it: it never had the time that it was given.
func (t *turn) again() {
	p := t.p
	for i := range p.Outbox {
		c := &p.Outbox[i]
		if !t.due(c.Retry) {
			continue
		}
		t.changed = true
		if !t.now.Before(c.Deadline) && t.now.Sub(c.Retry) > longPause && len(t.items(c))+len(c.Lines) > 0 {
			c.Deadline = t.now.Add(life(c.Kind))
		}
		c.Tries++
		c.Retry = t.now.Add(retryEvery << min(c.Tries, 3))
		out := *c
		out.Items = t.items(c)
		if t.now.Before(c.Deadline) {
			t.cards = append(t.cards, out)
		}
	}
	p.Outbox = slices.DeleteFunc(p.Outbox, func(c Card) bool { return !t.now.Before(c.Deadline) })
}

// items returns what the card lists.
func (t *turn) items(c *Card) []Item {
	if c.Kind == CardStorm && c.Collapse == t.p.stormName() {
		return t.p.CardItems(c.Number)
	}
	return c.Items
}

func life(k CardKind) time.Duration {
	if k == CardDigest {
		return digestLife
	}
	return cardLife
}

// cardID names a card; two of one kind and method are never made at the same instant.
func (p *Person) cardID(kind string, method roster.MethodID, at time.Time) string {
	return kind + "-" + string(p.User) + "-" + string(method) + "-" + strconv.FormatInt(at.UnixMilli(), 36)
}
