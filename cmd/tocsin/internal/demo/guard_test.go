package demo

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tocsin-oncall/tocsin/server/redisd"
)

// TestGuardTidiesUpAfterKill is a demo that was killed at the worst moment:
// while its server was killed as well, and Redis ran on by itself.
func TestGuardTidiesUpAfterKill(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "tocsin-guard-") //nolint:usetesting // short: the path of a Unix socket has a limit
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	redis, err := redisd.Start(t.Context(), redisd.Options{Dir: filepath.Join(dir, "data", "redis")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = redis.Stop(t.Context()) }()
	stubborn := exec.CommandContext(t.Context(), "sleep", "1000")
	done := exec.CommandContext(t.Context(), "sleep", "1000")
	for _, c := range []*exec.Cmd{stubborn, done} {
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
	}
	in, to := io.Pipe()
	ended := make(chan error)
	go func() { ended <- Guard(t.Context(), in, dir, true) }()
	fmt.Fprintf(to, "started %d\nstarted %d\nended %d\nnonsense\nstarted 1\n", stubborn.Process.Pid, done.Process.Pid, done.Process.Pid)
	waited := make(chan error)
	go func() { waited <- stubborn.Wait() }()
	_ = to.Close()
	if err := <-ended; err != nil {
		t.Errorf("the guard: %v", err)
	}
	if err := <-waited; err == nil {
		t.Error("the child that was left ended by itself")
	}
	if redisd.Ping(t.Context(), redis.Socket()) == nil {
		t.Error("Redis still answers")
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory: got %v, want that it is gone", err)
	}
	if err := done.Process.Kill(); err != nil {
		t.Errorf("a process that had ended before was touched: %v", err)
	}
	_ = done.Wait()
}
