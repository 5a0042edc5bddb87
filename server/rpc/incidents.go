package rpc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/respond"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// incidents is tocsin.v1.IncidentService.
type incidents struct {
	pb.UnimplementedIncidentServiceServer
	*Server
}

// change is what every request to change one incident has.
type change interface {
	GetName() string
	GetRequestId() string
}

// do carries out a command on the incident of a request and answers with the
// incident after it.
func (s *incidents) do(ctx context.Context, req change, cmd incident.Command) (*pb.Incident, error) {
	return changeIncident[pb.Incident](ctx, s.Server, req, cmd, func(in *incident.Incident) *pb.Incident { return s.shape().incident(in) })
}

// changeIncident carries out a command and makes the answer of the incident
// after it. The commit itself keeps the answer for the request id.
func changeIncident[T any, M message[T]](
	ctx context.Context, s *Server, req change, cmd incident.Command, answer func(*incident.Incident) M,
) (M, error) {
	c, id := callOf(ctx), incident.ID(last(req.GetName()))
	o := respond.Options{Request: c.request(req.GetRequestId())}
	if e, ok := req.(interface{ GetEtag() string }); ok {
		var err error
		if o.Etag, err = version(e.GetEtag()); err != nil {
			return nil, err
		}
	}
	if o.Request == "" {
		in, err := s.c.Desk.Do(ctx, id, cmd, o)
		if err != nil {
			return nil, err
		}
		s.audit(ctx, incidentName(id), verb(cmd), "")
		return answer(in), nil
	}
	p, err := store.PartitionOfIncident(id)
	if err != nil {
		return nil, err
	}
	before := M(new(T))
	if ok, err := s.answered(ctx, p, o.Request, before); ok || err != nil {
		return before, err
	}
	was, err := s.c.Store.Incident(ctx, id)
	if err != nil {
		return nil, err
	}
	var given M
	var failed error
	o.Answer = func(_, in *incident.Incident) []byte {
		in = committed(was, in)
		given = answer(in)
		var b []byte
		b, failed = encode(given)
		return b
	}
	_, err = s.c.Desk.Do(ctx, id, cmd, o)
	if errors.Is(err, store.ErrRequestAnswered) {
		if ok, err := s.answered(ctx, p, o.Request, before); ok || err != nil {
			return before, err
		}
	}
	if err := errors.Join(err, failed); err != nil {
		return nil, err
	}
	s.audit(ctx, incidentName(id), verb(cmd), "")
	return given, nil
}

// committed returns the incident with the revision that its commit gives it:
// one more than was read, unless the decision changes nothing of it.
func committed(was, in *incident.Incident) *incident.Incident {
	after := *in
	same := was.Revision == in.Revision && was.Seq == in.Seq && was.Version == in.Version && was.Updated.Equal(in.Updated)
	if !same {
		after.Revision++
	}
	return &after
}

// verb names a command in audit records.
func verb(cmd incident.Command) string {
	switch cmd.(type) {
	case incident.Acknowledge:
		return "acknowledge"
	case incident.Confirm:
		return "confirm"
	case incident.Resolve:
		return "resolve"
	case incident.Escalate:
		return "escalate"
	case incident.Unacknowledge:
		return "unacknowledge"
	case incident.Reopen:
		return "reopen"
	case incident.Snooze:
		return "snooze"
	case incident.Reassign:
		return "reassign"
	case incident.TakeOver:
		return "take_over"
	case incident.SetPriority:
		return "set_priority"
	case incident.SetUrgency:
		return "set_urgency"
	case incident.AddNote:
		return "note"
	case incident.RequestResponders:
		return "request_responders"
	default:
		return "change"
	}
}

func (s *incidents) AcknowledgeIncident(ctx context.Context, req *pb.AcknowledgeIncidentRequest) (*pb.Incident, error) {
	by := s.tapped(ctx, req.GetDeliveryId())
	cmd := incident.Command(incident.Acknowledge{By: by, ClientAt: clientTime(req.GetClientTime().AsTime(), req.GetClientTime() != nil)})
	if user, ok := by.User(); ok && req.GetExtend() {
		in, err := s.c.Store.Incident(ctx, incident.ID(last(req.GetName())))
		if err != nil {
			return nil, err
		}
		if in.AckedBy(user) {
			cmd = incident.Confirm{By: by}
		}
	}
	answer, err := s.do(ctx, req, cmd)
	if err == nil {
		s.acted(ctx, req.GetName(), req.GetDeliveryId())
	}
	return answer, err
}

