package main

import (
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	api "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

func (f *server) ListOnCall(ctx context.Context, r *api.ListOnCallRequest) (*api.ListOnCallResponse, error) {
	f.note(ctx, r)
	return &api.ListOnCallResponse{OnCall: []*api.OnCall{
		{User: "users/ann", EscalationPolicy: "escalationPolicies/shop", Level: 1, Schedule: "schedules/primary", StartTime: ago(3 * time.Hour), EndTime: ago(-21 * time.Hour)},
		{User: "users/ben", EscalationPolicy: "escalationPolicies/shop", Level: 2},
		{EscalationPolicy: "escalationPolicies/web", Level: 1, Schedule: "schedules/web", StartTime: ago(time.Hour), EndTime: ago(-time.Hour)},
	}}, nil
}

func (f *server) TakeOnCall(ctx context.Context, r *api.TakeOnCallRequest) (*api.Override, error) {
	f.note(ctx, r)
	return &api.Override{User: "users/ann", Schedule: r.GetSchedule(), StartTime: ago(0), EndTime: timestamppb.New(noon.Add(r.GetDuration().AsDuration()))}, nil
}

func (f *server) ExplainSchedule(ctx context.Context, r *api.ExplainScheduleRequest) (*api.ExplainScheduleResponse, error) {
	f.note(ctx, r)
	return &api.ExplainScheduleResponse{
		Shift:   &api.Shift{Schedule: r.GetName(), User: "users/ann", StartTime: ago(3 * time.Hour), EndTime: ago(-21 * time.Hour)},
		Reasons: []*api.ScheduleReason{{Layer: "days", Text: "layer days: turn 4 is ann's"}},
	}, nil
}

func (f *server) ReviewSchedule(ctx context.Context, r *api.ReviewScheduleRequest) (*api.ReviewScheduleResponse, error) {
	f.note(ctx, r)
	return &api.ReviewScheduleResponse{
		Score: 96, Coverage: 99, Balance: 93, NightBalance: 90, WeekendBalance: 100, Gaps: []*api.Shift{{StartTime: ago(-time.Hour), EndTime: ago(-2 * time.Hour)}},
		Conflicts: []*api.ScheduleConflict{{User: "users/ann", StartTime: ago(-24 * time.Hour), EndTime: ago(-48 * time.Hour), Text: "ann is on call by primary and web at once"}},
		Shares:    []*api.ScheduleShare{{User: "users/ann", Total: durationpb.New(48 * time.Hour), Nights: durationpb.New(20 * time.Hour), Weekends: durationpb.New(14 * time.Hour), NightCount: 2}},
	}, nil
}

func TestOncall(t *testing.T) {
	f := &server{}
	dir := serveAdmin(t, f)
	for name, args := range map[string][]string{
		"oncall": {"oncall"}, "oncall-take": {"oncall", "take", "primary", "--for", "2h"},
		"oncall-explain": {"oncall", "explain", "primary"}, "oncall-review": {"oncall", "review", "primary"},
	} {
		got, code := command(t, nil, append(args, "--data-dir", dir)...)
		if code != exitOK {
			t.Errorf("%s ends with %d: %s", name, code, got)
		}
		golden(t, name, got)
	}
	if _, code := command(t, nil, "oncall", "--team", "core", "--at", "2026-11-22T03:00:00Z", "--data-dir", dir); code != exitOK {
		t.Error("a team at an instant cannot be asked for")
	}
	if r, _ := f.last(); r.(*api.ListOnCallRequest).GetTeam() != "teams/core" || !r.(*api.ListOnCallRequest).GetTime().AsTime().Equal(noon.Add(15*time.Hour)) {
		t.Errorf("asked %v", r)
	}
}
