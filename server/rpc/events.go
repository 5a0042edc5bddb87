package rpc

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/protobuf/proto"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/ingest"
)

// events is tocsin.v1.EventService.
type events struct {
	pb.UnimplementedEventServiceServer
	*Server
}

// traceOf returns the W3C traceparent of a call, empty when it is not traced.
func traceOf(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier["traceparent"]
}

// from returns the integration that calls.
func (s *events) from(ctx context.Context) (ingest.Integration, error) {
	p := callOf(ctx).principal
	if p.Kind != auth.KindIntegration {
		return ingest.Integration{}, fault.New(fault.Denied, "NOT_AN_INTEGRATION", "events are sent with the key of an integration")
	}
	in, ok := s.c.Directory.Snapshot().GetIntegration(p.Integration)
	if !ok {
		return ingest.Integration{}, auth.ErrUnknown
	}
	if in.Disabled {
		return ingest.Integration{}, fault.New(fault.Denied, "INTEGRATION_DISABLED", "the integration is disabled", "name", integrationName(in.ID))
	}
	o, err := ingest.ParseOptions(in.Options)
	if err != nil { // checked when it was configured
		o = ingest.Options{}
	}
	return ingest.Integration{ID: string(in.ID), ServiceID: string(in.Service), Source: in.Source, Options: o}, nil
}

func (s *events) PublishEvent(ctx context.Context, req *pb.PublishEventRequest) (*pb.PublishEventResponse, error) {
	from, err := s.from(ctx)
	if err != nil {
		return nil, err
	}
	leave, err := s.c.Gate.Enter(from.Sender(), int64(proto.Size(req)))
	if err != nil {
		return nil, err
	}
	defer leave()
	e, err := s.eventOf(from, req.GetEvent())
	if err != nil {
		return nil, err
	}
	accepted, err := s.c.Acceptor.Accept(ctx, from, []event.Event{e})
	if err != nil {
		return nil, err
	}
	if len(accepted) != 1 {
		return nil, fmt.Errorf("accepting one event gave %d answers", len(accepted))
	}
	if accepted[0].Result == ingest.OutcomeRejected {
		return nil, fault.InvalidField("event", "%s", accepted[0].Reason)
	}
	return published(accepted[0]), nil
}

func (s *events) BatchPublishEvents(ctx context.Context, req *pb.BatchPublishEventsRequest) (*pb.BatchPublishEventsResponse, error) {
	from, err := s.from(ctx)
	if err != nil {
		return nil, err
	}
	leave, err := s.c.Gate.Enter(from.Sender(), int64(proto.Size(req)))
	if err != nil {
		return nil, err
	}
	defer leave()
	answer := &pb.BatchPublishEventsResponse{Results: make([]*pb.PublishEventResponse, len(req.GetEvents()))}
	var good []event.Event
	var at []int
	for i, m := range req.GetEvents() {
		err := validate(s.rules, m)
		var e event.Event
		if err == nil {
			e, err = s.eventOf(from, m)
		}
		switch {
		case fault.KindOf(err) == fault.Invalid && err != nil:
			answer.Results[i] = &pb.PublishEventResponse{
				Result: pb.PublishEventResponse_RESULT_REJECTED, DedupKey: m.GetDedupKey(), Reason: err.Error(),
			}
		case err != nil:
			return nil, err
		default:
			good, at = append(good, e), append(at, i)
		}
	}
	if len(good) == 0 {
		return answer, nil
	}
	accepted, err := s.c.Acceptor.Accept(ctx, from, good)
	if err != nil {
		return nil, err
	}
	if len(accepted) != len(good) {
		return nil, fmt.Errorf("accepting %d events gave %d answers", len(good), len(accepted))
	}
	for k, a := range accepted {
		answer.Results[at[k]] = published(a)
	}
	return answer, nil
}

func published(a ingest.Accepted) *pb.PublishEventResponse {
	m := &pb.PublishEventResponse{DedupKey: a.DedupKey, EventId: newID(), Reason: a.Reason}
	switch a.Result {
	case ingest.OutcomeIgnored:
		m.Result = pb.PublishEventResponse_RESULT_IGNORED
	case ingest.OutcomeRejected:
		m.Result = pb.PublishEventResponse_RESULT_REJECTED
	default: // whether it was here before is the sender's to know by its id
		m.Result = pb.PublishEventResponse_RESULT_ACCEPTED
	}
	return m
}

// eventOf returns the common event of a message, normalised.
func (s *events) eventOf(from ingest.Integration, m *pb.Event) (event.Event, error) {
	e := eventOf(m)
	if e.Source == "" {
		if in, ok := s.c.Directory.Snapshot().GetIntegration(catalog.IntegrationID(from.ID)); ok {
			e.Source = in.Name
		}
	}
	return normalised(e, from)
}

// normalised brings an event within the limits of its package. A trigger
// without a key gets one of what it says, and ends by itself.
func normalised(e event.Event, from ingest.Integration) (event.Event, error) {
	nameless := e.DedupKey == "" && e.Action == event.Trigger
	if nameless {
		e.DedupKey = "auto:" // within the limits until the rest is
	}
	e, err := event.Normalise(e)
	if err != nil {
		return e, err
	}
	if nameless {
		e.DedupKey, e.KeyMade = event.StableKey(from.ID, e), true
	}
	return e, nil
}

// eventOf translates a message; its enumerations have the domain's numbers.
func eventOf(m *pb.Event) event.Event {
	return event.Event{
		Action: event.Action(m.GetAction()), DedupKey: m.GetDedupKey(), Summary: m.GetSummary(), Source: m.GetSource(), //nolint:gosec // checked by the rules
		Severity: severityOf(m.GetSeverity()), Timestamp: instant(m.GetEventTime()), Component: m.GetComponent(),
		Group: m.GetGroup(), Class: m.GetClass(), Details: detailsOf(m.GetDetails()), Links: each(m.GetLinks(), linkOf),
		Images: each(m.GetImages(), imageOf), Client: m.GetClient(), ClientURL: m.GetClientUri(), SenderID: m.GetSenderId(),
	}
}
