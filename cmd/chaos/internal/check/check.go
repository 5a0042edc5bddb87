// Package check holds what everybody outside wrote down against what the
// server says afterwards. The invariants have the numbers that docs/chaos.md
// explains. Every check is a pure function of the ledger and of what was found
// at the end, so that each is tested with a violation that was planted.
package check

import (
	"fmt"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/ledger"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// Terms are what was promised in the run.
type Terms struct {
	Level    time.Duration // after which a level of a policy gives way
	Last     int           // index of the last level
	Loops    int           // further passes over the levels
	Late     time.Duration // how late anything may be while nothing is broken
	Early    time.Duration // how far two clocks may differ
	Recovery time.Duration // how long anything may take after what was broken works again
	Silence  time.Duration // a send that had begun may reach the push service so long after an acknowledgement
	Loses    bool          // the mode of durability admits that accepted events are lost with what was broken
	Succeeds bool          // a replica may take the place of a master: what nobody was told yet is gone then
	Tap      time.Duration // within which 99 of 100 acknowledgements are answered while it storms
	Config   time.Duration // within which a change of the configuration is seen everywhere
}

// Found is the state at the end, when everything has come to rest and no
// instance runs any more.
type Found struct {
	At      time.Time
	Records []store.Record
	Linked  map[store.LinkedKey]incident.ID // where dedup keys lead
	Open    map[incident.ID]bool            // the index of open incidents
	Timers  map[incident.ID]time.Time       // the index of timers
	Beside  map[incident.ID][]string        // keys beside an incident's own
	Endless []string                        // keys that should end by themselves, and have no end
	Inbox   int                             // accepted events that wait while all instances run and nothing is sent any more
	Work    int                             // work that does
	Dead    []string                        // dead letters
	Listed  map[incident.ID]incident.Status // what the API listed, just before
}

// Violation is a promise that was broken.
type Violation struct {
	Invariant string
	Incident  incident.ID // "" when it is about none
	At        time.Time   // around when; zero: at the end
	Text      string
}

// String is the violation as the report tells it.
func (v Violation) String() string {
	text := v.Invariant
	if v.Incident != "" {
		text += " incident " + string(v.Incident)
	}
	return text + ": " + v.Text
}

// Outcome is what the checks say.
type Outcome struct {
	Violations []Violation
	Checked    map[string]int // how many things each invariant was held against
}

// All holds the book against what was found.
func All(b ledger.Book, f Found, t Terms) Outcome {
	c := &checker{b: b, f: f, t: t, checked: map[string]int{}}
	for _, check := range []func(){
		c.accepted, c.unique, c.indexes, c.stuck, c.paged, c.order, c.once, c.silence, c.duplicates, c.acknowledged,
		c.idempotent, c.monotonic, c.timeline, c.drained, c.owned, c.full, c.stormed, c.configured, c.pinned, c.archive, c.recovered, c.listed,
	} {
		check()
	}
	return Outcome{Violations: c.violations, Checked: c.checked}
}

type checker struct {
	b          ledger.Book
	f          Found
	t          Terms
	violations []Violation
	checked    map[string]int
}

// held counts a thing that an invariant was held against.
func (c *checker) held(invariant string) { c.checked[invariant]++ }

func (c *checker) broken(invariant string, id incident.ID, at time.Time, format string, args ...any) {
	c.violations = append(c.violations, Violation{Invariant: invariant, Incident: id, At: at, Text: fmt.Sprintf(format, args...)})
}

// by is until when something that is due at an instant may take.
func (c *checker) by(due time.Time) time.Time {
	return c.b.Settled(due.Add(c.t.Late), c.t.Recovery).Add(c.t.Late)
}

// paused is for how long a send that had begun may have been held up between two
// instants, at most: whatever was broken may have been what held it up.
func (c *checker) paused(from, to time.Time) time.Duration {
	var sum time.Duration
	for _, h := range c.b.Harms {
		if h.From.Before(to) && h.Until.After(from) {
			sum += h.Until.Sub(h.From)
		}
	}
	return sum
}

func clock(t time.Time) string { return t.Local().Format("15:04:05.000") }
