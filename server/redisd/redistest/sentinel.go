package redistest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// masterName is what the Sentinel calls its master.
const masterName = "page"

// downAfter is how long a master is silent before the Sentinel takes it for dead.
const downAfter = time.Second

// Sentinel is a master with replicas and one Sentinel that watches over them,
// all on loopback. One is enough to fail over; that it is a single one itself
// matters only when it is the one to die.
type Sentinel struct {
	// Nodes are the servers, the one that was the first master first.
	Nodes []*Server

	dir   string
	port  string
	cmd   *exec.Cmd
	stdin io.Closer
}

// StartSentinel runs a master and its replicas under a Sentinel for this test
// alone. The options are those of every node.
func StartSentinel(tb testing.TB, replicas int, opts ...Option) *Sentinel {
	tb.Helper()
	s, err := LaunchSentinel(tb.Context(), replicas, opts...)
	if err != nil {
		tb.Fatalf("redis with a Sentinel for the test: %v", err)
	}
	tb.Cleanup(s.Stop)
	return s
}

// LaunchSentinel is [StartSentinel] outside of a test: whoever calls it stops it.
func LaunchSentinel(ctx context.Context, replicas int, opts ...Option) (*Sentinel, error) {
	s := &Sentinel{}
	if err := s.launch(ctx, replicas, opts); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

func (s *Sentinel) launch(ctx context.Context, replicas int, opts []Option) error {
	for i := range replicas + 1 {
		node, err := launchAt(ctx, opts...)
		if err != nil {
			return fmt.Errorf("start node %d: %w", i+1, err)
		}
		s.Nodes = append(s.Nodes, node)
		if i == 0 {
			continue
		}
		if err := node.do(ctx, "REPLICAOF", loopback, s.Nodes[0].port); err != nil {
			return fmt.Errorf("make node %d a replica: %w", i+1, err)
		}
	}
	if err := s.watch(ctx); err != nil {
		return fmt.Errorf("start the Sentinel: %w", err)
	}
	return s.await(ctx, "the Sentinel knows all nodes and they are in step", func(c *redis.SentinelClient) bool {
		if len(c.Replicas(ctx, masterName).Val()) != replicas {
			return false
		}
		for _, n := range s.Nodes[1:] {
			if !n.inStep(ctx) {
				return false
			}
		}
		return true
	})
}

// watch starts the Sentinel itself.
func (s *Sentinel) watch(ctx context.Context) error {
	var err error
	if s.dir, err = os.MkdirTemp("", "redistest"); err != nil {
		return err
	}
	if s.port, err = freePort(ctx); err != nil {
		return err
	}
	conf := filepath.Join(s.dir, "sentinel.conf")
	text := fmt.Sprintf("port %s\nbind %s\ndir %s\nlogfile %s\nsentinel monitor %[5]s %[2]s %[6]s 1\n"+
		"sentinel down-after-milliseconds %[5]s %[7]d\nsentinel failover-timeout %[5]s 4000\n",
		s.port, loopback, s.dir, filepath.Join(s.dir, "sentinel.log"), masterName, s.Nodes[0].port, downAfter.Milliseconds())
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return err
	}
	s.cmd = exec.CommandContext(context.WithoutCancel(ctx), "sh", "-c", keeper, "sh", s.Nodes[0].binary, conf, "--sentinel")
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		s.stdin = nil
		return err
	}
	return nil
}

// await asks the Sentinel until something holds.
func (s *Sentinel) await(ctx context.Context, what string, holds func(*redis.SentinelClient) bool) error {
	c := redis.NewSentinelClient(&redis.Options{Addr: address(s.port), DisableIdentity: true, DialerRetries: 1})
	defer func() { _ = c.Close() }()
	return await(ctx, what, func() bool { return holds(c) })
}

// URL returns the address of the set, as redis.url takes it.
func (s *Sentinel) URL() string { return "redis+sentinel://" + address(s.port) + "/" + masterName }

// Master returns the node that the Sentinel sends writers to.
func (s *Sentinel) Master(tb testing.TB) *Server {
	tb.Helper()
	var found *Server
	err := s.await(tb.Context(), "the Sentinel names a master", func(c *redis.SentinelClient) bool {
		at, _ := c.GetMasterAddrByName(tb.Context(), masterName).Result()
		for _, n := range s.Nodes {
			if len(at) == 2 && at[1] == n.port {
				found = n
			}
		}
		return found != nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return found
}

// Stop ends the Sentinel and the nodes.
func (s *Sentinel) Stop() {
	if s.stdin != nil {
		_ = s.stdin.Close()
		_ = s.cmd.Wait()
		s.stdin = nil
	}
	_ = os.RemoveAll(s.dir)
	for _, n := range s.Nodes {
		n.remove()
	}
}

// do sends one command to the server.
func (s *Server) do(ctx context.Context, args ...any) error {
	c := s.client()
	defer func() { _ = c.Close() }()
	return c.Do(ctx, args...).Err()
}

// field returns one field of a section of the server's INFO, "" when there is none.
func (s *Server) field(ctx context.Context, section, name string) string {
	c := s.client()
	defer func() { _ = c.Close() }()
	return c.InfoMap(ctx, section).Item(sectionTitle[section], name)
}

// sectionTitle is how INFO heads a section.
//
//nolint:gochecknoglobals // look-up table
var sectionTitle = map[string]string{"replication": "Replication"}

// inStep reports whether a replica follows its master.
func (s *Server) inStep(ctx context.Context) bool {
	return s.field(ctx, "replication", "master_link_status") == "up"
}

// Port returns the server's TCP port, 0 for one that listens on its socket only.
func (s *Server) Port() int {
	n, _ := strconv.Atoi(s.port)
	return n
}

// await asks again and again until something holds, or a minute is over.
func await(ctx context.Context, what string, holds func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s: not yet", what), ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}
