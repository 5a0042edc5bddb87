package store

import (
	"time"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
	"github.com/tocsin-oncall/tocsin/server/store/storepb"
)

// The codec writes every field of the domain's values and reads it back; a test
// fills each field by reflection and fails for one that is forgotten here.
// Instants lose what is below a millisecond, and come back in UTC.

func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// each maps a slice; nothing stays nil.
func each[A, B any](as []A, f func(A) B) []B {
	if len(as) == 0 {
		return nil
	}
	bs := make([]B, len(as))
	for i, a := range as {
		bs[i] = f(a)
	}
	return bs
}

func text[A ~string](a A) string       { return string(a) }
func named[A ~string](s string) A      { return A(s) }
func bytesOrNil(b []byte) []byte       { return append([]byte(nil), b...) }
func users(s []string) []roster.UserID { return each(s, named[roster.UserID]) }

func incidentToProto(in *incident.Incident) *storepb.Incident {
	return &storepb.Incident{
		Number: in.Number, Service: string(in.Service), Team: string(in.Team), Text: textToProto(in.Text),
		Severity: uint32(in.Severity), Urgency: uint32(in.Urgency), Priority: uint32(in.Priority),
		Policy: string(in.Policy.ID), PolicyVersion: in.Policy.Version, Direct: in.Direct,
		Level: int32(in.Level), Loop: int32(in.Loop), Exhausted: in.Exhausted, MultiAck: in.MultiAck,
		Hurried: in.Hurried, Reminded: in.Reminded,
		Turns: each(in.Turns, func(t incident.Turn) *storepb.Turn {
			return &storepb.Turn{Level: int32(t.Level), User: string(t.User)}
		}),
		Assignees: each(in.Assignees, assigneeToProto), Shadows: each(in.Shadows, assigneeToProto),
		Responses: each(in.Responses, responseToProto),
		Acks: each(in.Acks, func(a incident.Ack) *storepb.Ack {
			return &storepb.Ack{By: actorToProto(a.By), At: ms(a.At), ClientAt: ms(a.ClientAt)}
		}),
		Timers:  timersToProto(in.Timers),
		Created: ms(in.Created), Updated: ms(in.Updated), FirstAck: ms(in.FirstAck),
		ResolvedAt: ms(in.ResolvedAt), ResolvedBy: actorToProto(in.ResolvedBy), Cause: uint32(in.Cause),
		Opened: each(in.Opened, intervalToProto), Reopens: int32(in.Reopens),
		AlertsOpen: int32(in.AlertsOpen), AlertsTotal: int32(in.AlertsTotal), HoldOpen: in.HoldOpen,
		MergedInto: string(in.MergedInto), Merged: each(in.Merged, text[incident.ID]),
		Seq: int32(in.Seq), Version: in.Version, Trace: in.Trace,
	}
}

// incidentFromProto reads a body; what the key and the prefix say is added.
func incidentFromProto(id incident.ID, p prefix, m *storepb.Incident) *incident.Incident {
	return &incident.Incident{
		ID: id, Revision: p.Revision, Writer: p.Nonce, Generation: p.Generation, Status: incident.Status(p.Status),
		Number: m.GetNumber(), Service: catalog.ServiceID(m.GetService()), Team: roster.TeamID(m.GetTeam()),
		Text: textFromProto(m.GetText()), Severity: event.Severity(m.GetSeverity()),
		Urgency: incident.Urgency(m.GetUrgency()), Priority: incident.Priority(m.GetPriority()),
		Policy: escalation.Ref{ID: escalation.PolicyID(m.GetPolicy()), Version: m.GetPolicyVersion()}, Direct: m.GetDirect(),
		Level: int(m.GetLevel()), Loop: int(m.GetLoop()), Exhausted: m.GetExhausted(), MultiAck: m.GetMultiAck(),
		Hurried: m.GetHurried(), Reminded: m.GetReminded(),
		Turns: each(m.GetTurns(), func(t *storepb.Turn) incident.Turn {
			return incident.Turn{Level: int(t.GetLevel()), User: roster.UserID(t.GetUser())}
		}),
		Assignees: each(m.GetAssignees(), assigneeFromProto), Shadows: each(m.GetShadows(), assigneeFromProto),
		Responses: each(m.GetResponses(), responseFromProto),
		Acks: each(m.GetAcks(), func(a *storepb.Ack) incident.Ack {
			return incident.Ack{By: actorFromProto(a.GetBy()), At: at(a.GetAt()), ClientAt: at(a.GetClientAt())}
		}),
		Timers:  timersFromProto(m.GetTimers()),
		Created: at(m.GetCreated()), Updated: at(m.GetUpdated()), FirstAck: at(m.GetFirstAck()),
		ResolvedAt: at(m.GetResolvedAt()), ResolvedBy: actorFromProto(m.GetResolvedBy()), Cause: incident.Cause(m.GetCause()),
		Opened: each(m.GetOpened(), intervalFromProto), Reopens: int(m.GetReopens()),
		AlertsOpen: int(m.GetAlertsOpen()), AlertsTotal: int(m.GetAlertsTotal()), HoldOpen: m.GetHoldOpen(),
		MergedInto: incident.ID(m.GetMergedInto()), Merged: each(m.GetMerged(), named[incident.ID]),
		Seq: int(m.GetSeq()), Version: m.GetVersion(), Trace: m.GetTrace(),
	}
}

func textToProto(t incident.Text) *storepb.Text {
	return &storepb.Text{
		Title: t.Title, Source: t.Source, Component: t.Component, Group: t.Group, Class: t.Class,
		Client: t.Client, ClientUrl: t.ClientURL, Details: t.Details,
		Links: each(t.Links, linkToProto), Images: each(t.Images, imageToProto),
	}
}

