package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	api "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

func aDrill(user string, state api.Drill_State) *api.Drill {
	d := &api.Drill{
		Name: "drills/2f6c0a9be41d7703", User: "users/" + user, DrillPlan: "drillPlans/shop", Team: "teams/shop", State: state, StartTime: ago(2 * time.Hour), DeadlineTime: ago(2*time.Hour - 5*time.Minute),
		Devices: []*api.Drill_Device{
			{Device: "devices/d1", DeviceDisplayName: "Ann's iPhone", SentTime: ago(2*time.Hour - time.Second), ReceivedTime: ago(2*time.Hour - 2*time.Second), Outcome: api.Drill_Device_OUTCOME_RECEIVED},
			{Device: "devices/d2", DeviceDisplayName: "A tablet with a name that is longer than need be", Outcome: api.Drill_Device_OUTCOME_REFUSED, Code: "Unregistered"},
		},
	}
	if state == api.Drill_STATE_HEARD {
		d.ResponseTime, d.EndTime = durationpb.New(42*time.Second), ago(2*time.Hour-42*time.Second)
		d.Devices[0].Outcome, d.Devices[0].HeardTime = api.Drill_Device_OUTCOME_HEARD, d.GetEndTime()
	}
	return d
}

func (f *server) StartDrill(ctx context.Context, r *api.StartDrillRequest) (*api.StartDrillResponse, error) {
	f.note(ctx, r)
	running := aDrill("ann", api.Drill_STATE_RUNNING)
	running.DeadlineTime = ago(-5 * time.Minute)
	return &api.StartDrillResponse{Drills: []*api.Drill{running, {User: "users/ben", State: api.Drill_STATE_SKIPPED, Reason: "There was an incident to respond to."}}}, nil
}

func (f *server) ListDrills(ctx context.Context, r *api.ListDrillsRequest) (*api.ListDrillsResponse, error) {
	f.note(ctx, r)
	return &api.ListDrillsResponse{Drills: []*api.Drill{aDrill("ann", api.Drill_STATE_HEARD), aDrill("ben", api.Drill_STATE_MISSED)}}, nil
}

func (f *server) GetDrill(ctx context.Context, r *api.GetDrillRequest) (*api.Drill, error) {
	f.note(ctx, r)
	return aDrill("ann", api.Drill_STATE_HEARD), nil
}

func (f *server) CancelDrill(ctx context.Context, r *api.CancelDrillRequest) (*api.Drill, error) {
	f.note(ctx, r)
	return aDrill("ann", api.Drill_STATE_CANCELLED), nil
}

func (f *server) PutOffDrill(ctx context.Context, r *api.PutOffDrillRequest) (*api.Drill, error) {
	f.note(ctx, r)
	return aDrill("ann", api.Drill_STATE_PUT_OFF), nil
}

func (f *server) ReviewDrills(ctx context.Context, r *api.ReviewDrillsRequest) (*api.ReviewDrillsResponse, error) {
	f.note(ctx, r)
	return &api.ReviewDrillsResponse{HeardCount: 7, MissedCount: 1, SkippedCount: 2, MedianResponseTime: durationpb.New(38 * time.Second), People: []*api.ReviewDrillsResponse_Person{
		{User: "users/ann", HeardCount: 7, MedianResponseTime: durationpb.New(38 * time.Second), LastDrill: aDrill("ann", api.Drill_STATE_HEARD)},
		{User: "users/ben", MissedCount: 1, LastDrill: aDrill("ben", api.Drill_STATE_MISSED)},
	}}, nil
}

func (f *server) ListReadiness(ctx context.Context, r *api.ListReadinessRequest) (*api.ListReadinessResponse, error) {
	f.note(ctx, r)
	return &api.ListReadinessResponse{Readiness: []*api.Readiness{
		{User: "users/ann", Verdict: api.Readiness_VERDICT_READY, StartTime: ago(0)},
		{User: "users/benjamin", Verdict: api.Readiness_VERDICT_DOUBTFUL, StartTime: ago(-48 * time.Hour), Reasons: []*api.Readiness_Reason{
			{Text: "The fire drill of 2 November was heard on no device: send a test to each, or hold another drill."},
			{Device: "devices/d1", DeviceDisplayName: "iPhone", Text: "The app may not show notifications: allow them in the phone's settings."},
		}},
	}}, nil
}

func aFeed() *api.CalendarFeed {
	return &api.CalendarFeed{Name: "calendarFeeds/kx0v3q9f2mzt7r1a", User: "users/ann", Owner: "users/ann", Hint: "9f2k", CreateTime: ago(72 * time.Hour)}
}

func (f *server) ListCalendarFeeds(ctx context.Context, r *api.ListCalendarFeedsRequest) (*api.ListCalendarFeedsResponse, error) {
	f.note(ctx, r)
	return &api.ListCalendarFeedsResponse{CalendarFeeds: []*api.CalendarFeed{aFeed()}}, nil
}

