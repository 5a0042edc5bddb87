// Package api_test holds the contract to its own rules: what buf lint cannot see.
package api_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/durationpb"

	tocsinv1 "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

// files calls visit with every file of the contract.
func files(visit func(protoreflect.FileDescriptor)) {
	protoregistry.GlobalFiles.RangeFilesByPackage("tocsin.v1", func(f protoreflect.FileDescriptor) bool {
		visit(f)
		return true
	})
}

func methods(visit func(protoreflect.MethodDescriptor)) {
	files(func(f protoreflect.FileDescriptor) {
		for i := range f.Services().Len() {
			for j := range f.Services().Get(i).Methods().Len() {
				visit(f.Services().Get(i).Methods().Get(j))
			}
		}
	})
}

func messages(in interface {
	Messages() protoreflect.MessageDescriptors
}, visit func(protoreflect.MessageDescriptor),
) {
	for i := range in.Messages().Len() {
		m := in.Messages().Get(i)
		if m.IsMapEntry() {
			continue
		}
		visit(m)
		messages(m, visit)
	}
}

func TestEveryServiceIsThere(t *testing.T) {
	var got []string
	files(func(f protoreflect.FileDescriptor) {
		for i := range f.Services().Len() {
			got = append(got, string(f.Services().Get(i).Name()))
		}
	})
	for _, want := range []string{
		"IncidentService", "EventService", "DeviceService", "UserService", "TeamService",
		"CatalogService", "EscalationPolicyService", "TokenService", "OperatorService", "ConfigurationService",
	} {
		if !strings.Contains(" "+strings.Join(got, " ")+" ", " "+want+" ") {
			t.Errorf("services = %v, want %s among them", got, want)
		}
	}
}

func TestEveryMethodHasItsOwnHTTPAddress(t *testing.T) {
	owner := map[string]protoreflect.FullName{}
	methods(func(m protoreflect.MethodDescriptor) {
		rule, ok := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
		if !ok || rule.GetPattern() == nil {
			t.Errorf("%s has no google.api.http", m.FullName())
			return
		}
		address := rule.GetGet() + rule.GetPost() + rule.GetPatch() + rule.GetDelete() + rule.GetPut()
		if !strings.HasPrefix(address, "/v1/") {
			t.Errorf("%s is at %q, want an address below /v1/", m.FullName(), address)
		}
		verb := strings.SplitN(rule.String(), ":", 2)[0]
		if other, taken := owner[verb+" "+address]; taken {
			t.Errorf("%s and %s are both at %s %s", m.FullName(), other, verb, address)
		}
		owner[verb+" "+address] = m.FullName()
		if m.IsStreamingClient() {
			t.Errorf("%s streams requests, which HTTP cannot do", m.FullName())
		}
	})
}

// A rule that does not compile would otherwise be found by the first caller.
func TestEveryRuleCompiles(t *testing.T) {
	v, err := protovalidate.New()
	if err != nil {
		t.Fatal(err)
	}
	files(func(f protoreflect.FileDescriptor) {
		messages(f, func(m protoreflect.MessageDescriptor) {
			err := v.Validate(dynamicpb.NewMessage(m))
			if _, refused := errors.AsType[*protovalidate.ValidationError](err); err != nil && !refused {
				t.Errorf("%s: %v", m.FullName(), err)
			}
		})
	})
}

// Every string and list that a caller may send has an upper bound, so that no
// request is larger than somebody thought of.
func TestEveryInputIsBounded(t *testing.T) {
	seen := map[protoreflect.FullName]bool{}
	var walk func(protoreflect.MessageDescriptor)
	walk = func(m protoreflect.MessageDescriptor) {
		if seen[m.FullName()] || m.ParentFile().Package() != "tocsin.v1" {
			return
		}
		seen[m.FullName()] = true
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			if outputOnly(f) {
				continue
			}
			if !bounded(f) {
				t.Errorf("%s has no upper bound", f.FullName())
			}
			if f.Kind() == protoreflect.MessageKind && !f.IsMap() {
				walk(f.Message())
			}
		}
	}
	methods(func(m protoreflect.MethodDescriptor) { walk(m.Input()) })
}

