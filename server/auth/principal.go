package auth

import (
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Kind is what sort of caller it is.
type Kind uint8

// The kinds of caller. The zero Kind is nobody.
const (
	KindAnonymous   Kind = iota // no credential: public methods only
	KindUser                    // a person, by API token or sign-in
	KindService                 // a service account, by API token
	KindDevice                  // a person's phone or browser, limited to responding
	KindIntegration             // a monitor: may only send events
	KindConsole                 // who may open the admin socket on the server's own machine: admin
)

func (k Kind) String() string {
	switch k {
	case KindUser:
		return "user"
	case KindService:
		return "service"
	case KindDevice:
		return "device"
	case KindIntegration:
		return "integration"
	case KindConsole:
		return "console"
	default:
		return "anonymous"
	}
}

// Scope narrows a token to part of what its role allows.
type Scope string

// The scopes. A token without any has all that its role allows.
const (
	ScopeRead      Scope = "read"      // everything that only looks
	ScopeRespond   Scope = "respond"   // incidents: acknowledge, resolve, page …
	ScopeConfigure Scope = "configure" // people, teams, services, policies, tokens
	ScopeOperate   Scope = "operate"   // status, dead letters, hold and resume, export
)

// Scopes returns every scope there is.
func Scopes() []Scope { return []Scope{ScopeRead, ScopeRespond, ScopeConfigure, ScopeOperate} }

// Principal is who is calling. It is made by an [Authenticator] only.
type Principal struct {
	Kind        Kind
	User        roster.UserID   // of KindUser and KindDevice
	Name        string          // for people to read: of the person, the token, the integration
	Role        roster.Role     // what the caller may; the narrower of person and token
	Manages     []roster.TeamID // whose things the person may change besides; none by a token of a narrower role
	Scopes      []Scope         // empty: all
	Token       TokenID
	Device      roster.DeviceID
	Epoch       uint32 // of Device
	Integration catalog.IntegrationID
	Service     catalog.ServiceID // that Integration reports on
}

// Console is the caller on the admin socket.
func Console() Principal {
	return Principal{Kind: KindConsole, Name: "console", Role: roster.Admin}
}

// IsAdmin reports whether the caller may do everything (within its scopes).
func (p Principal) IsAdmin() bool { return p.Role == roster.Admin }

// Has reports whether the scopes include s; reading comes with every scope.
func (p Principal) Has(s Scope) bool {
	return len(p.Scopes) == 0 || s == "" || s == ScopeRead || slices.Contains(p.Scopes, s)
}

// ManagerOf reports whether the caller manages the team.
func (p Principal) ManagerOf(t roster.TeamID) bool {
	return t != "" && slices.Contains(p.Manages, t)
}

// Is reports whether the caller acts as that person.
func (p Principal) Is(u roster.UserID) bool { return u != "" && p.User == u }

// String names the caller in audit records and logs: "user/ann".
func (p Principal) String() string {
	switch p.Kind {
	case KindUser:
		return "user/" + string(p.User)
	case KindService:
		return "token/" + string(p.Token)
	case KindDevice:
		return "user/" + string(p.User) + "/device/" + string(p.Device)
	case KindIntegration:
		return "integration/" + string(p.Integration)
	default:
		return p.Kind.String()
	}
}

// Actor returns the caller as the timeline of an incident names it. via is
// empty for the door that the kind of caller usually comes through.
func (p Principal) Actor(via string) incident.Actor {
	pick := func(usual string) string {
		if via != "" {
			return via
		}
		return usual
	}
	switch p.Kind {
	case KindUser:
		return incident.Actor{Kind: incident.ActorUser, ID: string(p.User), Via: pick("api")}
	case KindDevice:
		return incident.Actor{Kind: incident.ActorUser, ID: string(p.User), Via: pick("app"), Device: p.Device}
	case KindIntegration:
		return incident.Actor{Kind: incident.ActorSource, ID: string(p.Integration), Via: pick("events")}
	case KindService:
		return incident.Actor{Kind: incident.ActorService, ID: string(p.Token), Via: pick("api")}
	default:
		return incident.Actor{Kind: incident.ActorService, ID: p.Kind.String(), Via: pick("cli")}
	}
}

// MayGrant reports whether the caller may make a token that acts as the person
// (empty: a service account) with the role: nobody hands out more than he has.
func (p Principal) MayGrant(as roster.UserID, role roster.Role) bool {
	if p.Role == 0 || p.Kind == KindDevice || (role != 0 && role < p.Role) {
		return false
	}
	return p.IsAdmin() || p.Is(as)
}

// TokenID is the last segment of the API's resource name.
type TokenID string

// Limits of a token.
const (
	MaxTokenLife     = 5 * 366 * 24 * time.Hour
	DefaultTokenLife = 90 * 24 * time.Hour
)

// Token is the stored form of an API token: everything but its text.
type Token struct {
	ID      TokenID
	Name    string
	Hash    Hash
	User    roster.UserID // acts as this person; empty: a service account
	Role    roster.Role   // of a service account; of a person's token: at most this. 0: the person's own
	Scopes  []Scope
	Expires time.Time // zero: never
	By      string    // who made it, as Principal.String
	Revoked time.Time // zero: in force
}

// Valid reports whether the token may be used at now.
func (t Token) Valid(now time.Time) bool {
	return t.Revoked.IsZero() && (t.Expires.IsZero() || now.Before(t.Expires))
}

// DeviceLogin is what signing in as a device is checked against.
type DeviceLogin struct {
	Device roster.DeviceID
	User   roster.UserID
	Hash   Hash // of the credential
	Epoch  uint32
	Usable bool // not revoked
}
