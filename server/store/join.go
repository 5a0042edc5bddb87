package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// What one execution of a script carries at most: about a millisecond of Redis,
// which serves nobody else meanwhile.
const (
	joinedCalls = 16
	joinedBytes = 128 << 10
)

// joined are calls that one execution of their script carries out. Each stands
// for itself and has its own result; together they cost Redis less.
type joined struct {
	calls []*call
	cmd   *redis.Cmd
}

// join sorts calls into as few executions as their limits allow, in order. In a
// cluster the keys of one execution are all of one slot.
func (s *Store) join(calls []*call) []*joined {
	var all []*joined
	type open struct {
		*joined
		size int
	}
	last := map[string]open{}
	for _, c := range calls {
		tag := ""
		if s.kind == "cluster" {
			tag = tagOf(c.keys[0])
		}
		j := last[tag]
		if j.joined == nil || len(j.calls) >= joinedCalls || j.size+c.size > joinedBytes {
			j = open{joined: &joined{}}
			all = append(all, j.joined)
		}
		j.calls, j.size = append(j.calls, c), j.size+c.size
		last[tag] = j
	}
	return all
}

// queue adds the execution to a pipeline. head are the arguments that all calls
// of the script share.
func (j *joined) queue(ctx context.Context, pipe redis.Pipeliner, script *redis.Script, head []any) {
	keys, args := j.calls[0].keys, slices.Concat(head, j.calls[0].args)
	for _, c := range j.calls[1:] {
		keys, args = slices.Concat(keys, c.keys), append(args, c.args...)
	}
	j.cmd = script.EvalSha(ctx, pipe, keys, args...)
}

// answer gives each call its result.
func (j *joined) answer() {
	replies, err := j.cmd.Slice()
	if err == nil && len(replies) != len(j.calls) {
		err = fault.New(fault.Internal, "SCRIPT_REPLY", fmt.Sprintf("the script answered %d times for %d calls", len(replies), len(j.calls)))
	}
	for i, c := range j.calls {
		c.reply, c.err = nil, err
		if err == nil {
			c.reply = replies[i]
		}
		if failed, ok := c.reply.(error); ok { // of this call alone
			c.reply, c.err = nil, failed
		}
	}
}
