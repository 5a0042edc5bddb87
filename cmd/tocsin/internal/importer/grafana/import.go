package grafana

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/tocsin/internal/importer"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Import reads answers of Grafana OnCall's API and makes a document of them.
// What is over before the window begins is left out.
func Import(files []importer.File, w importer.Window) (*importer.Import, error) {
	m := &mapping{Draft: importer.NewDraft("Grafana OnCall", w)}
	a, err := read(files, m.Note)
	if err != nil {
		return nil, err
	}
	m.account = a
	for _, u := range a.users {
		if u.Email != "" {
			m.People.New(u.ID, cmp.Or(u.Username, u.Email))
		}
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
	for _, c := range a.chains {
		m.chain(c)
	}
	for _, in := range a.integrations {
		m.integration(in)
	}
	return m.Import, nil
}

// mapping is an import under way.
type mapping struct {
	*importer.Draft
	account *account
}

func (m *mapping) people() {
	for _, u := range m.account.users {
		about := fmt.Sprintf("person %s (%s)", u.Username, u.ID)
		p := m.Person(about, u.ID, u.Username, u.Email, u.TimeZone)
		if p == nil {
			continue
		}
		if role := map[string]string{"admin": "admin", "viewer": "stakeholder"}[u.Role]; role != "" {
			p.Role = &role
		}
		p.Methods = []directory.MethodDoc{{ID: "mail", Kind: "email", Address: u.Email, Verified: true}}
		p.High = m.steps(about, u.ID)
	}
}

// steps carries over the default rules of a person. Rules for important steps
// of a chain have no counterpart: how loud a page is, its urgency says here.
func (m *mapping) steps(about, user string) []directory.StepDoc {
	rules := slices.Clone(m.account.tellings)
	rules = slices.DeleteFunc(rules, func(t telling) bool { return t.User != user })
	if slices.ContainsFunc(rules, func(t telling) bool { return t.Important }) {
		m.Note("people", "personal rules for important notifications are not carried over", "the default rules are; whoever wants to be woken louder sets loud on a step")
	}
	rules = slices.DeleteFunc(rules, func(t telling) bool { return t.Important })
	if len(rules) == 0 {
		m.Note("people", "not everybody has personal notification rules in the export", "fetch /personal_notification_rules; without them people are told by the default steps")
		return nil
	}
	slices.SortStableFunc(rules, func(a, b telling) int { return cmp.Compare(a.Position, b.Position) })
	var ways []importer.Way
	var after time.Duration
	for _, t := range rules {
		if t.Type == "wait" {
			wait := 5 * time.Minute
			if t.Wait != nil {
				wait = time.Duration(min(max(*t.Wait, 0), 86400)) * time.Second
			}
			after += wait
			continue
		}
		ways = append(ways, importer.Way{By: t.Type, After: after, Loud: t.Type == "notify_by_mobile_app_critical"})
	}
	push := string(roster.PushAll)
	return m.Steps(about, ways, map[string]string{"notify_by_email": "mail", "notify_by_mobile_app": push, "notify_by_mobile_app_critical": push})
}

func (m *mapping) teams() {
	for _, t := range m.account.teams {
		id, _ := m.Teams.Of(t.ID)
		doc := directory.TeamDoc{ID: id, Name: importer.Name(t.Name, id)}
		for _, u := range m.account.users {
			if who, ok := m.People.Of(u.ID); ok && slices.Contains(u.Teams, t.ID) {
				doc.Members = append(doc.Members, who)
			}
		}
		m.Document.Teams = append(m.Document.Teams, doc)
	}
}

func (m *mapping) schedule(s rota) error {
	about := fmt.Sprintf("schedule %s (%s)", s.Name, s.ID)
	zone := cmp.Or(s.TimeZone, "UTC")
	if _, err := time.LoadLocation(zone); err != nil {
		return fmt.Errorf("%s: time_zone: %q is not known", about, zone)
	}
	base := directory.ScheduleDoc{TimeZone: zone}
	base.Team, _ = m.Teams.Of(s.Team)
	unsure := ""
	if s.Type == "ical" {
		unsure = "it is read from a calendar, which is not in the export"
		m.Note(about, "is made of a calendar's address", "make its layers by hand; calendars are not read as schedules")
	}
	if s.Calendar != "" {
		unsure = "its overrides are read from a calendar, which is not in the export"
		m.Note(about, "has overrides from a calendar's address", "make them by hand")
	}
	var layers []directory.LayerDoc
	var there []held
	for _, id := range s.Shifts {
		n := slices.IndexFunc(m.account.shifts, func(x shift) bool { return x.ID == id })
		if n < 0 {
			unsure = "not all of its shifts are in the export"
			m.Note(about, "the shift "+id+" is not in the export", "fetch /on_call_shifts and import again")
			continue
		}
		x := m.account.shifts[n]
		if err := x.check(); err != nil {
			return fmt.Errorf("%s: shift %s: %w", about, id, err)
		}
		name := "UTC" // the shifts of web schedules that have no zone are in UTC, whatever the schedule's is
		if s.Type == "calendar" {
			name = zone
		}
		if x.TimeZone != nil && *x.TimeZone != "" {
			name = *x.TimeZone
		}
		at, err := time.LoadLocation(name)
		if err != nil {
			return fmt.Errorf("%s: shift %s: time_zone: %q is not known", about, id, name)
		}
		if what := x.unknown(); what != "" {
			unsure = "a shift is by rules that are not known here"
			m.Note(about, fmt.Sprintf("the shift %s is by %s, which is not read", cmp.Or(x.Name, id), what), "make it by hand")
			continue
		}
		there = append(there, x.held(at, m.Window)...)
		if name == zone {
			name = ""
		}
		layers = append(layers, m.layers(about, x, at, name, len(layers))...)
	}
	var shown []importer.Shift
	for _, f := range m.account.final[s.ID] {
		shown = append(shown, importer.Shift{Start: f.Start, End: f.End, User: f.User})
	}
	if err := m.Lay(s.ID, s.Name, base, layers, render(there, m.Window), shown); err != nil {
		return err
	}
	m.Schedules[len(m.Schedules)-1].Unsure = unsure
	return nil
}

// chain carries over an escalation chain: what is told between two waits is a level.
func (m *mapping) chain(c chain) {
	about := fmt.Sprintf("escalation chain %s (%s)", c.Name, c.ID)
	doc := directory.PolicyDoc{Name: c.Name}
	doc.Team, _ = m.Teams.Of(c.Team)
	steps := slices.DeleteFunc(slices.Clone(m.account.steps), func(s step) bool { return s.Chain != c.ID })
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.Position, b.Position) })
	var targets []string
	strategy := ""
	for _, s := range steps {
		switch s.Type {
		case "wait":
			wait := 5 * time.Minute
			if s.Wait != nil {
				wait = time.Duration(min(max(*s.Wait, 0), 86400)) * time.Second
			}
			if len(targets) == 0 {
				m.Note(about, "waits "+importer.Lasting(wait)+" before it tells anybody (more)", "here a level is asked at once; let the monitor wait")
				continue
			}
			m.Level(about, &doc, targets, wait, strategy)
			targets, strategy = nil, ""
		case "repeat_escalation":
			doc.Loops = 5
		case "notify_persons":
			targets = append(targets, m.persons(about, s.Persons)...)
		case "notify_person_next_each_time":
			targets, strategy = append(targets, m.persons(about, s.Next)...), "round_robin"
		case "notify_on_call_from_schedule":
			rota := m.Rota(s.Rota)
			if len(rota) == 0 {
				m.Note(about, "asks the schedule "+s.Rota+", which is not carried over", "export it, too, or put somebody in its place")
			}
			targets = append(targets, rota...)
		case "notify_team_members":
			if id, ok := m.Teams.Of(s.Team); ok {
				targets = append(targets, "teams/"+id)
			}
		default:
			m.Note(about, "has a step of the type "+s.Type, "it has no place here; see whether it is needed")
		}
	}
	if len(targets) > 0 {
		m.Level(about, &doc, targets, 5*time.Minute, strategy)
	}
	m.Policy(c.ID, doc)
}

