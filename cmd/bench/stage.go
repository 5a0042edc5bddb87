package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/cmd/internal/lab"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

// scene is something that happens to an installation, and what is measured of it.
type scene struct {
	name    string
	figures []figure
	play    func(context.Context, *stage) error
}

// scenes are all, in the order in which they are shown.
func scenes() []scene {
	return slices.Concat(ingestScenes(), pageScenes(), timerScenes(), watchScenes(), restScenes(), turnScenes())
}

// stage is where one scene plays.
type stage struct {
	o       options
	dir     string
	profile string // file; "" for none
	values  map[string]float64

	lab    *lab.Lab
	server *lab.Server
	look   *lab.Seed // past the server into its Redis
	admin  string    // address of the server's profiles
	ends   []func()  // what else is to be closed
}

// some is n, or the share of it that was asked for.
func (st *stage) some(n int) int { return max(1, int(float64(n)*st.o.Scale)) }

// measured notes a figure.
func (st *stage) measured(name string, value float64) { st.values[name] = value }

// note tells whoever waits what is no figure.
func (st *stage) note(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "  "+format+"\n", args...)
}

// closing has f called when the scene is over.
func (st *stage) closing(f func()) { st.ends = append(st.ends, f) }

// close ends what the scene has left.
func (st *stage) close() {
	for _, f := range st.ends {
		f()
	}
	if st.look != nil {
		st.look.Close()
	}
	if st.server != nil {
		st.server.Kill()
	}
	if st.lab != nil {
		_ = st.lab.Close()
	}
}

// setting is what a scene plays in.
type setting struct {
	organisation lab.Organisation
	latency      time.Duration // of the push services
	onPush       func(pushtest.Request)
	state        func(*lab.Seed) error // put in before the start; nil for none
}

// prepare makes the installation, and does not start it.
func (st *stage) prepare(ctx context.Context, s setting) error {
	var err error
	st.lab, err = lab.New(lab.Options{Program: st.o.Program, Dir: filepath.Join(st.dir, "lab"), Latency: s.latency, OnPush: s.onPush})
	if err != nil {
		return err
	}
	return st.lab.Seed(ctx, func(seed *lab.Seed) error {
		if err := seed.Apply(ctx, s.organisation); err != nil || s.state == nil {
			return err
		}
		return s.state(seed)
	})
}

// serve starts the installation.
func (st *stage) serve(ctx context.Context) error {
	var err error
	if st.admin, err = lab.FreeAddress(ctx); err != nil {
		return err
	}
	if st.server, err = st.lab.Serve(ctx, "TOCSIN_ADMIN_LISTEN="+st.admin, "TOCSIN_LOG_LEVEL=warn"); err != nil {
		return err
	}
	st.look, err = st.lab.Look(ctx)
	return err
}

// open is prepare and serve.
func (st *stage) open(ctx context.Context, s setting) error {
	if err := st.prepare(ctx, s); err != nil {
		return err
	}
	return st.serve(ctx)
}

// profiled keeps profiles while f runs, when they are asked for: five seconds of
// the server, its allocations too, and all of this process, with the push services in it.
func (st *stage) profiled(ctx context.Context, f func() error) error {
	if st.profile == "" {
		return f()
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	if err := os.MkdirAll(filepath.Dir(st.profile), 0o750); err != nil {
		return err
	}
	own, err := os.Create(st.beside(".load.pprof"))
	if err != nil {
		return err
	}
	got := make(chan error, 2)
	go func() { got <- st.keepProfile(ctx, "profile?seconds=5", st.profile) }()
	go func() { got <- st.keepProfile(ctx, "allocs?seconds=5", st.beside(".allocs.pprof")) }()
	if err = pprof.StartCPUProfile(own); err == nil {
		err = f()
		pprof.StopCPUProfile()
	}
	return errors.Join(err, own.Close(), <-got, <-got, st.keepCommands(ctx))
}

// beside names another file of the profile.
func (st *stage) beside(ending string) string {
	return strings.TrimSuffix(st.profile, ".pprof") + ending
}

// keepCommands is what Redis has spent on which commands, beside the profile.
func (st *stage) keepCommands(ctx context.Context) error {
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: st.server.Socket, DisableIdentity: true})
	defer func() { _ = client.Close() }()
	info, err := client.Info(ctx, "commandstats").Result()
	if err != nil {
		return err
	}
	return os.WriteFile(st.beside(".redis.txt"), []byte(info), 0o600)
}

// keepProfile writes a profile of the server to a file.
func (st *stage) keepProfile(ctx context.Context, which, file string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+st.admin+"/debug/pprof/"+which, http.NoBody)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("fetch a profile: %w", err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("fetch a profile: %w", err)
	}
	return os.WriteFile(file, text, 0o600)
}

// spent is processor time, in seconds.
type spent struct{ server, redis, load float64 }

// spent is what the server, its Redis and this process, with the push services
// in it, have used so far.
func (st *stage) spent() (spent, error) {
	u, err := st.server.Usage()
	if err != nil {
		return spent{}, err
	}
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		return spent{}, fmt.Errorf("look at this process: %w", err)
	}
	return spent{u.Server, u.Redis, time.Duration(own.Utime.Nano() + own.Stime.Nano()).Seconds()}, nil
}

// noteSpent tells what a thousand of n have cost since before.
func (st *stage) noteSpent(before spent, n int, what string) error {
	now, err := st.spent()
	if err != nil {
		return err
	}
	st.noteBetween(before, now, n, what)
	return nil
}

// noteBetween tells what a thousand of n have cost.
func (st *stage) noteBetween(before, after spent, n int, what string) {
	k := float64(n) / 1000
	st.note("processor time for 1,000 %s: server %.3f s, Redis %.3f s, load %.3f s",
		what, (after.server-before.server)/k, (after.redis-before.redis)/k, (after.load-before.load)/k)
}

// until looks again and again until done says so.
func (st *stage) until(ctx context.Context, what string, within, every time.Duration, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not within %v", what, within)
		case <-tick.C:
		}
	}
}

// state is what all partitions hold together.
func (st *stage) state(ctx context.Context) (open, inbox, work int, err error) {
	all, err := st.look.Store.Stats(ctx)
	if err != nil {
		return 0, 0, 0, err
	}
	for _, p := range all {
		open, inbox, work = open+p.Open, inbox+p.Inbox, work+p.Work
	}
	return open, inbox, work, nil
}

// drained waits until every event is decided.
func (st *stage) drained(ctx context.Context, within time.Duration) error {
	return st.until(ctx, "the inbox is empty", within, 50*time.Millisecond, func() (bool, error) {
		_, inbox, _, err := st.state(ctx)
		return inbox == 0, err
	})
}
