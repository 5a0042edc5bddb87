package rpc

import (
	"context"
	"slices"

	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// policies is tocsin.v1.EscalationPolicyService.
type policies struct {
	pb.UnimplementedEscalationPolicyServiceServer
	*Server
}

func (s *policies) read(snap *directory.Snapshot, id escalation.PolicyID) (*pb.EscalationPolicy, error) {
	p, ok := snap.GetPolicy(id)
	if !ok {
		return nil, missing("name", policyName(id))
	}
	return policyMessage(p.Policy, p.Meta, snap.Warnings(p)), nil
}

func (s *policies) GetEscalationPolicy(_ context.Context, req *pb.GetEscalationPolicyRequest) (*pb.EscalationPolicy, error) {
	snap, id := s.c.Directory.Snapshot(), policyID(req.GetName())
	if req.GetVersion() == 0 {
		return s.read(snap, id)
	}
	p, ok := snap.Policy(escalation.Ref{ID: id, Version: req.GetVersion()})
	if !ok {
		return nil, missing("version", policyName(id))
	}
	now, ok := snap.GetPolicy(id)
	if !ok {
		return policyMessage(p, directory.Meta{}, nil), nil // an incident still names it
	}
	return policyMessage(p, now.Meta, nil), nil
}

func (s *policies) ListEscalationPolicies(ctx context.Context, req *pb.ListEscalationPoliciesRequest) (*pb.ListEscalationPoliciesResponse, error) {
	snap, team := s.c.Directory.Snapshot(), roster.TeamID(last(req.GetTeam()))
	var user roster.UserID
	if req.GetUser() != "" {
		var err error
		if user, err = callOf(ctx).user("user", req.GetUser()); err != nil {
			return nil, err
		}
	}
	page, next, err := byNamePage(req, usualPage, mostPage, snap.Policies(), func(p *directory.Policy) bool {
		return (team == "" || p.Team == team) && (user == "" || mentions(p.Policy, user))
	})
	if err != nil {
		return nil, err
	}
	return &pb.ListEscalationPoliciesResponse{
		EscalationPolicies: each(page, func(p *directory.Policy) *pb.EscalationPolicy {
			return policyMessage(p.Policy, p.Meta, snap.Warnings(p))
		}),
		NextPageToken: next,
	}, nil
}

// mentions reports whether a policy names the person.
func mentions(p escalation.Policy, u roster.UserID) bool {
	is := func(t escalation.Target) bool { return t.Kind == escalation.UserTarget && t.ID == string(u) }
	return slices.ContainsFunc(p.Fallback, is) ||
		slices.ContainsFunc(p.Levels, func(l escalation.Level) bool { return slices.ContainsFunc(l.Targets, is) })
}

func (s *policies) CreateEscalationPolicy(ctx context.Context, req *pb.CreateEscalationPolicyRequest) (*pb.EscalationPolicy, error) {
	return configured(ctx, s.Server, req.GetRequestId(), nil, func() (*pb.EscalationPolicy, error) {
		var id escalation.PolicyID
		snap, err := s.c.Directory.Change(ctx, callOf(ctx).by(), func(e *directory.Edit) error {
			if req.GetForce() {
				e.Force()
			}
			id = escalation.PolicyID(freeID(e, directory.KindPolicy, req.GetEscalationPolicyId(), req.GetEscalationPolicy().GetDisplayName()))
			return e.Create(policyOf(id, req.GetEscalationPolicy(), nil))
		})
		if err != nil {
			return nil, inField("escalation_policy", err)
		}
		return s.read(snap, id)
	})
}

func (s *policies) UpdateEscalationPolicy(ctx context.Context, req *pb.UpdateEscalationPolicyRequest) (*pb.EscalationPolicy, error) {
	id := policyID(req.GetEscalationPolicy().GetName())
	return configured(ctx, s.Server, req.GetRequestId(), nil, func() (*pb.EscalationPolicy, error) {
		snap, err := s.c.Directory.Change(ctx, callOf(ctx).by(), func(e *directory.Edit) error {
			if req.GetForce() {
				e.Force()
			}
			old, ok := e.GetPolicy(id)
			if !ok {
				return missing("escalation_policy.name", policyName(id))
			}
			m := policyMessage(old.Policy, old.Meta, nil)
			if _, err := update(m, req.GetEscalationPolicy(), req.GetUpdateMask()); err != nil {
				return err
			}
			return e.Update(policyOf(id, m, old), unquote(req.GetEscalationPolicy().GetEtag()))
		})
		if err != nil {
			return nil, inField("escalation_policy", err)
		}
		return s.read(snap, id)
	})
}

func (s *policies) DeleteEscalationPolicy(ctx context.Context, req *pb.DeleteEscalationPolicyRequest) (*emptypb.Empty, error) {
	return s.remove(ctx, req.GetRequestId(), directory.Key{Kind: directory.KindPolicy, ID: last(req.GetName())}, req.GetEtag())
}
