package schedule

import (
	"slices"
	"time"
)

// span is [start, end).
type span struct{ start, end time.Time }

// window is the span that somebody asks about. All that is answered is in UTC.
func window(from, to time.Time) span { return span{from.UTC(), to.UTC()} }

// within returns the part of the span that lies in another one.
func (s span) within(o span) span {
	return span{later(s.start, o.start), earlier(s.end, o.end)}
}

// empty reports whether no instant is in the span.
func (s span) empty() bool { return !s.start.Before(s.end) }

// union sorts spans and joins those that touch.
func union(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return a.start.Compare(b.start) })
	var joined []span
	for _, s := range spans {
		if n := len(joined); n > 0 && !s.start.After(joined[n-1].end) {
			joined[n-1].end = later(joined[n-1].end, s.end)
			continue
		}
		joined = append(joined, s)
	}
	return joined
}

// earlier returns the first of two instants, of which a zero one is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// later returns the last of two instants, of which a zero one is none.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
