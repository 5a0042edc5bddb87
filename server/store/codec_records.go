package store

import (
	"time"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
	"github.com/tocsin-oncall/tocsin/server/store/storepb"
)

// The records beside an incident: alerts, timeline, deliveries, work.

func alertToProto(a incident.Alert) *storepb.Alert {
	return &storepb.Alert{
		Service: string(a.Service), Key: a.Key, Integration: string(a.Integration), Open: a.Open, Count: int64(a.Count),
		First: ms(a.First), Last: ms(a.Last), SourceTime: ms(a.SourceTime), Severity: uint32(a.Severity), Summary: a.Summary,
		RepeatsSeq: int32(a.Repeats.Seq), RepeatsCount: int64(a.Repeats.Count), RepeatsAt: ms(a.Repeats.At),
	}
}

func alertFromProto(m *storepb.Alert) incident.Alert {
	return incident.Alert{
		Service: catalog.ServiceID(m.GetService()), Key: m.GetKey(), Integration: catalog.IntegrationID(m.GetIntegration()),
		Open: m.GetOpen(), Count: int(m.GetCount()), First: at(m.GetFirst()), Last: at(m.GetLast()),
		SourceTime: at(m.GetSourceTime()), Severity: event.Severity(m.GetSeverity()), Summary: m.GetSummary(),
		Repeats: incident.Repeats{Seq: int(m.GetRepeatsSeq()), Count: int(m.GetRepeatsCount()), At: at(m.GetRepeatsAt())},
	}
}

func entryToProto(e incident.Entry) *storepb.Entry {
	return &storepb.Entry{
		Seq: int32(e.Seq), At: ms(e.At), Type: uint32(e.Type), Actor: actorToProto(e.Actor), Cause: uint32(e.Cause),
		Users: each(e.Users, text[roster.UserID]), Via: uint32(e.Via), From: int32(e.From), Level: int32(e.Level),
		Loop: int32(e.Loop), Count: int64(e.Count), Service: string(e.Service), Key: e.Key, Step: string(e.Step),
		Loud: e.Loud, Text: e.Text, Until: ms(e.Until), ClientAt: ms(e.ClientAt), Other: string(e.Other),
		Urgency: uint32(e.Urgency), Priority: uint32(e.Priority), Severity: uint32(e.Severity),
		Follows: string(e.Follows), Mode: uint32(e.Mode), Took: e.Took.Milliseconds(),
	}
}

func entryFromProto(m *storepb.Entry) incident.Entry {
	return incident.Entry{
		Seq: int(m.GetSeq()), At: at(m.GetAt()), Type: incident.EntryType(m.GetType()), Actor: actorFromProto(m.GetActor()),
		Cause: incident.Cause(m.GetCause()), Users: users(m.GetUsers()), Via: incident.Via(m.GetVia()),
		From: int(m.GetFrom()), Level: int(m.GetLevel()), Loop: int(m.GetLoop()), Count: int(m.GetCount()),
		Service: catalog.ServiceID(m.GetService()), Key: m.GetKey(), Step: roster.MethodID(m.GetStep()),
		Loud: m.GetLoud(), Text: m.GetText(), Until: at(m.GetUntil()), ClientAt: at(m.GetClientAt()),
		Other: incident.ID(m.GetOther()), Urgency: incident.Urgency(m.GetUrgency()),
		Priority: incident.Priority(m.GetPriority()), Severity: event.Severity(m.GetSeverity()),
		Follows: roster.UserID(m.GetFollows()), Mode: schedule.Mode(m.GetMode()), Took: time.Duration(m.GetTook()) * time.Millisecond,
	}
}

func deliveryToProto(d incident.Delivery) *storepb.Delivery {
	return &storepb.Delivery{
		Id: d.ID, Work: d.Work, User: string(d.User), Device: string(d.Device), Method: string(d.Method), Kind: uint32(d.Kind),
		Native: d.Native, Page: d.Page, Urgency: uint32(d.Urgency), State: uint32(d.State), Audible: d.Audible,
		Attempts: int32(d.Attempts), Reason: d.Reason, Provider: d.Provider, Deadline: ms(d.Deadline),
		Queued: ms(d.Queued), Attempted: ms(d.Attempted), Accepted: ms(d.Accepted), Received: ms(d.Received),
		Displayed: ms(d.Displayed), Opened: ms(d.Opened), Acted: ms(d.Acted), Ended: ms(d.Ended),
		Silent: d.Silent, Epoch: d.Epoch, Tries: string(d.Tries),
	}
}

