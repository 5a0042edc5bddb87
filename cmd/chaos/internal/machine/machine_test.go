package machine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/redisd"
)

// server is a redis-server on the machine.
type server struct {
	t       *testing.T
	machine *Machine
	dir     string
	cmd     *exec.Cmd
	*redis.Client
}

func newServer(t *testing.T, fsync redisd.Fsync) *server {
	t.Helper()
	dir, err := os.MkdirTemp("", "machine") //nolint:usetesting // the name of t.TempDir would not fit a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &server{t: t, dir: dir}
	if s.machine, err = New(t.Context(), filepath.Join(dir, "machine")); err != nil {
		t.Fatal(err)
	}
	conf := redisd.Config{Dir: dir, Fsync: fsync}
	if err := os.WriteFile(filepath.Join(dir, "redis.conf"), []byte(conf.Text()), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Client = redis.NewClient(&redis.Options{
		Network: "unix", Addr: redisd.Socket(dir), MaxRetries: -1, DialerRetries: 1, DisableIdentity: true, ReadTimeout: time.Minute,
	})
	t.Cleanup(func() { _ = s.Close() })
	s.start()
	t.Cleanup(s.kill)
	return s
}

func (s *server) start() {
	s.t.Helper()
	found, err := redisd.Find(s.t.Context(), "")
	if err != nil {
		s.t.Fatal(err)
	}
	s.cmd = exec.CommandContext(context.WithoutCancel(s.t.Context()), found.Path, filepath.Join(s.dir, "redis.conf")) //nolint:gosec // redis-server
	s.cmd.Env = append(os.Environ(), s.machine.Env()...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); redisd.Ping(s.t.Context(), redisd.Socket(s.dir)) != nil; {
		if time.Now().After(deadline) {
			s.t.Fatal("redis-server does not answer")
		}
		<-time.After(5 * time.Millisecond)
	}
}

func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// TestCutPower: what was answered under appendfsync always is there after a
// loss of power; under no it is not, which shows that the test cuts at all.
func TestCutPower(t *testing.T) {
	for _, c := range []struct {
		fsync redisd.Fsync
		kept  bool
	}{{redisd.FsyncAlways, true}, {redisd.FsyncNo, false}} {
		t.Run(string(c.fsync), func(t *testing.T) {
			s := newServer(t, c.fsync)
			for i := range 200 {
				if err := s.Set(t.Context(), fmt.Sprint(i), "x", 0).Err(); err != nil {
					t.Fatal(err)
				}
			}
			s.kill()
			lost, err := s.machine.CutPower(s.dir)
			if err != nil {
				t.Fatal(err)
			}
			s.start()
			n, err := s.DBSize(t.Context()).Result()
			if err != nil {
				t.Fatal(err)
			}
			if kept := n == 200; kept != c.kept {
				t.Errorf("%d of 200 keys are there, %d bytes were cut off; want all: %t", n, lost, c.kept)
			}
		})
	}
}

func TestSlowDisk(t *testing.T) {
	s := newServer(t, redisd.FsyncAlways)
	const by = 300 * time.Millisecond
	if err := s.machine.Slow(by); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := s.Set(t.Context(), "a", "b", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < by {
		t.Errorf("a write took %s, and its sync alone %s", took, by)
	}
}

// TestFullDisk: with appendfsync always Redis exits, and with room again it
// has what it had answered.
func TestFullDisk(t *testing.T) {
	s := newServer(t, redisd.FsyncAlways)
	if err := s.Set(t.Context(), "before", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.machine.Fill(); err != nil {
		t.Fatal(err)
	}
	if err := s.Set(t.Context(), "after", "x", 0).Err(); err == nil {
		t.Error("a write to a full disk was answered with success")
	}
	_ = s.cmd.Wait() // it exits by itself
	if err := s.machine.Heal(); err != nil {
		t.Fatal(err)
	}
	s.start()
	if n, err := s.Exists(t.Context(), "before").Result(); err != nil || n != 1 {
		t.Errorf("what was written before is there %d times (%v), want once", n, err)
	}
}

// TestClock: the server tells the time that it is shown, while it runs, and
// its own waiting keeps the right pace.
func TestClock(t *testing.T) {
	s := newServer(t, redisd.FsyncNo)
	shows := func(ahead time.Duration) {
		t.Helper()
		got, err := s.Time(t.Context()).Result()
		if err != nil {
			t.Fatal(err)
		}
		if off := time.Until(got) - ahead; off.Abs() > 10*time.Second {
			t.Errorf("the server shows %s, want %s from now", got, ahead)
		}
	}
	shows(0)
	for _, ahead := range []time.Duration{10 * time.Minute, -10 * time.Minute, 0} {
		if err := s.machine.Set(ahead); err != nil {
			t.Fatal(err)
		}
		shows(ahead)
	}
}
