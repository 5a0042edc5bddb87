package opsgenie

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/tocsin/internal/importer"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Import reads answers of Opsgenie's API and makes a document of them. What is
// over before the window begins is left out.
func Import(files []importer.File, w importer.Window) (*importer.Import, error) {
	m := &mapping{Draft: importer.NewDraft("Opsgenie", w), users: map[string]string{}}
	a, err := read(files, m.Note)
	if err != nil {
		return nil, err
	}
	m.account = a
	for _, u := range a.users {
		if strings.Contains(u.Username, "@") {
			m.People.New(u.ID, cmp.Or(u.FullName, u.Username))
		}
		m.users[u.Username] = u.ID
	}
	for _, t := range a.teams {
		m.Teams.New(t.ID, t.Name)
	}
	m.people()
	m.teams()
	for _, s := range a.rotas {
		if err := m.schedule(s); err != nil {
			return nil, err
		}
	}
	for _, e := range a.escalations {
		m.escalation(e)
	}
	for _, s := range a.services {
		m.service(s)
	}
	return m.Import, nil
}

// mapping is an import under way.
type mapping struct {
	*importer.Draft
	account *account
	users   map[string]string // id by user name
}

func (m *mapping) people() {
	for _, u := range m.account.users {
		about := fmt.Sprintf("person %s (%s)", u.FullName, u.ID)
		p := m.Person(about, u.ID, u.FullName, u.Username, u.TimeZone)
		if p == nil {
			continue
		}
		if role := "admin"; u.Role.Name == "Owner" || u.Role.Name == "Admin" {
			p.Role = &role
		}
		if u.Blocked {
			p.Inactive = &u.Blocked
		}
		if len(u.Contacts) == 0 {
			m.Note(about, "the export has no contact methods", "fetch users/{id} with expand=contact; until then the user name counts as the address")
			p.Methods = []directory.MethodDoc{{ID: "mail", Kind: "email", Address: u.Username, Verified: true}}
		}
		for _, c := range u.Contacts {
			switch {
			case !c.Enabled:
			case c.Method == "email":
				id := "mail"
				if n := len(p.Methods); n > 0 {
					id = fmt.Sprintf("mail-%d", n+1)
				}
				p.Methods = append(p.Methods, directory.MethodDoc{ID: id, Kind: "email", Address: c.To, Verified: true})
			default:
				m.Note(about, fmt.Sprintf("the contact method of the kind %s is not one that tocsin has", c.Method), "enrol a phone with tocsin enrol "+p.ID+"; its pages sound through silence")
			}
		}
		m.steps(about, p, u.ID)
	}
}

// steps carries over what somebody is told by when an alert is created.
func (m *mapping) steps(about string, p *directory.PersonDoc, id string) {
	methods := map[string]string{"mobile": string(roster.PushAll)}
	for _, x := range p.Methods {
		methods["email "+x.Address] = x.ID
	}
	var ways []importer.Way
	for _, t := range m.account.tellings[id] {
		if !t.Enabled || t.Action != "create-alert" {
			continue
		}
		for _, s := range t.Steps {
			if !s.Enabled {
				continue
			}
			by := s.Contact.Method
			if by == "email" {
				by += " " + s.Contact.To
			}
			ways = append(ways, importer.Way{By: by, After: s.After.lasts()})
		}
	}
	if len(ways) == 0 {
		m.Note("people", "not everybody has notification rules for new alerts in the export", "fetch users/{id}/notification-rules/{rule} into rules-{id}.json; without them people are told by the default steps")
		return
	}
	p.High = m.Steps(about, ways, methods)
}

func (m *mapping) teams() {
	for _, t := range m.account.teams {
		id, _ := m.Teams.Of(t.ID)
		doc := directory.TeamDoc{ID: id, Name: importer.Name(t.Name, id)}
		about := fmt.Sprintf("team %s (%s)", t.Name, t.ID)
		if len(t.Members) == 0 {
			m.Note(about, "the export has no members of it", "fetch teams/"+t.ID+" and import again")
		}
		for _, x := range t.Members {
			who, ok := m.People.Of(m.person(x.User))
			if ok && !slices.Contains(doc.Members, who) {
				doc.Members = append(doc.Members, who)
			}
			if ok && x.Role == "admin" && !slices.Contains(doc.Managers, who) {
				doc.Managers = append(doc.Managers, who)
			}
		}
		m.Document.Teams = append(m.Document.Teams, doc)
	}
}

// person returns the id of somebody who may be named by his user name.
func (m *mapping) person(n named) string {
	return cmp.Or(n.ID, m.users[n.Username], n.Username)
}

// key is how a participant is known: that of a person, or what is in his place.
func (m *mapping) key(n named) string {
	switch n.Type {
	case "user", "":
		return m.person(n)
	case "none":
		return ""
	default:
		return n.Type + " " + cmp.Or(n.Name, n.ID)
	}
}

