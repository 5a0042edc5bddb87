package store

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
)

const ringInTests = 64 << 20

// withRing is how the server opens a Redis that may fail over.
func withRing(o *Options) { o.Ring, o.Now = ringInTests, time.Now }

func replicated(o *Options) { withRing(o); o.Replicated, o.WaitTimeout = true, 3*time.Second }

// eventOf is an accepted event without an id of its sender: what is folded by
// none would show if it came twice.
func eventOf(tb testing.TB, n int) InboxEntry {
	return InboxEntry{Service: freshService(tb), Key: fmt.Sprintf("disk-%d", n), Received: base, Event: event.Event{Summary: "disk full"}}
}

// inboxes counts the entries of all inboxes by service.
func inboxes(tb testing.TB, s *Store) map[string]int {
	tb.Helper()
	n := map[string]int{}
	for _, p := range All() {
		list, err := s.Inbox(tb.Context(), p, 10_000)
		if err != nil {
			tb.Fatalf("inbox %s: %v", p, err)
		}
		for _, e := range list {
			n[string(e.Service)]++
		}
	}
	return n
}

// stream is a load of events and of commands on incidents, and what was
// acknowledged of it.
type stream struct {
	s     *Store
	mu    sync.Mutex
	taken []InboxEntry
	acked []*incident.Incident
	tries atomic.Int64
	gap   atomic.Int64 // longest time between two acknowledgements, ns
}

// run sends until ctx ends. An answer of Unavailable is no acknowledgement.
func (l *stream) run(ctx context.Context, tb testing.TB) {
	var wg sync.WaitGroup
	var last atomic.Int64
	last.Store(time.Now().UnixNano())
	heard := func() {
		now := time.Now().UnixNano()
		if d := now - last.Swap(now); d > l.gap.Load() {
			l.gap.Store(d)
		}
	}
	check := func(what string, err error) bool {
		l.tries.Add(1)
		if err != nil && fault.KindOf(err) != fault.Unavailable {
			tb.Errorf("%s: got %v, want unavailable", what, err)
		}
		if err == nil {
			heard()
		}
		return err == nil
	}
	for range 4 {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				e := eventOf(tb, n)
				try, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
				if check("append", l.s.Append(try, []InboxEntry{e})) {
					l.mu.Lock()
					l.taken = append(l.taken, e)
					l.mu.Unlock()
				}
				cancel()
			}
		})
		wg.Go(func() {
			for ctx.Err() == nil {
				try, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
				in := opened(freshService(tb), base)
				done, err := l.s.Commit(try, begin(in, "disk"))
				if check("commit", err) {
					done.Stamp(in)
					after := resolved(in, base)
					if done, err = l.s.Commit(try, Commit{Before: in, After: after}); check("resolve", err) {
						done.Stamp(after)
						l.mu.Lock()
						l.acked = append(l.acked, after)
						l.mu.Unlock()
					}
				}
				cancel()
			}
		})
	}
	wg.Wait()
}

// audit fails for everything acknowledged that is not there, and for events that
// are there twice.
func (l *stream) audit(t *testing.T) {
	t.Helper()
	there := inboxes(t, l.s)
	lost, twice := 0, 0
	for _, e := range l.taken {
		switch n := there[string(e.Service)]; {
		case n == 0:
			lost++
		case n > 1:
			twice++
		}
	}
	gone := 0
	for _, in := range l.acked {
		if got, err := l.s.Incident(t.Context(), in.ID); err != nil || got.Revision != in.Revision {
			gone++
		}
	}
	t.Logf("%d events and %d commands acknowledged of %d tries, longest silence %v; %+v",
		len(l.taken), len(l.acked), l.tries.Load(), time.Duration(l.gap.Load()).Round(time.Millisecond), l.s.FailoverStats())
	if lost+gone > 0 {
		t.Errorf("%d of %d accepted events and %d of %d acknowledged commands are lost", lost, len(l.taken), gone, len(l.acked))
	}
	if twice > len(l.taken)/20 { // a call whose answer got lost may be carried out again
		t.Errorf("%d of %d events are there twice", twice, len(l.taken))
	}
}

// enough waits until so much more has been acknowledged.
func (l *stream) enough(t *testing.T, more int) {
	t.Helper()
	count := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return min(len(l.taken), len(l.acked))
	}
	want := count() + more
	until(t, "the load goes on", func() bool { return count() >= want })
}

