package schedule

import (
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// ErrOverridePast is returned for changes to what is over: the past is kept as it was.
var ErrOverridePast = fault.New(fault.Precondition, "OVERRIDE_IS_PAST",
	"that time is over, and who was on call cannot be changed any more")

// WithOverrides returns the schedule with all of the overrides, or an error and
// none of them. They are created now: they win over older ones, and what of
// them lies in the past is cut off.
func (s Schedule) WithOverrides(now time.Time, overrides ...Override) (Schedule, error) {
	s = s.trimmed(now)
	s.Overrides = slices.Clone(s.Overrides)
	created := s.created(now)
	for _, o := range overrides {
		if err := s.admit(o, now); err != nil {
			return Schedule{}, err
		}
		o.Start, o.CreatedAt = later(o.Start, now), created
		s.Overrides = append(s.Overrides, o)
	}
	return s, s.countOverrides(now)
}

// admit reports what is wrong with an override that is to be added.
func (s Schedule) admit(o Override, now time.Time) error {
	v := &complaints{}
	v.check(s.free(o.ID), "id", "give the override an id of its own; %q is not", o.ID)
	v.check(!o.Start.IsZero(), "start_time", "say when the override starts")
	v.check(o.Start.Before(o.End), "end_time", "end the override after its start")
	v.check(o.Start.IsZero() || o.End.Sub(o.Start) <= Kept, "end_time", "use at most 400 days; a change for longer is one of the layers")
	if err := fault.Fields(v.found...); err != nil {
		return err
	}
	if !o.End.After(now) {
		return ErrOverridePast.With("override", string(o.ID))
	}
	return nil
}

// created returns when an override that is made now is created: after every
// other, whatever the clocks of those who made them say.
func (s Schedule) created(now time.Time) time.Time {
	for _, o := range s.Overrides {
		now = later(now, o.CreatedAt.Add(time.Millisecond))
	}
	return now
}

func (s Schedule) countOverrides(now time.Time) error {
	open := 0
	for _, o := range s.Overrides {
		if o.End.After(now) {
			open++
		}
	}
	if open > MaxOverrides {
		return fault.InvalidField("overrides", "remove some: %d have not ended, and a schedule has at most %d; what always holds belongs into a layer", open, MaxOverrides)
	}
	return nil
}

// WithoutOverride returns the schedule with the part of an override removed
// that lies in [from, to) and has not passed: all that is left of it, with zero
// times. When its middle is removed, the part after it goes on under the id rest.
// What comes to light beneath is an older override or the layers.
func (s Schedule) WithoutOverride(id OverrideID, from, to time.Time, rest OverrideID, now time.Time) (Schedule, error) {
	s = s.trimmed(now)
	i := slices.IndexFunc(s.Overrides, func(o Override) bool { return o.ID == id })
	if i < 0 {
		return Schedule{}, fault.New(fault.NotFound, "OVERRIDE_NOT_FOUND", "the schedule has no such override", "schedule", string(s.ID), "override", string(id))
	}
	o := s.Overrides[i]
	cut := span{o.Start, o.End}.within(span{later(from, now), to})
	switch {
	case !o.End.After(now):
		return Schedule{}, ErrOverridePast.With("override", string(id))
	case cut.empty():
		return Schedule{}, fault.InvalidField("end_time", "name a part of the override: it is from %s to %s", o.Start.Format(time.RFC3339), o.End.Format(time.RFC3339))
	}
	before, after := o, o
	before.End, after.Start = cut.start, cut.end
	var left []Override
	if before.Start.Before(before.End) {
		left = append(left, before)
		after.ID = rest
	}
	if after.Start.Before(after.End) {
		if after.ID == rest && !s.free(rest) {
			return Schedule{}, fault.InvalidField("rest", "give the part that stays after the cut an id of its own; %q is not", rest)
		}
		left = append(left, after)
	}
	s.Overrides = slices.Concat(s.Overrides[:i:i], left, s.Overrides[i+1:])
	return s, s.countOverrides(now)
}

// free reports whether an id may be given to a new override.
func (s Schedule) free(id OverrideID) bool {
	return id != "" && !slices.ContainsFunc(s.Overrides, func(o Override) bool { return o.ID == id })
}

// trimmed returns the schedule without what ended so long ago that nobody is
// told about it any more.
func (s Schedule) trimmed(now time.Time) Schedule {
	old := now.Add(-Kept)
	s.Overrides = kept(s.Overrides, func(o Override) bool { return o.End.After(old) })
	s.Shadows = kept(s.Shadows, func(w Shadow) bool { return w.End.IsZero() || w.End.After(old) })
	s.Replaced = kept(s.Replaced, func(v Version) bool { return v.Until.After(old) })
	return s
}

// kept returns the elements to keep, the same slice when that is all.
func kept[E any](all []E, keep func(E) bool) []E {
	drop := func(e E) bool { return !keep(e) }
	if !slices.ContainsFunc(all, drop) {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), drop)
}
