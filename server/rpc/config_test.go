package rpc_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/ingest"
)

func TestUsers(t *testing.T) {
	r := newRig(t)
	c := pb.NewUserServiceClient(r.conn)
	id := uuid.NewString()
	create := &pb.CreateUserRequest{RequestId: id, User: &pb.User{
		DisplayName: "Dee Dawson", Email: "dee.dawson@example.org", TimeZone: "Europe/Zurich",
		ContactMethods: []*pb.ContactMethod{
			{Id: "mail", Kind: pb.ContactMethod_KIND_EMAIL, Address: "dee@example.org"},
			{Id: "hook", Kind: pb.ContactMethod_KIND_WEBHOOK, Address: "https://hook.example.org/x", SigningKey: []byte(strings.Repeat("k", 32))},
		},
		HighSteps:  []*pb.ContactStep{{ContactMethod: "push"}, {ContactMethod: "mail", Delay: durationpb.New(3 * time.Minute)}},
		QuietHours: &pb.QuietHours{Start: "22:00", End: "07:00"}, Reminder: &pb.Reminder{Interval: durationpb.New(10 * time.Minute)},
	}}
	dee, err := c.CreateUser(r.as(admin), create)
	if err != nil {
		t.Fatal(err)
	}
	if dee.GetName() != "users/dee-dawson" || dee.GetRole() != pb.Role_ROLE_RESPONDER || dee.GetReachable() || len(dee.GetWarnings()) == 0 || dee.GetContactMethods()[0].GetVerified() {
		t.Errorf("made %v", dee)
	}
	if again, err := c.CreateUser(r.as(admin), create); err != nil || !same(dee, again) {
		t.Errorf("again: %v (%v)", again, err)
	}
	_, err = c.CreateUser(r.as(admin), &pb.CreateUserRequest{User: &pb.User{DisplayName: "Dee", Email: "DEE.dawson@example.org"}})
	wants(t, err, codes.AlreadyExists, "ALREADY_EXISTS")

	// A contact method is proven by a code.
	name := dee.GetName()
	_, err = c.SendVerification(r.as(admin), &pb.SendVerificationRequest{Name: name, ContactMethod: "push"})
	wants(t, err, codes.FailedPrecondition, "NOTHING_TO_VERIFY")
	_, err = c.SendVerification(r.as(admin), &pb.SendVerificationRequest{Name: name, ContactMethod: "none"})
	wants(t, err, codes.NotFound, "METHOD_NOT_FOUND")
	if _, err := c.SendVerification(r.as(admin), &pb.SendVerificationRequest{Name: name, ContactMethod: "mail"}); err != nil {
		t.Fatal(err)
	}
	sent := r.mail.mails[0]
	code := strings.TrimPrefix(sent.Subject, "Your code: ")
	if sent.To != "dee@example.org" || len(code) != 6 {
		t.Fatalf("sent %q to %s", sent.Subject, sent.To)
	}
	_, err = c.VerifyContactMethod(r.as(admin), &pb.VerifyContactMethodRequest{Name: name, ContactMethod: "mail", Code: "000000x"})
	wants(t, err, codes.FailedPrecondition, "CODE_INVALID")
	proven, err := c.VerifyContactMethod(r.as(admin), &pb.VerifyContactMethodRequest{Name: name, ContactMethod: "mail", Code: code})
	if err != nil || !proven.GetContactMethods()[0].GetVerified() {
		t.Fatalf("verified: %v (%v)", proven, err)
	}
	_, err = c.VerifyContactMethod(r.as(admin), &pb.VerifyContactMethodRequest{Name: name, ContactMethod: "mail", Code: code})
	wants(t, err, codes.FailedPrecondition, "CODE_INVALID") // it is used up

	// Five wrong ones, and it is void.
	if _, err := c.SendVerification(r.as(admin), &pb.SendVerificationRequest{Name: name, ContactMethod: "mail"}); err != nil {
		t.Fatal(err)
	}
	code = strings.TrimPrefix(r.mail.mails[1].Subject, "Your code: ")
	for range 5 {
		_, err = c.VerifyContactMethod(r.as(admin), &pb.VerifyContactMethodRequest{Name: name, ContactMethod: "mail", Code: "wrong-one"})
		wants(t, err, codes.FailedPrecondition, "CODE_INVALID")
	}
	_, err = c.VerifyContactMethod(r.as(admin), &pb.VerifyContactMethodRequest{Name: name, ContactMethod: "mail", Code: code})
	wants(t, err, codes.FailedPrecondition, "CODE_INVALID")

	// What a mask does not name stays; a new address has to be proven anew.
	moved, err := c.UpdateUser(r.as(admin), &pb.UpdateUserRequest{
		User: &pb.User{Name: name, DisplayName: "Dee D.", Locale: "de-CH"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"display_name"}},
	})
	if err != nil || moved.GetDisplayName() != "Dee D." || moved.GetLocale() != "" || !moved.GetContactMethods()[0].GetVerified() || moved.GetQuietHours().GetStart() != "22:00" {
		t.Errorf("updated %v (%v)", moved, err)
	}
	methods := moved.GetContactMethods()
	methods[0].Address = "other@example.org"
	moved, err = c.UpdateUser(r.as(admin), &pb.UpdateUserRequest{User: &pb.User{Name: name, ContactMethods: methods, Etag: moved.GetEtag()}})
	if err != nil || moved.GetContactMethods()[0].GetVerified() {
		t.Errorf("a new address is taken for proven: %v (%v)", moved, err)
	}
	_, err = c.UpdateUser(r.as(admin), &pb.UpdateUserRequest{User: &pb.User{Name: name, DisplayName: "x", Etag: `"stale"`}})
	wants(t, err, codes.Aborted, "REVISION_MOVED")
	_, err = c.UpdateUser(r.as(admin), &pb.UpdateUserRequest{User: &pb.User{Name: name}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"no_such"}}})
	wants(t, err, codes.InvalidArgument, "INVALID_FIELD")

	// People change themselves, but not what they may.
	me, err := c.UpdateUser(r.as(responder), &pb.UpdateUserRequest{User: &pb.User{Name: "users/me", Locale: "en-GB"}})
	if err != nil || me.GetName() != "users/ben" || me.GetLocale() != "en-GB" {
		t.Errorf("ben changed himself to %v (%v)", me, err)
	}
	_, err = c.UpdateUser(r.as(responder), &pb.UpdateUserRequest{User: &pb.User{Name: "users/me", Role: pb.Role_ROLE_ADMIN}})
	wants(t, err, codes.PermissionDenied, "NOT_YOURS")
	_, err = c.UpdateUser(r.as(admin), &pb.UpdateUserRequest{User: &pb.User{Name: "users/ann", Role: pb.Role_ROLE_RESPONDER}})
	wants(t, err, codes.FailedPrecondition, "LAST_ADMIN")
	_, err = c.DeleteUser(r.as(admin), &pb.DeleteUserRequest{Name: "users/ben"})
	wants(t, err, codes.FailedPrecondition, "IN_USE")
	if _, err := c.DeleteUser(r.as(admin), &pb.DeleteUserRequest{Name: name}); err != nil {
		t.Error(err)
	}
	_, err = c.GetUser(r.as(admin), &pb.GetUserRequest{Name: name})
	wants(t, err, codes.NotFound, "NOT_FOUND")
}

