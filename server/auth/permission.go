package auth

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Rule says who may call a method. Whoever it does not let in is refused; a
// method without a rule may be called by nobody.
type Rule struct {
	// Role is the least that a person or a service account has to be; 0 lets
	// neither in.
	Role roster.Role
	// Scope is what a narrowed token has to include.
	Scope Scope
	// Device lets devices in, whose person has the Role.
	Device bool
	// Integration lets integrations in.
	Integration bool
	// Public lets everybody in: the message itself carries what proves the
	// caller, and its handler checks it.
	Public bool
	// Own is the field of the request that names a user, a device or a token:
	// only its person and an administrator may. Empty: no such condition.
	Own string
	// Itself narrows a device to naming itself in Own.
	Itself bool
	// Team are the fields of the request of which the first that is set names
	// a team, or something of a team's: who manages that team may call the
	// method, too, whatever his Role. Empty: managing a team does not help.
	Team []string
}

// The usual rules.
//
//nolint:gochecknoglobals // look-up table
var (
	looks      = Rule{Role: roster.Stakeholder, Scope: ScopeRead, Device: true}
	responds   = Rule{Role: roster.Responder, Scope: ScopeRespond, Device: true}
	configures = Rule{Role: roster.Admin, Scope: ScopeConfigure}
	operates   = Rule{Role: roster.Admin, Scope: ScopeOperate}
	sends      = Rule{Integration: true}
	proves     = Rule{Public: true}
)

// manages is a rule for what an administrator does, and to what is a team's
// also its managers. What a change then leads to is held against their teams
// as well, see directory.By.
func manages(fields ...string) Rule {
	return Rule{Role: roster.Admin, Scope: ScopeConfigure, Team: fields}
}

// passesOn is a rule for what a responder does with turns of his own, and a
// manager with those of his team.
func passesOn(field string) Rule {
	return Rule{Role: roster.Responder, Scope: ScopeRespond, Device: true, Team: []string{field}}
}

// own is a rule for what a person does to what is his.
func own(field string, scope Scope) Rule {
	return Rule{Role: roster.Stakeholder, Scope: scope, Own: field}
}

// itself is a rule for what a device does to itself, and its person to it.
func itself(field string) Rule {
	return Rule{Role: roster.Stakeholder, Scope: ScopeRespond, Device: true, Own: field, Itself: true}
}

