package world

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

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/disk"
	"github.com/tocsin-oncall/tocsin/cmd/internal/lab"
	"github.com/tocsin-oncall/tocsin/server/redisd"
)

// Redis is one redis-server on a disk that can be slow, full and forgetful.
type Redis struct {
	Address string // host:port
	Client  *redis.Client

	dir    string
	binary string
	disk   *disk.Disk

	mu      sync.Mutex // of process
	process *process
}

// newRedis prepares a server; start starts it.
func newRedis(ctx context.Context, dir string, fsync redisd.Fsync) (*Redis, error) {
	found, err := redisd.Find(ctx, "")
	if err != nil {
		return nil, err
	}
	r := &Redis{dir: dir, binary: found.Path}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of redis: %w", err)
	}
	if r.Address, err = lab.FreeAddress(ctx); err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(r.Address)
	if err != nil {
		return nil, err
	}
	if r.disk, err = disk.New(ctx, filepath.Join(dir, "disk")); err != nil {
		return nil, err
	}
	conf := redisd.Config{Dir: dir, Fsync: fsync, Extra: []string{"port " + port, "bind 127.0.0.1", "auto-aof-rewrite-min-size 4mb"}}
	if err := os.WriteFile(r.conf(), []byte(conf.Text()), 0o600); err != nil {
		return nil, fmt.Errorf("write redis.conf: %w", err)
	}
	r.Client = redis.NewClient(&redis.Options{
		Network: "unix", Addr: redisd.Socket(dir), MaxRetries: -1, DialerRetries: 1, DisableIdentity: true, PoolSize: 4,
		DialTimeout: 2 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second,
	})
	return r, nil
}

func (r *Redis) conf() string { return filepath.Join(r.dir, "redis.conf") }

// Start starts the server and returns when it has loaded its data.
func (r *Redis) Start(ctx context.Context) error {
	p, err := launch(ctx, "redis-server", filepath.Join(r.dir, "redis.err"), r.disk.Env(), r.binary, r.conf())
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.process = p
	r.mu.Unlock()
	return p.until(ctx, "answering", func(ctx context.Context) error { return redisd.Ping(ctx, redisd.Socket(r.dir)) })
}

func (r *Redis) running() *process {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.process
}

// Kill ends the server as a crash would.
func (r *Redis) Kill() { r.running().kill() }

// Pause stops the server in its tracks, as a machine that stands still.
func (r *Redis) Pause() { r.running().signal(syscall.SIGSTOP) }

// Resume ends Pause.
func (r *Redis) Resume() { r.running().signal(syscall.SIGCONT) }

// CutPower ends the server and forgets what was not synced. It returns how
// many bytes that were.
func (r *Redis) CutPower() (int64, error) {
	r.Kill()
	return r.disk.CutPower(r.dir)
}

// FillDisk lets its writes fail. With appendfsync always Redis then exits.
func (r *Redis) FillDisk() error { return r.disk.Fill() }

// SlowDisk delays its syncs.
func (r *Redis) SlowDisk(by time.Duration) error { return r.disk.Slow(by) }

// HealDisk ends FillDisk and SlowDisk, and starts the server if it has ended.
func (r *Redis) HealDisk(ctx context.Context) error {
	if err := r.disk.Heal(); err != nil || r.running().alive() {
		return err
	}
	return r.Start(ctx)
}

// Limit sets how much memory the server may use, in bytes; 0 is any.
func (r *Redis) Limit(ctx context.Context, n int64) error {
	return r.Client.ConfigSet(ctx, "maxmemory", fmt.Sprint(n)).Err()
}

// FlushScripts makes the server forget all scripts.
func (r *Redis) FlushScripts(ctx context.Context) error { return r.Client.ScriptFlush(ctx).Err() }

func (r *Redis) close() error {
	err := r.Client.Close()
	if p := r.running(); p != nil {
		p.signal(syscall.SIGCONT)
		p.kill()
	}
	return errors.Join(err)
}
