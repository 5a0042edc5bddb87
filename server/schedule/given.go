package schedule

import (
	"slices"
	"time"
)

// Given returns when it was settled that the holder of a shift has it: when the
// override that puts him there was made, or the version of the layer. An edit of
// the layer that leaves him where he was does not count.
func (r *Resolver) Given(s Shift) time.Time {
	if s.Override != "" {
		for _, o := range r.overrides {
			if o.ID == s.Override {
				return o.CreatedAt
			}
		}
		return time.Time{}
	}
	versions := r.versions(s.Layer)
	var given time.Time
	for _, v := range slices.Backward(versions) {
		if v.start.After(s.Start) {
			continue // it came later
		}
		if !given.IsZero() && v.at(s.Start).user != s.User {
			break
		}
		given = v.layer.made()
	}
	return given
}

// versions returns the tracks of a layer, oldest first: they never meet.
func (r *Resolver) versions(id LayerID) []*track {
	var all []*track
	for i := range r.tracks {
		if k := &r.tracks[i]; k.layer.ID == id {
			all = append(all, k)
		}
	}
	slices.SortFunc(all, func(a, b *track) int { return a.start.Compare(b.start) })
	return all
}

func (l *Layer) made() time.Time {
	if l.Made.IsZero() {
		return l.Since
	}
	return l.Made
}