func (m *mapping) persons(about string, ids []string) []string {
	var all []string
	for _, id := range ids {
		if who, ok := m.People.Of(id); ok {
			all = append(all, who)
		} else {
			m.Note(about, "asks "+id+", who is not in the export", "export people, too, or put somebody in his place")
		}
	}
	return all
}

// integration is a service with one integration: that is what alerts go to there.
func (m *mapping) integration(in integration) {
	about := fmt.Sprintf("integration %s (%s)", in.Name, in.ID)
	policy, ok := m.Policies.Of(in.Default.Chain)
	if !ok {
		m.Note(about, "its default route has no escalation chain that is carried over", "make the service by hand")
		return
	}
	id := m.Services.New(in.ID, in.Name)
	doc := directory.ServiceDoc{ID: id, Name: importer.Name(in.Name, id), Policy: policy}
	doc.Team, _ = m.Teams.Of(in.Team)
	source := map[string]string{"alertmanager": "alertmanager", "grafana_alerting": "alertmanager", "webhook": "generic"}[in.Type]
	if source == "" {
		m.Note(about, "is of the type "+in.Type, "add an integration of a kind that tocsin has (alertmanager, pagerduty, generic)")
	} else {
		doc.Integrations = []directory.IntegrationDoc{{ID: m.Keys.New(in.ID, in.Name), Source: source}}
		m.Note(about, "gets a new key, and of its routes only the default one is carried over", "give the monitor the address with the key that tocsin apply shows; make a service for each of the other routes")
	}
	m.Document.Services = append(m.Document.Services, doc)
}
