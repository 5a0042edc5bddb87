package world

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/child"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/redisset"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/wire"
	"github.com/tocsin-oncall/tocsin/cmd/internal/lab"
	"github.com/tocsin-oncall/tocsin/server/config"
)

// Instance is one tocsin server, with a cable to everybody that it talks to.
type Instance struct {
	Number  int
	Clients *wire.Cable // from monitors and phones
	Redis   *wire.Cable // nil in front of a cluster
	Apple   *wire.Cable
	Door    *grpc.ClientConn // gRPC through the cable of clients
	Console *grpc.ClientConn // its admin socket

	program string
	dir     string
	config  config.Config
	client  *http.Client

	mu      sync.Mutex // of process
	process *lab.Process
}

// newInstance lays the cables; Start starts it. Google signs its tokens for an
// address, so there is no cable to it.
func newInstance(ctx context.Context, number int, program, dir string, c config.Config, redis *redisset.Set, apple string) (*Instance, error) {
	in := &Instance{Number: number, program: program, dir: dir, client: &http.Client{Timeout: 2 * time.Second}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of instance %d: %w", number, err)
	}
	address, err := lab.FreeAddress(ctx)
	if err != nil {
		return nil, err
	}
	if in.Clients, err = wire.Lay(ctx, address); err != nil {
		return nil, err
	}
	if in.Apple, err = wire.Lay(ctx, apple); err != nil {
		return nil, err
	}
	c.Redis.URL = redis.URL("")
	if uplink, ok := redis.Uplink(); ok {
		if in.Redis, err = wire.Lay(ctx, uplink); err != nil {
			return nil, err
		}
		c.Redis.URL = redis.URL(in.Redis.Address())
	}
	c.Listen, c.DataDir = address, filepath.Join(dir, "data")
	c.PublicURL = "http://" + in.Clients.Address()
	c.Push.Apps = append(c.Push.Apps[:0:0], c.Push.Apps...)
	for i := range c.Push.Apps {
		if c.Push.Apps[i].Platform == "ios" {
			c.Push.Apps[i].TestEndpoint = "https://" + in.Apple.Address()
		}
	}
	in.config = c
	eager := grpc.WithConnectParams(grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.3, Jitter: 0.1, MaxDelay: 300 * time.Millisecond},
		MinConnectTimeout: time.Second,
	})
	plain := grpc.WithTransportCredentials(insecure.NewCredentials())
	if in.Door, err = grpc.NewClient("passthrough:///"+in.Clients.Address(), plain, eager); err != nil {
		return nil, fmt.Errorf("connect to instance %d: %w", number, err)
	}
	if in.Console, err = grpc.NewClient("unix://"+filepath.Join(c.DataDir, "admin.sock"), plain, eager); err != nil {
		return nil, fmt.Errorf("connect to instance %d: %w", number, err)
	}
	return in, nil
}

// Start starts the instance, with a machine's clock that is so much behind,
// and returns when its doors are open. Kill during Start makes it fail.
func (in *Instance) Start(ctx context.Context, behind time.Duration) error {
	if p := in.running(); p != nil && p.Alive() {
		return nil
	}
	text, err := json.Marshal(child.Spec{Config: in.config, Behind: behind})
	if err != nil {
		return fmt.Errorf("tell instance %d what it is: %w", in.Number, err)
	}
	path := filepath.Join(in.dir, "spec.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return fmt.Errorf("tell instance %d what it is: %w", in.Number, err)
	}
	name := fmt.Sprintf("instance %d", in.Number)
	p, err := lab.Launch(ctx, lab.Command{
		Name: name, Program: in.program, Env: []string{child.Variable + "=" + path}, Log: filepath.Join(in.dir, "tocsin.log"),
	})
	if err != nil {
		return err
	}
	in.mu.Lock()
	in.process = p
	in.mu.Unlock()
	return nil
}

func (in *Instance) running() *lab.Process {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.process
}

// Ready waits until the instance says that it can page, over a line that no
// fault cuts. One that has ended is an error.
func (in *Instance) Ready(ctx context.Context) error {
	return in.running().Until(ctx, "ready", pollEvery, startPatience, func(ctx context.Context) error {
		return lab.Ready(ctx, in.client, in.config.Listen)
	})
}

// What the harness waits for: a busy machine needs seconds for what takes tenths.
const (
	startPatience = 60 * time.Second
	pollEvery     = 20 * time.Millisecond
)

// Alive reports whether its process runs.
func (in *Instance) Alive() bool {
	p := in.running()
	return p != nil && p.Alive()
}

// Kill ends it as a crash would.
func (in *Instance) Kill() { in.running().Kill() }

// KillAt has it die when it next passes a point. Gone is closed when it has.
func (in *Instance) KillAt(point string) (gone <-chan struct{}) {
	p := in.running()
	p.Tell("die " + point)
	return p.Gone()
}

// Pause stops it in its tracks; Resume lets it go on.
func (in *Instance) Pause() { in.running().Signal(syscall.SIGSTOP) }

// Resume ends Pause.
func (in *Instance) Resume() { in.running().Signal(syscall.SIGCONT) }

// Stop ends it in order.
func (in *Instance) Stop() error { return in.running().Stop(stopPatience) }

// stopPatience is above what the server itself takes to drain.
const stopPatience = 40 * time.Second

// Cables are all of its cables.
func (in *Instance) Cables() []*wire.Cable {
	cables := []*wire.Cable{in.Clients, in.Apple}
	if in.Redis != nil {
		cables = append(cables, in.Redis)
	}
	return cables
}

func (in *Instance) close() {
	if p := in.running(); p != nil {
		p.Kill()
	}
	_ = in.Door.Close()
	_ = in.Console.Close()
	in.client.CloseIdleConnections()
	for _, c := range in.Cables() {
		c.Close()
	}
}
