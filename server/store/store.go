package store

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// Store is the state of an installation in Redis.
type Store struct {
	o    Options
	rdb  redis.UniversalClient
	kind string

	commits *batcher // of people and timers
	decided *batcher // of events: a storm of them never stands before the others
	appends *batcher
	trips   *trips
	lookups *trips // of what events are decided on: as apart as their commits
	running sync.WaitGroup
	wakes   hub
	alone   atomic.Bool // no other instance lived when this one last said that it does
	numbers numbers

	homes    *homes        // which incarnations of Redis are known to have what was acknowledged
	ring     ring          // what was acknowledged lately
	revision atomic.Uint64 // highest of the configuration that was given out here

	schema   atomic.Int32           // in which everything is written, as far as is known here
	raisedBy atomic.Pointer[string] // the version that raised it
}

// Open connects and checks that the data there is in a form that this version
// reads. It fails with Unavailable while Redis cannot be reached, and with
// Precondition when the data is foreign, or a newer version's (ErrOutgrown).
func Open(ctx context.Context, o Options) (*Store, error) {
	o = o.withDefaults()
	rdb, kind, err := o.dial()
	if err != nil {
		return nil, err
	}
	s := &Store{o: o, rdb: rdb, kind: kind, homes: newHomes(o.Timeout), ring: ring{most: o.Ring}}
	s.trips, s.lookups = s.newTrips(), s.newTrips()
	if err := s.checkFormat(ctx); err != nil {
		s.trips.close()
		s.lookups.close()
		_ = rdb.Close() // the first error tells more
		return nil, err
	}
	committing := func(i *incarnation) *redis.Script { return i.commit }
	s.commits, s.decided = s.newBatcher(committing), s.newBatcher(committing)
	s.appends = s.newBatcher(func(i *incarnation) *redis.Script { return i.append }, s.o.InboxLimit, int(seenKept.Seconds()))
	if o.Ring > 0 {
		s.running.Go(s.watch)
	}
	return s, nil
}

// Close ends the batches under way and the connections. Calls that are still
// waiting get Unavailable.
func (s *Store) Close() error {
	s.homes.close()
	s.commits.close()
	s.decided.close()
	s.appends.close()
	s.trips.close()
	s.lookups.close()
	s.running.Wait()
	if err := s.rdb.Close(); err != nil {
		return failed(err, "close the connections to the store")
	}
	return nil
}

// Instance is the name of this process among the members.
func (s *Store) Instance() string { return s.o.Instance }

// checkFormat writes what the data is written as, or compares it.
func (s *Store) checkFormat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*s.o.Timeout)
	defer cancel()
	parts := strconv.Itoa(Partitions)
	for field, want := range map[string]string{"partitions": parts, "map": string(mapEpoch)} {
		if err := s.rdb.HSetNX(ctx, formatKey, field, want).Err(); err != nil && !isOOM(err) {
			return failed(err, "reach the store")
		}
		got, err := s.rdb.HGet(ctx, formatKey, field).Result()
		if err != nil {
			return failed(err, "read the form of the stored data")
		}
		if got != want {
			return fault.New(fault.Precondition, "FOREIGN_FORMAT", "the data in Redis was written in another form",
				"field", field, "found", got, "want", want)
		}
	}
	return s.checkSchema(ctx)
}

// around reports a durable step before it is taken and, by what it returns, after.
func (s *Store) around(step string) func() {
	if s.o.Step == nil {
		return func() {}
	}
	s.o.Step("before " + step)
	return func() { s.o.Step("after " + step) }
}

// Ping reports whether Redis answers.
func (s *Store) Ping(ctx context.Context) error {
	return failed(s.rdb.Ping(ctx).Err(), "ping the store")
}

// Writable reports whether Redis takes writes of the kind that commits make.
func (s *Store) Writable(ctx context.Context) error {
	return failed(s.allow(ctx, "HSET", formatKey, "probe", "1").Err(), "write to the store")
}

