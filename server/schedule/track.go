package schedule

import (
	"time"

	"github.com/tocsin-oncall/tocsin/server/civil"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// track is a version of a layer, ready to be asked.
type track struct {
	layer    *Layer // of the schedule, which does not change
	zone     *time.Location
	replaced time.Time // by another version; zero: not yet
	span               // when it holds: the layer is there, in this version; a zero end is none
}

// answer is what one layer says about an instant.
type answer struct {
	user         roster.UserID // empty: masked, or an empty place
	turn         turn
	place        int // among the participants
	restriction  int // that lets it through; -1: masked
	since, until time.Time
}

// contains reports whether the track holds at t.
func (k *track) contains(t time.Time) bool {
	return !t.Before(k.start) && (k.end.IsZero() || t.Before(k.end))
}

// at asks the layer about an instant within its span.
func (k *track) at(t time.Time) answer {
	clock := civil.NewClock(k.zone)
	u := k.layer.Rotation.at(t, &clock)
	restriction, since, until := mask(k.layer.Restrictions).inside(t, &clock)
	a := answer{
		turn: u, place: k.layer.place(u.number), restriction: restriction,
		since: later(since, u.start), until: earlier(until, u.end),
	}
	if restriction >= 0 {
		a.user = k.layer.Participants[a.place]
	}
	return a
}

// place is who of the participants has the turn.
func (l Layer) place(turn int64) int {
	return int(mod(turn+int64(l.Offset), int64(len(l.Participants))))
}
