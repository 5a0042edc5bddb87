package schedule

import (
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Follower is somebody who gets the pages of a holder as his shadow.
type Follower struct {
	User   roster.UserID
	Mode   Mode
	Shadow ShadowID // the shadow that says so, or
	Layer  LayerID  // the layer whose trainees do
}

// ShadowsAt returns who follows the holder at t, each once, in his strictest
// mode. The holder is whoever is paged by this schedule; of a gap, nobody is a
// shadow. Trainees are there when their layer would have the turn without
// overrides, and follow the one whom an override put there.
func (r *Resolver) ShadowsAt(t time.Time, holder roster.UserID) []Follower {
	if holder == "" {
		return nil
	}
	all := Followers(r.schedule.Shadows, t, holder)
	if !r.trained {
		return all
	}
	if k, a := r.layerAt(t, &Shift{}); k != nil {
		if f, ok := k.follower(a.place, t, holder); ok {
			all = strictest(append(all, f))
		}
	}
	return all
}

// Followers returns who of the shadows follow the holder at t, each once, in his
// strictest mode. It serves shadows of a person that belong to no schedule, too.
func Followers(shadows []Shadow, t time.Time, holder roster.UserID) []Follower {
	var all []Follower
	for _, w := range shadows {
		if w.follows(holder, t) {
			all = append(all, Follower{User: w.User, Mode: w.Mode, Shadow: w.ID})
		}
	}
	return strictest(all)
}

// follower returns the trainee who follows the one who has the turn of a place.
func (k *track) follower(place int, t time.Time, holder roster.UserID) (Follower, bool) {
	p := k.layer.Trainees
	f := Follower{User: p.follower(place), Mode: p.Mode, Layer: k.layer.ID}
	return f, f.User != "" && f.User != holder && p.stands(t)
}

// Follows reports whether what made somebody a follower still stands at t: the
// shadow has not ended, the trainee still has a place in the layer's rotation.
// Whose turn it is then does not matter.
func (r *Resolver) Follows(f Follower, t time.Time) bool {
	if f.Layer == "" {
		return slices.ContainsFunc(r.schedule.Shadows, func(w Shadow) bool { return w.ID == f.Shadow && w.Stands(t) })
	}
	return slices.ContainsFunc(r.tracks, func(k track) bool {
		p := k.layer.Trainees
		return k.layer.ID == f.Layer && k.contains(t) && p.stands(t) && slices.Contains(p.Users, f.User)
	})
}

// strictest keeps each user once. Of modes, the later one asks for more.
func strictest(all []Follower) []Follower {
	var kept []Follower
	for _, f := range all {
		i := slices.IndexFunc(kept, func(k Follower) bool { return k.User == f.User })
		switch {
		case i < 0:
			kept = append(kept, f)
		case f.Mode > kept[i].Mode:
			kept[i] = f
		}
	}
	return kept
}

// Shadowing is a stretch in which somebody follows a holder.
type Shadowing struct {
	Start, End time.Time // [Start, End)
	Follows    roster.UserID
	Follower
}

// RenderShadows returns who follows whom between two instants, ordered by start.
// It says the same as ShadowsAt, but names somebody who follows in two ways twice.
func (r *Resolver) RenderShadows(from, to time.Time) []Shadowing {
	w := window(from, to)
	final := r.final(w)
	var all []Shadowing
	for _, shadow := range r.schedule.Shadows {
		for _, p := range final {
			if s := p.within(window(shadow.Start, shadow.End)); shadow.person(p.user) && !s.empty() {
				all = add(all, s, p.user, Follower{User: shadow.User, Mode: shadow.Mode, Shadow: shadow.ID})
			}
		}
	}
	if r.trained {
		all = r.trainees(all, final, r.layers(w))
	}
	slices.SortStableFunc(all, func(a, b Shadowing) int { return a.Start.Compare(b.Start) })
	return all
}

// trainees adds those who are paired with the turns that lie beneath the overrides.
func (r *Resolver) trainees(all []Shadowing, final, beneath []piece) []Shadowing {
	for _, turn := range beneath {
		p := turn.track.layer.Trainees
		user := p.follower(turn.place)
		s := turn.within(window(p.Start, p.End))
		if user == "" || s.empty() {
			continue
		}
		for len(final) > 0 && !final[0].end.After(s.start) {
			final = final[1:]
		}
		for _, held := range final {
			if !held.start.Before(s.end) {
				break
			}
			if both := held.within(s); held.user != "" && held.user != user && !both.empty() {
				all = add(all, both, held.user, Follower{User: user, Mode: p.Mode, Layer: turn.track.layer.ID})
			}
		}
	}
	return all
}

// add appends a stretch, or makes the last one longer.
func add(all []Shadowing, s span, holder roster.UserID, f Follower) []Shadowing {
	if n := len(all); n > 0 && all[n-1].End.Equal(s.start) && all[n-1].Follows == holder && all[n-1].Follower == f {
		all[n-1].End = s.end
		return all
	}
	return append(all, Shadowing{s.start, s.end, holder, f})
}
