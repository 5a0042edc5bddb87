package attention

import (
	"fmt"
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/civil"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Decide returns what the command leads to. It changes none of its arguments;
// a person who was never told anything is &Person{User: id}.
func Decide(p *Person, cmd Command, view View, now time.Time) (Decision, error) {
	t := &turn{p: p.clone(), view: view, now: now}
	if now.Before(p.Updated) {
		t.now = p.Updated
	}
	switch c := cmd.(type) {
	case Page:
		if c.Work == "" || c.Item.Incident == "" {
			return Decision{}, fault.New(fault.Internal, "PAGE_UNNAMED", "a page needs its work item and its incident")
		}
		t.once(c.Work, func() Outcome { return t.page(c) })
	case Notice:
		if c.Work == "" {
			return Decision{}, fault.New(fault.Internal, "NOTICE_UNNAMED", "a notice needs its work item")
		}
		t.once(c.Work, func() Outcome { return t.notice(c) })
	case Settle:
		t.settle(c.Incident)
	case Sent:
		t.sent(c.Card)
	case Tick:
		t.tick()
	default:
		return Decision{}, fault.New(fault.Internal, "COMMAND_UNKNOWN", fmt.Sprintf("no rule for the command %T", cmd))
	}
	if t.changed {
		t.p.Updated = t.now
		t.forget()
	}
	return Decision{Person: t.p, Changed: t.changed, Outcome: t.outcome, Cards: t.cards}, nil
}

// turn is one decision while it is being made.
type turn struct {
	p       *Person // a copy: what it becomes
	view    View
	now     time.Time
	changed bool
	outcome Outcome
	cards   []Card
	sounded bool // the storm card sounds, by this decision
}

// once decides a work item, or finds what was decided before.
func (t *turn) once(work string, decide func() Outcome) {
	if i := slices.IndexFunc(t.p.Recent, func(r Recent) bool { return r.Work == work }); i >= 0 {
		t.outcome = t.p.Recent[i].Outcome
		return
	}
	t.outcome = decide()
	t.outcome.Open = len(t.p.Open)
	t.p.Recent = append(t.p.Recent, Recent{Work: work, At: t.now, Outcome: t.outcome})
	t.changed = true
}

// page decides one contact step.
func (t *turn) page(c Page) Outcome {
	item := c.Item
	item.At, item.Card, item.Owed = t.now, 0, false
	if item.Urgency == incident.Low {
		if until, quiet := t.quiet(); quiet {
			return t.hold(Line{At: t.now, Incident: item.Incident, Method: item.Method, Item: item}, until)
		}
	}
	t.unhold(item.Incident)
	kind := t.view.kind(item.Method)
	switch {
	case c.Reason == incident.PageNoReceipt:
		if until, running := t.collect(BundleFallback, item, FallbackEvery); running {
			return Outcome{Verdict: Bundled, Until: until}
		}
	case item.Urgency == incident.Low:
		if until, running := t.collect(BundleLow, item, LowWindow); running {
			return Outcome{Verdict: Bundled, Until: until}
		}
	case kind == roster.Email:
		if until, running := t.collect(BundleMail, item, MailWindow); running {
			return Outcome{Verdict: Bundled, Until: until}
		}
	}
	if kind == roster.Push {
		return t.push(item, renotify(c.Reason))
	}
	t.show(item)
	return Outcome{Verdict: SendNow}
}

// renotify reports whether a page repeats one that went out before.
func renotify(r incident.PageReason) bool {
	switch r {
	case incident.PageStep, incident.PageReminder, incident.PageNoReceipt, incident.PageRejected:
		return true
	case incident.PageAssigned, incident.PageFallback, incident.PageCatchAll, incident.PageResponder:
	}
	return false
}

// push decides how a page is heard. A page that may not sound now goes onto
// the storm card, and its sound is owed. What is on that card stays there: a
// re-notify step of one of its incidents sounds the card, once for all of them.
func (t *turn) push(item Item, again bool) Outcome {
	on := t.onStorm(item.Incident)
	sound := t.maySound(item.Urgency)
	if !on && (sound || again) {
		t.heard(item.Urgency)
		t.show(item)
		return Outcome{Verdict: SendNow, Sound: true}
	}
	t.join(item)
	if sound {
		t.heard(item.Urgency)
		t.update(true)
	} else {
		t.owe()
	}
	return Outcome{Verdict: OnCard, Sound: sound, Card: t.p.CardID(t.nextUpdate())}
}

// maySound reports whether the limit allows a sound now.
func (t *turn) maySound(u incident.Urgency) bool {
	last := t.p.Sound
	return last.At.IsZero() || !t.now.Before(last.At.Add(SoundEvery)) || u < last.Urgency
}

// heard notes that the person hears something now.
func (t *turn) heard(u incident.Urgency) { t.p.Sound = Sound{At: t.now, Urgency: u} }

// owe notes that a sound was withheld.
func (t *turn) owe() {
	if t.p.Owed.IsZero() {
		t.p.Owed = t.now
	}
}

// quiet returns when the person's quiet hours end, if it is one of them.
func (t *turn) quiet() (time.Time, bool) {
	zone := t.view.Zone
	if zone == nil {
		zone = time.UTC
	}
	return civil.Daily(t.view.User.Quiet.Start, t.view.User.Quiet.End).Until(t.now, zone)
}

// hold puts a line into the digest at the end of quiet hours.
func (t *turn) hold(l Line, until time.Time) Outcome {
	p := t.p
	if l.Incident != "" && l.Text == "" {
		p.Held = slices.DeleteFunc(p.Held, func(h Line) bool {
			return h.Incident == l.Incident && h.Method == l.Method && h.Text == ""
		})
	}
	p.Held = append(p.Held, l)
	p.Release = until
	t.changed = true
	return Outcome{Verdict: HeldBack, Until: until}
}

// unhold takes a page of the incident out of the digest.
func (t *turn) unhold(id incident.ID) {
	t.p.Held = slices.DeleteFunc(t.p.Held, func(l Line) bool { return l.Incident == id && l.Text == "" })
	if len(t.p.Held) == 0 {
		t.p.Release = time.Time{}
	}
}

// collect puts the item into the running window of its kind and method. When
// there is none it opens one and leaves the item to be sent at once.
func (t *turn) collect(kind BundleKind, item Item, window time.Duration) (time.Time, bool) {
	p := t.p
	i := slices.IndexFunc(p.Bundles, func(b Bundle) bool { return b.Kind == kind && b.Method == item.Method })
	if i >= 0 && (t.now.Before(p.Bundles[i].Until) || len(p.Bundles[i].Items) > 0) {
		p.Bundles[i].Items = put(p.Bundles[i].Items, item)
		return p.Bundles[i].Until, true
	}
	if i < 0 {
		p.Bundles = append(p.Bundles, Bundle{Kind: kind, Method: item.Method})
		i = len(p.Bundles) - 1
	}
	p.Bundles[i].Until = t.now.Add(window)
	return time.Time{}, false
}

// notice decides something that needs nobody at once.
func (t *turn) notice(c Notice) Outcome {
	if c.Every > 0 && c.Key != "" {
		i := slices.IndexFunc(t.p.Told, func(told Told) bool { return told.Key == c.Key })
		if i >= 0 && t.now.Before(t.p.Told[i].At.Add(c.Every)) {
			return Outcome{Verdict: Repeated, Until: t.p.Told[i].At.Add(c.Every)}
		}
		t.p.Told = slices.DeleteFunc(t.p.Told, func(told Told) bool { return told.Key == c.Key })
		t.p.Told = append(t.p.Told, Told{Key: c.Key, At: t.now})
	}
	if until, quiet := t.quiet(); quiet && !c.Urgent {
		return t.hold(Line{At: t.now, Incident: c.Incident, Method: c.Method, Text: c.Text}, until)
	}
	sound := c.Urgent && t.maySound(incident.High)
	if sound {
		t.heard(incident.High)
	}
	return Outcome{Verdict: SendNow, Sound: sound}
}

// settle forgets an incident that does not need the person any more.
func (t *turn) settle(id incident.ID) {
	p, same := t.p, func(i Item) bool { return i.Incident == id }
	if i := slices.IndexFunc(p.Open, same); i >= 0 {
		carded := p.Open[i].Card != 0
		p.Open = slices.Delete(p.Open, i, i+1)
		t.changed = true
		if carded {
			t.shrink()
		}
	}
	for i := range p.Bundles {
		n := len(p.Bundles[i].Items)
		p.Bundles[i].Items = slices.DeleteFunc(p.Bundles[i].Items, same)
		t.changed = t.changed || len(p.Bundles[i].Items) < n
	}
	n := len(p.Held)
	t.unhold(id)
	t.changed = t.changed || len(p.Held) < n
	for i := range p.Outbox {
		if c := &p.Outbox[i]; slices.ContainsFunc(c.Items, same) {
			c.Items = slices.DeleteFunc(slices.Clone(c.Items), same)
			t.changed = true
		}
	}
}

// sent takes a card out of the outbox.
func (t *turn) sent(card string) {
	n := len(t.p.Outbox)
	t.p.Outbox = slices.DeleteFunc(t.p.Outbox, func(c Card) bool { return c.ID == card })
	t.changed = len(t.p.Outbox) < n
}

// show notes that the incident has a message of its own.
func (t *turn) show(item Item) {
	if t.onStorm(item.Incident) {
		return // told by another way beside: its card stays
	}
	t.p.Open = put(t.p.Open, item)
}

// put adds the item, in place of an older one of the same incident.
func put(items []Item, item Item) []Item {
	items = slices.DeleteFunc(items, func(i Item) bool { return i.Incident == item.Incident })
	return append(items, item)
}

// forget drops what no decision needs any more, so that the document stays small.
func (t *turn) forget() {
	p := t.p
	old := t.now.Add(-keepRecent)
	p.Recent = slices.DeleteFunc(p.Recent, func(r Recent) bool { return r.At.Before(old) })
	if n := len(p.Recent) - maxRecent; n > 0 {
		p.Recent = slices.Delete(p.Recent, 0, n)
	}
	p.Bundles = slices.DeleteFunc(p.Bundles, func(b Bundle) bool { return len(b.Items) == 0 && !t.now.Before(b.Until) })
	p.Told = slices.DeleteFunc(p.Told, func(told Told) bool { return t.now.Sub(told.At) > keepTold })
	for i := 0; len(p.Open) > maxOpen && i < len(p.Open); {
		if p.Open[i].Owed {
			i++
			continue
		}
		p.Open = slices.Delete(p.Open, i, i+1)
	}
}
