package schedule

import "time"

// span is [start, end).
type span struct{ start, end time.Time }

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
