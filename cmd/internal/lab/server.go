package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
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
	Ready  time.Duration // from the start of the process until /readyz said yes

	lab   *Lab
	cmd   *exec.Cmd
	redis int // process id
	ended chan error
}

// Serve starts tocsin with its private redis-server and waits until it is
// ready. env is added to the environment: TOCSIN_ADMIN_LISTEN=127.0.0.1:6060.
func (l *Lab) Serve(ctx context.Context, env ...string) (*Server, error) {
	log, err := os.OpenFile(l.path("tocsin.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the child has its own
	listen, err := FreeAddress(ctx)
	if err != nil {
		return nil, err
	}
	s := &Server{Listen: listen, Socket: l.path("data", "redis", "redis.sock"), lab: l, ended: make(chan error, 1)}
	s.cmd = exec.CommandContext(context.WithoutCancel(ctx), l.o.Program, "serve", "--config", l.path("tocsin.yaml"), "--listen", listen) //nolint:gosec // the program under test
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = l.o.Dir, log, log
	s.cmd.Env = append(append(os.Environ(), "TOCSIN_MASTER_KEY="+l.masterKey), env...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", l.o.Program, err)
	}
	go func() { s.ended <- s.cmd.Wait() }()
	if err := s.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, s.Kill())
	}
	s.Ready = time.Since(began)
	if s.redis, err = l.redisPID(); err != nil {
		return nil, errors.Join(fmt.Errorf("find the redis-server of tocsin: %w", err), s.Kill())
	}
	return s, nil
}

// awaitReady asks until the server can page somebody.
func (s *Server) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Listen+"/readyz", http.NoBody)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case err := <-s.ended:
			s.ended <- err
			return fmt.Errorf("tocsin ended before it was ready (%w): %s", err, s.lab.lastLog())
		case <-ctx.Done():
			return fmt.Errorf("tocsin was not ready within %v: %s", readyWithin, s.lab.lastLog())
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// lastLog is the end of what tocsin has logged.
func (l *Lab) lastLog() string {
	text, err := os.ReadFile(l.path("tocsin.log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// Stop ends the server in order, and its redis-server with it.
func (s *Server) Stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop tocsin: %w", err)
	}
	err := <-s.ended
	s.ended <- err
	return err
}

// Kill ends the server at once. Its redis-server goes on.
func (s *Server) Kill() error {
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	s.ended <- <-s.ended
	return nil
}

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
	server, err := procfs.NewProc(s.cmd.Process.Pid)
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
