package rpc_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/incident"
)

func TestLifeOfAnIncident(t *testing.T) {
	r := newRig(t)
	c, ctx := r.incidents(), r.as(responder)
	in := r.page("disk full")
	if in.GetState() != pb.Incident_STATE_TRIGGERED || in.GetTeam() != "teams/core" || len(in.GetAssignees()) != 1 || in.GetAssignees()[0].GetUser() != "users/ben" {
		t.Fatalf("a new incident is %v", in)
	}
	if e := in.GetEscalation(); e.GetLevel() != 1 || e.GetLevelCount() != 2 || e.GetPolicy() != "escalationPolicies/core" || e.GetNextEscalationTime() == nil {
		t.Errorf("its escalation is %v", e)
	}
	name := in.GetName()
	step := func(what string, want pb.Incident_State, f func() (*pb.Incident, error)) *pb.Incident {
		t.Helper()
		got, err := f()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got.GetState() != want {
			t.Fatalf("%s: got %s, want %s", what, got.GetState(), want)
		}
		return got
	}
	tapped := timestamppb.New(r.now().Add(-time.Minute))
	got := step("acknowledge", pb.Incident_STATE_ACKNOWLEDGED, func() (*pb.Incident, error) {
		return c.AcknowledgeIncident(ctx, &pb.AcknowledgeIncidentRequest{Name: name, ClientTime: tapped, Etag: in.GetEtag()})
	})
	ack := got.GetAcknowledgements()[0]
	if ack.GetUser() != "users/ben" || ack.GetDisplayName() != "Ben Baker" || !ack.GetClientTime().AsTime().Equal(tapped.AsTime()) || ack.GetVia() != pb.Actor_VIA_API {
		t.Errorf("the acknowledgement is %v", ack)
	}
	again := step("acknowledge again", pb.Incident_STATE_ACKNOWLEDGED, func() (*pb.Incident, error) {
		return c.AcknowledgeIncident(ctx, &pb.AcknowledgeIncidentRequest{Name: name})
	})
	if again.GetEtag() != got.GetEtag() {
		t.Errorf("repeating moved the etag from %s to %s", got.GetEtag(), again.GetEtag())
	}
	step("unacknowledge", pb.Incident_STATE_TRIGGERED, func() (*pb.Incident, error) {
		return c.UnacknowledgeIncident(ctx, &pb.UnacknowledgeIncidentRequest{Name: name})
	})
	got = step("escalate", pb.Incident_STATE_TRIGGERED, func() (*pb.Incident, error) {
		return c.EscalateIncident(ctx, &pb.EscalateIncidentRequest{Name: name, ExpectedLevel: 1})
	})
	if got.GetEscalation().GetLevel() != 2 || got.GetAssignees()[0].GetUser() != "users/ann" {
		t.Errorf("escalated to %v", got.GetEscalation())
	}
	got = step("a double tap", pb.Incident_STATE_TRIGGERED, func() (*pb.Incident, error) {
		return c.EscalateIncident(ctx, &pb.EscalateIncidentRequest{Name: name, ExpectedLevel: 1})
	})
	if got.GetEscalation().GetLevel() != 2 {
		t.Errorf("a double tap went to level %d", got.GetEscalation().GetLevel())
	}
	_, err := c.EscalateIncident(ctx, &pb.EscalateIncidentRequest{Name: name})
	wants(t, err, codes.FailedPrecondition, "LAST_LEVEL")
	got = step("snooze", pb.Incident_STATE_ACKNOWLEDGED, func() (*pb.Incident, error) {
		return c.SnoozeIncident(ctx, &pb.SnoozeIncidentRequest{Name: name, Duration: durationpb.New(time.Hour)})
	})
	if got.GetSnoozeUntil() == nil {
		t.Error("snoozed, and it does not say until when")
	}
	got = step("reassign", pb.Incident_STATE_TRIGGERED, func() (*pb.Incident, error) {
		return c.ReassignIncident(ctx, &pb.ReassignIncidentRequest{Name: name, Users: []string{"users/ann"}})
	})
	if got.GetAssignees()[0].GetVia() != pb.Assignee_VIA_DIRECT || got.GetEscalation().GetNextEscalationTime() != nil {
		t.Errorf("reassigned to %v", got.GetAssignees())
	}
	step("ask for help", pb.Incident_STATE_TRIGGERED, func() (*pb.Incident, error) {
		return c.RequestResponders(ctx, &pb.RequestRespondersRequest{Name: name, Users: []string{"users/me"}, Message: "please"})
	})
	got = step("priority", pb.Incident_STATE_TRIGGERED, func() (*pb.Incident, error) {
		return c.SetIncidentPriority(ctx, &pb.SetIncidentPriorityRequest{Name: name, Priority: pb.Incident_PRIORITY_P1})
	})
	if got.GetPriority() != pb.Incident_PRIORITY_P1 {
		t.Errorf("the priority is %s", got.GetPriority())
	}
	_, err = c.SetIncidentUrgency(ctx, &pb.SetIncidentUrgencyRequest{Name: name, Urgency: pb.Incident_URGENCY_LOW})
	wants(t, err, codes.FailedPrecondition, "PRIORITY_FORCES_HIGH")
	note, err := c.AddIncidentNote(ctx, &pb.AddIncidentNoteRequest{Name: name, Text: "looking"})
	if err != nil || note.GetText() != "looking" || note.GetActor().GetName() != "users/ben" || note.GetSeq() == 0 {
		t.Fatalf("note: %v, %v", note, err)
	}
	got = step("resolve", pb.Incident_STATE_RESOLVED, func() (*pb.Incident, error) {
		return c.ResolveIncident(ctx, &pb.ResolveIncidentRequest{Name: name, Note: "was a cron job"})
	})
	if got.GetResolveCause() != pb.Incident_RESOLVE_CAUSE_MANUAL || got.GetResolver().GetName() != "users/ben" || len(got.GetAssignees()) != 0 {
		t.Errorf("resolved: %v", got)
	}
	late := step("acknowledge what is over", pb.Incident_STATE_RESOLVED, func() (*pb.Incident, error) {
		return c.AcknowledgeIncident(ctx, &pb.AcknowledgeIncidentRequest{Name: name})
	})
	if late.GetEtag() != got.GetEtag() {
		t.Error("a late acknowledgement changed a resolved incident")
	}
	got = step("re-open", pb.Incident_STATE_TRIGGERED, func() (*pb.Incident, error) {
		return c.ReopenIncident(ctx, &pb.ReopenIncidentRequest{Name: name})
	})
	if got.GetReopenCount() != 1 || len(got.GetOpenIntervals()) != 2 {
		t.Errorf("re-opened: %d times, intervals %v", got.GetReopenCount(), got.GetOpenIntervals())
	}
	lines, err := c.ListTimeline(ctx, &pb.ListTimelineRequest{Parent: name})
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range lines.GetEntries() {
		if e.GetSeq() != int64(i+1) || e.GetType() == pb.TimelineEntry_TYPE_UNSPECIFIED || e.GetSummary() == "" || e.GetEntryTime() == nil {
			t.Errorf("line %d of the timeline is %v", i+1, e)
		}
	}
	if !slices.ContainsFunc(lines.GetEntries(), func(e *pb.TimelineEntry) bool { return e.GetText() == "was a cron job" }) {
		t.Error("what was said with the end is not in the timeline")
	}
}

