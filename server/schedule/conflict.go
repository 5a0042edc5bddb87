package schedule

import (
	"cmp"
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/roster"
)

// ConflictKind says what speaks against a plan. All of them warn, none refuses.
type ConflictKind string

// The kinds. Their words are stable.
const (
	TwoAtOnce  ConflictKind = "two_at_once"    // on call in two schedules
	InARow     ConflictKind = "in_a_row"       // on call for longer than people should be
	OnVacation ConflictKind = "on_vacation"    // on call while away
	NoRest     ConflictKind = "rest_too_short" // on call again too soon after a page at night
)

// Conflict is a stretch of somebody's plan that should be looked at.
type Conflict struct {
	Kind       ConflictKind
	User       roster.UserID
	Start, End time.Time // [Start, End)
	Schedules  []ID      // that are involved, in order of the stints
}

// Absence is when somebody is away.
type Absence struct {
	User       roster.UserID
	Start, End time.Time // [Start, End)
}

// Woken is a page that somebody got at night.
type Woken struct {
	User roster.UserID
	At   time.Time
}

// Plan is what conflicts are looked for in: the stints of all schedules that
// page first, as those of level 1 of a policy do.
type Plan struct {
	Stints   []Stint
	Absences []Absence
	Woken    []Woken
	Rest     time.Duration // wanted after a page at night; 0: the rule is off
}

const (
	// LongestRow is how long somebody may be on call in a row. A week in which
	// clocks go back is not longer than a week.
	LongestRow = 7 * day
	clockSlack = 2 * time.Hour
	// pause is what ends a row: who is on call every night is so in a row.
	pause = day
)

// Conflicts returns what speaks against the plan, by start and person.
func (p Plan) Conflicts() []Conflict {
	of := map[roster.UserID][]Stint{}
	for _, s := range p.Stints {
		of[s.User] = append(of[s.User], s)
	}
	var all []Conflict
	for _, stints := range of {
		slices.SortFunc(stints, func(a, b Stint) int { return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.Schedule, b.Schedule)) })
		all = append(all, twoAtOnce(stints)...)
		all = append(all, inARow(stints)...)
	}
	for _, a := range p.Absences {
		for _, s := range of[a.User] {
			if away := (span{s.Start, s.End}).within(span{a.Start, a.End}); !away.empty() {
				all = append(all, conflict(OnVacation, away, s))
			}
		}
	}
	for _, w := range p.Woken {
		for _, s := range of[w.User] {
			if s.Start.After(w.At) && s.Start.Before(w.At.Add(p.Rest)) {
				all = append(all, conflict(NoRest, span{s.Start, earlier(s.End, w.At.Add(p.Rest))}, s))
			}
		}
	}
	slices.SortFunc(all, func(a, b Conflict) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.User, b.User), cmp.Compare(a.Kind, b.Kind), a.End.Compare(b.End))
	})
	return all
}

func conflict(kind ConflictKind, s span, stints ...Stint) Conflict {
	c := Conflict{Kind: kind, User: stints[0].User, Start: s.start, End: s.end}
	for _, x := range stints {
		if !slices.Contains(c.Schedules, x.Schedule) {
			c.Schedules = append(c.Schedules, x.Schedule)
		}
	}
	return c
}

// twoAtOnce finds the overlaps of one person's stints, which are in order.
func twoAtOnce(stints []Stint) []Conflict {
	var all []Conflict
	for i, a := range stints {
		for _, b := range stints[i+1:] {
			if !b.Start.Before(a.End) {
				break
			}
			if both := (span{a.Start, a.End}).within(span{b.Start, b.End}); a.Schedule != b.Schedule && !both.empty() {
				all = append(all, conflict(TwoAtOnce, both, a, b))
			}
		}
	}
	return all
}

// inARow finds rows of one person's stints that are too long.
func inARow(stints []Stint) []Conflict {
	var all []Conflict
	for len(stints) > 0 {
		row, n := span{stints[0].Start, stints[0].End}, 1
		for n < len(stints) && stints[n].Start.Before(row.end.Add(pause)) {
			row.end = later(row.end, stints[n].End)
			n++
		}
		if row.end.Sub(row.start) > LongestRow+clockSlack {
			all = append(all, conflict(InARow, row, stints[:n]...))
		}
		stints = stints[n:]
	}
	return all
}
