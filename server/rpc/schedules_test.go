package rpc_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

func (r *rig) schedules() pb.ScheduleServiceClient { return pb.NewScheduleServiceClient(r.conn) }
func (r *rig) onCall() pb.OnCallServiceClient      { return pb.NewOnCallServiceClient(r.conn) }

// rota is a schedule of Ben and Ann, who change at midnight UTC; Ben has today,
// on which it stays noon.
func (r *rig) rota() *pb.Schedule {
	r.t.Helper()
	r.still.Store(r.now().Truncate(24 * time.Hour).Add(12 * time.Hour).UnixMilli())
	s, err := r.schedules().CreateSchedule(r.as(admin), &pb.CreateScheduleRequest{Schedule: &pb.Schedule{
		DisplayName: "Primary", Team: "teams/core", TimeZone: "UTC", ResponseTarget: durationpb.New(15 * time.Minute),
		Layers: []*pb.ScheduleLayer{{
			Id: "days", Participants: []string{"users/ben", "users/ann"},
			Rotation:     &pb.Rotation{Unit: pb.Rotation_UNIT_DAYS, Length: 1, Handoff: r.now().UTC().Format("2006-01-02") + "T00:00"},
			Restrictions: []*pb.Restriction{{Days: []int32{1, 2, 3, 4, 5}, Start: "00:00", Length: durationpb.New(24 * time.Hour)}, {Days: []int32{6, 7}, Start: "00:00", Length: durationpb.New(48 * time.Hour)}},
		}},
	}})
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func midnight(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour) }

func TestScheduleIsRenderedAndExplained(t *testing.T) {
	r := newRig(t)
	s := r.rota()
	if s.GetName() != "schedules/primary" || len(s.GetLayers()[0].GetRestrictions()) != 2 || s.GetLayers()[0].GetRotation().GetUnit() != pb.Rotation_UNIT_DAYS {
		t.Fatalf("the schedule came back as %v", s)
	}
	next := midnight(r.now())
	got, err := r.schedules().RenderSchedule(r.as(stakeholder), &pb.RenderScheduleRequest{
		Name: s.GetName(), StartTime: timestamppb.New(next.Add(-time.Hour)), EndTime: timestamppb.New(next.Add(36 * time.Hour)),
	})
	if err != nil {
		t.Fatal(err)
	}
	var who []string
	for _, x := range got.GetShifts() {
		who = append(who, x.GetUser())
	}
	if strings.Join(who, " ") != "users/ben users/ann users/ben" || got.GetShifts()[len(got.GetShifts())-1].GetEndTime().AsTime() != next.Add(36*time.Hour) {
		t.Errorf("rendered %v", got)
	}
	if len(got.GetLayers()) != 1 || got.GetLayers()[0].GetLayer() != "days" {
		t.Errorf("layers %v, want the one", got.GetLayers())
	}
	why, err := r.schedules().ExplainSchedule(r.as(stakeholder), &pb.ExplainScheduleRequest{Name: s.GetName(), Time: timestamppb.New(next.Add(time.Hour))})
	if err != nil {
		t.Fatal(err)
	}
	if why.GetShift().GetUser() != "users/ann" || why.GetReasons()[0].GetTurn() != 1 || why.GetReasons()[0].GetVerdict() != pb.ScheduleReason_VERDICT_HOLDS {
		t.Errorf("tomorrow is explained as %v", why)
	}
}

func TestOverridesAreOnesOwn(t *testing.T) {
	r := newRig(t)
	s, in := r.rota(), func(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(r.now().Add(d)) }
	for _, c := range []struct {
		name, who, user string
		from, to        time.Duration
		want            codes.Code
		field           string
	}{
		{"for himself", responder, "users/me", time.Hour, 2 * time.Hour, codes.OK, ""},
		{"for another", responder, "users/ann", time.Hour, 2 * time.Hour, codes.PermissionDenied, ""},
		{"a gap", responder, "", time.Hour, 2 * time.Hour, codes.PermissionDenied, ""},
		{"a gap by an administrator", admin, "", time.Hour, 2 * time.Hour, codes.OK, ""},
		{"of no length", responder, "users/me", time.Hour, time.Hour, codes.InvalidArgument, "override.end_time"},
		{"of the past", responder, "users/me", -2 * time.Hour, -time.Hour, codes.FailedPrecondition, ""},
		{"of nobody known", admin, "users/zoe", time.Hour, 2 * time.Hour, codes.NotFound, "override.user"},
		{"who only reads", stakeholder, "users/me", time.Hour, 2 * time.Hour, codes.PermissionDenied, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, err := r.schedules().CreateOverride(r.as(c.who), &pb.CreateOverrideRequest{Override: &pb.Override{
				Schedule: s.GetName(), User: c.user, StartTime: in(c.from), EndTime: in(c.to),
			}})
			r.failsWith(err, c.want, c.field)
			if err == nil && (o.GetSchedule() != s.GetName() || o.GetCreator() == "") {
				t.Errorf("made %v", o)
			}
		})
	}
}

