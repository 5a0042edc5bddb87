package store

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// What one batch carries at most, so that it neither blocks Redis for long nor
// outgrows a connection's buffers.
const (
	batchCalls = 64
	batchBytes = 1 << 20
	queueCalls = 4096
)

// call is one thing for the batcher's script to do. Its keys are of one slot.
type call struct {
	ctx  context.Context //nolint:containedctx // of the caller that waits for this very call
	keys []string
	args []any
	size int // bytes, roughly
	wake Wake

	reads []string // of a commit: strings to read behind it
	only  []byte   // of an append: its only entry, whose dedup key is looked up
	kept  bool     // it goes into the ring when it was acknowledged
	again []any    // args with which it is made again after a failover; nil: the same
	proof *proof   // of a commit: how to see that it survived

	gaveUp context.CancelFunc // of the patience with it, once it was parked

	outcome
	done chan struct{} // closed when the outcome is there
}

// batcher sends calls of one script in batches: what has queued while the last
// batch was in flight goes together. Nothing ever waits for a batch to fill.
type batcher struct {
	s      *Store
	script func(*incarnation) *redis.Script
	head   []any // what the script is told once for all calls
	queue  chan *call
	parked parking
	stop   context.CancelFunc
	closed context.Context //nolint:containedctx // the batcher's own life
}

func (s *Store) newBatcher(script func(*incarnation) *redis.Script, head ...any) *batcher {
	b := &batcher{s: s, script: script, head: head, queue: make(chan *call, queueCalls), parked: newParking()}
	b.closed, b.stop = context.WithCancel(context.Background())
	for range s.o.Lanes {
		s.running.Go(b.lane)
	}
	s.running.Go(b.comeBack)
	return b
}

func (b *batcher) close() { b.stop() }

// outcome is what became of a call.
type outcome struct {
	reply any
	err   error
	short bool  // fewer replicas than wanted have it
	read  []any // what was to be read; nil: not known
}

// do sends the calls and waits for all of them. When ctx ends first, the calls
// under way may still be carried out.
func (b *batcher) do(ctx context.Context, calls ...*call) []outcome {
	for _, c := range calls {
		c.ctx, c.done = ctx, make(chan struct{})
		select {
		case b.queue <- c:
		case <-ctx.Done():
		case <-b.closed.Done():
		}
	}
	outcomes := make([]outcome, len(calls))
	for i, c := range calls {
		select {
		case <-c.done:
			outcomes[i] = c.outcome
		case <-ctx.Done():
			outcomes[i].err = ctx.Err()
		case <-b.closed.Done():
			outcomes[i].err = redis.ErrClosed
		}
	}
	return outcomes
}

// lane sends one batch after another until the batcher is closed.
func (b *batcher) lane() {
	for {
		select {
		case <-b.closed.Done():
			return
		case first := <-b.queue:
			b.send(b.gather(first), false)
		}
	}
}

// gather takes what is queued, up to the limits of a batch.
func (b *batcher) gather(first *call) []*call {
	var batch []*call
	size := 0
	for c := first; ; {
		if err := c.ctx.Err(); err != nil {
			c.err = err // nobody waits any more, and nothing was written
			close(c.done)
		} else {
			batch, size = append(batch, c), size+c.size
		}
		if len(batch) >= batchCalls || size >= batchBytes {
			return batch
		}
		select {
		case c = <-b.queue:
		default:
			return batch
		}
	}
}

// send executes a batch, node by node, and ends the calls of each as soon as
// that has answered. Returning ones go to nodes in trouble too.
func (b *batcher) send(batch []*call, returning bool) {
	if len(batch) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(b.closed, b.within())
	defer cancel()
	// A WAIT has to follow calls to the master that has their keys, and each has to
	// be looked into after a failover.
	perMaster(ctx, b.s, batch, func(c *call) string { return c.keys[0] }, func(node *redis.Client, err error, calls []*call) {
		if err == nil && !returning && b.parked.trouble(node) {
			err = errTrouble
		}
		if err == nil {
			b.exchange(ctx, node, calls)
		} else {
			for _, c := range calls {
				c.err = err
			}
		}
		b.end(calls)
	})
}