func (m *mapping) schedule(s rota) error {
	about := fmt.Sprintf("schedule %s (%s)", s.Name, s.ID)
	if s.Enabled != nil && !*s.Enabled {
		m.Note(about, "is switched off", "it is left out; switch it on there and import again")
		return nil
	}
	zone, err := time.LoadLocation(cmp.Or(s.TimeZone, "?"))
	if err != nil {
		return fmt.Errorf("%s: timezone: %q is not known", about, s.TimeZone)
	}
	base := directory.ScheduleDoc{TimeZone: s.TimeZone}
	if s.Owner != nil {
		base.Team, _ = m.Teams.Of(s.Owner.ID)
	}
	overrides := slices.DeleteFunc(slices.Concat(s.Overrides, m.account.overrides[s.ID]), func(o override) bool { return !o.Start.Before(o.End) })
	var layers []directory.LayerDoc
	for i, r := range s.Rotations {
		if err := r.check(); err != nil {
			return fmt.Errorf("%s: rotations[%d].%w", about, i, err)
		}
		if l, ok := m.layer(about, r, zone, i); ok {
			var closed []importer.Window
			for _, o := range overrides {
				if o.replaces(r) {
					closed = append(closed, importer.Window{From: o.Start, To: o.End})
				}
			}
			layers = append(layers, importer.Outside(l, closed, m.Window.From)...)
		}
	}
	for i, o := range overrides {
		if !o.End.After(m.Window.From) {
			continue
		}
		m.Note(about, fmt.Sprintf("the override from %s to %s stands as a layer that begins and ends", importer.Moment(o.Start), importer.Moment(o.End)), "take it out of the document when it is over, and make one of the parts of the others")
		if who := m.Participants(about, []string{m.key(o.User)}); who != nil {
			layers = append(layers, directory.LayerDoc{
				ID: fmt.Sprintf("override-%d", i+1), Name: "Override", Start: importer.Moment(o.Start), End: importer.Moment(o.End),
				Rotation: directory.RotationDoc{Unit: "weeks", Handoff: importer.WallOf(o.Start, zone).String()}, Participants: who,
			})
		}
	}
	var shown []importer.Shift
	for _, r := range m.account.timelines[s.ID].Final.Rotations {
		for _, p := range r.Periods {
			shown = append(shown, importer.Shift{Start: p.Start, End: p.End, User: m.key(p.Recipient)})
		}
	}
	return m.Lay(s.ID, s.Name, base, layers, s.shifts(overrides, zone, m.Window, m.key), shown)
}

// layer carries over one rotation; false when nothing of it is to come.
func (m *mapping) layer(about string, r rotation, zone *time.Location, i int) (directory.LayerDoc, bool) {
	about += ", rotation " + cmp.Or(r.Name, r.ID)
	if !r.End.IsZero() && !r.End.After(m.Window.From) {
		return directory.LayerDoc{}, false // over
	}
	l := directory.LayerDoc{
		ID: fmt.Sprintf("%.40s-%d", cmp.Or(importer.Slug(r.Name), "rotation"), i+1), Name: importer.Name(r.Name, ""),
		Rotation: directory.RotationDoc{Unit: map[string]string{"hourly": "hours", "daily": "days", "weekly": "weeks"}[r.Type], Length: max(r.Length, 1), Handoff: importer.WallOf(r.Start, zone).String()},
	}
	if r.Start.Second() != 0 {
		m.Note(about, "hands over at "+importer.Moment(r.Start)+"; hand-offs here are at whole minutes", "nothing, if some seconds do not matter")
	}
	if r.Start.After(m.Window.From) {
		l.Start = importer.Moment(r.Start)
	}
	if !r.End.IsZero() {
		l.End = importer.Moment(r.End)
	}
	var sources []string
	for _, p := range r.Participants {
		sources = append(sources, m.key(p))
	}
	if l.Participants = m.Participants(about, sources); l.Participants == nil {
		m.Note(about, "has nobody who is carried over", "make the layer by hand; a team or an escalation cannot have turns here")
		return l, false
	}
	for _, h := range r.hours() {
		weekly := r.Hours.Type != "time-of-day"
		start, length := h.span(weekly)
		d := directory.RestrictionDoc{Length: importer.Lasting(length)}
		if weekly {
			d.Days = []string{days[start/(24*time.Hour)]}
			start %= 24 * time.Hour
		}
		d.Start = fmt.Sprintf("%02d:%02d", start/time.Hour, start%time.Hour/time.Minute)
		l.Restrictions = append(l.Restrictions, d)
	}
	return l, true
}