func textFromProto(m *storepb.Text) incident.Text {
	return incident.Text{
		Title: m.GetTitle(), Source: m.GetSource(), Component: m.GetComponent(), Group: m.GetGroup(), Class: m.GetClass(),
		Client: m.GetClient(), ClientURL: m.GetClientUrl(), Details: bytesOrNil(m.GetDetails()),
		Links: each(m.GetLinks(), linkFromProto), Images: each(m.GetImages(), imageFromProto),
	}
}

func linkToProto(l event.Link) *storepb.Link { return &storepb.Link{Href: l.Href, Text: l.Text} }
func linkFromProto(m *storepb.Link) event.Link {
	return event.Link{Href: m.GetHref(), Text: m.GetText()}
}

func imageToProto(i event.Image) *storepb.Image {
	return &storepb.Image{Src: i.Src, Href: i.Href, Alt: i.Alt}
}

func imageFromProto(m *storepb.Image) event.Image {
	return event.Image{Src: m.GetSrc(), Href: m.GetHref(), Alt: m.GetAlt()}
}

// elapsedToProto keeps "before the first step" (negative) apart from zero.
func elapsedToProto(d time.Duration) int64 {
	if d < 0 {
		return 0
	}
	return d.Milliseconds() + 1
}

func elapsedFromProto(v int64) time.Duration {
	if v == 0 {
		return -1
	}
	return time.Duration(v-1) * time.Millisecond
}

func assigneeToProto(a incident.Assignee) *storepb.Assignee {
	return &storepb.Assignee{
		User: string(a.User), Since: ms(a.Since), Via: uint32(a.Via), Level: int32(a.Level), Elapsed: elapsedToProto(a.Elapsed),
		Next: ms(a.Next), Reminders: int32(a.Reminders), ReceiptBy: ms(a.ReceiptBy), Pulled: a.Pulled, Paged: ms(a.Paged),
		Failed: each(a.Failed, text[roster.MethodID]), Pages: int32(a.Pages), Schedule: string(a.Schedule),
		Follows: string(a.Shadow.Follows), Mode: uint32(a.Shadow.Mode), Link: string(a.Shadow.Link), Layer: string(a.Shadow.Layer),
		Acked: ms(a.Shadow.Acked),
	}
}

func assigneeFromProto(m *storepb.Assignee) incident.Assignee {
	return incident.Assignee{
		User: roster.UserID(m.GetUser()), Since: at(m.GetSince()), Via: incident.Via(m.GetVia()), Level: int(m.GetLevel()),
		Elapsed: elapsedFromProto(m.GetElapsed()), Next: at(m.GetNext()), Reminders: int(m.GetReminders()),
		ReceiptBy: at(m.GetReceiptBy()), Pulled: each(m.GetPulled(), named[string]), Paged: at(m.GetPaged()),
		Failed: each(m.GetFailed(), named[roster.MethodID]), Pages: int(m.GetPages()), Schedule: schedule.ID(m.GetSchedule()),
		Shadow: incident.Shadowing{
			Follows: roster.UserID(m.GetFollows()), Mode: schedule.Mode(m.GetMode()), Link: schedule.ShadowID(m.GetLink()),
			Layer: schedule.LayerID(m.GetLayer()), Acked: at(m.GetAcked()),
		},
	}
}

func responseToProto(r incident.Response) *storepb.Response {
	return &storepb.Response{
		User: string(r.User), Since: ms(r.Since), Target: r.Target.Milliseconds(), Next: ms(r.Next), Answered: ms(r.Answered),
	}
}

func responseFromProto(m *storepb.Response) incident.Response {
	return incident.Response{
		User: roster.UserID(m.GetUser()), Since: at(m.GetSince()), Target: time.Duration(m.GetTarget()) * time.Millisecond,
		Next: at(m.GetNext()), Answered: at(m.GetAnswered()),
	}
}

func timersToProto(t incident.Timers) *storepb.Timers {
	if t == (incident.Timers{}) {
		return nil
	}
	return &storepb.Timers{
		Escalate: ms(t.Escalate), AckTimeout: ms(t.AckTimeout), AckReminder: ms(t.AckReminder), SnoozeEnd: ms(t.SnoozeEnd),
		AutoResolve: ms(t.AutoResolve), Raise: ms(t.Raise), Fallback: ms(t.Fallback), CatchAll: ms(t.CatchAll),
		HandOff: ms(t.HandOff),
	}
}

func timersFromProto(m *storepb.Timers) incident.Timers {
	return incident.Timers{
		Escalate: at(m.GetEscalate()), AckTimeout: at(m.GetAckTimeout()), AckReminder: at(m.GetAckReminder()),
		SnoozeEnd: at(m.GetSnoozeEnd()), AutoResolve: at(m.GetAutoResolve()), Raise: at(m.GetRaise()),
		Fallback: at(m.GetFallback()), CatchAll: at(m.GetCatchAll()), HandOff: at(m.GetHandOff()),
	}
}

func intervalToProto(i incident.Interval) *storepb.Interval {
	return &storepb.Interval{From: ms(i.From), To: ms(i.To)}
}

func intervalFromProto(m *storepb.Interval) incident.Interval {
	return incident.Interval{From: at(m.GetFrom()), To: at(m.GetTo())}
}

func actorToProto(a incident.Actor) *storepb.Actor {
	if a == (incident.Actor{}) {
		return nil
	}
	return &storepb.Actor{Kind: uint32(a.Kind), Id: a.ID, Via: a.Via, Device: string(a.Device)}
}

func actorFromProto(m *storepb.Actor) incident.Actor {
	return incident.Actor{
		Kind: incident.ActorKind(m.GetKind()), ID: m.GetId(), Via: m.GetVia(), Device: roster.DeviceID(m.GetDevice()),
	}
}
