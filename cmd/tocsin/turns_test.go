package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"

	api "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

func (f *server) ListShifts(ctx context.Context, r *api.ListShiftsRequest) (*api.ListShiftsResponse, error) {
	f.note(ctx, r)
	if r.GetUser() == "users/cy" {
		return &api.ListShiftsResponse{}, nil
	}
	return &api.ListShiftsResponse{Shifts: []*api.Shift{
		{Schedule: "schedules/primary", User: "users/ann", Layer: "days", StartTime: ago(3 * time.Hour), EndTime: ago(-21 * time.Hour)},
		{Schedule: "schedules/primary", User: "users/ann", Override: "overrides/o1", StartTime: ago(-45 * time.Hour), EndTime: ago(-47 * time.Hour)},
	}}, nil
}

func (f *server) CreateOverride(ctx context.Context, r *api.CreateOverrideRequest) (*api.Override, error) {
	f.note(ctx, r)
	o := r.GetOverride()
	if o.GetUser() == "users/me" {
		o.User = "users/ann"
	}
	o.Name = "overrides/o1"
	return o, nil
}

func (f *server) ListOverrides(ctx context.Context, r *api.ListOverridesRequest) (*api.ListOverridesResponse, error) {
	f.note(ctx, r)
	if r.GetSchedule() == "schedules/none" {
		return &api.ListOverridesResponse{}, nil
	}
	return &api.ListOverridesResponse{Overrides: []*api.Override{
		{Name: "overrides/o1", Schedule: "schedules/primary", User: "users/ann", Creator: "users/ann", StartTime: ago(-time.Hour), EndTime: ago(-3 * time.Hour)},
		{Name: "overrides/party", Schedule: "schedules/primary", Creator: "users/cy", StartTime: ago(-24 * time.Hour), EndTime: ago(-48 * time.Hour)},
		{Name: "overrides/c1-1", Schedule: "schedules/primary", User: "users/ben", Creator: "users/ben", CoverRequest: "coverRequests/c1", StartTime: ago(-72 * time.Hour), EndTime: ago(-96 * time.Hour)},
	}}, nil
}

func (f *server) DeleteOverride(ctx context.Context, r *api.DeleteOverrideRequest) (*emptypb.Empty, error) {
	f.note(ctx, r)
	return &emptypb.Empty{}, nil
}

func asked(state api.CoverRequest_State) *api.CoverRequest {
	return &api.CoverRequest{
		Name: "coverRequests/c1", Schedule: "schedules/primary", User: "users/ann", StartTime: ago(-72 * time.Hour), EndTime: ago(-96 * time.Hour), Note: "wedding", State: state,
	}
}

func (f *server) CreateCoverRequest(ctx context.Context, r *api.CreateCoverRequestRequest) (*api.CoverRequest, error) {
	f.note(ctx, r)
	c := asked(api.CoverRequest_STATE_OPEN)
	c.StartTime, c.EndTime, c.Swap = r.GetCoverRequest().GetStartTime(), r.GetCoverRequest().GetEndTime(), r.GetCoverRequest().GetSwap()
	c.Warnings = []string{"if ben takes it: ben is on call for 9 days in a row"}
	return c, nil
}

func (f *server) ListCoverRequests(ctx context.Context, r *api.ListCoverRequestsRequest) (*api.ListCoverRequestsResponse, error) {
	f.note(ctx, r)
	taken := asked(api.CoverRequest_STATE_TAKEN)
	taken.Name, taken.Taker = "coverRequests/c2", "users/ben"
	if r.GetSchedule() == "schedules/none" {
		return &api.ListCoverRequestsResponse{CoverRequests: []*api.CoverRequest{taken}}, nil
	}
	swap := asked(api.CoverRequest_STATE_OPEN)
	swap.Name, swap.Swap = "coverRequests/s1", &api.Swap{User: "users/ben", StartTime: ago(-120 * time.Hour), EndTime: ago(-144 * time.Hour)}
	return &api.ListCoverRequestsResponse{CoverRequests: []*api.CoverRequest{asked(api.CoverRequest_STATE_OPEN), taken, swap}}, nil
}

func (f *server) AcceptCoverRequest(ctx context.Context, r *api.AcceptCoverRequestRequest) (*api.CoverRequest, error) {
	f.note(ctx, r)
	c := asked(api.CoverRequest_STATE_TAKEN)
	c.Taker = "users/ben"
	return c, nil
}

