package goalert

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/tocsin/internal/importer"
	"github.com/tocsin-oncall/tocsin/server/directory"
)

// cut makes of a layer several that follow each other, wherever a temporary
// schedule takes its place or an override puts others in place of its people.
func (m *mapping) cut(about string, l directory.LayerDoc, sources []string, interim []temporary, overrides []override) []directory.LayerDoc {
	edges := []time.Time{{}}
	for _, t := range interim {
		edges = append(edges, m.edges(t.Start, t.End)...)
	}
	for _, o := range overrides {
		if slices.Contains(sources, o.Remove) {
			edges = append(edges, m.edges(o.Start, o.End)...)
		}
	}
	slices.SortFunc(edges, time.Time.Compare)
	edges = slices.CompactFunc(edges, time.Time.Equal)
	var all []directory.LayerDoc
	for i, start := range edges {
		part, at := l, start
		if start.IsZero() {
			at = m.Window.From
		} else {
			part.Start = importer.Moment(start)
		}
		if i+1 < len(edges) {
			part.End = importer.Moment(edges[i+1])
		}
		if i > 0 {
			part.ID += "-" + strconv.Itoa(i+1)
		}
		if slices.ContainsFunc(interim, func(t temporary) bool { return within(at, t.Start, t.End) }) {
			continue
		}
		var people []string
		for _, s := range sources {
			people = append(people, instead(s, overrides, at))
		}
		if part.Participants = m.Participants(about, people); part.Participants != nil {
			all = append(all, part)
		}
	}
	return all
}

// edges are the ends of a stretch that are still to come.
func (m *mapping) edges(start, end time.Time) []time.Time {
	var all []time.Time
	for _, t := range []time.Time{start, end} {
		if t.After(m.Window.From) && start.Before(end) {
			all = append(all, t.UTC())
		}
	}
	return all
}

// added are layers for the shifts of temporary schedules, and for people whom
// overrides add.
func (m *mapping) added(about string, interim []temporary, overrides []override) []directory.LayerDoc {
	var all []directory.LayerDoc
	add := func(id, name, user string, start, end time.Time) {
		who := m.Participants(about, []string{user})
		if who == nil || !start.Before(end) || !end.After(m.Window.From) {
			return
		}
		all = append(all, directory.LayerDoc{
			ID: id, Name: name, Start: importer.Moment(start), End: importer.Moment(end),
			Rotation: directory.RotationDoc{Unit: "weeks", Handoff: "2026-01-05T00:00"}, Participants: who,
		})
	}
	const done = "take its layers out of the document when it is over, and make one of the parts of others"
	for i, t := range interim {
		if !t.End.After(m.Window.From) {
			continue
		}
		m.Note(about, fmt.Sprintf("the temporary schedule from %s to %s stands as layers that begin and end", importer.Moment(t.Start), importer.Moment(t.End)), done)
		for j, x := range t.Shifts {
			start, end := x.Start, x.End
			if start.Before(t.Start) {
				start = t.Start
			}
			if end.After(t.End) {
				end = t.End
			}
			add(fmt.Sprintf("temporary-%d-%d", i+1, j+1), "Temporary", x.User, start, end)
		}
	}
	for i, o := range overrides {
		if !o.End.After(m.Window.From) {
			continue
		}
		m.Note(about, fmt.Sprintf("the override from %s to %s stands as layers that begin and end", importer.Moment(o.Start), importer.Moment(o.End)), done)
		if o.Remove != "" || o.Add == "" {
			continue // it is in the layers of who is replaced
		}
		for j, free := range outside(o, interim) {
			add(fmt.Sprintf("override-%d-%d", i+1, j+1), "Override", o.Add, free.From, free.To)
		}
	}
	return all
}

// outside is the time of an override that no temporary schedule covers.
func outside(o override, interim []temporary) []importer.Window {
	edges := []time.Time{o.Start, o.End}
	for _, t := range interim {
		for _, at := range []time.Time{t.Start, t.End} {
			if within(at, o.Start, o.End) {
				edges = append(edges, at)
			}
		}
	}
	slices.SortFunc(edges, time.Time.Compare)
	var free []importer.Window
	for i, start := range edges[:len(edges)-1] {
		if start.Before(edges[i+1]) && !slices.ContainsFunc(interim, func(t temporary) bool { return within(start, t.Start, t.End) }) {
			free = append(free, importer.Window{From: start, To: edges[i+1]})
		}
	}
	return free
}
