package main

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	api "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

// noon is when the tests of the command line take place.
var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(noon.Add(-d)) }

// server answers as a real one would, from a small believable organisation.
type server struct {
	api.UnimplementedIncidentServiceServer
	api.UnimplementedConfigurationServiceServer
	api.UnimplementedTokenServiceServer
	api.UnimplementedDeviceServiceServer
	api.UnimplementedOperatorServiceServer
	api.UnimplementedUserServiceServer
	api.UnimplementedScheduleServiceServer
	api.UnimplementedOnCallServiceServer
	api.UnimplementedDrillServiceServer
	api.UnimplementedCalendarServiceServer

	mu       sync.Mutex
	requests []proto.Message
	callers  []string // the authorization of each call
	breaks   int      // watches to break off after one message
	healthy  bool
}

func (f *server) note(ctx context.Context, m proto.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	md, _ := metadata.FromIncomingContext(ctx)
	caller := ""
	if v := md.Get("authorization"); len(v) > 0 {
		caller = v[0]
	}
	f.requests, f.callers = append(f.requests, m), append(f.callers, caller)
}

func (f *server) last() (proto.Message, string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests[len(f.requests)-1], f.callers[len(f.callers)-1]
}

// serveAdmin listens on the admin socket of a new data directory.
func serveAdmin(t *testing.T, f *server) (dataDir string) {
	t.Helper()
	dir := t.TempDir()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(dir, adminSocket))
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, f, l)
	return dir
}

func serveOn(t *testing.T, f *server, l net.Listener, options ...grpc.ServerOption) {
	t.Helper()
	g := grpc.NewServer(options...)
	api.RegisterIncidentServiceServer(g, f)
	api.RegisterConfigurationServiceServer(g, f)
	api.RegisterTokenServiceServer(g, f)
	api.RegisterDeviceServiceServer(g, f)
	api.RegisterOperatorServiceServer(g, f)
	api.RegisterUserServiceServer(g, f)
	api.RegisterScheduleServiceServer(g, f)
	api.RegisterOnCallServiceServer(g, f)
	api.RegisterDrillServiceServer(g, f)
	api.RegisterCalendarServiceServer(g, f)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = g.Serve(l)
	}()
	t.Cleanup(func() {
		g.Stop()
		<-done
	})
}

func incidents() []*api.Incident {
	ann := &api.Assignee{User: "users/ann", DisplayName: "Ann Example", Level: 1, Via: api.Assignee_VIA_POLICY, SinceTime: ago(3 * time.Minute)}
	return []*api.Incident{
		{
			Name: "incidents/a0b1c2", Number: 43, Title: "Checkout: error rate above 5 %\x1b[2J on all zones", Service: "services/checkout", Team: "teams/shop",
			State: api.Incident_STATE_TRIGGERED, Urgency: api.Incident_URGENCY_HIGH, Priority: api.Incident_PRIORITY_P1,
			Severity: api.Event_SEVERITY_CRITICAL, Assignees: []*api.Assignee{ann}, AlertCount: 3, OpenAlertCount: 2,
			Escalation: &api.Escalation{Policy: "escalationPolicies/shop", Level: 1, LevelCount: 3, Loop: 1, NextEscalationTime: timestamppb.New(noon.Add(2 * time.Minute))},
			CreateTime: ago(3 * time.Minute), Source: "prometheus-1", Client: "Alertmanager", ClientUri: "http://am.example.com/",
			Links: []*api.Link{{Uri: "https://runbooks.example.com/checkout", Text: "Runbook"}},
		},
		{
			Name: "incidents/a0b1c1", Number: 42, Title: "Disk of db-2 fills in about four hours, and the cleaning job that should have run at night did not", Service: "services/database",
			State: api.Incident_STATE_ACKNOWLEDGED, Urgency: api.Incident_URGENCY_LOW, CreateTime: ago(26 * time.Hour), AcknowledgeTime: ago(time.Hour),
			Acknowledgements: []*api.Acknowledgement{{User: "users/bob", DisplayName: "Bob Beispiel", AcknowledgeTime: ago(time.Hour), Via: api.Actor_VIA_NOTIFICATION}},
		},
		{
			Name: "incidents/a0b1c0", Number: 41, Title: "Certificate expires", Service: "services/web", State: api.Incident_STATE_RESOLVED,
			Urgency: api.Incident_URGENCY_LOW, CreateTime: ago(72 * time.Hour), ResolveTime: ago(70 * time.Hour),
			ResolveCause: api.Incident_RESOLVE_CAUSE_MANUAL, Resolver: &api.Actor{DisplayName: "Bob Beispiel"},
		},
	}
}

