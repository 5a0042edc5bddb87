package rpc

import (
	"context"
	"fmt"
	"slices"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/respond"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// maxPointers is how many merges of merges are followed.
const maxPointers = 16

func (s *incidents) MergeIncidents(ctx context.Context, req *pb.MergeIncidentsRequest) (*pb.Incident, error) {
	target := incident.ID(last(req.GetName()))
	p, err := store.PartitionOfIncident(target)
	if err != nil {
		return nil, err
	}
	return once(ctx, s.Server, p, req.GetRequestId(), nil, func() (*pb.Incident, error) {
		sources, err := s.checkMerge(ctx, req, target)
		if err != nil {
			return nil, err
		}
		if len(sources) == 0 { // all of it was done before
			in, err := s.c.Store.Incident(ctx, target)
			if err != nil {
				return nil, err
			}
			return s.shape().incident(in), nil
		}
		// The etag has been compared: the merge itself moves it.
		in, err := s.c.Desk.Merge(ctx, target, sources, callOf(ctx).actor(""), respond.Options{})
		if err != nil {
			return nil, err
		}
		s.audit(ctx, incidentName(target), "merge", fmt.Sprint(sources))
		return s.shape().incident(in), nil
	})
}

// checkMerge returns what there is to merge, or refuses all of it before
// anything has begun.
func (s *incidents) checkMerge(ctx context.Context, req *pb.MergeIncidentsRequest, target incident.ID) ([]incident.ID, error) {
	etag, err := version(req.GetEtag())
	if err != nil {
		return nil, err
	}
	in, err := s.c.Store.Incident(ctx, target)
	if err != nil {
		return nil, err
	}
	if etag != 0 && etag != in.Version {
		return nil, respond.ErrStale.With("incident", string(target))
	}
	var sources []incident.ID
	for i, name := range req.GetSources() {
		id := incident.ID(last(name))
		if id == target {
			return nil, fault.InvalidField(fmt.Sprintf("sources[%d]", i), "an incident cannot be merged into itself")
		}
		source, err := s.followMerged(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("read source %s of a merge: %w", id, err)
		}
		switch {
		case source.ID == target, slices.Contains(sources, source.ID):
			continue // it went there before
		case !source.Open():
			return nil, fault.New(fault.Precondition, "INCIDENT_RESOLVED", "only an open incident can be merged", "incident", string(source.ID))
		}
		sources = append(sources, source.ID)
	}
	if len(sources) > 0 && !in.Open() {
		return nil, fault.New(fault.Precondition, "TARGET_RESOLVED", "the target of a merge has to be open; re-open it first", "incident", string(target))
	}
	return sources, nil
}

// followMerged returns the incident, or the one that it was merged into.
func (s *incidents) followMerged(ctx context.Context, id incident.ID) (*incident.Incident, error) {
	for range maxPointers {
		in, err := s.c.Store.Incident(ctx, id)
		if err != nil || in.MergedInto == "" {
			return in, err
		}
		id = in.MergedInto
	}
	return nil, fault.New(fault.Precondition, "INCIDENT_RESOLVED", "the incident was merged too often to be followed", "incident", string(id))
}

func (s *incidents) SplitIncident(ctx context.Context, req *pb.SplitIncidentRequest) (*pb.Incident, error) {
	id := incident.ID(last(req.GetName()))
	p, err := store.PartitionOfIncident(id)
	if err != nil {
		return nil, err
	}
	return once(ctx, s.Server, p, req.GetRequestId(), nil, func() (*pb.Incident, error) {
		keys, err := s.keysOf(ctx, id, req.GetAlerts())
		if err != nil {
			return nil, err
		}
		o := respond.Options{}
		if o.Etag, err = version(req.GetEtag()); err != nil {
			return nil, err
		}
		in, err := s.c.Desk.Split(ctx, id, respond.Part{Alerts: keys, Title: req.GetTitle()}, callOf(ctx).actor(""), o)
		if err != nil {
			return nil, err
		}
		s.audit(ctx, incidentName(id), "split", incidentName(in.ID))
		return s.shape().incident(in), nil
	})
}

// keysOf returns the dedup keys of alerts that are named by their resource names.
func (s *incidents) keysOf(ctx context.Context, id incident.ID, names []string) ([]string, error) {
	alerts, err := s.c.Store.Alerts(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(alerts) == 0 {
		if _, err := s.c.Store.Incident(ctx, id); err != nil {
			return nil, err
		}
	}
	type key struct {
		service catalog.ServiceID
		key     string
	}
	byName := make(map[string]key, len(alerts))
	for _, a := range alerts {
		byName[alertName(a.Service, a.Key)] = key{a.Service, a.Key}
	}
	keys := make([]string, 0, len(names))
	for i, name := range names {
		k, ok := byName[name]
		if !ok {
			return nil, missing(fmt.Sprintf("alerts[%d]", i), name)
		}
		keys = append(keys, k.key)
	}
	return keys, nil
}
