package check

import (
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/ledger"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// stuck is I4: every open incident that nobody has taken wants to be decided
// again, and the index of timers knows when. Nothing that was due has passed.
func (c *checker) stuck() {
	for _, r := range c.f.Records {
		in := r.Incident
		if !in.Open() {
			continue
		}
		c.held("I4")
		due, at := in.Due(), c.f.Timers[in.ID]
		switch {
		case due.IsZero():
			if in.Status == incident.Triggered {
				c.broken("I4", in.ID, in.Updated, "nobody has taken it, and nothing will happen any more")
			}
		case at.IsZero():
			c.broken("I4", in.ID, in.Updated, "it is due at %s, and no timer is armed", clock(due))
		case at.After(due.Add(c.t.Early)):
			c.broken("I4", in.ID, in.Updated, "it is due at %s, and its timer is armed for %s", clock(due), clock(at))
		}
		if late := c.by(due); !due.IsZero() && c.f.At.After(late) {
			c.broken("I4", in.ID, due, "it was due at %s, and by %s nothing had happened", clock(due), clock(c.f.At))
		}
	}
}

// paged is I5: for every contact step that ran, its person was asked by a push
// or a mail in time, unless somebody had taken the incident by then.
func (c *checker) paged() {
	pushes := map[string][]ledger.Push{} // by person
	for _, p := range c.b.Pushes {
		pushes[p.Person] = append(pushes[p.Person], p)
	}
	for _, r := range c.f.Records {
		for i, e := range r.Timeline {
			if e.Type != incident.EntryNotified || e.Step != roster.PushAll || len(e.Users) == 0 {
				continue
			}
			by, who := c.by(e.At), string(e.Users[0])
			asked := slices.ContainsFunc(pushes[who], func(p ledger.Push) bool {
				return (p.Incident == string(r.Incident.ID) || p.Many()) && p.At.After(e.At.Add(-c.t.Early)) && p.At.Before(by)
			})
			if !asked && (c.f.At.Before(by) || movedOn(r.Timeline[i+1:], by)) {
				continue // silenced before its time was over, or that is not over yet
			}
			c.held("I5")
			if !asked {
				c.broken("I5", r.Incident.ID, e.At, "%s was to be paged at %s, and no push to a phone of theirs was asked for by %s", who, clock(e.At), clock(by))
			}
		}
	}
}

// movedOn reports whether the incident silenced its pages before an instant.
func movedOn(rest []incident.Entry, before time.Time) bool {
	return slices.ContainsFunc(rest, func(e incident.Entry) bool {
		switch e.Type {
		case incident.EntryAcknowledged, incident.EntryUnacknowledged, incident.EntryEscalated, incident.EntryResolved, incident.EntrySnoozed,
			incident.EntryLoopRepeated, incident.EntryMergedOut, incident.EntryUrgencyChanged, incident.EntryAssigned:
			return e.At.Before(before)
		default:
			return false
		}
	})
}

// order is I6: levels are asked in their order, none early, none late, none
// skipped, and loops are counted.
func (c *checker) order() {
	for _, r := range c.f.Records {
		w := walk{c: c, id: r.Incident.ID}
		for i, e := range r.Timeline {
			if byHand(r.Timeline[i:]) {
				w.armed = false // a person ended the level, and the pass with it
			}
			w.step(e)
		}
		if r.Incident.Status == incident.Triggered && w.armed && !r.Incident.Timers.Escalate.IsZero() {
			if by := c.by(w.asked.Add(c.t.Level)); c.f.At.After(by) {
				c.broken("I6", r.Incident.ID, w.asked, "level %d was asked at %s, and by %s the next one was not", w.level+1, clock(w.asked), clock(c.f.At))
			}
		}
	}
}

// byHand reports whether a person escalates next: from the last level that
// begins another pass, which is told before.
func byHand(rest []incident.Entry) bool {
	if len(rest) > 1 && rest[0].Type == incident.EntryLoopRepeated {
		rest = rest[1:]
	}
	return rest[0].Type == incident.EntryEscalated && rest[0].Cause == incident.CauseManual
}

// walk follows one timeline over the levels of its policy.
type walk struct {
	c     *checker
	id    incident.ID
	level int
	loop  int
	asked time.Time // when the level was asked
	armed bool      // the level gives way if nobody takes the incident
	named bool      // people were asked by name: no level is asked
}

func (w *walk) step(e incident.Entry) {
	switch e.Type {
	case incident.EntryAssigned:
		if e.Count == 1 { // beside the others: nothing else moves
			return
		}
		w.level, w.asked = e.Level, e.At
		w.named = e.Via == incident.ViaDirect
		w.armed = e.Via == incident.ViaPolicy
	case incident.EntryTriggered, incident.EntryReopened:
		w.loop, w.armed = 0, false
	case incident.EntryAcknowledged, incident.EntrySnoozed, incident.EntryResolved, incident.EntryUrgencyChanged:
		w.armed = false
	case incident.EntryExhausted:
		if w.timely(e.At) && (w.level != w.c.t.Last || w.loop != w.c.t.Loops) {
			w.c.broken("I6", w.id, e.At, "the policy was given up after level %d of pass %d, and it has %d levels and %d passes", w.level+1, w.loop+1, w.c.t.Last+1, w.c.t.Loops+1)
		}
		w.armed = false
	case incident.EntryLoopRepeated:
		if w.timely(e.At) && (w.level != w.c.t.Last || e.Loop != w.loop+1) {
			w.c.broken("I6", w.id, e.At, "pass %d began after level %d of pass %d", e.Loop+1, w.level+1, w.loop+1)
		}
		w.loop = e.Loop
	case incident.EntryEscalated:
		if e.Cause == incident.CauseTimeout && !w.named && w.timely(e.At) && (e.From != w.level || e.Level != w.level+1) {
			w.c.broken("I6", w.id, e.At, "level %d gave way to level %d, and %d was asked", e.From+1, e.Level+1, w.level+1)
		}
	default:
	}
}

// timely holds an end of a level against the clock. False: it was not the
// level's own time that ended it.
func (w *walk) timely(at time.Time) bool {
	if !w.armed {
		return false
	}
	w.c.held("I6")
	due := w.asked.Add(w.c.t.Level)
	if at.Before(due.Add(-w.c.t.Early)) {
		w.c.broken("I6", w.id, at, "level %d was asked at %s and gave way at %s, %s early", w.level+1, clock(w.asked), clock(at), due.Sub(at))
	}
	if by := w.c.by(due); at.After(by) {
		w.c.broken("I6", w.id, at, "level %d was asked at %s and gave way at %s, %s late", w.level+1, clock(w.asked), clock(at), at.Sub(due))
	}
	return true
}

// once is I7: one level gives way once in a pass.
func (c *checker) once() {
	type turn struct{ loop, from int }
	for _, r := range c.f.Records {
		seen := map[turn]time.Time{}
		for _, e := range r.Timeline {
			switch e.Type {
			case incident.EntryAcknowledged, incident.EntryUnacknowledged, incident.EntryReopened, incident.EntrySnoozed, incident.EntryUrgencyChanged:
				clear(seen)
			case incident.EntryEscalated:
				if e.Cause == incident.CauseManual || e.Cause == incident.CauseNobody {
					clear(seen)
					continue
				}
				c.held("I7")
				t := turn{e.Loop, e.From}
				if before, ok := seen[t]; ok {
					c.broken("I7", r.Incident.ID, e.At, "level %d of pass %d gave way at %s and at %s", e.From+1, e.Loop+1, clock(before), clock(e.At))
				}
				seen[t] = e.At
			default:
			}
		}
	}
}

// span is a stretch of time.
type span struct{ from, to time.Time }

// quiets reads the stretches in which no page of an incident may begin out of its
// timeline; an open end is the end of the run.
func (c *checker) quiets(timeline []incident.Entry) []span {
	var all []span
	var since time.Time
	for _, e := range timeline {
		switch e.Type {
		case incident.EntryAcknowledged, incident.EntrySnoozed, incident.EntryResolved:
			if since.IsZero() {
				since = e.At
			}
		case incident.EntryUnacknowledged, incident.EntryReopened, incident.EntryEscalated, incident.EntryAssigned, incident.EntryResponderAsked:
			if !since.IsZero() {
				all = append(all, span{since, e.At})
			}
			since = time.Time{}
		default:
		}
	}
	if !since.IsZero() {
		all = append(all, span{since, c.f.At})
	}
	return all
}

// silence is I8: no page of an incident reaches a push service later after it
// was taken than a send may take that had begun; and none begins after the
// person was told that it is taken.
func (c *checker) silence() {
	pushes := map[string][]ledger.Push{}
	for _, p := range c.b.Pushes {
		if p.Kind == "page" && !p.Many() {
			pushes[p.Incident] = append(pushes[p.Incident], p)
		}
	}
	acks := map[string][]ledger.Act{}
	for _, a := range c.b.Acts {
		if a.Verb == "acknowledge" && a.Taken {
			acks[a.Incident] = append(acks[a.Incident], a)
		}
	}
	for _, r := range c.f.Records {
		id := string(r.Incident.ID)
		for _, q := range c.quiets(r.Timeline) {
			c.held("I8")
			for _, p := range pushes[id] {
				allowed := q.from.Add(c.t.Silence + c.paused(q.from, p.At))
				if p.At.After(allowed) && p.At.Before(q.to.Add(-c.t.Early)) {
					c.broken("I8", r.Incident.ID, p.At, "it was taken at %s, and a page went to %s at %s", clock(q.from), p.Person, clock(p.At))
				}
			}
			for _, a := range acks[id] {
				if a.Answered.After(q.from) && a.Answered.Before(q.to) {
					c.began(r, a, q)
				}
			}
		}
	}
}

// began looks for pages that began after an acknowledgement was answered.
func (c *checker) began(r store.Record, a ledger.Act, q span) {
	for _, d := range r.Deliveries {
		if d.Page && d.Kind == roster.Push && d.Attempted.After(a.Answered.Add(c.t.Early)) && d.Attempted.Before(q.to.Add(-c.t.Early)) {
			c.broken("I8", r.Incident.ID, d.Attempted, "%s's acknowledgement was answered at %s, and a page to %s began at %s",
				a.Person, clock(a.Answered), d.User, clock(d.Attempted))
		}
	}
}

// duplicates is I9: what goes out twice has the same name, so that the phone
// shows one card; and nothing does while nothing is broken.
func (c *checker) duplicates() {
	first := map[string]ledger.Push{}
	for _, p := range c.b.Pushes {
		if p.Delivery == "" || p.Answered != 200 {
			continue
		}
		c.held("I9")
		before, again := first[p.Delivery+p.Token]
		if !again {
			first[p.Delivery+p.Token] = p
			continue
		}
		if before.Collapse != p.Collapse {
			c.broken("I9", incident.ID(p.Incident), p.At, "delivery %s went out as %q and as %q", p.Delivery, before.Collapse, p.Collapse)
		}
		if c.b.Calm(before.At.Add(-c.t.Late), p.At, c.t.Recovery) {
			c.broken("I9", incident.ID(p.Incident), p.At, "delivery %s was accepted at %s and went out again, and nothing was broken", p.Delivery, clock(before.At))
		}
	}
	type page struct{ work, device string }
	for _, r := range c.f.Records {
		seen := map[page]string{}
		for _, d := range r.Deliveries {
			if d.Kind != roster.Push || d.Work == "" {
				continue
			}
			k := page{d.Work, string(d.Device)}
			if seen[k] != "" && seen[k] != d.ID && d.Page {
				c.broken("I9", r.Incident.ID, d.Queued, "one page to device %s is two deliveries, %s and %s", d.Device, seen[k], d.ID)
			}
			seen[k] = d.ID
		}
	}
}

// owned is I15: who has lost a partition pages for it no longer than a send may
// take that had begun.
func (c *checker) owned() {
	tenures := map[[2]int][]span{} // by partition and instance
	holds := map[int]ledger.Lease{}
	end := func(l ledger.Lease, at time.Time) {
		k := [2]int{l.Partition, l.Instance}
		tenures[k] = append(tenures[k], span{l.At, at})
	}
	for _, l := range c.b.Leases {
		if before, ok := holds[l.Partition]; ok {
			end(before, l.At)
		}
		holds[l.Partition] = l
	}
	for _, l := range holds {
		end(l, c.f.At)
	}
	for _, p := range c.b.Pushes {
		if p.Kind != "page" || p.Many() || p.Instance < 0 || p.Partition < 0 || len(holds) == 0 {
			continue
		}
		if slices.ContainsFunc(c.b.Blinds, func(b ledger.Blind) bool {
			return !p.At.Before(b.From) && !p.At.After(b.To.Add(c.t.Silence)) // any may have been the owner then
		}) {
			continue
		}
		c.held("I15")
		ok := slices.ContainsFunc(tenures[[2]int{p.Partition, p.Instance}], func(t span) bool {
			late := c.t.Silence + c.paused(t.to, p.At)
			early := c.t.Late + c.paused(p.At, t.from) // it is not seen at once who has taken over
			return !t.from.After(p.At.Add(early)) && !t.to.Before(p.At.Add(-late))
		})
		if !ok {
			c.broken("I15", incident.ID(p.Incident), p.At, "instance %d paged %s at %s, and was not the owner of partition %d then, nor just before",
				p.Instance, p.Person, clock(p.At), p.Partition)
		}
	}
}
