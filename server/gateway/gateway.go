package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

// Config is what a Gateway is made of.
type Config struct {
	// GRPC has every service registered. The gateway serves it over its own
	// in-memory listener and, for callers who speak gRPC, on the HTTP port.
	GRPC     *grpc.Server
	Ingest   http.Handler                      // what monitors post
	Metrics  http.Handler                      // nil: no /metrics
	Ready    func(ctx context.Context) []Check // nil: always ready
	Wrap     func(http.Handler) http.Handler   // around everything but gRPC, such as tracing; nil: nothing
	Dial     []grpc.DialOption                 // further options of the in-memory client
	ClientIP func(r *http.Request) string      // who really calls, behind a proxy; nil: the connection's address
	Version  string
	Log      *slog.Logger
	Limits   Limits
	Patience Patience
	// Registerer takes the metrics; nil: they are not shown.
	Registerer prometheus.Registerer
}

// Check is one thing that readiness asks for.
type Check struct {
	Name string
	Err  error // nil: it holds
}

// Gateway is the HTTP door.
type Gateway struct {
	c       Config
	memory  *memory
	conn    *grpc.ClientConn
	mux     *http.ServeMux
	handler http.Handler

	connections *crowd
	calls       *crowd
}

// Limits of an HTTP call. Bodies of ingest have their own, which are smaller.
const (
	maxBody    = 4 << 20
	maxHeader  = 64 << 10
	maxStreams = 250 // calls on one connection of HTTP/2; a proxy has several connections
)

// New returns a Gateway. Serve answers its own calls only while Run runs.
func New(c Config) (*Gateway, error) {
	c.Limits, c.Patience = c.Limits.withDefaults(), c.Patience.withDefaults()
	g := &Gateway{
		c: c, memory: newMemory(), mux: http.NewServeMux(),
		connections: newCrowd("connections", c.Limits.Connections, c.Registerer), calls: newCrowd("calls", c.Limits.Calls, c.Registerer),
	}
	options := append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return g.memory.dial(ctx) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64 << 20)),
	}, c.Dial...)
	conn, err := grpc.NewClient("passthrough:///memory", options...)
	if err != nil {
		return nil, fmt.Errorf("make the gateway's own client: %w", err)
	}
	g.conn = conn
	if err := g.routes(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return g, nil
}

// Run serves the gateway's own calls until ctx ends.
func (g *Gateway) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = g.memory.Close() })
	defer stop()
	err := g.c.GRPC.Serve(g.memory)
	if ctx.Err() != nil || errors.Is(err, grpc.ErrServerStopped) || errors.Is(err, net.ErrClosed) {
		return g.conn.Close()
	}
	return errors.Join(err, g.conn.Close())
}

// Server returns an http.Server with the gateway's limits, for a listener with
// or without TLS. It speaks HTTP/1.1 and HTTP/2 on both.
func (g *Gateway) Server() *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler: g, Protocols: &protocols, MaxHeaderBytes: maxHeader,
		ReadHeaderTimeout: g.c.Patience.Header, IdleTimeout: 2 * time.Minute,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams, SendPingTimeout: g.c.Patience.Silent, WriteByteTimeout: g.c.Patience.Write,
		},
		ErrorLog: slog.NewLogLogger(g.c.Log.Handler(), slog.LevelDebug),
	}
}

// routes hangs everything up.
func (g *Gateway) routes() error {
	rest, err := g.rest()
	if err != nil {
		return err
	}
	g.mux.Handle("/v1/", g.streams(rest))
	if g.c.Ingest != nil {
		for _, path := range []string{"/v2/enqueue", "/integrations", "/integrations/"} {
			g.mux.Handle(path, g.c.Ingest)
		}
	}
	if g.c.Metrics != nil {
		g.mux.Handle("GET /metrics", g.c.Metrics)
	}
	g.mux.HandleFunc("GET /healthz", healthz)
	g.mux.HandleFunc("GET /readyz", g.readyz)
	g.calendars()
	g.pages()
	g.mux.Handle("/", rest) // answers an unknown address as the API does
	g.handler = http.Handler(g.mux)
	if g.c.Wrap != nil {
		g.handler = g.c.Wrap(g.mux)
	}
	return nil
}

// parseStrictly sets how grpc-gateway reads query parameters. It keeps that in
// a variable of its package, for all muxes: two servers of one process that
// started at the same time wrote it under each other's requests.
//
//nolint:gochecknoglobals // once for the process, as what it sets
var parseStrictly = sync.OnceFunc(func() { runtime.NewServeMux(runtime.SetQueryParameterParser(&strictQuery{})) })

// rest is grpc-gateway's mux with every service.
func (g *Gateway) rest() (http.Handler, error) {
	parseStrictly()
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, marshaler()),
		runtime.WithIncomingHeaderMatcher(passIn),
		runtime.WithOutgoingHeaderMatcher(passOut),
		runtime.WithMetadata(g.whom),
		runtime.WithErrorHandler(g.fail),
		runtime.WithRoutingErrorHandler(g.lost),
		runtime.WithDisablePathLengthFallback(),
	)
	ctx := context.Background() // registers only; the connection is ours to close
	for _, register := range []func(context.Context, *runtime.ServeMux, *grpc.ClientConn) error{
		pb.RegisterIncidentServiceHandler, pb.RegisterEventServiceHandler, pb.RegisterDeviceServiceHandler,
		pb.RegisterUserServiceHandler, pb.RegisterTeamServiceHandler, pb.RegisterCatalogServiceHandler,
		pb.RegisterEscalationPolicyServiceHandler, pb.RegisterScheduleServiceHandler, pb.RegisterOnCallServiceHandler, pb.RegisterTokenServiceHandler, pb.RegisterCalendarServiceHandler, pb.RegisterDrillServiceHandler, pb.RegisterOperatorServiceHandler,
		pb.RegisterConfigurationServiceHandler,
	} {
		if err := register(ctx, mux, g.conn); err != nil {
			return nil, fmt.Errorf("register a service with the gateway: %w", err)
		}
	}
	return mux, nil
}

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	leave, ok := g.calls.enter(g.clientIP(r))
	if !ok {
		w.Header().Set("Retry-After", "2")
		http.Error(w, "too many calls of your address are under way", http.StatusServiceUnavailable)
		return
	}
	defer leave()
	control, at := http.NewResponseController(w), now()
	if !isStream(r) { // the end of reading would end a stream of HTTP/1.1
		_ = control.SetReadDeadline(at.Add(g.c.Patience.Body)) // not every writer has deadlines
	}
	if r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
		g.c.GRPC.ServeHTTP(newPatient(w, control, g.c.Patience.Write), r)
		return
	}
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cache-Control", "no-store")
	if r.TLS != nil {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
	if !isStream(r) {
		_ = control.SetWriteDeadline(at.Add(g.c.Patience.Answer))
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	g.handler.ServeHTTP(w, r)
}