// rules is the permission table of the API, by full gRPC method. HTTP comes
// through the same methods.
var rules = map[string]Rule{ //nolint:gochecknoglobals // look-up table
	"/tocsin.v1.IncidentService/AcknowledgeIncident":       responds,
	"/tocsin.v1.IncidentService/ResolveIncident":           responds,
	"/tocsin.v1.IncidentService/EscalateIncident":          responds,
	"/tocsin.v1.IncidentService/CreateIncident":            responds,
	"/tocsin.v1.IncidentService/UnacknowledgeIncident":     responds,
	"/tocsin.v1.IncidentService/ReopenIncident":            responds,
	"/tocsin.v1.IncidentService/SnoozeIncident":            responds,
	"/tocsin.v1.IncidentService/ReassignIncident":          responds,
	"/tocsin.v1.IncidentService/MergeIncidents":            responds,
	"/tocsin.v1.IncidentService/SplitIncident":             responds,
	"/tocsin.v1.IncidentService/BatchAcknowledgeIncidents": responds,
	"/tocsin.v1.IncidentService/BatchResolveIncidents":     responds,
	"/tocsin.v1.IncidentService/SetIncidentPriority":       responds,
	"/tocsin.v1.IncidentService/SetIncidentUrgency":        responds,
	"/tocsin.v1.IncidentService/AddIncidentNote":           responds,
	"/tocsin.v1.IncidentService/RequestResponders":         responds,
	"/tocsin.v1.IncidentService/ListIncidents":             looks,
	"/tocsin.v1.IncidentService/GetIncident":               looks,
	"/tocsin.v1.IncidentService/ListAlerts":                looks,
	"/tocsin.v1.IncidentService/ListTimeline":              looks,
	"/tocsin.v1.IncidentService/ListDeliveries":            looks,
	"/tocsin.v1.IncidentService/ExplainPaging":             looks,
	"/tocsin.v1.IncidentService/WatchIncidents":            looks,

	"/tocsin.v1.EventService/PublishEvent":       sends,
	"/tocsin.v1.EventService/BatchPublishEvents": sends,

	// Of a device: the code of an enrolment, the receipt key and the action token are in the message.
	"/tocsin.v1.DeviceService/PreviewEnrolment":     proves,
	"/tocsin.v1.DeviceService/GetWebPushKey":        proves, // it is public: every browser that subscribes is given it
	"/tocsin.v1.DeviceService/EnrolDevice":          proves,
	"/tocsin.v1.DeviceService/ReportReceipts":       proves,
	"/tocsin.v1.DeviceService/Act":                  proves,
	"/tocsin.v1.DeviceService/CreateEnrolment":      own("user", ScopeConfigure),
	"/tocsin.v1.DeviceService/RegisterDevice":       {Role: roster.Stakeholder, Scope: ScopeConfigure, Device: true}, // for the caller only
	"/tocsin.v1.DeviceService/ConfirmDeviceAddress": itself("name"),
	"/tocsin.v1.DeviceService/UpdateDevice":         itself("device.name"),
	"/tocsin.v1.DeviceService/RevokeDevice":         itself("name"),
	"/tocsin.v1.DeviceService/SendTestPush":         itself("name"),
	"/tocsin.v1.DeviceService/GetDevice":            {Role: roster.Stakeholder, Scope: ScopeRead, Device: true, Own: "name"},
	"/tocsin.v1.DeviceService/ListDevices":          looks, // of the caller, or of everybody for an administrator
	"/tocsin.v1.DeviceService/WatchTestPush":        looks, // of the caller's devices, or any for an administrator
	"/tocsin.v1.DeviceService/ConfirmTestPush":      {Role: roster.Stakeholder, Scope: ScopeRespond, Device: true},

	"/tocsin.v1.UserService/GetUser":             looks,
	"/tocsin.v1.UserService/ListUsers":           looks,
	"/tocsin.v1.UserService/CreateUser":          configures,
	"/tocsin.v1.UserService/DeleteUser":          configures,
	"/tocsin.v1.UserService/UpdateUser":          own("user.name", ScopeConfigure), // role and inactive: administrators
	"/tocsin.v1.UserService/SendVerification":    own("name", ScopeConfigure),
	"/tocsin.v1.UserService/VerifyContactMethod": own("name", ScopeConfigure),

	"/tocsin.v1.TeamService/GetTeam":    looks,
	"/tocsin.v1.TeamService/ListTeams":  looks,
	"/tocsin.v1.TeamService/CreateTeam": configures,
	"/tocsin.v1.TeamService/UpdateTeam": manages("team.name"),
	"/tocsin.v1.TeamService/DeleteTeam": configures,

	"/tocsin.v1.CatalogService/GetService":           looks,
	"/tocsin.v1.CatalogService/ListServices":         looks,
	"/tocsin.v1.CatalogService/CreateService":        manages("service.team"),
	"/tocsin.v1.CatalogService/UpdateService":        manages("service.name"),
	"/tocsin.v1.CatalogService/DeleteService":        manages("name"),
	"/tocsin.v1.CatalogService/GetIntegration":       looks,
	"/tocsin.v1.CatalogService/ListIntegrations":     looks,
	"/tocsin.v1.CatalogService/CreateIntegration":    manages("integration.service"),
	"/tocsin.v1.CatalogService/UpdateIntegration":    manages("integration.name"),
	"/tocsin.v1.CatalogService/DeleteIntegration":    manages("name"),
	"/tocsin.v1.CatalogService/RotateIntegrationKey": manages("name"),

	"/tocsin.v1.EscalationPolicyService/GetEscalationPolicy":    looks,
	"/tocsin.v1.EscalationPolicyService/ListEscalationPolicies": looks,
	"/tocsin.v1.EscalationPolicyService/CreateEscalationPolicy": manages("escalation_policy.team"),
	"/tocsin.v1.EscalationPolicyService/UpdateEscalationPolicy": manages("escalation_policy.name"),
	"/tocsin.v1.EscalationPolicyService/DeleteEscalationPolicy": manages("name"),

	"/tocsin.v1.ScheduleService/GetSchedule":     looks,
	"/tocsin.v1.ScheduleService/ListSchedules":   looks,
	"/tocsin.v1.ScheduleService/CreateSchedule":  manages("schedule.team"),
	"/tocsin.v1.ScheduleService/UpdateSchedule":  manages("schedule.name"),
	"/tocsin.v1.ScheduleService/DeleteSchedule":  manages("name"),
	"/tocsin.v1.ScheduleService/RenderSchedule":  looks,
	"/tocsin.v1.ScheduleService/PreviewSchedule": manages("schedule.name", "schedule.team"),
	"/tocsin.v1.ScheduleService/ExplainSchedule": looks,
	"/tocsin.v1.ScheduleService/ReviewSchedule":  looks,
	"/tocsin.v1.ScheduleService/CreateOverride":  passesOn("override.schedule"), // for the caller; for anybody for an administrator and a manager
	"/tocsin.v1.ScheduleService/GetOverride":     looks,
	"/tocsin.v1.ScheduleService/ListOverrides":   looks,
	"/tocsin.v1.ScheduleService/DeleteOverride":  passesOn("name"), // the caller's own; any for an administrator and a manager
	"/tocsin.v1.ScheduleService/CreateShadow":    manages("shadow.schedule"),
	"/tocsin.v1.ScheduleService/ListShadows":     looks,
	"/tocsin.v1.ScheduleService/DeleteShadow":    manages("name"),

	"/tocsin.v1.OnCallService/ListOnCall":         looks,
	"/tocsin.v1.OnCallService/ListShifts":         looks,
	"/tocsin.v1.OnCallService/ListReadiness":      looks,
	"/tocsin.v1.OnCallService/DryRunEvent":        looks, // who is paged when, as in timelines and deliveries
	"/tocsin.v1.OnCallService/TakeOnCall":         responds,
	"/tocsin.v1.OnCallService/GetHandOff":         looks,
	"/tocsin.v1.OnCallService/TakeOverIncidents":  responds,                           // who has the turn, or is about to
	"/tocsin.v1.OnCallService/LeaveHandOffNote":   responds,                           // who has the turn, or had it lately
	"/tocsin.v1.OnCallService/CreateCoverRequest": passesOn("cover_request.schedule"), // for the caller; for anybody for an administrator and a manager
	"/tocsin.v1.OnCallService/GetCoverRequest":    looks,
	"/tocsin.v1.OnCallService/ListCoverRequests":  looks,
	"/tocsin.v1.OnCallService/AcceptCoverRequest": responds,         // who takes turns in the schedule, by himself
	"/tocsin.v1.OnCallService/CancelCoverRequest": passesOn("name"), // the caller's own; any for an administrator and a manager

	"/tocsin.v1.CalendarService/ListCalendarFeeds":  looks,                                                           // the caller's own, or all for an administrator
	"/tocsin.v1.CalendarService/CreateCalendarFeed": {Role: roster.Stakeholder, Scope: ScopeConfigure, Device: true}, // of himself, or of what everybody may see
	"/tocsin.v1.CalendarService/RevokeCalendarFeed": {Role: roster.Stakeholder, Scope: ScopeConfigure, Device: true}, // the caller's own, or any for an administrator
	"/tocsin.v1.CalendarService/CheckVacations":     own("user", ScopeRead),
	"/tocsin.v1.CalendarService/ReadCalendar":       proves,

	"/tocsin.v1.CalendarService/SetVacationCalendar":    {Role: roster.Stakeholder, Scope: ScopeConfigure, Device: true}, // his own, a member's of a team that he manages, any for an administrator
	"/tocsin.v1.CalendarService/GetVacationCalendar":    looks,                                                           // likewise
	"/tocsin.v1.CalendarService/DeleteVacationCalendar": {Role: roster.Stakeholder, Scope: ScopeConfigure, Device: true}, // likewise

	"/tocsin.v1.DrillService/GetDrillPlan":    looks,
	"/tocsin.v1.DrillService/ListDrillPlans":  looks,
	"/tocsin.v1.DrillService/CreateDrillPlan": passesOn("drill_plan.team"),                                   // of a team that he manages; without a team, of himself alone
	"/tocsin.v1.DrillService/UpdateDrillPlan": passesOn("drill_plan.name"),                                   // likewise
	"/tocsin.v1.DrillService/DeleteDrillPlan": passesOn("name"),                                              // likewise
	"/tocsin.v1.DrillService/GetDrill":        looks,                                                         // his own, those of a team that he manages, any for an administrator
	"/tocsin.v1.DrillService/ListDrills":      looks,                                                         // likewise
	"/tocsin.v1.DrillService/ReviewDrills":    looks,                                                         // of a team that he manages, any for an administrator
	"/tocsin.v1.DrillService/StartDrill":      passesOn("drill_plan"),                                        // of himself; of others for a manager of the plan's team and an administrator
	"/tocsin.v1.DrillService/CancelDrill":     {Role: roster.Stakeholder, Scope: ScopeRespond, Device: true}, // a manager of its team, an administrator, and who has started his own
	"/tocsin.v1.DrillService/PutOffDrill":     {Role: roster.Stakeholder, Scope: ScopeRespond, Device: true}, // his own

	"/tocsin.v1.TokenService/GetToken":    own("name", ScopeRead),
	"/tocsin.v1.TokenService/ListTokens":  {Role: roster.Stakeholder, Scope: ScopeRead},      // of the caller, or all for an administrator
	"/tocsin.v1.TokenService/CreateToken": {Role: roster.Stakeholder, Scope: ScopeConfigure}, // see Principal.MayGrant
	"/tocsin.v1.TokenService/RevokeToken": own("name", ScopeConfigure),

	"/tocsin.v1.ConfigurationService/ApplyConfiguration":  configures,
	"/tocsin.v1.ConfigurationService/PlanConfiguration":   {Role: roster.Admin, Scope: ScopeRead}, // changes nothing: for CI of a pull request
	"/tocsin.v1.ConfigurationService/DryRunConfiguration": {Role: roster.Admin, Scope: ScopeRead}, // as a plan
	"/tocsin.v1.ConfigurationService/ExportConfiguration": {Role: roster.Admin, Scope: ScopeRead},
	"/tocsin.v1.ConfigurationService/GetSettings":         looks,
	"/tocsin.v1.ConfigurationService/UpdateSettings":      configures,

	"/tocsin.v1.OperatorService/GetStatus":         operates,
	"/tocsin.v1.OperatorService/ListDeadLetters":   operates,
	"/tocsin.v1.OperatorService/RetryDeadLetters":  operates,
	"/tocsin.v1.OperatorService/HoldPaging":        operates,
	"/tocsin.v1.OperatorService/ResumePaging":      operates,
	"/tocsin.v1.OperatorService/ExportIncidents":   operates,
	"/tocsin.v1.OperatorService/ListDroppedEvents": operates,
}

