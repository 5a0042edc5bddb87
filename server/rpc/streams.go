package rpc

import (
	"context"
	"sync"
	"time"

	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
)

// lookAgain is how soon after a change of the configuration the callers of open
// streams are looked at again: half of the second within which a phone that was
// taken out reads nothing more.
const lookAgain = 250 * time.Millisecond

// streams are those that are open, each with what says whether its caller may
// still have it. A stream that is silent for long would not find out by itself.
type streams struct {
	mu   sync.Mutex
	next uint64
	open map[uint64]stream
}

type stream struct {
	may func(ctx context.Context) error
	end context.CancelCauseFunc
}

// add returns the context of a stream, which ends with why its caller may not
// have it any more, and what to call when the stream has ended.
func (s *streams) add(ctx context.Context, may func(ctx context.Context) error) (context.Context, func()) {
	ctx, end := context.WithCancelCause(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[uint64]stream{}
	}
	s.next++
	id := s.next
	s.open[id] = stream{may, end}
	return ctx, func() {
		s.mu.Lock()
		delete(s.open, id)
		s.mu.Unlock()
		end(nil)
	}
}

// all returns the open ones: they are asked off the lock.
func (s *streams) all() []stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]stream, 0, len(s.open))
	for _, one := range s.open {
		list = append(list, one)
	}
	return list
}

// watchOver ends the streams whose callers have lost the right to them, until
// ctx ends. It looks only when the configuration has moved.
func (s *streams) watchOver(ctx context.Context, snapshot func() *directory.Snapshot) {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for last := snapshot(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := snapshot()
		if now == last {
			continue
		}
		last = now
		for _, one := range s.all() {
			if err := one.may(ctx); err != nil && refuses(err) {
				one.end(err)
			}
		}
	}
}

// refuses reports whether the error is about the caller, not about what he was
// looked up in.
func refuses(err error) bool {
	k := fault.KindOf(err)
	return k == fault.Unauthenticated || k == fault.Denied
}
