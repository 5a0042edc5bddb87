package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/tocsin-oncall/tocsin/cmd/tocsin/internal/demo"
)

type demoCmd struct {
	Once bool   `help:"Play the whole story without a person; fail unless every step of it happens."`
	JSON bool   `name:"json" help:"With --once: one line of JSON for each step."`
	Dir  string `name:"dir" placeholder:"DIR" help:"New directory for everything, kept afterwards. Default: a temporary one."`
}

// Run shows the demo.
func (c *demoCmd) Run(ctx context.Context, s *session) error {
	if c.JSON && !c.Once {
		return usageError{errors.New("--json is for --once: without it, the demo is for people")}
	}
	if left, err := os.ReadDir(c.Dir); c.Dir != "" && err == nil && len(left) > 0 {
		return usageError{fmt.Errorf("--dir %s is not empty: the demo needs a directory of its own", c.Dir)}
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program, which the demo runs as the server: %w", err)
	}
	return demo.Run(ctx, demo.Options{
		Program: program, Dir: c.Dir, Once: c.Once, JSON: c.JSON, Terminal: s.terminal,
		Colour: s.terminal && s.getenv("NO_COLOR") == "", In: os.Stdin, Out: s.out,
	})
}

// demoServeCmd is the server as the demo runs it: hidden, since its durations
// are no installation's.
type demoServeCmd struct {
	File string `required:""`
	Pace string `required:""`
}

// Run runs it.
func (c *demoServeCmd) Run(ctx context.Context, s *session) error {
	return demo.Serve(ctx, c.File, c.Pace, s.build.Version, s.err)
}

// demoGuardCmd ends what a demo that was killed left running.
type demoGuardCmd struct {
	Dir    string `required:""`
	Remove bool
}

// Run waits for the demo's end.
func (c *demoGuardCmd) Run(ctx context.Context) error {
	return demo.Guard(context.WithoutCancel(ctx), os.Stdin, c.Dir, c.Remove)
}