// underLoad runs a load, lets f do its harm in the middle, and audits.
func underLoad(t *testing.T, s *Store, f func(l *stream)) *stream {
	t.Helper()
	l := &stream{s: s}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { l.run(ctx, t) })
	l.enough(t, 20)
	f(l)
	l.enough(t, 20)
	stop()
	wg.Wait()
	l.audit(t)
	return l
}

// The master of a Sentinel set is killed under load. With durability
// "replicated" nothing that was acknowledged is lost, and the load goes on at
// the promoted replica.
func TestSentinelFailoverLosesNothingReplicated(t *testing.T) {
	t.Parallel()
	set := redistest.StartSentinel(t, 2)
	s := openAt(t, set.URL(), replicated)
	underLoad(t, s, func(*stream) { set.Nodes[0].Kill(t) })
	if got := s.FailoverStats(); got.Lost > 0 {
		t.Errorf("lost: got %+v, want none", got)
	}
}

// One master of a cluster is killed under load, its replica takes over.
func TestClusterFailoverLosesNothingReplicated(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 1)
	// Events of the shard that has one node left are refused until it has a
	// replica again: the killed master comes back as one.
	s := openAt(t, c.URL(), replicated, func(o *Options) { o.WaitTimeout = time.Second })
	underLoad(t, s, func(*stream) {
		c.Masters[1].Kill(t)
		promoted := c.Replicas[1].Client(t)
		until(t, "the replica takes over", func() bool { return promoted.Do(t.Context(), "ROLE").String() != "" && isMaster(t, promoted) })
		c.Masters[1].Restart(t)
	})
}

func isMaster(t *testing.T, c *redis.Client) bool {
	t.Helper()
	role, _ := c.Do(t.Context(), "ROLE").Slice()
	return len(role) > 0 && role[0] == "master"
}

