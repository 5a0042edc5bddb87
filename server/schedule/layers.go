package schedule

import "time"

// LayerShifts is what one layer says by itself.
type LayerShifts struct {
	Layer  LayerID
	Shifts []Shift
}

// RenderLayers returns what each layer says by itself between two instants, as
// if it were the only one, the highest first. Layers that say nothing are in it;
// the versions of one that was changed are one line.
func (r *Resolver) RenderLayers(from, to time.Time) []LayerShifts {
	versions := map[LayerID][]*track{}
	var order []LayerID
	for i := range r.tracks {
		k := &r.tracks[i]
		if versions[k.layer.ID] == nil {
			order = append(order, k.layer.ID)
		}
		versions[k.layer.ID] = append(versions[k.layer.ID], k)
	}
	all := make([]LayerShifts, len(order))
	w := window(from, to)
	for i, id := range order {
		line := stacked(len(versions[id]), func(v int) []piece { return versions[id][v].pieces(w) })
		all[i] = LayerShifts{id, joined(line)}
	}
	return all
}
