package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/gateway"
	"github.com/tocsin-oncall/tocsin/server/rpc"
)

// incidents is a server that answers as the test wants.
type incidents struct {
	pb.UnimplementedIncidentServiceServer

	get   func(ctx context.Context, req *pb.GetIncidentRequest) (*pb.Incident, error)
	watch func(req *pb.WatchIncidentsRequest, s grpc.ServerStreamingServer[pb.WatchIncidentsResponse]) error
}

func (i *incidents) GetIncident(ctx context.Context, req *pb.GetIncidentRequest) (*pb.Incident, error) {
	return i.get(ctx, req)
}

func (i *incidents) WatchIncidents(req *pb.WatchIncidentsRequest, s grpc.ServerStreamingServer[pb.WatchIncidentsResponse]) error {
	return i.watch(req, s)
}

func (i *incidents) AcknowledgeIncident(context.Context, *pb.AcknowledgeIncidentRequest) (*pb.Incident, error) {
	return &pb.Incident{}, nil
}

// start serves the gateway on a loopback port and returns its address.
func start(t *testing.T, i *incidents, c gateway.Config) string {
	t.Helper()
	s := grpc.NewServer()
	pb.RegisterIncidentServiceServer(s, i)
	c.GRPC, c.Log = s, slog.New(slog.DiscardHandler)
	g, err := gateway.New(c)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // of a test
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	srv, ended := g.Server(), make(chan error, 2)
	go func() { ended <- g.Run(ctx) }()
	go func() { ended <- srv.Serve(g.Listener(l)) }()
	t.Cleanup(func() {
		_ = srv.Close()
		stop()
		s.Stop()
		for range 2 {
			if err := <-ended; err != nil && !errors.Is(err, http.ErrServerClosed) {
				t.Errorf("the gateway ended: %v", err)
			}
		}
	})
	return l.Addr().String()
}

// answer is what a call got.
type answer struct {
	StatusCode int
	Header     http.Header
}

func call(t *testing.T, method, url, body string, headers ...string) (answer, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k := 0; k+1 < len(headers); k += 2 {
		r.Header.Set(headers[k], headers[k+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header}, string(b)
}

func TestErrorsAreStatusInJSON(t *testing.T) {
	var refusal error
	addr := start(t, &incidents{get: func(context.Context, *pb.GetIncidentRequest) (*pb.Incident, error) { return nil, refusal }}, gateway.Config{})
	for code, want := range map[codes.Code]int{
		codes.InvalidArgument: 400, codes.Unauthenticated: 401, codes.PermissionDenied: 403, codes.NotFound: 404,
		codes.Aborted: 409, codes.AlreadyExists: 409, codes.FailedPrecondition: 400, codes.OutOfRange: 400,
		codes.ResourceExhausted: 429, codes.Unavailable: 503, codes.Internal: 500,
	} {
		st, err := status.New(code, "why").WithDetails(&errdetails.ErrorInfo{Reason: "REASON", Domain: "tocsin.dev"},
			&errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)})
		if err != nil {
			t.Fatal(err)
		}
		refusal = st.Err()
		res, body := call(t, "GET", "http://"+addr+"/v1/incidents/x", "")
		var got struct {
			Code    int
			Message string
			Details []map[string]any
		}
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatalf("%s: %v in %s", code, err, body)
		}
		if res.StatusCode != want || codes.Code(got.Code) != code || got.Message != "why" || len(got.Details) != 2 || got.Details[0]["reason"] != "REASON" { //nolint:gosec // small
			t.Errorf("%s is answered %d %s, want %d", code, res.StatusCode, body, want)
		}
		if after := res.Header.Get("Retry-After"); after != "2" {
			t.Errorf("%s says Retry-After %q, want the delay in whole seconds, 2", code, after)
		}
	}
}

func TestHeadersCannotSpeakForTheGateway(t *testing.T) {
	var got metadata.MD
	var network string
	addr := start(t, &incidents{get: func(ctx context.Context, _ *pb.GetIncidentRequest) (*pb.Incident, error) {
		got, _ = metadata.FromIncomingContext(ctx)
		if p, ok := peer.FromContext(ctx); ok {
			network = p.Addr.Network()
		}
		return &pb.Incident{Name: "incidents/x"}, nil
	}}, gateway.Config{})
	res, body := call(t, "GET", "http://"+addr+"/v1/incidents/x", "", "Authorization", "Bearer t", "X-Request-Id", "abc",
		"Grpc-Metadata-"+rpc.ClientIPHeader, "6.6.6.6", "Tocsin-Client-Ip", "6.6.6.6", "Cookie", "secret")
	if res.StatusCode != 200 || !strings.Contains(body, `"name":"incidents/x"`) {
		t.Fatalf("answer %d %s", res.StatusCode, body)
	}
	if ip := got.Get(rpc.ClientIPHeader); len(ip) != 1 || ip[0] != "127.0.0.1" {
		t.Errorf("the server is told that %v calls, want 127.0.0.1", ip)
	}
	if a, id := got.Get("authorization"), got.Get("x-request-id"); len(a) != 1 || a[0] != "Bearer t" || len(id) != 1 || id[0] != "abc" {
		t.Errorf("authorization %v, request id %v", a, id)
	}
	if c := got.Get("grpcgateway-cookie"); len(c) != 0 {
		t.Errorf("cookies reach the server: %v", c)
	}
	if network != rpc.MemoryNetwork {
		t.Errorf("the gateway calls over %q, want %q", network, rpc.MemoryNetwork)
	}
}

