package goalert

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/tocsin/internal/importer"
	"github.com/tocsin-oncall/tocsin/server/directory"
)

func (m *mapping) policy(p policy) error {
	about := fmt.Sprintf("escalation policy %s (%s)", p.Name, p.ID)
	doc := directory.PolicyDoc{Name: p.Name, Loops: m.Loops(about, p.Repeat)}
	for i, s := range p.Steps {
		var targets []string
		for _, t := range s.targets() {
			who, err := m.target(t)
			if err != nil {
				return err
			}
			if len(who) == 0 {
				m.Note(about, fmt.Sprintf("step %d tells %s, which is not carried over", i+1, strings.TrimSpace(t.Type+" "+cmp.Or(t.Name, t.ID))), "put somebody in its place, or leave it")
			}
			targets = append(targets, who...)
		}
		m.Level(about, &doc, targets, time.Duration(s.Delay)*time.Minute, "")
	}
	m.Policy(p.ID, doc)
	return nil
}

// target returns who is asked here. A rotation that is asked by itself becomes
// a schedule the first time.
func (m *mapping) target(t target) ([]string, error) {
	switch t.Type {
	case "user":
		if id, ok := m.People.Of(t.ID); ok {
			return []string{id}, nil
		}
	case "schedule":
		return m.Rota(t.ID), nil
	case "rotation":
		r := m.rotations[t.ID]
		if r == nil {
			return nil, nil
		}
		if len(m.Rota(t.ID)) == 0 {
			if err := m.alone(r); err != nil {
				return nil, err
			}
		}
		return m.Rota(t.ID), nil
	}
	return nil, nil
}

// alone makes a schedule of a rotation that a policy asks by itself.
func (m *mapping) alone(r *turns) error {
	always := rule{Start: "00:00", End: "00:00", Days: [7]bool{true, true, true, true, true, true, true}}
	return m.schedule(rota{ID: r.ID, Name: r.Name, TimeZone: r.TimeZone, Targets: []assignment{{target{ID: r.ID, Type: "rotation", Name: r.Name}, []rule{always}}}})
}

func (m *mapping) service(s service) {
	about := fmt.Sprintf("service %s (%s)", s.Name, s.ID)
	policy, ok := m.Policies.Of(s.Policy)
	if !ok {
		m.Note(about, "its escalation policy "+s.Policy+" is not carried over", "export the policy, too, or make the service by hand")
		return
	}
	id := m.Services.New(s.ID, s.Name)
	doc := directory.ServiceDoc{ID: id, Name: importer.Name(s.Name, id), Policy: policy}
	if s.Maintenance != nil && s.Maintenance.After(m.Window.From) {
		m.Note(about, "is in maintenance until "+importer.Moment(*s.Maintenance), "hold its alerts back at the monitor, or import when it is over")
	}
	for _, h := range s.Monitors {
		m.Note(about, fmt.Sprintf("the heartbeat monitor %q has no place here", h.Name), "let a monitor alert when the heartbeat fails")
	}
	for _, k := range s.Keys {
		source := map[string]string{"prometheusAlertmanager": "alertmanager", "generic": "generic"}[k.Type]
		if source == "" {
			m.Note(about, fmt.Sprintf("the integration key %q is of the kind %s", k.Name, k.Type), "add an integration of a kind that tocsin has (alertmanager, pagerduty, generic)")
			continue
		}
		in := m.Keys.New(k.ID, id+" "+k.Name)
		doc.Integrations = append(doc.Integrations, directory.IntegrationDoc{ID: in, Name: importer.Name(k.Name, in), Source: source})
		m.Note(about, fmt.Sprintf("the integration key %q gets a new key", k.Name), "give the monitor the address with the key that tocsin apply shows")
	}
	m.Document.Services = append(m.Document.Services, doc)
}
