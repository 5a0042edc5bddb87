package rpc

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

var (
	urgencyRules = map[catalog.UrgencyRule]pb.Service_UrgencyRule{ //nolint:gochecknoglobals // look-up table
		catalog.UrgencyBySeverity: pb.Service_URGENCY_RULE_BY_SEVERITY, catalog.UrgencyHigh: pb.Service_URGENCY_RULE_HIGH,
		catalog.UrgencyLow: pb.Service_URGENCY_RULE_LOW, catalog.UrgencyBySupportHours: pb.Service_URGENCY_RULE_BY_SUPPORT_HOURS,
	}
	urgencyRulesOf = map[pb.Service_UrgencyRule]catalog.UrgencyRule{ //nolint:gochecknoglobals // look-up table
		pb.Service_URGENCY_RULE_BY_SEVERITY: catalog.UrgencyBySeverity, pb.Service_URGENCY_RULE_HIGH: catalog.UrgencyHigh,
		pb.Service_URGENCY_RULE_LOW: catalog.UrgencyLow, pb.Service_URGENCY_RULE_BY_SUPPORT_HOURS: catalog.UrgencyBySupportHours,
	}
	keyScopes = map[catalog.KeyScope]pb.Service_KeyScope{ //nolint:gochecknoglobals // look-up table
		catalog.ScopeService: pb.Service_KEY_SCOPE_SERVICE, catalog.ScopeIntegration: pb.Service_KEY_SCOPE_INTEGRATION,
	}
	keyScopesOf = map[pb.Service_KeyScope]catalog.KeyScope{ //nolint:gochecknoglobals // look-up table
		pb.Service_KEY_SCOPE_SERVICE: catalog.ScopeService, pb.Service_KEY_SCOPE_INTEGRATION: catalog.ScopeIntegration,
	}
	handOffs = map[escalation.HandOff]pb.EscalationPolicy_HandOff{ //nolint:gochecknoglobals // look-up table
		escalation.HandOffAdd: pb.EscalationPolicy_HAND_OFF_ADD, escalation.HandOffKeep: pb.EscalationPolicy_HAND_OFF_KEEP,
		escalation.HandOffMove: pb.EscalationPolicy_HAND_OFF_MOVE,
	}
	handOffsOf = map[pb.EscalationPolicy_HandOff]escalation.HandOff{ //nolint:gochecknoglobals // look-up table
		pb.EscalationPolicy_HAND_OFF_UNSPECIFIED: escalation.HandOffAdd, pb.EscalationPolicy_HAND_OFF_ADD: escalation.HandOffAdd,
		pb.EscalationPolicy_HAND_OFF_KEEP: escalation.HandOffKeep, pb.EscalationPolicy_HAND_OFF_MOVE: escalation.HandOffMove,
	}
	strategies = map[escalation.Strategy]pb.EscalationLevel_Strategy{ //nolint:gochecknoglobals // look-up table
		escalation.Everyone: pb.EscalationLevel_STRATEGY_EVERYONE, escalation.RoundRobin: pb.EscalationLevel_STRATEGY_ROUND_ROBIN,
		escalation.AnyOne: pb.EscalationLevel_STRATEGY_ANY_ONE,
	}
	strategiesOf = map[pb.EscalationLevel_Strategy]escalation.Strategy{ //nolint:gochecknoglobals // look-up table
		pb.EscalationLevel_STRATEGY_EVERYONE: escalation.Everyone, pb.EscalationLevel_STRATEGY_ROUND_ROBIN: escalation.RoundRobin,
		pb.EscalationLevel_STRATEGY_ANY_ONE: escalation.AnyOne,
	}
)

// ackTimeout: absent is the default of the installation, 0 is for ever.
func ackTimeout(d time.Duration) *durationpb.Duration {
	switch {
	case d == 0:
		return nil
	case d < 0:
		return durationpb.New(0)
	}
	return durationpb.New(d)
}

func ackTimeoutOf(d *durationpb.Duration) time.Duration {
	switch {
	case d == nil:
		return 0
	case d.AsDuration() == 0:
		return -1
	}
	return d.AsDuration()
}

func serviceMessage(s *directory.Service, open int) *pb.Service {
	m := &pb.Service{
		Name: serviceName(s.ID), DisplayName: s.Name, Team: teamName(s.Team), EscalationPolicy: policyName(s.Policy), Disabled: s.Disabled,
		UrgencyRule: urgencyRules[s.Urgency], MinSeverity: severity(s.MinSeverity), AcknowledgeTimeout: ackTimeout(s.AckTimeout),
		AcknowledgeReminder: span(s.AckReminder), AutoResolve: span(s.AutoResolve), ReopenWindow: span(s.ReopenWindow),
		KeyScope: keyScopes[s.KeyScope], Privacy: privacy(s.Privacy), OpenIncidentCount: int32(open), //nolint:gosec // a count
		CreateTime: stamp(s.Created), UpdateTime: stamp(s.Updated), Etag: quote(s.ETag()),
	}
	if s.Hours.Zone != "" {
		m.SupportHours = &pb.SupportHours{
			TimeZone: s.Hours.Zone, Days: each(s.Hours.Days, day), Start: clockTime(s.Hours.Start), End: clockTime(s.Hours.End),
		}
	}
	slices.Sort(m.GetSupportHours().GetDays())
	return m
}

// day counts from 1 for Monday to 7 for Sunday (ISO 8601).
func day(d time.Weekday) int32 {
	if d == time.Sunday {
		return 7
	}
	return int32(d) //nolint:gosec // at most 6
}

