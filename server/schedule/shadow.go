package schedule

import (
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Mode is what a shadow does with the pages of the person that he follows. In
// all modes he never fills a gap and is never counted as somebody who can be
// reached.
type Mode uint8

// The modes.
const (
	// Observe: paged alongside, marked as shadow; may not acknowledge. The default.
	Observe Mode = iota + 1
	// Practise: may acknowledge for the measure only; nothing stops.
	Practise
	// Duty: must answer, as must the person he follows: both have to acknowledge.
	Duty
)

// Shadow is one person who follows a schedule or another person for a while.
// Several may follow the same.
type Shadow struct {
	ID     ShadowID
	User   roster.UserID // who follows
	Person roster.UserID // follows this person while he is on call here; empty: whoever is
	Mode   Mode
	Start  time.Time
	End    time.Time // zero: none. [Start, End)
}

// Trainees is a shadow rotation, paired with the rotation of its layer by
// place: Users[i] follows the turns of Participants[i], so that eight newcomers
// follow eight holders in turn. Where that turn is overridden, he follows the
// one who has it then. Empty places, and those past the end, have no shadow.
type Trainees struct {
	Users []roster.UserID
	Mode  Mode
	Start time.Time // zero: none
	End   time.Time // zero: none. [Start, End)
}

// valid reports whether the mode is one of the three.
func (m Mode) valid() bool { return m >= Observe && m <= Duty }

// follows reports whether the shadow follows that holder at t.
func (w Shadow) follows(holder roster.UserID, t time.Time) bool {
	return w.person(holder) && w.Stands(t)
}

// Stands reports whether the shadow is there at t, whoever is on call.
func (w Shadow) Stands(t time.Time) bool {
	return !t.Before(w.Start) && (w.End.IsZero() || t.Before(w.End))
}

// stands likewise, for trainees.
func (t Trainees) stands(at time.Time) bool {
	return !at.Before(t.Start) && (t.End.IsZero() || at.Before(t.End))
}

// person reports whether the shadow follows that holder at all. Nobody follows
// himself, or a gap.
func (w Shadow) person(holder roster.UserID) bool {
	return holder != "" && w.User != holder && (w.Person == "" || w.Person == holder)
}

// follower returns the trainee who is paired with a place of the participants.
func (t Trainees) follower(place int) roster.UserID {
	if place >= len(t.Users) {
		return ""
	}
	return t.Users[place]
}

// WithShadow returns the schedule with one more shadow. What of it lies in the
// past is cut off.
func (s Schedule) WithShadow(w Shadow, now time.Time) (Schedule, error) {
	s = s.trimmed(now)
	taken, open := false, 1
	for _, o := range s.Shadows {
		taken = taken || o.ID == w.ID
		if o.End.IsZero() || o.End.After(now) {
			open++
		}
	}
	v := &complaints{}
	v.check(w.ID != "" && !taken, "id", "give the shadow an id of its own; %q is not", w.ID)
	v.check(w.User != "", "user", "say who follows")
	v.check(w.User == "" || w.User != w.Person, "person", "nobody can shadow himself; name another, or leave it out to follow whoever is on call")
	v.check(w.Mode.valid(), "mode", "use observe, practise or duty")
	v.check(w.End.IsZero() || w.Start.Before(w.End) && w.End.After(now), "end_time", "end the shadow after its start and after now, or leave the end out")
	v.check(open <= MaxShadows, "shadows", "remove some: a schedule has at most %d that have not ended", MaxShadows)
	if err := fault.Fields(v.found...); err != nil {
		return Schedule{}, err
	}
	w.Start = later(w.Start, now)
	s.Shadows = append(slices.Clip(s.Shadows), w)
	return s, nil
}

// WithoutShadow returns the schedule with a shadow that ends now, or that never
// was when it had not begun.
func (s Schedule) WithoutShadow(id ShadowID, now time.Time) (Schedule, error) {
	s = s.trimmed(now)
	i := slices.IndexFunc(s.Shadows, func(w Shadow) bool { return w.ID == id })
	if i < 0 {
		return Schedule{}, fault.New(fault.NotFound, "SHADOW_NOT_FOUND", "the schedule has no such shadow", "schedule", string(s.ID), "shadow", string(id))
	}
	s.Shadows = slices.Clone(s.Shadows)
	w := &s.Shadows[i]
	if w.End = earlier(w.End, now); !w.Start.Before(w.End) {
		s.Shadows = slices.Delete(s.Shadows, i, i+1)
	}
	return s, nil
}
