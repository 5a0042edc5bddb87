package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/gateway"
	"github.com/tocsin-oncall/tocsin/server/ingest"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/rpc"
)

// openDoors opens the listeners. They close first when the server ends.
func (s *server) openDoors(ctx context.Context) error {
	var doors Doors
	var err error
	if doors.Admin, err = s.openAdmin(ctx); err != nil {
		return err
	}
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", s.c.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.c.Listen, err)
	}
	doors.Listen = l.Addr().String()
	if err := s.openAPI(ctx, doors.Listen); err != nil {
		return errors.Join(err, l.Close())
	}
	if doors.Socket, err = s.openSocket(ctx); err != nil {
		return errors.Join(err, l.Close())
	}
	if err := s.openHTTP(ctx, l); err != nil {
		return errors.Join(err, l.Close())
	}
	s.watchOver(ctx)
	s.life.onStop("streams", func(context.Context) error {
		s.ready.draining.Store(true)
		s.api.Drain()
		return nil
	})
	s.log.InfoContext(ctx, "serving", slog.String("listen", doors.Listen), slog.Bool("tls", s.c.TLS.CertFile != ""), slog.String("url", s.publicURL(doors.Listen)))
	s.ready.announce(ctx, s.log)
	s.hint(ctx)
	if s.o.Started != nil {
		s.o.Started(doors)
	}
	return nil
}

// publicURL is how the outside reaches the server: as configured, or what the
// address that is really listened on makes of it.
func (s *server) publicURL(listen string) string {
	c := s.c
	c.Listen = listen
	return c.URL()
}

// openAPI makes the gRPC server and the gateway to it.
func (s *server) openAPI(ctx context.Context, listen string) error {
	acceptor := counted{s.intake, s.vitals.events}
	fetch, err := calendarFetcher(s.c.Webhooks)
	if err != nil {
		return err
	}
	s.readVacations(ctx, fetch)
	s.api, err = rpc.New(rpc.Config{ //nolint:contextcheck // what it starts outlives the start
		Desk: s.desk, Store: s.store, Directory: s.directory, Auth: s.auth, Signer: auth.NewSigner(s.keys),
		Acceptor: acceptor, Gate: s.gate, Notifier: s.notifier,
		Prover: rpc.Proofs{
			Channels: s.channels, Push: s.sender, Now: s.clock.Now,
			Phone: func(d *directory.Device) push.Device { return s.people.phone(d).Push },
		},
		Members: s.store.Membership, Fetch: fetch, Problems: s.problems, Browsers: s.pushes, PublicURL: s.publicURL(listen), Now: s.clock.Now, Log: s.log, Registerer: s.registry,
	})
	if err != nil {
		return err
	}
	s.grpc = grpc.NewServer(append(s.api.Options(), s.tracing.server()...)...)
	s.api.Register(s.grpc)
	events := ingest.New(ingest.Config{
		Keys: s.intake, Acceptor: acceptor, Gate: s.gate, Pause: refusalPause, StoreTimeout: s.o.patience, Now: s.clock.Now, Log: s.log,
	})
	s.gateway, err = gateway.New(gateway.Config{ //nolint:contextcheck // what it starts outlives the start
		GRPC: s.grpc, Ingest: events, Metrics: promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}), Ready: s.readyChecks,
		Wrap: s.tracing.traced, Dial: s.tracing.client(), Version: s.o.Version, Log: s.log, Registerer: s.registry,
	})
	if err != nil {
		return err
	}
	s.life.background(ctx, "feed", s.api.Run)
	s.life.background(ctx, "gateway", s.gateway.Run)
	s.life.onStop("calls", func(ctx context.Context) error {
		defer s.grpc.Stop()
		ended := make(chan struct{})
		go func() { // ends with Stop at the latest
			defer close(ended)
			s.grpc.GracefulStop()
		}()
		select {
		case <-ended:
			return nil
		case <-ctx.Done():
			return errors.New("calls were cut off")
		}
	})
	return nil
}

// openHTTP serves gRPC and HTTP on the listener.
func (s *server) openHTTP(ctx context.Context, l net.Listener) error {
	s.cert = &certificate{config: s.c.TLS}
	srv := s.gateway.Server()
	l = s.gateway.Listener(l)
	serve := srv.Serve
	if s.c.TLS.CertFile != "" {
		if err := s.cert.load(); err != nil {
			return err
		}
		srv.TLSConfig = s.cert.settings()
		serve = func(l net.Listener) error { return srv.ServeTLS(l, "", "") }
	}
	s.life.background(ctx, "listener", func(ctx context.Context) error { return unless(ctx, serve(l)) })
	s.life.onStop("requests", func(ctx context.Context) error {
		err := srv.Shutdown(ctx)
		if err != nil {
			// The gRPC server cannot wait for calls that came over HTTP: they end here.
			err = errors.Join(err, srv.Close())
		}
		return err
	})
	return nil
}

