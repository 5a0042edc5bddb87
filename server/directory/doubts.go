package directory

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// Doubt is a stretch of a schedule that somebody should look at. It keeps
// nobody from saving it.
type Doubt struct {
	User       roster.UserID
	Start, End time.Time // [Start, End)
	Text       string    // what it is, in a sentence without its times
}

// Doubts returns what is doubtful about a schedule between two instants, in
// order of time: people who are on call by two schedules at once, on two levels
// of a policy, too long in a row, away by their calendar, or who cannot be woken (over all of the time). The resolver stands
// in the place of the schedule of its id, which may be another one as yet.
func (s *Snapshot) Doubts(turns *schedule.Resolver, from, to time.Time) []Doubt {
	id, stints := turns.Schedule().ID, turns.Stints(from, to)
	people := peopleOf(stints)
	var all []Doubt
	for _, u := range people {
		if dead, ok := s.unreachable([]roster.UserID{u}); !ok {
			all = append(all, Doubt{u, from, to, dead[0] + " cannot be woken"})
		}
	}
	for _, c := range s.awayBy(stints, people) {
		all = append(all, Doubt{c.User, c.Start, c.End, fmt.Sprintf("%s is on call and away by the calendar of vacations", c.User)})
	}
	uses := s.policiesAsking(id)
	if pagesFirst(uses, id) {
		plan := schedule.Plan{Stints: append(stints, s.besides(id, people, from, to)...)}
		for _, c := range plan.Conflicts() {
			if slices.Contains(c.Schedules, id) {
				all = append(all, Doubt{c.User, c.Start, c.End, conflictText(c)})
			}
		}
	}
	for _, p := range uses {
		all = append(all, s.doubled(p, turns, from, to)...)
	}
	slices.SortStableFunc(all, func(a, b Doubt) int { return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.User, b.User)) })
	return all
}

// awayBy returns where somebody has one of the stints while he is away.
func (s *Snapshot) awayBy(stints []schedule.Stint, people []roster.UserID) []schedule.Conflict {
	plan := schedule.Plan{Stints: stints}
	for _, u := range people {
		plan.Absences = append(plan.Absences, s.AbsencesOf(u)...)
	}
	if len(plan.Absences) == 0 {
		return nil
	}
	return slices.DeleteFunc(plan.Conflicts(), func(c schedule.Conflict) bool { return c.Kind != schedule.OnVacation })
}

func peopleOf(stints []schedule.Stint) []roster.UserID {
	people := make([]roster.UserID, len(stints))
	for i, s := range stints {
		people[i] = s.User
	}
	slices.Sort(people)
	return slices.Compact(people)
}

