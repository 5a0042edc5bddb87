package pagerduty

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/tocsin/internal/importer"
	"github.com/tocsin-oncall/tocsin/server/directory"
)

// Import reads answers of PagerDuty's API and makes a document of them. What is
// over before the window begins is left out.
func Import(files []importer.File, w importer.Window) (*importer.Import, error) {
	a, err := read(files)
	if err != nil {
		return nil, err
	}
	m := &mapping{account: a, window: w, out: &importer.Import{Source: "PagerDuty"}}
	for _, f := range a.partial {
		m.out.Note("file "+f, "the answer says that more pages follow", "fetch them all (offset, limit=100) and import again; people and schedules of the other pages are missing")
	}
	for _, f := range a.stray {
		m.out.Note("file "+f, "members or overrides that do not say whose they are", "name the file members-TEAM.json or overrides-SCHEDULE.json, with the id of the team or schedule")
	}
	m.names()
	m.people()
	m.allTeams()
	for _, r := range a.rotas {
		if err := m.schedule(r); err != nil {
			return nil, err
		}
	}
	for _, p := range a.policies {
		m.policy(p)
	}
	for _, s := range a.services {
		m.service(s)
	}
	return m.out, nil
}

// mapping is an import under way.
type mapping struct {
	account  *account
	window   importer.Window
	out      *importer.Import
	users    importer.IDs
	teams    importer.IDs
	rotas    importer.IDs
	policies importer.IDs
	services importer.IDs
	keys     importer.IDs // of integrations
}

// names gives everybody and everything an id, before they name each other.
func (m *mapping) names() {
	m.users.Reserve("me")
	for _, u := range m.account.users {
		if u.Email != "" {
			m.users.New(u.ID, u.Name)
		}
	}
	for _, t := range m.account.teams {
		m.teams.New(t.ID, t.Name)
	}
	for _, r := range m.account.rotas {
		m.rotas.New(r.ID, r.Name)
	}
	for _, p := range m.account.policies {
		if len(p.Rules) > 0 {
			m.policies.New(p.ID, p.Name)
		}
	}
}

func (m *mapping) people() {
	for _, u := range m.account.users {
		about := fmt.Sprintf("person %s (%s)", u.Name, u.ID)
		id, ok := m.users.Of(u.ID)
		if !ok {
			m.out.Note(about, "has no e-mail address", "add one at PagerDuty and import again; without it the person is left out")
			continue
		}
		p := directory.PersonDoc{ID: id, Name: importer.Name(u.Name, id), Email: u.Email}
		if _, err := time.LoadLocation(u.TimeZone); err == nil && u.TimeZone != "" {
			p.TimeZone = &u.TimeZone
		} else if u.TimeZone != "" {
			m.out.Note(about, "the time zone "+u.TimeZone+" is not known", "set time_zone in the document")
		}
		if role := roleOf(u.Role); role != "" {
			p.Role = &role
		}
		methods := m.methods(about, &p, u)
		m.steps(about, &p, u, methods)
		m.out.Document.People = append(m.out.Document.People, p)
	}
}

// roleOf returns the role here; "" for that of responders.
func roleOf(role string) string {
	switch role {
	case "owner", "admin":
		return "admin"
	case "read_only_user", "read_only_limited_user":
		return "stakeholder"
	default:
		return ""
	}
}

// methods carries over the addresses, and returns the contact method here by
// its id there. The address that PagerDuty wrote to is taken as proven.
func (m *mapping) methods(about string, p *directory.PersonDoc, u user) map[string]string {
	var ids importer.IDs
	ids.Reserve("push")
	known := map[string]string{}
	for _, c := range u.Contacts {
		name := cmp.Or(c.Label, c.Summary, c.Type)
		switch strings.TrimSuffix(c.Type, "_reference") {
		case "email_contact_method":
			if c.Address == "" {
				m.out.Note(about, fmt.Sprintf("the export has no address of the contact method %q", name), "fetch users with include[]=contact_methods, or add the address by hand")
				continue
			}
			id := importer.Slug(ids.New(c.ID, "mail "+name))
			p.Methods = append(p.Methods, directory.MethodDoc{ID: shortID(id), Kind: "email", Address: c.Address, Verified: true})
			known[c.ID] = shortID(id)
		case "push_notification_contact_method":
			known[c.ID] = "push"
			m.out.Note(about, fmt.Sprintf("the phone %q is known to PagerDuty's app only", name), "enrol it with tocsin enrol "+p.ID)
		case "phone_contact_method", "sms_contact_method":
			m.out.Note(about, fmt.Sprintf("%q is a way by telephone or SMS, which tocsin does not have", name), "enrol a phone with tocsin enrol "+p.ID+"; its pages sound through silence")
		default:
			m.out.Note(about, fmt.Sprintf("the contact method %q is of the kind %q, which tocsin does not have", name, c.Type), "use push, e-mail or a webhook")
		}
	}
	return known
}

// shortID keeps to the 40 characters that ids of contact methods may have.
func shortID(id string) string { return strings.TrimRight(id[:min(len(id), 40)], "-") }

// steps carries over the notification rules, as far as their methods are here.
func (m *mapping) steps(about string, p *directory.PersonDoc, u user, methods map[string]string) {
	for _, r := range u.Rules {
		if strings.HasSuffix(r.Type, "_reference") {
			m.out.Note(about, "the export has no notification rules, only references to them", "fetch users with include[]=notification_rules; without them people are told by the default steps")
			continue
		}
		method, ok := methods[r.Contact.ID]
		if !ok {
			m.out.Note(about, fmt.Sprintf("the step after %d minutes goes out by a way that is not carried over (%s)", r.Delay, cmp.Or(r.Contact.Summary, r.Contact.Type)), "add a step by push or e-mail in its place")
			continue
		}
		step := directory.StepDoc{Delay: minutes(r.Delay), Method: method}
		if r.Urgency == "low" {
			p.Low = append(p.Low, step)
		} else {
			p.High = append(p.High, step)
		}
	}
}

func minutes(n int) string {
	if n <= 0 {
		return ""
	}
	return importer.Lasting(time.Duration(n) * time.Minute)
}

func (m *mapping) allTeams() {
	for _, t := range m.account.teams {
		id, _ := m.teams.Of(t.ID)
		doc := directory.TeamDoc{ID: id, Name: importer.Name(t.Name, id)}
		add := func(source string) {
			if who, ok := m.users.Of(source); ok && !slices.Contains(doc.Members, who) {
				doc.Members = append(doc.Members, who)
			}
		}
		for _, x := range m.account.members[t.ID] {
			add(x.User.ID)
			if who, ok := m.users.Of(x.User.ID); ok && x.Role == "manager" && !slices.Contains(doc.Managers, who) {
				doc.Managers = append(doc.Managers, who)
			}
		}
		for _, u := range m.account.users {
			if slices.ContainsFunc(u.Teams, func(r reference) bool { return r.ID == t.ID }) {
				add(u.ID)
			}
		}
		m.out.Document.Teams = append(m.out.Document.Teams, doc)
	}
}

func (r reference) label() string { return cmp.Or(r.Summary, r.Name, r.ID) }

// team returns the one team that owns a record here.
func (m *mapping) team(about string, teams []reference) string {
	owner := ""
	for i, t := range teams {
		id, ok := m.teams.Of(t.ID)
		switch {
		case !ok:
			m.out.Note(about, "the export has no team "+t.label(), "fetch /teams and import again")
		case owner == "":
			owner = id
		case i > 0:
			m.out.Note(about, "belongs to the team "+t.label()+", too", "it has one team here, "+owner)
		}
	}
	return owner
}
