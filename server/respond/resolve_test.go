package respond_test

import (
	"sync"
	"testing"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/respond"
)

// TestResolveCountsWhatRepeatsMeanwhile: alerts are counted up as fast as it goes
// while somebody resolves the incident, and no repeat that was taken in before
// is missing from the count.
func TestResolveCountsWhatRepeatsMeanwhile(t *testing.T) {
	d, _ := newDesk(t)
	for range 100 {
		in := begin(t, d, "shop", "disk")
		repeats, halfway := 0, make(chan struct{})
		var counting sync.WaitGroup
		counting.Go(func() {
			for repeats < 12 && repeat(t, d, in) { // fewer than a command is tried: nobody is refused for the sake of a count
				if repeats++; repeats == 4 {
					close(halfway)
				}
			}
		})
		<-halfway
		if _, err := d.Do(t.Context(), in.ID, incident.Resolve{By: by("ann")}, respond.Options{}); err != nil {
			t.Fatal(err)
		}
		counting.Wait()
		alerts, err := d.Store.Alerts(t.Context(), in.ID)
		if err != nil || len(alerts) != 1 || alerts[0].Open || alerts[0].Count != repeats { // begin has given it no instant: the first repeat is its first trigger
			t.Fatalf("after %d repeats: got %+v, %v, want a closed alert that counts %d", repeats, alerts, err, repeats)
		}
	}
}

// repeat takes a further trigger in, as the owner of the partition does: on the
// document as it was read. false: that has moved.
func repeat(t *testing.T, d *respond.Desk, in *incident.Incident) bool {
	t.Helper()
	alerts, err := d.Store.Alerts(t.Context(), in.ID)
	if err != nil {
		t.Error(err)
		return false
	}
	dec, err := d.Decide(t.Context(), in, in.ID, incident.Repeat{Alert: alerts[0], By: by("monitor"), Count: 1})
	if err != nil {
		t.Error(err)
		return false
	}
	c := respond.Commit(in, dec)
	c.After, c.Timeline, c.Coalesce = nil, nil, nil // the count is what matters here
	_, err = d.Store.Commit(t.Context(), c)
	if err != nil && fault.KindOf(err) != fault.Conflict {
		t.Error(err)
	}
	return err == nil
}