func (f *server) ListIncidents(ctx context.Context, r *api.ListIncidentsRequest) (*api.ListIncidentsResponse, error) {
	f.note(ctx, r)
	var matching []*api.Incident
	for _, in := range incidents() {
		closed := in.GetState() == api.Incident_STATE_RESOLVED
		if r.GetScope() == api.ListIncidentsRequest_SCOPE_ALL || closed == (r.GetScope() == api.ListIncidentsRequest_SCOPE_CLOSED) {
			matching = append(matching, in)
		}
	}
	if slices.Contains(r.GetServices(), "services/none") {
		return &api.ListIncidentsResponse{}, nil
	}
	if r.GetPageToken() == "" && len(matching) > 1 { // the first page is short, as pages may be
		return &api.ListIncidentsResponse{Incidents: matching[:1], NextPageToken: "more"}, nil
	}
	if r.GetPageToken() != "" {
		matching = matching[1:]
	}
	return &api.ListIncidentsResponse{Incidents: matching}, nil
}

func (f *server) one(name string) (*api.Incident, error) {
	for _, in := range incidents() {
		if in.GetName() == name {
			return in, nil
		}
	}
	return nil, status.Error(codes.NotFound, "there is no incident "+name)
}

func (f *server) GetIncident(ctx context.Context, r *api.GetIncidentRequest) (*api.Incident, error) {
	f.note(ctx, r)
	return f.one(r.GetName())
}

func (f *server) AcknowledgeIncident(ctx context.Context, r *api.AcknowledgeIncidentRequest) (*api.Incident, error) {
	f.note(ctx, r)
	in, err := f.one(r.GetName())
	if err == nil {
		in.State = api.Incident_STATE_ACKNOWLEDGED
		in.Acknowledgements = []*api.Acknowledgement{{User: "users/ann", DisplayName: "Ann Example"}}
	}
	return in, err
}

func (f *server) ResolveIncident(ctx context.Context, r *api.ResolveIncidentRequest) (*api.Incident, error) {
	f.note(ctx, r)
	in, err := f.one(r.GetName())
	if err == nil {
		in.State = api.Incident_STATE_RESOLVED
	}
	return in, err
}

func (f *server) CreateIncident(ctx context.Context, r *api.CreateIncidentRequest) (*api.Incident, error) {
	f.note(ctx, r)
	if r.GetIncident().GetService() == "services/none" {
		st, err := status.New(codes.InvalidArgument, "the request has errors").WithDetails(&errdetails.BadRequest{
			FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "incident.service", Description: "there is no service none"}},
		})
		if err != nil {
			return nil, err
		}
		return nil, st.Err()
	}
	in := incidents()[0]
	in.Title = r.GetIncident().GetTitle()
	return in, nil
}

func (f *server) ListTimeline(context.Context, *api.ListTimelineRequest) (*api.ListTimelineResponse, error) {
	return &api.ListTimelineResponse{Entries: []*api.TimelineEntry{
		{Seq: 1, EntryTime: ago(3 * time.Minute), Type: api.TimelineEntry_TYPE_TRIGGERED, Summary: "Triggered by the integration Alertmanager."},
		{Seq: 2, EntryTime: ago(179 * time.Second), Type: api.TimelineEntry_TYPE_ASSIGNED, Summary: "Assigned to Ann Example at level 1."},
	}}, nil
}