func TestBadInputNamesTheField(t *testing.T) {
	addr := start(t, &incidents{}, gateway.Config{})
	base := "http://" + addr
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		says               string
	}{
		"unknown field":   {"POST", "/v1/incidents/x:acknowledge", `{"etga":"1"}`, 400, `etga`},
		"broken JSON":     {"POST", "/v1/incidents/x:acknowledge", `{"etag":`, 400, ""},
		"wrong type":      {"POST", "/v1/incidents/x:acknowledge", `{"etag":{}}`, 400, "etag"},
		"unknown address": {"GET", "/v1/nothing", "", 404, "/docs"},
		"no such page":    {"GET", "/nothing", "", 404, "/docs"},
		"wrong method":    {"DELETE", "/v1/incidents/x:acknowledge", "", 405, "DELETE"},
		"unknown query":   {"GET", "/v1/incidents:watch?stream=sse&cursr=1", "", 400, "cursr"},
		"unknown option":  {"GET", "/v1/incidents?cursr=1", "", 400, "cursr"},
		"huge body":       {"POST", "/v1/incidents/x:acknowledge", `{"etag":"` + strings.Repeat("x", 5<<20) + `"}`, 413, "larger"},
	} {
		res, body := call(t, c.method, base+c.path, c.body)
		if res.StatusCode != c.status || !strings.Contains(body, c.says) || !json.Valid([]byte(body)) {
			t.Errorf("%s: %d %.300s, want %d with %q in JSON", name, res.StatusCode, body, c.status, c.says)
		}
		if strings.Contains(body, "rpc error") {
			t.Errorf("%s: %.300s, want no inner words", name, body)
		}
	}
}

func TestWatchAsEvents(t *testing.T) {
	var cursors []string
	addr := start(t, &incidents{watch: func(req *pb.WatchIncidentsRequest, s grpc.ServerStreamingServer[pb.WatchIncidentsResponse]) error {
		cursors = append(cursors, req.GetCursor())
		for i := range 3 {
			m := &pb.WatchIncidentsResponse{Kind: pb.WatchIncidentsResponse_KIND_CHANGE, Cursor: fmt.Sprint("c", i), Incident: &pb.Incident{Name: fmt.Sprint("incidents/", i)}}
			if i == 1 {
				m.Kind, m.Incident = pb.WatchIncidentsResponse_KIND_HEARTBEAT, nil
			}
			if err := s.Send(m); err != nil {
				return err
			}
		}
		return status.Error(codes.Unavailable, "going down")
	}}, gateway.Config{})
	res, body := call(t, "GET", "http://"+addr+"/v1/incidents:watch", "", "Accept", "text/event-stream")
	if got := res.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("content type %q", got)
	}
	want := []string{
		"id: c0", "event: change", `data: {"kind":"KIND_CHANGE","incident":{"name":"incidents/0"},"cursor":"c0"}`, "",
		"id: c1", "event: heartbeat", `data: {"kind":"KIND_HEARTBEAT","cursor":"c1"}`, "",
		"id: c2", "event: change", `data: {"kind":"KIND_CHANGE","incident":{"name":"incidents/2"},"cursor":"c2"}`, "",
		"event: error", `data: {"code":14,"message":"going down"}`, "",
	}
	lines := bufio.NewScanner(strings.NewReader(body))
	for i, w := range want {
		if !lines.Scan() || lines.Text() != w {
			t.Fatalf("line %d is %q, want %q; all:\n%s", i+1, lines.Text(), w, body)
		}
	}
	call(t, "GET", "http://"+addr+"/v1/incidents:watch?stream=sse&cursor=old", "", "Last-Event-ID", "c2")
	if len(cursors) != 2 || cursors[1] != "c2" {
		t.Errorf("cursors asked for: %q, want the last event's id to win over the address", cursors)
	}
}

