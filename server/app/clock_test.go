package app

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"
)

// twoClocks is a machine and the reference, each of which a test can set.
type twoClocks struct {
	machine, reference time.Time
	err                error
}

func (c *twoClocks) local() time.Time { return c.machine }

func (c *twoClocks) read(context.Context) (offset, within time.Duration, err error) {
	return c.reference.Sub(c.machine), time.Millisecond, c.err
}

// pass lets time pass for both.
func (c *twoClocks) pass(d time.Duration) {
	c.machine, c.reference = c.machine.Add(d), c.reference.Add(d)
}

func TestClockFollowsTheReference(t *testing.T) {
	begin := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	both := &twoClocks{machine: begin, reference: begin.Add(40 * time.Second)}
	c := newClock(both.local, slog.New(slog.DiscardHandler))
	expect := func(when string, want time.Time) {
		t.Helper()
		if got := c.Now(); !got.Equal(want) {
			t.Errorf("%s it is %s, want %s", when, got, want)
		}
	}
	expect("before the first comparison", begin)
	c.compare(t.Context(), both.read)
	expect("after it", both.reference)

	both.pass(time.Minute)
	expect("a minute later", both.reference)
	both.reference = both.reference.Add(300 * time.Millisecond)
	c.compare(t.Context(), both.read)
	expect("after some drift", both.reference)

	old := both.reference
	both.reference = both.reference.Add(time.Hour)
	c.compare(t.Context(), both.read)
	expect("after a jump", old)
	if got := c.Jumped(); got != time.Hour {
		t.Errorf("the jump is said to be %s, want 1h", got)
	}
	for range 59 {
		both.pass(5 * time.Second)
		c.compare(t.Context(), both.read)
	}
	expect("just before five minutes of agreement", old.Add(59*5*time.Second))
	both.pass(5 * time.Second)
	c.compare(t.Context(), both.read)
	expect("after five minutes of agreement", both.reference)
	if got := c.Jumped(); got != 0 {
		t.Errorf("a jump of %s is still told of", got)
	}
}

func TestClockForgetsAJumpThatWasNone(t *testing.T) {
	begin := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	both := &twoClocks{machine: begin, reference: begin}
	c := newClock(both.local, slog.New(slog.DiscardHandler))
	c.compare(t.Context(), both.read)
	both.reference = begin.Add(-time.Hour)
	c.compare(t.Context(), both.read)
	both.pass(4 * time.Minute)
	both.reference = both.machine // set right again
	c.compare(t.Context(), both.read)
	if got := c.Now(); !got.Equal(both.machine) || c.Jumped() != 0 {
		t.Errorf("it is %s with a jump of %s, want %s and none", got, c.Jumped(), both.machine)
	}
}

func TestClockGoesOnWithoutTheReference(t *testing.T) {
	begin := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	both := &twoClocks{machine: begin, reference: begin.Add(time.Second)}
	c := newClock(both.local, slog.New(slog.DiscardHandler))
	c.compare(t.Context(), both.read)
	both.err = errors.New("out")
	both.pass(time.Hour)
	c.compare(t.Context(), both.read)
	if got := c.Now(); !got.Equal(both.reference) {
		t.Errorf("an hour without the reference it is %s, want %s", got, both.reference)
	}
}
