package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/gateway"
)

// soon is when a caller who is not waited for any longer must have been let go:
// much later than in these tests, much sooner than never.
const soon = 20 * time.Second

// impatient waits for nobody.
var impatient = gateway.Patience{Header: 200 * time.Millisecond, Body: 200 * time.Millisecond, Write: 200 * time.Millisecond}

// reader is ingest as it is here: it reads all that there is.
var reader = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
})

// connect opens a connection from a loopback address of its own.
func connect(t *testing.T, from, to string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.DialContext(t.Context(), "tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	return c
}

// trickle writes a byte every now and then until the other side has had enough.
func trickle(c net.Conn, b byte) {
	for {
		if _, err := c.Write([]byte{b}); err != nil {
			return
		}
		<-time.After(20 * time.Millisecond)
	}
}

// answered reports whether a connection is served.
func answered(c net.Conn) bool {
	if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return false
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// TestSlowCallersAreLetGo: a head that never ends, and a body that never ends.
func TestSlowCallersAreLetGo(t *testing.T) {
	addr := start(t, &incidents{}, gateway.Config{Ingest: reader, Patience: impatient})
	for name, begin := range map[string]string{
		"head":        "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ",
		"body":        "POST /v2/enqueue HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n",
		"API":         "POST /v1/incidents HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n",
		"not a word":  "",
		"a half line": "GE",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := connect(t, "127.0.0.1", addr)
			if _, err := io.WriteString(c, begin); err != nil {
				t.Fatal(err)
			}
			if begin != "" {
				go trickle(c, 'x')
			}
			if _, err := io.Copy(io.Discard, c); errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
				t.Errorf("the connection is still open: %v", err)
			}
		})
	}
}

func isTimeout(err error) bool {
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout()
}

// cleartext is a client of HTTP/2 without TLS.
func cleartext(t *testing.T, from string) *http.Client {
	tr := &http.Transport{Protocols: &http.Protocols{}}
	tr.Protocols.SetUnencryptedHTTP2(true)
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	tr.DialContext = d.DialContext
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func grpcCall(ctx context.Context, addr, method string, body io.Reader) *http.Request {
	r, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/tocsin.v1.IncidentService/"+method, body)
	r.Header.Set("Content-Type", "application/grpc")
	r.Header.Set("TE", "trailers")
	return r
}

// TestAGRPCCallWithoutItsRequestEnds: whoever opens calls and says nothing more
// has no credential to be asked for yet, and would hold them for ever.
func TestAGRPCCallWithoutItsRequestEnds(t *testing.T) {
	addr := start(t, &incidents{}, gateway.Config{Patience: impatient})
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	body, never := io.Pipe()
	defer never.Close()
	res, err := cleartext(t, "127.0.0.1").Do(grpcCall(ctx, addr, "GetIncident", body))
	if err == nil {
		_, err = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
	if ctx.Err() != nil {
		t.Errorf("the call is still open: %v", err)
	}
}

// TestAWatchOutlivesPatience: only who is slow is let go, not who waits.
func TestAWatchOutlivesPatience(t *testing.T) {
	addr := start(t, &incidents{watch: func(_ *pb.WatchIncidentsRequest, s grpc.ServerStreamingServer[pb.WatchIncidentsResponse]) error {
		for range 4 {
			select {
			case <-s.Context().Done():
				return s.Context().Err()
			case <-time.After(2 * impatient.Body):
			}
			if err := s.Send(&pb.WatchIncidentsResponse{Cursor: "c"}); err != nil {
				return err
			}
		}
		return nil
	}}, gateway.Config{Patience: impatient})
	stream, err := pb.NewIncidentServiceClient(dialed(t, addr)).WatchIncidents(t.Context(), &pb.WatchIncidentsRequest{})
	for n := 0; err == nil; n++ {
		if _, err = stream.Recv(); errors.Is(err, io.EOF) && n == 4 {
			break
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Errorf("gRPC: the watch ends with %v, want all four messages", err)
	}
	if _, body := call(t, "GET", "http://"+addr+"/v1/incidents:watch?stream=sse", ""); strings.Count(body, "id: c") != 4 {
		t.Errorf("events: got %q, want four", body)
	}
}

// TestAWatcherWhoGrantsNoWindowIsLetGo: over gRPC, as over server-sent events.
func TestAWatcherWhoGrantsNoWindowIsLetGo(t *testing.T) {
	ended := make(chan error, 1)
	addr := start(t, &incidents{watch: func(_ *pb.WatchIncidentsRequest, s grpc.ServerStreamingServer[pb.WatchIncidentsResponse]) error {
		for {
			if err := s.Send(&pb.WatchIncidentsResponse{Cursor: strings.Repeat("c", 64<<10)}); err != nil {
				ended <- err
				return err
			}
		}
	}}, gateway.Config{Patience: impatient})
	stream, err := pb.NewIncidentServiceClient(dialed(t, addr)).WatchIncidents(t.Context(), &pb.WatchIncidentsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	select { // nothing is received any more
	case <-ended:
	case <-time.After(soon):
		t.Error("the watch goes on")
	}
}

func TestLargeHeadersAreRefused(t *testing.T) {
	addr := start(t, &incidents{}, gateway.Config{})
	c := connect(t, "127.0.0.1", addr)
	go func() {
		_, _ = io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n")
		for range 1 << 20 {
			if _, err := io.WriteString(c, "X-Large: "+strings.Repeat("x", 1000)+"\r\n"); err != nil {
				return
			}
		}
	}()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("answered %d, want 431", res.StatusCode)
	}

	f := newFramer(t, addr) // HTTP/2: a head in ever more frames
	var block bytes.Buffer
	_ = hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: "x-large", Value: strings.Repeat("x", 15000)})
	f.open(1, false)
	for range 10_000 {
		if err := f.WriteContinuation(1, false, block.Bytes()); err != nil {
			break
		}
	}
	f.ends("a head of 150 MB")
}

func TestABodyWithoutAnEndIsRefused(t *testing.T) {
	addr := start(t, &incidents{}, gateway.Config{Ingest: reader})
	for _, client := range []*http.Client{http.DefaultClient, cleartext(t, "127.0.0.1")} {
		for _, path := range []string{"/v2/enqueue", "/v1/incidents"} {
			endless := &zeros{}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+path, endless)
			if err != nil {
				t.Fatal(err)
			}
			res, err := client.Do(r) // the end of the connection is an answer as well
			if err == nil {
				if _ = res.Body.Close(); res.StatusCode < 400 {
					t.Errorf("%s: answered %d, want that it is refused", path, res.StatusCode)
				}
			}
			if n := endless.n.Load(); n > 64<<20 {
				t.Errorf("%s: %d MiB were taken, want little more than 4", path, n>>20)
			}
		}
	}
}

