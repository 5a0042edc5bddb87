package schedule

import "time"

// Gap is a stretch without anybody on call.
type Gap struct {
	Start, End time.Time  // [Start, End)
	Override   OverrideID // that made it on purpose; empty: nobody did
}

// Gaps returns when nobody is on call between two instants, cut to them. A gap
// that an override made on purpose is one of its own.
func (r *Resolver) Gaps(from, to time.Time) []Gap {
	var gaps []Gap
	w := window(from, to)
	end := w.start
	for _, p := range r.final(w) {
		if end.Before(p.start) {
			gaps = append(gaps, Gap{Start: end, End: p.start})
		}
		if p.user == "" {
			gaps = append(gaps, Gap{p.start, p.end, p.override})
		}
		end = p.end
	}
	if end.Before(w.end) {
		gaps = append(gaps, Gap{Start: end, End: w.end})
	}
	return gaps
}