func (f *server) CreateCalendarFeed(ctx context.Context, r *api.CreateCalendarFeedRequest) (*api.CreateCalendarFeedResponse, error) {
	f.note(ctx, r)
	return &api.CreateCalendarFeedResponse{CalendarFeed: aFeed(), Url: "https://page.example.org/calendars/secret.ics"}, nil
}

func (f *server) RevokeCalendarFeed(ctx context.Context, r *api.RevokeCalendarFeedRequest) (*api.CalendarFeed, error) {
	f.note(ctx, r)
	return aFeed(), nil
}

func someVacations() *api.VacationCalendar {
	return &api.VacationCalendar{
		User: "users/ann", Host: "calendar.example.org", ReadTime: ago(5 * time.Hour), TryTime: ago(time.Hour), Error: "url: the address answers 503",
		Absences:  []*api.VacationCalendar_Absence{{StartTime: ago(-24 * time.Hour), EndTime: ago(-72 * time.Hour)}},
		Conflicts: []*api.VacationCalendar_Conflict{{Schedule: "schedules/primary", StartTime: ago(-48 * time.Hour), EndTime: ago(-72 * time.Hour)}},
	}
}

func (f *server) GetVacationCalendar(ctx context.Context, r *api.GetVacationCalendarRequest) (*api.VacationCalendar, error) {
	f.note(ctx, r)
	return someVacations(), nil
}

func (f *server) SetVacationCalendar(ctx context.Context, r *api.SetVacationCalendarRequest) (*api.VacationCalendar, error) {
	f.note(ctx, r)
	return someVacations(), nil
}

func (f *server) DeleteVacationCalendar(ctx context.Context, r *api.DeleteVacationCalendarRequest) (*emptypb.Empty, error) {
	f.note(ctx, r)
	return &emptypb.Empty{}, nil
}

func (f *server) CheckVacations(ctx context.Context, r *api.CheckVacationsRequest) (*api.CheckVacationsResponse, error) {
	f.note(ctx, r)
	return &api.CheckVacationsResponse{Absences: []*api.CheckVacationsResponse_Absence{{StartTime: ago(-24 * time.Hour), EndTime: ago(-72 * time.Hour)}}}, nil
}

// What drills, readiness and calendars print is read on 80 columns.
func TestDrillsReadinessAndCalendars(t *testing.T) {
	f := &server{}
	dir := serveAdmin(t, f)
	for name, args := range map[string][]string{
		"drill-start": {"drill", "start", "--plan", "shop"}, "drill-list": {"drill", "list", "--user", "ann"}, "drill-show": {"drill", "show", "2f6c0a9be41d7703"},
		"drill-cancel": {"drill", "cancel", "2f6c0a9be41d7703"}, "drill-put-off": {"drill", "put-off", "2f6c0a9be41d7703"}, "drill-review": {"drill", "review", "shop"},
		"readiness": {"readiness", "--team", "shop"}, "calendar-feeds": {"calendar", "feeds"}, "calendar-new": {"calendar", "new"}, "calendar-revoke": {"calendar", "revoke", "kx0v3q9f2mzt7r1a"},
		"calendar-vacations": {"calendar", "vacations", "ann"}, "calendar-vacations-check": {"calendar", "vacations", "ann", "--check", "https://calendar.example.org/a.ics"},
		"calendar-vacations-read": {"calendar", "vacations", "--read", "https://calendar.example.org/a.ics"}, "calendar-vacations-forget": {"calendar", "vacations", "ann", "--forget"},
	} {
		got, code := command(t, nil, append(args, "--data-dir", dir)...)
		if code != exitOK {
			t.Errorf("%s ends with %d: %s", name, code, got)
		}
		for line := range strings.Lines(got) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > lineWidth {
				t.Errorf("%s has a line of %d columns: %s", name, n, line)
			}
		}
		golden(t, name, got)
	}
	for _, args := range [][]string{{"drill", "list"}, {"drill", "review", "shop"}, {"readiness"}, {"calendar", "feeds"}, {"calendar", "vacations"}} {
		if got, code := command(t, nil, append(args, "--output", "json", "--data-dir", dir)...); code != exitOK || !strings.HasPrefix(got, "{") {
			t.Errorf("%v as JSON: %d %s", args, code, got)
		}
	}
	command(t, nil, "calendar", "new", "--schedule", "primary", "--data-dir", dir)
	if r, _ := f.last(); r.(*api.CreateCalendarFeedRequest).GetCalendarFeed().GetSchedule() != "schedules/primary" || r.(*api.CreateCalendarFeedRequest).GetCalendarFeed().GetUser() != "" {
		t.Errorf("asked %v", r)
	}
}

func TestWrapped(t *testing.T) {
	for text, want := range map[string]string{"": "", "one": "one", "one two three": "one two|three", "anextraordinaryword is": "anextraordinaryword|is", "äöü äöü": "äöü äöü"} {
		if got := strings.Join(wrapped(text, 8), "|"); got != want {
			t.Errorf("%q is broken as %q, want %q", text, got, want)
		}
	}
}
