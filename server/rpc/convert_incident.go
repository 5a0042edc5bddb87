package rpc

import (
	"encoding/json"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/incident"
)

var (
	states = map[incident.Status]pb.Incident_State{ //nolint:gochecknoglobals // look-up table
		incident.Triggered: pb.Incident_STATE_TRIGGERED, incident.Acknowledged: pb.Incident_STATE_ACKNOWLEDGED,
		incident.Resolved: pb.Incident_STATE_RESOLVED,
	}
	vias = map[incident.Via]pb.Assignee_Via{ //nolint:gochecknoglobals // look-up table
		incident.ViaPolicy: pb.Assignee_VIA_POLICY, incident.ViaDirect: pb.Assignee_VIA_DIRECT,
		incident.ViaFallback: pb.Assignee_VIA_FALLBACK, incident.ViaCatchAll: pb.Assignee_VIA_CATCH_ALL,
		incident.ViaResponder: pb.Assignee_VIA_RESPONDER_REQUEST,
	}
	ends = map[incident.Cause]pb.Incident_ResolveCause{ //nolint:gochecknoglobals // look-up table
		incident.CauseManual: pb.Incident_RESOLVE_CAUSE_MANUAL, incident.CauseSource: pb.Incident_RESOLVE_CAUSE_SOURCE,
		incident.CauseAutoTimeout: pb.Incident_RESOLVE_CAUSE_AUTO_TIMEOUT, incident.CauseMerged: pb.Incident_RESOLVE_CAUSE_MERGED,
		incident.CauseAlerts: pb.Incident_RESOLVE_CAUSE_ALL_ALERTS_RESOLVED,
	}
)

// statusesOf is the reverse of states.
func statusesOf(list []pb.Incident_State) []incident.Status {
	return each(list, func(s pb.Incident_State) incident.Status { return incident.Status(s) }) //nolint:gosec // checked by the rules
}

// incident returns an incident as lists and changes show it: without alerts and details.
func (s shaper) incident(in *incident.Incident) *pb.Incident {
	m := &pb.Incident{
		Name: incidentName(in.ID), Number: in.Number, Title: in.Text.Title, Service: serviceName(in.Service),
		Team: teamName(in.Team), State: states[in.Status], Urgency: urgency(in.Urgency), Priority: priority(in.Priority),
		Severity: severity(in.Severity), SnoozeUntil: stamp(in.Timers.SnoozeEnd), AlertCount: int32(in.AlertsTotal), //nolint:gosec // counts
		OpenAlertCount: int32(in.AlertsOpen), Source: in.Text.Source, Component: in.Text.Component, Group: in.Text.Group, //nolint:gosec // counts
		Class: in.Text.Class, Client: in.Text.Client, ClientUri: in.Text.ClientURL,
		Links: each(in.Text.Links, link), Images: each(in.Text.Images, image),
		CreateTime: stamp(in.Created), UpdateTime: stamp(in.Updated), AcknowledgeTime: stamp(in.FirstAck),
		ResolveTime: stamp(in.ResolvedAt), ResolveCause: ends[in.Cause], MergedInto: incidentName(in.MergedInto),
		ReopenCount: int32(in.Reopens), Etag: incidentETag(in.Version), Revision: int64(in.Revision), //nolint:gosec // counts
		Escalation: s.escalation(in),
	}
	if in.Status == incident.Resolved {
		m.Resolver = s.actor(in.ResolvedBy)
	}
	for _, a := range in.Assignees {
		as := &pb.Assignee{User: userName(a.User), DisplayName: s.display(a.User), SinceTime: stamp(a.Since), Via: vias[a.Via]}
		if a.Via == incident.ViaPolicy {
			as.Level = int32(a.Level) + 1 //nolint:gosec // at most 20
		}
		m.Assignees = append(m.Assignees, as)
	}
	for _, a := range in.Shadows {
		m.Shadows = append(m.Shadows, &pb.IncidentShadow{
			User: userName(a.User), DisplayName: s.display(a.User), Primary: userName(a.Shadow.Follows), Mode: shadowModes[a.Shadow.Mode],
			AcknowledgeTime: stamp(a.Shadow.Acked),
		})
	}
	for _, r := range in.Responses {
		re := &pb.Response{User: userName(r.User), PageTime: stamp(r.Since), Target: span(r.Target)}
		if !r.Answered.IsZero() {
			re.ResponseTime = durationpb.New(r.Answered.Sub(r.Since))
		}
		m.Responses = append(m.Responses, re)
	}
	for _, a := range in.Acks {
		ack := &pb.Acknowledgement{AcknowledgeTime: stamp(a.At), ClientTime: stamp(a.ClientAt), Via: doors[a.By.Via]}
		if who := s.actor(a.By); who != nil {
			ack.DisplayName = who.GetDisplayName()
		}
		if u, ok := a.By.User(); ok {
			ack.User = userName(u)
		}
		m.Acknowledgements = append(m.Acknowledgements, ack)
	}
	for _, o := range in.Opened {
		m.OpenIntervals = append(m.OpenIntervals, &pb.OpenInterval{StartTime: stamp(o.From), EndTime: stamp(o.To)})
	}
	return m
}

