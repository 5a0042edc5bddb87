package importer

import (
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// Difference is a stretch in which the two sides have other people on call.
type Difference struct {
	Start, End  time.Time // [Start, End)
	There, Here []string  // ids here, in order; empty: nobody
}

// Parity is the comparison of one schedule.
type Parity struct {
	Schedule
	Shifts      int          // of the source in the window
	Differences []Difference // between the source's rules and ours
	Misread     []Difference // between the source's own rendering and the source's rules as they are known here
}

// Equal reports whether both sides, and all that is known of them, are the same.
func (p Parity) Equal() bool {
	return p.Unsure == "" && len(p.Differences) == 0 && len(p.Misread) == 0
}

// Compare holds the shifts of the source against those of the document. The
// document is written and read again first: what is compared is what will be applied.
func (im *Import) Compare(w Window) ([]Parity, error) {
	text, err := im.Document.YAML()
	if err != nil {
		return nil, err
	}
	doc, _, err := directory.ParseDocument(text)
	if err != nil {
		return nil, err
	}
	turns, err := doc.Turns()
	if err != nil {
		return nil, err
	}
	var all []Parity
	for _, s := range im.Schedules {
		var here []Shift
		for _, id := range s.Here {
			if r := turns[schedule.ID(id)]; r != nil {
				for _, x := range r.Stints(w.From, w.To) {
					here = append(here, Shift{x.Start, x.End, string(x.User)})
				}
			}
		}
		p := Parity{Schedule: s, Shifts: len(within(s.There, w)), Differences: Differences(s.There, here, w)}
		if shown := within(s.Shown, w); len(shown) > 0 {
			p.Misread = Differences(shown, s.There, span(shown))
		}
		all = append(all, p)
	}
	return all, nil
}

// Differences returns where two sets of shifts have other people on call.
func Differences(there, here []Shift, w Window) []Difference {
	edges := []time.Time{w.From, w.To}
	for _, s := range slices.Concat(within(there, w), within(here, w)) {
		edges = append(edges, s.Start, s.End)
	}
	slices.SortFunc(edges, time.Time.Compare)
	var all []Difference
	for i, start := range edges[:len(edges)-1] {
		end := edges[i+1]
		if !start.Before(end) {
			continue
		}
		d := Difference{start, end, holders(there, start), holders(here, start)}
		if slices.Equal(d.There, d.Here) {
			continue
		}
		if n := len(all); n > 0 && all[n-1].End.Equal(start) && slices.Equal(all[n-1].There, d.There) && slices.Equal(all[n-1].Here, d.Here) {
			all[n-1].End = end
			continue
		}
		all = append(all, d)
	}
	return all
}

// holders returns who is on call at an instant, each once.
func holders(shifts []Shift, at time.Time) []string {
	var who []string
	for _, s := range shifts {
		if !at.Before(s.Start) && at.Before(s.End) && s.User != "" {
			who = append(who, s.User)
		}
	}
	slices.Sort(who)
	return slices.Compact(who)
}

// within cuts shifts to a window.
func within(shifts []Shift, w Window) []Shift {
	var cut []Shift
	for _, s := range shifts {
		if s.Start.Before(w.From) {
			s.Start = w.From
		}
		if s.End.After(w.To) {
			s.End = w.To
		}
		if s.Start.Before(s.End) {
			cut = append(cut, Shift{s.Start.UTC(), s.End.UTC(), s.User})
		}
	}
	return cut
}

// span is the time from the first beginning to the last end.
func span(shifts []Shift) Window {
	w := Window{shifts[0].Start, shifts[0].End}
	for _, s := range shifts {
		if s.Start.Before(w.From) {
			w.From = s.Start
		}
		if s.End.After(w.To) {
			w.To = s.End
		}
	}
	return w
}

// Sweep builds shifts from a function that says who is on call at an instant,
// and the instants at which that may change. Neighbours with the same person
// are one shift.
func Sweep(w Window, edges []time.Time, at func(time.Time) []string) []Shift {
	edges = append(slices.Clone(edges), w.From, w.To)
	slices.SortFunc(edges, time.Time.Compare)
	var all []Shift
	open := map[string]int{} // by person: the shift that still goes on
	for i, start := range edges[:len(edges)-1] {
		end := edges[i+1]
		if !start.Before(end) || start.Before(w.From) || end.After(w.To) {
			continue
		}
		still := map[string]int{}
		for _, who := range at(start) {
			n, ok := open[who]
			if !ok {
				all = append(all, Shift{Start: start.UTC(), User: who})
				n = len(all) - 1
			}
			all[n].End = end.UTC()
			still[who] = n
		}
		open = still
	}
	return all
}