func (f *server) ListDeliveries(context.Context, *api.ListDeliveriesRequest) (*api.ListDeliveriesResponse, error) {
	return &api.ListDeliveriesResponse{Deliveries: []*api.Delivery{
		{
			DeliveryId: "5b0c", User: "users/ann", DisplayName: "Ann Example", MethodKind: api.ContactMethod_KIND_PUSH, AddressHint: "Ann's iPhone", Kind: api.Delivery_KIND_PAGE,
			State: api.Delivery_STATE_DISPLAYED, Attempts: 2, CreateTime: ago(179 * time.Second), ReceiveTime: timestamppb.New(noon.Add(-177500 * time.Millisecond)),
			AcceptTime: timestamppb.New(noon.Add(-178500 * time.Millisecond)), DisplayTime: timestamppb.New(noon.Add(-177400 * time.Millisecond)), ProviderId: "5b0c",
			FailedAttempts: []*api.Delivery_FailedAttempt{{AttemptTime: timestamppb.New(noon.Add(-178900 * time.Millisecond)), Code: "503 ServiceUnavailable"}},
		},
		{
			DeliveryId: "5b0d", User: "users/ann", DisplayName: "Ann Example", MethodKind: api.ContactMethod_KIND_EMAIL, AddressHint: "a…@example.com", Kind: api.Delivery_KIND_PAGE,
			State: api.Delivery_STATE_REJECTED, Code: "550 no such mailbox", Attempts: 1, CreateTime: ago(120 * time.Second),
		},
	}}, nil
}

func (f *server) ExplainPaging(ctx context.Context, r *api.ExplainPagingRequest) (*api.ExplainPagingResponse, error) {
	f.note(ctx, r)
	return &api.ExplainPagingResponse{
		Reason: api.ExplainPagingResponse_REASON_LEVEL_NOT_REACHED, Summary: "Bob Beispiel was not paged: the incident was acknowledged before level 2 was reached.",
		Facts: []*api.ExplainPagingResponse_Fact{{FactTime: ago(2 * time.Minute), Text: "Ann Example acknowledged."}, {Text: "Bob Beispiel is a target of level 2."}},
	}, nil
}

func (f *server) WatchIncidents(r *api.WatchIncidentsRequest, stream grpc.ServerStreamingServer[api.WatchIncidentsResponse]) error {
	f.note(stream.Context(), proto.Clone(r))
	f.mu.Lock()
	broken := f.breaks > 0
	f.breaks--
	f.mu.Unlock()
	in, n := incidents()[0], "1"
	if !broken {
		in, n = incidents()[1], "2"
	}
	err := stream.Send(&api.WatchIncidentsResponse{Kind: api.WatchIncidentsResponse_KIND_CHANGE, Incident: in, Cursor: n, EventTime: ago(time.Second)})
	if err != nil || broken {
		return status.Error(codes.Unavailable, "shutting down")
	}
	return status.Error(codes.PermissionDenied, "enough")
}

func (f *server) ApplyConfiguration(ctx context.Context, r *api.ApplyConfigurationRequest) (*api.ApplyConfigurationResponse, error) {
	f.note(ctx, r)
	key := "r1a2b3c4d5e6f7g8h9i0j1k2l3m4n5o6"
	if r.GetValidateOnly() {
		key = ""
	}
	return &api.ApplyConfigurationResponse{Applied: !r.GetValidateOnly(), Changes: []*api.ApplyConfigurationResponse_Change{
		{Name: "users/ann", Action: api.ApplyConfigurationResponse_Change_ACTION_NONE},
		{Name: "escalationPolicies/shop", Action: api.ApplyConfigurationResponse_Change_ACTION_UPDATE, Fields: []string{"levels[0].delay: 5m -> 3m"}, Warnings: []string{"Bob Beispiel has no phone yet"}},
		{Name: "integrations/checkout-prometheus", Action: api.ApplyConfigurationResponse_Change_ACTION_CREATE, Key: key},
	}}, nil
}

