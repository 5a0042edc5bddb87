// Package forecast tells before a change of the configuration who will be paged
// differently because of it: level by level, for which services, from when to
// when. It compares two snapshots, and changes nothing.
package forecast

import (
	"cmp"
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// Fallback is the Level of a Change in whom a policy falls back to.
const Fallback = 0

// Change is services that ask other people than before at one level. Those of
// one policy are told together.
type Change struct {
	Services  []catalog.ServiceID // sorted
	Level     int                 // from 1; Fallback
	Stretches []Stretch           // in order, without overlaps
}

// Stretch is how long one such difference holds.
type Stretch struct {
	Start, End    time.Time       // [Start, End)
	Before, After []roster.UserID // sorted; nobody: none is asked
}

// Compare returns who is asked differently between two instants if after takes
// the place of before. Services that are new, or gone, are none: what becomes
// of them is said by themselves. An inactive person counts as nobody.
func Compare(before, after *directory.Snapshot, from, to time.Time) []Change {
	c := comparison{from: from, to: to, lines: map[schedule.ID][2][]hold{}}
	c.side = [2]side{{before, &c, 0}, {after, &c, 1}}
	groups := map[[2]escalation.PolicyID][]catalog.ServiceID{}
	for s := range before.Services() {
		if now, ok := after.GetService(s.ID); ok {
			k := [2]escalation.PolicyID{walked(s), walked(now)}
			groups[k] = append(groups[k], s.ID)
		}
	}
	var out []Change
	for policies, services := range groups {
		slices.Sort(services)
		for _, ch := range c.policies(policies) {
			ch.Services = services
			out = append(out, ch)
		}
	}
	slices.SortFunc(out, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.Services[0], b.Services[0]), cmp.Compare(order(a.Level), order(b.Level)))
	})
	return out
}

// order puts the fallback behind the levels.
func order(level int) int {
	if level == Fallback {
		return escalation.MaxLevels + 1
	}
	return level
}

// walked is the policy that events of the service walk; that of a disabled one is none.
func walked(s *directory.Service) escalation.PolicyID {
	if s.Disabled {
		return ""
	}
	return s.Policy
}

type comparison struct {
	from, to time.Time
	side     [2]side
	lines    map[schedule.ID][2][]hold // of the schedules that were looked at
}

// side is one of the two snapshots.
type side struct {
	*directory.Snapshot
	c     *comparison
	which int
}

// hold is people who are asked for a while.
type hold struct {
	start, end time.Time
	users      []roster.UserID // sorted
}

// policies compares two policies level by level.
func (c *comparison) policies(ids [2]escalation.PolicyID) []Change {
	var both [2]escalation.Policy
	for i, s := range c.side {
		if p, ok := s.GetPolicy(ids[i]); ok {
			both[i] = p.Policy
		}
	}
	var out []Change
	add := func(level int, a, b []escalation.Target) {
		if d := differences(c.side[0].asked(a), c.side[1].asked(b)); len(d) > 0 {
			out = append(out, Change{Level: level, Stretches: d})
		}
	}
	for i := range max(len(both[0].Levels), len(both[1].Levels)) {
		add(i+1, targets(both[0], i), targets(both[1], i))
	}
	add(Fallback, both[0].Fallback, both[1].Fallback)
	return out
}

func targets(p escalation.Policy, level int) []escalation.Target {
	if level >= len(p.Levels) {
		return nil
	}
	return p.Levels[level].Targets
}

// asked returns whom the targets come to, over the whole window without holes.
func (s side) asked(targets []escalation.Target) []hold {
	all := []hold{{start: s.c.from, end: s.c.to}}
	for _, t := range targets {
		switch t.Kind {
		case escalation.ScheduleTarget:
			all = overlay(all, s.line(schedule.ID(t.ID)))
		case escalation.UserTarget:
			all = overlay(all, s.always(roster.UserID(t.ID)))
		case escalation.TeamTarget:
			all = overlay(all, s.always(s.Members(roster.TeamID(t.ID))...))
		}
	}
	return all
}

func (s side) always(users ...roster.UserID) []hold {
	return []hold{{s.c.from, s.c.to, s.active(users)}}
}

// active returns those who can be asked, sorted.
func (s side) active(users []roster.UserID) []roster.UserID {
	var out []roster.UserID
	for _, id := range users {
		if u, ok := s.GetUser(id); ok && !u.Inactive {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// line returns who holds the schedule. Each is rendered once.
func (s side) line(id schedule.ID) []hold {
	lines := s.c.lines[id]
	if lines[s.which] != nil {
		return lines[s.which]
	}
	at := s.c.from
	var all []hold
	if r, err := s.Turns(id); err == nil {
		for _, t := range r.Stints(s.c.from, s.c.to) {
			if at.Before(t.Start) {
				all = append(all, hold{start: at, end: t.Start})
			}
			all, at = append(all, hold{t.Start, t.End, s.active([]roster.UserID{t.User})}), t.End
		}
	}
	if at.Before(s.c.to) {
		all = append(all, hold{start: at, end: s.c.to})
	}
	lines[s.which] = all
	s.c.lines[id] = lines
	return all
}

// both walks through two lines over the same window at once.
func both(a, b []hold, f func(start, end time.Time, a, b []roster.UserID)) {
	for len(a) > 0 && len(b) > 0 {
		start, end := a[0].start, a[0].end
		if b[0].start.After(start) {
			start = b[0].start
		}
		if b[0].end.Before(end) {
			end = b[0].end
		}
		f(start, end, a[0].users, b[0].users)
		if a[0].end.Equal(end) {
			a = a[1:]
		}
		if b[0].end.Equal(end) {
			b = b[1:]
		}
	}
}

// overlay returns everybody who is in either line.
func overlay(a, b []hold) []hold {
	var all []hold
	both(a, b, func(start, end time.Time, x, y []roster.UserID) {
		users := append(slices.Clone(x), y...)
		slices.Sort(users)
		all = append(all, hold{start, end, slices.Compact(users)})
	})
	return all
}

// differences returns where two lines differ, neighbours with the same difference as one.
func differences(a, b []hold) []Stretch {
	var all []Stretch
	both(a, b, func(start, end time.Time, x, y []roster.UserID) {
		if slices.Equal(x, y) {
			return
		}
		if n := len(all); n > 0 && all[n-1].End.Equal(start) && slices.Equal(all[n-1].Before, x) && slices.Equal(all[n-1].After, y) {
			all[n-1].End = end
			return
		}
		all = append(all, Stretch{start, end, x, y})
	})
	return all
}
