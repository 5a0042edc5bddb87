package rpc_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

const third = "third" // fay, who takes turns, too

// turns is a rig with the schedule "primary" of ben, ann and fay, who change at
// midnight. Today is ben's.
func turns(t *testing.T) *rig {
	r := newRig(t)
	s := r.rota()
	r.keys[third] = auth.NewToken()
	_, err := r.dir.Change(t.Context(), directory.By{Principal: auth.Console(), Method: "test"}, func(e *directory.Edit) error {
		if err := e.Create(&directory.User{User: roster.User{ID: "fay", Name: "Fay", Zone: "UTC", Email: "fay@example.org", Role: roster.Responder}}); err != nil {
			return err
		}
		return e.Create(&directory.Token{Token: auth.Token{ID: "tokfay", Name: third, Hash: auth.HashSecret(r.keys[third]), User: "fay", By: "test"}})
	})
	if err != nil {
		t.Fatal(err)
	}
	s.GetLayers()[0].Participants = []string{"users/ben", "users/ann", "users/fay"}
	if _, err := r.schedules().UpdateSchedule(r.as(admin), &pb.UpdateScheduleRequest{Schedule: s, Effect: pb.UpdateScheduleRequest_EFFECT_NOW}); err != nil {
		t.Fatal(err)
	}
	return r
}

// day is a day after today, from midnight to midnight.
func (r *rig) day(n int) (from, to *timestamppb.Timestamp) {
	start := midnight(r.now()).Add(time.Duration(n-1) * 24 * time.Hour)
	return timestamppb.New(start), timestamppb.New(start.Add(24 * time.Hour))
}

// asks makes a request for cover of ben's day, which is the third from now.
func (r *rig) asks(change ...func(*pb.CoverRequest)) *pb.CoverRequest {
	r.t.Helper()
	c := &pb.CoverRequest{Schedule: "schedules/primary", Note: "wedding"}
	c.StartTime, c.EndTime = r.day(3)
	for _, f := range change {
		f(c)
	}
	made, err := r.onCall().CreateCoverRequest(r.as(responder), &pb.CreateCoverRequestRequest{CoverRequest: c})
	if err != nil {
		r.t.Fatal(err)
	}
	return made
}

func (r *rig) holderOn(n int) string {
	r.t.Helper()
	from, _ := r.day(n)
	got, err := r.onCall().ListOnCall(r.as(admin), &pb.ListOnCallRequest{Schedule: "schedules/primary", Time: timestamppb.New(from.AsTime().Add(time.Hour))})
	if err != nil || len(got.GetOnCall()) != 1 {
		r.t.Fatalf("%v, %v", got, err)
	}
	return got.GetOnCall()[0].GetUser()
}

// TestCoverIsTakenByOne: Ann and Fay accept at once. One has it, the other is
// told so and by whom, and whoever has it may say so twice.
func TestCoverIsTakenByOne(t *testing.T) {
	r := turns(t)
	if got := r.holderOn(3); got != "users/ben" {
		t.Fatalf("the third day is %s's, want ben's", got)
	}
	c := r.asks()
	if c.GetState() != pb.CoverRequest_STATE_OPEN || c.GetUser() != "users/ben" {
		t.Fatalf("made %v", c)
	}
	_, err := r.onCall().AcceptCoverRequest(r.as(responder), &pb.AcceptCoverRequestRequest{Name: c.GetName()})
	wants(t, err, codes.FailedPrecondition, "NOT_A_CANDIDATE")
	var wg sync.WaitGroup
	errs := make([]error, 2)
	got := make([]*pb.CoverRequest, 2)
	for i, who := range []string{admin, third} {
		wg.Go(func() {
			got[i], errs[i] = r.onCall().AcceptCoverRequest(r.as(who), &pb.AcceptCoverRequestRequest{Name: c.GetName()})
		})
	}
	wg.Wait()
	won := 0
	if errs[0] != nil {
		won = 1
	}
	winner := []string{"users/ann", "users/fay"}[won]
	if errs[won] != nil || got[won].GetTaker() != winner || got[won].GetState() != pb.CoverRequest_STATE_TAKEN || len(got[won].GetOverrides()) != 1 {
		t.Fatalf("who was first got %v, %v", got[won], errs[won])
	}
	lost := wants(t, errs[1-won], codes.FailedPrecondition, "NOT_OPEN")
	if !strings.Contains(lost.Message(), "faster") {
		t.Errorf("who was second is told %q", lost.Message())
	}
	if got := r.holderOn(3); got != winner {
		t.Errorf("%s is on call, want %s", got, winner)
	}
	again, err := r.onCall().AcceptCoverRequest(r.as([]string{admin, third}[won]), &pb.AcceptCoverRequestRequest{Name: c.GetName()})
	if err != nil || len(again.GetOverrides()) != 1 {
		t.Errorf("taken again by the same person: %v, %v", again, err)
	}
	_, err = r.onCall().CancelCoverRequest(r.as(responder), &pb.CancelCoverRequestRequest{Name: c.GetName()})
	wants(t, err, codes.FailedPrecondition, "NOT_OPEN")
	o, err := r.schedules().GetOverride(r.as(responder), &pb.GetOverrideRequest{Name: again.GetOverrides()[0]})
	if err != nil || o.GetCoverRequest() != c.GetName() || o.GetUser() != winner {
		t.Errorf("its override is %v, %v", o, err)
	}
}

