package schedule

import (
	"time"

	"github.com/tocsin-oncall/tocsin/server/civil"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Render returns who is on call between two instants, in order, cut to them.
// Gaps are left out, and neighbours with the same person by the same source are
// one. It says the same as At everywhere.
func (r *Resolver) Render(from, to time.Time) []Shift {
	return joined(r.final(window(from, to)))
}

// piece is a stretch of one layer or override before it is a shift.
type piece struct {
	span
	user     roster.UserID
	track    *track // nil for an override
	place    int    // among the track's participants
	override OverrideID
}

func (p piece) shift() Shift {
	s := Shift{Start: p.start, End: p.end, User: p.user, Override: p.override}
	if p.track != nil {
		s.Layer = p.track.layer.ID
	}
	return s
}

// final lays the layers under the overrides. Deliberate gaps are pieces without
// a user; other gaps are none.
func (r *Resolver) final(window span) []piece {
	overrides := stacked(len(r.overrides), func(i int) []piece {
		o := r.overrides[i]
		if s := (span{o.Start, o.End}).within(window); !s.empty() {
			return []piece{{span: s, user: o.User, override: o.ID}}
		}
		return nil
	})
	return under(overrides, r.layers(window))
}

// layers is who would be on call without overrides.
func (r *Resolver) layers(window span) []piece {
	return stacked(len(r.tracks), func(i int) []piece { return r.tracks[i].pieces(window) })
}

// stacked lays n sources under each other, the first on top; by halves, so that
// hundreds of overrides or versions do not each move all that lies above them.
func stacked(n int, source func(int) []piece) []piece {
	switch n {
	case 0:
		return nil
	case 1:
		return source(0)
	}
	half := n / 2
	lower := func(i int) []piece { return source(half + i) }
	return under(stacked(half, source), stacked(n-half, lower))
}

// under returns top with the parts of lower that it leaves free. Both are in
// order and without overlaps, and so is the answer.
func under(top, lower []piece) []piece {
	switch {
	case len(top) == 0:
		return lower
	case len(lower) == 0:
		return top
	}
	laid := make([]piece, 0, len(top)+len(lower))
	for _, l := range lower {
		for len(top) > 0 && top[0].start.Before(l.end) {
			if free := l; l.start.Before(top[0].start) {
				free.end = top[0].start
				laid = append(laid, free)
			}
			l.start = later(l.start, top[0].end)
			if top[0].end.After(l.end) {
				break // it may cover what follows, too
			}
			laid, top = append(laid, top[0]), top[1:]
		}
		if !l.empty() {
			laid = append(laid, l)
		}
	}
	return append(laid, top...)
}

// pieces returns what the layer has in the window: its turns, where they are
// not masked and not empty.
func (k *track) pieces(window span) []piece {
	window = k.within(window)
	if window.empty() {
		return nil
	}
	clock := civil.NewClock(k.zone)
	open := []span{window}
	if m := mask(k.layer.Restrictions); len(m) > 0 {
		open = m.stretches(window, &clock)
	}
	var all []piece
	for u := k.layer.Rotation.at(window.start, &clock); u.start.Before(window.end); u = k.layer.Rotation.after(u, &clock) {
		place := k.layer.place(u.number)
		user := k.layer.Participants[place]
		for len(open) > 0 && open[0].start.Before(u.end) {
			if s := open[0].within(span{u.start, u.end}); user != "" && !s.empty() {
				all = append(all, piece{span: s, user: user, track: k, place: place})
			}
			if open[0].end.After(u.end) {
				break // the next turn is in it, too
			}
			open = open[1:]
		}
	}
	return all
}

// joined makes shifts of pieces.
func joined(pieces []piece) []Shift {
	var shifts []Shift
	for _, p := range pieces {
		if p.user == "" {
			continue
		}
		next := p.shift()
		if n := len(shifts); n > 0 && shifts[n-1].End.Equal(next.Start) && shifts[n-1].same(next) {
			shifts[n-1].End = next.End
			continue
		}
		shifts = append(shifts, next)
	}
	return shifts
}

// Horizon is how far from an instant is looked for a shift or a hand-off.
const Horizon = 400 * 24 * time.Hour

// Whole returns the shift that contains t as Render joins it, uncut: from where
// it began to where it ends, if that is within the Horizon. False: a gap.
func (r *Resolver) Whole(t time.Time) (Shift, bool) {
	s := r.At(t)
	if s.Gap() {
		return Shift{}, false
	}
	for reach := 24 * time.Hour; ; reach *= 8 {
		reach = min(reach, Horizon)
		from, to := t.Add(-reach), t.Add(reach)
		for _, whole := range r.Render(from, to) {
			if whole.contains(t) {
				s = whole
				break
			}
		}
		if reach == Horizon || s.Start.After(from) && s.End.Before(to) {
			return s, true
		}
	}
}

// Next returns the user's first shift that begins after t, whole, if one does
// within the Horizon.
func (r *Resolver) Next(user roster.UserID, t time.Time) (Shift, bool) {
	for reach := 24 * time.Hour; ; reach *= 8 {
		reach = min(reach, Horizon)
		for _, s := range r.Render(t, t.Add(reach)) {
			if s.User == user && s.Start.After(t) {
				return r.Whole(s.Start)
			}
		}
		if reach == Horizon {
			return Shift{}, false
		}
	}
}
