package redisd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// Restarts of a dying server wait from the first to the last of these,
// doubling; a server that lived for steadyAfter starts the series anew.
const (
	restartFirst = 100 * time.Millisecond
	restartLast  = 10 * time.Second
	steadyAfter  = time.Minute
)

// abandonAfter is how long a start that failed waits for its child to end.
const abandonAfter = 5 * time.Second

// Options of a private server. Only Dir is needed.
type Options struct {
	Dir       string       // data directory of this server alone; made when missing
	Fsync     Fsync        // "" = always
	MaxMemory int64        // bytes; 0 = 60 % of what the machine or the control group has
	Binary    string       // path of redis-server; "" = from PATH
	Log       *slog.Logger // nil = none
}

// Server is a supervised redis-server. Its methods are safe for concurrent use.
type Server struct {
	opts     Options
	binary   Binary
	lock     *Lock
	client   *redis.Client
	process  atomic.Pointer[process]
	restarts atomic.Int64
	stopping atomic.Bool
	released chan struct{} // closed by Stop: watchers of adopted processes end
	watchers sync.WaitGroup
	once     sync.Once
	stopErr  error
}

// Start locks the directory and returns when its server answers: the one that
// outlived an earlier tocsin, or a new one that has loaded its data. Loading
// takes about a second for 60 MB of plain append-only file; ctx bounds it.
//
// Faults of kind Precondition carry an instruction: REDIS_MISSING,
// REDIS_TOO_OLD, DIRECTORY_LOCKED, PATH_TOO_LONG.
func Start(ctx context.Context, opts Options) (*Server, error) {
	dir, err := prepare(opts.Dir)
	if err != nil {
		return nil, err
	}
	opts.Dir = dir
	if opts.MaxMemory == 0 {
		opts.MaxMemory = MaxMemory(os.DirFS("/"))
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	binary, err := Find(ctx, opts.Binary)
	if err != nil {
		return nil, err
	}
	lock, err := TakeLock(dir)
	if err != nil {
		return nil, err
	}
	s := &Server{opts: opts, binary: binary, lock: lock, client: dial(dir), released: make(chan struct{})}
	if err := s.begin(ctx); err != nil {
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonAfter)
		defer cancel()
		return nil, errors.Join(fmt.Errorf("private redis in %s: %w", dir, err), s.Stop(stopCtx))
	}
	return s, nil
}

// prepare makes the directory, for its owner only, and returns its real
// absolute path: a process's working directory is compared with it.
func prepare(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the data directory: %w", err)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find the data directory: %w", err)
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return "", fmt.Errorf("find the data directory: %w", err)
	}
	if n := len(Socket(abs)); n > maxSocketPath {
		return "", fault.New(fault.Precondition, "PATH_TOO_LONG", fmt.Sprintf(
			"the path of the Unix socket %s has %d bytes, the system allows %d: give a shorter --data-dir", Socket(abs), n, maxSocketPath))
	}
	return abs, nil
}

// begin adopts or spawns, and waits until the server answers.
func (s *Server) begin(ctx context.Context) error {
	p := s.adopt(ctx)
	if p == nil {
		conf := Config{Dir: s.opts.Dir, Fsync: s.opts.Fsync, MaxMemory: s.opts.MaxMemory}
		if err := os.WriteFile(filepath.Join(s.opts.Dir, configFile), []byte(conf.Text()), 0o600); err != nil {
			return fmt.Errorf("write redis.conf: %w", err)
		}
		var err error
		if p, err = s.spawn(ctx); err != nil {
			return err
		}
	}
	s.process.Store(p)
	if err := s.ready(ctx, p); err != nil {
		return err
	}
	if p.adopted {
		if err := s.align(ctx); err != nil {
			return err
		}
	}
	s.opts.Log.InfoContext(ctx, "redis is ready", slog.Int("pid", p.pid), slog.Bool("adopted", p.adopted), slog.String("socket", s.Socket()))
	return nil
}

// align gives an adopted server the settings that a new one would have had.
func (s *Server) align(ctx context.Context) error {
	fsync := s.opts.Fsync
	if fsync == "" {
		fsync = FsyncAlways
	}
	for _, c := range [][2]string{{"appendfsync", string(fsync)}, {"maxmemory", strconv.FormatInt(s.opts.MaxMemory, 10)}, {"maxmemory-policy", "noeviction"}} {
		if err := s.client.ConfigSet(ctx, c[0], c[1]).Err(); err != nil {
			return fmt.Errorf("set %s of the adopted server: %w", c[0], err)
		}
	}
	return nil
}

// Run restarts the server whenever it dies, until ctx ends or Stop is called.
// It always returns nil: a server that does not come back is tried again for ever.
func (s *Server) Run(ctx context.Context) error {
	wait, since := restartFirst, time.Now()
	for {
		p := s.process.Load()
		select {
		case <-ctx.Done():
			return nil
		case <-s.released:
			return nil
		case <-p.gone:
		}
		if s.stopping.Load() {
			return nil
		}
		if time.Since(since) > steadyAfter {
			wait = restartFirst
		}
		s.opts.Log.ErrorContext(ctx, "redis died and is restarted", slog.Int("pid", p.pid), slog.Duration("after", wait), slog.String("log", s.tail()))
		select {
		case <-ctx.Done():
			return nil
		case <-s.released:
			return nil
		case <-time.After(wait):
		}
		wait, since = min(2*wait, restartLast), time.Now()
		s.restarts.Add(1)
		if err := s.begin(ctx); err != nil && ctx.Err() == nil {
			s.opts.Log.ErrorContext(ctx, "redis did not come back", slog.Any("error", err))
		}
	}
}

// Stop ends the server in order: it writes what it has to disk and exits, and
// the directory is unlocked. When ctx ends first the server is left running,
// to be adopted by the next start; its data is safe either way. Wait for Run
// to return first: it must not start another child meanwhile.
func (s *Server) Stop(ctx context.Context) error {
	s.once.Do(func() {
		s.stopping.Store(true)
		s.stopErr = s.end(ctx)
		close(s.released)
		s.stopErr = errors.Join(s.stopErr, s.client.Close(), s.lock.Release())
	})
	return s.stopErr
}

func (s *Server) end(ctx context.Context) error {
	p := s.process.Load()
	if p == nil {
		return nil
	}
	select {
	case <-p.gone:
		return nil
	default:
	}
	if err := syscall.Kill(p.pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop redis-server (pid %d): %w", p.pid, err)
	}
	select {
	case <-p.gone:
		s.watchers.Wait()
		return nil
	case <-ctx.Done():
		return fmt.Errorf("redis-server (pid %d) was still busy and is left running for the next start: %w", p.pid, context.Cause(ctx))
	}
}

// Socket returns the path of the Unix socket on which the server answers.
func (s *Server) Socket() string { return Socket(s.opts.Dir) }

// URL returns the server's address in the form that the store takes: unix:///path/redis.sock.
func (s *Server) URL() string { return "unix://" + s.Socket() }

// PID returns the process id of the server that runs, or ran last.
func (s *Server) PID() int { return s.process.Load().pid }

// Adopted reports whether the server that runs had been started by an earlier tocsin.
func (s *Server) Adopted() bool { return s.process.Load().adopted }

// Restarts counts how often the server had to be restarted.
func (s *Server) Restarts() int64 { return s.restarts.Load() }

// Version says which server program runs: "Redis 7.0 at /usr/bin/redis-server".
func (s *Server) Version() string { return s.binary.String() }