// escalation carries over a policy. Its rules say how long after the alert each
// of them runs; levels here say how long until the next one.
func (m *mapping) escalation(e escalation) {
	about := fmt.Sprintf("escalation %s (%s)", e.Name, e.ID)
	doc := directory.PolicyDoc{Name: e.Name}
	if e.Owner != nil {
		doc.Team, _ = m.Teams.Of(e.Owner.ID)
	}
	last := 30 * time.Minute
	if e.Repeat != nil {
		doc.Loops = m.Loops(about, e.Repeat.Count)
		if e.Repeat.Wait > 0 {
			last = time.Duration(min(e.Repeat.Wait, 60*24)) * time.Minute
		}
	}
	rules := slices.Clone(e.Rules)
	slices.SortStableFunc(rules, func(a, b rule) int { return cmp.Compare(a.Delay.lasts(), b.Delay.lasts()) })
	for i := 0; i < len(rules); {
		var targets []string
		after := rules[i].Delay.lasts()
		for ; i < len(rules) && rules[i].Delay.lasts() == after; i++ {
			targets = append(targets, m.targets(about, rules[i])...)
		}
		delay := last
		if i < len(rules) {
			delay = rules[i].Delay.lasts() - after
		}
		if len(doc.Levels) == 0 && after > 0 {
			m.Note(about, "asks the first only after "+importer.Lasting(after), "the first level is asked at once here; let the monitor wait")
		}
		m.Level(about, &doc, targets, delay, "")
	}
	m.Policy(e.ID, doc)
}

// lasts is the time, of at most a week.
func (a after) lasts() time.Duration {
	unit := map[string]time.Duration{"hours": time.Hour, "days": 24 * time.Hour}[a.Unit]
	return time.Duration(min(max(a.Amount, 0), 10_000)) * cmp.Or(unit, time.Minute)
}

// service carries over a service, which pages by the default route of its team.
func (m *mapping) service(s service) {
	about := fmt.Sprintf("service %s (%s)", s.Name, s.ID)
	routes := m.account.routes[s.Team]
	i := slices.IndexFunc(routes, func(r route) bool { return r.Default })
	if i < 0 {
		m.Note(about, "pages by the default routing rule of its team, which is not in the export", "fetch teams/"+s.Team+"/routing-rules into routing-"+s.Team+".json and import again, or make the service by hand")
		return
	}
	for _, r := range routes {
		if !r.Default {
			m.Note(about, "its team has the routing rule "+cmp.Or(r.Name, "without a name")+", too; only the default one is carried over", "make a service, or an event rule, for what it is about")
		}
	}
	policy, ok := m.route(about, routes[i].Notify)
	if !ok {
		m.Note(about, fmt.Sprintf("the default routing rule of its team leads to %s %s, which is not carried over", routes[i].Notify.Type, routes[i].Notify.Name), "make the service by hand")
		return
	}
	id := m.Services.New(s.ID, s.Name)
	doc := directory.ServiceDoc{ID: id, Name: importer.Name(s.Name, id), Policy: policy}
	doc.Team, _ = m.Teams.Of(s.Team)
	m.Note(about, "has no integration: those of Opsgenie are not read", "add one of a kind that tocsin has (alertmanager, pagerduty, generic) and point the monitor to it")
	m.Document.Services = append(m.Document.Services, doc)
}

// route is the policy that asks what a routing rule leads to. A schedule is
// asked by a policy of its own.
func (m *mapping) route(about string, to named) (policy string, ok bool) {
	if id, ok := m.Policies.Of(to.ID); ok {
		return id, true
	}
	targets := m.Rota(to.ID)
	if to.Type != "schedule" || len(targets) == 0 {
		return "", false
	}
	p := directory.PolicyDoc{Name: cmp.Or(to.Name, to.ID)}
	m.Level(about, &p, targets, 30*time.Minute, "")
	m.Policy(to.ID, p)
	return m.Policies.Of(to.ID)
}

func (m *mapping) targets(about string, r rule) []string {
	if r.Notify != "" && r.Notify != "default" && r.Notify != "all" {
		m.Note(about, fmt.Sprintf("a rule notifies %q of %s", r.Notify, cmp.Or(r.Recipient.Name, r.Recipient.Username, r.Recipient.ID)), "here it asks who is on call, or the whole team; look whether that is meant")
	}
	if r.Condition == "if-not-closed" {
		m.Note(about, "a rule goes on after an acknowledgement, until the alert is closed", "set multi_acknowledge for its level, or leave it")
	}
	var targets []string
	switch r.Recipient.Type {
	case "user":
		if id, ok := m.People.Of(m.person(r.Recipient)); ok {
			targets = []string{id}
		}
	case "schedule":
		targets = m.Rota(r.Recipient.ID)
	case "team":
		if id, ok := m.Teams.Of(r.Recipient.ID); ok {
			targets = []string{"teams/" + id}
		}
	}
	if len(targets) == 0 {
		m.Note(about, fmt.Sprintf("a rule asks the %s %s, which is not carried over", r.Recipient.Type, cmp.Or(r.Recipient.Name, r.Recipient.Username, r.Recipient.ID)), "put somebody in its place")
	}
	return targets
}