// zeros never end.
type zeros struct{ n atomic.Int64 }

func (z *zeros) Read(p []byte) (int, error) {
	z.n.Add(int64(len(p)))
	return len(p), nil
}

// TestConnectionsOfOneAddress: one address opens as many as it can; others have
// room, and what is closed makes some.
func TestConnectionsOfOneAddress(t *testing.T) {
	addr := start(t, &incidents{}, gateway.Config{Limits: gateway.Limits{Connections: 160}})
	var open []net.Conn
	for range 200 {
		if c := connect(t, "127.0.0.1", addr); answered(c) {
			open = append(open, c)
		}
	}
	if len(open) != 60 { // half of three quarters
		t.Errorf("one address has %d connections, want 60", len(open))
	}
	if !answered(connect(t, "127.0.0.2", addr)) {
		t.Error("another address is not answered")
	}
	_ = open[0].Close()
	for deadline := time.Now().Add(soon); !answered(connect(t, "127.0.0.1", addr)); {
		if time.Now().After(deadline) {
			t.Fatal("there is no room after one has closed")
		}
	}
}

// TestCallsOfOneAddress: over HTTP/2 one connection has many calls.
func TestCallsOfOneAddress(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	begun := make(chan struct{}, 1000)
	addr := start(t, &incidents{get: func(context.Context, *pb.GetIncidentRequest) (*pb.Incident, error) {
		begun <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}}, gateway.Config{Limits: gateway.Limits{Calls: 160}})
	api := pb.NewIncidentServiceClient(dialed(t, addr))
	refused := make(chan error, 100)
	for range 100 {
		go func() {
			_, err := api.GetIncident(ctx, &pb.GetIncidentRequest{Name: "incidents/x"})
			if ctx.Err() == nil {
				refused <- err
			}
		}()
	}
	for range 60 {
		<-begun
	}
	for range 40 {
		if err := <-refused; err == nil || !strings.Contains(err.Error(), "503") {
			t.Fatalf("one too many: got %v, want 503", err)
		}
	}
	res, err := cleartext(t, "127.0.0.2").Get("http://" + addr + "/healthz") //nolint:noctx // of a test
	if err != nil {
		t.Fatalf("another address: %v", err)
	}
	if _ = res.Body.Close(); res.StatusCode != http.StatusOK {
		t.Errorf("another address is answered %d", res.StatusCode)
	}
}

// TestCallsThatAreTakenBackAtOnce: opening calls and resetting them costs the
// caller nothing, and must not cost us much (CVE-2023-44487).
func TestCallsThatAreTakenBackAtOnce(t *testing.T) {
	var most, under atomic.Int64
	addr := start(t, &incidents{}, gateway.Config{Ingest: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		n := under.Add(1)
		defer under.Add(-1)
		for m := most.Load(); n > m; m = most.Load() {
			if most.CompareAndSwap(m, n) {
				break
			}
		}
		<-r.Context().Done()
	})})
	before := runtime.NumGoroutine()
	f := newFramer(t, addr)
	for i := range 50_000 {
		id := uint32(2*i + 1) //nolint:gosec // small
		if f.open(id, true) != nil || f.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
			break
		}
	}
	if !answered(connect(t, "127.0.0.1", addr)) {
		t.Error("others are not answered")
	}
	if n := runtime.NumGoroutine() - before; n > 1500 || most.Load() > 250 {
		t.Errorf("%d goroutines and %d handlers at a time, want that they are bounded", n, most.Load())
	}
}

// framer speaks HTTP/2 by hand.
type framer struct {
	*http2.Framer

	t    *testing.T
	conn net.Conn
	gone chan error
}

func newFramer(t *testing.T, addr string) *framer {
	t.Helper()
	c := connect(t, "127.0.0.1", addr)
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	f := &framer{http2.NewFramer(c, c), t, c, make(chan error, 1)}
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			if _, err := f.ReadFrame(); err != nil {
				f.gone <- err
				return
			}
		}
	}()
	return f
}

// open sends the head of a POST to ingest, or the beginning of it.
func (f *framer) open(id uint32, whole bool) error {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for _, h := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", "x"}, {":path", "/v2/enqueue"}} {
		_ = e.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}) // into memory
	}
	return f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndHeaders: whole})
}

// ends fails the test when the server keeps the connection.
func (f *framer) ends(after string) {
	f.t.Helper()
	if err := <-f.gone; isTimeout(err) {
		f.t.Errorf("after %s the connection is still open: %v", after, err)
	}
}

func dialed(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(addr, plain())
	if err != nil {
		t.Fatal(fmt.Errorf("dial: %w", err))
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func plain() grpc.DialOption { return grpc.WithTransportCredentials(insecure.NewCredentials()) }
