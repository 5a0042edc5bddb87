package rpc

import (
	"context"
	"log/slog"
	"time"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/fault"
)

// enroller makes and redeems links.
func (s *Server) enroller() auth.Enroller {
	return auth.Enroller{Store: s.c.Store, PublicURL: s.c.PublicURL, Now: s.c.Now}
}

// organization is what the installation is called.
func (s *Server) organization() string {
	if name := s.c.Directory.Snapshot().GetSettings().Organization; name != "" {
		return name
	}
	return "tocsin"
}

func (s *devices) CreateEnrolment(ctx context.Context, req *pb.CreateEnrolmentRequest) (*pb.Enrolment, error) {
	c := callOf(ctx)
	id, err := c.user("user", req.GetUser())
	if err != nil {
		return nil, err
	}
	u, ok := s.c.Directory.Snapshot().GetUser(id)
	if !ok {
		return nil, missing("user", userName(id))
	}
	if u.Inactive {
		return nil, fault.New(fault.Precondition, "USER_INACTIVE", "the person is not active; change that first", "user", userName(id))
	}
	kept := func(m *pb.Enrolment) *pb.Enrolment {
		return &pb.Enrolment{User: m.GetUser(), UserDisplayName: m.GetUserDisplayName(), Organization: m.GetOrganization(), ExpireTime: m.GetExpireTime()}
	}
	return configured(ctx, s.Server, req.GetRequestId(), kept, func() (*pb.Enrolment, error) {
		link, err := s.enroller().Create(ctx, id, c.principal)
		if err != nil {
			return nil, err
		}
		s.audit(ctx, userName(id), "enrol", "")
		return &pb.Enrolment{
			User: userName(id), UserDisplayName: u.Name, Organization: s.organization(), Code: link.Code, Uri: link.URL,
			QrPayload: link.URL, ExpireTime: stamp(link.Expires),
		}, nil
	})
}

func (s *devices) PreviewEnrolment(ctx context.Context, req *pb.PreviewEnrolmentRequest) (*pb.Enrolment, error) {
	en, err := s.enroller().Preview(ctx, req.GetCode())
	if err != nil {
		return nil, err
	}
	return &pb.Enrolment{
		User: userName(en.User), UserDisplayName: s.shape().display(en.User), Organization: s.organization(), ExpireTime: stamp(en.Expires),
	}, nil
}

func (s *devices) EnrolDevice(ctx context.Context, req *pb.EnrolDeviceRequest) (*pb.EnrolDeviceResponse, error) {
	// Whether it could work is seen before the code is used up.
	en, err := s.enroller().Preview(ctx, req.GetCode())
	if err != nil {
		return nil, err
	}
	u, ok := s.c.Directory.Snapshot().GetUser(en.User)
	if !ok || u.Inactive {
		return nil, fault.New(fault.Unauthenticated, "ENROLMENT_CODE", "the person is not here any more; ask for a new link")
	}
	if err := s.subscription(req.GetDevice().GetAppId(), req.GetDevice().GetAddress()); err != nil {
		return nil, inField("device", err)
	}
	if en, err = s.enroller().Redeem(ctx, req.GetCode()); err != nil {
		return nil, err
	}
	// From here on the person acts: the code has proven that.
	callOf(ctx).principal = auth.Principal{Kind: auth.KindUser, User: u.ID, Name: u.Name, Role: u.Role}
	r := &registration{user: en.User, message: req.GetDevice()}
	d, err := s.register(ctx, r)
	if err != nil {
		s.giveBack(ctx, req.GetCode(), en)
		return nil, err
	}
	m, err := s.message(ctx, d)
	if err != nil {
		return nil, err
	}
	return &pb.EnrolDeviceResponse{Device: m, Credential: r.credential, UserDisplayName: u.Name, Organization: s.organization()}, nil
}

// giveBack lets a code be used again whose phone has not got a credential, so
// that what was wrong can be mended and nobody has to ask for another link.
func (s *devices) giveBack(ctx context.Context, code string, en auth.Enrolment) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := s.enroller().GiveBack(ctx, code, en); err != nil {
		s.c.Log.WarnContext(ctx, "enrolment used up by a call that failed", slog.String("user", string(en.User)), slog.Any("error", err))
	}
}
