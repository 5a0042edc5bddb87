package auth_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	tocsinv1 "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// methods returns every method of the API by its full name.
func methods() map[string]protoreflect.MethodDescriptor {
	_ = tocsinv1.File_tocsin_v1_incident_proto // the import registers all of them
	all := map[string]protoreflect.MethodDescriptor{}
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if !strings.HasPrefix(string(f.Package()), "tocsin.") {
			return true
		}
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				m := s.Methods().Get(j)
				all[fmt.Sprintf("/%s/%s", s.FullName(), m.Name())] = m
			}
		}
		return true
	})
	return all
}

func TestEveryMethodHasARule(t *testing.T) {
	all := methods()
	if len(all) < 80 {
		t.Fatalf("only %d methods are registered", len(all))
	}
	for name, m := range all {
		r, ok := auth.RuleOf(name)
		if !ok {
			t.Errorf("%s has no rule: nobody may call it", name)
			continue
		}
		if !r.Public && !r.Integration && r.Role == 0 {
			t.Errorf("%s lets nobody in", name)
		}
		if r.Own != "" && !isText(m.Input(), r.Own) {
			t.Errorf("%s: its request has no text field %s", name, r.Own)
		}
		for _, field := range r.Team {
			if !isText(m.Input(), field) {
				t.Errorf("%s: its request has no text field %s", name, field)
			}
		}
		if r.Public && (r.Role != 0 || r.Own != "" || len(r.Team) != 0) {
			t.Errorf("%s is public and yet has conditions", name)
		}
	}
	for _, name := range auth.Methods() {
		if all[name] == nil {
			t.Errorf("the table has %s, which is no method", name)
		}
	}
}

func isText(m protoreflect.MessageDescriptor, path string) bool {
	for {
		name, rest, more := strings.Cut(path, ".")
		f := m.Fields().ByName(protoreflect.Name(name))
		if f == nil {
			return false
		}
		if !more {
			return f.Kind() == protoreflect.StringKind && !f.IsList()
		}
		if f.Message() == nil {
			return false
		}
		m, path = f.Message(), rest
	}
}

// callers are one of each kind; the text is what the table test prints of them.
func callers() map[string]auth.Principal {
	return map[string]auth.Principal{
		"anonymous":   {},
		"console":     auth.Console(),
		"admin":       {Kind: auth.KindUser, User: "ann", Role: roster.Admin},
		"responder":   {Kind: auth.KindUser, User: "ben", Role: roster.Responder},
		"stakeholder": {Kind: auth.KindUser, User: "cat", Role: roster.Stakeholder},
		"device":      {Kind: auth.KindDevice, User: "ben", Device: "d1", Role: roster.Responder},
		"integration": {Kind: auth.KindIntegration, Integration: "in"},
		"reader":      {Kind: auth.KindService, Token: "t", Role: roster.Admin, Scopes: []auth.Scope{auth.ScopeRead}},
		"manager":     {Kind: auth.KindUser, User: "dan", Role: roster.Stakeholder, Manages: []roster.TeamID{"core"}},
		"bot":         {Kind: auth.KindService, Token: "t", Role: roster.Responder, Scopes: []auth.Scope{auth.ScopeRespond}},
	}
}

