package app

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	clockEvery  = 5 * time.Second
	clockStep   = time.Second     // a difference above it is a jump, not drift
	clockSteady = 5 * time.Minute // a jump is believed after so long of agreement
)

// clock is the time that all instances agree on: that of one reference Redis
// node, carried on by this machine's monotonic clock in between. It never
// pauses. When it jumps (somebody set the clock of the reference, or of the
// machine, or another node became the reference), the old time goes on until
// the new one has agreed with itself for five minutes: a wrong clock must not
// fire, or withhold, every timer at once.
type clock struct {
	local func() time.Time // with a monotonic reading
	log   *slog.Logger

	mu     sync.RWMutex
	anchor time.Time // local time of the last correction
	agreed time.Time // what the agreed time was then
	synced bool      // has been compared at least once

	jump      time.Duration // by how much the reference has jumped; 0: it has not
	jumpSince time.Time     // agreed time at which the jump was first seen
}

func newClock(local func() time.Time, log *slog.Logger) *clock {
	now := local()
	return &clock{local: local, log: log, anchor: now, agreed: now.Round(0)}
}

// Now returns the agreed time.
func (c *clock) Now() time.Time {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.at(c.local())
}

// at carries the agreed time on to a local instant. Sub compares the
// monotonic readings, so setting the machine's clock changes nothing.
func (c *clock) at(local time.Time) time.Time { return c.agreed.Add(local.Sub(c.anchor)).UTC() }

// Jumped returns by how much the reference differs while that is not believed.
func (c *clock) Jumped() time.Duration {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.jump
}

// reference reads how far the reference is ahead of the machine's clock, and
// how exact that is. *store.Store has it.
type reference func(ctx context.Context) (offset, within time.Duration, err error)

// follow compares with the reference until ctx ends.
func (c *clock) follow(ctx context.Context, read reference) error {
	tick := time.NewTicker(clockEvery)
	defer tick.Stop()
	for {
		c.compare(ctx, read)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// compare reads the reference once. One that does not answer changes nothing.
func (c *clock) compare(ctx context.Context, read reference) {
	asked, cancel := context.WithTimeout(ctx, clockEvery)
	defer cancel()
	offset, within, err := read(asked)
	if err != nil {
		c.log.DebugContext(ctx, "reference clock not read", slog.Any("error", err))
		return
	}
	local := c.local()
	c.take(ctx, local, local.Round(0).Add(offset), within)
}

// take takes in that the reference showed an instant at a local one.
func (c *clock) take(ctx context.Context, local, shown time.Time, within time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.at(local)
	diff := shown.Sub(now)
	switch {
	case !c.synced, diff.Abs() <= clockStep:
		if c.jump != 0 {
			c.log.InfoContext(ctx, "the reference clock agrees again")
		}
		if !c.synced || diff.Abs() > within { // nearer than that is not known
			c.anchor, c.agreed = local, shown
		}
		c.synced, c.jump = true, 0
	case c.jump == 0, (diff - c.jump).Abs() > clockStep: // a new jump, or another one
		c.jump, c.jumpSince = diff, now
		c.log.ErrorContext(ctx, "the reference clock has jumped; the old time goes on until the new one is steady for five minutes",
			slog.Duration("by", diff))
	case now.Sub(c.jumpSince) >= clockSteady:
		c.log.WarnContext(ctx, "the new time of the reference clock is taken over", slog.Duration("by", diff))
		c.anchor, c.agreed, c.jump = local, shown, 0
	}
}
