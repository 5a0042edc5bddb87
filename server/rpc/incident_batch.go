package rpc

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/respond"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// batchWidth is how many incidents of a batch are decided at a time: the
// store folds them into few commits, and other callers are not starved.
const batchWidth = 16

func (s *incidents) BatchAcknowledgeIncidents(ctx context.Context, req *pb.BatchAcknowledgeIncidentsRequest) (*pb.BatchChangeIncidentsResponse, error) {
	at := clientTime(req.GetClientTime().AsTime(), req.GetClientTime() != nil)
	return s.batch(ctx, req.GetRequestId(), req.GetIncidents(), func(ctx context.Context, id incident.ID, o respond.Options) (*incident.Incident, error) {
		return s.c.Desk.Do(ctx, id, incident.Acknowledge{By: callOf(ctx).actor(""), ClientAt: at}, o)
	})
}

func (s *incidents) BatchResolveIncidents(ctx context.Context, req *pb.BatchResolveIncidentsRequest) (*pb.BatchChangeIncidentsResponse, error) {
	return s.batch(ctx, req.GetRequestId(), req.GetIncidents(), func(ctx context.Context, id incident.ID, o respond.Options) (*incident.Incident, error) {
		by := callOf(ctx).actor("")
		if text := req.GetNote(); text != "" {
			if err := s.noteBefore(ctx, string(id), text, etagText(o.Etag), "", by); err != nil {
				return nil, err
			}
		}
		return s.c.Desk.Do(ctx, id, incident.Resolve{By: by}, o)
	})
}

func etagText(v uint32) string {
	if v == 0 {
		return ""
	}
	return incidentETag(v)
}

// batch does the same to every incident of a named set, each on its own.
func (s *incidents) batch(
	ctx context.Context, requestID string, set []*pb.IncidentVersion,
	do func(context.Context, incident.ID, respond.Options) (*incident.Incident, error),
) (*pb.BatchChangeIncidentsResponse, error) {
	if err := distinct(set); err != nil {
		return nil, err
	}
	p := store.PartitionOf(callOf(ctx).name())
	return once(ctx, s.Server, p, requestID, nil, func() (*pb.BatchChangeIncidentsResponse, error) {
		answer := &pb.BatchChangeIncidentsResponse{Results: make([]*pb.BatchChangeIncidentsResponse_Result, len(set))}
		var g errgroup.Group // not WithContext: one that fails must not stop the others
		g.SetLimit(batchWidth)
		for i, v := range set {
			g.Go(func() error {
				answer.Results[i] = s.item(ctx, v, do)
				return nil
			})
		}
		_ = g.Wait() // each has its own error
		return answer, nil
	})
}

// distinct refuses a set that names an incident twice: one result would be of the other's doing.
func distinct(set []*pb.IncidentVersion) error {
	seen := make(map[string]int, len(set))
	for i, v := range set {
		if j, ok := seen[v.GetName()]; ok {
			return fault.InvalidField(fmt.Sprintf("incidents[%d].name", i), "is named before, as incidents[%d]", j)
		}
		seen[v.GetName()] = i
	}
	return nil
}

func (s *incidents) item(
	ctx context.Context, v *pb.IncidentVersion, do func(context.Context, incident.ID, respond.Options) (*incident.Incident, error),
) *pb.BatchChangeIncidentsResponse_Result {
	r := &pb.BatchChangeIncidentsResponse_Result{Name: v.GetName()}
	id := incident.ID(last(v.GetName()))
	before, err := s.c.Store.Incident(ctx, id)
	var after *incident.Incident
	if err == nil {
		o := respond.Options{}
		if o.Etag, err = version(v.GetEtag()); err == nil {
			after, err = do(ctx, id, o)
		}
	}
	if err != nil {
		code, reason, text := itemError(err, callOf(ctx).id)
		r.Error = &pb.ItemError{Code: int32(code), Reason: reason, Message: text} //nolint:gosec // at most 16
		if before != nil {
			if now, err := s.c.Store.Incident(ctx, id); err == nil {
				before = now
			}
			r.Incident = s.shape().incident(before)
		}
		return r
	}
	r.Changed = after.Version != before.Version
	r.Incident = s.shape().incident(after)
	if r.GetChanged() {
		s.audit(ctx, v.GetName(), "batch", "")
	}
	return r
}
