package engine

import (
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/incident/incidenttest"
	"github.com/tocsin-oncall/tocsin/server/respond"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// Items that wait in the queue are in hand, and count once: one more in the
// store than are in hand is one that nobody here knows of.
func TestPulseNoticesWorkBesideWhatIsQueued(t *testing.T) {
	w := incidenttest.New()
	o := &owner{
		desk: &respond.Desk{View: func() incident.View { return w }, Now: time.Now},
		wake: make(chan struct{}, 1), begun: map[string]time.Time{},
	}
	o.begin(store.WorkItem{ID: "1-0"})
	o.begin(store.WorkItem{ID: "2-0"})
	o.feel(store.Pulse{Work: 2})
	if o.work {
		t.Error("two items in hand and two in the store: want nothing to look for")
	}
	o.feel(store.Pulse{Work: 3})
	if !o.work {
		t.Error("two items in hand and three in the store: want the third looked for")
	}
}
