package directory

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Kind is a kind of record. Its text is stored: never change one.
type Kind string

// The kinds of record.
const (
	KindUser        Kind = "user"
	KindTeam        Kind = "team"
	KindService     Kind = "service"
	KindIntegration Kind = "integration"
	KindPolicy      Kind = "policy"
	KindSchedule    Kind = "schedule" // its planned part
	KindOverride    Kind = "override"
	KindShadow      Kind = "shadow"
	KindCover       Kind = "cover"   // a request for cover or a swap
	KindVersion     Kind = "version" // one immutable version of a policy
	KindToken       Kind = "token"
	KindFeed        Kind = "feed" // a calendar that others read
	KindDevice      Kind = "device"
	KindDrillPlan   Kind = "drill_plan"
	KindVacations   Kind = "vacations" // a person's calendar of absences, by the id of the person
	KindSettings    Kind = "settings"  // one record, SettingsID

	// kindInternal records are not configuration: the structure counter and the master key's check.
	kindInternal Kind = "internal"
)

// SettingsID is the id of the one settings record.
const SettingsID = "installation"

// Key names a record.
type Key struct {
	Kind Kind
	ID   string
}

// String returns the name that the API gives to the record: "users/ann".
func (k Key) String() string {
	switch k.Kind {
	case KindUser:
		return "users/" + k.ID
	case KindTeam:
		return "teams/" + k.ID
	case KindService:
		return "services/" + k.ID
	case KindIntegration:
		return "integrations/" + k.ID
	case KindPolicy, KindVersion:
		return "escalationPolicies/" + k.ID
	case KindSchedule:
		return "schedules/" + k.ID
	case KindOverride:
		return "overrides/" + k.ID
	case KindShadow:
		return "shadows/" + k.ID
	case KindCover:
		return "coverRequests/" + k.ID
	case KindToken:
		return "tokens/" + k.ID
	case KindFeed:
		return "calendarFeeds/" + k.ID
	case KindDevice:
		return "devices/" + k.ID
	case KindDrillPlan:
		return "drillPlans/" + k.ID
	case KindVacations:
		return "users/" + k.ID + "/vacationCalendar"
	case KindSettings:
		return "settings"
	default:
		return string(k.Kind) + "/" + k.ID
	}
}

// Meta is what every record has beside its content.
type Meta struct {
	Created  time.Time
	Updated  time.Time
	Revision uint64    // from 1; rises with every change
	Deleted  time.Time // a tombstone: known for what still refers to it, shown to nobody. Zero: in force
	Mark     Mark      // of the folder that declares it; zero: none does
}

// ETag returns the version that a caller may insist on.
func (m Meta) ETag() string { return strconv.FormatUint(m.Revision, 36) }

// The records. Each is immutable once it is in a snapshot: change a copy.
type (
	// User is one person.
	User struct {
		roster.User
		Meta
	}
	// Team is people who own things together.
	Team struct {
		roster.Team
		Meta
	}
	// Service is one thing that can break.
	Service struct {
		catalog.Service
		Meta
	}
	// Integration is one credential for sending events to a service.
	Integration struct {
		catalog.Integration
		Hint string // last four characters of the key, to tell two apart
		Meta
	}
	// Policy is the newest version of an escalation policy.
	Policy struct {
		escalation.Policy
		Meta
	}
	// Version is one version of a policy, kept for the incidents that began with it.
	Version struct {
		escalation.Policy
		Meta
	}
	// Token is an API token, without its text.
	Token struct {
		auth.Token
		Hint string // last four characters, to tell two apart
		Meta
	}
	// Settings are those of the whole installation.
	Settings struct {
		catalog.Settings
		Organization string // shown to a phone that enrols
		HeldReason   string
		Meta
	}
	// internal is a record of the directory itself.
	internal struct {
		ID     string
		Sealed []byte
		Meta
	}
)

// Record is any record: a pointer to one of the types of this package.
type Record interface {
	key() Key
	meta() *Meta
	// refs calls f for every record that this one needs to exist, with the path
	// of the field that names it.
	refs(f func(path string, to Key))
	// copied returns a shallow copy, for changing the meta.
	copied() Record
}

// KeyOf returns the key of a record.
func KeyOf(r Record) Key { return r.key() }

func (u *User) key() Key        { return Key{KindUser, string(u.ID)} }
func (t *Team) key() Key        { return Key{KindTeam, string(t.ID)} }
func (s *Service) key() Key     { return Key{KindService, string(s.ID)} }
func (i *Integration) key() Key { return Key{KindIntegration, string(i.ID)} }
func (p *Policy) key() Key      { return Key{KindPolicy, string(p.ID)} }
func (v *Version) key() Key     { return Key{KindVersion, versionID(v.Ref())} }
func (t *Token) key() Key       { return Key{KindToken, string(t.ID)} }
func (d *Device) key() Key      { return Key{KindDevice, string(d.ID)} }
func (s *Settings) key() Key    { return Key{KindSettings, SettingsID} }
func (i *internal) key() Key    { return Key{kindInternal, i.ID} }

