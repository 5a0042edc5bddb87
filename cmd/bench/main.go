// Command bench measures the whole product: `tocsin serve` with its private
// redis-server as processes of their own, push services that record, and load
// from this process, all on one machine. It prints one line for each figure,
// then a table against the bars. It is a tool of the developers, and runs on
// Linux only.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/redis/go-redis/v9"
)

// options are the flags of the command.
type options struct {
	Program string        `default:"bin/tocsin" help:"The tocsin to measure."`
	Only    string        `placeholder:"EXPRESSION" help:"Measure only the scenes whose names match."`
	Runs    int           `default:"3" help:"How often each scene runs; a figure is the median."`
	Scale   float64       `default:"1" help:"Share of the load: less is quicker and says less."`
	Profile bool          `help:"Keep profiles of the server's processor time, and of what Redis spent on which commands, in the directory profiles."`
	JSON    string        `name:"json" placeholder:"FILE" help:"Write the figures there as JSON, too."`
	Growth  string        `placeholder:"FILE" help:"Measure how figures grow with the number of open incidents instead, and draw them there as SVG."`
	Soak    time.Duration `placeholder:"DURATION" help:"Keep the server busy for so long instead, and fail when it uses more and more."`
	Keep    bool          `help:"Keep the data and logs of each run."`
}

func main() {
	redis.SetLogger(silence{})
	debug.SetGCPercent(800) // the load shares the server's processors: its garbage shall cost as little as it can
	var o options
	kong.Parse(&o, kong.Name("bench"), kong.Description("Measure tocsin as a whole."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// silence keeps the Redis client from writing to standard error by itself.
type silence struct{}

// Printf implements the client's logger.
func (silence) Printf(context.Context, string, ...any) {}

func run(ctx context.Context, o options, out io.Writer) error {
	if _, err := os.Stat(o.Program); err != nil {
		return fmt.Errorf("%w: make build first", err)
	}
	if o.Soak > 0 {
		return soak(ctx, o, out)
	}
	if o.Growth != "" {
		return grow(ctx, o, out)
	}
	only, err := regexp.Compile(o.Only)
	if err != nil {
		return fmt.Errorf("--only: %w", err)
	}
	var all []result
	for _, s := range scenes() {
		if !only.MatchString(s.name) {
			continue
		}
		results, err := repeat(ctx, o, s)
		if err != nil {
			return fmt.Errorf("scene %s: %w", s.name, err)
		}
		for _, r := range results {
			fmt.Fprintln(out, r.line())
		}
		all = append(all, results...)
	}
	fmt.Fprint(out, "\n", table(all))
	if o.JSON == "" {
		return nil
	}
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.JSON, append(text, '\n'), 0o600)
}

// repeat plays a scene several times, each on a fresh installation.
func repeat(ctx context.Context, o options, s scene) ([]result, error) {
	values := map[string][]float64{}
	for i := range max(1, o.Runs) {
		v, err := once(ctx, o, s, i)
		if err != nil {
			return nil, err
		}
		for name, x := range v {
			values[name] = append(values[name], x)
		}
	}
	results := make([]result, len(s.figures))
	for i, f := range s.figures {
		if len(values[f.Name]) == 0 {
			return nil, fmt.Errorf("it did not measure %s", f.Name)
		}
		results[i] = summarise(f, values[f.Name])
	}
	return results, nil
}

// once plays a scene in a directory of its own, which is gone afterwards.
func once(ctx context.Context, o options, s scene, number int) (values map[string]float64, err error) {
	dir, err := os.MkdirTemp("", "tocsin-bench-")
	if err != nil {
		return nil, err
	}
	if o.Keep {
		fmt.Fprintf(os.Stderr, "%s, run %d: %s\n", s.name, number+1, dir)
	} else {
		defer func() { _ = os.RemoveAll(dir) }()
	}
	st := &stage{o: o, dir: dir, values: map[string]float64{}}
	if o.Profile {
		st.profile = filepath.Join("profiles", fmt.Sprintf("%s-%d.pprof", s.name, number+1))
	}
	defer st.close()
	if err := s.play(ctx, st); err != nil {
		return nil, err
	}
	return st.values, nil
}
