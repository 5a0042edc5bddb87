package main

import (
	"context"
	"strings"
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

func (f *server) GetHandOff(ctx context.Context, r *api.GetHandOffRequest) (*api.HandOff, error) {
	f.note(ctx, r)
	h := &api.HandOff{
		Schedule: "schedules/primary", FromUser: "users/ann", ToUser: "users/ben", HandoffTime: ago(-time.Hour), StartTime: ago(23 * time.Hour), EndTime: ago(-25 * time.Hour),
		PageCount: 9, ResolvedCount: 4,
		Remarks: []*api.HandOffRemark{{Incident: "incidents/a0b1c2", Number: 43, Note: &api.TimelineEntry{EntryTime: ago(time.Minute), Summary: "Ann Example wrote: restarted it"}}},
		Noise:   []*api.HandOffNoise{{Service: "services/checkout", DedupKey: "errors", Title: "Checkout: error rate", IncidentCount: 2, PageCount: 7, RepeatCount: 120}, {Service: "services/web", Title: "Certificate expires", IncidentCount: 1, PageCount: 2}},
		Misses:  []*api.HandOffMiss{{Number: 43, Title: "Checkout: error rate", User: "users/ann", ResponseTarget: durationpb.New(15 * time.Minute), MissTime: ago(2 * time.Hour)}},
		Gaps:    []*api.Shift{{StartTime: ago(-48 * time.Hour), EndTime: ago(-60 * time.Hour)}},
		CoverRequests: []*api.CoverRequest{
			{Name: "coverRequests/c1", User: "users/ben", StartTime: ago(-24 * time.Hour), EndTime: ago(-36 * time.Hour), Note: "wedding"},
		},
		Note: &api.HandOffNote{User: "users/ann", Text: "db-2 is slow\nsince noon", WriteTime: ago(time.Minute)}, Truncated: true,
	}
	if r.GetUser() == "users/cy" { // a quiet shift
		return &api.HandOff{Schedule: "schedules/primary", FromUser: "users/cy", HandoffTime: ago(time.Hour), StartTime: ago(2 * time.Hour)}, nil
	}
	for i, in := range incidents()[:2] {
		x := &api.HandOffIncident{Incident: in}
		if i == 1 {
			in.SnoozeUntil, x.LastNote = ago(-3*time.Hour), &api.TimelineEntry{Summary: "Bob Beispiel wrote: the job runs tonight"}
		}
		h.Incidents = append(h.Incidents, x)
	}
	return h, nil
}

func (f *server) TakeOverIncidents(ctx context.Context, r *api.TakeOverIncidentsRequest) (*api.BatchChangeIncidentsResponse, error) {
	f.note(ctx, r)
	all := &api.BatchChangeIncidentsResponse{}
	for i, in := range incidents()[:2] {
		all.Results = append(all.Results, &api.BatchChangeIncidentsResponse_Result{Name: in.GetName(), Incident: in, Changed: i == 0})
	}
	if r.GetSchedule() == "schedules/web" {
		all.Results[1].Error = &api.ItemError{Message: "you have no working way to be woken"}
	}
	return all, nil
}

func (f *server) LeaveHandOffNote(ctx context.Context, r *api.LeaveHandOffNoteRequest) (*api.HandOffNote, error) {
	f.note(ctx, r)
	return &api.HandOffNote{User: "users/ann", Text: r.GetText(), WriteTime: ago(0)}, nil
}

func TestHandoff(t *testing.T) {
	f := &server{}
	dir := serveAdmin(t, f)
	for name, c := range map[string]struct {
		args []string
		code int
	}{
		"handoff":             {[]string{"oncall", "handoff"}, exitOK},
		"handoff-quiet":       {[]string{"oncall", "handoff", "primary", "--user", "cy"}, exitOK},
		"handoff-take":        {[]string{"oncall", "handoff", "primary", "--take"}, exitOK},
		"handoff-take-partly": {[]string{"oncall", "handoff", "web", "--take"}, 1},
		"handoff-take-which":  {[]string{"oncall", "handoff", "--take"}, exitUsage},
		"handoff-note":        {[]string{"oncall", "handoff", "primary", "--note", "db-2 is slow"}, exitOK},
	} {
		got, code := command(t, nil, append(c.args, "--data-dir", dir)...)
		if code != c.code {
			t.Errorf("%s ends with %d, want %d: %s", name, code, c.code, got)
		}
		golden(t, name, got)
	}
	for typed, want := range map[string]time.Time{
		"7d": noon.Add(-7 * 24 * time.Hour), "+7d": noon.Add(7 * 24 * time.Hour), "+90m": noon.Add(90 * time.Minute), "2026-11-22T03:00:00Z": noon.Add(15 * time.Hour),
	} {
		if got, code := command(t, nil, "oncall", "handoff", "primary", "--at", typed, "--data-dir", dir); code != exitOK {
			t.Fatalf("--at %s: %s", typed, got)
		}
		if m, _ := f.last(); !m.(*api.GetHandOffRequest).GetTime().AsTime().Equal(want) { //nolint:forcetypeassert // of the command above
			t.Errorf("--at %s asks for %v, want %v", typed, m, want)
		}
	}
	for _, typed := range []string{"++7d", "+7", "+", "+-7d", "+2026-11-22"} {
		if got, code := command(t, nil, "oncall", "handoff", "primary", "--at", typed, "--data-dir", dir); code != exitUsage || !strings.Contains(got, "+7d") {
			t.Errorf("--at %s ends with %d: %s", typed, code, got)
		}
	}
}
