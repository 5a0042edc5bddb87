package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// GuardCommand is the hidden command that runs [Guard].
const GuardCommand = "demo-guard"

const (
	guardPatience = 12 * time.Second // for children to end after SIGTERM, before SIGKILL
	guardPoll     = 20 * time.Millisecond
)

// Guard waits until the demo has ended, however it ended, and then ends what
// it left running: the children whose pids it was told, and the Redis of the
// data directory, which outlives its parent by design. It knows the end from
// its standard input, which the kernel closes. With remove it deletes dir.
func Guard(ctx context.Context, in io.Reader, dir string, remove bool) error {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP) // it goes last, whatever is signalled
	running := map[int]bool{}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		word, number, _ := strings.Cut(lines.Text(), " ")
		pid, err := strconv.Atoi(number)
		if err != nil || pid <= 1 {
			continue
		}
		if word == "started" {
			running[pid] = true
		} else {
			delete(running, pid)
		}
	}
	endAll(ctx, slices.Collect(maps.Keys(running)))
	err := endRedis(ctx, dir)
	if remove {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}

// endAll asks the processes to end, and makes them when they do not.
func endAll(ctx context.Context, pids []int) {
	ctx, cancel := context.WithTimeout(ctx, guardPatience)
	defer cancel()
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGTERM)
	}
	for ctx.Err() == nil && anyAlive(pids) {
		rest(ctx, guardPoll)
	}
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

func anyAlive(pids []int) bool {
	return slices.ContainsFunc(pids, func(pid int) bool { return syscall.Kill(pid, 0) == nil })
}

// endRedis ends a Redis whose server was killed before it could stop it. It is
// asked over its socket, which cannot hit another process.
func endRedis(ctx context.Context, dir string) error {
	for _, socket := range redisSockets(dir) {
		ctx, cancel := context.WithTimeout(ctx, guardPatience)
		if listens(ctx, socket) {
			client := redis.NewClient(&redis.Options{Network: "unix", Addr: socket, MaxRetries: -1, DialerRetries: 1, DisableIdentity: true})
			_ = client.ShutdownNoSave(ctx).Err() // the connection ends without an answer
			_ = client.Close()
		}
		for listens(ctx, socket) && ctx.Err() == nil {
			rest(ctx, guardPoll)
		}
		err := ctx.Err()
		cancel()
		if err != nil {
			return fmt.Errorf("redis at %s did not end: %w", socket, err)
		}
	}
	return nil
}

// listens reports whether somebody takes connections at the socket.
func listens(ctx context.Context, socket string) bool {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// redisSockets are those below the data directory.
func redisSockets(dir string) []string {
	var all []string
	for _, pattern := range []string{"*.sock", "*/*.sock", "*/*/*.sock"} {
		found, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, f := range found {
			if strings.HasPrefix(filepath.Base(f), "redis") {
				all = append(all, f)
			}
		}
	}
	return all
}

// guard is the running guard as the demo sees it.
type guard struct {
	cmd *exec.Cmd
	to  io.WriteCloser
}

// startGuard runs the guard as a child in a process group of its own, so that
// a Ctrl-C of the terminal does not reach it.
func startGuard(ctx context.Context, program, dir string, remove bool) (*guard, error) {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), program, GuardCommand, "--dir", dir, fmt.Sprintf("--remove=%t", remove))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	to, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the guard: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the guard: %w", err)
	}
	return &guard{cmd: cmd, to: to}, nil
}

func (g *guard) started(pid int) { _, _ = fmt.Fprintf(g.to, "started %d\n", pid) }
func (g *guard) ended(pid int)   { _, _ = fmt.Fprintf(g.to, "ended %d\n", pid) }

// close lets the guard tidy up, and returns when it has.
func (g *guard) close() error {
	_ = g.to.Close()
	if err := g.cmd.Wait(); err != nil {
		return fmt.Errorf("tidy up after the demo: %w", err)
	}
	return nil
}
