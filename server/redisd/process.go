package redisd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// pollEvery is how often we look whether an adopted process, which the
// kernel does not report to us, is still there, and whether a starting one answers.
const pollEvery = 50 * time.Millisecond

// process is one run of redis-server, our own child or an adopted one.
type process struct {
	pid     int
	adopted bool
	gone    chan struct{} // closed when it has ended
}

// spawn starts a child in a session of its own, so that neither a Ctrl-C in
// our terminal nor our death reaches it.
func (s *Server) spawn(ctx context.Context) (*process, error) {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), s.binary.Path, filepath.Join(s.opts.Dir, configFile))
	cmd.Dir = s.opts.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", s.binary.Path, err)
	}
	p := &process{pid: cmd.Process.Pid, gone: make(chan struct{})}
	s.watchers.Go(func() {
		_ = cmd.Wait() // the reason is in its log; s.tail reads it
		close(p.gone)
	})
	return p, nil
}

// adopt returns the live server of the directory, or nil.
func (s *Server) adopt(ctx context.Context) *process {
	pid, ok := s.survivor(ctx)
	if !ok {
		return nil
	}
	p := &process{pid: pid, adopted: true, gone: make(chan struct{})}
	s.watchers.Go(func() {
		tick := time.NewTicker(pollEvery)
		defer tick.Stop()
		for runsIn(pid, s.opts.Dir) {
			select {
			case <-tick.C:
			case <-s.released:
				return
			}
		}
		close(p.gone)
	})
	return p
}

// survivor finds the server that an earlier tocsin left behind. Its pid file,
// which Redis writes before it opens the socket, finds one that is still
// loading; whoever answers on the socket counts even when the file is lost.
// A process counts only when its working directory is ours: pids are reused.
func (s *Server) survivor(ctx context.Context) (pid int, ok bool) {
	text, err := os.ReadFile(filepath.Join(s.opts.Dir, pidFile))
	if err == nil {
		pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
	}
	if err == nil && pid > 1 && runsIn(pid, s.opts.Dir) {
		return pid, true
	}
	if Ping(ctx, s.Socket()) != nil {
		return 0, false // the usual case: nobody is there
	}
	info, err := s.client.Info(ctx, "server").Result()
	if err != nil {
		return 0, false
	}
	_, rest, _ := strings.Cut(info, "\r\nprocess_id:")
	line, _, _ := strings.Cut(rest, "\r\n")
	pid, err = strconv.Atoi(line)
	return pid, err == nil
}

// runsIn reports whether the process is alive and works in dir. A zombie has
// no working directory. Where there is no /proc, being alive has to do.
func runsIn(pid int, dir string) bool {
	if err := syscall.Kill(pid, 0); err != nil && !errors.Is(err, syscall.EPERM) {
		return false
	}
	if _, err := os.Stat("/proc/self/cwd"); err != nil {
		return true
	}
	cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	return err == nil && cwd == dir
}

// ready waits until the server of p answers PING, which it does not while it
// loads its data, or until it ended or ctx did.
func (s *Server) ready(ctx context.Context, p *process) error {
	tick := time.NewTicker(pollEvery / 5)
	defer tick.Stop()
	said := time.Now()
	for {
		err := Ping(ctx, s.Socket())
		if err == nil {
			return nil
		}
		if time.Since(said) > 5*time.Second {
			said = time.Now()
			s.opts.Log.InfoContext(ctx, "waiting for redis", slog.Int("pid", p.pid), slog.String("state", err.Error()))
		}
		select {
		case <-tick.C:
		case <-p.gone:
			return fmt.Errorf("redis-server ended while starting; its log says: %s", s.tail())
		case <-ctx.Done():
			return fmt.Errorf("wait for redis-server (pid %d, last answer %w): %w", p.pid, err, context.Cause(ctx))
		}
	}
}

// tail returns the last lines of the server's log that say something.
func (s *Server) tail() string {
	text, err := os.ReadFile(filepath.Join(s.opts.Dir, logFile))
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	if len(text) > 4096 {
		text = text[len(text)-4096:]
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], " / ")
}

func dial(dir string) *redis.Client {
	return redis.NewClient(&redis.Options{
		Network: "unix", Addr: Socket(dir), PoolSize: 2, MaxRetries: -1, DialerRetries: 1, DisableIdentity: true,
		DialTimeout: time.Second, ReadTimeout: time.Second, WriteTimeout: time.Second,
	})
}
