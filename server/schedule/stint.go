package schedule

import (
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Stint is a person's time on call without a pause, whatever the sources: shifts
// that follow each other by a change of layers, or an override by himself, are one.
type Stint struct {
	Start, End time.Time // [Start, End)
	User       roster.UserID
	Schedule   ID
}

// Stints returns the stints between two instants, in order, cut to them.
func (r *Resolver) Stints(from, to time.Time) []Stint {
	var all []Stint
	for _, s := range r.Render(from, to) {
		if n := len(all); n > 0 && all[n-1].User == s.User && all[n-1].End.Equal(s.Start) {
			all[n-1].End = s.End
			continue
		}
		all = append(all, Stint{s.Start, s.End, s.User, r.schedule.ID})
	}
	return all
}

// Held returns when between two instants the user is the one on call.
func (r *Resolver) Held(user roster.UserID, from, to time.Time) []Stint {
	return slices.DeleteFunc(r.Stints(from, to), func(s Stint) bool { return s.User != user })
}

// HandOff is an instant at which another person comes on call, or nobody.
type HandOff struct {
	At       time.Time
	From, To roster.UserID // empty: nobody
}

// HandOffs returns the hand-offs in [from, to), in order.
func (r *Resolver) HandOffs(from, to time.Time) []HandOff {
	before := r.At(from.Add(-1)).User
	end := from.UTC()
	var all []HandOff
	change := func(at time.Time, user roster.UserID) {
		if user != before && at.Before(to) {
			all = append(all, HandOff{at, before, user})
		}
		before = user
	}
	for _, s := range r.Stints(from, to) {
		if end.Before(s.Start) {
			change(end, "")
		}
		change(s.Start, s.User)
		end = s.End
	}
	change(end, "")
	return all
}

// LastHandOff returns the latest hand-off at or before t, from or to the user; of
// anybody when the user is empty. False: there is none within the Horizon.
func (r *Resolver) LastHandOff(t time.Time, user roster.UserID) (HandOff, bool) {
	return nearest(func(reach time.Duration) []HandOff {
		all := r.HandOffs(t.Add(-reach), t.Add(1))
		slices.Reverse(all)
		return all
	}, user)
}

// NextHandOff returns the first hand-off after t, as LastHandOff does.
func (r *Resolver) NextHandOff(t time.Time, user roster.UserID) (HandOff, bool) {
	return nearest(func(reach time.Duration) []HandOff { return r.HandOffs(t.Add(1), t.Add(reach)) }, user)
}

// nearest looks further and further for the first hand-off that concerns the user.
func nearest(within func(reach time.Duration) []HandOff, user roster.UserID) (HandOff, bool) {
	for reach := day; ; reach *= 8 {
		reach = min(reach, Horizon)
		for _, h := range within(reach) {
			if user == "" || h.From == user || h.To == user {
				return h, true
			}
		}
		if reach == Horizon {
			return HandOff{}, false
		}
	}
}

// Notices are when the owners of the schedule are told of a gap that begins.
func (g Gap) Notices() []time.Time { return before(g.Start, 30*day, 7*day, day) }

// before returns the instants that lie so long before another.
func before(at time.Time, leads ...time.Duration) []time.Time {
	all := make([]time.Time, len(leads))
	for i, l := range leads {
		all[i] = at.Add(-l)
	}
	return all
}
