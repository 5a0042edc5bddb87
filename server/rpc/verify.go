package rpc

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"math/big"
	"time"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

const (
	codeLife  = 15 * time.Minute
	codeTries = 5
)

// proof is a code that is on its way to a contact method.
type proof struct {
	Code    auth.Hash `json:"code"`
	Address string    `json:"address"` // that it went to: another one is not proven by it
	Expires time.Time `json:"expires"`
	Wrong   int       `json:"wrong,omitempty"`
}

func proofKey(u roster.UserID, m roster.MethodID) string {
	return "verify:" + string(u) + "/" + string(m)
}

// newCode returns six digits.
func newCode() (string, error) {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		return "", fmt.Errorf("make a code: %w", err)
	}
	return fmt.Sprintf("%06d", n.Int64()), nil
}

// method returns a person and a contact method of that person.
func (s *users) method(field, user, id string, c *call) (*directory.User, roster.Method, error) {
	u, err := c.user(field, user)
	if err != nil {
		return nil, roster.Method{}, err
	}
	person, ok := s.c.Directory.Snapshot().GetUser(u)
	if !ok {
		return nil, roster.Method{}, missing(field, userName(u))
	}
	m, ok := person.Method(roster.MethodID(id))
	if !ok {
		return nil, roster.Method{}, fault.New(fault.NotFound, "METHOD_NOT_FOUND", "the person has no contact method of that id", "name", userName(u), "contact_method", id)
	}
	if m.Kind == roster.Push {
		return nil, m, fault.New(fault.Precondition, "NOTHING_TO_VERIFY", "a device proves itself; there is no code for push", "name", userName(u))
	}
	return person, m, nil
}

func (s *users) SendVerification(ctx context.Context, req *pb.SendVerificationRequest) (*pb.SendVerificationResponse, error) {
	u, m, err := s.method("name", req.GetName(), req.GetContactMethod(), callOf(ctx))
	if err != nil {
		return nil, err
	}
	if s.c.Prover == nil {
		return nil, fault.New(fault.Unavailable, "NO_CHANNEL", "this installation has no way to send codes").After(time.Minute)
	}
	key := proofKey(u.ID, m.ID)
	if err := s.codes.take(&call{ip: key}, s.c.Now()); err != nil {
		return nil, err
	}
	code, err := newCode()
	if err != nil {
		return nil, err
	}
	p := proof{Code: auth.HashSecret(code), Address: m.Address, Expires: s.c.Now().Add(codeLife).UTC()}
	if _, err := s.c.Store.Take(ctx, key); err != nil && fault.KindOf(err) != fault.NotFound { // the code before is void
		return nil, err
	}
	if err := s.keepProof(ctx, key, p); err != nil {
		return nil, err
	}
	if err := s.c.Prover.SendCode(ctx, u.User, m, code, p.Expires); err != nil {
		return nil, err
	}
	s.audit(ctx, userName(u.ID), "send_verification", string(m.ID))
	return &pb.SendVerificationResponse{ExpireTime: stamp(p.Expires)}, nil
}

func (s *users) keepProof(ctx context.Context, key string, p proof) error {
	raw, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode a code: %w", err)
	}
	return s.c.Store.PutOnce(ctx, key, raw, p.Expires.Sub(s.c.Now()))
}

func (s *users) VerifyContactMethod(ctx context.Context, req *pb.VerifyContactMethodRequest) (*pb.User, error) {
	c := callOf(ctx)
	u, m, err := s.method("name", req.GetName(), req.GetContactMethod(), c)
	if err != nil {
		return nil, err
	}
	invalid := fault.New(fault.Precondition, "CODE_INVALID", "the code is wrong, used or over 15 minutes old; ask for a new one", "name", userName(u.ID))
	key := proofKey(u.ID, m.ID)
	// Whoever takes the code has it for this try: parallel guesses do not get more of them.
	raw, err := s.c.Store.Take(ctx, key)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return nil, err
	}
	var p proof
	if err != nil || json.Unmarshal(raw, &p) != nil || !s.c.Now().Before(p.Expires) || p.Address != m.Address {
		return nil, invalid
	}
	if !p.Code.Equal(auth.HashSecret(req.GetCode())) {
		if p.Wrong++; p.Wrong < codeTries {
			if err := s.keepProof(ctx, key, p); err != nil {
				return nil, err
			}
		}
		return nil, invalid
	}
	snap, err := s.c.Directory.Change(ctx, c.by(), func(e *directory.Edit) error {
		old, ok := e.GetUser(u.ID)
		if !ok {
			return missing("name", userName(u.ID))
		}
		next := *old
		next.Methods = each(old.Methods, func(x roster.Method) roster.Method {
			if x.ID == m.ID && x.Address == p.Address {
				x.Verified, x.Bouncing = true, false
			}
			return x
		})
		return e.Update(&next, "")
	})
	if err != nil {
		return nil, err
	}
	return s.read(snap, u.ID)
}
