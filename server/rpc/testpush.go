package rpc

import (
	"context"

	"google.golang.org/grpc"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/notify"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

func (s *devices) SendTestPush(ctx context.Context, req *pb.SendTestPushRequest) (*pb.TestPush, error) {
	c := callOf(ctx)
	id, err := c.device("name", req.GetName())
	if err != nil {
		return nil, err
	}
	d, ok := s.c.Directory.Snapshot().GetDevice(id)
	switch {
	case !ok:
		return nil, missing("name", deviceName(id))
	case d.State == roster.DeviceRevoked:
		return nil, fault.New(fault.Precondition, "DEVICE_REVOKED", "the device was taken out; enrol it anew", "name", deviceName(id))
	case d.Address.Kind == 0:
		return nil, fault.New(fault.Precondition, "NO_ADDRESS", "the device has no address yet: open the app on it", "name", deviceName(id))
	}
	if err := s.tests.take(&call{ip: string(id)}, s.c.Now()); err != nil {
		return nil, err
	}
	t, err := s.c.Notifier.SendTest(ctx, id, req.GetCritical(), c.request(req.GetRequestId()))
	if err != nil {
		return nil, err
	}
	s.audit(ctx, deviceName(id), "test", "")
	return testMessage(t), nil
}

// ownTest refuses whom the test does not concern. It says the same of another's
// test and of none.
func (s *devices) ownTest(ctx context.Context, name string) error {
	t, err := s.c.Notifier.GetTest(ctx, last(name))
	if err != nil {
		return err
	}
	if p := callOf(ctx).principal; !p.IsAdmin() && !p.Is(t.Delivery.User) {
		return missing("name", name)
	}
	return nil
}

func (s *devices) WatchTestPush(req *pb.WatchTestPushRequest, stream grpc.ServerStreamingServer[pb.TestPush]) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	stop := context.AfterFunc(s.drainContext(), cancel)
	defer stop()
	if err := s.ownTest(ctx, req.GetName()); err != nil {
		return err
	}
	err := s.c.Notifier.WatchTest(ctx, last(req.GetName()), func(t notify.Test) error {
		s.c.Notifier.Judged(ctx, t)
		return stream.Send(testMessage(t))
	})
	if ctx.Err() != nil && stream.Context().Err() == nil {
		return errDraining
	}
	return err
}

func (s *devices) ConfirmTestPush(ctx context.Context, req *pb.ConfirmTestPushRequest) (*pb.TestPush, error) {
	if err := s.ownTest(ctx, req.GetName()); err != nil {
		return nil, err
	}
	t, err := s.c.Notifier.ConfirmTest(ctx, callOf(ctx).principal, last(req.GetName()), req.GetHeard())
	if err != nil {
		return nil, err
	}
	s.c.Notifier.Judged(ctx, t)
	return testMessage(t), nil
}