// Full reports whether Redis refuses new events for want of memory.
func (s *Store) Full(ctx context.Context) (bool, error) {
	err := s.rdb.HSet(ctx, formatKey, "probe", "1").Err()
	if isOOM(err) {
		return true, nil
	}
	return false, failed(err, "write to the store")
}

func isOOM(err error) bool { return redis.HasErrorPrefix(err, "OOM") }

// numbers hands out human numbers from a block, so that one trip serves several.
type numbers struct {
	mu         sync.Mutex
	next, last int64
	size       int64     // of the present block
	taken      time.Time // when it was
}

// A block is small while incidents are few, so that the numbers of several
// instances stay close in time. A storm uses one up within a trip to Redis, and
// every incident of this process would wait for the next: then it doubles.
const (
	numberBlock = 16
	numberMost  = 1024
	numberFast  = 250 * time.Millisecond // a block that lasts no longer is too small
	numberStale = time.Minute            // what a storm has left of a large block is not used later
)

// NextNumber returns the next human number. Gaps are allowed, repeats are not.
func (s *Store) NextNumber(ctx context.Context) (int64, error) {
	n := &s.numbers
	n.mu.Lock()
	defer n.mu.Unlock()
	now := s.o.Now()
	age := now.Sub(n.taken)
	if n.next >= n.last || (n.size > numberBlock && age > numberStale) {
		switch {
		case n.size == 0 || age > numberStale:
			n.size = numberBlock
		case age < numberFast:
			n.size = min(2*n.size, numberMost)
		default:
			n.size = max(n.size/2, numberBlock)
		}
		last, err := s.count(ctx, numberKey, n.size, n.last)
		if err != nil {
			return 0, failed(err, "take the next incident number")
		}
		n.next, n.last, n.taken = last-n.size, last, now
	}
	n.next++
	return n.next, nil
}

// count adds to a counter. One that a failover has set back below what was given
// out before is raised first.
func (s *Store) count(ctx context.Context, key string, by, above int64) (int64, error) {
	for {
		n, err := s.allow(ctx, "INCRBY", key, by).Int64()
		if err != nil || n-by >= above {
			return n, err
		}
		if err := s.run(ctx, raiseScript, []string{key}, above).Err(); err != nil {
			return 0, err
		}
	}
}

// Clock returns how far the reference node's clock is ahead of this one: the
// instances agree on time by it. The answer is half a round trip inexact, which
// the second value gives.
func (s *Store) Clock(ctx context.Context) (offset, within time.Duration, err error) {
	begin := s.o.Now()
	node, err := s.reference(ctx)
	if err != nil {
		return 0, 0, err
	}
	there, err := node.Time(ctx).Result()
	if err != nil {
		return 0, 0, failed(err, "read the reference clock")
	}
	trip := s.o.Now().Sub(begin)
	return there.Sub(begin.Add(trip / 2)), trip / 2, nil
}

// reference returns the one node that all instances look at: the master that has
// the members.
func (s *Store) reference(ctx context.Context) (redis.Cmdable, error) {
	c, ok := s.rdb.(*redis.ClusterClient)
	if !ok {
		return s.rdb, nil
	}
	node, err := c.MasterForKey(ctx, membersKey)
	return node, failed(err, "find the reference node")
}

// Info returns the fields of Redis's INFO and the settings that matter to
// durability, for `doctor` and `status`. Settings that the server does not let
// us read are absent.
func (s *Store) Info(ctx context.Context) (map[string]string, error) {
	node, err := s.reference(ctx)
	if err != nil {
		return nil, err
	}
	raw, err := node.Info(ctx).Result()
	if err != nil {
		return nil, failed(err, "ask the store about itself")
	}
	info := parseInfo(raw)
	for _, name := range []string{"appendonly", "appendfsync", "maxmemory", "maxmemory-policy"} {
		got, err := node.ConfigGet(ctx, name).Result()
		if err == nil {
			info["config:"+name] = got[name]
		}
	}
	info["kind"] = s.kind
	return info, nil
}

func (s *Store) String() string { return fmt.Sprintf("store(%s)", s.kind) }