// PlanConfiguration finds nothing to do for a file that says "same".
func (f *server) PlanConfiguration(ctx context.Context, r *api.PlanConfigurationRequest) (*api.PlanConfigurationResponse, error) {
	f.note(ctx, r)
	in := func(days int) *timestamppb.Timestamp {
		return timestamppb.New(noon.Add(time.Duration(days) * 24 * time.Hour))
	}
	p := &api.PlanConfigurationResponse{Revision: "1-7", WindowStartTime: in(0), WindowEndTime: in(30)}
	if strings.Contains(r.GetFiles()[0].GetText(), "same") {
		p.Changes = []*api.ApplyConfigurationResponse_Change{{Name: "users/ann", Action: api.ApplyConfigurationResponse_Change_ACTION_NONE}}
		return p, nil
	}
	p.Changes = []*api.ApplyConfigurationResponse_Change{
		{Name: "users/ann", Action: api.ApplyConfigurationResponse_Change_ACTION_NONE},
		{Name: "schedules/primary", Action: api.ApplyConfigurationResponse_Change_ACTION_UPDATE, Fields: []string{"layers", "name: \"a`|b\" -> \"c\""}, ChangedByHandTime: ago(time.Hour)},
		{Name: "users/bob", Action: api.ApplyConfigurationResponse_Change_ACTION_ORPHAN, Warnings: []string{"1 device(s) go with it"}},
	}
	p.PagingChanges = []*api.PlanConfigurationResponse_PagingChange{
		{Services: []string{"services/a", "services/b", "services/c", "services/d", "services/e", "services/f"}, Level: 1, MoreStretches: 3, Stretches: []*api.PlanConfigurationResponse_PagingChange_Stretch{
			{StartTime: in(1), EndTime: in(8), Before: []string{"users/ann"}, After: []string{"users/bob", "users/cyd"}},
			{StartTime: in(15), EndTime: in(22), Before: []string{"users/ann"}},
		}},
		{Services: []string{"services/blog"}, Stretches: []*api.PlanConfigurationResponse_PagingChange_Stretch{{StartTime: in(0), EndTime: in(30), After: []string{"users/bob"}}}},
	}
	p.MorePagingChanges = 2
	return p, nil
}

func (f *server) DryRunEvent(ctx context.Context, r *api.DryRunEventRequest) (*api.DryRun, error) {
	f.note(ctx, r)
	if r.GetService() == "services/blog" {
		return &api.DryRun{Time: ago(0), Service: "services/blog", End: api.DryRun_END_DROPPED, EndTime: ago(0), Reason: "Its service is disabled."}, nil
	}
	in := func(d time.Duration) *timestamppb.Timestamp {
		return timestamppb.New(r.GetTime().AsTime().Add(d))
	}
	const push, mail = api.ContactMethod_KIND_PUSH, api.ContactMethod_KIND_EMAIL
	return &api.DryRun{
		Time: in(0), Integration: "integrations/checkout-am", Service: "services/checkout", End: api.DryRun_END_REPEATING, EndTime: in(90 * time.Minute),
		Incident: &api.Incident{Title: "Disk\nfull", Urgency: api.Incident_URGENCY_HIGH, Escalation: &api.Escalation{Policy: "escalationPolicies/shop", LevelCount: 2}},
		Timeline: []*api.TimelineEntry{
			{EntryTime: in(0), Type: api.TimelineEntry_TYPE_TRIGGERED, Summary: "Triggered."},
			{EntryTime: in(0), Type: api.TimelineEntry_TYPE_ASSIGNED, Level: 1, Summary: "It is the turn of Ann Example (level 1)."},
			{EntryTime: in(0), Type: api.TimelineEntry_TYPE_NOTIFIED, Summary: "Ann Example was notified."},
			{EntryTime: in(5 * time.Minute), Type: api.TimelineEntry_TYPE_ESCALATED, Summary: "It went from level 1 to level 2, because nobody answered in time."},
		},
		Messages: []*api.DryRun_Message{
			{SendTime: in(0), Kind: api.DryRun_Message_KIND_PAGE, User: "users/ann", ContactMethod: "push", MethodKind: push, Device: "devices/d1", AddressHint: "Ann's iPhone", Sound: true},
			{SendTime: in(time.Minute), Kind: api.DryRun_Message_KIND_PAGE, User: "users/ann", ContactMethod: "push", MethodKind: push, Device: "devices/d1", AddressHint: "Ann's iPhone", Sound: true, Loud: true},
			{SendTime: in(90 * time.Second), Kind: api.DryRun_Message_KIND_PAGE, User: "users/ann", ContactMethod: "work", MethodKind: mail, AddressHint: "a***@example.org"},
			{SendTime: in(5 * time.Minute), Kind: api.DryRun_Message_KIND_CARD, User: "users/cyd", ContactMethod: "push", MethodKind: push, Device: "devices/d2", Follows: "users/ann"},
			{SendTime: in(time.Hour), Kind: api.DryRun_Message_KIND_NOTICE, User: "users/bob", ContactMethod: "push", MethodKind: push, Device: "devices/d3", Body: "Level 2 had nobody to page."},
			{SendTime: in(time.Hour), Kind: api.DryRun_Message_KIND_CLEAR, User: "users/bob", ContactMethod: "push", MethodKind: push, Device: "devices/d3"},
		},
		Remarks: []string{"Paging is held at present."},
	}, nil
}

