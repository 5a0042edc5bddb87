package app

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tocsin-oncall/tocsin/server/ingest"
)

// openDoors opens the listeners. They close first when the server ends.
func (s *server) openDoors(ctx context.Context) error {
	s.cert = &certificate{config: s.c.TLS}
	if s.c.TLS.CertFile != "" {
		if err := s.cert.load(); err != nil {
			return err
		}
	}
	if s.o.Reload != nil {
		s.life.background("reload", s.reload)
	}
	if s.c.DeadMan.URL != "" {
		d := &deadMan{config: s.c.DeadMan, ready: s.ready.ready, log: s.log, client: &http.Client{}}
		s.life.background("dead-man call", d.run)
	}
	var doors Doors
	var err error
	if doors.Admin, err = s.openAdmin(ctx); err != nil {
		return err
	}
	if doors.Listen, err = s.openListener(ctx); err != nil {
		return err
	}
	s.life.onStop("readiness", func(context.Context) error { s.ready.draining.Store(true); return nil })
	s.log.InfoContext(ctx, "serving", slog.String("listen", doors.Listen), slog.Bool("tls", s.c.TLS.CertFile != ""), slog.String("url", s.c.URL()))
	s.ready.announce(ctx, s.log)
	s.hint(ctx)
	if s.o.Started != nil {
		s.o.Started(doors)
	}
	return nil
}

func (s *server) openListener(ctx context.Context) (string, error) {
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", s.c.Listen)
	if err != nil {
		return "", fmt.Errorf("listen on %s: %w", s.c.Listen, err)
	}
	mux := http.NewServeMux()
	events := s.tracing.traced(ingest.New(ingest.Config{Keys: s.intake, Acceptor: s.intake, Now: s.clock.Now, Log: s.log}))
	mux.Handle("/v2/enqueue", events)
	mux.Handle("/integrations", events)
	mux.Handle("/integrations/", events)
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, r *http.Request) {
		m := map[string]string{}
		status := 200
		for _, c := range s.ready.checks(r.Context()) {
			if m[c.name] = "ok"; c.err != nil {
				m[c.name], status = c.err.Error(), 503
			}
		}
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(m)
	})
	mux.Handle("/metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}))
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	s.life.background("listener", func(ctx context.Context) error { return unless(ctx, srv.Serve(l)) })
	s.life.onStop("requests", srv.Shutdown)
	return l.Addr().String(), nil
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
	s.life.background("admin listener", func(ctx context.Context) error { return unless(ctx, srv.Serve(l)) })
	s.life.onStop("admin requests", func(context.Context) error { return srv.Close() })
	return l.Addr().String(), nil
}
