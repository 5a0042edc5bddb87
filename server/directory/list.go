package directory

import (
	"iter"
	"slices"
	"strings"
)

// all yields the records of a kind that are in force, in no order.
func all[R Record](s *Snapshot, kind Kind) iter.Seq[R] {
	return func(yield func(R) bool) {
		for _, r := range s.records[kind].all() {
			if !r.meta().Deleted.IsZero() {
				continue
			}
			if typed, ok := r.(R); ok && !yield(typed) {
				return
			}
		}
	}
}

// ids yields the ids of the records of a kind that are in force, in no order.
func (s *Snapshot) ids(kind Kind) iter.Seq[string] {
	return func(yield func(string) bool) {
		for id, r := range s.records[kind].all() {
			if r.meta().Deleted.IsZero() && !yield(id) {
				return
			}
		}
	}
}

// Users yields all people, in no order.
func (s *Snapshot) Users() iter.Seq[*User] { return all[*User](s, KindUser) }

// Teams yields all teams, in no order.
func (s *Snapshot) Teams() iter.Seq[*Team] { return all[*Team](s, KindTeam) }

// Services yields all services, in no order.
func (s *Snapshot) Services() iter.Seq[*Service] { return all[*Service](s, KindService) }

// Integrations yields the integrations of all services, in no order.
func (s *Snapshot) Integrations() iter.Seq[*Integration] {
	return all[*Integration](s, KindIntegration)
}

// Policies yields the newest version of each escalation policy, in no order.
func (s *Snapshot) Policies() iter.Seq[*Policy] { return all[*Policy](s, KindPolicy) }

// Schedules yields the planned parts of all schedules, in no order.
func (s *Snapshot) Schedules() iter.Seq[*Schedule] { return all[*Schedule](s, KindSchedule) }

// Overrides yields the overrides of all schedules, ended ones too, in no order.
func (s *Snapshot) Overrides() iter.Seq[*Override] { return all[*Override](s, KindOverride) }

// Shadows yields all shadows made by hand, ended ones too, in no order.
func (s *Snapshot) Shadows() iter.Seq[*Shadow] { return all[*Shadow](s, KindShadow) }

// Covers yields all requests for cover and swaps, those that are over too, in no order.
func (s *Snapshot) Covers() iter.Seq[*Cover] { return all[*Cover](s, KindCover) }

// Tokens yields all tokens, of people and of service accounts, in no order.
func (s *Snapshot) Tokens() iter.Seq[*Token] { return all[*Token](s, KindToken) }

// Feeds yields the calendar feeds of everybody, revoked ones too, in no order.
func (s *Snapshot) Feeds() iter.Seq[*Feed] { return all[*Feed](s, KindFeed) }

// DrillPlans yields all plans of fire drills, in no order.
func (s *Snapshot) DrillPlans() iter.Seq[*DrillPlan] { return all[*DrillPlan](s, KindDrillPlan) }

// AllVacations yields the calendars of absences of all people, in no order.
func (s *Snapshot) AllVacations() iter.Seq[*Vacations] { return all[*Vacations](s, KindVacations) }

// AllDevices yields the devices of all people, in no order; Devices those of one.
func (s *Snapshot) AllDevices() iter.Seq[*Device] { return all[*Device](s, KindDevice) }

// Count returns how many records of a kind are in force.
func (s *Snapshot) Count(kind Kind) int {
	n, _ := s.counts.get(kind)
	return n
}

// ByName orders records by the last part of their resource name.
func ByName[R Record](a, b R) int { return strings.Compare(a.key().ID, b.key().ID) }

// ByAge orders records by creation, oldest first, then by name.
func ByAge[R Record](a, b R) int { return older(a, b) }

// Page returns the first n records of the sequence in the given order that come
// after the record `after` (nil: from the first) and that keep accepts, and
// whether there are more. It looks at every record of the sequence, and keeps
// no more than twice a page of them.
func Page[R Record](seq iter.Seq[R], order func(a, b R) int, after func(R) bool, keep func(R) bool, n int) (page []R, more bool) {
	for r := range seq {
		if (after != nil && !after(r)) || (keep != nil && !keep(r)) {
			continue
		}
		if page = append(page, r); len(page) > 2*n+2 {
			slices.SortFunc(page, order)
			page = page[:n+1]
		}
	}
	slices.SortFunc(page, order)
	if len(page) > n {
		return page[:n:n], true
	}
	return page, false
}