// openSocket opens the admin socket, on which whoever may open the data
// directory is administrator. The lock on the directory says that a socket
// that is there is nobody's any more.
func (s *server) openSocket(ctx context.Context) (string, error) {
	path := filepath.Join(s.c.DataDir, "admin.sock")
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "unix", path)
	if err != nil {
		return "", fmt.Errorf("open the admin socket %s (a shorter data_dir helps when the path has more than 100 characters): %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return "", errors.Join(err, l.Close())
	}
	s.life.background(ctx, "admin socket", func(ctx context.Context) error {
		if err := s.grpc.Serve(l); !errors.Is(err, grpc.ErrServerStopped) {
			return unless(ctx, err)
		}
		return nil
	})
	s.life.onStop("admin socket listener", func(context.Context) error {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	return path, nil
}

// watchOver begins what tells of the open doors.
func (s *server) watchOver(ctx context.Context) {
	s.life.background(ctx, "health", func(ctx context.Context) error {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			ready := s.ready.ready(ctx) == nil
			s.api.SetReady(ready)
			s.vitals.setReady(ready)
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
		}
	})
	s.life.background(ctx, "parked phones", s.people.unparkAtStart)
	if s.o.Reload != nil {
		s.life.background(ctx, "reload", s.reload)
	}
	if s.c.DeadMan.URL != "" {
		d := &deadMan{config: s.c.DeadMan, ready: s.pages, log: s.log, client: &http.Client{}}
		s.life.background(ctx, "dead-man call", d.run)
	}
}

// pages returns what keeps a new event from paging somebody. It asks for more
// than readiness does: behind a full Redis events are refused while everything
// else goes on, so traffic stays, and somebody has to come.
func (s *server) pages(ctx context.Context) error {
	if err := s.ready.ready(ctx); err != nil {
		return err
	}
	full, err := s.store.Full(ctx)
	if err != nil {
		return err
	}
	if full {
		return errors.New("redis: full, events are refused")
	}
	return nil
}

// readyChecks returns the conditions of readiness for the gateway.
func (s *server) readyChecks(ctx context.Context) []gateway.Check {
	var checks []gateway.Check
	for _, c := range s.ready.checks(ctx) {
		checks = append(checks, gateway.Check{Name: c.name, Err: c.err})
	}
	return checks
}

// problems returns what is wrong with this instance, beside what the API sees
// by itself, and whether it can page nevertheless.
func (s *server) problems(ctx context.Context) (all []string, able bool) {
	if err := s.store.Outgrown(); err != nil {
		all = append(all, "This instance owns no partition: "+err.Error()+".")
	}
	if jump := s.clock.Jumped(); jump != 0 {
		all = append(all, fmt.Sprintf("The clock of Redis has jumped by %s and is not believed yet.", jump.Round(time.Millisecond)))
	}
	all = append(all, s.failovers().problems()...)
	all = append(all, s.storms()...)
	for _, app := range s.sender.State() {
		if app.Breaker != push.BreakerClosed {
			all = append(all, fmt.Sprintf("Pushes through %s (%s, %s) are stopped since %s: %s.",
				app.App, app.Provider, app.Environment, app.Since.UTC().Format(time.TimeOnly), app.Breaker))
		}
	}
	for _, p := range []roster.Platform{roster.IOS, roster.Android, roster.Web} {
		if c := s.notifier.Confirmed(p); c.Degraded {
			all = append(all, fmt.Sprintf("Phones do not confirm what %s takes since %s (%d of the last %d pages, %d phones): other ways start after 5 s. Look at its status page, and test a phone.",
				platform(p).Provider(), c.Since.UTC().Format(time.TimeOnly), c.Missing, c.Pages, c.Devices))
		}
	}
	return all, s.ready.ready(ctx) == nil
}

// openAdmin opens the listener for profiles and metrics, which asks nobody who
// they are: the configuration takes a loopback address only.
func (s *server) openAdmin(ctx context.Context) (string, error) {
	if s.c.AdminListen == "" {
		return "", nil
	}
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", s.c.AdminListen)
	if err != nil {
		return "", fmt.Errorf("listen on %s: %w", s.c.AdminListen, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.Handle("/metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}))
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second} // no write timeout: a profile takes as long as it is asked to
	s.life.background(ctx, "admin listener", func(ctx context.Context) error { return unless(ctx, srv.Serve(l)) })
	s.life.onStop("admin requests", func(context.Context) error { return srv.Close() })
	return l.Addr().String(), nil
}