// What the master had acknowledged and the replica never got is written again by
// the instance that was told, without any traffic to set it off.
func TestRingBringsBackWhatAFailoverLost(t *testing.T) {
	t.Parallel()
	p := redistest.StartPair(t)
	s := openAt(t, p.URL(), withRing)
	ctx := t.Context()

	// Before the cut: on both.
	kept := eventOf(t, 0)
	if err := s.Append(ctx, []InboxEntry{kept}); err != nil {
		t.Fatal(err)
	}
	old, _ := mustCommit(t, s, begin(opened(freshService(t), base), "disk"))
	p.InStep(t)

	// After it: on the master alone. An event, an event with its incident and that
	// one's resolve, and a command on the older incident.
	p.Cut()
	pending := eventOf(t, 1)
	pending.Event.SenderID = "sender-1"
	decided := eventOf(t, 2)
	if err := s.Append(ctx, []InboxEntry{pending}); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(ctx, []InboxEntry{decided}); err != nil {
		t.Fatal(err)
	}
	part := PartitionOf(string(decided.Service))
	entries, err := s.Inbox(ctx, part, 100)
	if err != nil {
		t.Fatal(err)
	}
	c := begin(opened(decided.Service, base), decided.Key)
	for _, e := range entries {
		if e.Service == decided.Service {
			c.Inbox = []string{e.ID}
		}
	}
	young, _ := mustCommit(t, s, c)
	young = resolve(t, s, young, base)
	after := resolved(old, base)
	_, err = s.Commit(ctx, Commit{
		Before: old, After: after, Request: &Request{ID: "tap-1", Answer: []byte("yes")},
		Timeline: []incident.Entry{{Seq: after.Seq, At: base, Type: incident.EntryResolved, Actor: after.ResolvedBy}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ConfigApply(ctx, base, []ConfigChange{{Kind: "user", ID: "ann", Payload: []byte("new")}}, []byte("audit")); err != nil {
		t.Fatal(err)
	}
	number, err := s.NextNumber(ctx)
	if err != nil {
		t.Fatal(err)
	}

	p.Promote(t)
	until(t, "the loss is noticed and made good", func() bool { return s.FailoverStats().Failovers == 1 })

	there := inboxes(t, s)
	for name, e := range map[string]InboxEntry{"kept": kept, "lost": pending} {
		if n := there[string(e.Service)]; n != 1 {
			t.Errorf("the event that was %s is there %d times, want once", name, n)
		}
	}
	if n := there[string(decided.Service)]; n != 0 {
		t.Errorf("the event that had been decided is there %d times, want its incident instead", n)
	}
	for _, want := range []*incident.Incident{young, {ID: old.ID, Revision: 2}} {
		got, err := s.Incident(ctx, want.ID)
		if err != nil || got.Revision != want.Revision || got.Status != incident.Resolved {
			t.Errorf("incident %s: got %+v, %v, want it resolved at revision %d", want.ID, got, err, want.Revision)
		}
	}
	if answer, ok, err := s.Answer(ctx, PartitionOf(string(old.Service)), "tap-1"); !ok || string(answer) != "yes" || err != nil {
		t.Errorf("the answer to the command: got %q, %v, %v", answer, ok, err)
	}
	if _, err := s.ConfigApply(ctx, base, []ConfigChange{{Kind: "user", ID: "ann", Payload: []byte("newer")}}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("the record of the configuration: got %v, want it to be there already", err)
	}
	for range 2 * numberBlock {
		n, err := s.NextNumber(ctx)
		if err != nil || n == number {
			t.Fatalf("the next number: got %d, %v, want none that was given out", n, err)
		}
		number = max(number, n)
	}
	if got := s.FailoverStats(); got.Restored != 6 || got.Lost != 0 {
		t.Errorf("got %+v, want 6 writes restored and none lost", got)
	}
	// The sender's retry folds with what was brought back.
	if err := s.Append(ctx, []InboxEntry{pending}); err != nil {
		t.Fatal(err)
	}
	if n := inboxes(t, s)[string(pending.Service)]; n != 1 {
		t.Errorf("after the sender's retry the event is there %d times, want once", n)
	}
}

// A sender's retry is folded with its first try, which no replica had: nothing
// is written for it, and it must not pass for replicated because of that.
func TestARetryThatWritesNothingIsNotTakenForReplicated(t *testing.T) {
	t.Parallel()
	p := redistest.StartPair(t)
	s := openAt(t, p.URL(), replicated, func(o *Options) { o.WaitTimeout = 300 * time.Millisecond })
	e := eventOf(t, 0)
	e.Event.SenderID = "sender-1"
	p.Replica.Pause(t)
	for try := range 3 {
		if err := s.Append(t.Context(), []InboxEntry{e}); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("try %d without the replica: got %v, want unavailable", try+1, err)
		}
	}
	p.Replica.Resume(t)
	mark := s.appendCall(PartitionOf(string(e.Service)), []InboxEntry{e}).keys[1]
	if err := s.rdb.Expire(t.Context(), mark, time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	until(t, "the retry is accepted when the replica has it", func() bool { return s.Append(t.Context(), []InboxEntry{e}) == nil })
	if n := inboxes(t, s)[string(e.Service)]; n != 1 {
		t.Errorf("the event is there %d times, want once", n)
	}
	// From Redis 7.2 on, WAIT knows of the connection's writes only, and the first
	// try may have come by another: the retry has to write something.
	if left := s.rdb.TTL(t.Context(), mark).Val(); left <= time.Minute {
		t.Errorf("the mark of the event is kept for %v, want that the retry has written it again", left)
	}
}

// prioritised is the incident after a commit that gives it a priority.
func prioritised(t *testing.T, s *Store, in *incident.Incident, priority incident.Priority) *incident.Incident {
	t.Helper()
	next := *in
	next.Priority = priority
	chain, _ := mustCommit(t, s, Commit{Before: in, After: &next})
	return chain
}

// learnsLater keeps an instance from learning of a failover until it is let.
func learnsLater(t *testing.T, s *Store) (learn func()) {
	t.Helper()
	s.homes.looking.Lock()
	learn = sync.OnceFunc(s.homes.looking.Unlock)
	t.Cleanup(learn)
	return learn
}

// orphaned is what an instance did that the replica never got, on top of what
// another one did that is gone since: the incident as the replica has it.
func orphaned(t *testing.T) (*redistest.Pair, *Store, *incident.Incident) {
	t.Helper()
	p := redistest.StartPair(t)
	s := openAt(t, p.URL(), withRing)
	gone, err := Open(t.Context(), Options{URL: p.URL(), Ring: ringInTests})
	if err != nil {
		t.Fatal(err)
	}
	old, _ := mustCommit(t, s, begin(opened(freshService(t), base), "disk"))
	p.InStep(t)
	p.Cut()
	chain := prioritised(t, gone, old, 3)
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	resolve(t, s, chain, base)
	return p, s, old
}

// Two instances wrote to one incident what the replica never got, one on top of
// the other: whichever of them comes first, both are brought back.
func TestInstancesBringBackWhatBuildsOnEachOther(t *testing.T) {
	t.Parallel()
	p := redistest.StartPair(t)
	first, second := openAt(t, p.URL(), withRing), openAt(t, p.URL(), withRing)
	old, _ := mustCommit(t, first, begin(opened(freshService(t), base), "disk"))
	p.InStep(t)
	p.Cut()
	chain := old
	for i := range 6 {
		chain = prioritised(t, []*Store{first, second}[i%2], chain, incident.Priority(1+i%3))
	}
	p.Promote(t)
	until(t, "both have made good what they know", func() bool {
		got, err := first.Incident(t.Context(), old.ID)
		return err == nil && got.Revision == chain.Revision
	})
	for _, s := range []*Store{first, second} {
		if got := s.FailoverStats(); got.Restored != 3 || got.Lost != 0 {
			t.Errorf("got %+v, want three writes restored by each and none lost", got)
		}
	}
}

// What one instance was told is done comes back before the other decides on what
// the replica has: its decision is refused, and made on what is true.
func TestNobodyDecidesBeforeOthersHaveWrittenAgain(t *testing.T) {
	t.Parallel()
	p := redistest.StartPair(t)
	first, second := openAt(t, p.URL(), withRing), openAt(t, p.URL(), withRing)
	second.homes.letFor = 2 * time.Second
	old, _ := mustCommit(t, first, begin(opened(freshService(t), base), "disk"))
	mustCommit(t, second, begin(opened(freshService(t), base), "net")) // so that it knows the old master
	p.InStep(t)
	p.Cut()
	chain := prioritised(t, first, old, 3)
	learn := learnsLater(t, first)
	p.Promote(t)
	other := *old
	other.Priority = 1
	decided := make(chan error, 1)
	go func() {
		_, err := second.Commit(t.Context(), Commit{Before: old, After: &other})
		decided <- err
	}()
	until(t, "the other has noticed", func() bool { return second.FailoverStats().Failovers == 1 })
	learn()
	until(t, "the first has written again", func() bool { return first.FailoverStats().Restored == 1 })
	if err := <-decided; fault.KindOf(err) != fault.Conflict {
		t.Errorf("the decision on what was old: got %v, want a conflict", err)
	}
	if got, err := second.Incident(t.Context(), old.ID); err != nil || got.Revision != chain.Revision || got.Priority != 3 {
		t.Errorf("got %+v, %v, want what the first was told is done", got, err)
	}
}

// Each of two instances had accepted an event of one inbox, and the later one is
// brought back first: the earlier one goes before it, so that what was decided
// on it is true again.
func TestEventsComeBackInTheirPlaces(t *testing.T) {
	t.Parallel()
	p := redistest.StartPair(t)
	first, second := openAt(t, p.URL(), withRing), openAt(t, p.URL(), withRing)
	for i, s := range []*Store{first, second} { // so that they know the old master
		mustCommit(t, s, begin(opened(freshService(t), base), fmt.Sprint("disk", i)))
	}
	p.InStep(t)
	p.Cut()
	early, late := eventOf(t, 0), eventOf(t, 1)
	late.Service = early.Service
	if err := first.Append(t.Context(), []InboxEntry{early}); err != nil {
		t.Fatal(err)
	}
	part := PartitionOf(string(early.Service))
	entries, err := second.Inbox(t.Context(), part, 10)
	if err != nil || len(entries) != 1 {
		t.Fatalf("got %d events, %v, want the early one", len(entries), err)
	}
	if err := second.Append(t.Context(), []InboxEntry{late}); err != nil {
		t.Fatal(err)
	}
	c := begin(opened(early.Service, base), early.Key)
	c.Inbox = []string{entries[0].ID}
	in, _ := mustCommit(t, second, c)
	learn := learnsLater(t, first)
	p.Promote(t)
	until(t, "the later event is back", func() bool { return second.FailoverStats().Restored == 1 })
	learn()
	until(t, "the incident is back", func() bool {
		got, err := second.Incident(t.Context(), in.ID)
		return err == nil && got.Revision == in.Revision
	})
	left, err := second.Inbox(t.Context(), part, 10)
	if err != nil || len(left) != 1 || left[0].Key != late.Key {
		t.Errorf("got %+v, %v, want that the late one waits alone", left, err)
	}
	if got := second.FailoverStats(); got.Lost != 0 {
		t.Errorf("got %+v, want nothing lost", got)
	}
}

// Two histories of one incident have the same revisions: what was decided on the
// one that a failover has lost is not written on the one that began since.
func TestTwoHistoriesAreNotMixed(t *testing.T) {
	t.Parallel()
	p, s, old := orphaned(t)
	p.Promote(t)
	until(t, "the failover is noticed", func() bool { return s.FailoverStats().Failovers == 1 })
	anew := prioritised(t, s, old, 1) // as nobody has brought back the one before
	until(t, "the loss is reported", func() bool { return s.FailoverStats().Lost == 1 })
	if got, err := s.Incident(t.Context(), old.ID); err != nil || got.Revision != anew.Revision || got.Priority != 1 || !got.Open() {
		t.Errorf("got %+v, %v, want the incident open as it was decided since", got, err)
	}
}

// An instance that is gone takes with it what another one's command was built
// on. The command is reported lost; its incident is as the replica knows it, and
// will page.
func TestWhatCannotBeBroughtBackIsReported(t *testing.T) {
	t.Parallel()
	p, s, old := orphaned(t)
	p.Promote(t)
	until(t, "the loss is reported", func() bool { return s.FailoverStats().Lost == 1 })
	if got, err := s.Incident(t.Context(), old.ID); err != nil || got.Revision != old.Revision || !got.Open() {
		t.Errorf("got %+v, %v, want the incident open as it was", got, err)
	}
}

// A Redis that starts again with everything that it had has lost nothing, and
// nothing is written twice.
func TestRestartBringsNothingBack(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := openAt(t, srv.URL(), withRing)
	e := eventOf(t, 0)
	if err := s.Append(t.Context(), []InboxEntry{e}); err != nil {
		t.Fatal(err)
	}
	in, _ := mustCommit(t, s, begin(opened(freshService(t), base), "disk"))
	srv.Kill(t)
	srv.Restart(t)
	until(t, "the restart is noticed", func() bool { return s.FailoverStats().Failovers == 1 })
	if got := s.FailoverStats(); got.Restored != 0 || got.Lost != 0 {
		t.Errorf("got %+v, want nothing restored and nothing lost", got)
	}
	if n := inboxes(t, s)[string(e.Service)]; n != 1 {
		t.Errorf("the event is there %d times, want once", n)
	}
	resolve(t, s, in, base)
}

// A partition has come from another master without any failover, and then the
// server is looked into because it has lost its scripts: the events of the
// partitions that were there all along are not written a second time.
func TestWhatStayedIsNotWrittenAgain(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.Start(t).URL(), withRing)
	ctx := t.Context()
	e := eventOf(t, 0)
	if err := s.Append(ctx, []InboxEntry{e}); err != nil {
		t.Fatal(err)
	}
	stranger := (PartitionOf(string(e.Service)) + 1) % Partitions
	s.homes.mu.Lock()
	s.homes.last[stranger.tag()] = "the master that it came from"
	s.homes.mu.Unlock()
	if err := s.rdb.ScriptFlush(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(ctx, []InboxEntry{eventOf(t, 1)}); err != nil {
		t.Fatal(err)
	}
	if got := s.FailoverStats(); got.Failovers != 1 || got.Restored != 0 {
		t.Errorf("got %+v, want that the move was noticed and nothing written again", got)
	}
	if n := inboxes(t, s)[string(e.Service)]; n != 1 {
		t.Errorf("the event is there %d times, want once", n)
	}
}

// A counter that a failover has set back gives nothing out twice, even before
// anybody has looked into the new master.
func TestCountersDoNotGoBack(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := openAt(t, srv.URL())
	ctx := t.Context()
	number, err := s.NextNumber(ctx)
	if err != nil {
		t.Fatal(err)
	}
	first, err := s.ConfigApply(ctx, base, []ConfigChange{{Kind: "user", ID: "ann"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.rdb.Del(ctx, numberKey, configRevisionKey).Err(); err != nil {
		t.Fatal(err)
	}
	for range 3 * numberBlock {
		n, err := s.NextNumber(ctx)
		if err != nil || n <= number {
			t.Fatalf("after number %d: got %d, %v", number, n, err)
		}
		number = n
	}
	second, err := s.ConfigApply(ctx, base, []ConfigChange{{Kind: "user", ID: "bob"}})
	if err != nil || second.Revisions[0] <= first.Revisions[0] {
		t.Errorf("after revision %d: got %v, %v", first.Revisions[0], second.Revisions, err)
	}
}