func dayOf(n int32) time.Weekday { return time.Weekday(n % 7) }

func serviceOf(id catalog.ServiceID, m *pb.Service, old *directory.Service) *directory.Service {
	s := &directory.Service{}
	if old != nil {
		*s = *old
	}
	s.Service = catalog.Service{
		ID: id, Name: m.GetDisplayName(), Team: roster.TeamID(last(m.GetTeam())), Policy: policyID(m.GetEscalationPolicy()),
		Disabled: m.GetDisabled(), Urgency: urgencyRulesOf[m.GetUrgencyRule()], MinSeverity: severityOf(m.GetMinSeverity()),
		AckTimeout: ackTimeoutOf(m.GetAcknowledgeTimeout()), AckReminder: m.GetAcknowledgeReminder().AsDuration(),
		AutoResolve: m.GetAutoResolve().AsDuration(), ReopenWindow: m.GetReopenWindow().AsDuration(),
		KeyScope: keyScopesOf[m.GetKeyScope()], Privacy: privacyOf(m.GetPrivacy()),
	}
	if h := m.GetSupportHours(); h != nil {
		s.Hours = catalog.SupportHours{Zone: h.GetTimeZone(), Days: each(h.GetDays(), dayOf), Start: timeOfDay(h.GetStart()), End: timeOfDay(h.GetEnd())}
	}
	return s
}

func integrationMessage(i *directory.Integration) *pb.Integration {
	return &pb.Integration{
		Name: integrationName(i.ID), DisplayName: i.Name, Service: serviceName(i.Service), Source: i.Source, Options: i.Options,
		Disabled: i.Disabled, KeyHint: i.Hint, CreateTime: stamp(i.Created), UpdateTime: stamp(i.Updated), Etag: quote(i.ETag()),
	}
}

func integrationOf(id catalog.IntegrationID, m *pb.Integration, old *directory.Integration) *directory.Integration {
	i := &directory.Integration{}
	if old != nil {
		*i = *old
	}
	i.ID, i.Name, i.Service, i.Source = id, m.GetDisplayName(), serviceID(m.GetService()), m.GetSource()
	i.Options, i.Disabled = m.GetOptions(), m.GetDisabled()
	return i
}

func policyMessage(p escalation.Policy, meta directory.Meta, warnings []string) *pb.EscalationPolicy {
	return &pb.EscalationPolicy{
		Name: policyName(p.ID), DisplayName: p.Name, Team: teamName(p.Team), Levels: each(p.Levels, levelMessage), Loops: int32(p.Loops), //nolint:gosec // at most 9
		Fallback: each(p.Fallback, targetMessage), EscalateLow: p.EscalateLow, HandOff: handOffs[p.HandOff], Version: p.Version, Warnings: warnings,
		CreateTime: stamp(meta.Created), UpdateTime: stamp(meta.Updated), Etag: quote(meta.ETag()),
	}
}

func levelMessage(l escalation.Level) *pb.EscalationLevel {
	return &pb.EscalationLevel{
		Targets: each(l.Targets, targetMessage), Delay: durationpb.New(l.Delay), Strategy: strategies[l.Strategy], MultiAcknowledge: l.MultiAck,
	}
}

func targetMessage(t escalation.Target) *pb.EscalationTarget {
	return &pb.EscalationTarget{Name: targetCollections[t.Kind] + t.ID}
}

func targetOf(m *pb.EscalationTarget) escalation.Target {
	for kind, collection := range targetCollections {
		if id, ok := strings.CutPrefix(m.GetName(), collection); ok {
			return escalation.Target{Kind: kind, ID: id}
		}
	}
	return escalation.Target{}
}

// targetCollections begin the names of what a target names.
var targetCollections = map[escalation.TargetKind]string{ //nolint:gochecknoglobals // look-up table
	escalation.UserTarget: "users/", escalation.ScheduleTarget: "schedules/", escalation.TeamTarget: "teams/",
}

func policyOf(id escalation.PolicyID, m *pb.EscalationPolicy, old *directory.Policy) *directory.Policy {
	p := &directory.Policy{}
	if old != nil {
		*p = *old
	}
	p.Policy = escalation.Policy{
		ID: id, Version: p.Version, Name: m.GetDisplayName(), Team: roster.TeamID(last(m.GetTeam())), Levels: each(m.GetLevels(), levelOf),
		Loops: int(m.GetLoops()), Fallback: each(m.GetFallback(), targetOf), EscalateLow: m.GetEscalateLow(), HandOff: handOffsOf[m.GetHandOff()],
	}
	return p
}

func levelOf(m *pb.EscalationLevel) escalation.Level {
	return escalation.Level{
		Targets: each(m.GetTargets(), targetOf), Delay: m.GetDelay().AsDuration(), Strategy: strategiesOf[m.GetStrategy()], MultiAck: m.GetMultiAcknowledge(),
	}
}

// settingsMessage converts both ways with settingsOf.
func settingsMessage(s *directory.Settings) *pb.Settings {
	return &pb.Settings{
		Name: "settings", CatchAll: each(s.CatchAll, userName), Privacy: privacy(s.Privacy), UpdateTime: stamp(s.Updated), Etag: quote(s.ETag()),
	}
}

func settingsOf(m *pb.Settings, old *directory.Settings) *directory.Settings {
	s := *old
	s.CatchAll = each(m.GetCatchAll(), func(n string) roster.UserID { return roster.UserID(last(n)) })
	s.Privacy = privacyOf(m.GetPrivacy())
	return &s
}
