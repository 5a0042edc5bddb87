package rpc_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

// A phone that was revoked reads nothing more, on a stream that it opened
// before either.
func TestStreamEndsWithItsCredential(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithTimeout(r.as(phone), 20*time.Second)
	defer cancel()
	s := r.watching(ctx, &pb.WatchIncidentsRequest{})
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	me, err := r.devices().GetDevice(r.as(phone), &pb.GetDeviceRequest{Name: "devices/me"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.devices().RevokeDevice(r.as(admin), &pb.RevokeDeviceRequest{Name: me.GetName(), Reason: "lost"}); err != nil {
		t.Fatal(err)
	}
	r.page("disk full")
	m, err := s.Recv()
	if err == nil {
		t.Fatalf("the revoked phone still reads %v", m)
	}
	wants(t, err, codes.Unauthenticated, "CREDENTIAL_INVALID")
}
