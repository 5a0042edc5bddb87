package rpc_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/respond"
)

// One tap that a phone sends over and over, as the answers got lost: one
// acknowledgement, and every time the same answer.
func TestTapThatIsSentOverAndOver(t *testing.T) {
	r := newRig(t)
	in := r.fire("a", "disk full")
	d := r.deliver(in.ID, "ben", "benphone")
	req := &pb.ActRequest{ActionId: uuid.NewString(), DeliveryId: d.ID, Verb: pb.ActRequest_VERB_ACKNOWLEDGE}
	answers, errs := make([]*pb.ActResponse, 20), make([]error, 20)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() { answers[i], errs[i] = r.devices().Act(r.as(phone), req) })
	}
	wg.Wait()
	for i, a := range answers {
		if errs[i] != nil || !same(a, answers[0]) || !a.GetChanged() || a.GetOutcome() != pb.ActResponse_OUTCOME_DONE {
			t.Errorf("answer %d is %v (%v), want %v", i, a, errs[i], answers[0])
		}
	}
	entries, err := r.store.Timeline(t.Context(), in.ID, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if e.Type == incident.EntryAcknowledged {
			n++
		}
	}
	if n != 1 {
		t.Errorf("the timeline has %d acknowledgements, want one", n)
	}
}

// The monitor ends the incident between the moment in which a tap has read it
// and that in which it is committed: the phone is told that it is over, not
// that the tap has done something.
func TestTapThatTheEndOvertakes(t *testing.T) {
	r := newRig(t)
	in := r.fire("a", "disk full")
	d := r.deliver(in.ID, "ben", "benphone")
	view := r.desk.View
	var overtaken atomic.Bool
	r.desk.View = func() incident.View { // a decision looks at it after it has read the incident
		if overtaken.CompareAndSwap(false, true) {
			if _, err := r.desk.Do(t.Context(), in.ID, incident.Resolve{By: incident.System("test")}, respond.Options{}); err != nil {
				t.Error(err)
			}
		}
		return view()
	}
	got, err := r.devices().Act(r.as(phone), &pb.ActRequest{ActionId: uuid.NewString(), DeliveryId: d.ID, Verb: pb.ActRequest_VERB_ACKNOWLEDGE})
	if err != nil || got.GetOutcome() != pb.ActResponse_OUTCOME_RESOLVED || got.GetChanged() || got.GetState() != pb.Incident_STATE_RESOLVED {
		t.Errorf("the answer is %v (%v), want that it was resolved and nothing was changed", got, err)
	}
}