func (u *User) meta() *Meta        { return &u.Meta }
func (t *Team) meta() *Meta        { return &t.Meta }
func (s *Service) meta() *Meta     { return &s.Meta }
func (i *Integration) meta() *Meta { return &i.Meta }
func (p *Policy) meta() *Meta      { return &p.Meta }
func (v *Version) meta() *Meta     { return &v.Meta }
func (t *Token) meta() *Meta       { return &t.Meta }
func (d *Device) meta() *Meta      { return &d.Meta }
func (s *Settings) meta() *Meta    { return &s.Meta }
func (i *internal) meta() *Meta    { return &i.Meta }

func (u *User) copied() Record        { c := *u; return &c }
func (t *Team) copied() Record        { c := *t; return &c }
func (s *Service) copied() Record     { c := *s; return &c }
func (i *Integration) copied() Record { c := *i; return &c }
func (p *Policy) copied() Record      { c := *p; return &c }
func (v *Version) copied() Record     { c := *v; return &c }
func (t *Token) copied() Record       { c := *t; return &c }
func (d *Device) copied() Record      { c := *d; return &c }
func (s *Settings) copied() Record    { c := *s; return &c }
func (i *internal) copied() Record    { c := *i; return &c }

func (u *User) refs(f func(string, Key)) {
	for i, m := range u.Methods {
		if m.Device != "" {
			f(fmt.Sprintf("contact_methods[%d].device", i), Key{KindDevice, string(m.Device)})
		}
	}
}

func (t *Team) refs(f func(string, Key)) {
	for i, m := range t.Members {
		f(fmt.Sprintf("members[%d]", i), Key{KindUser, string(m)})
	}
}

func (s *Service) refs(f func(string, Key)) {
	refTeam(s.Team, f)
	f("escalation_policy", Key{KindPolicy, string(s.Policy)})
}

func (i *Integration) refs(f func(string, Key)) { f("service", Key{KindService, string(i.Service)}) }

func (p *Policy) refs(f func(string, Key)) {
	refTeam(p.Team, f)
	for i, l := range p.Levels {
		refTargets(fmt.Sprintf("levels[%d].targets", i), l.Targets, f)
	}
	refTargets("fallback", p.Fallback, f)
}

func (t *Token) refs(f func(string, Key)) {
	if t.User != "" {
		f("user", Key{KindUser, string(t.User)})
	}
}

func (d *Device) refs(f func(string, Key)) { f("user", Key{KindUser, string(d.User)}) }

func (s *Settings) refs(f func(string, Key)) {
	for i, u := range s.CatchAll {
		f(fmt.Sprintf("catch_all[%d]", i), Key{KindUser, string(u)})
	}
}

func (v *Version) refs(func(string, Key))  {} // history: what it names may be gone
func (i *internal) refs(func(string, Key)) {}

func refTeam(t roster.TeamID, f func(string, Key)) {
	if t != "" {
		f("team", Key{KindTeam, string(t)})
	}
}

// targetKinds are the kinds of record that targets name.
var targetKinds = map[escalation.TargetKind]Kind{ //nolint:gochecknoglobals // look-up table
	escalation.UserTarget: KindUser, escalation.ScheduleTarget: KindSchedule, escalation.TeamTarget: KindTeam,
}

func refTargets(path string, targets []escalation.Target, f func(string, Key)) {
	for i, t := range targets {
		f(fmt.Sprintf("%s[%d]", path, i), Key{targetKinds[t.Kind], t.ID})
	}
}

// belongs reports whether records of the kind end with the record that they
// refer to, instead of keeping it from being deleted: a person's phones, tokens,
// calendar feeds and vacations go with the person, and so does a phone's own contact
// method; a schedule's overrides, shadows, requests for cover and feeds with the schedule, a team's
// feeds with the team.
func belongs(kind, to Kind) bool {
	switch to {
	case KindUser:
		return kind == KindToken || kind == KindDevice || kind == KindFeed || kind == KindVacations
	case KindSchedule:
		return kind == KindOverride || kind == KindShadow || kind == KindCover || kind == KindFeed
	case KindTeam:
		return kind == KindFeed
	default:
		return false
	}
}

// VersionKey names the record of one version of a policy.
func VersionKey(r escalation.Ref) Key { return Key{KindVersion, versionID(r)} }

func versionID(r escalation.Ref) string { return string(r.ID) + "@" + strconv.FormatInt(r.Version, 10) }

func notFound(k Key) *fault.Error {
	return fault.New(fault.NotFound, "NOT_FOUND", "there is no "+Words(k.String()), "name", k.String())
}

// Words says a resource name in a sentence: "token laptop" for "tokens/laptop".
func Words(name string) string {
	collection, id, ok := strings.Cut(name, "/")
	kind, known := map[string]string{
		"users": "user", "teams": "team", "services": "service", "integrations": "integration",
		"escalationPolicies": "escalation policy", "schedules": "schedule", "overrides": "override", "shadows": "shadow", "tokens": "token", "calendarFeeds": "calendar feed", "devices": "device", "drillPlans": "drill plan", "coverRequests": "cover request",
	}[collection]
	if !ok || !known || id == "" {
		return name
	}
	return kind + " " + id
}
