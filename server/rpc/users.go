package rpc

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// users is tocsin.v1.UserService.
type users struct {
	pb.UnimplementedUserServiceServer
	*Server
}

// configPartition is where answers to changes of the configuration are kept.
func configPartition(c *call) store.Partition { return store.PartitionOf(c.name()) }

// configured carries a change of the configuration out once for each request id.
func configured[T any, M message[T]](ctx context.Context, s *Server, requestID string, kept func(M) M, do func() (M, error)) (M, error) {
	return once(ctx, s, configPartition(callOf(ctx)), requestID, kept, do)
}

// freeID returns the wanted id, or one made of what people call the thing, with
// a number when that is taken.
func freeID(e *directory.Edit, kind directory.Kind, want, name string) string {
	if want != "" {
		return want
	}
	base := slug(name)
	if base == "" || base == "me" {
		base = string(kind)
	}
	id := base
	for n := 2; e.Exists(directory.Key{Kind: kind, ID: id}) && n < 100; n++ {
		id = fmt.Sprintf("%s-%d", base, n)
	}
	return id
}

func (s *users) message(snap *directory.Snapshot, u *directory.User) *pb.User {
	m := userMessage(u, snap.Devices(u.ID))
	if able, _ := snap.User(u.ID); m.GetReachable() && !able.Reachable(true, snap.Devices(u.ID)) {
		m.Reachable = false
		m.Warnings = append(m.Warnings, "A page of high urgency would reach nobody: what is verified is not set up on this server.")
	}
	return m
}

func (s *users) GetUser(ctx context.Context, req *pb.GetUserRequest) (*pb.User, error) {
	id, err := callOf(ctx).user("name", req.GetName())
	if err != nil {
		return nil, err
	}
	snap := s.c.Directory.Snapshot()
	u, ok := snap.GetUser(id)
	if !ok {
		return nil, missing("name", userName(id))
	}
	return s.message(snap, u), nil
}

func (s *users) ListUsers(ctx context.Context, req *pb.ListUsersRequest) (*pb.ListUsersResponse, error) {
	snap := s.c.Directory.Snapshot()
	var members []roster.UserID
	if req.GetTeam() != "" {
		t, ok := snap.GetTeam(roster.TeamID(last(req.GetTeam())))
		if !ok {
			return nil, missing("team", req.GetTeam())
		}
		members = t.Members
	}
	page, next, err := byNamePage(req, longPage, mostLong, snap.Users(), func(u *directory.User) bool {
		return (req.GetShowInactive() || !u.Inactive) && (req.GetTeam() == "" || slices.Contains(members, u.ID))
	})
	if err != nil {
		return nil, err
	}
	return &pb.ListUsersResponse{
		Users: each(page, func(u *directory.User) *pb.User { return s.message(snap, u) }), NextPageToken: next,
	}, nil
}

// sealer seals the signing keys of a person's webhooks.
func (s *users) sealer(id roster.UserID) func(roster.MethodID, []byte) ([]byte, error) {
	return func(m roster.MethodID, key []byte) ([]byte, error) { return s.c.Directory.SealSecret(id, m, key) }
}

func (s *users) CreateUser(ctx context.Context, req *pb.CreateUserRequest) (*pb.User, error) {
	return configured(ctx, s.Server, req.GetRequestId(), nil, func() (*pb.User, error) {
		var id roster.UserID
		snap, err := s.c.Directory.Change(ctx, callOf(ctx).by(), func(e *directory.Edit) error {
			local, _, _ := strings.Cut(req.GetUser().GetEmail(), "@")
			id = roster.UserID(freeID(e, directory.KindUser, req.GetUserId(), local))
			u, err := userOf(id, req.GetUser(), nil, s.sealer(id))
			if err != nil {
				return err
			}
			return e.Create(u)
		})
		if err != nil {
			return nil, inField("user", err)
		}
		return s.read(snap, id)
	})
}

func (s *users) read(snap *directory.Snapshot, id roster.UserID) (*pb.User, error) {
	u, ok := snap.GetUser(id)
	if !ok {
		return nil, missing("name", userName(id))
	}
	return s.message(snap, u), nil
}

// inField puts the name of the resource's field before those of its own.
func inField(field string, err error) error {
	f, ok := asFault(err)
	if !ok || len(f.Fields) == 0 {
		return err
	}
	c := *f
	c.Fields = slices.Clone(f.Fields)
	for i := range c.Fields {
		c.Fields[i].Path = field + "." + c.Fields[i].Path
	}
	return &c
}

func (s *users) UpdateUser(ctx context.Context, req *pb.UpdateUserRequest) (*pb.User, error) {
	c := callOf(ctx)
	id, err := c.user("user.name", req.GetUser().GetName())
	if err != nil {
		return nil, err
	}
	if err := c.mine(id); err != nil {
		return nil, err
	}
	return configured(ctx, s.Server, req.GetRequestId(), nil, func() (*pb.User, error) {
		snap, err := s.c.Directory.Change(ctx, c.by(), func(e *directory.Edit) error {
			old, ok := e.GetUser(id)
			if !ok {
				return missing("user.name", userName(id))
			}
			m := userMessage(old, nil)
			if _, err := update(m, req.GetUser(), req.GetUpdateMask()); err != nil {
				return err
			}
			u, err := userOf(id, m, old, s.sealer(id))
			if err != nil {
				return err
			}
			if !c.principal.IsAdmin() && (u.Role != old.Role || u.Inactive != old.Inactive) {
				return fault.New(fault.Denied, "NOT_YOURS", "a role, and who is active, are changed by administrators", "user", userName(id))
			}
			return e.Update(u, unquote(req.GetUser().GetEtag()))
		})
		if err != nil {
			return nil, inField("user", err)
		}
		return s.read(snap, id)
	})
}

func (s *users) DeleteUser(ctx context.Context, req *pb.DeleteUserRequest) (*emptypb.Empty, error) {
	id, err := callOf(ctx).user("name", req.GetName())
	if err != nil {
		return nil, err
	}
	return s.remove(ctx, req.GetRequestId(), directory.Key{Kind: directory.KindUser, ID: string(id)}, req.GetEtag())
}

// remove deletes one record of the configuration.
func (s *Server) remove(ctx context.Context, requestID string, k directory.Key, etag string) (*emptypb.Empty, error) {
	return configured(ctx, s, requestID, nil, func() (*emptypb.Empty, error) {
		_, err := s.c.Directory.Change(ctx, callOf(ctx).by(), func(e *directory.Edit) error { return e.Delete(k, unquote(etag)) })
		if err != nil {
			return nil, err
		}
		return &emptypb.Empty{}, nil
	})
}