func (f *server) DryRunConfiguration(ctx context.Context, r *api.DryRunConfigurationRequest) (*api.DryRun, error) {
	if len(r.GetFiles()) == 0 || r.GetOwner() == "" {
		return nil, status.Error(codes.InvalidArgument, "no files of an owner")
	}
	return f.DryRunEvent(ctx, r.GetDryRun())
}

func (f *server) ExportConfiguration(_ context.Context, r *api.ExportConfigurationRequest) (*api.ExportConfigurationResponse, error) {
	if r.GetSplit() {
		return &api.ExportConfigurationResponse{Files: []*api.ConfigurationFile{{Name: "people.yaml", Text: "people:\n  - id: ann\n"}, {Name: "teams.yaml", Text: "teams: []\n"}}}, nil
	}
	return &api.ExportConfigurationResponse{Yaml: "people:\n  - id: ann\n"}, nil
}

func (f *server) CreateToken(ctx context.Context, r *api.CreateTokenRequest) (*api.CreateTokenResponse, error) {
	f.note(ctx, r)
	t := proto.CloneOf(r.GetToken())
	t.Name = "tokens/k7"
	return &api.CreateTokenResponse{Token: t, Secret: "tcs_secret"}, nil
}

func (f *server) ListTokens(ctx context.Context, r *api.ListTokensRequest) (*api.ListTokensResponse, error) {
	f.note(ctx, r)
	return &api.ListTokensResponse{Tokens: []*api.Token{
		{Name: "tokens/k7", DisplayName: "Ann's laptop", User: "users/ann", Hint: "…x9Qz", ExpireTime: timestamppb.New(noon.Add(90 * 24 * time.Hour))},
		{Name: "tokens/k8", DisplayName: "nightly export", Role: api.Role_ROLE_STAKEHOLDER, Scopes: []api.Token_Scope{api.Token_SCOPE_READ}, Hint: "…7aaB"},
		{Name: "tokens/k9", DisplayName: "lost", Role: api.Role_ROLE_ADMIN, Hint: "…0000", RevokeTime: ago(time.Minute)},
	}}, nil
}

func (f *server) RevokeToken(ctx context.Context, r *api.RevokeTokenRequest) (*api.Token, error) {
	f.note(ctx, r)
	return &api.Token{Name: r.GetName(), DisplayName: "lost"}, nil
}

func (f *server) CreateEnrolment(ctx context.Context, r *api.CreateEnrolmentRequest) (*api.Enrolment, error) {
	f.note(ctx, r)
	return &api.Enrolment{
		User: r.GetUser(), UserDisplayName: "Ann Example", Organization: "Example", Code: "c0de", Uri: "https://oncall.example.com/enrol#c0de",
		QrPayload: "https://oncall.example.com/enrol#c0de", ExpireTime: timestamppb.New(noon.Add(10 * time.Minute)),
	}, nil
}

