package store

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// What one trip carries at most: about as much as Redis does in a millisecond.
const (
	tripCommands = 128
	queueTrips   = 4096
)

// trip is the commands of one caller.
type trip struct {
	ctx  context.Context //nolint:containedctx // of the caller that waits for this very trip
	cmds []redis.Cmder
	done chan struct{} // closed when every command has its result
}

// trips take the commands of many callers to Redis together: what has queued
// while the trips before were under way goes at once, and nothing ever waits for
// company. With dozens of partitions at work a trip for each command would cost
// both sides more than the commands do.
//
// Each command stands for itself. What blocks, or has to be on one connection
// with something else, does not travel here.
//
// In a cluster everybody travels alone: a trip would take as long as the slowest
// of the masters, and one that hangs would hold up what is for the others. Whoever
// travels to that one is back after the time of one exchange, however often the
// client would have tried.
type trips struct {
	rdb    redis.UniversalClient
	apart  bool          // everybody travels alone
	most   time.Duration // how long one who travels alone is away
	queue  chan *trip
	stop   context.CancelFunc
	closed context.Context //nolint:containedctx // the trips' own life
}

// newTrips returns trips with lanes of their own.
func (s *Store) newTrips() *trips {
	t := &trips{rdb: s.rdb, apart: s.kind == "cluster", most: s.o.Timeout, queue: make(chan *trip, queueTrips)}
	t.closed, t.stop = context.WithCancel(context.Background())
	if t.apart {
		return t
	}
	for range s.o.Lanes {
		s.running.Go(t.lane)
	}
	return t
}

func (t *trips) close() { t.stop() }

// travel is [redis.Pipeliner.Exec] in company: it returns the first error of the
// pipe's commands. When ctx ends first the commands may still be carried out,
// and must not be looked at.
func (t *trips) travel(ctx context.Context, pipe redis.Pipeliner) error {
	if t.apart {
		ctx, cancel := context.WithTimeout(ctx, t.most)
		defer cancel()
		_, err := pipe.Exec(ctx)
		return err
	}
	one := &trip{ctx: ctx, cmds: pipe.Cmds(), done: make(chan struct{})}
	select {
	case t.queue <- one:
	case <-ctx.Done():
		return ctx.Err()
	case <-t.closed.Done():
		return redis.ErrClosed
	}
	select {
	case <-one.done:
	case <-ctx.Done():
		return ctx.Err()
	case <-t.closed.Done():
		return redis.ErrClosed
	}
	for _, cmd := range one.cmds {
		if err := cmd.Err(); err != nil {
			return err
		}
	}
	return nil
}

// alone is travel for one command.
func (t *trips) alone(ctx context.Context, put func(redis.Pipeliner)) error {
	pipe := t.rdb.Pipeline()
	put(pipe)
	return t.travel(ctx, pipe)
}

// lane makes one trip after another until the trips are closed.
func (t *trips) lane() {
	for {
		select {
		case <-t.closed.Done():
			return
		case first := <-t.queue:
			t.leave(t.gather(first))
		}
	}
}

// gather takes what is queued, up to the limit of a trip.
func (t *trips) gather(first *trip) []*trip {
	var all []*trip
	commands := 0
	for one := first; ; {
		if err := one.ctx.Err(); err != nil { // nobody waits any more
			for _, cmd := range one.cmds {
				cmd.SetErr(err)
			}
			close(one.done)
		} else {
			all, commands = append(all, one), commands+len(one.cmds)
		}
		if commands >= tripCommands {
			return all
		}
		select {
		case one = <-t.queue:
		default:
			return all
		}
	}
}

// leave carries all commands out. Each has its own result or error.
func (t *trips) leave(all []*trip) {
	if len(all) == 0 {
		return
	}
	pipe := t.rdb.Pipeline()
	for _, one := range all {
		_ = pipe.BatchProcess(t.closed, one.cmds...) // queued only
	}
	_, _ = pipe.Exec(t.closed) // each command has its own error
	for _, one := range all {
		close(one.done)
	}
}
