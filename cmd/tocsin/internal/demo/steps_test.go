package demo

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func happens(after time.Duration) func(context.Context) (seen, error) {
	return func(ctx context.Context) (seen, error) {
		rest(ctx, after)
		if ctx.Err() != nil {
			return seen{}, context.Cause(ctx)
		}
		return seen{took: after, since: "the start"}, nil
	}
}

func TestPlay(t *testing.T) {
	t.Parallel()
	fails := func(context.Context) (seen, error) { return seen{}, errors.New("it rang twice") }
	forgetful := func(ctx context.Context) (seen, error) {
		rest(context.WithoutCancel(ctx), 2*time.Second)
		return seen{}, nil
	}
	for name, c := range map[string]struct {
		runs []func(context.Context) (seen, error)
		want []string // of each reported step: "" or its error
		err  error
	}{
		"every step happens":                 {[]func(context.Context) (seen, error){happens(0), happens(time.Millisecond)}, []string{"", ""}, nil},
		"no steps at all":                    {nil, nil, nil},
		"a step sees something else":         {[]func(context.Context) (seen, error){happens(0), fails, happens(0)}, []string{"", "it rang twice"}, errStory},
		"a step does not happen in time":     {[]func(context.Context) (seen, error){happens(time.Minute), happens(0)}, []string{"not within 1s"}, errStory},
		"a step that forgets its time limit": {[]func(context.Context) (seen, error){forgetful, happens(0)}, []string{"not within 1s"}, errStory},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var steps []step
				for _, run := range c.runs {
					steps = append(steps, step{name: "it happens", expect: "that it happens", within: time.Second, run: run})
				}
				var got []string
				err := play(t.Context(), steps, time.Now, func(o outcome) {
					text := ""
					if o.err != nil {
						text = o.err.Error()
					}
					if o.number != len(got)+1 || o.of != len(steps) {
						t.Errorf("step %d of %d is numbered %d of %d", len(got)+1, len(steps), o.number, o.of)
					}
					got = append(got, text)
				})
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("reported (-want +got):\n%s", diff)
				}
				if !errors.Is(err, c.err) || (c.err == nil) != (err == nil) {
					t.Errorf("got %v, want %v", err, c.err)
				}
			})
		})
	}
}

func TestPlayInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	steps := []step{
		{name: "first", within: time.Minute, run: func(ctx context.Context) (seen, error) {
			cancel()
			<-ctx.Done()
			return seen{}, ctx.Err()
		}},
		{name: "second", within: time.Minute, run: func(context.Context) (seen, error) {
			t.Error("the second step ran after the interruption")
			return seen{}, nil
		}},
	}
	err := play(ctx, steps, time.Now, func(outcome) {})
	if !errors.Is(err, context.Canceled) || errors.Is(err, errStory) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
}

func TestReports(t *testing.T) {
	t.Parallel()
	outcomes := []outcome{
		{
			number: 1, of: 2, at: 1500 * time.Millisecond, step: step{name: "Ann's iPhone rings", expect: "an audible page", within: 10 * time.Second},
			seen: seen{took: 84 * time.Millisecond, since: "firing", notes: []note{{atAPNs, "push type alert"}, {atPhone, `"Critical: Checkout" (sound)`}}},
		},
		{
			number: 2, of: 2, at: 12 * time.Second, step: step{name: "silence", expect: "no push", within: 6 * time.Second},
			err: errors.New("apns got a <push>"),
		},
	}
	var plain, coloured, lines bytes.Buffer
	for _, o := range outcomes {
		printSteps(&plain, false)(o)
		printSteps(&coloured, true)(o)
		writeSteps(&lines)(o)
	}
	golden(t, "report.txt", plain.String())
	golden(t, "report.jsonl", lines.String())
	if strings.Contains(plain.String(), "\x1b") || !strings.Contains(coloured.String(), "\x1b[1;31m✗\x1b[0m") {
		t.Errorf("colours: plain has %q, coloured %q", plain.String(), coloured.String())
	}
}
