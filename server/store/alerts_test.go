package store

import (
	"bytes"
	"errors"
	"testing"

	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
)

// TestAlertsThatWereCountedUpAreNotWrittenOver: a repeat moves the record of its
// alert and not the document, and who has read the record before is told. After
// a failover, which may have set the record back, the same commit goes without.
func TestAlertsThatWereCountedUpAreNotWrittenOver(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.URL(t), withRing)
	in, _ := mustCommit(t, s, begin(opened(freshService(t), base), "disk"))
	alerts, seen, err := s.SeeAlerts(t.Context(), in.ID)
	if err != nil || len(alerts) != 1 {
		t.Fatalf("got %d alerts, %v, want one", len(alerts), err)
	}
	again := alerts[0]
	again.Count++
	mustCommit(t, s, Commit{Before: in, Alerts: []incident.Alert{again}})

	over := alerts[0]
	over.Open = false
	end := Commit{Before: in, After: resolved(in, base), Alerts: []incident.Alert{over}, Seen: seen}
	if _, err := s.Commit(t.Context(), end); !errors.Is(err, ErrAlertMoved) {
		t.Errorf("on a record that has moved: got %v, want %v", err, ErrAlertMoved)
	}
	if alerts, end.Seen, err = s.SeeAlerts(t.Context(), in.ID); err != nil {
		t.Fatal(err)
	}
	over.Count = alerts[0].Count
	end.Alerts = []incident.Alert{over}
	mustCommit(t, s, end)
	if alerts, err = s.Alerts(t.Context(), in.ID); err != nil || alerts[0].Count != 2 || alerts[0].Open {
		t.Errorf("got %+v, %v, want a closed alert that counts two", alerts, err)
	}

	kept := s.ring.all()
	last, ok := kept[len(kept)-1].args[0].([]byte)
	if !ok || bytes.Contains(last, []byte("field")) {
		t.Error("what is kept for a failover still has the guard")
	}
}