// A resource that is read, changed and sent back whole over HTTP is taken,
// what is the server's in it passed over.
func TestPatchOverHTTP(t *testing.T) {
	r := newRig(t)
	res := r.http(http.MethodGet, "/v1/users/ben", responder, "")
	body := string(must(io.ReadAll(res.Body)))
	res.Body.Close()
	body = strings.Replace(body, `"Ben Baker"`, `"Benjamin Baker"`, 1)
	res = r.http(http.MethodPatch, "/v1/users/ben", responder, body)
	defer res.Body.Close()
	answer := string(must(io.ReadAll(res.Body)))
	if res.StatusCode != http.StatusOK || !strings.Contains(answer, "Benjamin Baker") {
		t.Errorf("HTTP %d %s", res.StatusCode, answer)
	}
	res = r.http(http.MethodPatch, "/v1/users/ben", responder, `{"displayNane":"x"}`)
	defer res.Body.Close()
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("a misspelt field: HTTP %d", res.StatusCode)
	}
}

func TestListsOfTheConfiguration(t *testing.T) {
	r := newRig(t)
	c := pb.NewUserServiceClient(r.conn)
	var names []string
	req := &pb.ListUsersRequest{PageSize: 2}
	for {
		page, err := c.ListUsers(r.as(stakeholder), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range page.GetUsers() {
			names = append(names, u.GetName())
		}
		if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
			break
		}
	}
	if !slices.Equal(names, []string{"users/ann", "users/ben", "users/cyd"}) {
		t.Errorf("users %v", names)
	}
	team, err := c.ListUsers(r.as(stakeholder), &pb.ListUsersRequest{Team: "teams/core"})
	if err != nil || len(team.GetUsers()) != 2 {
		t.Errorf("of the team: %v (%v)", team, err)
	}
	mine, err := pb.NewTeamServiceClient(r.conn).ListTeams(r.as(responder), &pb.ListTeamsRequest{Member: "users/me"})
	if err != nil || len(mine.GetTeams()) != 1 {
		t.Errorf("ben's teams: %v (%v)", mine, err)
	}
	p := pb.NewEscalationPolicyServiceClient(r.conn)
	with, err := p.ListEscalationPolicies(r.as(responder), &pb.ListEscalationPoliciesRequest{User: "users/me"})
	if err != nil || len(with.GetEscalationPolicies()) != 1 {
		t.Errorf("policies that name ben: %v (%v)", with, err)
	}
	r.page("x")
	svc, err := pb.NewCatalogServiceClient(r.conn).ListServices(r.as(responder), &pb.ListServicesRequest{})
	if err != nil || len(svc.GetServices()) != 2 || svc.GetServices()[0].GetOpenIncidentCount() != 1 || svc.GetServices()[1].GetOpenIncidentCount() != 0 {
		t.Errorf("services: %v (%v)", svc, err)
	}
}