func (f *server) CancelCoverRequest(ctx context.Context, r *api.CancelCoverRequestRequest) (*api.CoverRequest, error) {
	f.note(ctx, r)
	return asked(api.CoverRequest_STATE_CANCELLED), nil
}

func TestTurns(t *testing.T) {
	f := &server{}
	dir := serveAdmin(t, f)
	for name, c := range map[string]struct {
		args string
		code int
	}{
		"shifts":                {"shifts", exitOK},
		"shifts-none":           {"shifts --user cy --from 7d --until +7d", exitOK},
		"override-add":          {"override add primary --from +1d --for 2h", exitOK},
		"override-add-nobody":   {"override add primary --nobody --until 2026-11-22", exitOK},
		"override-add-no-end":   {"override add primary", exitUsage},
		"override-add-behind":   {"override add primary --from 7d --for 2h", exitUsage},
		"override-list":         {"override list", exitOK},
		"override-list-none":    {"override list --schedule none", exitOK},
		"override-remove":       {"override remove o1", exitOK},
		"cover-ask":             {"cover ask primary --from +3d --for 1d --note wedding", exitOK},
		"cover-ask-swap":        {"cover ask primary --from +3d --for 1d --swap-with ben --swap-from +5d --swap-until +6d", exitOK},
		"cover-ask-no-start":    {"cover ask primary --for 1d", exitUsage},
		"cover-ask-half-a-swap": {"cover ask primary --from +3d --for 1d --swap-with ben", exitUsage},
		"cover-list":            {"cover list", exitOK},
		"cover-list-open":       {"cover list --schedule none --open", exitOK},
		"cover-accept":          {"cover accept c1", exitOK},
		"cover-decline":         {"cover decline c1", exitOK},
		"cover-cancel":          {"cover cancel c1", exitOK},
	} {
		got, code := command(t, nil, append(append([]string{"oncall"}, strings.Fields(c.args)...), "--data-dir", dir)...)
		if code != c.code {
			t.Errorf("%s ends with %d, want %d: %s", name, code, c.code, got)
		}
		golden(t, name, got)
	}
}

// What is asked for is what was typed, with the time that lies ahead.
func TestTurnsAreAskedForAsTyped(t *testing.T) {
	f := &server{}
	dir := serveAdmin(t, f)
	run := func(args ...string) {
		t.Helper()
		if got, code := command(t, nil, append(append([]string{"oncall"}, args...), "--data-dir", dir)...); code != exitOK {
			t.Fatalf("%v: %s", args, got)
		}
	}
	run("override", "add", "primary", "--from", "+1d", "--until", "+36h", "--user", "ben")
	m, _ := f.last()
	if o, ok := m.(*api.CreateOverrideRequest); !ok || o.GetOverride().GetUser() != "users/ben" || o.GetRequestId() == "" ||
		!o.GetOverride().GetStartTime().AsTime().Equal(noon.Add(24*time.Hour)) || !o.GetOverride().GetEndTime().AsTime().Equal(noon.Add(36*time.Hour)) {
		t.Errorf("asked for %v", m)
	}
	run("cover", "ask", "primary", "--from", "+3d", "--for", "1d", "--swap-with", "ben", "--swap-from", "+5d", "--swap-until", "+6d", "--user", "ann")
	m, _ = f.last()
	if c, ok := m.(*api.CreateCoverRequestRequest); !ok || c.GetCoverRequest().GetSwap().GetUser() != "users/ben" || c.GetCoverRequest().GetUser() != "users/ann" ||
		!c.GetCoverRequest().GetSwap().GetEndTime().AsTime().Equal(noon.Add(6*24*time.Hour)) {
		t.Errorf("asked for %v", m)
	}
	run("shifts", "--schedule", "primary")
	m, _ = f.last()
	if r, ok := m.(*api.ListShiftsRequest); !ok || r.GetUser() != "" || r.GetSchedule() != "schedules/primary" {
		t.Errorf("asked for %v", m)
	}
	run("shifts")
	m, _ = f.last()
	if r, ok := m.(*api.ListShiftsRequest); !ok || r.GetUser() != "users/me" {
		t.Errorf("asked for %v", m)
	}
}
