package incident

import (
	"time"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/fault"
)

// skew is how far two sender's timestamps may lie apart from the server's and
// still decide which of two events came first.
const skew = 5 * time.Minute

// begin makes the incident and asks the first level.
func (t *turn) begin(c Begin) error {
	in, ev := t.in, c.Event
	*in = Incident{
		ID: c.ID, Number: c.Number, Service: c.Service.ID, Team: c.Service.Team, Text: textOf(ev),
		Severity: ev.Severity, Status: Triggered, Priority: c.Priority, Created: t.now, Updated: t.now,
		Opened: []Interval{{From: t.now}}, HoldOpen: c.HoldOpen, Trace: c.Trace,
	}
	in.Urgency = t.urgencyOf(c)
	entry := Entry{
		Type: EntryTriggered, Actor: c.By, Service: c.Service.ID, Text: in.Text.Title, Other: c.From,
		Urgency: in.Urgency, Priority: in.Priority, Severity: in.Severity,
	}
	for _, a := range c.alerts(t.now) {
		t.d.Alerts = append(t.d.Alerts, a)
		in.AlertsTotal++
		if a.Open {
			in.AlertsOpen++
		}
		entry.Key, entry.Count = a.Key, entry.Count+1
	}
	t.tell(entry)
	t.armAutoResolve(c.Service)
	t.endMadeKey(c.Service, ev)
	t.armRaise(c.Service)
	return t.beginAsking(c)
}

// beginAsking asks the named people, or walks the policy.
func (t *turn) beginAsking(c Begin) error {
	in := t.in
	id := c.Policy
	if id == "" {
		id = c.Service.Policy
	}
	if p, ok := t.view.CurrentPolicy(id); ok {
		in.Policy = p.Ref()
	} else if c.Policy != "" {
		return fault.New(fault.NotFound, "POLICY_NOT_FOUND", "the escalation policy does not exist", "policy", string(c.Policy))
	}
	if len(c.Users) == 0 {
		t.ask(0)
		return nil
	}
	return t.askDirectly(c.Users, false)
}

// alerts returns the records that the incident begins with.
func (c Begin) alerts(now time.Time) []Alert {
	if len(c.Alerts) > 0 {
		return c.Alerts
	}
	if c.Alert.Key == "" {
		return nil
	}
	return []Alert{fired(c.Alert, c.Event, max(1, c.Alert.Count), now)}
}

// fired returns the record of an alert after count further triggers.
func fired(a Alert, ev event.Event, count int, now time.Time) Alert {
	if a.First.IsZero() {
		a.First, a.Count = now, 0
	}
	a.Open, a.Last, a.Count = true, now, a.Count+count
	a.Severity = a.Severity.Worse(ev.Severity)
	if ev.Summary != "" {
		a.Summary = ev.Summary
	}
	if !ev.Timestamp.IsZero() {
		a.SourceTime = ev.Timestamp
	}
	return a
}

func textOf(ev event.Event) Text {
	return Text{
		Title: ev.Summary, Source: ev.Source, Component: ev.Component, Group: ev.Group, Class: ev.Class,
		Client: ev.Client, ClientURL: ev.ClientURL, Details: ev.Details, Links: ev.Links, Images: ev.Images,
	}
}

// urgencyOf returns the urgency of a new incident: what its maker said, what
// its priority forces, else the rule of the service.
func (t *turn) urgencyOf(c Begin) Urgency {
	switch {
	case forcesHigh(c.Priority):
		return High
	case c.Urgency != 0:
		return c.Urgency
	}
	switch c.Service.Urgency {
	case catalog.UrgencyHigh:
		return High
	case catalog.UrgencyLow:
		return Low
	case catalog.UrgencyBySupportHours:
		if c.Service.Hours.Contain(t.now, t.view.Zone(c.Service.Hours.Zone)) {
			return High
		}
		return Low
	case catalog.UrgencyBySeverity:
	}
	return bySeverity(c.Event.Severity)
}

func forcesHigh(p Priority) bool { return p == 1 || p == 2 }

func bySeverity(s event.Severity) Urgency {
	if s == event.Warning || s == event.Info {
		return Low
	}
	return High
}

// repeat takes in a further trigger of the open incident. A known, open alert
// only counts up its record; nobody is paged again for it.
func (t *turn) repeat(c Repeat) error {
	in, was := t.in, c.Alert
	a := fired(was, c.Event, max(1, c.Count), t.now)
	switch {
	case was.Count == 0:
		in.AlertsTotal++
		in.AlertsOpen++
		t.tell(Entry{Type: EntryAlertAdded, Actor: c.By, Service: a.Service, Key: a.Key, Text: a.Summary, Count: a.Count})
	case !was.Open:
		in.AlertsOpen++
		t.tell(Entry{Type: EntryAlertAdded, Actor: c.By, Service: a.Service, Key: a.Key, Text: a.Summary, Count: a.Count})
	default:
		a.Repeats = t.countRepeat(was, c)
	}
	t.d.Alerts = append(t.d.Alerts, a)
	if worse := in.Severity.Worse(a.Severity); worse != in.Severity {
		t.worsen(worse, c.By)
	}
	svc, _ := t.service()
	if svc.AutoResolve > 0 {
		t.armAutoResolve(svc)
		t.d.Changed = true
	}
	t.endMadeKey(svc, c.Event)
	return nil
}

