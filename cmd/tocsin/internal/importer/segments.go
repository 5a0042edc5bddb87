package importer

import (
	"slices"
	"strconv"
	"time"

	"github.com/tocsin-oncall/tocsin/server/directory"
)

// Outside makes of a layer several that follow each other, with holes where
// something else takes its place. What is over before from does not count.
func Outside(l directory.LayerDoc, closed []Window, from time.Time) []directory.LayerDoc {
	edges := []time.Time{{}}
	for _, c := range closed {
		for _, at := range []time.Time{c.From, c.To} {
			if at.After(from) && c.From.Before(c.To) {
				edges = append(edges, at.UTC())
			}
		}
	}
	slices.SortFunc(edges, time.Time.Compare)
	edges = slices.CompactFunc(edges, time.Time.Equal)
	var all []directory.LayerDoc
	for i, start := range edges {
		part, at := l, start
		if start.IsZero() {
			at = from
		} else if part.Start == "" || part.Start < Moment(start) {
			part.Start = Moment(start)
		}
		if i+1 < len(edges) && (part.End == "" || Moment(edges[i+1]) < part.End) {
			part.End = Moment(edges[i+1])
		}
		if i > 0 {
			part.ID += "-" + strconv.Itoa(i+1)
		}
		hidden := slices.ContainsFunc(closed, func(c Window) bool { return !at.Before(c.From) && at.Before(c.To) })
		if !hidden && (part.Start == "" || part.End == "" || part.Start < part.End) {
			all = append(all, part)
		}
	}
	return all
}
