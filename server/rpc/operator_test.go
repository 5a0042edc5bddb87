package rpc_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/attention"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/rpc"
	"github.com/tocsin-oncall/tocsin/server/store"
)

func (r *rig) operator() pb.OperatorServiceClient { return pb.NewOperatorServiceClient(r.conn) }

func TestStatus(t *testing.T) {
	r := newRig(t, func(c *rpc.Config) {
		c.Members = func(context.Context) (store.Membership, error) {
			m := store.Membership{
				Members: []store.Member{{Instance: "one", Name: "host", Version: "2.0", Schema: 2}, {Instance: "two", Name: "forgotten", Version: "1.0", Schema: 1}},
				Schema:  store.SchemaState{Written: 2, By: "2.0"},
			}
			for p := range m.Leases {
				m.Leases[p].Owner = "one"
			}
			return m, nil
		}
		c.Problems = func(context.Context) ([]string, bool) { return []string{"The certificate ends tomorrow."}, true }
	})
	r.page("disk full")
	got, err := r.operator().GetStatus(r.as(admin), &pb.GetStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if got.GetReadiness() != pb.SystemStatus_READINESS_DEGRADED || got.GetOpenIncidentCount() != 1 || got.GetTriggeredIncidentCount() != 1 ||
		got.GetRedisVersion() == "" || len(got.GetInstances()) != 2 || got.GetInstances()[0].GetPartitionCount() != 64 || got.GetSchema().GetWritten() != 2 {
		t.Errorf("the status is %v", got)
	}
	if all := strings.Join(got.GetProblems(), " "); !strings.Contains(all, "The instance on forgotten (1.0) is too old for what is stored") || !strings.Contains(all, "run 2.0 or later") {
		t.Errorf("the problems are %q, want that one instance is too old", all)
	}
	if len(got.GetPartitions()) == 0 || len(got.GetPartitions()) > 3 { // that of the incident's work
		t.Errorf("%d partitions are not idle", len(got.GetPartitions()))
	}
	if all, err := r.operator().GetStatus(r.as(admin), &pb.GetStatusRequest{Verbose: true}); err != nil || len(all.GetPartitions()) != 64 {
		t.Errorf("a verbose status has %d partitions (%v)", len(all.GetPartitions()), err)
	}
	held, err := r.operator().HoldPaging(r.as(admin), &pb.HoldPagingRequest{Reason: "migration"})
	if err != nil || !held.GetHeld() || held.GetReason() != "migration" || held.GetHolder() != "Ann Archer" || held.GetHoldTime() == nil {
		t.Fatalf("held %v (%v)", held, err)
	}
	if !r.dir.Snapshot().Settings().Held {
		t.Error("the settings do not say that paging is held")
	}
	got, err = r.operator().GetStatus(r.as(admin), &pb.GetStatusRequest{})
	if err != nil || !got.GetHold().GetHeld() || !strings.Contains(strings.Join(got.GetProblems(), " "), "held") {
		t.Errorf("the status of a held installation is %v (%v)", got, err)
	}
	for range 2 {
		on, err := r.operator().ResumePaging(r.as(admin), &pb.ResumePagingRequest{})
		if err != nil || on.GetHeld() {
			t.Errorf("resumed %v (%v)", on, err)
		}
	}
	_, err = r.operator().HoldPaging(r.as(admin), &pb.HoldPagingRequest{})
	wants(t, err, codes.InvalidArgument, "INVALID_FIELD")
}

// Whoever can be paged and would perhaps not wake up is named until a phone
// shows that it is alive.
func TestStatusNamesTheDoubtful(t *testing.T) {
	r := newRig(t)
	names := func() map[string]string {
		t.Helper()
		got, err := r.operator().GetStatus(r.as(admin), &pb.GetStatusRequest{})
		if err != nil || len(got.GetUnreachable()) > 0 {
			t.Fatalf("the status is %v (%v)", got, err)
		}
		who := map[string]string{}
		for _, u := range got.GetDoubtful() {
			who[u.GetUser()] = u.GetReason()
		}
		return who
	}
	before := names()
	if len(before) != 2 || !strings.Contains(before["users/ben"], "Nothing was heard of it") {
		t.Errorf("before anything was heard these are doubtful: %v", before)
	}
	if _, err := r.devices().GetDevice(r.as(phone), &pb.GetDeviceRequest{Name: "devices/me"}); err != nil {
		t.Fatal(err)
	}
	if after := names(); len(after) != 1 || after["users/ben"] != "" {
		t.Errorf("after Ben has opened the app these are doubtful: %v", after)
	}
}

func TestDeadLetters(t *testing.T) {
	r := newRig(t)
	in := r.fire("a", "disk full")
	p := must(store.PartitionOfIncident(in.ID))
	for _, item := range must(r.store.Work(t.Context(), p, "", 10)) {
		if err := r.store.DeadLetterWork(t.Context(), item, "the push service refused"); err != nil {
			t.Fatal(err)
		}
	}
	list, err := r.operator().ListDeadLetters(r.as(admin), &pb.ListDeadLettersRequest{})
	if err != nil || len(list.GetDeadLetters()) == 0 {
		t.Fatalf("listed %v (%v)", list, err)
	}
	l := list.GetDeadLetters()[0]
	if l.GetIncident() != "incidents/"+string(in.ID) || l.GetUser() != "users/ben" || l.GetReason() != "the push service refused" || !strings.Contains(l.GetSummary(), "Ben Baker") {
		t.Errorf("the letter is %v", l)
	}
	_, err = r.operator().RetryDeadLetters(r.as(admin), &pb.RetryDeadLettersRequest{Names: []string{"deadLetters/0-1-1"}})
	wants(t, err, codes.NotFound, "DEAD_LETTER_NOT_FOUND")
	_, err = r.operator().RetryDeadLetters(r.as(admin), &pb.RetryDeadLettersRequest{})
	wants(t, err, codes.InvalidArgument, "INVALID_FIELD")
	one, err := r.operator().RetryDeadLetters(r.as(admin), &pb.RetryDeadLettersRequest{Names: []string{l.GetName()}})
	if err != nil || one.GetRetriedCount() != 1 {
		t.Errorf("retried %v (%v)", one, err)
	}
	all, err := r.operator().RetryDeadLetters(r.as(admin), &pb.RetryDeadLettersRequest{All: true})
	if err != nil || int(all.GetRetriedCount()) != len(list.GetDeadLetters())-1 {
		t.Errorf("retried %v (%v)", all, err)
	}
	if left, err := r.operator().ListDeadLetters(r.as(admin), &pb.ListDeadLettersRequest{}); err != nil || len(left.GetDeadLetters()) != 0 {
		t.Errorf("left %v (%v)", left, err)
	}
}

func TestDroppedEvents(t *testing.T) {
	r := newRig(t)
	for i := range 5 {
		err := r.store.NoteDropped(t.Context(), store.Dropped{
			At: r.now().Add(time.Duration(i) * time.Second), Service: "payments", Integration: "prom", Reason: "SERVICE_DISABLED", Key: "a", Summary: "disk full",
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	req := &pb.ListDroppedEventsRequest{PageSize: 2}
	var last time.Time
	for {
		page, err := r.operator().ListDroppedEvents(r.as(admin), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range page.GetDroppedEvents() {
			if at := d.GetDropTime().AsTime(); !last.IsZero() && !at.Before(last) {
				t.Errorf("%s comes after %s", at, last)
			}
			last = d.GetDropTime().AsTime()
			if d.GetCause() != pb.DroppedEvent_CAUSE_SERVICE_DISABLED || d.GetReason() == "" {
				t.Errorf("dropped %v", d)
			}
			seen++
		}
		if page.GetTotals()["SERVICE_DISABLED"] != 5 {
			t.Errorf("totals %v", page.GetTotals())
		}
		if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
			break
		}
	}
	if seen != 5 {
		t.Errorf("listed %d of 5", seen)
	}
}

func TestExport(t *testing.T) {
	r := newRig(t)
	want := map[string]bool{}
	for range 6 {
		in := r.page("disk full")
		if _, err := r.incidents().ResolveIncident(r.as(responder), &pb.ResolveIncidentRequest{Name: in.GetName()}); err != nil {
			t.Fatal(err)
		}
		want[in.GetName()] = true
	}
	r.page("still open")
	read := func(query string) (lines []*pb.ExportedIncident) {
		res := r.http(http.MethodGet, "/v1/incidents:export"+query, admin, "")
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "application/x-ndjson" {
			t.Fatalf("HTTP %d %s", res.StatusCode, res.Header.Get("Content-Type"))
		}
		for in := bufio.NewReader(res.Body); ; {
			line, err := in.ReadBytes('\n')
			if len(strings.TrimSpace(string(line))) > 0 {
				m := &pb.ExportedIncident{}
				if err := protojson.Unmarshal(line, m); err != nil {
					t.Fatalf("%q: %v", line, err)
				}
				lines = append(lines, m)
			}
			if errors.Is(err, io.EOF) {
				return lines
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	all := read("")
	if len(all) != len(want) {
		t.Fatalf("exported %d of %d", len(all), len(want))
	}
	for _, l := range all {
		if !want[l.GetIncident().GetName()] || len(l.GetTimeline()) == 0 {
			t.Errorf("a line is %v", l)
		}
	}
	if rest := read("?cursor=" + all[3].GetCursor()); len(rest) != 2 || rest[0].GetIncident().GetName() != all[4].GetIncident().GetName() {
		t.Errorf("behind the fourth line come %d", len(rest))
	}
}

func TestExplainPaging(t *testing.T) {
	r := newRig(t)
	in := r.fire("a", "disk full")
	name := "incidents/" + string(in.ID)
	explain := func(user string) *pb.ExplainPagingResponse {
		t.Helper()
		got, err := r.incidents().ExplainPaging(r.as(stakeholder), &pb.ExplainPagingRequest{Name: name, User: user})
		if err != nil {
			t.Fatal(err)
		}
		if got.GetSummary() == "" {
			t.Error("no sentence sums it up")
		}
		return got
	}
	want := func(user string, reason pb.ExplainPagingResponse_Reason, paged bool) *pb.ExplainPagingResponse {
		t.Helper()
		got := explain(user)
		if got.GetReason() != reason || got.GetPaged() != paged {
			t.Errorf("%s: got %s (paged %t), want %s: %v", user, got.GetReason(), got.GetPaged(), reason, got)
		}
		return got
	}
	want("users/cyd", pb.ExplainPagingResponse_REASON_NOT_A_TARGET, false)
	want("users/ann", pb.ExplainPagingResponse_REASON_LEVEL_NOT_REACHED, false)
	want("users/ben", pb.ExplainPagingResponse_REASON_STEP_NOT_DUE, false)
	d := r.deliver(in.ID, "ben", "benphone")
	got := want("users/ben", pb.ExplainPagingResponse_REASON_PAGED_UNCONFIRMED, true)
	if len(got.GetDeliveries()) != 1 || len(got.GetFacts()) < 3 {
		t.Errorf("the facts are %v", got)
	}
	if _, err := r.store.Receipt(t.Context(), store.Receipt{Delivery: d.ID, State: incident.DeliveryDisplayed, At: r.now()}); err != nil {
		t.Fatal(err)
	}
	want("users/ben", pb.ExplainPagingResponse_REASON_PAGED, true)
	if _, err := r.incidents().AcknowledgeIncident(r.as(responder), &pb.AcknowledgeIncidentRequest{Name: name}); err != nil {
		t.Fatal(err)
	}
	want("users/ann", pb.ExplainPagingResponse_REASON_LEVEL_NOT_REACHED, false)

	// Held by quiet hours: the person's document has it.
	low := r.fire("b", "slow")
	name = "incidents/" + string(low.ID)
	p := &attention.Person{User: "ben", Held: []attention.Line{{At: r.now(), Incident: low.ID, Method: roster.PushAll, Item: attention.Item{Incident: low.ID}}}, Release: r.now().Add(time.Hour)}
	if _, err := r.store.Commit(t.Context(), store.Commit{Person: &store.PersonChange{After: p}}); err != nil {
		t.Fatal(err)
	}
	want("users/ben", pb.ExplainPagingResponse_REASON_QUIET_HOURS, false)
	if _, err := r.operator().HoldPaging(r.as(admin), &pb.HoldPagingRequest{Reason: "migration"}); err != nil {
		t.Fatal(err)
	}
	want("users/ben", pb.ExplainPagingResponse_REASON_PAGING_HELD, false)
	_, err := r.incidents().ExplainPaging(r.as(stakeholder), &pb.ExplainPagingRequest{Name: name, User: "users/nosuch"})
	wants(t, err, codes.NotFound, "NOT_FOUND")
	// Snoozed before the next level.
	third := r.fire("c", "hot")
	name = "incidents/" + string(third.ID)
	if _, err := r.incidents().SnoozeIncident(r.as(admin), &pb.SnoozeIncidentRequest{Name: name, Duration: durationpb.New(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.operator().ResumePaging(r.as(admin), &pb.ResumePagingRequest{}); err != nil {
		t.Fatal(err)
	}
	want("users/ben", pb.ExplainPagingResponse_REASON_SNOOZED_BEFORE, false)
}