func TestTakeOnCallAndGiveItBack(t *testing.T) {
	r := newRig(t)
	s := r.rota()
	next := midnight(r.now())
	if _, err := r.schedules().CreateOverride(r.as(admin), &pb.CreateOverrideRequest{Override: &pb.Override{
		Schedule: s.GetName(), User: "users/ann", StartTime: timestamppb.New(r.now().Add(-time.Minute)), EndTime: timestamppb.New(next),
	}}); err != nil {
		t.Fatal(err)
	}
	holder := func() string {
		t.Helper()
		got, err := r.onCall().ListOnCall(r.as(responder), &pb.ListOnCallRequest{Schedule: s.GetName()})
		if err != nil || len(got.GetOnCall()) != 1 {
			t.Fatalf("%v, %v", got, err)
		}
		return got.GetOnCall()[0].GetUser()
	}
	if got := holder(); got != "users/ann" {
		t.Fatalf("%s is on call under the override, want ann", got)
	}
	taken, err := r.onCall().TakeOnCall(r.as(responder), &pb.TakeOnCallRequest{Schedule: s.GetName(), Duration: durationpb.New(2 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if got := holder(); got != "users/ben" {
		t.Errorf("%s is on call after Ben took it", got)
	}
	if _, err := r.schedules().DeleteOverride(r.as(responder), &pb.DeleteOverrideRequest{Name: taken.GetName()}); err != nil {
		t.Fatal(err)
	}
	if got := holder(); got != "users/ann" {
		t.Errorf("%s is on call after Ben gave it back, want ann", got)
	}
}

func TestWhoIsOnCall(t *testing.T) {
	r := newRig(t)
	s := r.rota()
	policies := pb.NewEscalationPolicyServiceClient(r.conn)
	p, err := policies.UpdateEscalationPolicy(r.as(admin), &pb.UpdateEscalationPolicyRequest{
		EscalationPolicy: &pb.EscalationPolicy{Name: "escalationPolicies/core", Levels: []*pb.EscalationLevel{
			{Targets: []*pb.EscalationTarget{{Name: s.GetName()}}, Delay: durationpb.New(5 * time.Minute)},
			{Targets: []*pb.EscalationTarget{{Name: "teams/core"}}, Delay: durationpb.New(5 * time.Minute), Strategy: pb.EscalationLevel_STRATEGY_ANY_ONE},
		}}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"levels"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if p.GetLevels()[0].GetTargets()[0].GetName() != s.GetName() || p.GetLevels()[1].GetStrategy() != pb.EscalationLevel_STRATEGY_ANY_ONE {
		t.Fatalf("the policy came back as %v", p)
	}
	at := timestamppb.New(midnight(r.now()).Add(time.Hour)) // Ann's day
	for _, c := range []struct {
		name string
		req  *pb.ListOnCallRequest
		want string
	}{
		{"the policy", &pb.ListOnCallRequest{EscalationPolicy: p.GetName()}, "1 users/ann, 2 users/ann, 2 users/ben"},
		{"the service", &pb.ListOnCallRequest{Service: "services/payments"}, "1 users/ann, 2 users/ann, 2 users/ben"},
		{"the team", &pb.ListOnCallRequest{Team: "teams/core"}, "1 users/ann, 2 users/ann, 2 users/ben"},
		{"everything", &pb.ListOnCallRequest{}, "1 users/ann, 2 users/ann, 2 users/ben"},
		{"a person", &pb.ListOnCallRequest{User: "users/me"}, "2 users/ben"},
		{"the schedule", &pb.ListOnCallRequest{Schedule: s.GetName()}, "0 users/ann"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.req.Time = at
			got, err := r.onCall().ListOnCall(r.as(responder), c.req)
			if err != nil {
				t.Fatal(err)
			}
			var rows []string
			for _, x := range got.GetOnCall() {
				rows = append(rows, fmt.Sprintf("%d %s", x.GetLevel(), x.GetUser()))
			}
			if strings.Join(rows, ", ") != c.want {
				t.Errorf("on call: %v, want %s", rows, c.want)
			}
		})
	}
	_, err = r.onCall().ListOnCall(r.as(responder), &pb.ListOnCallRequest{Team: "teams/core", Schedule: s.GetName()})
	r.failsWith(err, codes.InvalidArgument, "schedule")
	_, err = r.onCall().ListOnCall(r.as(responder), &pb.ListOnCallRequest{Team: "teams/none"})
	r.failsWith(err, codes.NotFound, "team")
	mine, err := r.onCall().ListShifts(r.as(responder), &pb.ListShiftsRequest{User: "users/me", StartTime: at, EndTime: timestamppb.New(at.AsTime().Add(7 * 24 * time.Hour))})
	if err != nil || len(mine.GetShifts()) < 3 {
		t.Errorf("Ben's week: %v, %v", mine, err)
	}
	for _, x := range mine.GetShifts() {
		if x.GetUser() != "users/ben" {
			t.Errorf("a shift of %s among Ben's", x.GetUser())
		}
	}
	_, err = r.onCall().ListShifts(r.as(responder), &pb.ListShiftsRequest{})
	r.failsWith(err, codes.InvalidArgument, "user")
	_, err = r.onCall().ListShifts(r.as(responder), &pb.ListShiftsRequest{User: "users/me", EndTime: timestamppb.New(r.now().Add(-time.Hour))})
	r.failsWith(err, codes.InvalidArgument, "end_time")
}

func TestScheduleChangesLeaveThePast(t *testing.T) {
	r := newRig(t)
	s := r.rota()
	_, err := r.schedules().UpdateSchedule(r.as(responder), &pb.UpdateScheduleRequest{Schedule: s})
	r.failsWith(err, codes.PermissionDenied, "")
	s.GetLayers()[0].Participants = []string{"users/ann"}
	if s, err = r.schedules().UpdateSchedule(r.as(admin), &pb.UpdateScheduleRequest{Schedule: s}); err != nil {
		t.Fatal(err)
	}
	got, err := r.onCall().ListOnCall(r.as(admin), &pb.ListOnCallRequest{Schedule: s.GetName(), Time: timestamppb.New(r.now().Add(time.Second))})
	if err != nil || got.GetOnCall()[0].GetUser() != "users/ann" {
		t.Errorf("after Ben was taken out: %v, %v", got, err)
	}
	s.TimeZone = "Mars/Olympus"
	_, err = r.schedules().UpdateSchedule(r.as(admin), &pb.UpdateScheduleRequest{Schedule: s})
	r.failsWith(err, codes.InvalidArgument, "schedule.time_zone")
	if _, err := r.schedules().DeleteSchedule(r.as(admin), &pb.DeleteScheduleRequest{Name: s.GetName()}); err != nil {
		t.Fatal(err)
	}
	_, err = r.schedules().GetSchedule(r.as(admin), &pb.GetScheduleRequest{Name: s.GetName()})
	r.failsWith(err, codes.NotFound, "name")
}

// TestPreviewChangesNothing: Ann is to have every day, from the next hand-off on
// or at once.
func TestPreviewChangesNothing(t *testing.T) {
	r := newRig(t)
	s := r.rota()
	next := midnight(r.now())
	week := timestamppb.New(next.Add(6 * 24 * time.Hour))
	s.GetLayers()[0].Participants = []string{"users/ann", "users/ben", "users/ann"}
	got, err := r.schedules().PreviewSchedule(r.as(admin), &pb.PreviewScheduleRequest{Schedule: s, EndTime: week})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, d := range got.GetDifferences() {
		lines = append(lines, fmt.Sprintf("%v+%v %s->%s", d.GetStartTime().AsTime().Sub(next), d.GetEndTime().AsTime().Sub(d.GetStartTime().AsTime()), d.GetBefore(), d.GetAfter()))
	}
	if want := "24h0m0s+24h0m0s users/ben->users/ann 48h0m0s+24h0m0s users/ann->users/ben 72h0m0s+24h0m0s users/ben->users/ann"; strings.Join(lines, " ") != want {
		t.Errorf("differences %q, want %q", lines, want)
	}
	s.GetLayers()[0].Restrictions = s.GetLayers()[0].GetRestrictions()[:1] // no weekend
	got, err = r.schedules().PreviewSchedule(r.as(admin), &pb.PreviewScheduleRequest{Schedule: s, EndTime: timestamppb.New(next.Add(14 * 24 * time.Hour))})
	if err != nil || len(got.GetWarnings()) < 2 || !strings.HasPrefix(got.GetWarnings()[0], "nobody is on call from ") {
		t.Errorf("warnings %v, %v; want the weekends", got, err)
	}
	now, err := r.schedules().GetSchedule(r.as(admin), &pb.GetScheduleRequest{Name: s.GetName()})
	if err != nil || now.GetEtag() != s.GetEtag() || len(now.GetLayers()[0].GetParticipants()) != 2 {
		t.Errorf("after the preview: %v, %v", now, err)
	}
	for _, c := range []struct {
		name  string
		with  func(*pb.PreviewScheduleRequest)
		who   string
		want  codes.Code
		field string
	}{
		{"somebody unknown", func(p *pb.PreviewScheduleRequest) { p.Schedule.Layers[0].Participants[0] = "users/zoe" }, admin, codes.NotFound, "schedule.layers[0].participants[0]"},
		{"another etag", func(p *pb.PreviewScheduleRequest) { p.Schedule.Etag = `"0"` }, admin, codes.Aborted, ""},
		{"no zone", func(p *pb.PreviewScheduleRequest) { p.Schedule.TimeZone = "" }, admin, codes.InvalidArgument, ""},
		{"who only responds", func(*pb.PreviewScheduleRequest) {}, responder, codes.PermissionDenied, ""},
		{"one that is new", func(p *pb.PreviewScheduleRequest) { p.Schedule.Name, p.Schedule.Etag = "", "" }, admin, codes.OK, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, _ := proto.Clone(&pb.PreviewScheduleRequest{Schedule: s, EndTime: week}).(*pb.PreviewScheduleRequest)
			c.with(p)
			_, err := r.schedules().PreviewSchedule(r.as(c.who), p)
			r.failsWith(err, c.want, c.field)
		})
	}
}

func TestReviewSaysHowTimeIsShared(t *testing.T) {
	r := newRig(t)
	s := r.rota()
	from := midnight(r.now())
	if _, err := r.schedules().CreateOverride(r.as(admin), &pb.CreateOverrideRequest{Override: &pb.Override{
		Schedule: s.GetName(), StartTime: timestamppb.New(from), EndTime: timestamppb.New(from.Add(9 * 24 * time.Hour)),
	}}); err != nil {
		t.Fatal(err)
	}
	got, err := r.schedules().ReviewSchedule(r.as(stakeholder), &pb.ReviewScheduleRequest{Name: s.GetName(), StartTime: timestamppb.New(from)})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.GetGaps()) != 1 || got.GetGaps()[0].GetOverride() == "" || got.GetGaps()[0].GetUser() != "" {
		t.Errorf("gaps %v, want the one that is meant", got.GetGaps())
	}
	if got.GetCoverage() != 90 || got.GetBalance() != 100 || got.GetScore() != 95 {
		t.Errorf("rated %v, want 90 %% covered in even shares", got)
	}
	if len(got.GetShares()) != 2 || got.GetShares()[0].GetTotal().AsDuration()+got.GetShares()[1].GetTotal().AsDuration() != 81*24*time.Hour {
		t.Errorf("shares %v, want two of 81 days in all", got.GetShares())
	}
	_, err = r.schedules().ReviewSchedule(r.as(stakeholder), &pb.ReviewScheduleRequest{Name: "schedules/none"})
	r.failsWith(err, codes.NotFound, "name")
}

func TestShadowsAreConfigured(t *testing.T) {
	r := newRig(t)
	s := r.rota()
	h, err := r.schedules().CreateShadow(r.as(admin), &pb.CreateShadowRequest{Shadow: &pb.Shadow{User: "users/cyd", Schedule: s.GetName(), Mode: pb.ShadowMode_SHADOW_MODE_PRACTISE}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.onCall().ListOnCall(r.as(admin), &pb.ListOnCallRequest{Schedule: s.GetName(), Time: timestamppb.New(r.now().Add(time.Second))})
	if err != nil || len(got.GetOnCall()[0].GetShadows()) != 1 || got.GetOnCall()[0].GetShadows()[0].GetUser() != "users/cyd" {
		t.Errorf("on call with a shadow: %v, %v", got, err)
	}
	_, err = r.schedules().CreateShadow(r.as(admin), &pb.CreateShadowRequest{Shadow: &pb.Shadow{User: "users/cyd"}})
	r.failsWith(err, codes.InvalidArgument, "")
	_, err = r.schedules().CreateShadow(r.as(admin), &pb.CreateShadowRequest{Shadow: &pb.Shadow{User: "users/cyd", Person: "users/cyd"}})
	r.failsWith(err, codes.InvalidArgument, "shadow.person")
	if _, err := r.schedules().DeleteShadow(r.as(admin), &pb.DeleteShadowRequest{Name: h.GetName()}); err != nil {
		t.Fatal(err)
	}
	list, err := r.schedules().ListShadows(r.as(admin), &pb.ListShadowsRequest{Schedule: s.GetName()})
	if err != nil || len(list.GetShadows()) != 0 {
		t.Errorf("after it ended: %v, %v", list, err)
	}
}

// failsWith holds an error against the code, and the field that it names; OK and
// an empty field ask for nothing.
func (r *rig) failsWith(err error, want codes.Code, field string) {
	r.t.Helper()
	if status.Code(err) != want {
		r.t.Errorf("got %v, want %v", err, want)
		return
	}
	if field == "" {
		return
	}
	for _, d := range status.Convert(err).Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok && bad.GetFieldViolations()[0].GetField() == field {
			return
		}
	}
	r.t.Errorf("%v does not name %s", status.Convert(err).Details(), field)
}
