package app

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
)

func quiet(n pushtest.Notification) bool { return n.Kind == "clear" }

// acknowledgements counts those of an incident's timeline.
func (in *instance) acknowledgements(incidentID string) int {
	in.t.Helper()
	timeline, err := pb.NewIncidentServiceClient(in.console()).ListTimeline(in.t.Context(), &pb.ListTimelineRequest{Parent: "incidents/" + incidentID})
	if err != nil {
		in.t.Fatal(err)
	}
	n := 0
	for _, e := range timeline.GetEntries() {
		if e.GetType() == pb.TimelineEntry_TYPE_ACKNOWLEDGED {
			n++
		}
	}
	return n
}

// TestCase56_AcknowledgedFromAPhone: Ann acknowledges on one phone with its own
// credential; it counts once, the record says that it came by a notification,
// and her other phone has been sent a quiet line that names her within two
// seconds. (Live Activities, which would name her too, are not built.)
func TestCase56_AcknowledgedFromAPhone(t *testing.T) {
	eachProvider(t, func(t *testing.T, p pb.Device_Platform) {
		t.Helper()
		w := newWorld(t, redistest.Start(t).URL())
		in := w.start()
		in.apply(organisation)
		tapped := in.bring(w, "ann", p)
		others := []*handset{in.bring(w, "ann", pb.Device_PLATFORM_IOS), in.bring(w, "ann", pb.Device_PLATFORM_ANDROID)}
		in.send("trigger", "db", "disk full")
		n := gets(t, tapped.Phone, "the page", page)
		for _, h := range others {
			gets(t, h.Phone, "the page", page)
		}
		began := time.Now()
		if answer := tapped.acknowledge(n); !answer.GetChanged() || answer.GetOutcome() != pb.ActResponse_OUTCOME_DONE {
			t.Errorf("the answer is %v, want it done", answer)
		}
		for _, h := range others {
			if got := gets(t, h.Phone, "the quiet line", quiet); got.Audible() || got.Title != "#1 acknowledged by Ann" {
				t.Errorf("the other phone shows %q, audible %t; want a quiet line that names Ann", got.Title, got.Audible())
			}
		}
		if took := time.Since(began); took > 2*time.Second+busy {
			t.Errorf("the others were told after %s, want 2 s at most", took)
		}
		after, err := pb.NewIncidentServiceClient(in.console()).GetIncident(t.Context(), &pb.GetIncidentRequest{Name: "incidents/" + n.IncidentID})
		if err != nil {
			t.Fatal(err)
		}
		if acks := after.GetAcknowledgements(); len(acks) != 1 || acks[0].GetVia() != pb.Actor_VIA_NOTIFICATION {
			t.Errorf("acknowledgements are %v, want one, by a notification", acks)
		}
		if got := in.acknowledgements(n.IncidentID); got != 1 {
			t.Errorf("the timeline has %d acknowledgements, want one", got)
		}
	})
}

// TestCase57_TapSentOverAndOver: one tap, with one action id, reaches two
// instances five times each at once, as answers got lost; there is one
// acknowledgement, and every answer is the same.
func TestCase57_TapSentOverAndOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	first := w.start()
	first.apply(organisation)
	ann := first.bring(w, "ann", pb.Device_PLATFORM_IOS)
	second := w.start()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := shared(ctx, first.server.store, 2); err != nil {
		t.Fatal(err)
	}
	first.send("trigger", "db", "disk full")
	n := gets(t, ann.Phone, "the page", page)
	doors := []pb.DeviceServiceClient{ann.devices, pb.NewDeviceServiceClient(dial(t, second.doors.Listen))}
	req := &pb.ActRequest{ActionId: uuid.NewString(), DeliveryId: n.DeliveryID, Verb: pb.ActRequest_VERB_ACKNOWLEDGE}
	answers, errs := make([]*pb.ActResponse, 10), make([]error, 10)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() { answers[i], errs[i] = doors[i%2].Act(ann.auth, req) })
	}
	wg.Wait()
	for i, a := range answers {
		if errs[i] != nil || !proto.Equal(a, answers[0]) || !a.GetChanged() || a.GetOutcome() != pb.ActResponse_OUTCOME_DONE {
			t.Errorf("answer %d is %v (%v), want that of the first: %v", i, a, errs[i], answers[0])
		}
	}
	if got := first.acknowledgements(n.IncidentID); got != 1 {
		t.Errorf("the timeline has %d acknowledgements, want one", got)
	}
}

// TestCase60_AcknowledgementLost: Redis is out while somebody taps, so that the
// tap is answered 503 over and over; the phone keeps it (that it shows so is the
// app's contract) and, once Redis is back, the same tap counts exactly once.
func TestCase60_AcknowledgementLost(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	w := newWorld(t, redis.URL())
	in := w.start()
	in.apply(organisation)
	ann := in.bring(w, "ann", pb.Device_PLATFORM_IOS)
	in.send("trigger", "db", "disk full")
	n := gets(t, ann.Phone, "the page", page)
	in.forward(w, 0)
	redis.Kill(t)
	req := &pb.ActRequest{ActionId: uuid.NewString(), DeliveryId: n.DeliveryID, Verb: pb.ActRequest_VERB_ACKNOWLEDGE}
	for range 3 {
		if _, err := ann.devices.Act(ann.auth, req); status.Code(err) != codes.Unavailable {
			t.Fatalf("without Redis a tap is answered %v, want UNAVAILABLE (503)", err)
		}
	}
	redis.Restart(t)
	for range 2 {
		var answer *pb.ActResponse
		eventually(t, "the tap is taken", func() bool {
			var err error
			answer, err = ann.devices.Act(ann.auth, req)
			return err == nil
		})
		if !answer.GetChanged() || answer.GetOutcome() != pb.ActResponse_OUTCOME_DONE || !answer.GetHolderIsCaller() {
			t.Errorf("the answer is %v, want it done, and again the same", answer)
		}
	}
	if got := in.acknowledgements(n.IncidentID); got != 1 {
		t.Errorf("the timeline has %d acknowledgements, want one", got)
	}
	gets(t, ann.Phone, "the quiet card", quiet)
}