func TestCatalogAndPolicies(t *testing.T) {
	r := newRig(t)
	c, p := pb.NewCatalogServiceClient(r.conn), pb.NewEscalationPolicyServiceClient(r.conn)
	ctx := r.as(admin)
	level := &pb.EscalationLevel{Targets: []*pb.EscalationTarget{{Name: "users/ben"}}, Delay: durationpb.New(5 * time.Minute)}
	policy, err := p.CreateEscalationPolicy(ctx, &pb.CreateEscalationPolicyRequest{EscalationPolicy: &pb.EscalationPolicy{DisplayName: "Night Shift", Levels: []*pb.EscalationLevel{level}, Loops: 1}})
	if err != nil || policy.GetName() != "escalationPolicies/night-shift" || policy.GetVersion() != 1 {
		t.Fatalf("made %v (%v)", policy, err)
	}
	_, err = p.CreateEscalationPolicy(ctx, &pb.CreateEscalationPolicyRequest{EscalationPolicy: &pb.EscalationPolicy{
		DisplayName: "Nobody", Levels: []*pb.EscalationLevel{{Targets: []*pb.EscalationTarget{{Name: "users/cyd"}}, Delay: durationpb.New(5 * time.Minute)}},
	}})
	wants(t, err, codes.FailedPrecondition, "PAGES_NOBODY")
	policy.Loops = 2
	second, err := p.UpdateEscalationPolicy(ctx, &pb.UpdateEscalationPolicyRequest{EscalationPolicy: policy})
	if err != nil || second.GetVersion() != 2 {
		t.Fatalf("changed %v (%v)", second, err)
	}
	first, err := p.GetEscalationPolicy(ctx, &pb.GetEscalationPolicyRequest{Name: policy.GetName(), Version: 1})
	if err != nil || first.GetLoops() != 1 {
		t.Errorf("version 1 is %v (%v)", first, err)
	}
	svc, err := c.CreateService(ctx, &pb.CreateServiceRequest{Service: &pb.Service{
		DisplayName: "Web shop", EscalationPolicy: policy.GetName(), AcknowledgeTimeout: durationpb.New(0), UrgencyRule: pb.Service_URGENCY_RULE_BY_SUPPORT_HOURS,
		SupportHours: &pb.SupportHours{TimeZone: "Europe/Zurich", Days: []int32{1, 7}, Start: "08:00", End: "18:00"},
	}})
	if err != nil || svc.GetName() != "services/web-shop" || svc.GetAcknowledgeTimeout() == nil || svc.GetAcknowledgeTimeout().AsDuration() != 0 || !slices.Equal(svc.GetSupportHours().GetDays(), []int32{1, 7}) {
		t.Fatalf("made %v (%v)", svc, err)
	}
	_, err = c.CreateService(ctx, &pb.CreateServiceRequest{Service: &pb.Service{DisplayName: "x", EscalationPolicy: "escalationPolicies/none"}})
	wants(t, err, codes.NotFound, "NOT_FOUND")
	_, err = p.DeleteEscalationPolicy(ctx, &pb.DeleteEscalationPolicyRequest{Name: policy.GetName()})
	wants(t, err, codes.FailedPrecondition, "IN_USE")

	id := uuid.NewString()
	order := &pb.CreateIntegrationRequest{RequestId: id, Integration: &pb.Integration{DisplayName: "Shop", Service: svc.GetName(), Source: "generic", Options: map[string]string{"allow_text": "true"}}}
	in, err := c.CreateIntegration(ctx, order)
	if err != nil || len(in.GetKey()) != 32 || in.GetUri() != "https://page.example.org/integrations/"+in.GetKey()+"/generic" {
		t.Fatalf("made %v (%v)", in, err)
	}
	if again, err := c.CreateIntegration(ctx, order); err != nil || again.GetKey() != "" || again.GetIntegration().GetName() != in.GetIntegration().GetName() {
		t.Errorf("a repeated request shows the key again: %v (%v)", again, err)
	}
	order = &pb.CreateIntegrationRequest{Integration: &pb.Integration{DisplayName: "Shop", Service: svc.GetName(), Source: "nagios"}}
	_, err = c.CreateIntegration(ctx, order)
	wants(t, err, codes.InvalidArgument, "INVALID_FIELD")
	order.Integration.Source, order.Integration.Options = "generic", map[string]string{"alow_text": "true"}
	_, err = c.CreateIntegration(ctx, order)
	wants(t, err, codes.InvalidArgument, "INVALID_FIELD")

	publish := func(key string) error {
		_, err := pb.NewEventServiceClient(r.conn).PublishEvent(bearer(t.Context(), key), &pb.PublishEventRequest{Event: &pb.Event{Action: pb.Event_ACTION_TRIGGER, Summary: "x"}})
		return err
	}
	if err := publish(in.GetKey()); err != nil {
		t.Fatal(err)
	}
	if e := r.acceptor.events[0]; !e.KeyMade || e.DedupKey == "" || e.Source != "Shop" {
		t.Errorf("an event without a key became %v", e)
	}
	rotated, err := c.RotateIntegrationKey(ctx, &pb.RotateIntegrationKeyRequest{Name: in.GetIntegration().GetName()})
	if err != nil || rotated.GetKey() == in.GetKey() {
		t.Fatal(err)
	}
	wants(t, publish(in.GetKey()), codes.Unauthenticated, "CREDENTIAL_INVALID")
	if err := publish(rotated.GetKey()); err != nil {
		t.Error(err)
	}
	_, err = c.DeleteService(ctx, &pb.DeleteServiceRequest{Name: svc.GetName()})
	wants(t, err, codes.FailedPrecondition, "IN_USE")
	if _, err := c.DeleteIntegration(ctx, &pb.DeleteIntegrationRequest{Name: in.GetIntegration().GetName()}); err != nil {
		t.Error(err)
	}
	if _, err := c.DeleteService(ctx, &pb.DeleteServiceRequest{Name: svc.GetName()}); err != nil {
		t.Error(err)
	}
}

