package rpc

import (
	"context"
	"slices"

	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// teams is tocsin.v1.TeamService.
type teams struct {
	pb.UnimplementedTeamServiceServer
	*Server
}

func (s *teams) read(snap *directory.Snapshot, id roster.TeamID) (*pb.Team, error) {
	t, ok := snap.GetTeam(id)
	if !ok {
		return nil, missing("name", teamName(id))
	}
	return teamMessage(t), nil
}

func (s *teams) GetTeam(_ context.Context, req *pb.GetTeamRequest) (*pb.Team, error) {
	return s.read(s.c.Directory.Snapshot(), roster.TeamID(last(req.GetName())))
}

func (s *teams) ListTeams(ctx context.Context, req *pb.ListTeamsRequest) (*pb.ListTeamsResponse, error) {
	var member roster.UserID
	if req.GetMember() != "" {
		var err error
		if member, err = callOf(ctx).user("member", req.GetMember()); err != nil {
			return nil, err
		}
	}
	page, next, err := byNamePage(req, longPage, mostLong, s.c.Directory.Snapshot().Teams(), func(t *directory.Team) bool {
		return member == "" || slices.Contains(t.Members, member)
	})
	if err != nil {
		return nil, err
	}
	return &pb.ListTeamsResponse{Teams: each(page, teamMessage), NextPageToken: next}, nil
}

func (s *teams) CreateTeam(ctx context.Context, req *pb.CreateTeamRequest) (*pb.Team, error) {
	return configured(ctx, s.Server, req.GetRequestId(), nil, func() (*pb.Team, error) {
		var id roster.TeamID
		snap, err := s.c.Directory.Change(ctx, callOf(ctx).by(), func(e *directory.Edit) error {
			id = roster.TeamID(freeID(e, directory.KindTeam, req.GetTeamId(), req.GetTeam().GetDisplayName()))
			return e.Create(teamOf(id, req.GetTeam(), nil))
		})
		if err != nil {
			return nil, inField("team", err)
		}
		return s.read(snap, id)
	})
}

func (s *teams) UpdateTeam(ctx context.Context, req *pb.UpdateTeamRequest) (*pb.Team, error) {
	id := roster.TeamID(last(req.GetTeam().GetName()))
	return configured(ctx, s.Server, req.GetRequestId(), nil, func() (*pb.Team, error) {
		snap, err := s.c.Directory.Change(ctx, callOf(ctx).by(), func(e *directory.Edit) error {
			old, ok := e.GetTeam(id)
			if !ok {
				return missing("team.name", teamName(id))
			}
			m := teamMessage(old)
			if _, err := update(m, req.GetTeam(), req.GetUpdateMask()); err != nil {
				return err
			}
			return e.Update(teamOf(id, m, old), unquote(req.GetTeam().GetEtag()))
		})
		if err != nil {
			return nil, inField("team", err)
		}
		return s.read(snap, id)
	})
}

func (s *teams) DeleteTeam(ctx context.Context, req *pb.DeleteTeamRequest) (*emptypb.Empty, error) {
	return s.remove(ctx, req.GetRequestId(), directory.Key{Kind: directory.KindTeam, ID: last(req.GetName())}, req.GetEtag())
}
