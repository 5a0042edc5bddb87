// Package linear asks whether what concurrent clients were answered about one
// incident can be put into one order, in which each answer follows from those
// before it: that an incident behaves as if one call came after another.
package linear

import (
	"math"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// The verbs of the calls.
const (
	Read        = "read"
	Acknowledge = "acknowledge"
	Resolve     = "resolve"
	Escalate    = "escalate"
	Snooze      = "snooze"
	Reassign    = "reassign"
	Note        = "note"
)

// State is what a caller sees of an incident.
type State struct {
	Status    string // "triggered", "acknowledged", "resolved"
	Level     int    // from 1
	Assignees string // names, separated by spaces
}

// Call is one call of one client, with what it was answered.
type Call struct {
	Client  int
	Verb    string
	Who     string // to whom it is given, of Reassign
	Began   time.Time
	Ended   time.Time
	Unknown bool  // there was no answer: it may have had its effect, or have it any time later
	Refused bool  // the rules refused it, and it had no effect
	Saw     State // the incident after it, unless Refused, Unknown or a Note
}

// Policy says who holds each level.
type Policy []string

// model is the incident as its callers know it.
type model struct {
	State
	direct bool // given to somebody by name: the next level is the first
}

// Check reports whether the history of one incident, which began triggered on
// the first level, has such an order.
func Check(p Policy, history []Call) bool {
	operations := make([]porcupine.Operation, len(history))
	for i, c := range history {
		operations[i] = porcupine.Operation{ClientId: c.Client, Input: c, Call: c.Began.UnixNano(), Output: c, Return: c.Ended.UnixNano()}
		if c.Unknown {
			operations[i].Return = math.MaxInt64
		}
	}
	return porcupine.CheckOperations(porcupine.Model{
		Init: func() any { return model{State: State{Status: "triggered", Level: 1, Assignees: p[0]}} },
		Step: func(state, input, _ any) (bool, any) {
			before, ok := state.(model)
			call, ok2 := input.(Call)
			if !ok || !ok2 {
				return false, state
			}
			return step(p, before, call)
		},
	}, operations)
}

// step is the rules, as docs and API tell them.
func step(p Policy, m model, c Call) (bool, model) {
	open := m.Status != "resolved"
	next := m
	refused := false
	switch c.Verb {
	case Acknowledge:
		if open {
			next.Status = "acknowledged"
		}
	case Resolve:
		next.Status, next.Assignees = "resolved", ""
	case Snooze:
		refused = !open
		next.Status = "acknowledged"
	case Escalate:
		refused = !open
		next.Level = m.Level%len(p) + 1
		if m.direct {
			next.Level = 1
		}
		next.Status, next.Assignees, next.direct = "triggered", p[next.Level-1], false
	case Reassign:
		refused = !open
		next.Status, next.Assignees, next.direct = "triggered", c.Who, true
	default: // read, note: nothing moves
	}
	if refused {
		next = m
	}
	switch {
	case c.Unknown, c.Verb == Note:
		return true, next
	case refused || c.Refused:
		return refused && c.Refused, next
	}
	return next.State == c.Saw, next
}

// Names joins names as State has them.
func Names(all []string) string { return strings.Join(all, " ") }