func deliveryFromProto(m *storepb.Delivery) incident.Delivery {
	return incident.Delivery{
		ID: m.GetId(), Work: m.GetWork(), User: roster.UserID(m.GetUser()), Device: roster.DeviceID(m.GetDevice()),
		Method: roster.MethodID(m.GetMethod()), Kind: roster.MethodKind(m.GetKind()), Native: m.GetNative(), Page: m.GetPage(),
		Urgency: incident.Urgency(m.GetUrgency()), State: incident.DeliveryState(m.GetState()), Audible: m.GetAudible(),
		Attempts: int(m.GetAttempts()), Reason: m.GetReason(), Provider: m.GetProvider(), Deadline: at(m.GetDeadline()),
		Queued: at(m.GetQueued()), Attempted: at(m.GetAttempted()), Accepted: at(m.GetAccepted()), Received: at(m.GetReceived()),
		Displayed: at(m.GetDisplayed()), Opened: at(m.GetOpened()), Acted: at(m.GetActed()), Ended: at(m.GetEnded()),
		Silent: m.GetSilent(), Epoch: m.GetEpoch(), Tries: incident.Tries(m.GetTries()),
	}
}

func workToProto(w incident.Work) *storepb.Work {
	return &storepb.Work{
		Kind: uint32(w.Kind), Incident: string(w.Incident), Generation: w.Generation, User: string(w.User),
		Method: string(w.Method), Loud: w.Loud, Urgency: uint32(w.Urgency), Reason: uint32(w.Reason), Level: int32(w.Level),
		Number: int32(w.Number), Deadline: ms(w.Deadline), Text: w.Text, Actor: actorToProto(w.Actor), Cause: uint32(w.Cause),
		Other: string(w.Other), Service: string(w.Service), Key: w.Key, Revision: w.Revision, Trace: w.Trace,
		Severity: uint32(w.Severity), Schedule: string(w.Schedule), Follows: string(w.Follows), Mode: uint32(w.Mode),
	}
}

func workFromProto(m *storepb.Work) incident.Work {
	return incident.Work{
		Kind: incident.WorkKind(m.GetKind()), Incident: incident.ID(m.GetIncident()), Generation: m.GetGeneration(),
		User: roster.UserID(m.GetUser()), Method: roster.MethodID(m.GetMethod()), Loud: m.GetLoud(),
		Urgency: incident.Urgency(m.GetUrgency()), Reason: incident.PageReason(m.GetReason()), Level: int(m.GetLevel()),
		Number: int(m.GetNumber()), Deadline: at(m.GetDeadline()), Text: m.GetText(), Actor: actorFromProto(m.GetActor()),
		Cause: incident.Cause(m.GetCause()), Other: incident.ID(m.GetOther()), Service: catalog.ServiceID(m.GetService()),
		Key: m.GetKey(), Revision: m.GetRevision(), Trace: m.GetTrace(), Severity: event.Severity(m.GetSeverity()),
		Schedule: schedule.ID(m.GetSchedule()), Follows: roster.UserID(m.GetFollows()), Mode: schedule.Mode(m.GetMode()),
	}
}

func eventToProto(e event.Event) *storepb.Event {
	return &storepb.Event{
		Action: uint32(e.Action), DedupKey: e.DedupKey, KeyMade: e.KeyMade, Summary: e.Summary, Source: e.Source,
		Severity: uint32(e.Severity), Timestamp: ms(e.Timestamp), Component: e.Component, Group: e.Group, Class: e.Class,
		Details: e.Details, Links: each(e.Links, linkToProto), Images: each(e.Images, imageToProto),
		Client: e.Client, ClientUrl: e.ClientURL, SenderId: e.SenderID,
	}
}

func eventFromProto(m *storepb.Event) event.Event {
	return event.Event{
		Action: event.Action(m.GetAction()), DedupKey: m.GetDedupKey(), KeyMade: m.GetKeyMade(), Summary: m.GetSummary(),
		Source: m.GetSource(), Severity: event.Severity(m.GetSeverity()), Timestamp: at(m.GetTimestamp()),
		Component: m.GetComponent(), Group: m.GetGroup(), Class: m.GetClass(), Details: bytesOrNil(m.GetDetails()),
		Links: each(m.GetLinks(), linkFromProto), Images: each(m.GetImages(), imageFromProto),
		Client: m.GetClient(), ClientURL: m.GetClientUrl(), SenderID: m.GetSenderId(),
	}
}