func TestPermit(t *testing.T) {
	for _, tc := range []struct {
		method string
		may    string // everybody else may not
	}{
		{"IncidentService/AcknowledgeIncident", "console admin responder device bot"},
		{"IncidentService/GetIncident", "console admin responder stakeholder manager device reader bot"},
		{"EventService/PublishEvent", "integration"},
		{"DeviceService/EnrolDevice", "anonymous console admin responder stakeholder manager device integration reader bot"},
		{"DeviceService/Act", "anonymous console admin responder stakeholder manager device integration reader bot"},
		{"DeviceService/UpdateDevice", "console admin responder stakeholder manager device bot"},
		{"UserService/UpdateUser", "console admin responder stakeholder manager"},
		{"UserService/CreateUser", "console admin"},
		{"TeamService/CreateTeam", "console admin"},
		{"TeamService/UpdateTeam", "console admin manager"},
		{"ScheduleService/CreateSchedule", "console admin manager"},
		{"ScheduleService/CreateOverride", "console admin responder manager device bot"},
		{"ConfigurationService/ApplyConfiguration", "console admin"},
		{"TokenService/CreateToken", "console admin responder stakeholder manager"},
		{"OperatorService/HoldPaging", "console admin"},
		{"ConfigurationService/ExportConfiguration", "console admin reader"},
		{"ConfigurationService/PlanConfiguration", "console admin reader"},
		{"ConfigurationService/DryRunConfiguration", "console admin reader"},
		{"ConfigurationService/ApplyConfiguration", "console admin"},
		{"NoService/Nothing", ""},
	} {
		for name, p := range callers() {
			err := auth.Permit("/tocsin.v1."+tc.method, p)
			want := strings.Contains(" "+tc.may+" ", " "+name+" ")
			if (err == nil) != want {
				t.Errorf("%s for %s: %v, want allowed %v", tc.method, name, err, want)
			}
			kind := fault.Denied
			if name == "anonymous" && tc.may != "" {
				kind = fault.Unauthenticated
			}
			if err != nil && fault.KindOf(err) != kind {
				t.Errorf("%s for %s: kind %v, want %v", tc.method, name, fault.KindOf(err), kind)
			}
		}
	}
}

// Whatever the method: an integration sends events and no more, nobody without
// a role gets further than the public ones, and a narrower caller may no more
// than a wider one.
func TestPermitLaws(t *testing.T) {
	c := callers()
	may := func(name string, p auth.Principal) bool { return auth.Permit(name, p) == nil }
	for name := range methods() {
		r, _ := auth.RuleOf(name)
		if may(name, auth.Principal{}) != r.Public {
			t.Errorf("%s: an anonymous caller may %v, public %v", name, may(name, auth.Principal{}), r.Public)
		}
		if may(name, c["integration"]) && !strings.Contains(name, "EventService") && !r.Public {
			t.Errorf("%s is open to integrations", name)
		}
		if may(name, auth.Principal{Kind: auth.KindUser, User: "x"}) && !r.Public {
			t.Errorf("%s is open to somebody without a role", name)
		}
		for _, pair := range [][2]string{{"stakeholder", "responder"}, {"responder", "admin"}, {"device", "responder"}, {"reader", "admin"}, {"bot", "responder"}} {
			if may(name, c[pair[0]]) && !may(name, c[pair[1]]) {
				t.Errorf("%s: a %s may and a %s may not", name, pair[0], pair[1])
			}
		}
	}
}

// things are what the tests name.
type things struct{}

func (things) OwnerOf(name string) (roster.UserID, bool) {
	u, ok := map[string]roster.UserID{"devices/d1": "ben", "devices/d2": "ben", "users/ben": "ben", "users/cat": "cat", "tokens/t": "ben"}[name]
	return u, ok
}

// TeamOf says that a thing belongs to the team whose name it has, "none" to none.
func (things) TeamOf(name string) (roster.TeamID, bool) {
	_, id, _ := strings.Cut(name, "/")
	return roster.TeamID(id), id == "core" || id == "web"
}

// TestManagersMayWhatIsTheirTeams calls every method as somebody who manages
// core, naming something of core's, of another team's, of nobody's and nothing.
// Where managing a team does not help, he may what he may without it.
func TestManagersMayWhatIsTheirTeams(t *testing.T) {
	managing := callers()["manager"]
	plain := managing
	plain.Manages = nil
	helped := 0
	for name, m := range methods() {
		r, _ := auth.RuleOf(name)
		if len(r.Team) == 0 {
			if (auth.Permit(name, managing) == nil) != (auth.Permit(name, plain) == nil) {
				t.Errorf("%s: managing a team makes a difference, and the rule names no field", name)
			}
			continue
		}
		helped++
		if auth.Permit(name, managing) != nil || auth.Permit(name, plain) == nil {
			t.Errorf("%s: a manager may %v, the same person without a team %v", name, auth.Permit(name, managing), auth.Permit(name, plain))
		}
		for id, want := range map[string]bool{"core": true, "web": false, "none": false, "": false} {
			for _, field := range r.Team {
				request := naming(m, field, id)
				if err := auth.PermitRequest(name, managing, request, things{}); (err == nil) != want {
					t.Errorf("%s of %q in %s: %v, want allowed %v", name, id, field, err, want)
				}
				if err := auth.PermitRequest(name, callers()["admin"], request, things{}); err != nil {
					t.Errorf("%s of %q in %s by an administrator: %v", name, id, field, err)
				}
			}
		}
		for what, p := range map[string]auth.Principal{
			"a device": {Kind: auth.KindDevice, User: "dan", Device: "d", Role: roster.Stakeholder},
			"a token that only reads": {
				Kind: auth.KindUser, User: "dan", Role: roster.Stakeholder, Manages: []roster.TeamID{"core"}, Scopes: []auth.Scope{auth.ScopeRead},
			},
		} {
			if auth.Permit(name, p) == nil {
				t.Errorf("%s is open to %s of a manager", name, what)
			}
		}
	}
	if helped < 15 {
		t.Errorf("only %d methods are open to managers", helped)
	}
}

