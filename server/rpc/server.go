package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"buf.build/go/protovalidate"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/ingest"
	"github.com/tocsin-oncall/tocsin/server/respond"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// Config is what a Server is made of. What is not said to be optional is needed.
type Config struct {
	Desk      *respond.Desk
	Store     *store.Store
	Directory *directory.Directory
	Auth      *auth.Authenticator
	Signer    auth.Signer
	Acceptor  ingest.Acceptor
	Gate      ingest.Gate // which calls with events there is room for
	Notifier  Notifier
	Prover    Prover
	// Members returns who lives and who owns what. Optional.
	Members func(ctx context.Context) (store.Membership, error)
	// Problems returns what is wrong with this instance, one sentence each, and
	// whether it can page nevertheless. Optional.
	Problems func(ctx context.Context) (problems []string, able bool)
	// Fetch reads a calendar at an address that a caller names. Nil: none is read.
	Fetch     func(ctx context.Context, url string) ([]byte, error)
	Browsers  Browsers // how browsers are paged; nil where they are not
	PublicURL string   // where the outside reaches this server; may be empty
	Limits    Limits
	Now       func() time.Time
	Log       *slog.Logger
	// Registerer takes the metrics; nil keeps them to the server itself.
	Registerer prometheus.Registerer
}

// Server is the API.
type Server struct {
	c        Config
	rules    protovalidate.Validator
	limits   *limiter
	metrics  *metrics
	feed     *feed
	health   *health.Server
	receipts *limiter // of devices that report
	tests    *limiter // of each device that is tested
	codes    *limiter // of each contact method that is verified
	present  presence
	streams  streams

	drainContext func() context.Context // ends with Drain
	draining     <-chan struct{}
	drain        context.CancelFunc
}

// New returns a Server. It serves nothing until it is registered, and no
// changes to watchers until it runs.
func New(c Config) (*Server, error) {
	rules, err := protovalidate.New()
	if err != nil {
		return nil, fmt.Errorf("read the rules of the messages: %w", err)
	}
	c.Limits = c.Limits.withDefaults()
	if c.Now == nil {
		c.Now = time.Now //nolint:forbidigo // the default of an injected clock
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	ended, drain := context.WithCancel(context.Background())
	s := &Server{
		c: c, rules: rules, limits: newLimiter(c.Limits), metrics: newMetrics(c.Registerer), health: health.NewServer(),
		receipts:     newLimiter(Limits{PerSecond: receiptRate, Burst: 2 * receiptRate}),
		tests:        newLimiter(Limits{PerSecond: 10 * testsAnHour / 3600.0, Burst: 10 * testsAnHour}), // by the name of nobody: a tenth of it
		codes:        newLimiter(Limits{PerSecond: 10 * codesAnHour / 3600.0, Burst: 10 * codesAnHour}),
		drainContext: func() context.Context { return ended }, draining: ended.Done(), drain: drain,
	}
	s.feed = newFeed(c.Store, s.shape, c.Now, c.Log)
	return s, nil
}

// Register adds every service, health and reflection to a gRPC server that was
// made with the Options.
func (s *Server) Register(g *grpc.Server) {
	pb.RegisterIncidentServiceServer(g, &incidents{Server: s})
	pb.RegisterEventServiceServer(g, &events{Server: s})
	pb.RegisterDeviceServiceServer(g, &devices{Server: s})
	pb.RegisterUserServiceServer(g, &users{Server: s})
	pb.RegisterTeamServiceServer(g, &teams{Server: s})
	pb.RegisterCatalogServiceServer(g, &services{Server: s})
	pb.RegisterEscalationPolicyServiceServer(g, &policies{Server: s})
	pb.RegisterScheduleServiceServer(g, &schedules{Server: s})
	pb.RegisterOnCallServiceServer(g, &onCall{Server: s})
	pb.RegisterTokenServiceServer(g, &tokens{Server: s})
	pb.RegisterCalendarServiceServer(g, &calendars{Server: s})
	pb.RegisterDrillServiceServer(g, &drills{Server: s})
	pb.RegisterOperatorServiceServer(g, &operator{Server: s})
	pb.RegisterConfigurationServiceServer(g, &configuration{Server: s})
	healthpb.RegisterHealthServer(g, s.health)
	reflection.Register(g)
}

// SetReady says through the health service whether this instance can page.
func (s *Server) SetReady(ready bool) {
	state := healthpb.HealthCheckResponse_NOT_SERVING
	if ready {
		state = healthpb.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus("", state)
}

// Run follows the feed for all who watch, and ends the streams of those who may
// not have them any more, until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	defer s.Drain()
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { s.streams.watchOver(ctx, s.c.Directory.Snapshot) })
	if err := s.feed.run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("follow the feed: %w", err)
	}
	return nil
}

// Drain ends every stream, and tells health checks to look elsewhere. Unary
// calls go on.
func (s *Server) Drain() {
	s.health.Shutdown()
	s.drain()
}

// shape returns what makes messages, with the names of this moment.
func (s *Server) shape() shaper { return shaper{names: s.c.Directory.Snapshot()} }

const (
	// afterwards bounds what is done when the answer is known.
	afterwards = 2 * time.Second
	// testsAnHour is how often one device may be tested.
	testsAnHour = 10
	// codesAnHour is how often a code may go to one contact method.
	codesAnHour = 5
)
