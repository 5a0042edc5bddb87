package directory

import (
	"fmt"
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// named is a record that a document describes, and where.
type named struct {
	record Record
	path   string
	secret string // made for it: an integration's key, shown once
}

// reader turns a document into records on top of what is there.
type reader struct {
	s    *Snapshot
	l    *Lines
	seal auth.Sealer
	out  []named
	has  map[Key]int // places in out
	err  error       // of sealing, not of the document
}

func (r *reader) add(record Record, path, secret string) {
	k := record.key()
	if i, twice := r.has[k]; twice {
		at := path + ".id"
		if k.Kind == KindSettings {
			at = path
		}
		r.l.bad(at, "%s is on %s already", k, r.l.where(r.out[i].path))
		return
	}
	r.has[k] = len(r.out)
	r.out = append(r.out, named{record, path, secret})
}

// records adds the records of one file. What is wrong is in r.l.
func (r *reader) records(p parsed) {
	doc := p.doc
	for i, person := range doc.People {
		path := fmt.Sprintf("%speople[%d]", p.prefix, i)
		r.add(r.person(path, person), path, "")
	}
	for i, t := range doc.Teams {
		team := &Team{Team: roster.Team{ID: roster.TeamID(t.ID), Name: t.Name}}
		for _, m := range t.Members {
			team.Members = append(team.Members, roster.UserID(bare(m, "users/")))
		}
		for _, m := range t.Managers {
			team.Managers = append(team.Managers, roster.UserID(bare(m, "users/")))
		}
		path := fmt.Sprintf("%steams[%d]", p.prefix, i)
		r.add(team, path, "")
	}
	for i, s := range doc.Schedules {
		path := fmt.Sprintf("%sschedules[%d]", p.prefix, i)
		r.add(r.schedule(path, s), path, "")
	}
	for i, policy := range doc.Policies {
		path := fmt.Sprintf("%spolicies[%d]", p.prefix, i)
		r.add(r.policy(path, policy), path, "")
	}
	for i, s := range doc.Services {
		path := fmt.Sprintf("%sservices[%d]", p.prefix, i)
		r.add(r.service(path, s), path, "")
		for j, in := range s.Integrations {
			at := fmt.Sprintf("%s.integrations[%d]", path, j)
			rec, key := r.integration(at, catalog.ServiceID(s.ID), in)
			r.add(rec, at, key)
		}
	}
	for i, d := range doc.Drills {
		path := fmt.Sprintf("%sdrills[%d]", p.prefix, i)
		r.add(r.drillPlan(path, d), path, "")
	}
	if doc.Settings != nil {
		r.add(r.settings(p.prefix+"settings", doc.Settings), p.prefix+"settings", "")
	}
}

func (r *reader) person(path string, p PersonDoc) *User {
	u := &User{User: roster.User{ID: roster.UserID(p.ID), Role: roster.Responder}}
	if old, ok := r.s.GetUser(u.ID); ok {
		*u = *old
	}
	u.Name, u.Email = p.Name, p.Email
	if p.Role != nil {
		u.Role = word[roster.Role](r.l, path+".role", *p.Role, roleWords)
	}
	if p.Inactive != nil {
		u.Inactive = *p.Inactive
	}
	if p.TimeZone != nil {
		u.Zone = *p.TimeZone
	}
	if p.Locale != nil {
		u.Locale = *p.Locale
	}
	if p.Privacy != nil {
		u.Privacy = word[roster.Privacy](r.l, path+".privacy", *p.Privacy, privacyWords)
	}
	if p.Methods != nil {
		u.Methods = r.methods(path, u, p.Methods)
	}
	if p.High != nil {
		u.High = r.steps(path+".high_steps", u, u.High, p.High)
	}
	if p.Low != nil {
		u.Low = r.steps(path+".low_steps", u, u.Low, p.Low)
	}
	if q := p.Quiet; q != nil {
		u.Quiet = roster.QuietHours{
			Start: clock(r.l, path+".quiet_hours.start", q.Start), End: clock(r.l, path+".quiet_hours.end", q.End),
		}
	}
	if m := p.Reminder; m != nil {
		u.Remind = roster.Reminder{Every: duration(r.l, path+".reminder.interval", m.Interval), UntilResolve: m.UntilResolve}
	}
	return u
}

// methods keeps what was proven: a method that is there with the same address
// keeps its marks and its key, whatever the document says. What the document
// does not name is the person's own, and stays.
func (r *reader) methods(path string, u *User, docs []MethodDoc) []roster.Method {
	out := slices.Clone(u.Methods)
	for i, d := range docs {
		at := fmt.Sprintf("%s.contact_methods[%d]", path, i)
		if j := slices.IndexFunc(docs[:i], func(o MethodDoc) bool { return o.ID == d.ID }); j >= 0 {
			r.l.bad(at+".id", "%q is on %s already", d.ID, r.l.where(fmt.Sprintf("%s.contact_methods[%d]", path, j)))
			continue
		}
		m := r.method(at, u, d)
		if j := slices.IndexFunc(out, func(o roster.Method) bool { return o.ID == m.ID }); j >= 0 {
			out[j] = m
		} else {
			out = append(out, m)
		}
	}
	return out
}

func (r *reader) method(at string, u *User, d MethodDoc) roster.Method {
	m := roster.Method{
		ID: roster.MethodID(d.ID), Kind: word[roster.MethodKind](r.l, at+".kind", d.Kind, methodWords),
		Address: d.Address, Device: roster.DeviceID(bare(d.Device, "devices/")),
	}
	old, ok := u.Method(m.ID)
	if same := ok && old.Kind == m.Kind && old.Address == m.Address && old.Device == m.Device; same {
		m.Verified, m.Bouncing, m.Secret = old.Verified, old.Bouncing, old.Secret
	} else {
		m.Verified = d.Verified || m.Kind == roster.Push // a device has proven itself
	}
	if m.Kind == roster.Webhook {
		r.signingKey(at, u.ID, &m, d.SigningKey)
	}
	return m
}

func (r *reader) signingKey(path string, user roster.UserID, m *roster.Method, key string) {
	if key == "" {
		if len(m.Secret) == 0 {
			r.l.bad(path+".signing_key", "a new webhook needs a key of 24 to 64 characters that signs its requests")
		}
		return
	}
	if len(key) < 24 || len(key) > 64 {
		r.l.bad(path+".signing_key", "has %d characters; 24 to 64 are needed", len(key))
		return
	}
	if old, err := r.seal.Open(m.Secret, secretName(user, m.ID)); err == nil && string(old) == key {
		return // sealing it again would look like a change
	}
	sealed, err := r.seal.Seal([]byte(key), secretName(user, m.ID))
	if err != nil {
		r.err = err
		return
	}
	m.Secret = sealed
}

// steps returns the steps of a document with the person's own beside them: a
// step by one phone stays, because no document that another server wrote can name it.
func (r *reader) steps(path string, u *User, old []roster.Step, docs []StepDoc) []roster.Step {
	out := make([]roster.Step, len(docs))
	for i, s := range docs {
		out[i] = roster.Step{
			Delay: duration(r.l, fmt.Sprintf("%s[%d].delay", path, i), s.Delay), Method: roster.MethodID(s.Method), Loud: s.Loud,
		}
	}
	byPhone := func(s roster.Step) bool {
		m, ok := u.Method(s.Method)
		return ok && m.Device != "" && !slices.ContainsFunc(out, func(o roster.Step) bool { return o.Method == s.Method })
	}
	shared := slices.DeleteFunc(slices.Clone(old), byPhone)
	if slices.Equal(shared, byDelay(out)) {
		return old
	}
	for _, s := range old {
		if byPhone(s) {
			out = append(out, s)
		}
	}
	return out
}

func (r *reader) policy(path string, p PolicyDoc) *Policy {
	out := &Policy{Policy: escalation.Policy{
		ID: escalation.PolicyID(p.ID), Name: p.Name, Team: roster.TeamID(bare(p.Team, "teams/")),
		Loops: p.Loops, Fallback: targets(p.Fallback), EscalateLow: p.EscalateLow,
		HandOff: word[escalation.HandOff](r.l, path+".hand_off", p.HandOff, handOffWords),
	}}
	for i, l := range p.Levels {
		at := fmt.Sprintf("%s.levels[%d]", path, i)
		out.Levels = append(out.Levels, escalation.Level{
			Targets: targets(l.Targets), Delay: duration(r.l, at+".delay", l.Delay),
			Strategy: word[escalation.Strategy](r.l, at+".strategy", l.Strategy, strategyWords), MultiAck: l.MultiAck,
		})
	}
	return out
}

func targets(texts []string) []escalation.Target {
	var out []escalation.Target
	for _, t := range texts {
		out = append(out, target(t))
	}
	return out
}

func (r *reader) service(path string, s ServiceDoc) *Service {
	out := &Service{Service: catalog.Service{
		ID: catalog.ServiceID(s.ID), Name: s.Name, Team: roster.TeamID(bare(s.Team, "teams/")),
		Policy: escalation.PolicyID(bare(s.Policy, "escalationPolicies/")), Disabled: s.Disabled,
		Urgency:      word[catalog.UrgencyRule](r.l, path+".urgency_rule", s.Urgency, urgencyWords),
		MinSeverity:  word[event.Severity](r.l, path+".min_severity", s.MinSeverity, severityWords),
		KeyScope:     word[catalog.KeyScope](r.l, path+".key_scope", s.KeyScope, scopeWords),
		Privacy:      word[roster.Privacy](r.l, path+".privacy", s.Privacy, privacyWords),
		AckReminder:  duration(r.l, path+".acknowledge_reminder", s.AckReminder),
		AutoResolve:  duration(r.l, path+".auto_resolve", s.AutoResolve),
		ReopenWindow: duration(r.l, path+".reopen_window", s.ReopenWindow),
	}}
	if s.AckTimeout == never {
		out.AckTimeout = -1
	} else {
		out.AckTimeout = duration(r.l, path+".acknowledge_timeout", s.AckTimeout)
	}
	if h := s.Hours; h != nil {
		at := path + ".support_hours"
		out.Hours = catalog.SupportHours{
			Zone: h.TimeZone, Start: clock(r.l, at+".start", h.Start), End: clock(r.l, at+".end", h.End),
		}
		for i, d := range h.Days {
			out.Hours.Days = append(out.Hours.Days, word[time.Weekday](r.l, fmt.Sprintf("%s.days[%d]", at, i), d, dayWords))
		}
	}
	return out
}

func (r *reader) integration(path string, service catalog.ServiceID, d IntegrationDoc) (*Integration, string) {
	in := &Integration{Integration: catalog.Integration{
		ID: catalog.IntegrationID(d.ID), Service: service, Name: d.Name, Source: d.Source,
		Options: d.Options, Disabled: d.Disabled,
	}}
	if in.Name == "" {
		in.Name = d.ID
	}
	old, ok := r.s.GetIntegration(in.ID)
	switch {
	case d.Key != "":
		if !auth.IsIntegrationKey(d.Key) {
			r.l.bad(path+".key", "a key has %d characters of a to z and 0 to 9", auth.IntegrationKeyLength)
			return in, ""
		}
		in.SetKey(d.Key)
	case ok:
		in.KeyHash, in.Hint = old.KeyHash, old.Hint
	default:
		key := auth.NewIntegrationKey()
		in.SetKey(key)
		return in, key
	}
	return in, ""
}

// SetKey makes key the integration's; its text is kept nowhere.
func (i *Integration) SetKey(key string) {
	i.KeyHash = auth.HashSecret(key)
	i.Hint = key[len(key)-min(4, len(key)):]
}

func (r *reader) settings(path string, d *SettingsDoc) *Settings {
	out := *r.s.GetSettings()
	out.Organization = d.Organization
	out.Privacy = word[roster.Privacy](r.l, path+".privacy", d.Privacy, privacyWords)
	out.CatchAll = nil
	for _, u := range d.CatchAll {
		out.CatchAll = append(out.CatchAll, roster.UserID(bare(u, "users/")))
	}
	return &out
}

func secretName(user roster.UserID, m roster.MethodID) string {
	return "users/" + string(user) + "/contactMethods/" + string(m)
}
