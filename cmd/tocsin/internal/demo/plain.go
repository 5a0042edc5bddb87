package demo

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// plain shows what happens as lines, where output is no terminal. The same
// keys are read from In, as lines of letters; when In ends, it goes on.
func plain(ctx context.Context, t *theatre, o Options) error {
	fmt.Fprintf(o.Out, "keys, as lines on standard input: %s\n\n", keyHelp)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	mark := t.journal.mark()
	if m := t.fireNext(ctx); m == "" {
		return nil
	}
	keys := make(chan string)
	go readKeys(ctx, o.In, keys) // blocked in Read at the end: it ends with the process, and nobody waits for it
	began := time.Now()
	for {
		all, news := t.journal.since(mark)
		mark += len(all)
		for _, g := range all {
			who := ""
			if g.who != 0 {
				who = g.who.String() + ": "
			}
			fmt.Fprintf(o.Out, "%-9s %-*s %s%s\n", sinceText(g.at.Sub(began)), placeWidth, g.where, who, g.text)
		}
		select {
		case <-news:
		case key := <-keys:
			if key == "q" {
				return nil
			}
			if text := t.perform(ctx, key); text != "" {
				fmt.Fprintf(o.Out, "%-9s %-*s %s\n", sinceText(time.Since(began)), placeWidth, "key "+key, text)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// readKeys hands on each letter of the input.
func readKeys(ctx context.Context, in io.Reader, keys chan<- string) {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		for _, key := range strings.TrimSpace(lines.Text()) {
			select {
			case keys <- string(key):
			case <-ctx.Done():
				return
			}
		}
	}
}