// TestSwapChangesBothSidesAtOnce: Ben gives the third day for Ann's fourth. When
// Ann's is not hers any more, nothing of it happens.
func TestSwapChangesBothSidesAtOnce(t *testing.T) {
	r := turns(t)
	for2 := func(c *pb.CoverRequest) {
		c.Swap = &pb.Swap{User: "users/ann"}
		c.Swap.StartTime, c.Swap.EndTime = r.day(4)
	}
	c := r.asks(for2)
	_, err := r.onCall().AcceptCoverRequest(r.as(third), &pb.AcceptCoverRequestRequest{Name: c.GetName()})
	wants(t, err, codes.FailedPrecondition, "NOT_A_CANDIDATE")
	from, to := r.day(4)
	o, err := r.schedules().CreateOverride(r.as(third), &pb.CreateOverrideRequest{Override: &pb.Override{Schedule: "schedules/primary", User: "users/me", StartTime: from, EndTime: to}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.onCall().AcceptCoverRequest(r.as(admin), &pb.AcceptCoverRequestRequest{Name: c.GetName()})
	wants(t, err, codes.FailedPrecondition, "NOT_ON_CALL")
	if a, b := r.holderOn(3), r.holderOn(4); a != "users/ben" || b != "users/fay" {
		t.Errorf("after the swap that failed: %s and %s, want ben and fay", a, b)
	}
	if _, err := r.schedules().DeleteOverride(r.as(third), &pb.DeleteOverrideRequest{Name: o.GetName()}); err != nil {
		t.Fatal(err)
	}
	got, err := r.onCall().AcceptCoverRequest(r.as(admin), &pb.AcceptCoverRequestRequest{Name: c.GetName(), Etag: c.GetEtag()})
	if err != nil || len(got.GetOverrides()) != 2 {
		t.Fatalf("accepted: %v, %v", got, err)
	}
	if a, b := r.holderOn(3), r.holderOn(4); a != "users/ann" || b != "users/ben" {
		t.Errorf("after the swap: %s and %s, want ann and ben", a, b)
	}
}

func TestCoverRequestsThatAreRefused(t *testing.T) {
	r := turns(t)
	for _, c := range []struct {
		name   string
		who    string
		change func(*pb.CoverRequest)
		want   codes.Code
		field  string
	}{
		{"for another", third, func(c *pb.CoverRequest) { c.User = "users/ben" }, codes.PermissionDenied, ""},
		{"for another, by an administrator", admin, func(c *pb.CoverRequest) { c.User = "users/ben" }, codes.OK, ""},
		{"of a day that is another's", third, func(*pb.CoverRequest) {}, codes.InvalidArgument, "cover_request.start_time"},
		{"of what has begun", responder, func(c *pb.CoverRequest) { c.StartTime = timestamppb.New(r.now().Add(-time.Hour)) }, codes.InvalidArgument, "cover_request.start_time"},
		{"of no length", responder, func(c *pb.CoverRequest) { c.EndTime = c.GetStartTime() }, codes.InvalidArgument, "cover_request.end_time"},
		{"of no schedule", responder, func(c *pb.CoverRequest) { c.Schedule = "schedules/none" }, codes.NotFound, "cover_request.schedule"},
		{"with himself", responder, func(c *pb.CoverRequest) {
			c.Swap = &pb.Swap{User: "users/ben", StartTime: c.GetStartTime(), EndTime: c.GetEndTime()}
		}, codes.InvalidArgument, "cover_request.swap.user"},
		{"who only reads", stakeholder, func(*pb.CoverRequest) {}, codes.PermissionDenied, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &pb.CoverRequest{Schedule: "schedules/primary"}
			m.StartTime, m.EndTime = r.day(3)
			c.change(m)
			_, err := r.onCall().CreateCoverRequest(r.as(c.who), &pb.CreateCoverRequestRequest{CoverRequest: m})
			r.failsWith(err, c.want, c.field)
		})
	}
}

// TestCoverThatNobodyTakes: it can be taken back; else its time comes, and Ben
// is on call. Who asks and who might take it find it in their lists.
func TestCoverThatNobodyTakes(t *testing.T) {
	r := turns(t)
	c, other := r.asks(), r.asks()
	for who, want := range map[string]int{responder: 2, third: 2, stakeholder: 0} {
		got, err := r.onCall().ListCoverRequests(r.as(who), &pb.ListCoverRequestsRequest{User: "users/me"})
		if err != nil || len(got.GetCoverRequests()) != want {
			t.Errorf("%s finds %v, %v; want %d", who, got, err, want)
		}
	}
	_, err := r.onCall().CancelCoverRequest(r.as(third), &pb.CancelCoverRequestRequest{Name: c.GetName()})
	wants(t, err, codes.PermissionDenied, "NOT_YOURS")
	for range 2 {
		got, err := r.onCall().CancelCoverRequest(r.as(responder), &pb.CancelCoverRequestRequest{Name: c.GetName()})
		if err != nil || got.GetState() != pb.CoverRequest_STATE_CANCELLED {
			t.Errorf("taken back: %v, %v", got, err)
		}
	}
	r.still.Store(other.GetStartTime().AsTime().UnixMilli())
	got, err := r.onCall().GetCoverRequest(r.as(stakeholder), &pb.GetCoverRequestRequest{Name: other.GetName()})
	if err != nil || got.GetState() != pb.CoverRequest_STATE_PAST_DUE {
		t.Errorf("when its time has come: %v, %v", got, err)
	}
	for _, name := range []string{c.GetName(), other.GetName()} {
		if _, err := r.onCall().AcceptCoverRequest(r.as(third), &pb.AcceptCoverRequestRequest{Name: name}); status.Code(err) != codes.FailedPrecondition {
			t.Errorf("%s can still be taken: %v", name, err)
		}
	}
	on, err := r.onCall().ListOnCall(r.as(admin), &pb.ListOnCallRequest{Schedule: "schedules/primary"})
	if err != nil || on.GetOnCall()[0].GetUser() != "users/ben" {
		t.Errorf("on call is %v, %v; want ben", on, err)
	}
}

// TestCoverWarnsBeforeItIsTaken: Fay takes no other schedule, but cannot be
// woken; that is so before, and is not told. Ann would be on call by two
// schedules at once, and learns of it before she accepts.
func TestCoverWarnsBeforeItIsTaken(t *testing.T) {
	r := turns(t)
	if _, err := r.schedules().CreateSchedule(r.as(admin), &pb.CreateScheduleRequest{ScheduleId: "other", Schedule: &pb.Schedule{
		DisplayName: "Other", TimeZone: "UTC",
		Layers: []*pb.ScheduleLayer{{Id: "all", Participants: []string{"users/ann"}, Rotation: &pb.Rotation{Unit: pb.Rotation_UNIT_DAYS, Length: 1, Handoff: "2026-01-01T00:00"}}},
	}}); err != nil {
		t.Fatal(err)
	}
	policies := pb.NewEscalationPolicyServiceClient(r.conn)
	for _, of := range []string{"primary", "other"} {
		if _, err := policies.CreateEscalationPolicy(r.as(admin), &pb.CreateEscalationPolicyRequest{Force: true, EscalationPolicyId: of, EscalationPolicy: &pb.EscalationPolicy{
			DisplayName: of, Levels: []*pb.EscalationLevel{{Targets: []*pb.EscalationTarget{{Name: "schedules/" + of}}, Delay: durationpb.New(5 * time.Minute)}},
		}}); err != nil {
			t.Fatal(err)
		}
	}
	c := r.asks()
	const want = "ann is on call by other and primary at once from "
	if len(c.GetWarnings()) != 1 || !strings.HasPrefix(c.GetWarnings()[0], "if ann takes it: "+want) {
		t.Errorf("whoever asks is warned %q", c.GetWarnings())
	}
	got, err := r.onCall().GetCoverRequest(r.as(admin), &pb.GetCoverRequestRequest{Name: c.GetName()})
	if err != nil || len(got.GetWarnings()) != 1 || !strings.HasPrefix(got.GetWarnings()[0], want) {
		t.Errorf("Ann is warned %q, %v", got.GetWarnings(), err)
	}
	got, err = r.onCall().AcceptCoverRequest(r.as(third), &pb.AcceptCoverRequestRequest{Name: c.GetName()})
	if err != nil || len(got.GetWarnings()) != 0 {
		t.Errorf("Fay is warned %q, %v", got.GetWarnings(), err)
	}
}
