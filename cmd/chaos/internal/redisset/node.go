package redisset

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/machine"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/wire"
	"github.com/tocsin-oncall/tocsin/cmd/internal/lab"
	"github.com/tocsin-oncall/tocsin/server/redisd"
)

// startPatience is how long a server may take until it answers: a busy machine
// needs seconds for what takes tenths.
const startPatience = 60 * time.Second

// pollEvery is the time between two looks at something that is to happen.
const pollEvery = 20 * time.Millisecond

// Node is one redis-server.
type Node struct {
	Name   string
	Client *redis.Client // over its socket

	dir     string
	binary  string
	origin  string // address from which it calls others
	address string // where it listens
	machine *machine.Machine
	front   *wire.Cable // to address; nil for a server that stands alone
	bus     *wire.Cable // to where it listens for the other nodes of its cluster

	mu      sync.Mutex // of process
	process *lab.Process
}

// newNode prepares a server; Start starts it.
func newNode(ctx context.Context, number int, dir string, fsync redisd.Fsync, kind Kind) (*Node, error) {
	found, err := redisd.Find(ctx, "")
	if err != nil {
		return nil, err
	}
	n := &Node{
		Name: fmt.Sprintf("redis %d", number), dir: filepath.Join(dir, fmt.Sprintf("node-%d", number)), binary: found.Path,
		// An address of its own for what it begins: a cable knows who comes.
		origin: fmt.Sprintf("127.0.1.%d", number+1),
	}
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of %s: %w", n.Name, err)
	}
	if n.machine, err = machine.New(ctx, filepath.Join(n.dir, "machine")); err != nil {
		return nil, err
	}
	extra, err := n.wire(ctx, kind)
	if err != nil {
		return nil, err
	}
	conf := redisd.Config{Dir: n.dir, Fsync: fsync, Extra: append(extra, "auto-aof-rewrite-min-size 4mb")}
	if err := os.WriteFile(n.conf(), []byte(conf.Text()), 0o600); err != nil {
		return nil, fmt.Errorf("write redis.conf: %w", err)
	}
	n.Client = redis.NewClient(&redis.Options{
		Network: "unix", Addr: redisd.Socket(n.dir), MaxRetries: -1, DialerRetries: 1, DisableIdentity: true, PoolSize: 4,
		DialTimeout: 2 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, ContextTimeoutEnabled: true,
	})
	return n, nil
}

// wire gives the node its addresses and cables, and returns what its
// configuration says of them.
func (n *Node) wire(ctx context.Context, kind Kind) ([]string, error) {
	var err error
	if n.address, err = lab.FreeAddress(ctx); err != nil {
		return nil, err
	}
	directives := []string{"bind 127.0.0.1", "port " + port(n.address)}
	if kind == Single {
		return directives, nil
	}
	if n.front, err = wire.Lay(ctx, n.address); err != nil {
		return nil, err
	}
	directives = append(directives, "bind-source-addr "+n.origin, "repl-diskless-sync-delay 0", "repl-ping-replica-period 1")
	if kind == Sentinel {
		return append(directives, "replica-announce-ip 127.0.0.1", "replica-announce-port "+port(n.front.Address())), nil
	}
	listens, err := lab.FreeAddress(ctx)
	if err != nil {
		return nil, err
	}
	if n.bus, err = wire.Lay(ctx, listens); err != nil {
		return nil, err
	}
	return append(directives,
		"cluster-enabled yes", "cluster-port "+port(listens), "cluster-announce-ip 127.0.0.1",
		"cluster-announce-port "+port(n.front.Address()), "cluster-announce-bus-port "+port(n.bus.Address()),
		fmt.Sprintf("cluster-node-timeout %d", nodeTimeout.Milliseconds()), "cluster-replica-validity-factor 0",
		"cluster-require-full-coverage no", // the slots that are served are served
	), nil
}

func (n *Node) conf() string { return filepath.Join(n.dir, "redis.conf") }

// door is where others reach it.
func (n *Node) door() string {
	if n.front != nil {
		return n.front.Address()
	}
	return n.address
}

func port(address string) string {
	_, p, _ := net.SplitHostPort(address) // both are this package's own
	return p
}

// Start starts the server and returns when it has loaded its data.
func (n *Node) Start(ctx context.Context) error {
	p, err := lab.Launch(ctx, lab.Command{
		Name: n.Name, Program: n.binary, Args: []string{n.conf()}, Env: n.machine.Env(), Log: filepath.Join(n.dir, "redis.err"),
	})
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.process = p
	n.mu.Unlock()
	return p.Until(ctx, "answering", pollEvery, startPatience, func(ctx context.Context) error {
		return redisd.Ping(ctx, redisd.Socket(n.dir))
	})
}

func (n *Node) running() *lab.Process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.process
}

// Kill ends the server as a crash would.
func (n *Node) Kill() { n.running().Kill() }

// Pause stops the server in its tracks, as a machine that stands still.
func (n *Node) Pause() { n.running().Signal(syscall.SIGSTOP) }

// Resume ends Pause.
func (n *Node) Resume() { n.running().Signal(syscall.SIGCONT) }

// CutPower ends the server and forgets what was not synced. It returns how
// many bytes that were.
func (n *Node) CutPower() (int64, error) {
	n.Kill()
	return n.machine.CutPower(n.dir)
}

// FillDisk lets its writes fail. With appendfsync always Redis then exits.
func (n *Node) FillDisk() error { return n.machine.Fill() }

// SlowDisk delays its syncs.
func (n *Node) SlowDisk(by time.Duration) error { return n.machine.Slow(by) }

// HealDisk ends FillDisk and SlowDisk, and starts the server if it has ended.
func (n *Node) HealDisk(ctx context.Context) error {
	if err := n.machine.Heal(); err != nil || n.running().Alive() {
		return err
	}
	return n.Start(ctx)
}

// SetClock sets its clock: so much ahead of the right time, or behind it.
func (n *Node) SetClock(ahead time.Duration) error { return n.machine.Set(ahead) }

// Limit sets how much memory the server may use, in bytes; 0 is any.
func (n *Node) Limit(ctx context.Context, bytes int64) error {
	return n.Client.ConfigSet(ctx, "maxmemory", fmt.Sprint(bytes)).Err()
}

// FlushScripts makes the server forget all scripts.
func (n *Node) FlushScripts(ctx context.Context) error { return n.Client.ScriptFlush(ctx).Err() }

// standing is what a server says of its place among the others.
type standing struct {
	master bool
	of     string // port of its master, of a replica
	linked bool   // it follows its master, of a replica
}

// stands asks the server, for a moment: one that is dead or stopped has no standing.
func (n *Node) stands(ctx context.Context) (standing, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	info, err := n.Client.InfoMap(ctx, "replication").Result()
	if err != nil {
		return standing{}, fmt.Errorf("%s does not answer: %w", n.Name, err)
	}
	r := info["Replication"]
	return standing{master: r["role"] == "master", of: r["master_port"], linked: r["master_link_status"] == "up"}, nil
}

// Used is how much processor the server has used; 0 when it does not run.
func (n *Node) Used() time.Duration {
	p, err := procfs.NewProc(n.running().PID())
	if err != nil {
		return 0
	}
	stat, err := p.Stat()
	if err != nil {
		return 0
	}
	return time.Duration(stat.CPUTime() * float64(time.Second))
}

func (n *Node) close() error {
	err := n.Client.Close()
	if p := n.running(); p != nil {
		p.Kill()
	}
	for _, c := range []*wire.Cable{n.front, n.bus} {
		if c != nil {
			c.Close()
		}
	}
	return errors.Join(err)
}
