package store

import (
	"context"
	"errors"
	"log/slog"
	"sync"
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

// call is one execution of the batcher's script. Its keys are of one slot.
type call struct {
	ctx  context.Context //nolint:containedctx // of the caller that waits for this very call
	keys []string
	args []any
	size int // bytes, roughly
	wake Wake

	outcome
	done chan struct{} // closed when the outcome is there
}

// batcher sends calls of one script in batches: what has queued while the last
// batch was in flight goes together. Nothing ever waits for a batch to fill.
type batcher struct {
	s      *Store
	script *redis.Script
	queue  chan *call
	stop   context.CancelFunc
	closed context.Context //nolint:containedctx // the batcher's own life
}

func (s *Store) newBatcher(script *redis.Script) *batcher {
	b := &batcher{s: s, script: script, queue: make(chan *call, queueCalls)}
	b.closed, b.stop = context.WithCancel(context.Background())
	for range s.o.Lanes {
		s.running.Go(b.lane)
	}
	return b
}

func (b *batcher) close() { b.stop() }

// outcome is what became of a call.
type outcome struct {
	reply any
	err   error
	short bool // fewer replicas than wanted have it
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
			b.send(b.gather(first))
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

// send executes a batch, node by node where replicas have to be waited for.
func (b *batcher) send(batch []*call) {
	if len(batch) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(b.closed, 3*b.s.o.Timeout)
	defer cancel()
	var wg sync.WaitGroup
	for node, calls := range b.s.byNode(ctx, batch) {
		wg.Go(func() { b.exchange(ctx, node, calls) })
	}
	wg.Wait()
	for _, c := range batch {
		if c.err == nil {
			b.s.wakes.tell(c.wake)
		}
		close(c.done)
	}
}

// byNode groups calls by the node that a WAIT would have to follow them to. A
// batch that waits for no replica stays together: the client routes it.
func (s *Store) byNode(ctx context.Context, batch []*call) map[redis.UniversalClient][]*call {
	cluster, ok := s.rdb.(*redis.ClusterClient)
	if !ok || !s.o.Replicated {
		return map[redis.UniversalClient][]*call{s.rdb: batch}
	}
	groups := map[redis.UniversalClient][]*call{}
	for _, c := range batch {
		node, err := cluster.MasterForKey(ctx, c.keys[0])
		if err != nil {
			c.err = err
			continue
		}
		groups[node] = append(groups[node], c)
	}
	return groups
}

// exchange is one pipeline. What the node answers with NOSCRIPT or a redirection
// is sent again, whole; all else is the caller's.
func (b *batcher) exchange(ctx context.Context, node redis.UniversalClient, calls []*call) {
	cmds := make([]*redis.Cmd, len(calls))
	pipe := node.Pipeline()
	for i, c := range calls {
		cmds[i] = pipe.EvalSha(ctx, b.script.Hash(), c.keys, c.args...)
	}
	wait := b.s.wait(ctx, pipe)
	b.s.publish(ctx, pipe, calls)
	_, err := pipe.Exec(ctx)
	var again []*call
	for i, c := range calls {
		c.reply, c.err = cmds[i].Result()
		c.short = wait != nil && wait.Val() < 1
		if redis.HasErrorPrefix(c.err, "NOSCRIPT") || redis.HasErrorPrefix(c.err, "MOVED") || redis.HasErrorPrefix(c.err, "ASK") {
			again = append(again, c)
		}
	}
	if len(again) > 0 {
		b.load(ctx, again)
	}
	if err != nil && b.closed.Err() == nil && !errors.Is(err, redis.Nil) && out(err) {
		b.s.o.Log.WarnContext(ctx, "store batch failed", slog.Int("calls", len(calls)), slog.Any("err", err))
	}
}

// load sends calls with the whole script, by the client that follows redirections.
func (b *batcher) load(ctx context.Context, calls []*call) {
	pipe := b.s.rdb.Pipeline()
	cmds := make([]*redis.Cmd, len(calls))
	for i, c := range calls {
		cmds[i] = b.script.Eval(ctx, pipe, c.keys, c.args...)
	}
	var wait *redis.IntCmd
	if b.s.kind != "cluster" {
		wait = b.s.wait(ctx, pipe)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	for i, c := range calls {
		c.reply, c.err = cmds[i].Result()
		c.short = b.s.o.Replicated && (wait == nil || wait.Val() < 1)
	}
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