// RuleOf returns the rule of a method, named in full: "/tocsin.v1.UserService/GetUser".
func RuleOf(method string) (Rule, bool) {
	r, ok := rules[method]
	return r, ok
}

// Methods returns every method that has a rule, sorted.
func Methods() []string { return slices.Sorted(maps.Keys(rules)) }

// has reports whether the caller's own role is enough.
func (r Rule) has(p Principal) bool { return p.Role != 0 && p.Role <= r.Role }

// ByTeam reports whether the caller may call the method for the teams alone
// that he manages, as his role is not enough.
func ByTeam(method string, p Principal) bool {
	r, ok := rules[method]
	return ok && len(r.Team) > 0 && !r.has(p)
}

// Permit refuses callers whom the table does not let call the method at all.
// What it lets through, a rule with Own or Team still has to see the request
// of: [PermitRequest].
func Permit(method string, p Principal) error {
	r, ok := rules[method]
	switch {
	case !ok:
		return denied(method, "nobody may call this method")
	case r.Public:
		return nil
	case p.Kind == KindAnonymous:
		return errMissing
	case p.Kind == KindIntegration:
		if !r.Integration {
			return denied(method, "the key of an integration may only send events")
		}
		return nil
	case r.Role == 0:
		return denied(method, "this needs the key of an integration")
	case p.Kind == KindDevice && !r.Device:
		return denied(method, "a device may respond, and see to itself; sign in as the person for the rest")
	case !r.has(p) && (len(r.Team) == 0 || len(p.Manages) == 0):
		return denied(method, "the role does not allow it").With("needs", roleName(r.Role))
	case !p.Has(r.Scope):
		return denied(method, "the token's scopes do not allow it").With("needs", string(r.Scope))
	}
	return nil
}

