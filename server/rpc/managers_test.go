package rpc_test

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// The managers: neither is even a responder of the installation.
const (
	ofCore = "manager of core" // dan
	ofWeb  = "manager of web"  // eve
)

// managed is a rig with two teams that have managers. Core has the schedule
// "primary", web "webdays"; the policy "shared" belongs to nobody.
func managed(t *testing.T) *rig {
	r := newRig(t)
	r.rota()
	person := func(e *directory.Edit, id roster.UserID, who string) error {
		r.keys[who] = auth.NewToken()
		if err := e.Create(&directory.User{User: roster.User{ID: id, Name: string(id), Zone: "UTC", Email: string(id) + "@example.org", Role: roster.Stakeholder}}); err != nil {
			return err
		}
		return e.Create(&directory.Token{Token: auth.Token{ID: auth.TokenID("tok" + string(id)), Name: who, Hash: auth.HashSecret(r.keys[who]), User: id, By: "test"}})
	}
	asks := func(id escalation.PolicyID, team roster.TeamID) *directory.Policy {
		return &directory.Policy{Policy: escalation.Policy{ID: id, Name: string(id), Team: team, Levels: []escalation.Level{
			{Targets: []escalation.Target{{Kind: escalation.UserTarget, ID: "ben"}}, Delay: 5 * time.Minute},
		}}}
	}
	_, err := r.dir.Change(t.Context(), directory.By{Principal: auth.Console(), Method: "test"}, func(e *directory.Edit) error {
		for id, who := range map[roster.UserID]string{"dan": ofCore, "eve": ofWeb} {
			if err := person(e, id, who); err != nil {
				return err
			}
		}
		core, _ := e.GetTeam("core")
		with := *core
		with.Members, with.Managers = append([]roster.UserID{"dan"}, core.Members...), []roster.UserID{"dan"}
		if err := e.Update(&with, ""); err != nil {
			return err
		}
		primary, _ := e.GetSchedule("primary")
		webdays := *primary
		webdays.ID, webdays.Team = "webdays", "web"
		for _, rec := range []directory.Record{
			&directory.Team{Team: roster.Team{ID: "web", Name: "Web", Members: []roster.UserID{"eve"}, Managers: []roster.UserID{"eve"}}},
			asks("web", "web"), asks("shared", ""), &webdays,
			&directory.Service{Service: catalog.Service{ID: "site", Name: "Site", Team: "web", Policy: "web"}},
		} {
			if err := e.Create(rec); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// managersCall is a call about something of core's.
type managersCall struct {
	method  string
	request proto.Message
}

// onCallCalls are those by which a manager passes Ben's turns on.
func onCallCalls(r *rig) []managersCall {
	from := midnight(r.now()).Add(24 * time.Hour)
	return []managersCall{
		{"OnCallService/CreateCoverRequest", &pb.CreateCoverRequestRequest{CoverRequestId: "c", CoverRequest: &pb.CoverRequest{
			Schedule: "schedules/primary", User: "users/ben", StartTime: timestamppb.New(from), EndTime: timestamppb.New(from.Add(time.Hour)),
		}}},
		{"OnCallService/CancelCoverRequest", &pb.CancelCoverRequestRequest{Name: "coverRequests/c"}},
	}
}

// drillCalls are those by which a manager drills the people of core, at any hour.
func drillCalls() []managersCall {
	plan := &pb.DrillPlan{
		DisplayName: "Core", Team: "teams/core", People: []string{"users/ben", "schedules/primary"}, Night: true,
		Hours: &pb.DrillHours{Days: []int32{1, 2, 3, 4, 5, 6, 7}, Start: "00:00", End: "00:00"},
	}
	return []managersCall{
		{"DrillService/CreateDrillPlan", &pb.CreateDrillPlanRequest{DrillPlanId: "core", DrillPlan: plan}},
		{"DrillService/UpdateDrillPlan", &pb.UpdateDrillPlanRequest{DrillPlan: &pb.DrillPlan{Name: "drillPlans/core", DisplayName: "The core"}}},
		{"DrillService/StartDrill", &pb.StartDrillRequest{DrillPlan: "drillPlans/core", User: "users/ben"}},
		{"DrillService/DeleteDrillPlan", &pb.DeleteDrillPlanRequest{Name: "drillPlans/core"}},
	}
}

// TestEveryMethodAsManager calls each method that the table opens to managers,
// about something of core's: first as manager of another team, who is refused
// and changes nothing, then as manager of core, who is let in. Each call leaves
// what the next ones need.
func TestEveryMethodAsManager(t *testing.T) {
	r := managed(t)
	in := func(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(r.now().Add(d)) }
	mask := func(path string) *fieldmaskpb.FieldMask { return &fieldmaskpb.FieldMask{Paths: []string{path}} }
	asks := []*pb.EscalationLevel{{Targets: []*pb.EscalationTarget{{Name: "schedules/primary"}}, Delay: durationpb.New(5 * time.Minute)}}
	primary, err := r.schedules().GetSchedule(r.as(admin), &pb.GetScheduleRequest{Name: "schedules/primary"})
	if err != nil {
		t.Fatal(err)
	}
	calls := []managersCall{
		{"ScheduleService/PreviewSchedule", &pb.PreviewScheduleRequest{Schedule: primary}},
		{"ScheduleService/CreateSchedule", &pb.CreateScheduleRequest{ScheduleId: "second", Schedule: &pb.Schedule{DisplayName: "Second", Team: "teams/core", TimeZone: "UTC"}}},
		{"ScheduleService/UpdateSchedule", &pb.UpdateScheduleRequest{Schedule: &pb.Schedule{Name: "schedules/second", DisplayName: "The second"}}},
		{"ScheduleService/DeleteSchedule", &pb.DeleteScheduleRequest{Name: "schedules/second"}},
		{"ScheduleService/CreateOverride", &pb.CreateOverrideRequest{OverrideId: "o", Override: &pb.Override{Schedule: "schedules/primary", User: "users/ann", StartTime: in(time.Hour), EndTime: in(2 * time.Hour)}}},
		{"ScheduleService/DeleteOverride", &pb.DeleteOverrideRequest{Name: "overrides/o"}},
		{"ScheduleService/CreateShadow", &pb.CreateShadowRequest{ShadowId: "s", Shadow: &pb.Shadow{Schedule: "schedules/primary", User: "users/cyd"}}},
		{"ScheduleService/DeleteShadow", &pb.DeleteShadowRequest{Name: "shadows/s"}},
		{"EscalationPolicyService/CreateEscalationPolicy", &pb.CreateEscalationPolicyRequest{EscalationPolicyId: "nights", EscalationPolicy: &pb.EscalationPolicy{DisplayName: "Nights", Team: "teams/core", Levels: asks}}},
		{"EscalationPolicyService/UpdateEscalationPolicy", &pb.UpdateEscalationPolicyRequest{EscalationPolicy: &pb.EscalationPolicy{Name: "escalationPolicies/nights", DisplayName: "Of nights"}, UpdateMask: mask("display_name")}},
		{"EscalationPolicyService/DeleteEscalationPolicy", &pb.DeleteEscalationPolicyRequest{Name: "escalationPolicies/nights"}},
		{"CatalogService/CreateService", &pb.CreateServiceRequest{ServiceId: "mail", Service: &pb.Service{DisplayName: "Mail", Team: "teams/core", EscalationPolicy: "escalationPolicies/core"}}},
		{"CatalogService/UpdateService", &pb.UpdateServiceRequest{Service: &pb.Service{Name: "services/mail", EscalationPolicy: "escalationPolicies/shared"}, UpdateMask: mask("escalation_policy")}},
		{"CatalogService/CreateIntegration", &pb.CreateIntegrationRequest{IntegrationId: "in", Integration: &pb.Integration{DisplayName: "Mail", Service: "services/mail", Source: "generic"}}},
		{"CatalogService/UpdateIntegration", &pb.UpdateIntegrationRequest{Integration: &pb.Integration{Name: "integrations/in", DisplayName: "Mail's"}, UpdateMask: mask("display_name")}},
		{"CatalogService/RotateIntegrationKey", &pb.RotateIntegrationKeyRequest{Name: "integrations/in"}},
		{"CatalogService/DeleteIntegration", &pb.DeleteIntegrationRequest{Name: "integrations/in"}},
		{"CatalogService/DeleteService", &pb.DeleteServiceRequest{Name: "services/mail"}},
		{"TeamService/UpdateTeam", &pb.UpdateTeamRequest{Team: &pb.Team{Name: "teams/core", Members: []string{"users/ann", "users/ben", "users/dan", "users/eve"}}, UpdateMask: mask("members")}},
	}
	calls = append(append(calls, onCallCalls(r)...), drillCalls()...)
	open := map[string]bool{}
	for _, name := range auth.Methods() {
		if rule, _ := auth.RuleOf(name); len(rule.Team) > 0 {
			open[name] = true
		}
	}
	for _, c := range calls {
		name := "/tocsin.v1." + c.method
		delete(open, name)
		answer := dynamicpb.NewMessage(methodOf(t, name).Output())
		before := r.dir.Snapshot().Position()
		wants(t, r.conn.Invoke(r.as(ofWeb), name, c.request, answer), codes.PermissionDenied, "NOT_YOURS")
		if r.dir.Snapshot().Position() != before {
			t.Errorf("%s: what was refused has changed something", c.method)
		}
		if err := r.conn.Invoke(r.as(ofCore), name, c.request, answer); err != nil {
			t.Errorf("%s by the team's manager: %v", c.method, err)
		}
	}
	for name := range open {
		t.Errorf("%s is open to managers and is not called here", name)
	}
}

// TestManagersTakeNothingFromOthers: what would reach beyond the team is
// refused, by the field that does, whatever the manager says about his own.
func TestManagersTakeNothingFromOthers(t *testing.T) {
	r := managed(t)
	policies, services, teams := pb.NewEscalationPolicyServiceClient(r.conn), pb.NewCatalogServiceClient(r.conn), pb.NewTeamServiceClient(r.conn)
	asking := func(name string) *pb.EscalationPolicy {
		return &pb.EscalationPolicy{Name: "escalationPolicies/core", Levels: []*pb.EscalationLevel{{Targets: []*pb.EscalationTarget{{Name: name}, {Name: "users/ben"}}, Delay: durationpb.New(5 * time.Minute)}}}
	}
	schedule := func(team string) func() error {
		return func() error {
			_, err := r.schedules().UpdateSchedule(r.as(ofCore), &pb.UpdateScheduleRequest{
				Schedule: &pb.Schedule{Name: "schedules/primary", Team: team}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"team"}},
			})
			return err
		}
	}
	service := func(id, policy string) func() error {
		return func() error {
			_, err := services.UpdateService(r.as(ofCore), &pb.UpdateServiceRequest{Service: &pb.Service{Name: "services/" + id, EscalationPolicy: policy}})
			return err
		}
	}
	policy := func(p *pb.EscalationPolicy) func() error {
		return func() error {
			_, err := policies.UpdateEscalationPolicy(r.as(ofCore), &pb.UpdateEscalationPolicyRequest{EscalationPolicy: p})
			return err
		}
	}
	team := func(m *pb.Team) func() error {
		return func() error {
			_, err := teams.UpdateTeam(r.as(ofCore), &pb.UpdateTeamRequest{Team: m})
			return err
		}
	}
	for _, c := range []struct {
		name  string
		do    func() error
		want  codes.Code
		field string
	}{
		{"gives a schedule to another team", schedule("teams/web"), codes.PermissionDenied, "schedule.team"},
		{"gives a schedule to nobody", schedule(""), codes.PermissionDenied, "schedule.team"},
		{"takes a schedule", func() error {
			_, err := r.schedules().UpdateSchedule(r.as(ofCore), &pb.UpdateScheduleRequest{Schedule: &pb.Schedule{Name: "schedules/webdays", Team: "teams/core"}})
			return err
		}, codes.PermissionDenied, ""},
		{"takes a service of nobody's", service("search", "escalationPolicies/core"), codes.PermissionDenied, ""},
		{"pages another team by its policy", service("payments", "escalationPolicies/web"), codes.PermissionDenied, "service.escalation_policy"},
		{"pages by a policy of nobody's", service("payments", "escalationPolicies/shared"), codes.OK, ""},
		{"pages another team by its schedule", policy(asking("schedules/webdays")), codes.PermissionDenied, "escalation_policy.levels[0].targets[0]"},
		{"pages another team whole", policy(asking("teams/web")), codes.PermissionDenied, "escalation_policy.levels[0].targets[0]"},
		{"pages his own", policy(asking("teams/core")), codes.OK, ""},
		{"makes an unowned policy", func() error {
			p := asking("users/ben")
			p.DisplayName = "Mine"
			_, err := policies.CreateEscalationPolicy(r.as(ofCore), &pb.CreateEscalationPolicyRequest{EscalationPolicy: p})
			return err
		}, codes.PermissionDenied, ""},
		{"makes himself an administrator", func() error {
			_, err := pb.NewUserServiceClient(r.conn).UpdateUser(r.as(ofCore), &pb.UpdateUserRequest{User: &pb.User{Name: "users/me", Role: pb.Role_ROLE_ADMIN}})
			return err
		}, codes.PermissionDenied, ""},
		{"makes himself manager of another", team(&pb.Team{Name: "teams/web", Members: []string{"users/dan"}, Managers: []string{"users/dan"}}), codes.PermissionDenied, ""},
		{"makes a manager who is no member", team(&pb.Team{Name: "teams/core", Managers: []string{"users/dan", "users/cyd"}}), codes.InvalidArgument, "team.managers[1]"},
		{"makes another one manager", team(&pb.Team{Name: "teams/core", Managers: []string{"users/dan", "users/ben"}}), codes.OK, ""},
		{"changes how a member is woken", func() error {
			_, err := pb.NewUserServiceClient(r.conn).UpdateUser(r.as(ofCore), &pb.UpdateUserRequest{User: &pb.User{Name: "users/ben", Email: "dan@example.org"}})
			return err
		}, codes.PermissionDenied, ""},
	} {
		t.Run(c.name, func(t *testing.T) { r.failsWith(c.do(), c.want, c.field) })
	}
	t.Run("keeps what an administrator has given him", func(t *testing.T) {
		if _, err := services.UpdateService(r.as(admin), &pb.UpdateServiceRequest{Service: &pb.Service{Name: "services/payments", EscalationPolicy: "escalationPolicies/web"}}); err != nil {
			t.Fatal(err)
		}
		_, err := services.UpdateService(r.as(ofCore), &pb.UpdateServiceRequest{Service: &pb.Service{Name: "services/payments", DisplayName: "All payments"}})
		r.failsWith(err, codes.OK, "")
	})
	t.Run("who manages both moves between them", func(t *testing.T) {
		if _, err := teams.UpdateTeam(r.as(admin), &pb.UpdateTeamRequest{Team: &pb.Team{Name: "teams/web", Members: []string{"users/dan"}, Managers: []string{"users/dan"}}}); err != nil {
			t.Fatal(err)
		}
		r.failsWith(schedule("teams/web")(), codes.OK, "")
	})
	t.Run("who was a manager is none", func(t *testing.T) {
		_, err := r.schedules().UpdateSchedule(r.as(ofWeb), &pb.UpdateScheduleRequest{Schedule: &pb.Schedule{Name: "schedules/webdays", DisplayName: "Mine"}})
		r.failsWith(err, codes.PermissionDenied, "")
	})
}