func TestEventsInBatch(t *testing.T) {
	r := newRig(t)
	c := pb.NewEventServiceClient(r.conn)
	got, err := c.BatchPublishEvents(r.as(monitor), &pb.BatchPublishEventsRequest{Events: []*pb.Event{
		{Action: pb.Event_ACTION_TRIGGER, Summary: "one", DedupKey: "a"},
		{Action: pb.Event_ACTION_TRIGGER},
		{Action: pb.Event_ACTION_RESOLVE, DedupKey: "a"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := []pb.PublishEventResponse_Result{pb.PublishEventResponse_RESULT_ACCEPTED, pb.PublishEventResponse_RESULT_REJECTED, pb.PublishEventResponse_RESULT_ACCEPTED}
	for i, res := range got.GetResults() {
		if res.GetResult() != want[i] || (want[i] == pb.PublishEventResponse_RESULT_REJECTED) != (res.GetReason() != "") {
			t.Errorf("result %d is %v, want %s", i, res, want[i])
		}
	}
	_, err = c.BatchPublishEvents(r.as(monitor), &pb.BatchPublishEventsRequest{})
	wants(t, err, codes.InvalidArgument, "INVALID_FIELD")
	r.acceptor.as = ingest.OutcomeIgnored
	one, err := c.PublishEvent(r.as(monitor), &pb.PublishEventRequest{Event: &pb.Event{Action: pb.Event_ACTION_TRIGGER, Summary: "one"}})
	if err != nil || one.GetResult() != pb.PublishEventResponse_RESULT_IGNORED || one.GetReason() == "" {
		t.Errorf("ignored: %v (%v)", one, err)
	}
}

func TestTokens(t *testing.T) {
	r := newRig(t)
	c := pb.NewTokenServiceClient(r.conn)
	made, err := c.CreateToken(r.as(responder), &pb.CreateTokenRequest{Token: &pb.Token{DisplayName: "script", User: "users/me", Scopes: []pb.Token_Scope{pb.Token_SCOPE_READ}}})
	if err != nil || !strings.HasPrefix(made.GetSecret(), "tcs_") || made.GetToken().GetExpireTime() == nil {
		t.Fatalf("made %v (%v)", made, err)
	}
	reads := bearer(t.Context(), made.GetSecret())
	if _, err := r.incidents().ListIncidents(reads, &pb.ListIncidentsRequest{}); err != nil {
		t.Error(err)
	}
	_, err = r.incidents().CreateIncident(reads, &pb.CreateIncidentRequest{Incident: &pb.Incident{Title: "x", Service: "services/payments"}})
	wants(t, err, codes.PermissionDenied, "PERMISSION_DENIED")
	for name, tok := range map[string]*pb.Token{
		"for another":           {DisplayName: "x", User: "users/ann"},
		"of a higher role":      {DisplayName: "x", User: "users/me", Role: pb.Role_ROLE_ADMIN},
		"of a service account":  {DisplayName: "x", Role: pb.Role_ROLE_RESPONDER},
		"of an administrator's": {DisplayName: "x", Role: pb.Role_ROLE_ADMIN},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.CreateToken(r.as(responder), &pb.CreateTokenRequest{Token: tok})
			wants(t, err, codes.PermissionDenied, "MORE_THAN_YOURS")
		})
	}
	_, err = c.CreateToken(r.as(admin), &pb.CreateTokenRequest{Token: &pb.Token{DisplayName: "x", Role: pb.Role_ROLE_ADMIN, ExpireTime: timestamppb.New(r.now().Add(10 * 365 * 24 * time.Hour))}})
	wants(t, err, codes.InvalidArgument, "INVALID_FIELD")
	_, err = c.GetToken(r.as(responder), &pb.GetTokenRequest{Name: "tokens/tokann"})
	wants(t, err, codes.PermissionDenied, "NOT_YOURS")
	list, err := c.ListTokens(r.as(responder), &pb.ListTokensRequest{})
	if err != nil || len(list.GetTokens()) != 2 {
		t.Errorf("ben sees %v (%v)", list, err)
	}
	gone, err := c.RevokeToken(r.as(responder), &pb.RevokeTokenRequest{Name: made.GetToken().GetName()})
	if err != nil || gone.GetRevokeTime() == nil {
		t.Fatalf("revoked %v (%v)", gone, err)
	}
	_, err = r.incidents().ListIncidents(reads, &pb.ListIncidentsRequest{})
	wants(t, err, codes.Unauthenticated, "CREDENTIAL_INVALID")
}

func TestConfigurationAsADocument(t *testing.T) {
	r := newRig(t)
	c := pb.NewConfigurationServiceClient(r.conn)
	out, err := c.ExportConfiguration(r.as(admin), &pb.ExportConfigurationRequest{})
	if err != nil || !strings.Contains(out.GetYaml(), "payments") {
		t.Fatalf("exported %v (%v)", out, err)
	}
	plan, err := c.ApplyConfiguration(r.as(admin), &pb.ApplyConfigurationRequest{Yaml: out.GetYaml(), ValidateOnly: true})
	if err != nil || plan.GetApplied() {
		t.Fatalf("planned %v (%v)", plan, err)
	}
	for _, ch := range plan.GetChanges() {
		if ch.GetAction() != pb.ApplyConfigurationResponse_Change_ACTION_NONE {
			t.Errorf("what was exported would change %v", ch)
		}
	}
	done, err := c.ApplyConfiguration(r.as(admin), &pb.ApplyConfigurationRequest{Yaml: strings.Replace(out.GetYaml(), "Payments", "Paying", 1)})
	if err != nil || !done.GetApplied() {
		t.Fatalf("applied %v (%v)", done, err)
	}
	_, err = c.ApplyConfiguration(r.as(admin), &pb.ApplyConfigurationRequest{Yaml: "peple: []\n"})
	s := wants(t, err, codes.InvalidArgument, reasonIn(must(statusOf(err))))
	if !strings.Contains(s.Message(), "people") {
		t.Errorf("a misspelt key: %s", s.Message())
	}
	planOfFolder(t, r, c, out.GetYaml())
	set, err := c.GetSettings(r.as(stakeholder), &pb.GetSettingsRequest{Name: "settings"})
	if err != nil || !slices.Equal(set.GetCatchAll(), []string{"users/ann"}) {
		t.Fatalf("settings %v (%v)", set, err)
	}
	set, err = c.UpdateSettings(r.as(admin), &pb.UpdateSettingsRequest{Settings: &pb.Settings{Name: "settings", Privacy: pb.Privacy_PRIVACY_MINIMAL, Etag: set.GetEtag()}})
	if err != nil || set.GetPrivacy() != pb.Privacy_PRIVACY_MINIMAL || len(set.GetCatchAll()) != 1 {
		t.Errorf("changed to %v (%v)", set, err)
	}
	_, err = c.UpdateSettings(r.as(admin), &pb.UpdateSettingsRequest{Settings: &pb.Settings{Name: "settings", CatchAll: []string{"users/cyd"}}})
	wants(t, err, codes.FailedPrecondition, "PAGES_NOBODY")
}

// planOfFolder plans a change of files that an owner declares, and carries it out.
func planOfFolder(t *testing.T, r *rig, c pb.ConfigurationServiceClient, text string) {
	t.Helper()
	_, err := c.PlanConfiguration(r.as(responder), &pb.PlanConfigurationRequest{Yaml: text})
	wants(t, err, codes.PermissionDenied, reasonIn(must(statusOf(err))))
	_, err = c.PlanConfiguration(r.as(admin), &pb.PlanConfigurationRequest{})
	wants(t, err, codes.InvalidArgument, "INVALID_FIELD")
	next := strings.Replace(text, "    - ben\n    delay", "    - ben\n    - cyd\n    delay", 1)
	if next == text {
		t.Fatalf("no target ben in\n%s", text)
	}
	files := []*pb.ConfigurationFile{{Name: "org.yaml", Text: next}}
	plan, err := c.PlanConfiguration(r.as(admin), &pb.PlanConfigurationRequest{Files: files, Owner: "org", Force: true})
	if err != nil || plan.GetRevision() == "" {
		t.Fatalf("planned %v (%v)", plan, err)
	}
	if len(plan.GetPagingChanges()) == 0 || !slices.Contains(plan.GetPagingChanges()[0].GetStretches()[0].GetAfter(), "users/cyd") {
		t.Errorf("paged differently: %v", plan.GetPagingChanges())
	}
	if d := plan.GetWindowEndTime().AsTime().Sub(plan.GetWindowStartTime().AsTime()); d != 30*24*time.Hour {
		t.Errorf("the window is %v", d)
	}
	request := &pb.ApplyConfigurationRequest{Files: files, Owner: "org", Force: true, Revision: plan.GetRevision()}
	for range 2 {
		if done, err := c.ApplyConfiguration(r.as(admin), request); err != nil || !done.GetApplied() {
			t.Fatalf("applied %v (%v)", done, err)
		}
	}
	request.Files = []*pb.ConfigurationFile{{Name: "org.yaml", Text: text}}
	_, err = c.ApplyConfiguration(r.as(admin), request)
	wants(t, err, codes.Aborted, "CONFIGURATION_MOVED")
	request.Revision, request.Files[0].Text = "", "peple: []\n"
	_, err = c.ApplyConfiguration(r.as(admin), request)
	if s := wants(t, err, codes.InvalidArgument, "INVALID_FIELD"); !strings.Contains(s.Message(), "org.yaml:1: peple: unknown key; did you mean people?") {
		t.Errorf("a misspelt key in a file: %s", s.Message())
	}
}
