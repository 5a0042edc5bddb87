package rpc_test

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

func TestReadiness(t *testing.T) {
	r := newRig(t)
	r.rota()
	row := func(req *pb.ListReadinessRequest) map[string]*pb.Readiness {
		t.Helper()
		got, err := r.onCall().ListReadiness(r.as(stakeholder), req)
		if err != nil {
			t.Fatal(err)
		}
		rows := map[string]*pb.Readiness{}
		for _, x := range got.GetReadiness() {
			rows[x.GetUser()] = x
		}
		return rows
	}
	all := row(&pb.ListReadinessRequest{})
	ben := all["users/ben"]
	if ben == nil || ben.GetVerdict() == pb.Readiness_VERDICT_READY || len(ben.GetReasons()) == 0 || len(ben.GetEscalationPolicies()) == 0 {
		t.Fatalf("before anything was heard of Ben's phone: %v", ben)
	}
	for _, reason := range ben.GetReasons() {
		if reason.GetDevice() != "" && reason.GetDeviceDisplayName() == "" || reason.GetText() == "" {
			t.Errorf("a reason says %v", reason)
		}
	}
	if _, err := r.devices().GetDevice(r.as(phone), &pb.GetDeviceRequest{Name: "devices/me"}); err != nil {
		t.Fatal(err)
	}
	if ben := row(&pb.ListReadinessRequest{})["users/ben"]; ben.GetVerdict() != pb.Readiness_VERDICT_READY || len(ben.GetReasons()) != 0 {
		t.Errorf("after Ben has opened the app: %v", ben)
	}
	if _, err := r.onCall().ListReadiness(r.as(stakeholder), &pb.ListReadinessRequest{Team: "teams/core", Service: "services/none"}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("both filters: %v", err)
	}
	if _, err := r.onCall().ListReadiness(r.as(stakeholder), &pb.ListReadinessRequest{Service: "services/none"}); status.Code(err) != codes.NotFound {
		t.Errorf("of no service: %v", err)
	}
	if mine := row(&pb.ListReadinessRequest{User: "users/ben"}); len(mine) != 1 || mine["users/ben"] == nil {
		t.Errorf("of Ben alone: %v", mine)
	}
	seen := map[string]bool{}
	for token := ""; ; {
		got, err := r.onCall().ListReadiness(r.as(stakeholder), &pb.ListReadinessRequest{PageSize: 1, PageToken: token, StartTime: timestamppb.New(r.now()), EndTime: timestamppb.New(r.now().Add(24 * time.Hour))})
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range got.GetReadiness() {
			seen[x.GetUser()] = true
		}
		if token = got.GetNextPageToken(); token == "" {
			break
		}
	}
	if len(seen) != len(all) {
		t.Errorf("page by page there are %v, at once %d people", seen, len(all))
	}
}
