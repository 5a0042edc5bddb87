package incident

import (
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Replayed is what a timeline alone tells of an incident.
type Replayed struct {
	Status       Status
	Urgency      Urgency
	Priority     Priority
	Severity     event.Severity
	Level, Loop  int
	Assignees    []roster.UserID
	Acks         []string // ids of the actors
	SnoozedUntil time.Time
	AlertsOpen   int

	helpers []roster.UserID
}

// Replay folds a timeline, in order, into the state that it leads to. It is
// the check that the record tells the whole story: the result equals the
// stored incident ([Incident.Summary]).
func Replay(entries []Entry) Replayed {
	var r Replayed
	for _, e := range entries {
		r.fold(e)
	}
	slices.Sort(r.Assignees)
	r.helpers = nil
	return r
}

// Summary returns of the incident what Replay tells of its timeline.
func (in *Incident) Summary() Replayed {
	r := Replayed{
		Status: in.Status, Urgency: in.Urgency, Priority: in.Priority, Severity: in.Severity, Level: in.Level, Loop: in.Loop,
		SnoozedUntil: in.Timers.SnoozeEnd, AlertsOpen: in.AlertsOpen,
	}
	for _, a := range in.Assignees {
		r.Assignees = append(r.Assignees, a.User)
	}
	for _, a := range in.Acks {
		r.Acks = append(r.Acks, a.By.ID)
	}
	slices.Sort(r.Assignees)
	return r
}

func (r *Replayed) fold(e Entry) {
	switch e.Type {
	case EntryTriggered:
		*r = Replayed{Status: Triggered, Urgency: e.Urgency, Priority: e.Priority, Severity: e.Severity, AlertsOpen: e.Count}
	case EntryAlertAdded:
		r.AlertsOpen += min(1, e.Count)
	case EntryAlertResolved:
		r.AlertsOpen--
	case EntryAssigned:
		r.assign(e)
	case EntryAcknowledged:
		r.Status, r.Acks = Acknowledged, append(r.Acks, e.Actor.ID)
	case EntryTakenOver:
		r.Acks = slices.DeleteFunc(r.Acks, func(id string) bool { return slices.Contains(e.Users, roster.UserID(id)) })
		if !slices.Contains(r.Acks, e.Actor.ID) {
			r.Acks = append(r.Acks, e.Actor.ID)
		}
	case EntryUnacknowledged:
		r.Status, r.Acks, r.SnoozedUntil = Triggered, nil, time.Time{}
	case EntrySnoozed:
		r.Status, r.SnoozedUntil = Acknowledged, e.Until
	case EntryLoopRepeated:
		r.Loop = e.Loop
	case EntryUrgencyChanged:
		r.Urgency = e.Urgency
	case EntryPriorityChanged:
		r.Priority = e.Priority
	case EntrySeverityChanged:
		r.Severity = e.Severity
	case EntrySplit:
		r.AlertsOpen -= e.Level
	case EntryReopened:
		r.Status, r.Acks, r.Loop, r.Severity = Triggered, nil, 0, e.Severity
		r.AlertsOpen += e.Count
	case EntryResolved:
		r.Status, r.Assignees, r.helpers, r.SnoozedUntil, r.AlertsOpen = Resolved, nil, nil, time.Time{}, 0
	case EntryDuplicate, EntryNotified, EntryDelivery, EntryNoTarget, EntryEscalated, EntryExhausted, EntryMergedIn,
		EntryMergedOut, EntryNote, EntryResponderAsked, EntryReminderLimit, EntryReminded, EntryConfirmed, EntryAckLimit,
		EntryShadowAsked, EntryShadowAcknowledged, EntryShadowEnded, EntryResponseDue, EntryResponseMissed:
		// tell what happened, and change none of this
	}
}

// assign folds one assignment: beside the others (Count 1), instead of
// everybody (taken over by the one who had acknowledged), or instead of all
// but the responders who were asked to help.
func (r *Replayed) assign(e Entry) {
	r.Level, r.Loop = e.Level, e.Loop
	switch {
	case e.Count == 1:
		r.Assignees = append(r.Assignees, e.Users...)
		if e.Via == ViaResponder {
			r.helpers = append(r.helpers, e.Users...)
		}
	case e.Cause == CauseManual:
		r.Assignees, r.helpers = slices.Clone(e.Users), nil
		r.Acks = slices.DeleteFunc(r.Acks, func(id string) bool { return !slices.Contains(e.Users, roster.UserID(id)) })
	default:
		r.helpers = slices.DeleteFunc(r.helpers, func(u roster.UserID) bool { return slices.Contains(e.Users, u) })
		r.Assignees = append(slices.Clone(e.Users), r.helpers...)
	}
}
