package check

import (
	"reflect"
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/ledger"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// acknowledged is I10: what a person was told is done is in the record.
func (c *checker) acknowledged() {
	records := map[string]store.Record{}
	for _, r := range c.f.Records {
		records[string(r.Incident.ID)] = r
	}
	for _, a := range c.b.Acts {
		if !a.Taken || !a.Changed || c.t.Loses {
			continue
		}
		var want incident.EntryType
		switch a.Verb {
		case "acknowledge":
			want = incident.EntryAcknowledged
		case "resolve":
			want = incident.EntryResolved
		default:
			continue
		}
		c.held("I10")
		r, ok := records[a.Incident]
		if !ok {
			c.broken("I10", incident.ID(a.Incident), a.Answered, "%s of %s was answered at %s, and the incident does not exist", a.Verb, a.Person, clock(a.Answered))
			continue
		}
		if !slices.ContainsFunc(r.Timeline, func(e incident.Entry) bool {
			return e.Type == want && e.Actor.Kind != incident.ActorSource && (a.Person == "" || e.Actor.ID == a.Person) &&
				!e.At.After(a.Answered.Add(c.t.Early)) && !e.At.Before(a.At.Add(-c.t.Early))
		}) {
			c.broken("I10", r.Incident.ID, a.Answered, "%s of %s was answered at %s, and the timeline does not have it", a.Verb, a.Person, clock(a.Answered))
		}
	}
}

// idempotent is I11: a request that is sent again is answered as before, and
// has one effect.
func (c *checker) idempotent() {
	for _, a := range c.b.Acts {
		if !a.Again {
			continue
		}
		c.held("I11")
		if !a.Same {
			c.broken("I11", incident.ID(a.Incident), a.Answered, "%s with request %s was answered %s, and otherwise before", a.Verb, a.Request, a.Outcome)
		}
	}
	for _, r := range c.f.Records {
		notes := map[string]int{}
		for _, e := range r.Timeline {
			if e.Type == incident.EntryNote {
				notes[e.Text]++
			}
		}
		for text, n := range notes { // each has a text of its own
			c.held("I11")
			if n > 1 {
				c.broken("I11", r.Incident.ID, time.Time{}, "the note %q is there %d times", text, n)
			}
		}
	}
}

// monotonic is I12: what counts up never goes back, but where a replica takes the
// place of its master: what nobody had been told yet may be gone then.
func (c *checker) monotonic() {
	last := map[string]ledger.Look{}
	back := func(now, before ledger.Look) bool {
		if now.Revision >= before.Revision && now.Generation >= before.Generation && now.Version >= before.Version && now.Seq >= before.Seq {
			return false
		}
		return !c.t.Loses && (!c.t.Succeeds || c.b.Calm(before.At, now.At, c.t.Recovery))
	}
	for _, k := range c.b.Looks {
		c.held("I12")
		before, ok := last[k.Incident]
		if ok && back(k, before) {
			c.broken("I12", incident.ID(k.Incident), k.At, "revision, generation, version and length were %d %d %d %d at %s and %d %d %d %d at %s",
				before.Revision, before.Generation, before.Version, before.Seq, clock(before.At), k.Revision, k.Generation, k.Version, k.Seq, clock(k.At))
		}
		last[k.Incident] = k
	}
	for _, r := range c.f.Records {
		in := r.Incident
		end := ledger.Look{At: c.f.At, Revision: in.Revision, Generation: in.Generation, Version: in.Version, Seq: in.Seq}
		if before, ok := last[string(in.ID)]; ok && back(end, before) {
			c.broken("I12", in.ID, before.At, "it was at revision %d at %s, and ended at %d", before.Revision, clock(before.At), in.Revision)
		}
	}
}

// timeline is I13: it has no gaps, and tells the state that is stored.
func (c *checker) timeline() {
	for _, r := range c.f.Records {
		c.held("I13")
		in := r.Incident
		for i, e := range r.Timeline {
			if e.Seq != i+1 {
				c.broken("I13", in.ID, e.At, "entry %d of the timeline has number %d", i+1, e.Seq)
				break
			}
		}
		if len(r.Timeline) != in.Seq {
			c.broken("I13", in.ID, in.Updated, "it says that its timeline has %d entries, and it has %d", in.Seq, len(r.Timeline))
		}
		if got, want := incident.Replay(r.Timeline), in.Summary(); !reflect.DeepEqual(got, want) && !sameReplay(got, want) {
			c.broken("I13", in.ID, in.Updated, "its timeline tells %+v, and it is %+v", got, want)
		}
	}
}

// sameReplay compares without telling none from empty, nor zones of one instant.
func sameReplay(a, b incident.Replayed) bool {
	return a.Status == b.Status && a.Urgency == b.Urgency && a.Priority == b.Priority && a.Severity == b.Severity && a.Level == b.Level &&
		a.Loop == b.Loop && slices.Equal(a.Assignees, b.Assignees) && slices.Equal(a.Acks, b.Acks) &&
		a.SnoozedUntil.Equal(b.SnoozedUntil) && a.AlertsOpen == b.AlertsOpen
}

// full is I16: responders are heard while Redis is full.
func (c *checker) full() {
	for _, a := range c.b.Acts {
		if a.Verb != "acknowledge" && a.Verb != "resolve" {
			continue
		}
		if !slices.ContainsFunc(c.b.Harms, func(h ledger.Harm) bool {
			return h.Kind == "full-memory" && a.At.After(h.From) && a.At.Add(c.t.Late).Before(h.Until)
		}) {
			continue
		}
		c.held("I16")
		if a.Answered.IsZero() || a.Answered.Sub(a.At) > c.t.Late {
			c.broken("I16", incident.ID(a.Incident), a.At, "%s by %s while Redis was full had no answer within %s", a.Verb, a.Person, c.t.Late)
		}
	}
}

// stormed is I16, too: in a storm of events, people are answered in time.
func (c *checker) stormed() {
	for _, h := range c.b.Harms {
		if h.Kind != "storm" {
			continue
		}
		var took []time.Duration
		for _, a := range c.b.Acts {
			if a.Verb != "acknowledge" || a.At.Before(h.From) || a.At.After(h.Until) {
				continue
			}
			if a.Answered.IsZero() {
				c.broken("I16", incident.ID(a.Incident), a.At, "%s by %s in a storm of events was not answered: %s", a.Verb, a.Person, a.Outcome)
				continue
			}
			took = append(took, a.Answered.Sub(a.At))
		}
		if len(took) == 0 {
			continue
		}
		c.held("I16")
		slices.Sort(took)
		if p99 := took[(len(took)*99-1)/100]; p99 > c.t.Tap+c.stalled(h) {
			c.broken("I16", "", h.From, "99 of 100 acknowledgements in the storm at %s were answered within %s, promised are %s", clock(h.From), p99, c.t.Tap)
		}
	}
}

// configured is I17: a change of the configuration is seen everywhere in time.
func (c *checker) configured() {
	for _, p := range c.b.Probes {
		c.held("I17")
		by := c.b.Settled(p.Set, c.t.Recovery).Add(c.t.Config)
		if p.SeenAt.IsZero() || p.SeenAt.After(by) {
			c.broken("I17", "", p.Set, "a change made at %s through %s was not seen at %s by %s", clock(p.Set), p.By, p.Seen, clock(by))
		}
	}
}

// pinned is I17, too: an incident is escalated by the version of the policy that
// was in force when it began, whatever becomes of the policy.
func (c *checker) pinned() {
	for _, r := range c.f.Records {
		var versions []ledger.Policy
		for _, p := range c.b.Policies {
			if p.Service == string(r.Incident.Service) {
				versions = append(versions, p)
			}
		}
		var may []ledger.Policy
		for _, e := range r.Timeline {
			switch {
			case e.Type == incident.EntryTriggered, e.Type == incident.EntryReopened:
				may = c.inForce(versions, e.At)
			case e.Type == incident.EntryAssigned && e.Via == incident.ViaPolicy && e.Count != 1 && len(e.Users) == 1 && len(may) > 0:
				c.held("I17")
				may = slices.DeleteFunc(may, func(p ledger.Policy) bool { return e.Level >= len(p.Levels) || p.Levels[e.Level] != string(e.Users[0]) })
				if len(may) == 0 {
					c.broken("I17", r.Incident.ID, e.At, "level %d was %s at %s, and is not so in the policy with which it began", e.Level+1, e.Users[0], clock(e.At))
				}
			default:
			}
		}
	}
}

// inForce returns the versions that may have been in force at an instant: one
// that is set takes a moment to be seen everywhere.
func (c *checker) inForce(versions []ledger.Policy, at time.Time) []ledger.Policy {
	var may []ledger.Policy
	for _, p := range versions {
		if p.Began.After(at.Add(c.t.Early)) {
			break
		}
		if !p.Set.IsZero() && c.b.Settled(p.Set, c.t.Recovery).Add(c.t.Config).Before(at) {
			may = nil // all before it are over
		}
		may = append(may, p)
	}
	return may
}

// archive is I18: an archived incident is one key, and tells all; and nothing is
// kept that belongs to nobody.
func (c *checker) archive() {
	for _, key := range c.f.Endless {
		c.broken("I18", "", time.Time{}, "the key %q would stay for ever", key)
	}
	there := map[incident.ID]bool{}
	for _, r := range c.f.Records {
		there[r.Incident.ID] = true
	}
	for id, beside := range c.f.Beside {
		if !there[id] {
			c.broken("I18", id, time.Time{}, "it is gone, and %v is left of it", beside)
		}
	}
	for _, r := range c.f.Records {
		if !r.Archived {
			continue
		}
		c.held("I18")
		if beside := c.f.Beside[r.Incident.ID]; len(beside) > 0 {
			c.broken("I18", r.Incident.ID, time.Time{}, "it is archived, and %v is left beside it", beside)
		}
		if len(r.Timeline) == 0 {
			c.broken("I18", r.Incident.ID, time.Time{}, "it is archived, and its timeline is empty")
		}
	}
}

// stalled is for how long the machine stood still during a harm.
func (c *checker) stalled(h ledger.Harm) time.Duration {
	var sum time.Duration
	for _, s := range c.b.Harms {
		from, until := s.From, s.Until
		if from.Before(h.From) {
			from = h.From
		}
		if until.After(h.Until) {
			until = h.Until
		}
		if s.Kind == ledger.Stall && from.Before(until) {
			sum += until.Sub(from)
		}
	}
	return sum
}

// recovered is I19: what was killed is back in time.
func (c *checker) recovered() {
	for _, h := range c.b.Harms {
		switch h.Kind {
		case "kill-instance", "kill-redis", "kill-at-point", "cut-power", "restart-instance", "kill-master", "freeze-master", "cut-master":
			c.held("I19")
			if took := h.Served.Sub(h.From) - c.stalled(h); took > c.t.Recovery+2*c.t.Late {
				c.broken("I19", "", h.From, "%s of %s at %s took %s until every instance could page again", h.Kind, h.Target, clock(h.From), took.Round(time.Millisecond))
			}
		default:
		}
	}
}
