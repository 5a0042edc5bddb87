package directory

import (
	"iter"
	"reflect"
	"slices"
	"strings"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Export returns the configuration as the document that would bring it about,
// everything in the order of its id. It holds no keys, no devices and no tokens.
func (s *Snapshot) Export() ([]byte, error) { return s.document().YAML() }

// ExportFiles is Export as one file for each part that has something in it.
func (s *Snapshot) ExportFiles() ([]File, error) {
	all := s.document()
	var out []File
	for _, part := range []struct {
		name string
		doc  Document
	}{
		{"people.yaml", Document{People: all.People}},
		{"teams.yaml", Document{Teams: all.Teams}},
		{"schedules.yaml", Document{Schedules: all.Schedules}},
		{"policies.yaml", Document{Policies: all.Policies}},
		{"services.yaml", Document{Services: all.Services}},
		{"drills.yaml", Document{Drills: all.Drills}},
		{"settings.yaml", Document{Settings: all.Settings}},
	} {
		if reflect.ValueOf(part.doc).IsZero() {
			continue
		}
		text, err := part.doc.YAML()
		if err != nil {
			return nil, err
		}
		out = append(out, File{Name: part.name, Text: text})
	}
	return out, nil
}

func (s *Snapshot) document() *Document {
	doc := &Document{}
	for _, u := range sorted(s.Users()) {
		doc.People = append(doc.People, personDoc(u))
	}
	for _, t := range sorted(s.Teams()) {
		team := TeamDoc{ID: string(t.ID), Name: t.Name}
		for _, m := range t.Members {
			team.Members = append(team.Members, string(m))
		}
		for _, m := range t.Managers {
			team.Managers = append(team.Managers, string(m))
		}
		doc.Teams = append(doc.Teams, team)
	}
	for _, x := range sorted(s.Schedules()) {
		doc.Schedules = append(doc.Schedules, scheduleDoc(x))
	}
	for _, p := range sorted(s.Policies()) {
		doc.Policies = append(doc.Policies, policyDoc(p))
	}
	for _, v := range sorted(s.Services()) {
		doc.Services = append(doc.Services, s.serviceDoc(v))
	}
	for _, p := range sorted(s.DrillPlans()) {
		doc.Drills = append(doc.Drills, drillDoc(p))
	}
	if set := s.GetSettings(); set.Revision > 0 {
		d := &SettingsDoc{Organization: set.Organization, Privacy: say(set.Privacy, privacyWords)}
		for _, u := range set.CatchAll {
			d.CatchAll = append(d.CatchAll, string(u))
		}
		doc.Settings = d
	}
	return doc
}

func sorted[R Record](seq iter.Seq[R]) []R { return slices.SortedFunc(seq, ByName[R]) }

func personDoc(u *User) PersonDoc {
	role := say(u.Role, roleWords)
	d := PersonDoc{ID: string(u.ID), Name: u.Name, Email: u.Email, Role: &role, TimeZone: &u.Zone}
	if u.Inactive {
		d.Inactive = &u.Inactive
	}
	if u.Locale != "" {
		d.Locale = &u.Locale
	}
	if u.Privacy != 0 {
		p := say(u.Privacy, privacyWords)
		d.Privacy = &p
	}
	for _, m := range u.Methods {
		if m.Kind == roster.Push { // a device does not travel in a document
			continue
		}
		d.Methods = append(d.Methods, MethodDoc{
			ID: string(m.ID), Kind: say(m.Kind, methodWords), Address: m.Address, Verified: m.Verified,
		})
	}
	d.High, d.Low = stepDocs(u, u.High), stepDocs(u, u.Low)
	if u.Quiet != (roster.QuietHours{}) {
		d.Quiet = &QuietDoc{Start: clockText(u.Quiet.Start), End: clockText(u.Quiet.End)}
	}
	if u.Remind != (roster.Reminder{}) {
		d.Reminder = &ReminderDoc{Interval: lasting(u.Remind.Every), UntilResolve: u.Remind.UntilResolve}
	}
	return d
}

func stepDocs(u *User, steps []roster.Step) []StepDoc {
	var out []StepDoc
	for _, s := range steps {
		if m, ok := u.Method(s.Method); ok && m.Device != "" {
			continue
		}
		out = append(out, StepDoc{Delay: lasting(s.Delay), Method: string(s.Method), Loud: s.Loud})
	}
	return out
}

func policyDoc(p *Policy) PolicyDoc {
	d := PolicyDoc{
		ID: string(p.ID), Name: p.Name, Team: string(p.Team), Loops: p.Loops,
		Fallback: targetTexts(p.Fallback), EscalateLow: p.EscalateLow, HandOff: say(p.HandOff, handOffWords),
	}
	for _, l := range p.Levels {
		d.Levels = append(d.Levels, LevelDoc{
			Targets: targetTexts(l.Targets), Delay: span(l.Delay), Strategy: say(l.Strategy, strategyWords), MultiAck: l.MultiAck,
		})
	}
	return d
}

func targetTexts(targets []escalation.Target) []string {
	var out []string
	for _, t := range targets {
		out = append(out, targetText(t))
	}
	return out
}

func (s *Snapshot) serviceDoc(v *Service) ServiceDoc {
	d := ServiceDoc{
		ID: string(v.ID), Name: v.Name, Team: string(v.Team), Policy: string(v.Policy), Disabled: v.Disabled,
		Urgency: say(v.Urgency, urgencyWords), MinSeverity: say(v.MinSeverity, severityWords),
		AckTimeout: lasting(max(0, v.AckTimeout)), AckReminder: lasting(v.AckReminder), AutoResolve: lasting(v.AutoResolve),
		ReopenWindow: lasting(v.ReopenWindow), KeyScope: say(v.KeyScope, scopeWords), Privacy: say(v.Privacy, privacyWords),
	}
	if v.AckTimeout < 0 {
		d.AckTimeout = never
	}
	if h := v.Hours; h.Zone != "" {
		d.Hours = &HoursDoc{TimeZone: h.Zone, Start: clockText(h.Start), End: clockText(h.End), Days: []string{}}
		for _, day := range h.Days {
			d.Hours.Days = append(d.Hours.Days, dayWords[day])
		}
	}
	list := s.IntegrationsOf(v.ID)
	slices.SortFunc(list, func(a, b *Integration) int { return strings.Compare(string(a.ID), string(b.ID)) })
	for _, in := range list {
		d.Integrations = append(d.Integrations, integrationDoc(in.Integration))
	}
	return d
}

func integrationDoc(in catalog.Integration) IntegrationDoc {
	return IntegrationDoc{ID: string(in.ID), Name: in.Name, Source: in.Source, Options: in.Options, Disabled: in.Disabled}
}
