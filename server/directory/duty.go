package directory

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// Duty is that somebody is on call within a time.
type Duty struct {
	User      roster.UserID
	Start     time.Time // when that begins; of who is on call already, the beginning of the time
	By        []Key     // the policies that would page him, and the settings for the catch-all
	Schedules []schedule.ID
}

// Duties returns everybody who is on call at some instant of [from, to), by
// person: by the schedules of policies, by name, and as the catch-all. keep
// chooses policies; nil takes all of them, and the catch-all.
func (s *Snapshot) Duties(from, to time.Time, keep func(*Policy) bool) []Duty {
	duties := map[roster.UserID]*Duty{}
	add := func(u roster.UserID, start time.Time, by Key, schedules ...schedule.ID) {
		d, ok := duties[u]
		if !ok {
			d = &Duty{User: u, Start: start}
			duties[u] = d
		}
		if start.Before(d.Start) {
			d.Start = start
		}
		d.By, d.Schedules = append(d.By, by), append(d.Schedules, schedules...)
	}
	stints := map[schedule.ID][]schedule.Stint{}
	for p := range s.Policies() {
		if keep != nil && !keep(p) {
			continue
		}
		for t := range p.targets() {
			if t.Kind != escalation.ScheduleTarget {
				for _, u := range s.OnCall(t, from) {
					add(u, from, p.key())
				}
				continue
			}
			id := schedule.ID(t.ID)
			if r, err := s.Turns(id); err == nil && stints[id] == nil {
				stints[id] = r.Stints(from, to)
			}
			for _, x := range stints[id] {
				add(x.User, x.Start, p.key(), id)
			}
		}
	}
	if keep == nil {
		for _, u := range s.GetSettings().CatchAll {
			add(u, from, Key{KindSettings, SettingsID})
		}
	}
	all := make([]Duty, 0, len(duties))
	for _, id := range slices.Sorted(maps.Keys(duties)) {
		d := duties[id]
		slices.SortFunc(d.By, func(a, b Key) int { return cmp.Compare(a.String(), b.String()) })
		slices.Sort(d.Schedules)
		d.By, d.Schedules = slices.Compact(d.By), slices.Compact(d.Schedules)
		all = append(all, *d)
	}
	return all
}