func TestCreateIncident(t *testing.T) {
	r := newRig(t)
	c, ctx := r.incidents(), r.as(responder)
	details := must(structpb.NewStruct(map[string]any{"rate": 0.5, "hosts": []any{"a", "b"}}))
	made, err := c.CreateIncident(ctx, &pb.CreateIncidentRequest{
		Incident: &pb.Incident{
			Title: "  two\nlines ", Urgency: pb.Incident_URGENCY_LOW, Priority: pb.Incident_PRIORITY_P3, Source: "db1", Details: details,
			Links: []*pb.Link{{Uri: "https://wiki.example.org", Text: "runbook"}},
		},
		Users: []string{"users/ann"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if made.GetTitle() != "two lines" || made.GetRevision() != 1 || made.GetCreator().GetName() != "users/ben" || made.GetUrgency() != pb.Incident_URGENCY_LOW {
		t.Errorf("made %v", made)
	}
	got, err := c.GetIncident(ctx, &pb.GetIncidentRequest{Name: made.GetName()})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(details, got.GetDetails(), protocmp.Transform()); diff != "" {
		t.Errorf("the details (-sent +got):\n%s", diff)
	}
	got.Details = nil
	if diff := cmp.Diff(made, got, protocmp.Transform()); diff != "" {
		t.Errorf("what was answered and what is there (-answered +there):\n%s", diff)
	}
	for _, c2 := range []struct {
		name   string
		req    *pb.CreateIncidentRequest
		code   codes.Code
		reason string
	}{
		{"no title", &pb.CreateIncidentRequest{Incident: &pb.Incident{Service: "services/payments"}}, codes.InvalidArgument, "INVALID_FIELD"},
		{"nobody to page", &pb.CreateIncidentRequest{Incident: &pb.Incident{Title: "x"}}, codes.InvalidArgument, "INVALID_FIELD"},
		{"no such service", &pb.CreateIncidentRequest{Incident: &pb.Incident{Title: "x", Service: "services/none"}}, codes.NotFound, "NOT_FOUND"},
		{"no such policy", &pb.CreateIncidentRequest{Incident: &pb.Incident{Title: "x"}, EscalationPolicy: "escalationPolicies/none"}, codes.NotFound, "NOT_FOUND"},
		{"no such user", &pb.CreateIncidentRequest{Incident: &pb.Incident{Title: "x"}, Users: []string{"users/none"}}, codes.NotFound, "NOT_FOUND"},
		{"nobody reachable", &pb.CreateIncidentRequest{Incident: &pb.Incident{Title: "x"}, Users: []string{"users/cyd"}}, codes.FailedPrecondition, "NOBODY_REACHABLE"},
	} {
		t.Run(c2.name, func(t *testing.T) {
			_, err := c.CreateIncident(ctx, c2.req)
			wants(t, err, c2.code, c2.reason)
		})
	}
}

func TestStaleETag(t *testing.T) {
	r := newRig(t)
	c, ctx := r.incidents(), r.as(responder)
	in := r.page("disk full")
	if _, err := c.AcknowledgeIncident(ctx, &pb.AcknowledgeIncidentRequest{Name: in.GetName()}); err != nil {
		t.Fatal(err)
	}
	_, err := c.ResolveIncident(ctx, &pb.ResolveIncidentRequest{Name: in.GetName(), Etag: in.GetEtag(), Note: "not to be written"})
	wants(t, err, codes.Aborted, "REVISION_MOVED")
	_, err = c.ResolveIncident(ctx, &pb.ResolveIncidentRequest{Name: in.GetName(), Etag: "rubbish"})
	wants(t, err, codes.InvalidArgument, "INVALID_FIELD")
	lines, err := c.ListTimeline(ctx, &pb.ListTimelineRequest{Parent: in.GetName()})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range lines.GetEntries() {
		if e.GetType() == pb.TimelineEntry_TYPE_NOTE {
			t.Error("a refused call has written its note")
		}
	}
}

// A repeated request id gets the first answer, byte for byte, whatever has
// happened since, and also when both calls are under way at once.
func TestRequestIDs(t *testing.T) {
	r := newRig(t)
	c, ctx := r.incidents(), r.as(responder)
	id := uuid.NewString()
	create := &pb.CreateIncidentRequest{Incident: &pb.Incident{Title: "once", Service: "services/payments"}, RequestId: id}
	answers := make([]*pb.Incident, 8)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			var err error
			if answers[i], err = c.CreateIncident(ctx, create); err != nil {
				t.Errorf("create: %v", err)
			}
		})
	}
	wg.Wait()
	for _, a := range answers[1:] {
		if !same(answers[0], a) {
			t.Fatalf("one request id, two answers:\n%v\n%v", answers[0], a)
		}
	}
	name := answers[0].GetName()
	list, err := c.ListIncidents(ctx, &pb.ListIncidentsRequest{})
	if err != nil || len(list.GetIncidents()) != 1 {
		t.Fatalf("one request id made %d incidents (%v)", len(list.GetIncidents()), err)
	}
	ack := &pb.AcknowledgeIncidentRequest{Name: name, RequestId: uuid.NewString()}
	first, err := c.AcknowledgeIncident(ctx, ack)
	if err != nil {
		t.Fatal(err)
	}
	now, err := c.GetIncident(ctx, &pb.GetIncidentRequest{Name: name})
	if err != nil || now.GetRevision() != first.GetRevision() {
		t.Errorf("the answer has revision %d, the incident %d (%v)", first.GetRevision(), now.GetRevision(), err)
	}
	if _, err := c.ResolveIncident(ctx, &pb.ResolveIncidentRequest{Name: name}); err != nil {
		t.Fatal(err)
	}
	replay, err := c.AcknowledgeIncident(ctx, ack)
	if err != nil || !same(first, replay) {
		t.Errorf("replayed %v (%v), want %v", replay, err, first)
	}
	// The id of another caller, and of another method, is another request.
	other, err := c.AcknowledgeIncident(r.as(admin), ack)
	if err != nil || other.GetState() != pb.Incident_STATE_RESOLVED {
		t.Errorf("another caller's request got %v (%v)", other.GetState(), err)
	}
	note := &pb.AddIncidentNoteRequest{Name: name, Text: "once", RequestId: id}
	one, err := c.AddIncidentNote(ctx, note)
	if err != nil {
		t.Fatal(err)
	}
	two, err := c.AddIncidentNote(ctx, note)
	if err != nil || !same(one, two) {
		t.Errorf("a note was written twice: %v, %v (%v)", one, two, err)
	}
}

