package rpc_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/escalation"
)

// shift is a rig in which the policy asks the schedule of turns, whose day is
// Ben's until midnight and then Ann's.
func shift(t *testing.T) *rig {
	r := turns(t)
	_, err := r.dir.Change(t.Context(), directory.By{Principal: auth.Console(), Method: "test"}, func(e *directory.Edit) error {
		p, _ := e.GetPolicy("core")
		next := *p
		next.Levels = []escalation.Level{{Targets: []escalation.Target{{Kind: escalation.ScheduleTarget, ID: "primary"}}, Delay: time.Hour}}
		return e.Update(&next, "")
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// later moves the clock of a rig that stands still.
func (r *rig) later(d time.Duration) { r.still.Add(d.Milliseconds()) }

func (r *rig) name(key string) string { return "incidents/" + string(r.fire(key, key).ID) }

// TestHandOffIsGathered: Ann asks before her turn and gets what Ben leaves: what
// is open and how it stands, his notes, the noise, what lies ahead.
func TestHandOffIsGathered(t *testing.T) {
	r := shift(t)
	began := r.now()
	waits, held, asleep, over := r.name("waits"), r.name("held"), r.name("asleep"), r.name("over")
	r.later(time.Hour)
	ben := r.as(responder)
	must(r.incidents().AcknowledgeIncident(ben, &pb.AcknowledgeIncidentRequest{Name: held}))
	must(r.incidents().AddIncidentNote(ben, &pb.AddIncidentNoteRequest{Name: held, Text: "restarted it"}))
	must(r.incidents().AddIncidentNote(ben, &pb.AddIncidentNoteRequest{Name: held, Text: "it helped"}))
	sleeps := must(r.incidents().SnoozeIncident(ben, &pb.SnoozeIncidentRequest{Name: asleep, Duration: durationpb.New(20 * time.Hour)}))
	must(r.incidents().ResolveIncident(ben, &pb.ResolveIncidentRequest{Name: over, Note: "was the disk"}))
	cover := r.asks()
	note := must(r.onCall().LeaveHandOffNote(ben, &pb.LeaveHandOffNoteRequest{Schedule: "schedules/primary", Text: "db1 is slow since noon"}))

	h, err := r.onCall().GetHandOff(r.as(admin), &pb.GetHandOffRequest{})
	if err != nil {
		t.Fatal(err)
	}
	at := midnight(began)
	if h.GetSchedule() != "schedules/primary" || h.GetFromUser() != "users/ben" || h.GetToUser() != "users/ann" ||
		!h.GetHandoffTime().AsTime().Equal(at) || !h.GetEndTime().AsTime().Equal(at.Add(24*time.Hour)) || h.GetStartTime().AsTime().After(began) {
		t.Fatalf("the hand-off is %v", h)
	}
	var open []string
	for _, i := range h.GetIncidents() {
		open = append(open, i.GetIncident().GetName())
	}
	if len(open) != 3 || open[0] != waits || open[1] != held || open[2] != asleep {
		t.Fatalf("open are %v, want %v", open, []string{waits, held, asleep})
	}
	if i := h.GetIncidents()[1]; i.GetLastNote().GetText() != "it helped" || i.GetIncident().GetAcknowledgements()[0].GetUser() != "users/ben" || i.GetIncident().GetEscalation().GetLevel() != 1 {
		t.Errorf("what Ben holds is told as %v", i)
	}
	if i := h.GetIncidents()[2]; !proto.Equal(i.GetIncident().GetSnoozeUntil(), sleeps.GetSnoozeUntil()) {
		t.Errorf("it wakes at %v, want %v", i.GetIncident().GetSnoozeUntil(), sleeps.GetSnoozeUntil())
	}
	var said []string
	for _, x := range h.GetRemarks() {
		said = append(said, x.GetNote().GetText())
	}
	if len(said) != 3 || h.GetResolvedCount() != 1 || h.GetRemarks()[2].GetIncident() != over {
		t.Errorf("noted %v, resolved %d", said, h.GetResolvedCount())
	}
	if len(h.GetNoise()) != 4 || h.GetNoise()[0].GetPageCount() == 0 || h.GetPageCount() == 0 {
		t.Errorf("noise is %v of %d pages", h.GetNoise(), h.GetPageCount())
	}
	if len(h.GetCoverRequests()) != 1 || h.GetCoverRequests()[0].GetName() != cover.GetName() || len(h.GetGaps()) != 0 {
		t.Errorf("ahead: %v, gaps %v", h.GetCoverRequests(), h.GetGaps())
	}
	if !proto.Equal(h.GetNote(), note) || note.GetUser() != "users/ben" {
		t.Errorf("Ben left %v, want %v", h.GetNote(), note)
	}

	of := must(r.onCall().GetHandOff(r.as(stakeholder), &pb.GetHandOffRequest{Schedule: "schedules/primary", Time: timestamppb.New(at.Add(23 * time.Hour))}))
	if of.GetFromUser() != "users/ann" || of.GetToUser() != "users/fay" || of.GetNote() != nil || len(of.GetRemarks()) != 0 {
		t.Errorf("the next one is %v", of)
	}
	_, err = r.onCall().GetHandOff(r.as(stakeholder), &pb.GetHandOffRequest{})
	wants(t, err, codes.NotFound, "HANDOFF_NOT_FOUND")
	_, err = r.onCall().GetHandOff(r.as(admin), &pb.GetHandOffRequest{Schedule: "schedules/none"})
	wants(t, err, codes.NotFound, "NOT_FOUND")
}

// TestHandOffIsTakenOver: whoever has the turn or is next takes over what is
// open, and a retry gets the first answer; nobody else does.
func TestHandOffIsTakenOver(t *testing.T) {
	r := shift(t)
	waits, held := r.name("waits"), r.name("held")
	must(r.incidents().AcknowledgeIncident(r.as(responder), &pb.AcknowledgeIncidentRequest{Name: held}))
	req := &pb.TakeOverIncidentsRequest{Schedule: "schedules/primary", RequestId: uuid.NewString()}
	refused := wants(t, second(r.onCall().TakeOverIncidents(r.as(third), req)), codes.FailedPrecondition, "NOT_YOUR_TURN")
	if refused.Message() == "" {
		t.Error("the refusal says nothing")
	}
	wants(t, second(r.onCall().TakeOverIncidents(r.as(stakeholder), req)), codes.PermissionDenied, "PERMISSION_DENIED")
	wants(t, second(r.onCall().TakeOverIncidents(r.as(admin), &pb.TakeOverIncidentsRequest{Schedule: "schedules/none"})), codes.NotFound, "NOT_FOUND")

	first, err := r.onCall().TakeOverIncidents(r.as(admin), req)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range first.GetResults() {
		if one.GetError() != nil || !one.GetChanged() || one.GetIncident().GetAssignees()[0].GetUser() != "users/ann" {
			t.Errorf("taken over: %v", one)
		}
	}
	if in := must(r.incidents().GetIncident(r.as(admin), &pb.GetIncidentRequest{Name: held})); in.GetState() != pb.Incident_STATE_ACKNOWLEDGED || in.GetAcknowledgements()[0].GetUser() != "users/ann" {
		t.Errorf("what Ben held is %v", in)
	}
	if in := must(r.incidents().GetIncident(r.as(admin), &pb.GetIncidentRequest{Name: waits})); in.GetState() != pb.Incident_STATE_TRIGGERED {
		t.Errorf("what waited is %v now: nobody has looked at it", in.GetState())
	}
	again, err := r.onCall().TakeOverIncidents(r.as(admin), req)
	if err != nil || !proto.Equal(again, first) {
		t.Errorf("the retry got %v, %v", again, err)
	}
	fresh, err := r.onCall().TakeOverIncidents(r.as(admin), &pb.TakeOverIncidentsRequest{Schedule: "schedules/primary"})
	if err != nil || len(fresh.GetResults()) != 2 || fresh.GetResults()[0].GetChanged() || fresh.GetResults()[1].GetChanged() {
		t.Errorf("a second tap changed %v, %v", fresh, err)
	}
	wants(t, second(r.onCall().LeaveHandOffNote(r.as(third), &pb.LeaveHandOffNoteRequest{Schedule: "schedules/primary", Text: "hello"})), codes.FailedPrecondition, "NOT_YOUR_TURN")
}

// TestHandOffOfAStorm: of more incidents than one call takes over, the next call
// takes those that are left.
func TestHandOffOfAStorm(t *testing.T) {
	r := shift(t)
	const storm = 203
	for i := range storm {
		r.name(fmt.Sprint("disk ", i))
	}
	taken := map[string]bool{}
	for range 2 {
		got := must(r.onCall().TakeOverIncidents(r.as(admin), &pb.TakeOverIncidentsRequest{Schedule: "schedules/primary"}))
		for _, one := range got.GetResults() {
			if one.GetError() != nil {
				t.Fatalf("%s: %v", one.GetName(), one.GetError())
			}
			taken[one.GetName()] = true
		}
	}
	if len(taken) != storm {
		t.Errorf("%d incidents were taken over, want %d", len(taken), storm)
	}
}

// second is the error of a call.
func second[T any](_ T, err error) error { return err }
