package redisd_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/redisd"
)

// helperDir makes the test binary play a tocsin that starts Redis in that directory and waits to be killed.
const helperDir = "TOCSIN_TEST_REDISD_DIR"

func TestMain(m *testing.M) {
	dir := os.Getenv(helperDir)
	if dir == "" {
		os.Exit(m.Run())
	}
	s, err := redisd.Start(context.Background(), redisd.Options{Dir: dir})
	if err != nil {
		fmt.Fprintln(os.Stdout, "error", err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stdout, "ready", s.PID())
	select {}
}

func TestKilledRedisComesBackWithItsData(t *testing.T) {
	s, c := start(t)
	if err := c.Set(t.Context(), "incident", "open", 0).Err(); err != nil {
		t.Fatal(err)
	}
	before := s.PID()
	kill(t, before)
	eventually(t, "a new server answers", func() bool { return s.PID() != before && redisd.Ping(t.Context(), s.Socket()) == nil })
	if got, err := c.Get(t.Context(), "incident").Result(); got != "open" || err != nil {
		t.Errorf("after the restart incident = %q, %v; want open", got, err)
	}
	if got := s.Restarts(); got != 1 {
		t.Errorf("restarts = %d, want 1", got)
	}
}

func TestSettingsOfThePrivateServer(t *testing.T) {
	_, c := start(t)
	want := map[string]string{
		"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "save": "",
		"port": "0", "aof-use-rdb-preamble": "yes", "no-appendfsync-on-rewrite": "no",
		"auto-aof-rewrite-min-size": "268435456",
	}
	for name, value := range want {
		got, err := c.ConfigGet(t.Context(), name).Result()
		if err != nil || got[name] != value {
			t.Errorf("%s = %q, %v; want %q", name, got[name], err, value)
		}
	}
	got, err := c.ConfigGet(t.Context(), "maxmemory").Result()
	if err != nil || got["maxmemory"] == "0" {
		t.Errorf("maxmemory = %q, %v; want a limit", got["maxmemory"], err)
	}
}

func TestSecondServerIsRefusedAndToldWhoHasTheDirectory(t *testing.T) {
	dir := directory(t)
	helper, _ := startHelper(t, dir)
	_, err := redisd.Start(t.Context(), redisd.Options{Dir: dir})
	if got := fault.KindOf(err); got != fault.Precondition {
		t.Fatalf("second start: %v (%v), want precondition", err, got)
	}
	if want := fmt.Sprintf("process %d", helper.Process.Pid); !strings.Contains(err.Error(), want) {
		t.Errorf("message %q does not name %q", err, want)
	}
}

func TestLiveRedisOfADeadTocsinIsAdopted(t *testing.T) {
	for name, lose := range map[string]string{"by its pid file": "", "by its socket": "redis.pid"} {
		t.Run(name, func(t *testing.T) {
			dir := directory(t)
			helper, pid := startHelper(t, dir)
			c := client(t, redisd.Socket(dir))
			if err := c.Set(t.Context(), "k", "v", 0).Err(); err != nil {
				t.Fatal(err)
			}
			kill(t, helper.Process.Pid)
			_ = helper.Wait()
			if lose != "" {
				if err := os.Remove(filepath.Join(dir, lose)); err != nil {
					t.Fatal(err)
				}
			}
			s, err := redisd.Start(t.Context(), redisd.Options{Dir: dir, Fsync: redisd.FsyncEverySec, MaxMemory: 128 << 20})
			if err != nil {
				t.Fatal(err)
			}
			if s.PID() != pid || !s.Adopted() {
				t.Errorf("pid = %d, adopted = %v; want %d, true", s.PID(), s.Adopted(), pid)
			}
			if got, err := c.ConfigGet(t.Context(), "appendfsync").Result(); err != nil || got["appendfsync"] != "everysec" {
				t.Errorf("appendfsync of the adopted server = %q, %v; want everysec", got["appendfsync"], err)
			}
			supervise(t, s)
			kill(t, pid)
			eventually(t, "the adopted server is replaced", func() bool { return s.PID() != pid && redisd.Ping(t.Context(), s.Socket()) == nil })
			if got, err := c.Get(t.Context(), "k").Result(); got != "v" || err != nil {
				t.Errorf("k = %q, %v; want v", got, err)
			}
		})
	}
}

func TestStopLeavesNothingRunningAndDataOnDisk(t *testing.T) {
	dir := directory(t)
	for round := range 2 {
		s, err := redisd.Start(t.Context(), redisd.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if s.Adopted() {
			t.Errorf("round %d adopted a server, want a new one", round)
		}
		c := client(t, s.Socket())
		if n, err := c.Incr(t.Context(), "rounds").Result(); err != nil || n != int64(round+1) {
			t.Errorf("rounds = %d, %v; want %d", n, err, round+1)
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(s.PID(), 0); err == nil {
			t.Errorf("pid %d is still there after Stop", s.PID())
		}
	}
}

func TestStartSaysWhatToDo(t *testing.T) {
	old := script(t, "Redis server v=6.2.14 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64 build=0")
	strange := script(t, "nginx version: nginx/1.22.1")
	cases := []struct {
		name string
		opts redisd.Options
		want string
	}{
		{"not installed", redisd.Options{Dir: t.TempDir(), Binary: "/nonexistent/redis-server"}, "apt-get install redis-server"},
		{"too old", redisd.Options{Dir: t.TempDir(), Binary: old}, "older than 7.0"},
		{"no redis", redisd.Options{Dir: t.TempDir(), Binary: strange}, "no version line"},
		{"long path", redisd.Options{Dir: filepath.Join(t.TempDir(), strings.Repeat("x", 100))}, "shorter --data-dir"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := redisd.Start(t.Context(), c.opts)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %v, want one with %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("error has several lines: %q", err)
			}
		})
	}
}

func TestBrokenFileIsReportedWithRedisOwnWords(t *testing.T) {
	dir := directory(t)
	if err := os.MkdirAll(filepath.Join(dir, "appendonlydir"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "appendonlydir", "appendonly.aof.manifest"), []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := redisd.Start(t.Context(), redisd.Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "its log says") || !strings.Contains(err.Error(), "AOF") {
		t.Errorf("error = %v, want Redis's own complaint about the AOF", err)
	}
	lock, err := redisd.TakeLock(dir)
	if err != nil {
		t.Fatalf("the failed start kept the lock: %v", err)
	}
	_ = lock.Release()
}

// directory returns one whose path is short enough for a socket, and ends whatever is left running in it.
func directory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "redisd") //nolint:usetesting // the path of a socket has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if redisd.Ping(context.Background(), redisd.Socket(dir)) != nil {
			_ = os.RemoveAll(dir)
			return
		}
		c := redis.NewClient(&redis.Options{Network: "unix", Addr: redisd.Socket(dir), MaxRetries: -1, DialerRetries: 1})
		_ = c.ShutdownNoSave(context.Background()).Err()
		_ = c.Close()
		_ = os.RemoveAll(dir)
	})
	return dir
}

func start(t *testing.T) (*redisd.Server, *redis.Client) {
	t.Helper()
	s, err := redisd.Start(t.Context(), redisd.Options{Dir: directory(t)})
	if err != nil {
		t.Fatal(err)
	}
	supervise(t, s)
	return s, client(t, s.Socket())
}

// supervise runs s until the test ends, then stops it.
func supervise(t *testing.T, s *redisd.Server) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		stop, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Stop(stop); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
}

func startHelper(t *testing.T, dir string) (cmd *exec.Cmd, redisPID int) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), helperDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if _, err2 := fmt.Sscanf(line, "ready %d", &redisPID); err != nil || err2 != nil {
		t.Fatalf("helper said %q, %v", line, err)
	}
	return cmd, redisPID
}

func client(t *testing.T, socket string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Network: "unix", Addr: socket, MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("kill %d: %v", pid, err)
	}
}

// script writes an executable that prints line.
func script(t *testing.T, line string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "redis-server")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho '"+line+"'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(20 * time.Second); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
