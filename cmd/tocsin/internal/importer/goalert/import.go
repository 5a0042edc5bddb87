package goalert

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/tocsin/internal/importer"
	"github.com/tocsin-oncall/tocsin/server/directory"
)

// Import reads answers of GoAlert's API and makes a document of them. What is
// over before the window begins is left out.
func Import(files []importer.File, w importer.Window) (*importer.Import, error) {
	m := &mapping{Draft: importer.NewDraft("GoAlert", w), rotations: map[string]*turns{}}
	d, err := read(files, m.Note)
	if err != nil {
		return nil, err
	}
	m.data = d
	for _, u := range d.Users.Nodes {
		if u.Email != "" {
			m.People.New(u.ID, u.Name)
		}
	}
	for _, r := range d.Rotations.Nodes {
		t, err := r.compile(w.From)
		if err != nil {
			return nil, err
		}
		m.rotations[r.ID] = t
	}
	m.people()
	for _, s := range d.Rotas.Nodes {
		if err := m.schedule(s); err != nil {
			return nil, err
		}
	}
	for _, p := range d.Policies.Nodes {
		if err := m.policy(p); err != nil {
			return nil, err
		}
	}
	for _, s := range d.Services.Nodes {
		m.service(s)
	}
	return m.Import, nil
}

// mapping is an import under way.
type mapping struct {
	*importer.Draft
	data      *data
	rotations map[string]*turns
}

func (m *mapping) people() {
	for _, u := range m.data.Users.Nodes {
		about := fmt.Sprintf("person %s (%s)", u.Name, u.ID)
		p := m.Person(about, u.ID, u.Name, u.Email, "")
		if p == nil {
			continue
		}
		if role := "admin"; u.Role == role {
			p.Role = &role
		}
		known := map[string]string{}
		var ids importer.IDs
		ids.Reserve("push")
		for _, c := range u.Methods {
			switch address := c.email(); {
			case address == "":
				m.Note(about, fmt.Sprintf("the contact method %q is of the kind %s, which tocsin does not have", c.Name, cmp.Or(c.Dest.Type, c.Type)), "enrol a phone with tocsin enrol "+p.ID+"; its pages sound through silence")
			case c.Disabled || c.Pending:
				m.Note(about, fmt.Sprintf("the address %q is not proven or switched off", c.Name), "prove it here, or leave it")
			default:
				id := strings.TrimRight(fmt.Sprintf("%.40s", ids.New(c.ID, "mail "+c.Name)), "-")
				known[c.ID] = id
				p.Methods = append(p.Methods, directory.MethodDoc{ID: id, Kind: "email", Address: address, Verified: true})
			}
		}
		for _, r := range u.Rules {
			id, ok := known[r.Method]
			if !ok {
				m.Note(about, fmt.Sprintf("the step after %d minutes goes out by a way that is not carried over", r.Delay), "add a step by push or e-mail in its place")
				continue
			}
			step := directory.StepDoc{Method: id}
			if r.Delay > 0 {
				step.Delay = importer.Lasting(time.Duration(r.Delay) * time.Minute)
			}
			p.High = append(p.High, step)
		}
	}
}

// schedule carries over one schedule: each target of its rules is a layer.
func (m *mapping) schedule(s rota) error {
	about := fmt.Sprintf("schedule %s (%s)", s.Name, s.ID)
	zone, err := time.LoadLocation(s.TimeZone)
	if err != nil || s.TimeZone == "" {
		return fmt.Errorf("%s: timeZone: %q is not known", about, s.TimeZone)
	}
	var overrides []override
	for _, o := range m.data.Overrides.Nodes {
		if o.Target.ID == s.ID && o.Start.Before(o.End) {
			overrides = append(overrides, o)
		}
	}
	var layers []directory.LayerDoc
	for i, t := range s.Targets {
		for _, r := range t.Rules {
			if err := r.check(); err != nil {
				return fmt.Errorf("%s: targets[%d].rules: %w", about, i, err)
			}
		}
		l, sources, ok := m.layer(about, t.Target, s.TimeZone, t.Rules)
		if ok {
			l.ID = fmt.Sprintf("%.40s-%d", importer.Slug(cmp.Or(l.Name, t.Target.Type)), i+1)
			layers = append(layers, m.cut(about, l, sources, s.Temporary, overrides)...)
		}
	}
	layers = append(layers, m.added(about, s.Temporary, overrides)...)
	var shown []importer.Shift
	for _, x := range s.Shifts {
		shown = append(shown, importer.Shift{Start: x.Start, End: x.End, User: x.User})
	}
	return m.Lay(s.ID, s.Name, directory.ScheduleDoc{TimeZone: s.TimeZone}, layers, s.shifts(m.rotations, overrides, zone, m.Window), shown)
}

