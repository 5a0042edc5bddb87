package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"
)

// Options say how the demo is shown.
type Options struct {
	Program  string // path of this binary, which is run as the server and the guard
	Dir      string // kept; empty: a temporary one, removed at the end
	Once     bool   // plays the whole story without a person
	JSON     bool   // with Once: one line of JSON for each step
	Terminal bool   // Out is a terminal
	Colour   bool
	In       io.Reader // keys
	Out      io.Writer
}

// Run runs the demo until its end, ctx's, or the person's. With Once it
// returns nil only if every step of the story happened. Nothing that it
// started runs afterwards.
func Run(ctx context.Context, o Options) error {
	if err := findRedis(ctx); err != nil {
		return err
	}
	if o.Once {
		return once(ctx, o)
	}
	return live(ctx, o)
}

// once plays the story.
func once(ctx context.Context, o Options) (err error) {
	s := &story{stage: &stage{pace: storyPace, journal: newJournal()}, program: o.Program}
	defer func() {
		if !s.closed {
			err = errors.Join(err, s.close())
		}
	}()
	if err := s.open(ctx, o.Program, o.Dir); err != nil {
		return err
	}
	report := printSteps(o.Out, paint(o.Colour))
	if o.JSON {
		report = writeSteps(o.Out)
	} else {
		fmt.Fprintf(o.Out, "A night in a small shop, played by itself: real server, real Redis, real HTTP/2;\nApple, Google and the two phones are simulators; delays of the rules are shortened.\n\n")
	}
	began := time.Now()
	err = play(ctx, s.steps(), time.Now, report)
	switch {
	case err == nil && !o.JSON:
		fmt.Fprintf(o.Out, "\nEvery step happened, in %s.\n", round(time.Since(began)))
	case ctx.Err() != nil:
		return errors.New("interrupted: the story was not played to its end") // not the quiet end of a Ctrl-C: a step is missing
	case err != nil && !o.JSON:
		fmt.Fprintf(o.Out, "\nThe server's log ends with:\n")
		for _, line := range lastLines(filepath.Join(s.dir, "server.log"), 15) {
			fmt.Fprintf(o.Out, "  %s\n", line)
		}
	}
	return err
}
