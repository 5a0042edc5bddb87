package engine

import (
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// lane is the entries of one key that have not been decided, in order of arrival.
type lane []store.InboxEntry

// byKey sorts entries into lanes, in the order of each key's first.
func byKey(entries []store.InboxEntry) []lane {
	index := make(map[store.LinkedKey]int, len(entries))
	var lanes []lane
	for _, e := range entries {
		k := store.LinkedKey{Service: e.Service, Key: e.Key}
		i, ok := index[k]
		if !ok {
			i = len(lanes)
			index[k] = i
			lanes = append(lanes, nil)
		}
		lanes[i] = append(lanes[i], e)
	}
	return lanes
}

// step is one thing to decide for a key: an event, or a run of triggers folded into one.
type step struct {
	store.InboxEntry // the last of the run

	run      []store.InboxEntry // all of it, in order
	ids      []string           // of the run
	count    int
	severity event.Severity // the worst of the run
}

// next takes the next step off the lane.
func (l *lane) next() step {
	first := (*l)[0]
	s := step{InboxEntry: first, ids: []string{first.ID}, count: 1, severity: first.Event.Severity}
	n := 1
	for ; n < len(*l) && first.Event.Action == event.Trigger && first.Hops == 0; n++ {
		e := (*l)[n]
		if e.Event.Action != event.Trigger || e.Hops != 0 {
			break
		}
		s.InboxEntry, s.count = e, s.count+1
		s.severity = s.severity.Worse(e.Event.Severity)
		s.ids = append(s.ids, e.ID)
	}
	s.Event.Severity = s.severity
	s.run = (*l)[:n]
	*l = (*l)[n:]
	return s
}
