package engine

import (
	"slices"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/attention"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// TestWhatItemsWereHandedOnWith holds for a moment, and until something later of
// the same incident is to be done: a page that its resolve has overtaken is begun
// on what is.
func TestWhatItemsWereHandedOnWith(t *testing.T) {
	t.Parallel()
	now := time.Now()
	handed := func(in incident.ID, k incident.WorkKind, revision uint64, ago time.Duration) queued {
		return queued{since: now.Add(-ago), WorkItem: store.WorkItem{
			Work:     incident.Work{Kind: k, Incident: in, Revision: revision},
			Incident: &incident.Incident{ID: in, Revision: revision}, Person: &attention.Person{},
		}}
	}
	queue := []queued{
		handed("flaps", incident.WorkPage, 1, 0), // of one commit, to two people
		handed("flaps", incident.WorkPage, 1, 0),
		handed("burns", incident.WorkPage, 1, 0),
		handed("burns", incident.WorkPage, 1, 0),
		handed("waits", incident.WorkPage, 1, handOn+1),
		handed("flaps", incident.WorkReplace, 2, 0),
	}
	outdate(queue, now)
	var got []bool
	for _, item := range queue {
		if (item.Incident == nil) != (item.Person == nil) {
			t.Errorf("an item has %v and %v, want both or none", item.Incident, item.Person)
		}
		got = append(got, item.Incident != nil)
	}
	if want := []bool{false, false, true, true, false, true}; !slices.Equal(got, want) {
		t.Errorf("handed on: got %v, want %v", got, want)
	}
}
