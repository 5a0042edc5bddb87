package rpc

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// methodKindsOf is the reverse of methodKinds.
var methodKindsOf = map[pb.ContactMethod_Kind]roster.MethodKind{ //nolint:gochecknoglobals // look-up table
	pb.ContactMethod_KIND_PUSH: roster.Push, pb.ContactMethod_KIND_EMAIL: roster.Email, pb.ContactMethod_KIND_WEBHOOK: roster.Webhook,
}

// user returns a person as the directory has them; devices are those of the person.
func userMessage(u *directory.User, devices []roster.Device) *pb.User {
	m := &pb.User{
		Name: userName(u.ID), DisplayName: u.Name, Email: u.Email, TimeZone: u.Zone, Locale: u.Locale, Role: role(u.Role),
		Inactive: u.Inactive, ContactMethods: each(u.Methods, methodMessage), HighSteps: each(u.High, stepMessage),
		LowSteps: each(u.Low, stepMessage), Privacy: privacy(u.Privacy), Reachable: u.Reachable(true, devices),
		Warnings: warnings(u.User, devices), CreateTime: stamp(u.Created), UpdateTime: stamp(u.Updated), Etag: quote(u.ETag()),
	}
	if u.Quiet.Start != u.Quiet.End {
		m.QuietHours = &pb.QuietHours{Start: clockTime(u.Quiet.Start), End: clockTime(u.Quiet.End)}
	}
	if u.Remind != (roster.Reminder{}) {
		m.Reminder = &pb.Reminder{Interval: span(u.Remind.Every), UntilResolve: u.Remind.UntilResolve}
	}
	return m
}

func methodMessage(m roster.Method) *pb.ContactMethod {
	return &pb.ContactMethod{
		Id: string(m.ID), Kind: methodKinds[m.Kind], Address: m.Address, Device: deviceName(m.Device),
		Verified: m.Verified, Bouncing: m.Bouncing,
	}
}

func stepMessage(s roster.Step) *pb.ContactStep {
	return &pb.ContactStep{Delay: durationpb.New(s.Delay), ContactMethod: string(s.Method), Loud: s.Loud}
}

// warnings says what is wrong with the ways to reach a person, one sentence each.
func warnings(u roster.User, devices []roster.Device) []string {
	var out []string
	if u.Inactive {
		return []string{"Inactive: never paged."}
	}
	pageable := false
	for _, d := range devices {
		switch {
		case d.State == roster.DeviceRevoked:
		case !d.Pageable():
			out = append(out, "The device "+d.Name+" cannot be paged: open the app on it.")
		case d.Silenced:
			out = append(out, "The device "+d.Name+" does not show notifications: allow them in its settings.")
		default:
			pageable = true
		}
	}
	if !pageable {
		out = append(out, "No device can be paged: enrol one.")
	}
	for _, m := range u.Methods {
		switch {
		case !m.Verified:
			out = append(out, "The contact method "+string(m.ID)+" is not verified, so pages do not use it.")
		case m.Bouncing:
			out = append(out, "The contact method "+string(m.ID)+" is not used: messages to it came back.")
		}
	}
	if !u.Reachable(true, devices) {
		out = append(out, "A page of high urgency would reach nobody.")
	}
	return out
}

// userOf returns the record that a message describes. old has what messages
// do not carry: what is verified, sealed or counted. It is nil for a new one.
// seal seals the signing key of a webhook.
func userOf(id roster.UserID, m *pb.User, old *directory.User, seal func(roster.MethodID, []byte) ([]byte, error)) (*directory.User, error) {
	u := &directory.User{}
	if old != nil {
		*u = *old
	}
	u.User = roster.User{
		ID: id, Name: m.GetDisplayName(), Email: m.GetEmail(), Zone: m.GetTimeZone(), Locale: m.GetLocale(), Role: roleOf(m.GetRole()),
		Inactive: m.GetInactive(), High: each(m.GetHighSteps(), stepOf), Low: each(m.GetLowSteps(), stepOf), Privacy: privacyOf(m.GetPrivacy()),
	}
	if u.Role == 0 {
		u.Role = roster.Responder
	}
	if u.Zone == "" {
		u.Zone = "UTC"
	}
	if q := m.GetQuietHours(); q != nil {
		u.Quiet = roster.QuietHours{Start: timeOfDay(q.GetStart()), End: timeOfDay(q.GetEnd())}
	}
	if r := m.GetReminder(); r != nil {
		u.Remind = roster.Reminder{Every: r.GetInterval().AsDuration(), UntilResolve: r.GetUntilResolve()}
	}
	for _, cm := range m.GetContactMethods() {
		method, err := methodOf(cm, old, seal)
		if err != nil {
			return nil, err
		}
		u.Methods = append(u.Methods, method)
	}
	return u, nil
}

