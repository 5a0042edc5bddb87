package respond

import (
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// turns is the view of one decision: the snapshot, and the round-robin turns
// that were claimed for the incident.
type turns struct {
	incident.View
	claimed map[turnKey]roster.UserID
}

type turnKey struct {
	policy escalation.PolicyID
	level  int
}

func (t *turns) claim(p escalation.PolicyID, level int, u roster.UserID) {
	if t.claimed == nil {
		t.claimed = map[turnKey]roster.UserID{}
	}
	t.claimed[turnKey{p, level}] = u
}

// Turn implements [incident.View].
func (t *turns) Turn(p escalation.PolicyID, level int) (roster.UserID, bool) {
	u, ok := t.claimed[turnKey{p, level}]
	return u, ok
}
