package rpc_test

import (
	"encoding/json"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/rpc"
)

// audits returns the audit records, latest first.
func (r *rig) audits() []auth.Audit {
	r.t.Helper()
	list, err := r.store.Audits(r.t.Context(), "", 100)
	if err != nil {
		r.t.Fatal(err)
	}
	all := make([]auth.Audit, len(list))
	for i, a := range list {
		if err := json.Unmarshal(a.Record, &all[i]); err != nil {
			r.t.Fatal(err)
		}
	}
	return all
}

// Whoever may open the admin socket is administrator, and nobody else is for
// saying so.
func TestConsole(t *testing.T) {
	r := newRig(t)
	g := grpc.NewServer(r.server.Options()...)
	r.server.Register(g)
	path := filepath.Join(t.TempDir(), "admin.sock")
	l, err := net.Listen("unix", path) //nolint:noctx // of a test
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = g.Serve(l) })
	t.Cleanup(func() { g.Stop(); wg.Wait() })
	conn := must(grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUserAgent(rpc.CommandLine+"/1")))
	t.Cleanup(func() { _ = conn.Close() })
	status, err := pb.NewOperatorServiceClient(conn).GetStatus(t.Context(), &pb.GetStatusRequest{})
	if err != nil || status.GetRedisVersion() == "" {
		t.Fatalf("the console's status: %v (%v)", status, err)
	}
	in := r.page("disk full")
	acked, err := pb.NewIncidentServiceClient(conn).AcknowledgeIncident(t.Context(), &pb.AcknowledgeIncidentRequest{Name: in.GetName()})
	if err != nil || acked.GetAcknowledgements()[0].GetVia() != pb.Actor_VIA_COMMAND_LINE || acked.GetAcknowledgements()[0].GetUser() != "" {
		t.Errorf("acknowledged by the console: %v (%v)", acked.GetAcknowledgements(), err)
	}
	if a := r.audits()[0]; a.Actor != "console" || a.Action != "acknowledge" || a.Resource != in.GetName() || a.IP != "local" {
		t.Errorf("the audit record is %+v", a)
	}
	_, err = r.operator().GetStatus(r.as(nobody), &pb.GetStatusRequest{})
	wants(t, err, codes.Unauthenticated, "CREDENTIAL_MISSING")
}

// The address of a caller is believed from the gateway alone.
func TestClientAddress(t *testing.T) {
	r := newRig(t)
	in := r.page("disk full")
	ctx := metadata.AppendToOutgoingContext(r.as(responder), rpc.ClientIPHeader, "6.6.6.6", "x-forwarded-for", "6.6.6.6")
	if _, err := r.incidents().AcknowledgeIncident(ctx, &pb.AcknowledgeIncidentRequest{Name: in.GetName()}); err != nil {
		t.Fatal(err)
	}
	if a := r.audits()[0]; a.IP != "127.0.0.1" || a.Actor != "user/ben" {
		t.Errorf("over gRPC the record is %+v", a)
	}
	res := r.http("POST", "/v1/"+in.GetName()+":resolve", responder, "{}", "Tocsin-Client-Ip", "6.6.6.6", "Grpc-Metadata-Tocsin-Client-Ip", "6.6.6.6", "X-Request-Id", "mine")
	defer res.Body.Close()
	if a := r.audits()[0]; a.IP != "127.0.0.1" || a.Action != "resolve" || a.Request != "mine" {
		t.Errorf("over HTTP the record is %+v", a)
	}
}

func TestHealth(t *testing.T) {
	r := newRig(t)
	c := healthpb.NewHealthClient(r.conn)
	check := func(want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		got, err := c.Check(t.Context(), &healthpb.HealthCheckRequest{})
		if err != nil || got.GetStatus() != want {
			t.Errorf("got %v (%v), want %v", got.GetStatus(), err, want)
		}
	}
	r.server.SetReady(true)
	check(healthpb.HealthCheckResponse_SERVING)
	r.server.SetReady(false)
	check(healthpb.HealthCheckResponse_NOT_SERVING)
	r.server.SetReady(true)
	r.server.Drain()
	check(healthpb.HealthCheckResponse_NOT_SERVING)
}
