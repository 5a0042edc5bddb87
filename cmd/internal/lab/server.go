package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/procfs"
)

// readyWithin is how long a start may take: a million incidents are read from
// disk in some tens of seconds.
const readyWithin = 3 * time.Minute

// Server is a running `tocsin serve`.
type Server struct {
	Listen string        // host:port of gRPC and HTTP
	Socket string        // of the private redis-server
	Ready  time.Duration // from the start of the process until it was waited for no longer

	process *Process
	redis   int // process id
}

// Serve starts tocsin with its private redis-server and waits until it is
// ready. env is added to the environment: TOCSIN_ADMIN_LISTEN=127.0.0.1:6060.
func (l *Lab) Serve(ctx context.Context, env ...string) (*Server, error) {
	return l.serve(ctx, "ready", Ready, env)
}

// ServeUnready is Serve for an installation that can page nobody yet: it waits
// until the server answers.
func (l *Lab) ServeUnready(ctx context.Context, env ...string) (*Server, error) {
	return l.serve(ctx, "up", func(ctx context.Context, with *http.Client, listen string) error {
		return get(ctx, with, listen, "/healthz")
	}, env)
}

func (l *Lab) serve(ctx context.Context, what string, ask func(context.Context, *http.Client, string) error, env []string) (*Server, error) {
	listen, err := FreeAddress(ctx)
	if err != nil {
		return nil, err
	}
	s := &Server{Listen: listen, Socket: l.path("data", "redis", "redis.sock")}
	began := time.Now()
	s.process, err = Launch(ctx, Command{
		Name: "tocsin", Program: l.o.Program, Args: []string{"serve", "--config", l.path("tocsin.yaml"), "--listen", listen},
		Dir: l.o.Dir, Log: l.path("tocsin.log"), Env: append([]string{"TOCSIN_MASTER_KEY=" + l.masterKey}, env...),
	})
	if err != nil {
		return nil, err
	}
	err = s.process.Until(ctx, what, 2*time.Millisecond, readyWithin, func(ctx context.Context) error {
		return ask(ctx, http.DefaultClient, listen)
	})
	if err != nil {
		s.Kill()
		return nil, err
	}
	s.Ready = time.Since(began)
	if s.redis, err = l.redisPID(); err != nil {
		s.Kill()
		return nil, fmt.Errorf("find the redis-server of tocsin: %w", err)
	}
	return s, nil
}

// Ready asks a server whether it can page somebody; nil is yes.
func Ready(ctx context.Context, with *http.Client, listen string) error {
	return get(ctx, with, listen, "/readyz")
}

func get(ctx context.Context, with *http.Client, listen, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+listen+path, http.NoBody)
	if err != nil {
		return err
	}
	res, err := with.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %d", path, res.StatusCode)
	}
	return nil
}

// stopPatience is above what the server itself takes to drain.
const stopPatience = time.Minute

// Stop ends the server in order, and its redis-server with it.
func (s *Server) Stop() error {
	return errors.Join(s.process.Stop(stopPatience), s.process.Err())
}

// Kill ends the server at once. Its redis-server goes on.
func (s *Server) Kill() { s.process.Kill() }

// Usage is what the processes have used since they were started.
type Usage struct {
	Server, Redis float64 // seconds of processor
	RSS           uint64  // bytes of the server in memory
	Threads, FDs  int     // of the server
}

// CPU is that of both.
func (u Usage) CPU() float64 { return u.Server + u.Redis }

// Usage reads /proc.
func (s *Server) Usage() (Usage, error) {
	var u Usage
	server, err := procfs.NewProc(s.process.PID())
	if err != nil {
		return u, fmt.Errorf("look at tocsin: %w", err)
	}
	stat, err := server.Stat()
	if err != nil {
		return u, fmt.Errorf("look at tocsin: %w", err)
	}
	u.Server, u.Threads = stat.CPUTime(), stat.NumThreads
	status, err := server.NewStatus()
	if err != nil {
		return u, fmt.Errorf("look at tocsin: %w", err)
	}
	u.RSS = status.VmRSS
	if u.FDs, err = server.FileDescriptorsLen(); err != nil {
		return u, fmt.Errorf("look at tocsin: %w", err)
	}
	redis, err := procfs.NewProc(s.redis)
	if err != nil {
		return u, fmt.Errorf("look at redis-server: %w", err)
	}
	if stat, err = redis.Stat(); err != nil {
		return u, fmt.Errorf("look at redis-server: %w", err)
	}
	u.Redis = stat.CPUTime()
	return u, nil
}

// FreeAddress is one of loopback, host:port, that nobody listens on.
func FreeAddress(ctx context.Context) (string, error) {
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}
