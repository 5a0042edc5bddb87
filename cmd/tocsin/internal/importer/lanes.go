package importer

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// apart is how far ahead two layers are looked at to see whether they ever hold
// at once. It is more than a year, so that all changes of clocks are in it.
const apart = 400 * 24 * time.Hour

// Lanes lays layers of which several may hold at once into as many schedules as
// it takes, since one of ours has one person on call at a time. Whoever pages
// the source's schedule pages all of them.
//
// The priorities of the layers are the levels of the source: a level that has
// somebody hides those below it. Layers of one level that never hold at the
// same time share a schedule.
//
// Each schedule has all layers of the higher levels, but begins with another
// one: wherever several hold, each is the first of some schedule, and wherever
// one holds, it hides the lower levels in all of them.
func Lanes(base directory.ScheduleDoc, layers []directory.LayerDoc, from time.Time) ([]directory.ScheduleDoc, error) {
	held, err := holding(base.TimeZone, layers, from)
	if err != nil {
		return nil, err
	}
	levels := grouped(layers, held)
	lanes := 1
	for _, groups := range levels {
		lanes = max(lanes, len(groups))
	}
	all := make([]directory.ScheduleDoc, lanes)
	for i := range all {
		all[i] = base
		if i > 0 {
			all[i].ID = fmt.Sprintf("%s-%d", base.ID, i+1)
			all[i].Name = Name(fmt.Sprintf("%s (%d)", base.Name, i+1), base.ID)
		}
		all[i].Layers = lane(i, levels)
	}
	return all, nil
}

// lane returns the layers of the i-th schedule, the highest first.
func lane(i int, levels [][][]directory.LayerDoc) []directory.LayerDoc {
	var laid []directory.LayerDoc
	priority := 0
	for _, groups := range levels {
		priority += len(groups)
	}
	for n, groups := range levels {
		for k := range groups {
			if n == len(levels)-1 && (k > 0 || i >= len(groups)) {
				break // nothing lies below: what others have need not be hidden
			}
			priority--
			for _, l := range groups[(i+k)%len(groups)] {
				l.Priority = priority
				laid = append(laid, l)
			}
		}
	}
	return laid
}

// grouped returns the levels from the highest on, each as groups of layers that
// never hold at the same time.
func grouped(layers []directory.LayerDoc, held map[string][]schedule.Stint) [][][]directory.LayerDoc {
	order := slices.Clone(layers)
	slices.SortStableFunc(order, func(a, b directory.LayerDoc) int { return cmp.Compare(b.Priority, a.Priority) })
	var levels [][][]directory.LayerDoc
	for i, l := range order {
		if i == 0 || l.Priority != order[i-1].Priority {
			levels = append(levels, nil)
		}
		groups := &levels[len(levels)-1]
		at := slices.IndexFunc(*groups, func(group []directory.LayerDoc) bool {
			return !slices.ContainsFunc(group, func(o directory.LayerDoc) bool { return meet(held[l.ID], held[o.ID]) })
		})
		if at < 0 {
			*groups = append(*groups, nil)
			at = len(*groups) - 1
		}
		(*groups)[at] = append((*groups)[at], l)
	}
	return levels
}

// holding returns when each layer by itself has somebody.
func holding(zone string, layers []directory.LayerDoc, from time.Time) (map[string][]schedule.Stint, error) {
	var doc directory.Document
	for _, l := range layers {
		doc.Schedules = append(doc.Schedules, directory.ScheduleDoc{ID: l.ID, Name: l.ID, TimeZone: zone, Layers: []directory.LayerDoc{l}})
	}
	turns, err := doc.Turns()
	if err != nil {
		return nil, err
	}
	held := map[string][]schedule.Stint{}
	for id, r := range turns {
		held[string(id)] = r.Stints(from, from.Add(apart))
	}
	return held, nil
}

// meet reports whether two lists of stints, each in order, have an instant in common.
func meet(a, b []schedule.Stint) bool {
	for len(a) > 0 && len(b) > 0 {
		switch {
		case !a[0].Start.Before(b[0].End):
			b = b[1:]
		case !b[0].Start.Before(a[0].End):
			a = a[1:]
		default:
			return true
		}
	}
	return false
}
