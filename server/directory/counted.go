package directory

import (
	"cmp"
	"iter"
	"slices"

	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// counted returns everybody whom a policy names at a level or as its fallback,
// and the catch-all, each with what counts on him.
func (s *Snapshot) counted() map[roster.UserID][]Key {
	counted := map[roster.UserID][]Key{}
	count := func(id roster.UserID, by Key) {
		if list := counted[id]; !slices.Contains(list, by) {
			counted[id] = append(list, by)
		}
	}
	for p := range all[*Policy](s, KindPolicy) {
		for t := range p.targets() {
			for _, id := range s.mayHold(t) {
				count(id, p.key())
			}
		}
	}
	for _, id := range s.GetSettings().CatchAll {
		count(id, Key{KindSettings, SettingsID})
	}
	return counted
}

// Counted returns the people whom a policy or the catch-all may page now, by id.
func (s *Snapshot) Counted() []roster.UserID {
	var out []roster.UserID
	for id := range s.counted() {
		if u, ok := s.User(id); ok && !u.Inactive {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// CountedOn returns what counts on a person: policies, and the settings for
// the catch-all. None: nothing can page him by itself.
func (s *Snapshot) CountedOn(id roster.UserID) []Key {
	held := []Key{{KindUser, string(id)}}
	for _, t := range s.TeamsOf(id) {
		held = append(held, Key{KindTeam, string(t)})
	}
	refs, _ := s.referrer.get(reference{held[0], KindSchedule})
	for r := range refs.all() {
		held = append(held, Key{KindSchedule, r})
	}
	var by []Key
	for _, k := range held {
		refs, _ := s.referrer.get(reference{k, KindPolicy})
		for id := range refs.all() {
			if p, ok := s.GetPolicy(escalation.PolicyID(id)); ok && p.asks(k) {
				by = append(by, p.key())
			}
		}
	}
	if slices.Contains(s.GetSettings().CatchAll, id) {
		by = append(by, Key{KindSettings, SettingsID})
	}
	slices.SortFunc(by, func(a, b Key) int { return cmp.Compare(a.String(), b.String()) })
	return slices.Compact(by)
}

// targets yields what the policy asks at its levels and as its fallback.
func (p *Policy) targets() iter.Seq[escalation.Target] {
	return func(yield func(escalation.Target) bool) {
		for _, l := range p.Levels {
			for _, t := range l.Targets {
				if !yield(t) {
					return
				}
			}
		}
		for _, t := range p.Fallback {
			if !yield(t) {
				return
			}
		}
	}
}

// asks reports whether a target of the policy is that record: its own team is none.
func (p *Policy) asks(k Key) bool {
	for t := range p.targets() {
		if targetKinds[t.Kind] == k.Kind && t.ID == k.ID {
			return true
		}
	}
	return false
}

// Backers returns those who have to know when a person cannot be woken any
// more: the teams of the policies that count on him and of the services that
// page by those, without himself; where there are none, the catch-all. It is
// empty for somebody on whom nothing counts.
func (s *Snapshot) Backers(id roster.UserID) []roster.UserID {
	by := s.CountedOn(id)
	if len(by) == 0 {
		return nil
	}
	var teams []roster.TeamID
	for _, k := range by {
		p, ok := s.GetPolicy(escalation.PolicyID(k.ID))
		if k.Kind != KindPolicy || !ok {
			continue
		}
		teams = append(teams, p.Team)
		services, _ := s.referrer.get(reference{k, KindService})
		for name := range services.all() {
			if svc, ok := find[*Service](s, KindService, name); ok {
				teams = append(teams, svc.Team)
			}
		}
	}
	var people []roster.UserID
	for _, t := range teams {
		people = append(people, s.Members(t)...)
	}
	others := func(list []roster.UserID) []roster.UserID {
		slices.Sort(list)
		return slices.DeleteFunc(slices.Compact(list), func(u roster.UserID) bool { return u == id })
	}
	if people = others(people); len(people) == 0 {
		people = others(slices.Clone(s.GetSettings().CatchAll))
	}
	return people
}
