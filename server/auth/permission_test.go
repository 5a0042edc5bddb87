package auth_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

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
		if r.Public && (r.Role != 0 || r.Own != "") {
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
		"bot":         {Kind: auth.KindService, Token: "t", Role: roster.Responder, Scopes: []auth.Scope{auth.ScopeRespond}},
	}
}

func TestPermit(t *testing.T) {
	for _, tc := range []struct {
		method string
		may    string // everybody else may not
	}{
		{"IncidentService/AcknowledgeIncident", "console admin responder device bot"},
		{"IncidentService/GetIncident", "console admin responder stakeholder device reader bot"},
		{"EventService/PublishEvent", "integration"},
		{"DeviceService/EnrolDevice", "anonymous console admin responder stakeholder device integration reader bot"},
		{"DeviceService/Act", "anonymous console admin responder stakeholder device integration reader bot"},
		{"DeviceService/UpdateDevice", "console admin responder stakeholder device bot"},
		{"UserService/UpdateUser", "console admin responder stakeholder"},
		{"UserService/CreateUser", "console admin"},
		{"TokenService/CreateToken", "console admin responder stakeholder"},
		{"OperatorService/HoldPaging", "console admin"},
		{"ConfigurationService/ExportConfiguration", "console admin reader"},
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

func TestPermitRequest(t *testing.T) {
	owner := func(name string) (roster.UserID, bool) {
		u, ok := map[string]roster.UserID{"devices/d1": "ben", "devices/d2": "ben", "users/ben": "ben", "users/cat": "cat", "tokens/t": "ben"}[name]
		return u, ok
	}
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
		err := auth.PermitRequest("/tocsin.v1."+tc.method, c[tc.caller], tc.request, owner)
		if (err == nil) != tc.ok || (err != nil && fault.KindOf(err) != fault.Denied) {
			t.Errorf("%s: %v, want allowed %v", tc.name, err, tc.ok)
		}
	}
}
