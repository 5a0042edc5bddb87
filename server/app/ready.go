package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tocsin-oncall/tocsin/server/directory"
)

// stale is how old the snapshot may be: it is confirmed every second.
const stale = 15 * time.Second

// probeWait bounds one look at Redis; probeKept is how long its answer counts.
const (
	probeWait = time.Second
	probeKept = 500 * time.Millisecond
)

// check is one condition of readiness.
type check struct {
	name string
	err  error // why it does not hold; nil: it does
}

// able says whether what this instance answers with 202 will page somebody.
type able struct {
	writable  func(ctx context.Context) error
	outgrown  func() error // why this version is too old for what is stored
	directory *directory.Directory
	draining  atomic.Bool

	mu     sync.Mutex
	probed time.Time
	probe  error
}

// checks looks at every condition.
func (r *able) checks(ctx context.Context) []check {
	return []check{{"redis", r.redis(ctx)}, {"schema", r.outgrown()}, {"configuration", r.current()}, {"catch_all", r.catchAll()}, {"serving", r.serving()}}
}

// ready returns what is missing, nil for nothing.
func (r *able) ready(ctx context.Context) error {
	for _, c := range r.checks(ctx) {
		if c.err != nil {
			return fmt.Errorf("%s: %w", c.name, c.err)
		}
	}
	return nil
}

// redis reports whether Redis takes writes. Many probes at once ask it once.
func (r *able) redis(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.probed) < probeKept {
		return r.probe
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeWait)
	defer cancel()
	r.probe, r.probed = r.writable(ctx), time.Now()
	return r.probe
}

// current reports whether the configuration in memory is the newest.
func (r *able) current() error {
	age, known := r.directory.Age()
	switch {
	case !known:
		return errors.New("read from disk only; Redis has not confirmed it")
	case age > stale:
		return fmt.Errorf("not confirmed by Redis for %s", age.Round(time.Second))
	}
	return nil
}

// catchAll reports whether somebody of the catch-all can be paged, by a way
// that this installation is set up for.
func (r *able) catchAll() error {
	return r.directory.Snapshot().Ready()
}

func (r *able) serving() error {
	if r.draining.Load() {
		return errors.New("the server is stopping")
	}
	return nil
}

// announce says at the start what keeps the installation from paging somebody.
func (r *able) announce(ctx context.Context, log *slog.Logger) {
	ready := true
	for _, c := range r.checks(ctx) {
		if c.err != nil {
			ready = false
			log.WarnContext(ctx, "not ready: pages may reach nobody", slog.String("check", c.name), slog.Any("missing", c.err))
		}
	}
	for _, u := range r.directory.Snapshot().Unreachable() {
		log.WarnContext(ctx, "somebody who is counted on cannot be woken", slog.String("user", string(u.User)), slog.String("why", u.Why))
	}
	if ready {
		log.InfoContext(ctx, "ready")
	}
}
