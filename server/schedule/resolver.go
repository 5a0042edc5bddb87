package schedule

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// Zones finds a time zone by its IANA name. It is asked once for each layer
// when a resolver is made.
type Zones func(name string) (*time.Location, bool)

// Resolver answers questions about one schedule, past and future. It is
// immutable but for what it remembers of the last answer of Current, and may be
// used by many at once.
type Resolver struct {
	schedule  Schedule
	tracks    []track    // the one that wins first; versions of one layer never meet
	overrides []Override // the one that wins first
	trained   bool       // some layer has trainees
	last      atomic.Pointer[Shift]
}

// New compiles a schedule. It fails for what no answer could be made of: zones
// that are not known and turns without a length. Validate refuses more. The
// schedule must not be changed afterwards.
func New(s Schedule, zones Zones) (*Resolver, error) {
	r := &Resolver{schedule: s, overrides: slices.Clone(s.Overrides)}
	add := func(l *Layer, until time.Time) error {
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
		t := track{l, zone, until, window(later(l.Since, l.Start), earlier(l.End, until))}
		if len(l.Participants) > 0 {
			r.tracks = append(r.tracks, t)
			r.trained = r.trained || len(l.Trainees.Users) > 0
		}
		return nil
	}
	for i := range s.Replaced {
		if err := add(&s.Replaced[i].Layer, s.Replaced[i].Until); err != nil {
			return nil, err
		}
	}
	for i := range s.Layers {
		if err := add(&s.Layers[i], time.Time{}); err != nil {
			return nil, err
		}
	}
	for i := range r.overrides {
		o := &r.overrides[i]
		o.Start, o.End = o.Start.UTC(), o.End.UTC()
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
	if found {
		return now // layers lie beneath
	}
	if k, a := r.layerAt(t, &now); k != nil {
		now.User, now.Layer = a.user, k.layer.ID
	}
	return now
}

// layerAt returns the highest layer that has somebody at t, were it not for
// overrides, and narrows the stretch to where it says the same. Nil: none has.
func (r *Resolver) layerAt(t time.Time, stretch *Shift) (*track, answer) {
	for i := range r.tracks {
		k := &r.tracks[i]
		stretch.narrow(t, k.start)
		stretch.narrow(t, k.end)
		if !k.contains(t) {
			continue
		}
		a := k.at(t)
		stretch.narrow(t, a.since)
		stretch.narrow(t, a.until)
		if a.user != "" {
			return k, a // what stands below cannot change the answer
		}
	}
	return nil, answer{}
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
