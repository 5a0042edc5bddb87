package pagerduty

import (
	"cmp"
	"fmt"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/tocsin/internal/importer"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// schedule carries over one schedule, and renders it by PagerDuty's rules.
func (m *mapping) schedule(r rota) error {
	about := fmt.Sprintf("schedule %s (%s)", r.Name, r.ID)
	id, _ := m.rotas.Of(r.ID)
	zone, err := time.LoadLocation(cmp.Or(r.TimeZone, "?"))
	if err != nil {
		return fmt.Errorf("%s: the time zone %q is not known; export it again with a name such as Europe/Berlin", about, r.TimeZone)
	}
	doc := directory.ScheduleDoc{ID: id, Name: importer.Name(r.Name, id), Team: m.team(about, r.Teams), TimeZone: r.TimeZone}
	if len(r.Layers) == 0 {
		m.out.Note(about, "the export has no layers of it", "fetch /schedules/"+r.ID+", or the list with include[]=schedule_layers, and import again")
	}
	for i, l := range r.Layers {
		if err := l.check(); err != nil {
			return fmt.Errorf("%s: schedule_layers[%d].%w", about, i, err)
		}
	}
	covers := m.covers(about, r.ID)
	for i, o := range covers {
		doc.Layers = append(doc.Layers, m.override(about, o, zone, len(r.Layers)+i+1))
	}
	for i, l := range r.Layers {
		if layer, ok := m.layer(about, l, zone, len(r.Layers)-i); ok {
			doc.Layers = append(doc.Layers, layer)
		}
	}
	m.out.Document.Schedules = append(m.out.Document.Schedules, doc)
	m.out.Schedules = append(m.out.Schedules, importer.Schedule{
		ID: r.ID, Name: r.Name, Here: []string{id},
		There: m.here(r.shifts(m.account.covers[r.ID], zone, m.window)), Shown: m.here(r.Final.shifts()),
	})
	return nil
}

func (f rendered) shifts() []importer.Shift {
	var all []importer.Shift
	for _, e := range f.Entries {
		all = append(all, importer.Shift{Start: e.Start, End: e.End, User: e.User.ID})
	}
	return all
}

// here names people as they are named in the document; those who are not in it
// keep the id of PagerDuty, and so show as a difference.
func (m *mapping) here(shifts []importer.Shift) []importer.Shift {
	for i, s := range shifts {
		if id, ok := m.users.Of(s.User); ok {
			shifts[i].User = id
		}
	}
	return shifts
}

// covers are the overrides that are not over, as many as there is room for.
func (m *mapping) covers(about, id string) []override {
	const most = schedule.MaxLayers / 2
	var all []override
	for _, o := range m.account.covers[id] {
		_, known := m.users.Of(o.User.ID)
		switch {
		case !o.End.After(m.window.From) || !o.Start.Before(o.End):
		case !known:
			m.out.Note(about, fmt.Sprintf("the override from %s is for %s, who is not in the export", o.Start.UTC().Format(time.RFC3339), o.User.label()), "fetch /users and import again")
		case len(all) == most:
			m.out.Note(about, fmt.Sprintf("the override from %s for %s is one of more than %d", o.Start.UTC().Format(time.RFC3339), o.User.label(), most), "make it by hand")
		default:
			all = append(all, o)
		}
	}
	return all
}

// override is a layer of its own: a document has no overrides, which people make by hand.
func (m *mapping) override(about string, o override, zone *time.Location, priority int) directory.LayerDoc {
	who, _ := m.users.Of(o.User.ID)
	m.out.Note(about, fmt.Sprintf("the override from %s to %s for %s stands as a layer of its own", o.Start.UTC().Format(time.RFC3339), o.End.UTC().Format(time.RFC3339), who),
		"take the layer out of the document when it is over")
	return directory.LayerDoc{
		ID: shortID("override-" + importer.Slug(o.ID)), Name: "Override", Priority: priority, Start: o.Start.UTC().Format(time.RFC3339), End: o.End.UTC().Format(time.RFC3339),
		Rotation: directory.RotationDoc{Unit: "weeks", Handoff: importer.WallOf(o.Start, zone).String()}, Participants: []string{who},
	}
}

// layer carries over one layer; false when nothing of it can be.
func (m *mapping) layer(about string, l layer, zone *time.Location, priority int) (directory.LayerDoc, bool) {
	about = fmt.Sprintf("%s, layer %s (%s)", about, cmp.Or(l.Name, "without a name"), l.ID)
	if !l.End.IsZero() && !l.End.After(m.window.From) {
		return directory.LayerDoc{}, false // over
	}
	unit, length := turnOf(l.Turn)
	if unit == "" {
		m.out.Note(about, fmt.Sprintf("a turn of %d seconds cannot be counted in hours up to %d", l.Turn, schedule.MaxTurn), "make the layer by hand")
		return directory.LayerDoc{}, false
	}
	doc := directory.LayerDoc{
		ID: shortID(cmp.Or(importer.Slug(l.ID), fmt.Sprintf("layer-%d", priority))), Name: importer.Name(l.Name, ""), Priority: priority,
		Rotation: directory.RotationDoc{Unit: unit, Length: length, Handoff: importer.WallOf(l.First, zone).String()},
	}
	if l.First.Second() != 0 {
		m.out.Note(about, "hands over at "+l.First.Format(time.RFC3339)+"; hand-offs here are at whole minutes", "nothing, if some seconds do not matter")
	}
	if l.Start.After(m.window.From) {
		doc.Start = l.Start.UTC().Format(time.RFC3339)
	}
	if !l.End.IsZero() {
		doc.End = l.End.UTC().Format(time.RFC3339)
	}
	if !m.participants(about, &doc, l) {
		return doc, false
	}
	for _, h := range l.Hours {
		if r, ok := hoursOf(h); ok {
			doc.Restrictions = append(doc.Restrictions, r)
		} else {
			m.out.Note(about, fmt.Sprintf("the restriction from %s for %d seconds is not one of whole minutes within a day or a week", h.Start, h.Length), "set the hours of the layer by hand")
		}
	}
	if len(l.Hours) > 0 && len(doc.Restrictions) == 0 {
		return doc, false // without hours it would always count
	}
	return doc, true
}

func (m *mapping) participants(about string, doc *directory.LayerDoc, l layer) bool {
	some := false
	for _, u := range l.Users {
		who, ok := m.users.Of(u.User.ID)
		if !ok {
			m.out.Note(about, u.User.label()+" has turns and is not in the export", "fetch /users and import again, or give the turns to somebody; until then they are nobody's")
		}
		some = some || ok
		doc.Participants = append(doc.Participants, who)
	}
	if !some {
		m.out.Note(about, "has nobody who is carried over", "make the layer by hand")
	}
	return some
}

// turnOf says a length in the largest unit that it is whole in; "" for none.
func turnOf(seconds int64) (unit string, length int) {
	const hour = 60 * 60
	for _, u := range []struct {
		name    string
		seconds int64
	}{{"weeks", 7 * 24 * hour}, {"days", 24 * hour}, {"hours", hour}} {
		if n := seconds / u.seconds; n > 0 && seconds%u.seconds == 0 && n <= schedule.MaxTurn {
			return u.name, int(n)
		}
	}
	return "", 0
}

// hoursOf carries over one restriction; false when it has no form here.
func hoursOf(h restriction) (directory.RestrictionDoc, bool) {
	start, err := time.Parse(time.TimeOnly, h.Start)
	length := time.Duration(h.Length) * time.Second
	longest := 24 * time.Hour
	doc := directory.RestrictionDoc{Start: start.Format("15:04"), Length: importer.Lasting(length)}
	if h.Type == "weekly_restriction" {
		longest *= 7
		if h.Day < 1 || h.Day > 7 {
			return doc, false
		}
		doc.Days = []string{dayName(h.Day)}
	}
	return doc, err == nil && start.Second() == 0 && length > 0 && length <= longest && length%time.Minute == 0
}

// dayName is the name of a day from 1 for Monday to 7 for Sunday.
func dayName(day int) string {
	return [...]string{"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}[day-1]
}
