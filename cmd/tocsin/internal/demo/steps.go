package demo

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// step is one thing that has to happen in a story.
type step struct {
	name   string
	expect string        // what has to be seen, for whoever reads that it was not
	within time.Duration // and how soon
	run    func(ctx context.Context) (seen, error)
}

// seen is what a step observed.
type seen struct {
	took  time.Duration
	since string // what took is counted from: "firing"
	notes []note
}

// note is one thing that was seen somewhere.
type note struct {
	Where place  `json:"where"`
	What  string `json:"what"`
}

// outcome is what became of a step.
type outcome struct {
	number int // from 1
	of     int
	step   step
	at     time.Duration // since the story began, when the step ended
	seen   seen
	err    error
}

// errStory is the end of a story in which something did not happen. What did
// not is in the report already.
var errStory = errors.New("the story did not end as it should")

// play runs the steps one after the other and reports each. It ends with the
// first that fails or runs into its time limit: what follows would prove nothing.
func play(ctx context.Context, steps []step, now func() time.Time, report func(outcome)) error {
	began := now()
	for i, s := range steps {
		o := outcome{number: i + 1, of: len(steps), step: s}
		o.seen, o.err = one(ctx, s)
		o.at = now().Sub(began)
		report(o)
		if o.err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx) // told to end: not a defect of the story
			}
			return errStory
		}
	}
	return nil
}

func one(ctx context.Context, s step) (seen, error) {
	limited, cancel := context.WithTimeoutCause(ctx, s.within, fmt.Errorf("not within %s", s.within))
	defer cancel()
	result, err := s.run(limited)
	if err == nil && limited.Err() != nil { // a step that forgets its limit is held to it all the same
		err = context.Cause(limited)
	}
	return result, err
}