func TestRefusedWatchIsAnsweredAsAnyCall(t *testing.T) {
	addr := start(t, &incidents{watch: func(*pb.WatchIncidentsRequest, grpc.ServerStreamingServer[pb.WatchIncidentsResponse]) error {
		return status.Error(codes.OutOfRange, "the cursor is too old")
	}}, gateway.Config{})
	res, body := call(t, "GET", "http://"+addr+"/v1/incidents:watch?stream=sse", "")
	if res.StatusCode != 400 || !strings.Contains(body, "too old") {
		t.Errorf("%d %s, want 400 with the reason", res.StatusCode, body)
	}
}

func TestGRPCOnTheSamePort(t *testing.T) {
	addr := start(t, &incidents{get: func(context.Context, *pb.GetIncidentRequest) (*pb.Incident, error) {
		return &pb.Incident{Name: "incidents/x"}, nil
	}}, gateway.Config{})
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	in, err := pb.NewIncidentServiceClient(conn).GetIncident(t.Context(), &pb.GetIncidentRequest{Name: "incidents/x"})
	if err != nil || in.GetName() != "incidents/x" {
		t.Errorf("over gRPC: %v, %v", in, err)
	}
}

func TestReadiness(t *testing.T) {
	var problem error
	addr := start(t, &incidents{}, gateway.Config{Ready: func(context.Context) []gateway.Check {
		return []gateway.Check{{Name: "redis"}, {Name: "catch_all", Err: problem}}
	}})
	if res, body := call(t, "GET", "http://"+addr+"/readyz", ""); res.StatusCode != 200 || !strings.Contains(body, `"ready":true`) {
		t.Errorf("%d %s, want 200", res.StatusCode, body)
	}
	problem = errors.New("nobody is the catch-all")
	if res, body := call(t, "GET", "http://"+addr+"/readyz", ""); res.StatusCode != 503 || !strings.Contains(body, "nobody is the catch-all") {
		t.Errorf("%d %s, want 503 and the reason", res.StatusCode, body)
	}
	if res, body := call(t, "GET", "http://"+addr+"/healthz", ""); res.StatusCode != 200 || body != "ok\n" {
		t.Errorf("healthz: %d %q", res.StatusCode, body)
	}
}

func TestPagesNeedNothingFromElsewhere(t *testing.T) {
	addr := start(t, &incidents{}, gateway.Config{})
	for _, path := range []string{"/", "/docs", "/docs/style.css", "/docs/docs.js", "/openapi.json", "/schema.json"} {
		res, body := call(t, "GET", "http://"+addr+path, "")
		if res.StatusCode != 200 || body == "" {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
		if path != "/openapi.json" && path != "/schema.json" && (strings.Contains(body, "https://") || strings.Contains(body, "http://")) {
			t.Errorf("%s refers to another host", path)
		}
		if strings.Contains(res.Header.Get("Content-Type"), "html") && !strings.Contains(res.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s has no policy", path)
		}
	}
}

// deadlines remembers how long the caller has for each write.
type deadlines struct {
	http.ResponseWriter

	set *atomic.Int64
}

func (d deadlines) SetWriteDeadline(at time.Time) error {
	d.set.Store(int64(time.Until(at)))
	return http.NewResponseController(d.ResponseWriter).SetWriteDeadline(at)
}

func (d deadlines) Unwrap() http.ResponseWriter { return d.ResponseWriter }

// A caller who takes no more events does not hold his stream for ever.
func TestWatcherWhoDoesNotReadIsLetGo(t *testing.T) {
	var set atomic.Int64
	addr := start(t, &incidents{watch: func(_ *pb.WatchIncidentsRequest, s grpc.ServerStreamingServer[pb.WatchIncidentsResponse]) error {
		return s.Send(&pb.WatchIncidentsResponse{Cursor: "c1"})
	}}, gateway.Config{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(deadlines{w, &set}, r) })
	}})
	call(t, "GET", "http://"+addr+"/v1/incidents:watch?stream=sse", "")
	if got := time.Duration(set.Load()); got < 20*time.Second || got > time.Minute {
		t.Errorf("an event may take %v to be written, want about half a minute", got)
	}
}

// Two servers of one process start at the same time, as tests of an embedding
// program do: under the race detector, neither writes what the other reads.
func TestTwoGatewaysAtOnce(t *testing.T) {
	for range 2 {
		t.Run("gateway", func(t *testing.T) {
			t.Parallel()
			address := start(t, &incidents{}, gateway.Config{})
			for range 50 {
				r, err := http.Get("http://" + address + "/v1/incidents?cursr=1") //nolint:noctx // of a test
				if err != nil {
					t.Fatal(err)
				}
				_ = r.Body.Close()
				if r.StatusCode != http.StatusBadRequest {
					t.Fatalf("an unknown parameter is answered %d, want 400", r.StatusCode)
				}
			}
		})
	}
}
