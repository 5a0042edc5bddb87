package schedule

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tocsin-oncall/tocsin/server/civil"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Zones finds a time zone by its IANA name. It is asked once for each layer
// when a resolver is made.
type Zones func(name string) (*time.Location, bool)

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

// Resolver answers questions about one schedule, past and future. It is
// immutable but for what it remembers of the last answer of Current, and may be
// used by many at once.
type Resolver struct {
	schedule  Schedule
	tracks    []track    // the one that wins first; versions of one layer never meet
	overrides []Override // the one that wins first
	last      atomic.Pointer[Shift]
}

// track is a version of a layer, ready to be asked.
type track struct {
	layer Layer
	zone  *time.Location
	span  // when it holds; a zero end is none
}

// New compiles a schedule. It fails for what no answer could be made of: zones
// that are not known and turns without a length. Validate refuses more.
func New(s Schedule, zones Zones) (*Resolver, error) {
	r := &Resolver{schedule: s, overrides: slices.Clone(s.Overrides)}
	add := func(l Layer, until time.Time) error {
		if !l.Rotation.turns() {
			return fault.New(fault.Invalid, "ROTATION_WITHOUT_LENGTH", "the turns of a layer have no length",
				"schedule", string(s.ID), "layer", string(l.ID))
		}
		name := cmp.Or(l.Zone, s.Zone)
		zone, ok := zones(name)
		if !ok {
			return fault.New(fault.Invalid, "UNKNOWN_ZONE", "the time zone of a layer is not known",
				"schedule", string(s.ID), "layer", string(l.ID), "zone", name)
		}
		t := track{l, zone, span{later(l.Since, l.Start), earlier(l.End, until)}}
		if len(l.Participants) > 0 && (t.end.IsZero() || t.start.Before(t.end)) {
			r.tracks = append(r.tracks, t)
		}
		return nil
	}
	for _, v := range s.Replaced {
		if err := add(v.Layer, v.Until); err != nil {
			return nil, err
		}
	}
	for _, l := range s.Layers {
		if err := add(l, time.Time{}); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(r.tracks, func(a, b track) int {
		return cmp.Or(cmp.Compare(b.layer.Priority, a.layer.Priority), cmp.Compare(a.layer.ID, b.layer.ID))
	})
	slices.SortStableFunc(r.overrides, func(a, b Override) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(b.ID, a.ID))
	})
	return r, nil
}

// Schedule returns what the resolver was made of. It must not be changed.
func (r *Resolver) Schedule() Schedule { return r.schedule }

// At returns who is on call at t, in the stretch around t within which nothing
// changes for sure. The stretches before and after it may have the same answer;
// Render joins those. A zero start or end is none.
func (r *Resolver) At(t time.Time) Shift {
	var now Shift
	found := false
	for i := range r.overrides {
		o := &r.overrides[i]
		now.narrow(t, o.Start)
		now.narrow(t, o.End)
		if !found && o.covers(t) {
			now.User, now.Override, found = o.User, o.ID, true
		}
	}
	for i := range r.tracks {
		k := &r.tracks[i]
		now.narrow(t, k.start)
		now.narrow(t, k.end)
		if found || !k.contains(t) {
			continue // what stands below the answer cannot change it
		}
		a := k.at(t)
		now.narrow(t, a.since)
		now.narrow(t, a.until)
		if a.user != "" {
			now.User, now.Layer, found = a.user, k.layer.ID, true
		}
	}
	return now
}

// Current returns what At does, and remembers it: asked again within the
// stretch, it answers at once.
func (r *Resolver) Current(t time.Time) Shift {
	if s := r.last.Load(); s != nil && s.contains(t) {
		return *s
	}
	s := r.At(t)
	r.last.Store(&s)
	return s
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
