package rpc_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/drill"
)

func (r *rig) drills() pb.DrillServiceClient { return pb.NewDrillServiceClient(r.conn) }

// always are hours that are never over.
func always() *pb.DrillHours {
	return &pb.DrillHours{Days: []int32{1, 2, 3, 4, 5, 6, 7}, Start: "00:00", End: "00:00"}
}

func TestDrillPlans(t *testing.T) {
	r := newRig(t)
	made, err := r.drills().CreateDrillPlan(r.as(responder), &pb.CreateDrillPlanRequest{DrillPlan: &pb.DrillPlan{DisplayName: "Mine", People: []string{"users/me"}}})
	if err != nil {
		t.Fatal(err)
	}
	if h := made.GetHours(); made.GetName() != "drillPlans/mine" || made.GetPeople()[0] != "users/ben" || made.GetInterval().AsDuration() != 28*24*time.Hour ||
		made.GetLimit().AsDuration() != 5*time.Minute || len(h.GetDays()) != 5 || h.GetStart() != "09:00" || h.GetEnd() != "17:00" {
		t.Errorf("made: %v", made)
	}
	seed := func() string {
		p, _ := r.dir.Snapshot().GetDrillPlan("mine")
		return p.Seed
	}
	before := seed()
	changed, err := r.drills().UpdateDrillPlan(r.as(responder), &pb.UpdateDrillPlanRequest{
		DrillPlan: &pb.DrillPlan{Name: made.GetName(), Limit: durationpb.New(time.Minute), Hours: &pb.DrillHours{Start: "12:00"}}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"limit", "hours.start"}},
	})
	if err != nil || changed.GetLimit().AsDuration() != time.Minute || changed.GetHours().GetStart() != "12:00" || changed.GetHours().GetEnd() != "17:00" {
		t.Errorf("changed: %v (%v)", changed, err)
	}
	if before == "" || seed() != before {
		t.Errorf("the seed was %q and is %q: the times of the plan have moved", before, seed())
	}
	for name, p := range map[string]*pb.DrillPlan{
		"of another":        {DisplayName: "x", People: []string{"users/ann"}},
		"of a schedule":     {DisplayName: "x", People: []string{"teams/core"}},
		"of a team, by one": {DisplayName: "x", Team: "teams/core", People: []string{"users/ben"}},
	} {
		if _, err := r.drills().CreateDrillPlan(r.as(responder), &pb.CreateDrillPlanRequest{DrillPlan: p}); err == nil {
			t.Errorf("a plan %s is taken", name)
		} else {
			wants(t, err, codes.PermissionDenied, "NOT_YOURS")
		}
	}
	for field, p := range map[string]*pb.DrillPlan{
		"drill_plan.people[0]":      {DisplayName: "x", Team: "teams/core", People: []string{"users/cyd"}},
		"drill_plan.interval":       {DisplayName: "x", People: []string{"users/ben"}, Interval: durationpb.New(time.Hour)},
		"drill_plan.hours.end":      {DisplayName: "x", People: []string{"users/ben"}, Hours: &pb.DrillHours{Start: "17:00", End: "09:00"}},
		"drill_plan.hours.start":    {DisplayName: "x", People: []string{"users/ben"}, Hours: &pb.DrillHours{Start: "02:00", End: "05:00"}},
		"drill_plan.on_call_within": {DisplayName: "x", People: []string{"users/ben"}, OnCallWithin: durationpb.New(91 * 24 * time.Hour)},
	} {
		_, err := r.drills().CreateDrillPlan(r.as(admin), &pb.CreateDrillPlanRequest{DrillPlan: p})
		r.failsWith(err, codes.InvalidArgument, field)
	}
	if all, err := r.drills().ListDrillPlans(r.as(stakeholder), &pb.ListDrillPlansRequest{}); err != nil || len(all.GetDrillPlans()) != 1 {
		t.Errorf("listed: %v (%v)", all, err)
	}
	if _, err := r.drills().DeleteDrillPlan(r.as(responder), &pb.DeleteDrillPlanRequest{Name: made.GetName()}); err != nil {
		t.Error(err)
	}
}

