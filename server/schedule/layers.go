package schedule

import (
	"slices"
	"time"
)

// LayerShifts is what one layer says by itself.
type LayerShifts struct {
	Layer  LayerID
	Shifts []Shift
}

// RenderLayers returns what each layer says by itself between two instants, as
// if it were the only one, the highest first. Layers that say nothing are in it.
func (r *Resolver) RenderLayers(from, to time.Time) []LayerShifts {
	var all []LayerShifts
	for i := range r.tracks {
		k := &r.tracks[i]
		at := slices.IndexFunc(all, func(l LayerShifts) bool { return l.Layer == k.layer.ID })
		if at < 0 {
			at, all = len(all), append(all, LayerShifts{Layer: k.layer.ID})
		}
		all[at].Shifts = append(all[at].Shifts, joined(k.pieces(span{from, to}))...)
	}
	for _, l := range all { // of a layer that was changed, each version has a part
		slices.SortFunc(l.Shifts, func(a, b Shift) int { return a.Start.Compare(b.Start) })
	}
	return all
}