func (f *server) GetStatus(ctx context.Context, r *api.GetStatusRequest) (*api.SystemStatus, error) {
	f.note(ctx, r)
	one := &api.SystemStatus_Instance{InstanceId: "k3v9p2", Host: "oncall-1", Version: "v0.2.0", StartTime: ago(49 * time.Hour), HeartbeatTime: ago(300 * time.Millisecond), PartitionCount: 64, ClockOffset: durationpb.New(-2300 * time.Microsecond)}
	if f.healthy {
		return &api.SystemStatus{Readiness: api.SystemStatus_READINESS_READY, Instances: []*api.SystemStatus_Instance{one}, RedisVersion: "7.0.15", Schema: &api.SystemStatus_Schema{Written: 1, Next: 2, RiseTime: ago(-8 * time.Minute)}}, nil
	}
	return &api.SystemStatus{
		Readiness: api.SystemStatus_READINESS_NOT_READY,
		Problems:  []string{"Nobody of the catch-all has a verified way to be reached: enrol a phone with tocsin enrol ann."},
		Hold:      &api.Hold{Held: true, Holder: "Bob Bauer", Reason: "migration of the shop", HoldTime: ago(5 * time.Minute)},
		Instances: []*api.SystemStatus_Instance{one}, InboxLength: 12, InboxAge: durationpb.New(42 * time.Second), TimerLag: durationpb.New(90 * time.Second),
		UnsentAge: durationpb.New(65 * time.Second), DeadLetterCount: 2, OpenIncidentCount: 3, TriggeredIncidentCount: 1, UnownedPartitionCount: 1,
		Partitions:    []*api.SystemStatus_Partition{{Partition: 7, InboxLength: 12, InboxAge: durationpb.New(42 * time.Second), DeadLetterCount: 2}},
		Unreachable:   []*api.SystemStatus_Unreachable{{User: "users/bob", DisplayName: "Bob Beispiel", Reason: "No device since the last one was revoked.", EscalationPolicies: []string{"escalationPolicies/shop"}}},
		Doubtful:      []*api.SystemStatus_Unreachable{{User: "users/ann", DisplayName: "Ann Example", Reason: "Pixel: Nothing was heard of it within 7 days: open the app, or test it.", EscalationPolicies: []string{"escalationPolicies/shop"}}},
		RedisWarnings: []string{"appendfsync is everysec: the last second may be lost with the power."}, RedisVersion: "7.0.15",
		Schema:           &api.SystemStatus_Schema{Written: 2, Version: "v0.3.0"},
		ConfigurationAge: durationpb.New(200 * time.Millisecond), StatusTime: timestamppb.New(noon),
	}, nil
}

func (f *server) ListDeadLetters(context.Context, *api.ListDeadLettersRequest) (*api.ListDeadLettersResponse, error) {
	return &api.ListDeadLettersResponse{DeadLetters: []*api.DeadLetter{{
		Name: "deadLetters/7-1732190000000-0", Summary: "Page Ann Example for incident 43.", User: "users/ann", Reason: "the work cannot be read: unknown kind 9",
		Attempts: 5, CreateTime: ago(time.Hour), DeadTime: ago(50 * time.Minute),
	}}}, nil
}

func (f *server) RetryDeadLetters(ctx context.Context, r *api.RetryDeadLettersRequest) (*api.RetryDeadLettersResponse, error) {
	f.note(ctx, r)
	return &api.RetryDeadLettersResponse{RetriedCount: int32(max(len(r.GetNames()), 1))}, nil
}

func (f *server) HoldPaging(ctx context.Context, r *api.HoldPagingRequest) (*api.Hold, error) {
	f.note(ctx, r)
	return &api.Hold{Held: true, Reason: r.GetReason(), HoldTime: timestamppb.New(noon)}, nil
}

func (f *server) ResumePaging(ctx context.Context, r *api.ResumePagingRequest) (*api.Hold, error) {
	f.note(ctx, r)
	return &api.Hold{}, nil
}

func (f *server) ExportIncidents(r *api.ExportIncidentsRequest, stream grpc.ServerStreamingServer[httpbody.HttpBody]) error {
	f.note(stream.Context(), r)
	for n := range 2 {
		if err := stream.Send(&httpbody.HttpBody{ContentType: "application/x-ndjson", Data: fmt.Appendf(nil, "{\"cursor\":\"%d\"}\n", n)}); err != nil {
			return err
		}
	}
	return nil
}

func (f *server) GetSettings(context.Context, *api.GetSettingsRequest) (*api.Settings, error) {
	return &api.Settings{Name: "settings", CatchAll: []string{"users/cy"}}, nil
}

func (f *server) GetUser(_ context.Context, r *api.GetUserRequest) (*api.User, error) {
	return &api.User{Name: r.GetName(), DisplayName: "Cy Kyriakou", Reachable: true}, nil
}