func same(a, b proto.Message) bool {
	o := proto.MarshalOptions{Deterministic: true}
	x, err1 := o.Marshal(a)
	y, err2 := o.Marshal(b)
	return err1 == nil && err2 == nil && string(x) == string(y)
}

func TestMergeAndSplit(t *testing.T) {
	r := newRig(t)
	c, ctx := r.incidents(), r.as(responder)
	target, source := r.fire("a", "disk full"), r.fire("b", "disk slow")
	name := func(in *incident.Incident) string { return "incidents/" + string(in.ID) }
	before, err := c.GetIncident(ctx, &pb.GetIncidentRequest{Name: name(target)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.MergeIncidents(ctx, &pb.MergeIncidentsRequest{Name: name(target), Sources: []string{name(target)}})
	wants(t, err, codes.InvalidArgument, "INVALID_FIELD")
	_, err = c.MergeIncidents(ctx, &pb.MergeIncidentsRequest{Name: name(target), Sources: []string{name(source)}, Etag: `"999"`})
	wants(t, err, codes.Aborted, "REVISION_MOVED")
	req := &pb.MergeIncidentsRequest{Name: name(target), Sources: []string{name(source)}, Etag: before.GetEtag(), RequestId: uuid.NewString()}
	merged, err := c.MergeIncidents(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	if merged.GetAlertCount() != 2 || merged.GetState() != pb.Incident_STATE_TRIGGERED {
		t.Errorf("merged: %d alerts, %s", merged.GetAlertCount(), merged.GetState())
	}
	if replay, err := c.MergeIncidents(ctx, req); err != nil || !same(merged, replay) {
		t.Errorf("merged again: %v (%v)", replay, err)
	}
	if twice, err := c.MergeIncidents(ctx, &pb.MergeIncidentsRequest{Name: name(target), Sources: []string{name(source)}}); err != nil || twice.GetAlertCount() != 2 {
		t.Errorf("merging what is merged: %v (%v)", twice, err)
	}
	gone, err := c.GetIncident(ctx, &pb.GetIncidentRequest{Name: name(source)})
	if err != nil || gone.GetMergedInto() != name(target) || gone.GetResolveCause() != pb.Incident_RESOLVE_CAUSE_MERGED {
		t.Errorf("the source is %v (%v)", gone, err)
	}
	alerts, err := c.ListAlerts(ctx, &pb.ListAlertsRequest{Parent: name(target)})
	if err != nil || len(alerts.GetAlerts()) != 2 {
		t.Fatalf("the target has the alerts %v (%v)", alerts, err)
	}
	i := slices.IndexFunc(alerts.GetAlerts(), func(a *pb.Alert) bool { return a.GetDedupKey() == "b" })
	_, err = c.SplitIncident(ctx, &pb.SplitIncidentRequest{Name: name(target), Alerts: []string{"alerts/none"}})
	wants(t, err, codes.NotFound, "NOT_FOUND")
	split, err := c.SplitIncident(ctx, &pb.SplitIncidentRequest{Name: name(target), Alerts: []string{alerts.GetAlerts()[i].GetName()}})
	if err != nil {
		t.Fatal(err)
	}
	if split.GetName() == name(target) || split.GetAlertCount() != 1 || split.GetState() != pb.Incident_STATE_TRIGGERED || split.GetTitle() != "disk slow" {
		t.Errorf("split off %v", split)
	}
	if _, err := c.ResolveIncident(ctx, &pb.ResolveIncidentRequest{Name: name(target)}); err != nil {
		t.Fatal(err)
	}
	_, err = c.MergeIncidents(ctx, &pb.MergeIncidentsRequest{Name: name(target), Sources: []string{split.GetName()}})
	wants(t, err, codes.FailedPrecondition, "TARGET_RESOLVED")
	_, err = c.MergeIncidents(ctx, &pb.MergeIncidentsRequest{Name: split.GetName(), Sources: []string{name(target)}})
	wants(t, err, codes.FailedPrecondition, "INCIDENT_RESOLVED")
}

func TestBatch(t *testing.T) {
	r := newRig(t)
	c, ctx := r.incidents(), r.as(responder)
	req := &pb.BatchAcknowledgeIncidentsRequest{RequestId: uuid.NewString()}
	var all []*pb.Incident
	for i := range 20 {
		in := r.page(fmt.Sprintf("incident %d", i))
		all = append(all, in)
		req.Incidents = append(req.Incidents, &pb.IncidentVersion{Name: in.GetName(), Etag: in.GetEtag()})
	}
	if _, err := c.EscalateIncident(ctx, &pb.EscalateIncidentRequest{Name: all[3].GetName()}); err != nil {
		t.Fatal(err)
	}
	req.Incidents = append(req.Incidents, &pb.IncidentVersion{Name: "incidents/0000000000000none"})
	got, err := c.BatchAcknowledgeIncidents(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	for i, res := range got.GetResults() {
		switch {
		case res.GetName() != req.GetIncidents()[i].GetName():
			t.Errorf("result %d is of %s", i, res.GetName())
		case i == 3:
			if e := res.GetError(); e.GetReason() != "REVISION_MOVED" || codes.Code(e.GetCode()) != codes.Aborted || res.GetIncident().GetState() != pb.Incident_STATE_TRIGGERED {
				t.Errorf("the one that moved on: %v", res)
			}
		case i == 20:
			if e := res.GetError(); codes.Code(e.GetCode()) != codes.NotFound || res.GetIncident() != nil {
				t.Errorf("the one that is not there: %v", res)
			}
		case !res.GetChanged() || res.GetIncident().GetState() != pb.Incident_STATE_ACKNOWLEDGED || res.GetError() != nil:
			t.Errorf("result %d: %v", i, res)
		}
	}
	if replay, err := c.BatchAcknowledgeIncidents(ctx, req); err != nil || !same(got, replay) {
		t.Errorf("the batch again gives another answer (%v)", err)
	}
	_, err = c.BatchResolveIncidents(ctx, &pb.BatchResolveIncidentsRequest{Incidents: []*pb.IncidentVersion{{Name: all[0].GetName()}, {Name: all[0].GetName()}}})
	wants(t, err, codes.InvalidArgument, "INVALID_FIELD")
	done, err := c.BatchResolveIncidents(ctx, &pb.BatchResolveIncidentsRequest{Incidents: []*pb.IncidentVersion{{Name: all[0].GetName()}, {Name: all[1].GetName()}}, Note: "storm over"})
	if err != nil || !done.GetResults()[0].GetChanged() || done.GetResults()[1].GetIncident().GetState() != pb.Incident_STATE_RESOLVED {
		t.Errorf("resolved: %v (%v)", done, err)
	}
}

// Walking over the pages gives every incident exactly once, whatever is made
// meanwhile, in either order and with any filter.
func TestPagingLaws(t *testing.T) {
	r := newRig(t)
	c, ctx := r.incidents(), r.as(stakeholder)
	want := map[string]bool{}
	for i := range 25 {
		in := r.page(fmt.Sprintf("incident %d", i))
		want[in.GetName()] = true
		if i%5 == 0 {
			if _, err := c.ResolveIncident(r.as(responder), &pb.ResolveIncidentRequest{Name: in.GetName()}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c2 := range []struct {
		name string
		req  *pb.ListIncidentsRequest
		n    int
	}{
		{"open", &pb.ListIncidentsRequest{}, 20},
		{"all", &pb.ListIncidentsRequest{Scope: pb.ListIncidentsRequest_SCOPE_ALL}, 25},
		{"closed", &pb.ListIncidentsRequest{Scope: pb.ListIncidentsRequest_SCOPE_CLOSED}, 5},
		{"oldest first", &pb.ListIncidentsRequest{OrderBy: "create_time"}, 20},
		{"by service", &pb.ListIncidentsRequest{Services: []string{"services/payments", "services/search"}}, 20},
		{"of ben", &pb.ListIncidentsRequest{Assignees: []string{"users/ben"}}, 20},
		{"by state", &pb.ListIncidentsRequest{States: []pb.Incident_State{pb.Incident_STATE_RESOLVED}}, 5},
		{"none of another service", &pb.ListIncidentsRequest{Services: []string{"services/search"}}, 0},
		{"of an urgency that none has", &pb.ListIncidentsRequest{Urgency: pb.Incident_URGENCY_LOW}, 0},
		{"a contradiction", &pb.ListIncidentsRequest{Scope: pb.ListIncidentsRequest_SCOPE_OPEN, States: []pb.Incident_State{pb.Incident_STATE_RESOLVED}}, 0},
	} {
		t.Run(c2.name, func(t *testing.T) {
			seen := map[string]bool{}
			var last time.Time
			c2.req.PageSize = 3
			for i := 0; ; i++ {
				page, err := c.ListIncidents(ctx, c2.req)
				if err != nil {
					t.Fatal(err)
				}
				if len(page.GetIncidents()) > 3 {
					t.Fatalf("a page of 3 has %d", len(page.GetIncidents()))
				}
				if (page.GetWatchCursor() != "") != (i == 0) {
					t.Errorf("page %d has the watch cursor %q", i, page.GetWatchCursor())
				}
				for _, in := range page.GetIncidents() {
					at := in.GetCreateTime().AsTime()
					if c2.req.GetOrderBy() == "create_time" && at.Before(last) {
						t.Errorf("%s comes after a newer one", in.GetName())
					}
					last = at
					if seen[in.GetName()] {
						t.Errorf("%s is listed twice", in.GetName())
					}
					seen[in.GetName()] = want[in.GetName()]
				}
				if i == 2 && c2.n == 20 { // made meanwhile
					r.page("later") //nolint:contextcheck // it takes the context of its test
				}
				if c2.req.PageToken = page.GetNextPageToken(); c2.req.GetPageToken() == "" {
					break
				}
				if i == 0 {
					other, _ := proto.Clone(c2.req).(*pb.ListIncidentsRequest)
					other.Teams = []string{"teams/core"}
					_, err := c.ListIncidents(ctx, other)
					wants(t, err, codes.InvalidArgument, "INVALID_FIELD")
				}
			}
			n := 0
			for _, wanted := range seen {
				if wanted {
					n++
				}
			}
			if n != c2.n {
				t.Errorf("listed %d of the incidents, want %d", n, c2.n)
			}
		})
	}
	_, err := c.ListIncidents(ctx, &pb.ListIncidentsRequest{PageToken: "rubbish"})
	wants(t, err, codes.InvalidArgument, "INVALID_FIELD")
}

func TestListsOfAnIncident(t *testing.T) {
	r := newRig(t)
	c, ctx := r.incidents(), r.as(stakeholder)
	in := r.fire("a", "disk full")
	name := "incidents/" + string(in.ID)
	d := r.deliver(in.ID, "ben", "benphone")
	for i := range 7 {
		if _, err := c.AddIncidentNote(r.as(responder), &pb.AddIncidentNoteRequest{Name: name, Text: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	var seqs []int64
	req := &pb.ListTimelineRequest{Parent: name, PageSize: 2, AfterSeq: 1}
	for {
		page, err := c.ListTimeline(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.GetEntries() {
			seqs = append(seqs, e.GetSeq())
		}
		if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
			break
		}
	}
	for i, seq := range seqs {
		if seq != int64(i+2) {
			t.Fatalf("the pages have the lines %v", seqs)
		}
	}
	got, err := c.ListDeliveries(ctx, &pb.ListDeliveriesRequest{Parent: name, User: "users/ben"})
	if err != nil || len(got.GetDeliveries()) != 1 {
		t.Fatalf("deliveries: %v (%v)", got, err)
	}
	if dv := got.GetDeliveries()[0]; dv.GetDeliveryId() != d.ID || dv.GetState() != pb.Delivery_STATE_ACCEPTED || dv.GetDevice() != "devices/benphone" || dv.GetKind() != pb.Delivery_KIND_PAGE {
		t.Errorf("the delivery is %v", dv)
	}
	if got, err := c.ListDeliveries(ctx, &pb.ListDeliveriesRequest{Parent: name, User: "users/ann"}); err != nil || len(got.GetDeliveries()) != 0 {
		t.Errorf("ann has the deliveries %v (%v)", got, err)
	}
	full, err := c.GetIncident(ctx, &pb.GetIncidentRequest{Name: name})
	if err != nil || len(full.GetAlerts()) != 1 || full.GetAlerts()[0].GetIntegration() != "integrations/prom" || full.GetDetails() == nil || full.GetCreator() != nil {
		t.Errorf("the whole incident is %v (%v)", full, err)
	}
	for _, f := range []func(context.Context) error{
		func(ctx context.Context) error {
			_, err := c.ListTimeline(ctx, &pb.ListTimelineRequest{Parent: "incidents/nosuch"})
			return err
		},
		func(ctx context.Context) error {
			_, err := c.ListDeliveries(ctx, &pb.ListDeliveriesRequest{Parent: "incidents/nosuch"})
			return err
		},
		func(ctx context.Context) error {
			_, err := c.ListAlerts(ctx, &pb.ListAlertsRequest{Parent: "incidents/nosuch"})
			return err
		},
	} {
		wants(t, f(ctx), codes.NotFound, "INCIDENT_NOT_FOUND")
	}
}
