package schedule

import (
	"cmp"
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/civil"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Effect says when an edit of who takes part begins to count.
type Effect uint8

// The effects.
const (
	AtHandOff Effect = iota // when the present turn of the layer ends
	AtOnce
)

// Edit returns the schedule to store for one that is wanted from now on: name,
// zone, team, response target and layers are those of wanted, and the layers as
// they were are kept, so that nothing before now gets another answer. Overrides
// and shadows stay; WithOverrides and WithShadow change those.
//
// An edit of participants or trainees counts from the end of the layer's present
// turn on, or at once. It does not move the one whose turn it is: the order goes
// on after him. Only when he himself is taken out it is always at once: whoever
// stands in his place takes over, or else the next in the old order who is still
// there. All other edits of a layer count at once. A rotation that was changed
// begins anew with wanted.Offset; of one that was not, Edit keeps the offset.
func Edit(old, wanted Schedule, now time.Time, effect Effect, zones Zones) (Schedule, error) {
	if err := wanted.Validate(zones); err != nil {
		return Schedule{}, err
	}
	old = old.trimmed(now)
	versions := old.versions()
	next := wanted
	next.Overrides, next.Shadows, next.Replaced = old.Overrides, old.Shadows, nil
	next.Layers = slices.Clone(wanted.Layers)
	for i, l := range wanted.Layers {
		l.Zone = cmp.Or(l.Zone, wanted.Zone)
		revised, replaced := revise(versions[l.ID], l, now, effect, zones)
		next.Layers[i].Since, next.Layers[i].Made, next.Layers[i].Offset = revised.Since, revised.Made, revised.Offset
		next.Replaced = append(next.Replaced, replaced...)
		delete(versions, l.ID)
	}
	for _, gone := range versions {
		next.Replaced = append(next.Replaced, until(gone, now)...)
	}
	slices.SortFunc(next.Replaced, func(a, b Version) int {
		return cmp.Or(a.Until.Compare(b.Until), cmp.Compare(a.ID, b.ID))
	})
	return next, nil
}

// versions returns all that is known of each layer, oldest first. The last one
// of a layer that is still wanted has no end.
func (s Schedule) versions() map[LayerID][]Version {
	all := map[LayerID][]Version{}
	for _, v := range s.Replaced {
		all[v.ID] = append(all[v.ID], v)
	}
	for _, l := range s.Layers {
		l.Zone = cmp.Or(l.Zone, s.Zone)
		all[l.ID] = append(all[l.ID], Version{Layer: l})
	}
	return all
}

// revise returns the layer as it is wanted, since when, and what it was before.
func revise(versions []Version, wanted Layer, now time.Time, effect Effect, zones Zones) (Layer, []Version) {
	if n := len(versions); n > 0 && versions[n-1].Until.IsZero() && versions[n-1].like(wanted) {
		return versions[n-1].Layer, versions[:n-1]
	}
	wanted.Since, wanted.Made = now, now
	present := inForce(versions, now)
	turn, goesOn := present.turn(wanted, now, zones)
	if !goesOn {
		return wanted, until(versions, now)
	}
	place, stays := takeOver(present.Participants, wanted.Participants, present.place(turn.number))
	wanted.Offset = int(mod(int64(place)-turn.number, int64(len(wanted.Participants))))
	if !stays || effect == AtOnce || now.Before(present.Start) {
		return wanted, until(versions, now)
	}
	meanwhile := Version{Layer: wanted, Until: turn.end}
	meanwhile.Participants, meanwhile.Trainees, meanwhile.Offset = present.Participants, present.Trainees, present.Offset
	wanted.Since = turn.end
	if meanwhile.like(present.Layer) {
		meanwhile.Since = present.Since
		return wanted, append(until(versions, present.Since), meanwhile)
	}
	return wanted, append(until(versions, now), meanwhile)
}

// inForce returns the version that holds at t; the zero one if none does.
func inForce(versions []Version, t time.Time) Version {
	for _, v := range versions {
		if !t.Before(v.Since) && (v.Until.IsZero() || t.Before(v.Until)) {
			return v
		}
	}
	return Version{}
}

// turn returns the present turn of a version, or the first of one that has not
// begun, if the wanted layer goes on with its rotation.
func (v Version) turn(wanted Layer, now time.Time, zones Zones) (turn, bool) {
	if v.ID == "" || v.Rotation != wanted.Rotation || v.Zone != wanted.Zone {
		return turn{}, false
	}
	zone, ok := zones(v.Zone)
	if !ok {
		return turn{}, false
	}
	clock := civil.NewClock(zone)
	return v.Rotation.at(later(now, v.Start), &clock), true
}

// until returns what of the versions lies before t.
func until(versions []Version, t time.Time) []Version {
	var before []Version
	for _, v := range versions {
		if v.Since.Before(t) {
			v.Until = earlier(v.Until, t)
			before = append(before, v)
		}
	}
	return before
}

// like reports whether two versions of a layer, their zones resolved, put the
// same people on call.
func (l Layer) like(o Layer) bool {
	return l.Priority == o.Priority && l.Zone == o.Zone && l.Start.Equal(o.Start) && l.End.Equal(o.End) &&
		l.Rotation == o.Rotation && slices.Equal(l.Participants, o.Participants) &&
		slices.Equal(l.Restrictions, o.Restrictions) && l.Trainees.like(o.Trainees)
}

func (t Trainees) like(o Trainees) bool {
	return slices.Equal(t.Users, o.Users) && t.Mode == o.Mode && t.Start.Equal(o.Start) && t.End.Equal(o.End)
}

// takeOver returns the place among the new participants of whoever has the turn
// of a place among the old ones, and whether that is the same person.
func takeOver(old, wanted []roster.UserID, place int) (int, bool) {
	if p := find(old, wanted, place); p >= 0 {
		return p, true
	}
	if len(old) == len(wanted) && !slices.Contains(old, wanted[place]) {
		return place, false // one was put in place of another
	}
	for i := 1; i < len(old); i++ {
		if p := find(old, wanted, (place+i)%len(old)); p >= 0 {
			return p, false
		}
	}
	return 0, false
}

// find returns where among the new participants the one at a place of the old
// stands, -1 for nowhere. Of somebody who is there several times, the second
// stays the second, as far as there are as many.
func find(old, wanted []roster.UserID, place int) int {
	nth := 0
	for _, u := range old[:place] {
		if u == old[place] {
			nth++
		}
	}
	at := -1
	for i, u := range wanted {
		if u == old[place] && nth >= 0 {
			at = i
			nth--
		}
	}
	return at
}