// policiesAsking returns the policies that ask a schedule at one of their levels, by id.
func (s *Snapshot) policiesAsking(id schedule.ID) []*Policy {
	var all []*Policy
	refs, _ := s.referrer.get(reference{Key{KindSchedule, string(id)}, KindPolicy})
	for name := range refs.all() {
		if p, ok := s.GetPolicy(escalation.PolicyID(name)); ok && slices.ContainsFunc(p.Levels, func(l escalation.Level) bool { return asksSchedule(l, id) }) {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, ByName)
	return all
}

// ServicesAsking returns the services whose policies ask a schedule at one of
// their levels, by id.
func (s *Snapshot) ServicesAsking(id schedule.ID) []catalog.ServiceID {
	var all []catalog.ServiceID
	for _, p := range s.policiesAsking(id) {
		refs, _ := s.referrer.get(reference{p.key(), KindService})
		for name := range refs.all() {
			all = append(all, catalog.ServiceID(name))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// BareLevels returns the levels that ask a schedule and have nobody else at an
// instant, in words.
func (s *Snapshot) BareLevels(id schedule.ID, at time.Time) []string {
	var all []string
	for _, p := range s.policiesAsking(id) {
		for i, l := range p.Levels {
			held := slices.ContainsFunc(l.Targets, func(t escalation.Target) bool { return len(s.OnCall(t, at)) > 0 })
			if asksSchedule(l, id) && !held {
				all = append(all, fmt.Sprintf("level %d of the policy %s", i+1, p.Name))
			}
		}
	}
	return all
}

func asksSchedule(l escalation.Level, id schedule.ID) bool {
	return slices.Contains(l.Targets, escalation.Target{Kind: escalation.ScheduleTarget, ID: string(id)})
}

// pagesFirst reports whether a schedule is what some of the policies ask first;
// one that no policy asks may come to be.
func pagesFirst(uses []*Policy, id schedule.ID) bool {
	return len(uses) == 0 || slices.ContainsFunc(uses, func(p *Policy) bool { return asksSchedule(p.Levels[0], id) })
}

// besides returns the stints that the people have by other schedules that page first.
func (s *Snapshot) besides(id schedule.ID, people []roster.UserID, from, to time.Time) []schedule.Stint {
	var others []schedule.ID
	for _, u := range people {
		others = append(others, s.SchedulesOf(u)...)
	}
	slices.Sort(others)
	var all []schedule.Stint
	for _, other := range slices.Compact(others) {
		uses := s.policiesAsking(other)
		turns, err := s.Turns(other)
		if other == id || err != nil || len(uses) == 0 || !pagesFirst(uses, other) {
			continue
		}
		for _, x := range turns.Stints(from, to) {
			if _, ok := slices.BinarySearch(people, x.User); ok {
				all = append(all, x)
			}
		}
	}
	return all
}

// doubled finds where somebody of the schedule stands on another level of the
// policy at the same time. Teams are not counted: they ask others, too.
func (s *Snapshot) doubled(p *Policy, turns *schedule.Resolver, from, to time.Time) []Doubt {
	id := turns.Schedule().ID
	levels := make([][]schedule.Stint, len(p.Levels))
	for i, l := range p.Levels {
		for _, t := range l.Targets {
			switch {
			case t.Kind == escalation.UserTarget:
				levels[i] = append(levels[i], schedule.Stint{Start: from, End: to, User: roster.UserID(t.ID)})
			case t.Kind == escalation.ScheduleTarget && t.ID == string(id):
				levels[i] = append(levels[i], turns.Stints(from, to)...)
			case t.Kind == escalation.ScheduleTarget:
				if other, err := s.Turns(schedule.ID(t.ID)); err == nil {
					levels[i] = append(levels[i], other.Stints(from, to)...)
				}
			}
		}
	}
	var all []Doubt
	for _, d := range schedule.Doubles(levels) {
		if asksSchedule(p.Levels[d.Lower], id) || asksSchedule(p.Levels[d.Upper], id) {
			all = append(all, Doubt{d.User, d.Start, d.End, fmt.Sprintf("%s is on level %d and on level %d of the policy %s", d.User, d.Lower+1, d.Upper+1, p.ID)})
		}
	}
	return all
}

func conflictText(c schedule.Conflict) string {
	by := make([]string, len(c.Schedules))
	for i, id := range c.Schedules {
		by[i] = string(id)
	}
	if c.Kind == schedule.InARow {
		const day = 24 * time.Hour
		return fmt.Sprintf("%s is on call for %d days in a row", c.User, c.End.Sub(c.Start).Round(day)/day)
	}
	return fmt.Sprintf("%s is on call by %s at once", c.User, strings.Join(by, " and "))
}

// maxWarnings is how many warnings of one kind are told one by one.
const maxWarnings = 20

// ScheduleWarnings says what is doubtful about a schedule between two instants,
// one sentence each: gaps that nobody has made on purpose, then Doubts.
func (s *Snapshot) ScheduleWarnings(turns *schedule.Resolver, from, to time.Time) []string {
	zone := s.Zone(turns.Schedule().Zone)
	var gaps, doubts []string
	for _, g := range turns.Gaps(from, to) {
		if g.Override == "" {
			gaps = append(gaps, "nobody is on call "+stretch(g.Start, g.End, zone))
		}
	}
	for _, d := range s.Doubts(turns, from, to) {
		doubts = append(doubts, d.Text+" "+stretch(d.Start, d.End, zone))
	}
	return append(shortened(gaps, "gaps"), shortened(doubts, "doubts")...)
}

// shortened keeps the first of many sentences, and counts the others.
func shortened(all []string, what string) []string {
	if len(all) <= maxWarnings {
		return all
	}
	return append(all[:maxWarnings:maxWarnings], fmt.Sprintf("and %d more %s", len(all)-maxWarnings, what))
}

// stretch says two instants as the clocks of a zone show them.
func stretch(from, to time.Time, zone *time.Location) string {
	const form = "2006-01-02 15:04 -07:00"
	return "from " + from.In(zone).Format(form) + " to " + to.In(zone).Format(form)
}
