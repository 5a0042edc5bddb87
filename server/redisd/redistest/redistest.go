// Package redistest gives tests a real redis-server on a Unix socket, up in about a tenth of a second.
//
//	func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) } // one server for the package
//	...
//	url := redistest.URL(t)         // of that server: unix:///tmp/…/redis.sock
//	srv := redistest.Start(t)       // or a server of one's own, gone after the test
//
// A server ends with the test process, also when that is killed.
package redistest

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/redisd"
)

// readyWithin bounds the wait for a server; on a loaded machine a start has taken over a second.
const readyWithin = 20 * time.Second

// keeper starts Redis and ends it when standard input closes, which the
// kernel does for us however the test process ends.
const keeper = `"$@" </dev/null & pid=$!
cat >/dev/null
kill -9 $pid 2>/dev/null
wait $pid 2>/dev/null`

// Option changes the settings of a server.
type Option func(*redisd.Config)

// WithFsync sets appendfsync. The default of tests is "no": it changes speed only, as only a loss of power tells the difference.
func WithFsync(f redisd.Fsync) Option { return func(c *redisd.Config) { c.Fsync = f } }

// WithMaxMemory sets maxmemory in bytes; the default of tests is no limit.
func WithMaxMemory(n int64) Option { return func(c *redisd.Config) { c.MaxMemory = n } }

// WithDirectives adds lines to redis.conf, such as "cluster-enabled yes".
func WithDirectives(lines ...string) Option {
	return func(c *redisd.Config) { c.Extra = append(c.Extra, lines...) }
}

// Server is a running redis-server. Its methods are for one goroutine at a time.
type Server struct {
	config redisd.Config
	binary string
	cmd    *exec.Cmd
	stdin  io.Closer
	port   string // "" unless it listens on TCP, too
	bus    string // port of a cluster's own traffic
}

// Start runs a server for this test alone and ends it when the test ends.
func Start(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	s, err := launch(opts...)
	if err != nil {
		tb.Fatalf("redis for the test: %v", err)
	}
	tb.Cleanup(s.remove)
	return s
}

// shared is the server of the package under test, set by Main.
var (
	shared     *Server    //nolint:gochecknoglobals // one per test process by design
	sharedLock sync.Mutex //nolint:gochecknoglobals // guards shared
)

// Main runs the tests of a package with one server for all of them, and
// returns the exit code. The options are those of that server.
func Main(m *testing.M, opts ...Option) int {
	s, err := launch(opts...)
	if err != nil {
		fmt.Fprintln(os.Stderr, "redis for the tests:", err)
		return 1
	}
	defer s.remove()
	sharedLock.Lock()
	shared = s
	sharedLock.Unlock()
	return m.Run()
}

// Shared returns the server that Main started. It is not emptied between
// tests: use keys or databases apart, or Flush in tests that are not parallel.
func Shared(tb testing.TB) *Server {
	tb.Helper()
	sharedLock.Lock()
	defer sharedLock.Unlock()
	if shared == nil {
		tb.Fatal("redistest.Shared without redistest.Main in TestMain")
	}
	return shared
}

// URL returns the address of the shared server.
func URL(tb testing.TB) string {
	tb.Helper()
	return Shared(tb).URL()
}

func launch(opts ...Option) (*Server, error) {
	bin, err := redisd.Find(context.Background(), "")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "redistest") // not tb.TempDir: a long test name would not fit a socket's path
	if err != nil {
		return nil, err
	}
	s := &Server{config: redisd.Config{Dir: dir, Fsync: redisd.FsyncNo}, binary: bin.Path}
	for _, o := range opts {
		o(&s.config)
	}
	if err := s.start(); err != nil {
		s.remove()
		return nil, err
	}
	return s, nil
}

func (s *Server) start() error {
	conf := filepath.Join(s.config.Dir, "redis.conf")
	if err := os.WriteFile(conf, []byte(s.config.Text()), 0o600); err != nil {
		return err
	}
	s.cmd = exec.CommandContext(context.Background(), "sh", "-c", keeper, "sh", s.binary, conf)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt of the tests ends it through standard input
	stdin, err := s.cmd.StdinPipe()
	if err != nil {
		return err
	}
	s.stdin = stdin
	if err := s.cmd.Start(); err != nil {
		return err
	}
	return s.wait()
}

func (s *Server) wait() error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var err error
	for deadline := time.Now().Add(readyWithin); time.Now().Before(deadline); <-tick.C {
		if err = redisd.Ping(context.Background(), s.Socket()); err == nil {
			return nil
		}
	}
	text, _ := os.ReadFile(filepath.Join(s.config.Dir, "redis.log"))
	return fmt.Errorf("not ready after %v: %w\n%s", readyWithin, err, text)
}

// Socket returns the path of the server's Unix socket.
func (s *Server) Socket() string { return redisd.Socket(s.config.Dir) }

// URL returns the server's address: unix:///path/redis.sock.
func (s *Server) URL() string { return "unix://" + s.Socket() }

// Dir returns the directory with the server's append-only file.
func (s *Server) Dir() string { return s.config.Dir }

// Client returns a plain client that is closed when the test ends.
func (s *Server) Client(tb testing.TB) *redis.Client {
	tb.Helper()
	c := s.client()
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

func (s *Server) client() *redis.Client {
	return redis.NewClient(&redis.Options{Network: "unix", Addr: s.Socket(), DisableIdentity: true, DialerRetries: 1})
}

// Flush empties the server.
func (s *Server) Flush(tb testing.TB) {
	tb.Helper()
	if err := s.Client(tb).FlushAll(tb.Context()).Err(); err != nil {
		tb.Fatalf("flush: %v", err)
	}
}

// Kill ends the server with SIGKILL, as a crash does, and waits until it is gone. Restart brings it back with its data.
func (s *Server) Kill(tb testing.TB) {
	tb.Helper()
	s.stop()
}

// Pause stops the server in its tracks with SIGSTOP, as a frozen machine; Resume lets it go on.
func (s *Server) Pause(tb testing.TB) { s.signal(tb, syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (s *Server) Resume(tb testing.TB) { s.signal(tb, syscall.SIGCONT) }

// Restart starts a killed server again on the same socket with the same data.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	if err := s.start(); err != nil {
		tb.Fatalf("restart redis: %v", err)
	}
}

func (s *Server) signal(tb testing.TB, sig syscall.Signal) {
	tb.Helper()
	pid := s.PID()
	if pid == 0 {
		tb.Fatal("redis has no process")
	}
	if err := syscall.Kill(pid, sig); err != nil {
		tb.Fatalf("signal redis: %v", err)
	}
}

// PID returns the id of the server's process, 0 when it has none.
func (s *Server) PID() int {
	text, _ := os.ReadFile(filepath.Join(s.config.Dir, "redis.pid"))
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

// stop closes the keeper's standard input: it kills Redis with SIGKILL and waits for it.
func (s *Server) stop() {
	if s.stdin == nil {
		return
	}
	_ = s.stdin.Close()
	_ = s.cmd.Wait()
	s.stdin = nil
}

func (s *Server) remove() {
	s.stop()
	_ = os.RemoveAll(s.config.Dir)
}