// escalation is absent when the incident was never on a policy.
func (s shaper) escalation(in *incident.Incident) *pb.Escalation {
	if in.Policy.ID == "" {
		return nil
	}
	e := &pb.Escalation{
		Policy: policyName(in.Policy.ID), PolicyVersion: in.Policy.Version, Level: int32(in.Level) + 1, //nolint:gosec // at most 20
		Loop: int32(in.Loop), NextEscalationTime: stamp(in.Timers.Escalate), Exhausted: in.Exhausted, //nolint:gosec // at most 10
	}
	if p, ok := s.names.Policy(in.Policy); ok {
		e.LevelCount = int32(len(p.Levels)) //nolint:gosec // at most 20
	}
	return e
}

func link(l event.Link) *pb.Link { return &pb.Link{Uri: l.Href, Text: l.Text} }
func image(i event.Image) *pb.Image {
	return &pb.Image{SourceUri: i.Src, Uri: i.Href, AltText: i.Alt}
}
func linkOf(l *pb.Link) event.Link { return event.Link{Href: l.GetUri(), Text: l.GetText()} }
func imageOf(i *pb.Image) event.Image {
	return event.Image{Src: i.GetSourceUri(), Href: i.GetUri(), Alt: i.GetAltText()}
}

// details reads stored JSON. What is no object, which should not be there, is shown as text.
func details(raw []byte) *structpb.Struct {
	if len(raw) == 0 {
		return nil
	}
	var m structpb.Struct
	if err := m.UnmarshalJSON(raw); err == nil {
		return &m
	}
	return &structpb.Struct{Fields: map[string]*structpb.Value{"text": structpb.NewStringValue(string(raw))}}
}

// detailsOf writes JSON with its names in order.
func detailsOf(m *structpb.Struct) []byte {
	if len(m.GetFields()) == 0 {
		return nil
	}
	raw, err := json.Marshal(m.AsMap())
	if err != nil { // maps, lists, strings, numbers: NaN alone, which the wire can carry
		return nil
	}
	return raw
}

// alert returns one alert of an incident.
func (s shaper) alert(in incident.ID, a incident.Alert) *pb.Alert {
	state := pb.Alert_STATE_RESOLVED
	if a.Open {
		state = pb.Alert_STATE_OPEN
	}
	return &pb.Alert{
		Name: alertName(a.Service, a.Key), Incident: incidentName(in), Service: serviceName(a.Service),
		Integration: integrationName(a.Integration), DedupKey: a.Key, State: state, Severity: severity(a.Severity),
		Summary: a.Summary, Count: int64(a.Count), CreateTime: stamp(a.First), LastSeenTime: stamp(a.Last), SourceTime: stamp(a.SourceTime),
	}
}
