package incident

import (
	"time"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/fault"
)

// reopenWithin is how long after its end a person may re-open an incident.
const reopenWithin = 24 * time.Hour

// resolve ends the incident by a person's word; its open alerts end with it.
// Of a resolved incident nothing changes.
func (t *turn) resolve(c Resolve) error {
	if t.in.Status == Resolved {
		return nil
	}
	cause := c.Cause
	if cause == 0 {
		cause = CauseManual
	}
	t.closeAll(c.Alerts)
	t.end(c.By, cause)
	return nil
}

// closeAll closes the records of the alerts that are open.
func (t *turn) closeAll(alerts []Alert) {
	for _, a := range alerts {
		if !a.Open {
			continue
		}
		a.Open = false
		t.d.Alerts = append(t.d.Alerts, a)
		t.in.AlertsOpen--
		t.unlink(a)
	}
}

// end is the end of the incident, whoever or whatever ended it: every timer
// stops, nobody is assigned, every card on a phone is replaced.
func (t *turn) end(by Actor, cause Cause) {
	in := t.in
	in.Status, in.ResolvedAt, in.ResolvedBy, in.Cause = Resolved, t.now, by, cause
	in.Timers, in.Assignees, in.Shadows = Timers{}, nil, nil
	t.stopMeasuring()
	in.Exhausted, in.Hurried, in.Reminded, in.MultiAck = false, false, false, false
	if n := len(in.Opened); n > 0 {
		in.Opened[n-1].To = t.now
	}
	t.tell(Entry{Type: EntryResolved, Actor: by, Cause: cause})
	t.hush()
	t.moved()
	t.do(Work{Kind: WorkReplace, Actor: by, Cause: cause, Text: "resolved"})
}

// reopen begins the incident again, as the same one: by a person, or because
// its alert fired again within the service's window.
func (t *turn) reopen(c Reopen) error {
	in := t.in
	if in.Open() {
		return nil
	}
	if in.MergedInto != "" {
		return fault.New(fault.Precondition, "INCIDENT_MERGED", "the incident was merged; split its alerts off the target instead",
			"incident", string(in.ID), "merged_into", string(in.MergedInto))
	}
	if c.Alert == nil && t.now.Sub(in.ResolvedAt) > reopenWithin {
		return fault.New(fault.Precondition, "REOPEN_TOO_LATE", "an incident can be re-opened for 24 hours after its end; create a new one", "incident", string(in.ID))
	}
	in.Status, in.Loop, in.Turns, in.Acks, in.Responses = Triggered, 0, nil, nil, nil
	in.Cause, in.ResolvedAt, in.ResolvedBy = 0, time.Time{}, Actor{}
	in.Reopens++
	in.Opened = append(in.Opened, Interval{From: t.now})
	cause := c.Cause
	if cause == 0 {
		cause = CauseManual
	}
	entry := Entry{Type: EntryReopened, Actor: c.By, Cause: cause}
	if c.Alert != nil && c.Event != nil {
		if c.Alert.Count == 0 {
			in.AlertsTotal++
		}
		a := fired(*c.Alert, *c.Event, max(1, c.Count), t.now)
		t.d.Alerts = append(t.d.Alerts, a)
		in.AlertsOpen++
		entry.Service, entry.Key, entry.Count = a.Service, a.Key, 1
		in.Severity = in.Severity.Worse(a.Severity)
	}
	entry.Severity = in.Severity
	t.tell(entry)
	t.hush()
	t.moved()
	if svc, ok := t.service(); ok {
		if svc.Urgency == catalog.UrgencyBySeverity && in.Urgency == Low && c.Event != nil && bySeverity(c.Event.Severity) == High {
			t.raise(c.By, CauseSeverity) // nobody is asked yet: only the urgency changes
		}
		t.armAutoResolve(svc)
		t.armRaise(svc)
		if p, ok := t.view.CurrentPolicy(svc.Policy); ok && in.Policy.ID == "" {
			in.Policy = p.Ref()
		}
	}
	if p, ok := t.view.CurrentPolicy(in.Policy.ID); ok {
		in.Policy = p.Ref()
	}
	t.ask(0)
	return nil
}