// Belongings says whose the things are that requests name, by resource name.
type Belongings interface {
	// OwnerOf returns the person to whom a user, device or token belongs.
	OwnerOf(name string) (roster.UserID, bool)
	// TeamOf returns the team that is named, or to which the thing belongs.
	TeamOf(name string) (roster.TeamID, bool)
}

// PermitRequest refuses callers who name in the request what is not theirs. It
// says the same of what belongs to somebody else and of what does not exist.
// Call Permit first.
func PermitRequest(method string, p Principal, request proto.Message, of Belongings) error {
	r, ok := rules[method]
	if !ok {
		return denied(method, "nobody may call this method")
	}
	if ByTeam(method, p) {
		name := ""
		for _, field := range r.Team {
			name = cmp.Or(name, textAt(request, field))
		}
		if team, ok := of.TeamOf(name); !ok || !p.ManagerOf(team) {
			return notYourTeams(name)
		}
	}
	if r.Own == "" || (p.IsAdmin() && p.Kind != KindDevice) {
		return nil
	}
	name := textAt(request, r.Own)
	collection, id, _ := strings.Cut(name, "/")
	if r.Itself && p.Kind == KindDevice {
		if collection == "devices" && (id == "me" || roster.DeviceID(id) == p.Device) {
			return nil
		}
		return notYours(name)
	}
	if id == "me" && p.User != "" {
		return nil
	}
	if u, ok := of.OwnerOf(name); ok && p.Is(u) {
		return nil
	}
	return notYours(name)
}

// textAt returns the text field of a message at a path ("device.name").
func textAt(m proto.Message, path string) string {
	v := m.ProtoReflect()
	for {
		name, rest, more := strings.Cut(path, ".")
		f := v.Descriptor().Fields().ByName(protoreflect.Name(name))
		switch {
		case f == nil || f.IsList() || f.IsMap():
			return ""
		case !more && f.Kind() == protoreflect.StringKind:
			return v.Get(f).String()
		case !more || f.Kind() != protoreflect.MessageKind:
			return ""
		}
		v, path = v.Get(f).Message(), rest
	}
}

func denied(method, why string) *fault.Error {
	return fault.New(fault.Denied, "PERMISSION_DENIED", why, "method", method)
}

func notYours(name string) error {
	return fault.New(fault.Denied, "NOT_YOURS", "this needs the person concerned or an administrator", "name", name)
}

func notYourTeams(name string) error {
	return fault.New(fault.Denied, "NOT_YOURS", "this needs a manager of the team that it belongs to, or an administrator", "name", name)
}

func roleName(r roster.Role) string {
	switch r {
	case roster.Admin:
		return "admin"
	case roster.Responder:
		return "responder"
	case roster.Stakeholder:
		return "stakeholder"
	default:
		return "none"
	}
}