// A person drills himself without a plan; others need one, and who is responding is
// left in peace.
func TestStartDrill(t *testing.T) {
	r := newRig(t)
	if _, err := r.drills().CreateDrillPlan(r.as(admin), &pb.CreateDrillPlanRequest{
		DrillPlanId: "core", DrillPlan: &pb.DrillPlan{DisplayName: "Core", Team: "teams/core", People: []string{"teams/core"}, Night: true, Hours: always()},
	}); err != nil {
		t.Fatal(err)
	}
	own, err := r.drills().StartDrill(r.as(responder), &pb.StartDrillRequest{})
	if err != nil {
		t.Fatal(err)
	}
	d := own.GetDrills()[0]
	if d.GetState() != pb.Drill_STATE_RUNNING || d.GetUser() != "users/ben" || d.GetStarter() != "users/ben" || len(d.GetDevices()) != 1 || d.GetDevices()[0].GetDevice() != "devices/benphone" {
		t.Errorf("started: %v", d)
	}
	_, err = r.drills().StartDrill(r.as(responder), &pb.StartDrillRequest{User: "users/ann"})
	wants(t, err, codes.PermissionDenied, "NOT_YOURS")
	_, err = r.drills().StartDrill(r.as(responder), &pb.StartDrillRequest{DrillPlan: "drillPlans/core"})
	wants(t, err, codes.PermissionDenied, "NOT_YOURS")
	all, err := r.drills().StartDrill(r.as(admin), &pb.StartDrillRequest{DrillPlan: "drillPlans/core"})
	if err != nil || len(all.GetDrills()) != 2 {
		t.Fatalf("started %v (%v)", all, err)
	}
	if ann, ben := all.GetDrills()[0], all.GetDrills()[1]; ann.GetState() != pb.Drill_STATE_RUNNING || ben.GetState() != pb.Drill_STATE_SKIPPED || ben.GetReason() != "A drill is running." {
		t.Errorf("started %v", all)
	}
	_, err = r.drills().GetDrill(r.as(responder), &pb.GetDrillRequest{Name: all.GetDrills()[0].GetName()})
	wants(t, err, codes.NotFound, "NOT_FOUND")
	if got, err := r.drills().GetDrill(r.as(admin), &pb.GetDrillRequest{Name: d.GetName()}); err != nil || got.GetState() != pb.Drill_STATE_RUNNING {
		t.Errorf("got %v (%v)", got, err)
	}

	_, err = r.drills().PutOffDrill(r.as(responder), &pb.PutOffDrillRequest{Name: d.GetName()})
	if st := wants(t, err, codes.FailedPrecondition, "DRILL_OVER"); strings.Contains(st.Message(), "come to its end") {
		t.Errorf("of one that is running it says: %s", st.Message())
	}
	for range 2 { // repeating it changes nothing
		if got, err := r.drills().CancelDrill(r.as(responder), &pb.CancelDrillRequest{Name: d.GetName()}); err != nil || got.GetState() != pb.Drill_STATE_CANCELLED || got.GetEndTime() == nil {
			t.Fatalf("cancelled: %v (%v)", got, err)
		}
	}
	_, err = r.drills().PutOffDrill(r.as(responder), &pb.PutOffDrillRequest{Name: d.GetName()})
	wants(t, err, codes.FailedPrecondition, "DRILL_OVER")
	r.page("Database is down") // ben's, by the policy
	busy, err := r.drills().StartDrill(r.as(responder), &pb.StartDrillRequest{})
	if err != nil || busy.GetDrills()[0].GetState() != pb.Drill_STATE_SKIPPED || busy.GetDrills()[0].GetReason() == "" {
		t.Errorf("while there is an incident: %v (%v)", busy, err)
	}
}

// Pages of the list show each drill that the caller may see once, latest first; the
// review counts them and tells the medians.
func TestListDrills(t *testing.T) {
	r := newRig(t)
	start := r.now().Add(-10 * time.Hour)
	for i := range 12 {
		d := drill.Drill{ID: drill.ID(auth.NewID()), Plan: "core", Team: "core", User: "ann", Begun: start.Add(time.Duration(i/2) * time.Minute), State: drill.Running}
		if i%2 == 0 {
			d.User = "ben"
		}
		d.Deadline = d.Begun.Add(5 * time.Minute)
		heard := d.Begun.Add(time.Duration(10*(i+1)) * time.Second)
		d.Devices = []drill.Device{{ID: "benphone", Delivery: "x", Outcome: drill.OnDevice, Heard: heard}}
		if kept, err := r.store.PutDrill(t.Context(), d.Judge(heard)); err != nil || !kept {
			t.Fatalf("%t %v", kept, err)
		}
	}
	for who, want := range map[string]int{admin: 12, responder: 6, stakeholder: 0} {
		seen := map[string]bool{}
		last := r.now()
		for token := ""; ; {
			page, err := r.drills().ListDrills(r.as(who), &pb.ListDrillsRequest{PageSize: 3, PageToken: token})
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range page.GetDrills() {
				if seen[d.GetName()] || d.GetStartTime().AsTime().After(last) {
					t.Errorf("%s sees %v out of order, or twice", who, d)
				}
				seen[d.GetName()], last = true, d.GetStartTime().AsTime()
			}
			if token = page.GetNextPageToken(); token == "" {
				break
			}
		}
		if len(seen) != want {
			t.Errorf("%s sees %d drills, want %d", who, len(seen), want)
		}
	}
	if got, err := r.drills().ListDrills(r.as(admin), &pb.ListDrillsRequest{User: "users/ben", DrillPlan: "drillPlans/core"}); err != nil || len(got.GetDrills()) != 6 {
		t.Errorf("of ben: %v (%v)", got, err)
	}
	if got, err := r.drills().ListDrills(r.as(admin), &pb.ListDrillsRequest{Team: "teams/other"}); err != nil || len(got.GetDrills()) != 0 {
		t.Errorf("of another team: %v (%v)", got, err)
	}
	review, err := r.drills().ReviewDrills(r.as(admin), &pb.ReviewDrillsRequest{Team: "teams/core"})
	if err != nil {
		t.Fatal(err)
	}
	if review.GetHeardCount() != 12 || review.GetMedianResponseTime().AsDuration() != 65*time.Second || len(review.GetPeople()) != 2 || review.GetPeople()[1].GetMedianResponseTime().AsDuration() != time.Minute {
		t.Errorf("review: %v", review)
	}
	_, err = r.drills().ReviewDrills(r.as(responder), &pb.ReviewDrillsRequest{Team: "teams/core"})
	wants(t, err, codes.PermissionDenied, "NOT_YOURS")
}
