package schedule

import (
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Double is a stretch in which the same person stands at two levels of a policy,
// so that escalation from one to the other goes nowhere.
type Double struct {
	Start, End   time.Time // [Start, End)
	User         roster.UserID
	Lower, Upper int // levels, counted from 0
}

// Doubles returns where somebody covers a level twice. The levels are those of a
// policy in order, each with the stints of all that it asks; a person who is
// asked by name has one over the whole window.
func Doubles(levels [][]Stint) []Double {
	var all []Double
	for upper := range levels {
		for lower := range upper {
			for _, a := range levels[lower] {
				for _, b := range levels[upper] {
					s := (span{a.Start, a.End}).within(span{b.Start, b.End})
					if a.User == b.User && !s.empty() {
						all = append(all, Double{s.start, s.end, a.User, lower, upper})
					}
				}
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Double) int { return a.Start.Compare(b.Start) })
	return all
}
