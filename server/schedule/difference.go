package schedule

import (
	"time"

	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Change is a stretch in which somebody else is on call by another schedule.
type Change struct {
	Start, End    time.Time // [Start, End)
	Before, After roster.UserID
}

// Differences returns who is on call differently between two instants if after
// takes the place of before. Of a schedule that is new or gone, the other is nil.
func Differences(before, after *Resolver, from, to time.Time) []Change {
	w := window(from, to)
	a, b := timeline(before, w), timeline(after, w)
	var all []Change
	for start := w.start; start.Before(w.end); {
		end := earlier(a[0].End, b[0].End)
		if a[0].User != b[0].User {
			all = append(all, Change{start, end, a[0].User, b[0].User})
		}
		if a[0].End.Equal(end) {
			a = a[1:]
		}
		if b[0].End.Equal(end) {
			b = b[1:]
		}
		start = end
	}
	return all
}

// timeline is a window without holes: stints, and gaps as those of nobody.
// Neighbours differ.
func timeline(r *Resolver, w span) []Stint {
	var all []Stint
	end := w.start
	if r != nil {
		for _, s := range r.Stints(w.start, w.end) {
			if end.Before(s.Start) {
				all = append(all, Stint{Start: end, End: s.Start})
			}
			all, end = append(all, s), s.End
		}
	}
	if end.Before(w.end) {
		all = append(all, Stint{Start: end, End: w.end})
	}
	return all
}