func (s *incidents) ResolveIncident(ctx context.Context, req *pb.ResolveIncidentRequest) (*pb.Incident, error) {
	by := s.tapped(ctx, req.GetDeliveryId())
	if err := s.noteBefore(ctx, req.GetName(), req.GetNote(), req.GetEtag(), req.GetRequestId(), by); err != nil {
		return nil, err
	}
	answer, err := s.do(ctx, req, incident.Resolve{By: by})
	if err == nil {
		s.acted(ctx, req.GetName(), req.GetDeliveryId())
	}
	return answer, err
}

// noteBefore writes what somebody says about the end of an open incident before
// it ends: together they are one request, and a retry writes the note once.
func (s *incidents) noteBefore(ctx context.Context, name, text, etag, requestID string, by incident.Actor) error {
	if text == "" {
		return nil
	}
	id := incident.ID(last(name))
	in, err := s.c.Store.Incident(ctx, id)
	if err != nil || !in.Open() {
		return err
	}
	o := respond.Options{}
	if o.Etag, err = version(etag); err != nil {
		return err
	}
	if requestID != "" {
		o.Request = callOf(ctx).request(requestID + "/note")
	}
	_, err = s.c.Desk.Do(ctx, id, incident.AddNote{By: by, Text: text}, o)
	if errors.Is(err, store.ErrRequestAnswered) {
		return nil
	}
	return err
}

func (s *incidents) EscalateIncident(ctx context.Context, req *pb.EscalateIncidentRequest) (*pb.Incident, error) {
	cmd := incident.Escalate{By: s.tapped(ctx, req.GetDeliveryId()), Wrap: req.GetWrap()}
	cmd.To, cmd.Expected = level(req.GetLevel()), level(req.GetExpectedLevel())
	answer, err := s.do(ctx, req, cmd)
	if err == nil {
		s.acted(ctx, req.GetName(), req.GetDeliveryId())
	}
	return answer, err
}

// level turns a level as people count, from 1, into one as policies do; 0 is none.
func level(n int32) *int {
	if n == 0 {
		return nil
	}
	l := int(n) - 1
	return &l
}

// tapped returns the caller; a tap that names its delivery came from a notification.
func (s *Server) tapped(ctx context.Context, delivery string) incident.Actor {
	c := callOf(ctx)
	if delivery != "" && c.principal.Device != "" {
		return c.actor("notification")
	}
	return c.actor("")
}

// acted marks the delivery that somebody answered, if it is that caller's own.
func (s *Server) acted(ctx context.Context, name, delivery string) {
	if delivery == "" {
		return
	}
	p := callOf(ctx).principal
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterwards)
	defer cancel()
	doc, dv, ok, err := s.c.Store.Delivery(after, delivery)
	if err != nil || !ok || doc.Incident != incident.ID(last(name)) || !p.Is(dv.User) {
		return
	}
	s.markActed(after, dv.ID, p.Device)
}

// clientTime keeps a phone's clock only where it can be shown.
func clientTime(at time.Time, there bool) time.Time {
	if !there || at.Year() < 2000 || at.Year() > 9999 {
		return time.Time{}
	}
	return at
}

func (s *incidents) GetIncident(ctx context.Context, req *pb.GetIncidentRequest) (*pb.Incident, error) {
	id := incident.ID(last(req.GetName()))
	in, err := s.c.Store.Incident(ctx, id)
	if err != nil {
		return nil, err
	}
	alerts, err := s.c.Store.Alerts(ctx, id)
	if err != nil {
		return nil, err
	}
	began, err := s.c.Store.Timeline(ctx, id, 1, 1)
	if err != nil {
		return nil, err
	}
	sh := s.shape()
	m := sh.incident(in)
	m.Details = details(in.Text.Details)
	newestFirst(alerts)
	m.Alerts = each(alerts[:min(len(alerts), 100)], func(a incident.Alert) *pb.Alert { return sh.alert(id, a) })
	if len(began) > 0 && (began[0].Actor.Kind == incident.ActorUser || began[0].Actor.Kind == incident.ActorService) {
		m.Creator = sh.actor(began[0].Actor)
	}
	return m, nil
}