// within is how long the exchanges of a batch may take. In a cluster the next
// batch has calls for other masters, which must not wait for one that hangs;
// what it does not get done is parked and tried again.
func (b *batcher) within() time.Duration {
	if b.s.kind == "cluster" {
		return b.s.o.Timeout
	}
	return 3 * b.s.o.Timeout
}

// end tells what came of calls. Those that a failover may yet let through are
// parked.
func (b *batcher) end(calls []*call) {
	now, unconfirmed := b.s.o.Now(), 0
	b.s.ring.add(now, calls)
	for _, c := range calls {
		if b.park(c) {
			continue
		}
		if c.err == nil {
			wake := c.wake
			wake.First = c.first()
			b.s.wakes.tell(wake)
		}
		if c.err == nil && c.short && c.proof != nil {
			unconfirmed++
		}
		close(c.done)
	}
	if unconfirmed > 0 {
		b.s.homes.count(func(stats *FailoverStats) {
			stats.Unconfirmed, stats.LastUnconfirmed = stats.Unconfirmed+unconfirmed, now
		})
	}
}

// exchange carries calls out at one master. Where that does not know the scripts
// it is another one than it was, and is looked into first.
func (b *batcher) exchange(ctx context.Context, node *redis.Client, calls []*call) {
	for range 3 {
		i, err := b.s.incarnation(node) //nolint:contextcheck // the look outlives the batch: other lanes need it, too
		if err != nil {
			for _, c := range calls {
				c.err = err
			}
			break
		}
		if calls = b.pipeline(ctx, node, i, calls); len(calls) == 0 {
			return
		}
		b.s.homes.forget(node, i)
	}
	b.failed(ctx, node, calls)
}

// pipeline sends calls in one pipeline and returns those whose scripts the server
// does not know.
func (b *batcher) pipeline(ctx context.Context, node *redis.Client, i *incarnation, calls []*call) []*call {
	all := b.s.join(calls)
	pipe := node.Pipeline()
	for _, j := range all {
		j.queue(ctx, pipe, b.script(i), b.head)
	}
	wait := b.s.wait(ctx, pipe)
	reads := make([]*redis.SliceCmd, len(calls))
	for i, c := range calls {
		if len(c.reads) > 0 {
			reads[i] = pipe.MGet(ctx, c.reads...)
		}
	}
	b.s.publish(ctx, pipe, calls)
	_, _ = pipe.Exec(ctx) // each command has its own error
	var unknown, out []*call
	for _, j := range all {
		j.answer()
	}
	for i, c := range calls {
		if reads[i] != nil {
			c.read = reads[i].Val()
		}
		c.short = wait != nil && wait.Val() < 1
		switch {
		case redis.HasErrorPrefix(c.err, "NOSCRIPT"):
			unknown = append(unknown, c)
		case passing(c.err):
			out = append(out, c)
		}
	}
	if len(out) > 0 {
		b.failed(ctx, node, out)
	} else {
		b.parked.well(node)
	}
	return unknown
}

// wait asks for one replica, on the very connection of the writes before it.
func (s *Store) wait(ctx context.Context, pipe redis.Pipeliner) *redis.IntCmd {
	if !s.o.Replicated {
		return nil
	}
	cmd := redis.NewIntCmd(ctx, "WAIT", 1, s.o.WaitTimeout.Milliseconds())
	_ = pipe.Process(ctx, cmd) // queued only
	return cmd
}

// errShort is what an event gets when no replica has it in time.
func errShort() error {
	return fault.New(fault.Unavailable, "NOT_REPLICATED", "no replica has confirmed the write").After(time.Second)
}