// countRepeat keeps one timeline entry per alert and minute: it rewrites the
// last entry while that is the alert's own.
func (t *turn) countRepeat(was Alert, c Repeat) Repeats {
	r, n := was.Repeats, max(1, c.Count)
	entry := Entry{Type: EntryDuplicate, Actor: c.By, Service: was.Service, Key: was.Key, Count: n}
	if r.Seq != 0 && r.Seq == t.in.Seq && t.now.Sub(r.At) < time.Minute {
		entry.Seq, entry.At, entry.Count = r.Seq, r.At, r.Count+n
		t.d.Coalesce = &entry
		return Repeats{Seq: r.Seq, Count: r.Count + n, At: r.At}
	}
	t.tell(entry)
	return Repeats{Seq: t.in.Seq + len(t.d.Timeline), Count: n, At: t.now}
}

// worsen raises the severity; one that deserves high urgency raises that too,
// while nobody has taken the incident.
func (t *turn) worsen(s event.Severity, by Actor) {
	t.in.Severity = s
	t.tell(Entry{Type: EntrySeverityChanged, Actor: by, Severity: s})
	t.moved()
	svc, _ := t.service()
	if svc.Urgency == catalog.UrgencyBySeverity && t.in.Status == Triggered && t.in.Urgency == Low && bySeverity(s) == High {
		t.raise(by, CauseSeverity)
	}
}

// closeAlert ends one condition; the last one ends the incident.
func (t *turn) closeAlert(c CloseAlert) error {
	a := c.Alert
	if !a.Open || olderThanTrigger(c, t.now) {
		return nil
	}
	a.Open, a.Last = false, t.now
	t.d.Alerts = append(t.d.Alerts, a)
	t.in.AlertsOpen--
	t.tell(Entry{Type: EntryAlertResolved, Actor: c.By, Service: a.Service, Key: a.Key})
	t.unlink(a)
	if t.in.AlertsOpen == 0 && !t.in.HoldOpen && t.in.Open() {
		t.end(c.By, CauseAlerts)
	}
	return nil
}

// olderThanTrigger reports whether the sender's clock says that the resolve
// was overtaken by a newer trigger. Such clocks are believed when they are
// near ours; otherwise the order of arrival counts.
func olderThanTrigger(c CloseAlert, now time.Time) bool {
	if c.At.IsZero() || c.Alert.SourceTime.IsZero() {
		return false
	}
	near := func(at time.Time) bool { return now.Sub(at).Abs() < skew }
	return near(c.At) && near(c.Alert.SourceTime) && c.At.Before(c.Alert.SourceTime)
}

// unlink asks for the dedup key of an alert to be forgotten where it lives,
// when that is another service than the incident's (a merge brought it here).
func (t *turn) unlink(a Alert) {
	if a.Service != t.in.Service {
		t.do(Work{Kind: WorkUnlink, Service: a.Service, Key: a.Key})
	}
}

// armAutoResolve restarts the timer that ends an incident nobody hears of any
// more. A sleeping incident has none: ticks would pass it by, for ever due.
func (t *turn) armAutoResolve(svc catalog.Service) {
	t.in.Timers.AutoResolve = time.Time{}
	if svc.AutoResolve > 0 && !t.in.Snoozed() {
		t.in.Timers.AutoResolve = t.now.Add(svc.AutoResolve)
	}
}

// madeKeyLife is how long an alert lives whose sender gave no key for it, where
// its service does not say: a sender that cannot name a condition cannot say
// either that it is over.
const madeKeyLife = 24 * time.Hour

// endMadeKey lets the incident end by itself when nothing has been heard of a
// condition without a name of its own for a day.
func (t *turn) endMadeKey(svc catalog.Service, e event.Event) {
	if e.KeyMade && svc.AutoResolve == 0 && !t.in.Snoozed() {
		t.in.Timers.AutoResolve = t.now.Add(madeKeyLife)
		t.d.Changed = true
	}
}

// armRaise sets the instant at which low urgency becomes high: when the support hours begin.
func (t *turn) armRaise(svc catalog.Service) {
	if svc.Urgency == catalog.UrgencyBySupportHours && t.in.Urgency == Low {
		t.in.Timers.Raise = svc.Hours.Next(t.now, t.view.Zone(svc.Hours.Zone))
	}
}

// escalationOf is how a policy's id is shown to people.
func escalationOf(id escalation.PolicyID) string { return "escalationPolicies/" + string(id) }
