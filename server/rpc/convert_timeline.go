package rpc

import (
	"fmt"
	"strings"
	"time"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

var (
	entryTypes = map[incident.EntryType]pb.TimelineEntry_Type{ //nolint:gochecknoglobals // look-up table
		incident.EntryTriggered: pb.TimelineEntry_TYPE_TRIGGERED, incident.EntryAlertAdded: pb.TimelineEntry_TYPE_ALERT_ADDED,
		incident.EntryDuplicate: pb.TimelineEntry_TYPE_DUPLICATE, incident.EntryAlertResolved: pb.TimelineEntry_TYPE_ALERT_RESOLVED,
		incident.EntryAssigned: pb.TimelineEntry_TYPE_ASSIGNED, incident.EntryNotified: pb.TimelineEntry_TYPE_NOTIFIED,
		incident.EntryDelivery: pb.TimelineEntry_TYPE_DELIVERY, incident.EntryNoTarget: pb.TimelineEntry_TYPE_NO_TARGET,
		incident.EntryAcknowledged: pb.TimelineEntry_TYPE_ACKNOWLEDGED, incident.EntryUnacknowledged: pb.TimelineEntry_TYPE_UNACKNOWLEDGED,
		incident.EntryEscalated: pb.TimelineEntry_TYPE_ESCALATED, incident.EntryLoopRepeated: pb.TimelineEntry_TYPE_LOOP_REPEATED,
		incident.EntryExhausted: pb.TimelineEntry_TYPE_PATH_EXHAUSTED, incident.EntrySnoozed: pb.TimelineEntry_TYPE_SNOOZED,
		incident.EntryUrgencyChanged: pb.TimelineEntry_TYPE_URGENCY_CHANGED, incident.EntryPriorityChanged: pb.TimelineEntry_TYPE_PRIORITY_CHANGED,
		incident.EntrySeverityChanged: pb.TimelineEntry_TYPE_SEVERITY_CHANGED, incident.EntryMergedIn: pb.TimelineEntry_TYPE_MERGED_IN,
		incident.EntryMergedOut: pb.TimelineEntry_TYPE_MERGED_OUT, incident.EntrySplit: pb.TimelineEntry_TYPE_SPLIT,
		incident.EntryReopened: pb.TimelineEntry_TYPE_REOPENED, incident.EntryNote: pb.TimelineEntry_TYPE_NOTE,
		incident.EntryResponderAsked: pb.TimelineEntry_TYPE_RESPONDER_REQUESTED, incident.EntryResolved: pb.TimelineEntry_TYPE_RESOLVED,
		incident.EntryReminderLimit: pb.TimelineEntry_TYPE_TRIGGER_LIMIT, incident.EntryReminded: pb.TimelineEntry_TYPE_REMINDED,
		incident.EntryConfirmed: pb.TimelineEntry_TYPE_CONFIRMED, incident.EntryAckLimit: pb.TimelineEntry_TYPE_ACK_LIMIT,
		incident.EntryShadowAsked: pb.TimelineEntry_TYPE_SHADOW_ASKED, incident.EntryShadowAcknowledged: pb.TimelineEntry_TYPE_SHADOW_ACKNOWLEDGED,
		incident.EntryShadowEnded: pb.TimelineEntry_TYPE_SHADOW_ENDED, incident.EntryResponseDue: pb.TimelineEntry_TYPE_RESPONSE_DUE,
		incident.EntryResponseMissed: pb.TimelineEntry_TYPE_RESPONSE_MISSED, incident.EntryTakenOver: pb.TimelineEntry_TYPE_TAKEN_OVER,
	}
	causes = map[incident.Cause]pb.TimelineEntry_Cause{ //nolint:gochecknoglobals // look-up table
		incident.CauseManual: pb.TimelineEntry_CAUSE_MANUAL, incident.CauseTimeout: pb.TimelineEntry_CAUSE_TIMEOUT,
		incident.CauseSource: pb.TimelineEntry_CAUSE_SOURCE, incident.CauseAlerts: pb.TimelineEntry_CAUSE_ALL_ALERTS_RESOLVED,
		incident.CauseAutoTimeout: pb.TimelineEntry_CAUSE_AUTO_TIMEOUT, incident.CauseMerged: pb.TimelineEntry_CAUSE_MERGED,
		incident.CauseNobody: pb.TimelineEntry_CAUSE_NOBODY, incident.CauseGap: pb.TimelineEntry_CAUSE_GAP,
		incident.CauseNoMethod: pb.TimelineEntry_CAUSE_NO_METHOD, incident.CauseReminder: pb.TimelineEntry_CAUSE_REMINDER_MISSED,
		incident.CauseSeverity: pb.TimelineEntry_CAUSE_SEVERITY, incident.CausePriority: pb.TimelineEntry_CAUSE_PRIORITY,
		incident.CauseHours: pb.TimelineEntry_CAUSE_SUPPORT_HOURS, incident.CauseExhausted: pb.TimelineEntry_CAUSE_EXHAUSTED,
		incident.CauseUndelivered: pb.TimelineEntry_CAUSE_ALL_METHODS_FAILED, incident.CauseNoReceipt: pb.TimelineEntry_CAUSE_NO_RECEIPT,
		incident.CauseRejected: pb.TimelineEntry_CAUSE_REJECTED, incident.CauseReassigned: pb.TimelineEntry_CAUSE_REASSIGNED,
		incident.CauseSnooze: pb.TimelineEntry_CAUSE_SNOOZED, incident.CauseHandOff: pb.TimelineEntry_CAUSE_HANDOFF,
	}
	// becauses are the causes in a sentence.
	becauses = map[incident.Cause]string{ //nolint:gochecknoglobals // look-up table
		incident.CauseTimeout: "nobody answered in time", incident.CauseSource: "the monitor said so",
		incident.CauseAlerts: "its last alert was resolved", incident.CauseAutoTimeout: "nothing was heard of it for long",
		incident.CauseMerged: "it was merged", incident.CauseNobody: "nobody of the level can be reached",
		incident.CauseGap: "nobody holds the level", incident.CauseNoMethod: "there is no working way to reach them",
		incident.CauseReminder: "the question whether they are still on it was not answered",
		incident.CauseSeverity: "an alert became more severe", incident.CausePriority: "the priority demands it",
		incident.CauseHours: "the support hours began", incident.CauseExhausted: "all levels were asked",
		incident.CauseUndelivered: "every way to reach them failed", incident.CauseNoReceipt: "no phone confirmed the page",
		incident.CauseRejected: "every device refused the page", incident.CauseReassigned: "it was given to others",
		incident.CauseSnooze: "it was snoozed", incident.CauseHandOff: "the shift changed",
	}
)

// entry returns one line of the timeline.
func (s shaper) entry(e incident.Entry) *pb.TimelineEntry {
	m := &pb.TimelineEntry{
		Seq: int64(e.Seq), EntryTime: stamp(e.At), Type: entryTypes[e.Type], Actor: s.actor(e.Actor), Cause: causes[e.Cause],
		Summary: s.sentence(e), Users: each(e.Users, userName), AssignedVia: vias[e.Via], ContactMethod: string(e.Step),
		Loud: e.Loud, UntilTime: stamp(e.Until), Text: e.Text, ClientTime: stamp(e.ClientAt), Urgency: urgency(e.Urgency),
		Priority: priority(e.Priority), Severity: severity(e.Severity), Loop: int32(e.Loop), //nolint:gosec // at most 10
		ShadowMode: shadowModes[e.Mode], Followed: userName(e.Follows), ResponseTime: span(e.Took),
	}
	if e.Key != "" {
		m.Alerts = []string{alertName(e.Service, e.Key)}
	}
	if e.Other != "" {
		m.Incidents = []string{incidentName(e.Other)}
	}
	switch e.Type {
	case incident.EntryTriggered:
		m.Level = 1
	case incident.EntryAssigned, incident.EntryNoTarget:
		m.Level = int32(e.Level) + 1 //nolint:gosec // at most 20
	case incident.EntryEscalated:
		m.FromLevel, m.Level = int32(e.From)+1, int32(e.Level)+1 //nolint:gosec // at most 20
	case incident.EntryDuplicate, incident.EntrySplit, incident.EntryReminderLimit, incident.EntryAckLimit:
		m.Count = int64(e.Count)
	default:
	}
	return m
}

// sentence says an entry in one English sentence, without its time.
func (s shaper) sentence(e incident.Entry) string {
	who := "tocsin"
	if a := s.actor(e.Actor); a != nil {
		who = a.GetDisplayName()
	}
	users := s.people(e.Users)
	switch e.Type {
	case incident.EntryTriggered:
		return fmt.Sprintf("%s triggered it: %s.", who, e.Text)
	case incident.EntryAlertAdded:
		return fmt.Sprintf("An alert joined: %s.", orKey(e))
	case incident.EntryDuplicate:
		return fmt.Sprintf("The alert %s was reported %s.", e.Key, times(e.Count, "again"))
	case incident.EntryAlertResolved:
		return fmt.Sprintf("The alert %s is over.", e.Key)
	case incident.EntryAssigned:
		return fmt.Sprintf("It is the turn of %s%s%s.", users, assignedHow(e), handedOver(e))
	case incident.EntryNotified:
		return fmt.Sprintf("%s%s %s paged by %s%s%s.", users, s.shadowOf(e), wasWere(e.Users), e.Step, loudly(e), because(e))
	case incident.EntryDelivery:
		return delivered(e, users)
	case incident.EntryNoTarget:
		return untargeted(e, users)
	case incident.EntryAcknowledged:
		return who + " acknowledged it" + took(e) + late(e) + "."
	case incident.EntryUnacknowledged:
		return "It is nobody's again" + unacknowledged(e, who) + "."
	case incident.EntryEscalated:
		return escalated(e, who)
	case incident.EntryLoopRepeated:
		return fmt.Sprintf("All levels were asked; pass %d begins.", e.Loop+1)
	case incident.EntryExhausted:
		return "All levels and passes of the policy are used up."
	case incident.EntrySnoozed:
		return fmt.Sprintf("%s snoozed it until %s.", who, e.Until.UTC().Format("2006-01-02 15:04 UTC"))
	case incident.EntryUrgencyChanged:
		return fmt.Sprintf("Its urgency is %s now%s.", urgencyWord(e.Urgency), becauseOr(e, ", set by "+who))
	case incident.EntryPriorityChanged:
		if e.Priority == 0 {
			return who + " cleared its priority."
		}
		return fmt.Sprintf("%s set its priority to P%d.", who, e.Priority)
	case incident.EntrySeverityChanged:
		return fmt.Sprintf("Its severity is %s now.", e.Severity)
	case incident.EntryMergedIn:
		return fmt.Sprintf("%s merged incident %s into it.", who, e.Other)
	case incident.EntryMergedOut:
		return fmt.Sprintf("%s merged it into incident %s.", who, e.Other)
	case incident.EntrySplit:
		return fmt.Sprintf("%s split %s off, into incident %s.", who, times(e.Count, "alert"), e.Other)
	case incident.EntryReopened:
		return who + " opened it again."
	case incident.EntryNote:
		return fmt.Sprintf("%s wrote: %s", who, e.Text)
	case incident.EntryResponderAsked:
		return fmt.Sprintf("%s asked %s to help.", who, users)
	case incident.EntryResolved:
		return "It was resolved" + becauseOr(e, " by "+who) + "."
	case incident.EntryReminderLimit:
		return fmt.Sprintf("%s had many reminders; from now on one comes every 30 minutes.", users)
	case incident.EntryReminded:
		return fmt.Sprintf("%s %s asked: still on it?", users, wasWere(e.Users))
	case incident.EntryConfirmed:
		return who + " is still on it."
	case incident.EntryAckLimit:
		return "It was acknowledged so often that reminders ended."
	case incident.EntryShadowAsked:
		return fmt.Sprintf("%s%s gets the pages too%s.", users, s.shadowOf(e), shadowFor(e.Mode))
	case incident.EntryShadowAcknowledged:
		return fmt.Sprintf("%s%s answered%s%s; nobody else is asked less for it.", who, s.shadowOf(e), took(e), late(e))
	case incident.EntryShadowEnded:
		return fmt.Sprintf("%s follows %s no longer.", users, s.people([]roster.UserID{e.Follows}))
	case incident.EntryResponseDue:
		return fmt.Sprintf("%s has not acknowledged for %s and has until %s to meet the response target.", users, e.Took, e.Until.UTC().Format("15:04:05 UTC"))
	case incident.EntryResponseMissed:
		return fmt.Sprintf("%s did not acknowledge within the response target of %s.", users, e.Took)
	case incident.EntryTakenOver:
		return fmt.Sprintf("%s took it over from %s.", who, users)
	default:
		return "Something happened that this version does not know."
	}
}

// delivered says that a page ended without reaching somebody, or that the next
// way of reaching him is used before its time, because of the one before.
func delivered(e incident.Entry, users string) string {
	switch e.Cause {
	case incident.CauseNoReceipt:
		return fmt.Sprintf("No phone of %s answered the push in time; %s is used before its time.", users, e.Step)
	case incident.CauseRejected:
		return fmt.Sprintf("A page to %s was refused for good; %s is used before its time.", users, e.Step)
	case incident.CauseNoMethod:
		return fmt.Sprintf("A way of reaching %s does not work; %s is used before its time.", users, e.Step)
	default:
		return fmt.Sprintf("A page to %s by %s did not get through%s.", users, e.Step, orElse(e.Text))
	}
}

// handedOver says that somebody is asked because the shift changed.
func handedOver(e incident.Entry) string {
	if e.Cause != incident.CauseHandOff {
		return ""
	}
	return because(e)
}

// shadowOf names whom the shadow follows whom an entry is about.
func (s shaper) shadowOf(e incident.Entry) string {
	if e.Mode == 0 {
		return ""
	}
	return ", shadow of " + s.people([]roster.UserID{e.Follows}) + ","
}

// shadowFor says what a shadow is there for.
func shadowFor(m schedule.Mode) string {
	switch m {
	case schedule.Practise:
		return ", to practise"
	case schedule.Duty:
		return " and has to acknowledge as well"
	case schedule.Observe:
	}
	return ", to observe"
}

// took says how long after the first page somebody answered.
func took(e incident.Entry) string {
	if e.Took == 0 {
		return ""
	}
	return fmt.Sprintf(", %s after the first page", e.Took.Round(time.Second))
}

func times(n int, word string) string {
	switch {
	case word == "again" && n == 1:
		return "again"
	case word == "again":
		return fmt.Sprintf("%d times more", n)
	case n == 1:
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

func orKey(e incident.Entry) string {
	if e.Text != "" {
		return e.Text
	}
	return e.Key
}

// orElse is what a page failed of, in somebody else's words.
func orElse(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + strings.TrimRight(reason, ".")
}

// untargeted says that a level had a gap, or people who cannot be reached; the
// others of the level, if there are any, were asked.
func untargeted(e incident.Entry, users string) string {
	if len(e.Users) > 0 {
		return fmt.Sprintf("There is no working way to reach %s at level %d.", users, e.Level+1)
	}
	return fmt.Sprintf("Nobody was asked at level %d%s.", e.Level+1, because(e))
}

// unacknowledged says why an acknowledgement ended; the causes have a meaning
// of their own here.
func unacknowledged(e incident.Entry, who string) string {
	switch e.Cause {
	case incident.CauseManual:
		return ", as " + who + " asked"
	case incident.CauseTimeout:
		return ", because it was not resolved in time"
	case incident.CauseSnooze:
		return ", because the snooze is over"
	default:
		return because(e)
	}
}

// escalated says who is asked next. A direct assignment that nobody took goes
// to the first level, from no level.
func escalated(e incident.Entry, who string) string {
	why := becauseOr(e, ", as "+who+" asked")
	if e.From == e.Level {
		return fmt.Sprintf("It went to level %d%s.", e.Level+1, why)
	}
	return fmt.Sprintf("It went from level %d to level %d%s.", e.From+1, e.Level+1, why)
}

func wasWere(us []roster.UserID) string {
	if len(us) == 1 {
		return "was"
	}
	return "were"
}

func loudly(e incident.Entry) string {
	if e.Loud {
		return ", with the critical sound"
	}
	return ""
}

// late says how long a tap was under way, when that is worth knowing.
func late(e incident.Entry) string {
	if d := e.At.Sub(e.ClientAt); !e.ClientAt.IsZero() && d >= 10*time.Second && d < 24*time.Hour {
		return fmt.Sprintf(" (tapped %s earlier)", d.Round(time.Second))
	}
	return ""
}

func because(e incident.Entry) string { return becauseOr(e, "") }

func becauseOr(e incident.Entry, otherwise string) string {
	if b, ok := becauses[e.Cause]; ok {
		return ", because " + b
	}
	return otherwise
}

func assignedHow(e incident.Entry) string {
	switch e.Via {
	case incident.ViaPolicy:
		return fmt.Sprintf(" (level %d)", e.Level+1)
	case incident.ViaDirect:
		return " (by name)"
	case incident.ViaFallback:
		return " (the policy's fallback)"
	case incident.ViaCatchAll:
		return " (the catch-all: nobody else could be asked)"
	case incident.ViaResponder:
		return " (to help)"
	default:
		return ""
	}
}

func urgencyWord(u incident.Urgency) string {
	if u == incident.Low {
		return "low"
	}
	return "high"
}
