package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/tocsin-oncall/tocsin/server/app"
	"github.com/tocsin-oncall/tocsin/server/config"
	"github.com/tocsin-oncall/tocsin/server/incident"
)

// ServeCommand is the hidden command that runs [Serve].
const ServeCommand = "demo-serve"

// pace is how fast the demo runs: nobody wants to watch a whole night.
type pace struct {
	Name    string
	Level   time.Duration // before a level of the policy gives way to the next
	Receipt time.Duration // before a phone that says nothing counts as silent
	Remind  time.Duration
	Quiet   time.Duration // how long the story listens whether anybody is still paged
}

// The paces: one to play, one for a person to take part.
//
//nolint:gochecknoglobals // look-up table
var (
	storyPace = pace{Name: "story", Level: 12 * time.Second, Receipt: 3 * time.Second, Remind: time.Minute, Quiet: 6 * time.Second}
	livePace  = pace{Name: "live", Level: 45 * time.Second, Receipt: 8 * time.Second, Remind: 40 * time.Second}
)

func paceOf(name string) (pace, bool) {
	for _, p := range []pace{storyPace, livePace} {
		if p.Name == name {
			return p, true
		}
	}
	return pace{}, false
}

// rules are the durations of the server's rules at this pace.
func (p pace) rules() *incident.Pace {
	rules := incident.DefaultPace()
	rules.ReceiptWait, rules.RemindEvery, rules.FastestLevel = p.Receipt, p.Remind, time.Second
	rules.EmptyPass, rules.DirectFallback = 5*time.Second, p.Level
	return &rules
}

// Serve is `tocsin serve` with the durations of the demo. Nobody can be paged
// every few seconds by a line in a file: only the demo runs a server so.
func Serve(ctx context.Context, file, paceName, version string, log io.Writer) error {
	p, ok := paceOf(paceName)
	if !ok {
		return fmt.Errorf("there is no pace %q", paceName)
	}
	c, _, err := config.Load(config.Sources{File: file, Env: withoutSettings(os.Environ())})
	if err != nil {
		return err
	}
	c.Pace = p.rules()
	return app.Run(ctx, app.Options{Config: c, Version: version, Log: app.NewLog(c.Log, log)})
}
