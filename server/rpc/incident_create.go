package rpc

import (
	"context"
	"errors"
	"fmt"
	"strings"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/respond"
	"github.com/tocsin-oncall/tocsin/server/store"
)

func serviceID(name string) catalog.ServiceID {
	return catalog.ServiceID(strings.TrimPrefix(name, "services/"))
}

func policyID(name string) escalation.PolicyID {
	return escalation.PolicyID(strings.TrimPrefix(name, "escalationPolicies/"))
}

// maxDetails is that of an event: what is shown on a phone comes from both.
const maxDetails = event.MaxDetails

func (s *incidents) CreateIncident(ctx context.Context, req *pb.CreateIncidentRequest) (*pb.Incident, error) {
	c, snap, want := callOf(ctx), s.c.Directory.Snapshot(), req.GetIncident()
	begin := incident.Begin{
		By: c.actor(""), Urgency: urgencyOf(want.GetUrgency()), Priority: priorityOf(want.GetPriority()), HoldOpen: true,
		Trace: traceOf(ctx),
	}
	home := "" // what the partition is made of
	if want.GetService() != "" {
		svc, ok := snap.GetService(serviceID(want.GetService()))
		if !ok {
			return nil, missing("incident.service", want.GetService())
		}
		if svc.Disabled {
			return nil, fault.New(fault.Precondition, "SERVICE_DISABLED", "the service is disabled; enable it first, or name users or a policy", "service", want.GetService())
		}
		begin.Service, home = svc.Service, string(svc.ID)
	}
	if req.GetEscalationPolicy() != "" {
		if _, ok := snap.GetPolicy(policyID(req.GetEscalationPolicy())); !ok {
			return nil, missing("escalation_policy", req.GetEscalationPolicy())
		}
		begin.Policy = policyID(req.GetEscalationPolicy())
	}
	var err error
	if begin.Users, err = c.users("users", req.GetUsers()); err != nil {
		return nil, err
	}
	for i, u := range begin.Users {
		if _, ok := snap.GetUser(u); !ok {
			return nil, missing(fmt.Sprintf("users[%d]", i), userName(u))
		}
	}
	if home == "" && len(begin.Users) > 0 {
		home = string(begin.Users[0])
	} else if home == "" {
		home = string(begin.Policy)
	}
	if begin.Event, err = textOf(want); err != nil {
		return nil, err
	}
	return s.begin(ctx, req.GetRequestId(), store.PartitionOf(home), begin)
}

// begin makes the incident. Its commit keeps the answer for the request id.
func (s *incidents) begin(ctx context.Context, requestID string, p store.Partition, begin incident.Begin) (*pb.Incident, error) {
	o := respond.Options{Request: callOf(ctx).request(requestID)}
	before := &pb.Incident{}
	if ok, err := s.answered(ctx, p, o.Request, before); ok || err != nil {
		return before, err
	}
	begin.ID = store.NewIncidentID(p, s.c.Now())
	var given *pb.Incident
	var failed error
	shape := func(in *incident.Incident) {
		made := *in
		made.Revision = 1
		given = s.shape().incident(&made)
		given.Creator = s.shape().actor(begin.By)
	}
	o.Answer = func(_, in *incident.Incident) []byte {
		shape(in)
		var b []byte
		b, failed = encode(given)
		return b
	}
	in, err := s.c.Desk.Begin(ctx, begin, nil, o)
	if errors.Is(err, store.ErrRequestAnswered) {
		if ok, err := s.answered(ctx, p, o.Request, before); ok || err != nil {
			return before, err
		}
	}
	if err := errors.Join(err, failed); err != nil {
		return nil, err
	}
	if given == nil {
		shape(in)
	}
	s.audit(ctx, incidentName(in.ID), "create", "")
	return given, nil
}

// textOf returns what an incident that is made by hand says.
func textOf(m *pb.Incident) (event.Event, error) {
	raw := detailsOf(m.GetDetails())
	if len(raw) > maxDetails {
		return event.Event{}, fault.InvalidField("incident.details", "has %d bytes as JSON; at most %d are kept", len(raw), maxDetails)
	}
	title := strings.Join(strings.Fields(m.GetTitle()), " ") // one line
	if title == "" {
		return event.Event{}, fault.InvalidField("incident.title", "say in 1 to 1024 characters what is wrong")
	}
	return event.Event{
		Action: event.Trigger, Summary: title, Source: m.GetSource(), Severity: severityOf(m.GetSeverity()), Component: m.GetComponent(),
		Group: m.GetGroup(), Class: m.GetClass(), Details: raw, Links: each(m.GetLinks(), linkOf), Images: each(m.GetImages(), imageOf),
	}, nil
}

// missing is the fault of a request that names what does not exist.
func missing(field, name string) error {
	f := fault.New(fault.NotFound, "NOT_FOUND", "there is no "+directory.Words(name), "name", name, "field", field)
	f.Fields = []fault.Field{{Path: field, Fix: "there is no " + directory.Words(name)}}
	return f
}
