// Package child is one tocsin server as the chaos run needs it: a whole
// process of its own, with shorter rules, a clock that can be wrong, and the
// habit of dying at a named point when it is told to. The product's own
// program carries nothing of it.
package child

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tocsin-oncall/tocsin/server/app"
	"github.com/tocsin-oncall/tocsin/server/config"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// Variable is the environment variable that makes the program a child; its
// value is the path of the [Spec].
const Variable = "TOCSIN_CHAOS_CHILD"

// Spec is what a child is told at its start, as JSON.
type Spec struct {
	Config config.Config
	Behind time.Duration // the machine's clock is so much behind; negative: ahead
}

// Points are those of a page at which a child can be told to die, in their order.
func Points() []string {
	var points []string
	for _, step := range []string{"append", "commit", "begin send", "push", "record delivery", "receipt", "work done"} {
		points = append(points, "before "+step, "after "+step)
	}
	return points
}

// Main serves until SIGTERM, or until whoever started it is gone, and returns
// the exit code. It writes its address on the first line of standard output,
// and takes orders from standard input: "die after commit".
func Main(path string) int {
	if err := serve(path); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func serve(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read what to serve: %w", err)
	}
	var spec Spec
	if err := json.Unmarshal(text, &spec); err != nil {
		return fmt.Errorf("read what to serve: %s: %w", path, err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var order orders
	go order.follow(os.Stdin) // ends with the process
	o := app.Options{
		Config: spec.Config, Version: fmt.Sprintf("chaos-%d", store.Schema), Step: order.pass,
		Started: func(d app.Doors) { fmt.Fprintln(os.Stdout, d.Listen) },
	}
	if spec.Behind != 0 {
		o.Machine = func() time.Time { return time.Now().Add(-spec.Behind) }
	}
	if err := app.Run(ctx, o); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// orders are what the child was told to do.
type orders struct {
	mu    sync.Mutex
	dieAt string
}

// follow reads orders. Their end is that of whoever gave them, so this process
// ends, too: nobody else would do it.
func (o *orders) follow(in io.Reader) {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if point, ok := strings.CutPrefix(lines.Text(), "die "); ok {
			o.mu.Lock()
			o.dieAt = point
			o.mu.Unlock()
		}
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
}

// pass ends the process at the point where it was told to.
func (o *orders) pass(point string) {
	o.mu.Lock()
	now := o.dieAt == point
	o.mu.Unlock()
	if now {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // nothing more happens in this process
	}
}
