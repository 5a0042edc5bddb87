// Chaos plays a bad night with real processes on this machine: monitors send,
// phones ring, people act, and meanwhile servers and Redis are killed, stopped,
// cut off, starved of memory and disk. Then it holds what everybody saw against
// what tocsin promises. See docs/chaos.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/child"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/harm"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/night"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/redisset"
	"github.com/tocsin-oncall/tocsin/server/redisd"
	"github.com/tocsin-oncall/tocsin/server/store"
)

func main() {
	redis.SetLogger(silence{}) // what fails is asked again, and a night is full of it
	if path := os.Getenv(child.Variable); path != "" {
		os.Exit(child.Main(path))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// silence keeps the Redis client from writing to standard error by itself.
type silence struct{}

// Printf implements the client's logger.
func (silence) Printf(context.Context, string, ...any) {}

// run returns the exit code: 0 when every promise was kept, 1 when one was
// not, 2 when the run could not be made.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	o, err := options(args, errs)
	if err != nil {
		fmt.Fprintln(errs, err)
		return 2
	}
	o.Log = out
	report, err := night.Run(ctx, o)
	if err != nil {
		fmt.Fprintln(errs, "chaos:", err)
		return 2
	}
	report.Print(out)
	fmt.Fprintf(out, "ledger, report and logs are in %s\n", o.Dir)
	if len(report.Violations) > 0 {
		return 1
	}
	return 0
}

func options(args []string, errs io.Writer) (night.Options, error) {
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.SetOutput(errs)
	o := night.Options{Services: 8, Every: 1500 * time.Millisecond}
	flags.DurationVar(&o.For, "for", 10*time.Minute, "how long things break, before peace and the checks")
	flags.Uint64Var(&o.Seed, "seed", rand.Uint64N(1<<32), "what follows from it: the faults, the events, who acknowledges") //nolint:gosec // no secret
	flags.IntVar(&o.Instances, "instances", 3, "tocsin servers, 1 to 3")
	flags.DurationVar(&o.Late, "late", 5*time.Second, "how late anything may be while nothing is broken")
	flags.StringVar(&o.Dir, "dir", "", "keeps everything there; a directory of its own by default")
	set := flags.String("redis", "single", "single; sentinel: a master with two replicas; cluster: three masters with a replica each; the last two with durability replicated")
	flags.StringVar(&o.Before, "before", "", "this program built as the version before, which rolling upgrades begin with; this one is then built with -tags schemanext")
	faults := flags.String("faults", "all", "what breaks: all, none, or a list of kinds; -kind leaves one out of all")
	fsync := flags.String("fsync", "", "appendfsync of redis-server: always, which a single one has by default, everysec, as the others have, or no; what a loss of power takes from a single one is held against it only with always")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.Redis, o.Fsync = redisset.Kind(*set), redisd.Fsync(*fsync)
	if !slices.Contains(redisset.Kinds(), o.Redis) {
		return o, fmt.Errorf("--redis=%s: single, sentinel and cluster are known", o.Redis)
	}
	if !slices.Contains([]redisd.Fsync{"", redisd.FsyncAlways, redisd.FsyncEverySec, redisd.FsyncNo}, o.Fsync) {
		return o, fmt.Errorf("--fsync=%s: always, everysec and no are known", *fsync)
	}
	if o.Instances < 1 || o.Instances > 3 {
		return o, fmt.Errorf("--instances=%d: 1 to 3 are run", o.Instances)
	}
	var err error
	if o.Faults, err = harm.Parse(*faults, o.Redis); err != nil {
		return o, fmt.Errorf("--faults: %w", err)
	}
	if err := upgradable(&o, *faults); err != nil {
		return o, err
	}
	if o.Program, err = os.Executable(); err != nil {
		return o, err
	}
	if o.Dir == "" {
		o.Dir, err = os.MkdirTemp("", "tocsin-chaos-")
	} else {
		o.Dir, err = filepath.Abs(o.Dir)
	}
	return o, err
}

// upgradable leaves rolling upgrades out where there is nothing to upgrade from.
func upgradable(o *night.Options, faults string) error {
	switch {
	case o.Before != "" && store.Schema < 2:
		return errors.New("--before: build this program with -tags schemanext, which is the version after")
	case o.Before == "" && strings.Contains(faults, string(harm.RollingUpgrade)):
		return fmt.Errorf("--faults=%s: say with --before what to upgrade from", faults)
	case o.Before == "" || !slices.Contains(o.Faults, harm.RollingUpgrade):
		o.Before = ""
		o.Faults = slices.DeleteFunc(o.Faults, func(k harm.Kind) bool { return k == harm.RollingUpgrade })
		return nil
	}
	var err error
	o.Before, err = filepath.Abs(o.Before)
	return err
}