// layer carries over one target with the hours of its rules, without its
// participants, whom it returns as GoAlert knows them.
func (m *mapping) layer(about string, t target, zone string, rules []rule) (l directory.LayerDoc, sources []string, ok bool) {
	switch r := m.rotations[t.ID]; {
	case t.Type == "user":
		l.Name, sources = t.Name, []string{t.ID}
		l.Rotation = directory.RotationDoc{Unit: "weeks", Handoff: "2026-01-05T00:00"}
	case t.Type == "rotation" && r != nil && len(r.Users) > 0:
		l.Name, l.Rotation, sources = r.Name, r.doc(), r.fromFirst()
		if r.Type == "monthly" && r.first.Time().Day() > 28 {
			m.Note(about, fmt.Sprintf("the rotation %s hands over on the %d. of the month; in shorter months GoAlert does it some days into the next one, and tocsin on the last day", r.Name, r.first.Time().Day()), "nothing, if these days do not matter; they are in the comparison")
		}
		if r.TimeZone != zone {
			l.TimeZone = r.TimeZone
			if slices.ContainsFunc(rules, func(r rule) bool { return !r.always() }) {
				l.TimeZone = ""
				l.Rotation.Handoff = importer.WallOf(r.begin(0), zoneOf(zone)).String()
				m.Note(about, fmt.Sprintf("the rotation %s is in the zone %s, and its hours are in %s; here both are in the latter", r.Name, r.TimeZone, zone), "look at the comparison around changes of clocks")
			}
		}
	default:
		m.Note(about, fmt.Sprintf("the %s %s is empty or not in the export", t.Type, cmp.Or(t.Name, t.ID)), "export it, too, and import again")
		return l, nil, false
	}
	if !slices.ContainsFunc(rules, rule.always) {
		for _, r := range rules {
			if d, some := r.doc(); some {
				l.Restrictions = append(l.Restrictions, d)
			}
		}
		if len(l.Restrictions) == 0 {
			return l, nil, false // it is never active
		}
	}
	l.Name = importer.Name(l.Name, "")
	return l, sources, true
}

func zoneOf(name string) *time.Location {
	zone, err := time.LoadLocation(name)
	if err != nil {
		return time.UTC
	}
	return zone
}

// doc is the rotation as a document has it.
func (t *turns) doc() directory.RotationDoc {
	unit := map[string]string{"hourly": "hours", "daily": "days", "weekly": "weeks", "monthly": "months"}[t.Type]
	return directory.RotationDoc{Unit: unit, Length: t.Length, Handoff: t.first.String()}
}

// fromFirst turns the users so that the first one has the first turn.
func (t *turns) fromFirst() []string {
	n := int64(len(t.Users))
	at := (((int64(t.Active)-t.active)%n + n) % n)
	return slices.Concat(t.Users[at:], t.Users[:at])
}

// doc is the hours of a rule; false when it has none.
func (r rule) doc() (directory.RestrictionDoc, bool) {
	start, end := clock(r.Start), clock(r.End)
	if start >= end {
		end += 24 * time.Hour
	}
	d := directory.RestrictionDoc{Start: r.Start, Length: importer.Lasting(end - start)}
	if slices.Contains(r.Days[:], false) {
		for _, day := range []time.Weekday{1, 2, 3, 4, 5, 6, 0} {
			if r.Days[day] {
				d.Days = append(d.Days, strings.ToLower(day.String()))
			}
		}
		if len(d.Days) == 0 {
			return d, false
		}
	}
	return d, true
}
