package rpc

import (
	"context"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// tokens is tocsin.v1.TokenService.
type tokens struct {
	pb.UnimplementedTokenServiceServer
	*Server
}

// own returns a token that the caller may see. Another's is not there, so that
// nobody learns which exist.
func (s *tokens) own(c *call, snap *directory.Snapshot, name string) (*directory.Token, error) {
	t, ok := snap.GetToken(auth.TokenID(last(name)))
	if !ok || !(c.principal.IsAdmin() || c.principal.Is(t.User) || (c.principal.Token != "" && c.principal.Token == t.ID)) {
		return nil, missing("name", name)
	}
	return t, nil
}

func (s *tokens) GetToken(ctx context.Context, req *pb.GetTokenRequest) (*pb.Token, error) {
	t, err := s.own(callOf(ctx), s.c.Directory.Snapshot(), req.GetName())
	if err != nil {
		return nil, err
	}
	return tokenMessage(t), nil
}

func (s *tokens) ListTokens(ctx context.Context, req *pb.ListTokensRequest) (*pb.ListTokensResponse, error) {
	c, snap, now := callOf(ctx), s.c.Directory.Snapshot(), s.c.Now()
	var user roster.UserID
	if req.GetUser() != "" {
		var err error
		if user, err = c.user("user", req.GetUser()); err != nil {
			return nil, err
		}
	}
	keep := func(t *directory.Token) bool {
		if _, err := s.own(c, snap, string(t.ID)); err != nil {
			return false
		}
		return (user == "" || t.User == user) && (req.GetShowExpired() || t.Valid(now))
	}
	page, next, err := byAgePage(req, usualPage, mostPage, snap.Tokens(), func(t *directory.Token) int64 { return t.Created.UnixMilli() }, keep)
	if err != nil {
		return nil, err
	}
	return &pb.ListTokensResponse{Tokens: each(page, tokenMessage), NextPageToken: next}, nil
}

func (s *tokens) CreateToken(ctx context.Context, req *pb.CreateTokenRequest) (*pb.CreateTokenResponse, error) {
	kept := func(m *pb.CreateTokenResponse) *pb.CreateTokenResponse {
		return &pb.CreateTokenResponse{Token: m.GetToken()}
	}
	return configured(ctx, s.Server, req.GetRequestId(), kept, func() (*pb.CreateTokenResponse, error) {
		c, want := callOf(ctx), req.GetToken()
		var user roster.UserID
		if want.GetUser() != "" {
			var err error
			if user, err = c.user("token.user", want.GetUser()); err != nil {
				return nil, err
			}
		}
		now := s.c.Now()
		t := tokenOf(auth.TokenID(auth.NewID()), user, want, now)
		if err := mayGrant(c.principal, t); err != nil {
			return nil, err
		}
		if !t.Expires.After(now) || t.Expires.After(now.Add(auth.MaxTokenLife)) {
			return nil, fault.InvalidField("token.expire_time", "has to be in the future, at most 5 years")
		}
		secret := auth.NewToken()
		t.Hash, t.Hint, t.By = auth.HashSecret(secret), secret[len(secret)-4:], c.principal.String()
		snap, err := s.c.Directory.Change(ctx, c.by(), func(e *directory.Edit) error { return e.Create(t) })
		if err != nil {
			return nil, inField("token", err)
		}
		made, ok := snap.GetToken(t.ID)
		if !ok {
			return nil, missing("name", "tokens/"+string(t.ID))
		}
		return &pb.CreateTokenResponse{Token: tokenMessage(made), Secret: secret}, nil
	})
}

// mayGrant refuses to hand out more than the caller has, of roles and of scopes.
func mayGrant(p auth.Principal, t *directory.Token) error {
	refuse := fault.New(fault.Denied, "MORE_THAN_YOURS", "nobody can hand out more than they have")
	if !p.MayGrant(t.User, t.Role) {
		return refuse
	}
	if len(p.Scopes) == 0 {
		return nil
	}
	if len(t.Scopes) == 0 {
		return refuse.With("scopes", "all")
	}
	for _, scope := range t.Scopes {
		if !p.Has(scope) {
			return refuse.With("scope", string(scope))
		}
	}
	return nil
}

func (s *tokens) RevokeToken(ctx context.Context, req *pb.RevokeTokenRequest) (*pb.Token, error) {
	c := callOf(ctx)
	snap, err := s.c.Directory.Change(ctx, c.by(), func(e *directory.Edit) error {
		old, err := s.own(c, e.Snapshot, req.GetName())
		if err != nil {
			return err
		}
		if !old.Revoked.IsZero() {
			return nil
		}
		t := *old
		t.Revoked = e.Now
		return e.Update(&t, "")
	})
	if err != nil {
		return nil, err
	}
	t, err := s.own(c, snap, req.GetName())
	if err != nil {
		return nil, err
	}
	return tokenMessage(t), nil
}