func newestFirst(alerts []incident.Alert) {
	slices.SortFunc(alerts, func(a, b incident.Alert) int {
		return cmp.Or(b.First.Compare(a.First), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Key, b.Key))
	})
}

func (s *incidents) UnacknowledgeIncident(ctx context.Context, req *pb.UnacknowledgeIncidentRequest) (*pb.Incident, error) {
	return s.do(ctx, req, incident.Unacknowledge{By: callOf(ctx).actor("")})
}

func (s *incidents) ReopenIncident(ctx context.Context, req *pb.ReopenIncidentRequest) (*pb.Incident, error) {
	return s.do(ctx, req, incident.Reopen{By: callOf(ctx).actor("")})
}

// The limits of a snooze. The shortest is as short as the
// installation's levels may be, so that a demo can wait for one.
const longestSnooze = 7 * 24 * time.Hour

func (s *incidents) SnoozeIncident(ctx context.Context, req *pb.SnoozeIncidentRequest) (*pb.Incident, error) {
	d, least := req.GetDuration().AsDuration(), min(time.Minute, s.c.Directory.Snapshot().Pace().FastestLevel)
	if d < least || d > longestSnooze {
		return nil, fault.InvalidField("duration", "has to be between %s and 7 days", least)
	}
	return s.do(ctx, req, incident.Snooze{By: callOf(ctx).actor(""), For: d})
}

func (s *incidents) ReassignIncident(ctx context.Context, req *pb.ReassignIncidentRequest) (*pb.Incident, error) {
	people, err := callOf(ctx).users("users", req.GetUsers())
	if err != nil {
		return nil, err
	}
	return s.do(ctx, req, incident.Reassign{
		By: callOf(ctx).actor(""), Users: people, Policy: policyID(req.GetEscalationPolicy()), NoFallback: req.GetNoFallback(),
	})
}

// users resolves names of users; each person once.
func (c *call) users(field string, list []string) ([]roster.UserID, error) {
	var people []roster.UserID
	for i, name := range list {
		u, err := c.user(fmt.Sprintf("%s[%d]", field, i), name)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(people, u) {
			people = append(people, u)
		}
	}
	return people, nil
}

func (s *incidents) SetIncidentPriority(ctx context.Context, req *pb.SetIncidentPriorityRequest) (*pb.Incident, error) {
	return s.do(ctx, req, incident.SetPriority{By: callOf(ctx).actor(""), Priority: priorityOf(req.GetPriority())})
}

func (s *incidents) SetIncidentUrgency(ctx context.Context, req *pb.SetIncidentUrgencyRequest) (*pb.Incident, error) {
	return s.do(ctx, req, incident.SetUrgency{By: callOf(ctx).actor(""), Urgency: urgencyOf(req.GetUrgency())})
}

func (s *incidents) AddIncidentNote(ctx context.Context, req *pb.AddIncidentNoteRequest) (*pb.TimelineEntry, error) {
	by := callOf(ctx).actor("")
	return changeIncident[pb.TimelineEntry](ctx, s.Server, req, incident.AddNote{By: by, Text: req.GetText()}, func(in *incident.Incident) *pb.TimelineEntry {
		return s.shape().entry(incident.Entry{Seq: in.Seq, At: in.Updated, Type: incident.EntryNote, Actor: by, Text: req.GetText()})
	})
}

func (s *incidents) RequestResponders(ctx context.Context, req *pb.RequestRespondersRequest) (*pb.Incident, error) {
	people, err := callOf(ctx).users("users", req.GetUsers())
	if err != nil {
		return nil, err
	}
	snap := s.c.Directory.Snapshot()
	reachable := slices.ContainsFunc(people, func(id roster.UserID) bool {
		u, ok := snap.User(id)
		return !ok || u.Reachable(true, snap.Devices(id)) // one who does not exist is the rule's to refuse
	})
	if !reachable {
		return nil, fault.New(fault.Precondition, "NOBODY_REACHABLE", "none of them has a working way to be woken; choose somebody else or enrol a device first")
	}
	text := req.GetMessage()
	if text == "" {
		in, err := s.c.Store.Incident(ctx, incident.ID(last(req.GetName())))
		if err != nil {
			return nil, err
		}
		text = in.Text.Title
	}
	return s.do(ctx, req, incident.RequestResponders{By: callOf(ctx).actor(""), Users: people, Text: text})
}