// methodOf keeps of a method that stays what its person has proven; one whose
// address changes has to be proven again. A device proves itself.
func methodOf(m *pb.ContactMethod, old *directory.User, seal func(roster.MethodID, []byte) ([]byte, error)) (roster.Method, error) {
	method := roster.Method{
		ID: roster.MethodID(m.GetId()), Kind: methodKindsOf[m.GetKind()], Address: m.GetAddress(), Device: roster.DeviceID(last(m.GetDevice())),
	}
	method.Verified = method.Kind == roster.Push
	if old != nil {
		if was, ok := old.Method(method.ID); ok && was.Kind == method.Kind && was.Address == method.Address && was.Device == method.Device {
			method.Verified, method.Bouncing, method.Secret = was.Verified, was.Bouncing, was.Secret
		}
	}
	if key := m.GetSigningKey(); len(key) > 0 {
		sealed, err := seal(method.ID, key)
		if err != nil {
			return method, err
		}
		method.Secret = sealed
	}
	return method, nil
}

func stepOf(m *pb.ContactStep) roster.Step {
	return roster.Step{Delay: m.GetDelay().AsDuration(), Method: roster.MethodID(m.GetContactMethod()), Loud: m.GetLoud()}
}

// team converts both ways.
func teamMessage(t *directory.Team) *pb.Team {
	return &pb.Team{
		Name: teamName(t.ID), DisplayName: t.Name, Members: each(t.Members, userName), Managers: each(t.Managers, userName),
		CreateTime: stamp(t.Created), UpdateTime: stamp(t.Updated), Etag: quote(t.ETag()),
	}
}

func teamOf(id roster.TeamID, m *pb.Team, old *directory.Team) *directory.Team {
	t := &directory.Team{}
	if old != nil {
		*t = *old
	}
	t.Team = roster.Team{ID: id, Name: m.GetDisplayName(), Members: each(m.GetMembers(), userID), Managers: each(m.GetManagers(), userID)}
	return t
}

var (
	scopes = map[auth.Scope]pb.Token_Scope{ //nolint:gochecknoglobals // look-up table
		auth.ScopeRead: pb.Token_SCOPE_READ, auth.ScopeRespond: pb.Token_SCOPE_RESPOND,
		auth.ScopeConfigure: pb.Token_SCOPE_CONFIGURE, auth.ScopeOperate: pb.Token_SCOPE_OPERATE,
	}
	scopesOf = map[pb.Token_Scope]auth.Scope{ //nolint:gochecknoglobals // look-up table
		pb.Token_SCOPE_READ: auth.ScopeRead, pb.Token_SCOPE_RESPOND: auth.ScopeRespond,
		pb.Token_SCOPE_CONFIGURE: auth.ScopeConfigure, pb.Token_SCOPE_OPERATE: auth.ScopeOperate,
	}
)

func tokenMessage(t *directory.Token) *pb.Token {
	return &pb.Token{
		Name: inCollection("tokens", t.ID), DisplayName: t.Name, User: userName(t.User), Role: role(t.Role),
		Scopes: each(t.Scopes, func(s auth.Scope) pb.Token_Scope { return scopes[s] }), ExpireTime: stamp(t.Expires),
		Hint: t.Hint, Creator: t.By, CreateTime: stamp(t.Created), RevokeTime: stamp(t.Revoked),
	}
}

// tokenOf returns the record of a new token without its secret.
func tokenOf(id auth.TokenID, user roster.UserID, m *pb.Token, now time.Time) *directory.Token {
	t := &directory.Token{Token: auth.Token{
		ID: id, Name: m.GetDisplayName(), User: user, Role: roleOf(m.GetRole()),
		Scopes: each(m.GetScopes(), func(s pb.Token_Scope) auth.Scope { return scopesOf[s] }), Expires: instant(m.GetExpireTime()),
	}}
	if t.Expires.IsZero() {
		t.Expires = now.Add(auth.DefaultTokenLife)
	}
	return t
}
