package directory

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// TeamOf returns the team that a resource name ("schedules/primary") names, or
// that the thing of that name belongs to; false for what belongs to none, is of
// a kind that no team has, or does not exist.
func (s *Snapshot) TeamOf(name string) (roster.TeamID, bool) {
	collection, id, _ := strings.Cut(name, "/")
	kind, ok := map[string]Kind{
		"teams": KindTeam, "services": KindService, "integrations": KindIntegration, "escalationPolicies": KindPolicy,
		"schedules": KindSchedule, "overrides": KindOverride, "shadows": KindShadow, "coverRequests": KindCover, "drillPlans": KindDrillPlan,
	}[collection]
	if !ok || !s.Exists(Key{kind, id}) {
		return "", false
	}
	r, _ := s.records[kind].get(id)
	team := s.teamOf(r)
	return team, team != ""
}

// teamOf returns the team that a record belongs to; empty: none. An integration
// belongs to that of its service, an override, a shadow and a request for cover to that of their schedule.
func (s *Snapshot) teamOf(r Record) roster.TeamID {
	switch r := r.(type) {
	case *Team:
		return r.ID
	case *Service:
		return r.Team
	case *Policy:
		return r.Team
	case *Version:
		return r.Team
	case *Schedule:
		return r.Team
	case *Integration:
		if v, ok := s.GetService(r.Service); ok {
			return v.Team
		}
	case *DrillPlan:
		return r.Team
	case *Override:
		return s.teamOfSchedule(r.Schedule)
	case *Shadow:
		return s.teamOfSchedule(r.Schedule)
	case *Cover:
		return s.teamOfSchedule(r.Schedule)
	}
	return ""
}

func (s *Snapshot) teamOfSchedule(id schedule.ID) roster.TeamID {
	if r, ok := s.GetSchedule(id); ok {
		return r.Team
	}
	return ""
}

// checkWithin refuses a change that reaches beyond the teams of whoever makes
// it: every record of it has to have been theirs, where it was there, and to be
// theirs after, where it still is. So nothing is taken from another team, and
// nothing is given away. nil: there is no such limit.
func (e *Edit) checkWithin(next *Snapshot, teams []roster.TeamID) error {
	if teams == nil {
		return nil
	}
	for _, k := range e.order {
		if k.Kind == KindFeed && e.gone[k] {
			continue // goes with its schedule or team, which is looked at itself
		}
		if e.Exists(k) {
			old, _ := e.records[k.Kind].get(k.ID)
			if !slices.Contains(teams, e.teamOf(old)) {
				return beyond(k, "")
			}
		}
		if !next.Exists(k) {
			continue
		}
		now, _ := next.records[k.Kind].get(k.ID)
		if !slices.Contains(teams, next.teamOf(now)) {
			return beyond(k, teamField(k.Kind))
		}
		if err := e.checkNamed(now, teams); err != nil {
			return err
		}
	}
	return nil
}

// checkNamed refuses a record that newly names what is another team's, by which
// people of that team would be paged: a policy, and of a policy schedules and
// teams. What belongs to no team may be named by all, and people may be asked by name.
func (e *Edit) checkNamed(r Record, teams []roster.TeamID) error {
	named := map[Key]bool{}
	if old, ok := e.records[r.key().Kind].get(r.key().ID); ok && old.meta().Deleted.IsZero() {
		old.refs(func(_ string, to Key) { named[to] = true })
	}
	var err error
	r.refs(func(path string, to Key) {
		var owner roster.TeamID
		switch to.Kind {
		case KindPolicy:
			owner = e.policyTeam(escalation.PolicyID(to.ID))
		case KindSchedule:
			owner = e.teamOfSchedule(schedule.ID(to.ID))
		case KindTeam:
			if path != "team" { // a target; its own team is held above
				owner = roster.TeamID(to.ID)
			}
		case KindService:
			if v, ok := e.GetService(catalog.ServiceID(to.ID)); ok {
				owner = v.Team
			}
		default:
		}
		if err == nil && owner != "" && !named[to] && !slices.Contains(teams, owner) {
			err = beyond(r.key(), path)
		}
	})
	return err
}

func (e *Edit) policyTeam(id escalation.PolicyID) roster.TeamID {
	if p, ok := e.GetPolicy(id); ok {
		return p.Team
	}
	return ""
}

// teamField is the field of a record by which it comes to belong to a team.
func teamField(k Kind) string {
	switch k {
	case KindIntegration:
		return "service"
	case KindOverride, KindShadow, KindCover:
		return "schedule"
	default:
		return "team"
	}
}

func beyond(k Key, field string) error {
	const why = "this needs a manager of the team that it belongs to, or an administrator"
	f := fault.New(fault.Denied, "NOT_YOURS", why, "name", k.String())
	if field != "" {
		f.Message = fmt.Sprintf("%s: %s", field, why)
		f.Fields = []fault.Field{{Path: field, Fix: why}}
	}
	return f
}