func outputOnly(f protoreflect.FieldDescriptor) bool {
	behaviours, ok := proto.GetExtension(f.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	if !ok {
		return false
	}
	for _, b := range behaviours {
		if b == annotations.FieldBehavior_OUTPUT_ONLY {
			return true
		}
	}
	// An etag comes back as it was given out; its length says nothing.
	return f.Name() == "etag" && f.ContainingMessage().Fields().ByName("name") != nil
}

func bounded(f protoreflect.FieldDescriptor) bool {
	rules, ok := proto.GetExtension(f.Options(), validate.E_Field).(*validate.FieldRules)
	if !ok {
		rules = &validate.FieldRules{}
	}
	if f.IsMap() {
		return rules.GetMap().HasMaxPairs() && boundedString(rules.GetMap().GetKeys().GetString()) && boundedString(rules.GetMap().GetValues().GetString())
	}
	if f.IsList() {
		if !rules.GetRepeated().HasMaxItems() {
			return false
		}
		return f.Kind() != protoreflect.StringKind || boundedString(rules.GetRepeated().GetItems().GetString())
	}
	switch f.Kind() {
	case protoreflect.StringKind:
		return boundedString(rules.GetString())
	case protoreflect.BytesKind:
		return rules.GetBytes().HasMaxLen() || rules.GetBytes().HasLen()
	default:
		return true
	}
}

func boundedString(r *validate.StringRules) bool {
	return r.HasMaxLen() || r.HasMaxBytes() || r.HasPattern() || r.HasConst() || len(r.GetIn()) > 0 || r.GetUuid()
}

func TestRulesOfRequests(t *testing.T) {
	const uuid = "6f2d3c1e-7b1a-4f0e-9a57-0d1c2b3a4f5e"
	trigger := func(change func(*tocsinv1.Event)) *tocsinv1.Event {
		e := &tocsinv1.Event{Action: tocsinv1.Event_ACTION_TRIGGER, Summary: "disk full"}
		if change != nil {
			change(e)
		}
		return e
	}
	publish := func(change func(*tocsinv1.Event)) proto.Message {
		return &tocsinv1.PublishEventRequest{Event: trigger(change)}
	}
	receipts := func(n int) proto.Message {
		r := &tocsinv1.ReportReceiptsRequest{}
		for range n {
			r.Receipts = append(r.Receipts, &tocsinv1.Receipt{DeliveryId: "not a uuid"})
		}
		return r
	}
	events := func(n int) proto.Message {
		r := &tocsinv1.BatchPublishEventsRequest{}
		for range n {
			r.Events = append(r.Events, &tocsinv1.Event{})
		}
		return r
	}
	for _, test := range []struct {
		name  string
		in    proto.Message
		field string // of the violation; empty: the request is good
	}{
		{"an incident's name", &tocsinv1.AcknowledgeIncidentRequest{Name: "incidents/01abc"}, ""},
		{"a name with no prefix", &tocsinv1.AcknowledgeIncidentRequest{Name: "01abc"}, "name"},
		{"a name that goes elsewhere", &tocsinv1.AcknowledgeIncidentRequest{Name: "incidents/../users/ann"}, "name"},
		{"no name", &tocsinv1.AcknowledgeIncidentRequest{}, "name"},
		{"a request id", &tocsinv1.AcknowledgeIncidentRequest{Name: "incidents/1", RequestId: uuid}, ""},
		{"a request id that is no UUID", &tocsinv1.AcknowledgeIncidentRequest{Name: "incidents/1", RequestId: "7"}, "request_id"},
		{"snooze for an hour", &tocsinv1.SnoozeIncidentRequest{Name: "incidents/1", Duration: durationpb.New(time.Hour)}, ""},
		{"snooze for eight days", &tocsinv1.SnoozeIncidentRequest{Name: "incidents/1", Duration: durationpb.New(8 * 24 * time.Hour)}, "duration"},
		{"snooze backwards", &tocsinv1.SnoozeIncidentRequest{Name: "incidents/1", Duration: durationpb.New(-time.Hour)}, "duration"},
		{"snooze without an end", &tocsinv1.SnoozeIncidentRequest{Name: "incidents/1"}, "duration"},
		{"reassign to a user", &tocsinv1.ReassignIncidentRequest{Name: "incidents/1", Users: []string{"users/ann"}}, ""},
		{"reassign to nobody", &tocsinv1.ReassignIncidentRequest{Name: "incidents/1"}, "users_or_policy"},
		{
			"reassign to both",
			&tocsinv1.ReassignIncidentRequest{Name: "incidents/1", Users: []string{"users/ann"}, EscalationPolicy: "escalationPolicies/p"},
			"users_or_policy",
		},
		{"reassign to one user twice", &tocsinv1.ReassignIncidentRequest{Name: "incidents/1", Users: []string{"users/ann", "users/ann"}}, "users"},
		{"level 21", &tocsinv1.EscalateIncidentRequest{Name: "incidents/1", Level: 21}, "level"},
		{"a page by service", &tocsinv1.CreateIncidentRequest{Incident: &tocsinv1.Incident{Title: "x", Service: "services/db"}}, ""},
		{"a page to nobody", &tocsinv1.CreateIncidentRequest{Incident: &tocsinv1.Incident{Title: "x"}}, "nobody_to_page"},
		{"a page about nothing", &tocsinv1.CreateIncidentRequest{Incident: &tocsinv1.Incident{Service: "services/db"}}, "title_required"},
		{"a page without an incident", &tocsinv1.CreateIncidentRequest{Users: []string{"users/me"}}, "incident"},
		{"a list", &tocsinv1.ListIncidentsRequest{}, ""},
		{"a list by title", &tocsinv1.ListIncidentsRequest{OrderBy: "title"}, "order_by"},
		{"a list of minus one", &tocsinv1.ListIncidentsRequest{PageSize: -1}, "page_size"},
		{"a list of unknown states", &tocsinv1.ListIncidentsRequest{States: []tocsinv1.Incident_State{9}}, "states"},
		{"a trigger", publish(nil), ""},
		{"a trigger that says nothing", publish(func(e *tocsinv1.Event) { e.Summary = "" }), "summary_required"},
		{"a summary of 1024 characters", publish(func(e *tocsinv1.Event) { e.Summary = strings.Repeat("é", 1024) }), ""},
		{"a summary of 1025", publish(func(e *tocsinv1.Event) { e.Summary = strings.Repeat("é", 1025) }), "event.summary"},
		{"a resolve of nothing", publish(func(e *tocsinv1.Event) { e.Action = tocsinv1.Event_ACTION_RESOLVE }), "dedup_key_required"},
		{"a script as a link", publish(func(e *tocsinv1.Event) { e.Links = []*tocsinv1.Link{{Uri: "javascript:alert(1)"}} }), "event.links[0].uri"},
		{"a bad event in a batch is its own affair", events(1), ""},
		{"a batch of 1,000", events(1000), ""},
		{"a batch of 1,001", events(1001), "events"},
		{"an empty batch", events(0), "events"},
		{"a bad receipt is its own affair", receipts(100), ""},
		{"101 receipts", receipts(101), "receipts"},
		{"an act", &tocsinv1.ActRequest{ActionId: uuid, DeliveryId: uuid, Verb: tocsinv1.ActRequest_VERB_ACKNOWLEDGE}, ""},
		{"an act of no kind", &tocsinv1.ActRequest{ActionId: uuid, DeliveryId: uuid}, "verb"},
		{"an act without an id", &tocsinv1.ActRequest{DeliveryId: uuid, Verb: tocsinv1.ActRequest_VERB_RESOLVE}, "action_id"},
		{"a device", register(nil), ""},
		{"a device of an unknown system", register(func(d *tocsinv1.Device) { d.Platform = 0 }), "register_device.platform"},
		{"an APNs token in capitals", register(func(d *tocsinv1.Device) { d.Address.Value = strings.Repeat("A", 64) }), "apns_token"},
		{
			"a browser without keys",
			register(func(d *tocsinv1.Device) {
				d.Address = &tocsinv1.Device_Address{Kind: tocsinv1.Device_Address_KIND_WEB_PUSH, Value: "https://push.example/1"}
			}),
			"web_push",
		},
		{"a change of a zone alone", &tocsinv1.UpdateUserRequest{User: &tocsinv1.User{Name: "users/me", TimeZone: "Europe/Zurich"}}, ""},
		{"a change of nobody", &tocsinv1.UpdateUserRequest{User: &tocsinv1.User{TimeZone: "UTC"}}, "update_user.name"},
		{"a user without a name", &tocsinv1.CreateUserRequest{User: &tocsinv1.User{Email: "ann@example.org"}}, "create_user.required"},
		{"a user called me", &tocsinv1.CreateUserRequest{UserId: "me", User: &tocsinv1.User{DisplayName: "Ann", Email: "ann@example.org"}}, "create_user.me"},
		{
			"two contact methods of one id", &tocsinv1.UpdateUserRequest{User: &tocsinv1.User{Name: "users/ann", ContactMethods: []*tocsinv1.ContactMethod{
				{Id: "mail", Kind: tocsinv1.ContactMethod_KIND_EMAIL, Address: "a@example.org"},
				{Id: "mail", Kind: tocsinv1.ContactMethod_KIND_EMAIL, Address: "b@example.org"},
			}}}, "contact_method_ids",
		},
		{
			"a webhook in the clear", &tocsinv1.UpdateUserRequest{User: &tocsinv1.User{Name: "users/ann", ContactMethods: []*tocsinv1.ContactMethod{
				{Id: "hook", Kind: tocsinv1.ContactMethod_KIND_WEBHOOK, Address: "http://example.org"},
			}}}, "contact_method.webhook",
		},
		{"ten loops", &tocsinv1.UpdateEscalationPolicyRequest{EscalationPolicy: &tocsinv1.EscalationPolicy{Name: "escalationPolicies/p", Loops: 10}}, "escalation_policy.loops"},
		{
			"a level without people", &tocsinv1.UpdateEscalationPolicyRequest{EscalationPolicy: &tocsinv1.EscalationPolicy{
				Name: "escalationPolicies/p", Levels: []*tocsinv1.EscalationLevel{{Delay: durationpb.New(time.Minute)}},
			}}, "escalation_policy.levels[0].targets",
		},
		{"a service account without a role", &tocsinv1.CreateTokenRequest{Token: &tocsinv1.Token{DisplayName: "ci"}}, "create_token.role"},
		{"retry everything", &tocsinv1.RetryDeadLettersRequest{All: true}, ""},
		{"retry nothing", &tocsinv1.RetryDeadLettersRequest{}, "names_or_all"},
		{"hold without a reason", &tocsinv1.HoldPagingRequest{}, "reason"},
		{"the settings", &tocsinv1.GetSettingsRequest{Name: "settings"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := protovalidate.Validate(test.in)
			switch {
			case test.field == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.field != "" && (err == nil || !strings.Contains(err.Error(), test.field) && !names(err, test.field)):
				t.Errorf("error = %v, want one about %s", err, test.field)
			}
		})
	}
}

// names reports whether a violated rule's id contains the word.
func names(err error, word string) bool {
	refusal, ok := errors.AsType[*protovalidate.ValidationError](err)
	if !ok {
		return false
	}
	for _, v := range refusal.Violations {
		if strings.Contains(v.Proto.GetRuleId(), word) {
			return true
		}
	}
	return false
}

func register(change func(*tocsinv1.Device)) proto.Message {
	d := &tocsinv1.Device{
		InstallId: "6f2d3c1e-7b1a-4f0e-9a57-0d1c2b3a4f5e", Platform: tocsinv1.Device_PLATFORM_IOS,
		Address: &tocsinv1.Device_Address{Kind: tocsinv1.Device_Address_KIND_APNS, Value: strings.Repeat("a", 64)},
	}
	if change != nil {
		change(d)
	}
	return &tocsinv1.RegisterDeviceRequest{Device: d}
}