// naming is a request whose field names something of that id; of an empty one, nothing.
func naming(m protoreflect.MethodDescriptor, path, id string) proto.Message {
	msg := dynamicpb.NewMessage(m.Input())
	if id == "" {
		return msg
	}
	at := msg.ProtoReflect()
	for {
		name, rest, more := strings.Cut(path, ".")
		f := at.Descriptor().Fields().ByName(protoreflect.Name(name))
		if !more {
			at.Set(f, protoreflect.ValueOfString("things/"+id))
			return msg
		}
		at, path = at.Mutable(f).Message(), rest
	}
}

func TestPermitRequest(t *testing.T) {
	c := callers()
	update := func(name string) proto.Message {
		return &tocsinv1.UpdateDeviceRequest{Device: &tocsinv1.Device{Name: name}}
	}
	for _, tc := range []struct {
		name, method, caller string
		request              proto.Message
		ok                   bool
	}{
		{"own device", "DeviceService/UpdateDevice", "responder", update("devices/d1"), true},
		{"another's device", "DeviceService/UpdateDevice", "stakeholder", update("devices/d1"), false},
		{"admin", "DeviceService/UpdateDevice", "admin", update("devices/d1"), true},
		{"console", "DeviceService/UpdateDevice", "console", update("devices/d1"), true},
		{"device itself", "DeviceService/UpdateDevice", "device", update("devices/d1"), true},
		{"device as me", "DeviceService/UpdateDevice", "device", update("devices/me"), true},
		{"its person's other device", "DeviceService/UpdateDevice", "device", update("devices/d2"), false},
		{"reads the other device", "DeviceService/GetDevice", "device", &tocsinv1.GetDeviceRequest{Name: "devices/d2"}, true},
		{"no such device", "DeviceService/GetDevice", "responder", &tocsinv1.GetDeviceRequest{Name: "devices/d9"}, false},
		{"oneself", "UserService/UpdateUser", "responder", &tocsinv1.UpdateUserRequest{User: &tocsinv1.User{Name: "users/ben"}}, true},
		{"me", "UserService/UpdateUser", "responder", &tocsinv1.UpdateUserRequest{User: &tocsinv1.User{Name: "users/me"}}, true},
		{"somebody else", "UserService/UpdateUser", "responder", &tocsinv1.UpdateUserRequest{User: &tocsinv1.User{Name: "users/cat"}}, false},
		{"nobody named", "UserService/UpdateUser", "responder", &tocsinv1.UpdateUserRequest{}, false},
		{"own token", "TokenService/RevokeToken", "responder", &tocsinv1.RevokeTokenRequest{Name: "tokens/t"}, true},
		{"another's token", "TokenService/RevokeToken", "stakeholder", &tocsinv1.RevokeTokenRequest{Name: "tokens/t"}, false},
		{"a service account is nobody", "TokenService/RevokeToken", "bot", &tocsinv1.RevokeTokenRequest{Name: "tokens/x"}, false},
		{"no condition", "IncidentService/GetIncident", "stakeholder", &tocsinv1.GetIncidentRequest{Name: "incidents/1"}, true},
		{"no such method", "IncidentService/Nothing", "admin", &tocsinv1.GetIncidentRequest{}, false},
	} {
		err := auth.PermitRequest("/tocsin.v1."+tc.method, c[tc.caller], tc.request, things{})
		if (err == nil) != tc.ok || (err != nil && fault.KindOf(err) != fault.Denied) {
			t.Errorf("%s: %v, want allowed %v", tc.name, err, tc.ok)
		}
	}
}
