package schedule

import (
	"time"

	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Shift is one stretch of a schedule: who is on call, and by what. Of a gap the
// User is empty; a deliberate one names its override.
type Shift struct {
	Start    time.Time
	End      time.Time // [Start, End)
	User     roster.UserID
	Layer    LayerID    // empty when an override put him there
	Override OverrideID // empty when a layer did
}

// Gap reports whether nobody is on call.
func (s Shift) Gap() bool { return s.User == "" }

// contains reports whether t is in the shift; an end of zero is none.
func (s Shift) contains(t time.Time) bool {
	return !t.Before(s.Start) && (s.End.IsZero() || t.Before(s.End))
}

// same reports whether two shifts that follow each other are one.
func (s Shift) same(o Shift) bool {
	return s.User == o.User && s.Layer == o.Layer && s.Override == o.Override
}

// narrow takes an edge into account at which the answer may change.
func (s *Shift) narrow(t, edge time.Time) {
	switch {
	case edge.IsZero():
	case edge.After(t):
		s.End = earlier(s.End, edge)
	default:
		s.Start = later(s.Start, edge)
	}
}
