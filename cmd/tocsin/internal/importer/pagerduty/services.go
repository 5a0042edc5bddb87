package pagerduty

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/tocsin/internal/importer"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/escalation"
)

func (m *mapping) policy(p policy) {
	about := fmt.Sprintf("escalation policy %s (%s)", p.Name, p.ID)
	id, ok := m.policies.Of(p.ID)
	if !ok {
		m.out.Note(about, "the export has no rules of it", "fetch /escalation_policies and import again")
		return
	}
	doc := directory.PolicyDoc{ID: id, Name: importer.Name(p.Name, id), Team: m.team(about, p.Teams), Loops: min(max(p.Loops, 0), escalation.MaxLoops)}
	for i, r := range p.Rules {
		level := directory.LevelDoc{Delay: importer.Lasting(time.Duration(r.Delay) * time.Minute)}
		if r.Delay < 1 || r.Delay > 24*60 {
			level.Delay = "24h"
			m.out.Note(about, fmt.Sprintf("level %d escalates after %d minutes; here it is 1 minute to 24 hours", i+1, r.Delay), "it is 24 hours in the document; set what you want")
		}
		if r.Strategy == "round_robin" {
			level.Strategy = "round_robin"
		}
		for _, t := range r.Targets {
			if target, ok := m.target(t); ok {
				level.Targets = append(level.Targets, target)
			} else {
				m.out.Note(about, fmt.Sprintf("level %d asks %s, who is not in the export", i+1, t.label()), "export it, too, or put somebody in its place")
			}
		}
		if len(level.Targets) == 0 {
			m.out.Note(about, fmt.Sprintf("level %d asks nobody who is carried over; it is left out", i+1), "add the level by hand")
			continue
		}
		doc.Levels = append(doc.Levels, level)
	}
	if len(doc.Levels) > 0 {
		m.out.Document.Policies = append(m.out.Document.Policies, doc)
	}
}

func (m *mapping) target(t reference) (string, bool) {
	switch strings.TrimSuffix(t.Type, "_reference") {
	case "user":
		return m.users.Of(t.ID)
	case "schedule":
		id, ok := m.rotas.Of(t.ID)
		return "schedules/" + id, ok
	default:
		return "", false
	}
}

func (m *mapping) service(s service) {
	about := fmt.Sprintf("service %s (%s)", s.Name, s.ID)
	policy, ok := m.policies.Of(s.Policy.ID)
	if !ok || !m.carried(policy) {
		m.out.Note(about, "its escalation policy "+s.Policy.label()+" is not carried over", "export the policy, too, or make the service by hand")
		return
	}
	id := m.services.New(s.ID, s.Name)
	doc := directory.ServiceDoc{
		ID: id, Name: importer.Name(s.Name, id), Team: m.team(about, s.Teams), Policy: policy, Disabled: s.Status == "disabled",
		AckTimeout: timeout(s.AckTimeout, "never"), AutoResolve: timeout(s.AutoResolve, ""),
	}
	m.urgency(about, &doc, s)
	if s.Status == "maintenance" {
		m.out.Note(about, "is in a maintenance window", "hold its alerts back at the monitor, or import when it is over")
	}
	if s.Grouping.Type != "" {
		m.out.Note(about, "groups alerts by "+s.Grouping.Type, "alerts with the same key are one incident here; set the key at the monitor")
	}
	if s.Pause.Enabled {
		m.out.Note(about, "waits before it pages for alerts that often resolve themselves", "let the monitor wait (for: in Prometheus)")
	}
	for _, in := range s.Integrations {
		m.integration(about, &doc, in)
	}
	m.out.Document.Services = append(m.out.Document.Services, doc)
}

func (m *mapping) carried(policy string) bool {
	return slices.ContainsFunc(m.out.Document.Policies, func(p directory.PolicyDoc) bool { return p.ID == policy })
}

// timeout says seconds; null and 0 are never.
func timeout(seconds *int64, never string) string {
	if seconds == nil || *seconds <= 0 {
		return never
	}
	return importer.Lasting(time.Duration(*seconds) * time.Second)
}

func (m *mapping) urgency(about string, doc *directory.ServiceDoc, s service) {
	switch u := s.Urgency; {
	case u.Type == "constant" && (u.Urgency == "high" || u.Urgency == "low"):
		doc.Urgency = u.Urgency
	case u.Type == "use_support_hours" && s.Hours != nil && u.During != nil && u.Outside != nil && u.During.Urgency == "high" && u.Outside.Urgency == "low":
		hours := directory.HoursDoc{TimeZone: s.Hours.TimeZone, Start: minuteOf(s.Hours.Start), End: minuteOf(s.Hours.End)}
		for _, d := range s.Hours.Days {
			if d >= 1 && d <= 7 {
				hours.Days = append(hours.Days, dayName(d))
			}
		}
		doc.Urgency, doc.Hours = "by_support_hours", &hours
	case u.Type == "use_support_hours":
		doc.Urgency = "by_severity"
		m.out.Note(about, "has other urgencies than high in support hours and low outside of them", "it goes by severity in the document; set urgency_rule")
	default:
		doc.Urgency = "by_severity"
	}
}

// minuteOf drops the seconds of a time of day.
func minuteOf(clock string) string {
	t, err := time.Parse(time.TimeOnly, clock)
	if err != nil {
		return "00:00"
	}
	return t.Format("15:04")
}

// integration keeps the key of events of version 2, so that monitors change the
// address alone.
func (m *mapping) integration(about string, doc *directory.ServiceDoc, in integration) {
	name := importer.Name(cmp.Or(in.Name, in.Summary), in.ID)
	if strings.TrimSuffix(in.Type, "_reference") != "events_api_v2_inbound_integration" {
		m.out.Note(about, fmt.Sprintf("the integration %q is of the kind %s", name, in.Type), "add one of a kind that tocsin has (alertmanager, pagerduty, generic) and point the monitor to it")
		return
	}
	out := directory.IntegrationDoc{ID: m.keys.New(in.ID, doc.ID+" "+name), Name: name, Source: "pagerduty"}
	if auth.IsIntegrationKey(in.Key) {
		out.Key = in.Key
		m.out.Note(about, fmt.Sprintf("the integration %q keeps its key, which stands in the document", name), "keep the document as you keep secrets, and change only the address in the monitor, to https://YOURS/v2/enqueue")
	} else {
		m.out.Note(about, fmt.Sprintf("the export has no key of the integration %q", name), "fetch services with include[]=integrations, or give the monitor the key that tocsin apply shows")
	}
	doc.Integrations = append(doc.Integrations, out)
}
