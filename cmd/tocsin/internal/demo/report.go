package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

const (
	nameWidth  = 70 // of a step, before its time
	placeWidth = 13
)

// paint colours text for a terminal; the zero paint leaves it as it is.
type paint bool

func (p paint) with(code, text string) string {
	if !p {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (p paint) good(text string) string  { return p.with("32", text) }
func (p paint) bad(text string) string   { return p.with("1;31", text) }
func (p paint) faint(text string) string { return p.with("2", text) }
func (p paint) bold(text string) string  { return p.with("1", text) }

// printSteps reports as lines for people.
func printSteps(w io.Writer, p paint) func(outcome) {
	return func(o outcome) {
		sign, time := p.good("✓"), p.bold(fmt.Sprintf("%9s", seconds(o.seen.took)))+p.faint(" after "+o.seen.since)
		if o.err != nil {
			sign, time = p.bad("✗"), ""
		}
		pad := strings.Repeat(" ", max(0, nameWidth-len([]rune(o.step.name))))
		fmt.Fprintf(w, "%s %s %s%s%s\n", p.faint(fmt.Sprintf("%2d/%d", o.number, o.of)), sign, o.step.name, pad, time)
		for _, n := range o.seen.notes {
			fmt.Fprintf(w, "        %s %s\n", p.faint(fmt.Sprintf("%-*s", placeWidth, n.Where)), n.What)
		}
		if o.err != nil {
			fmt.Fprintf(w, "        %-*s %s, within %s\n", placeWidth, "expected", o.step.expect, o.step.within)
			fmt.Fprintf(w, "        %-*s %s\n", placeWidth, "instead", o.err)
		}
	}
}

// stepJSON is one step as a line of JSON.
type stepJSON struct {
	Step    int     `json:"step"`
	Of      int     `json:"of"`
	Name    string  `json:"name"`
	OK      bool    `json:"ok"`
	Seconds float64 `json:"seconds"` // measured
	Since   string  `json:"since,omitempty"`
	At      float64 `json:"at"` // seconds since the story began
	Seen    []note  `json:"seen,omitempty"`
	Expect  string  `json:"expect"`
	Within  float64 `json:"within"` // seconds
	Error   string  `json:"error,omitempty"`
}

// writeSteps reports as lines of JSON for programs.
func writeSteps(w io.Writer) func(outcome) {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return func(o outcome) {
		line := stepJSON{
			Step: o.number, Of: o.of, Name: o.step.name, OK: o.err == nil, Seconds: millis(o.seen.took), Since: o.seen.since,
			At: millis(o.at), Seen: o.seen.notes, Expect: o.step.expect, Within: o.step.within.Seconds(),
		}
		if o.err != nil {
			line.Error = o.err.Error()
		}
		_ = e.Encode(line) // a reader that has gone away shows at the next step, and the end is the same
	}
}

// millis is seconds with three digits.
func millis(d time.Duration) float64 { return float64(d.Round(time.Millisecond).Milliseconds()) / 1000 }
