// Package night is one run: an organisation whose monitors send, whose people
// act, and in which one thing after another breaks; then peace, and the checks.
package night

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/check"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/crowd"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/harm"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/ledger"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/redisset"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/source"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/world"
	"github.com/tocsin-oncall/tocsin/server/redisd"
)

// Options of a run.
type Options struct {
	Seed      uint64
	For       time.Duration // until peace
	Least     int           // faults that there are before, however long they take
	Instances int
	Services  int
	Every     time.Duration // between two events of a service, on average
	Faults    []harm.Kind
	Redis     redisset.Kind // "" = single
	Fsync     redisd.Fsync  // of each redis-server; "" = always for a single one, and everysec in a set, where replicas have it
	Program   string        // run with child.Variable set, it serves
	Before    string        // the same of the version before, for rolling upgrades; "": none
	Dir       string        // of everything that is kept
	Late      time.Duration // how late anything may be while nothing is broken
	Log       io.Writer     // is told what happens
}

// withDefaults fills what was left out.
func (o Options) withDefaults() Options {
	o.Redis = cmp.Or(o.Redis, redisset.Single)
	if o.Fsync == "" {
		o.Fsync = redisd.FsyncAlways
		if o.Redis != redisset.Single {
			o.Fsync = redisd.FsyncEverySec
		}
	}
	return o
}

// loses reports whether the mode admits that accepted events are lost: with the
// power of the one server, what was not synced yet is gone.
func (o Options) loses() bool {
	return o.Redis == redisset.Single && o.Fsync != redisd.FsyncAlways && slices.Contains(o.Faults, harm.CutPower)
}

// What the harness waits for.
const (
	recovery = 10 * time.Second
	breath   = 20 * time.Second // after every few harms, so that what is promised in peace can be seen; less in a short night
	together = 4                // harms between two breaths
	drain    = 3 * time.Minute  // for what waits to be done, at the end
)

// Run plays a night. The error is of the harness; violations are in the report.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the run: %w", err)
	}
	o = o.withDefaults()
	n := &night{o: o, began: time.Now()}
	n.people = crowd.New(crowd.Options{Seed: o.Seed, Ledger: &n.book})
	defer n.people.Leave()
	n.say("seed %d, %d instances, redis %s with appendfsync %s, %s of %d kinds of faults", o.Seed, o.Instances, o.Redis, o.Fsync, o.For, len(o.Faults))
	var err error
	n.world, err = world.New(ctx, world.Options{
		Dir: o.Dir, Program: o.Program, Before: o.Before, Instances: o.Instances, Services: o.Services, Redis: o.Redis, Fsync: o.Fsync, Ledger: &n.book, NewPhone: n.people.NewPhone,
	})
	defer func() { _ = n.world.Close() }() // it is killed anyway
	if err != nil {
		return nil, err
	}
	n.people.Enter(n.world)
	return n.run(ctx)
}

type night struct {
	o      Options
	began  time.Time
	book   ledger.Ledger
	world  *world.World
	people *crowd.Crowd
	source *source.Source
	saying sync.Mutex
}

func (n *night) say(format string, args ...any) {
	n.saying.Lock()
	defer n.saying.Unlock()
	_, _ = fmt.Fprintf(n.o.Log, "%7.1fs  %s\n", time.Since(n.began).Seconds(), fmt.Sprintf(format, args...))
}

func (n *night) run(ctx context.Context) (*Report, error) {
	var running sync.WaitGroup
	acting, peace := context.WithCancel(ctx) // events, people, looks
	sending, last := context.WithCancel(ctx) // until every event is accepted
	defer func() { peace(); last(); running.Wait() }()
	n.source = source.New(source.Options{
		Seed: n.o.Seed, Services: n.world.Services, Instances: n.world.Instances, Every: n.o.Every, Ledger: &n.book,
	})
	var watching sync.WaitGroup
	watched, ended := context.WithCancel(ctx)
	defer func() { ended(); watching.Wait() }()
	watching.Go(func() { n.watchStalls(watched) })
	watching.Go(func() { n.world.WatchRedis(watched) })
	watching.Go(func() {
		if err := n.world.WatchOwners(watched); err != nil {
			n.say("who owns what cannot be seen: %v", err) // I15 is then held against nothing
		}
	})
	var looking error
	running.Go(func() { looking = n.world.Look(acting) })
	running.Go(func() { n.people.Doze(acting) })
	running.Go(func() { n.people.Operate(acting) })
	sent := make(chan struct{})
	go func() { n.source.Run(acting, sending); close(sent) }()

	err := n.breakThings(ctx, time.Now().Add(n.o.For))
	peace()
	n.say("peace: monitors and operators stop, phones are on")
	select {
	case <-sent:
	case <-time.After(drain):
		n.say("some events are still not accepted")
		last()
		<-sent
	}
	running.Wait()
	if err != nil {
		return nil, err
	}
	if looking != nil {
		return nil, looking
	}
	n.people.WakeAll()
	return n.end(ctx)
}

// watchStalls notes when this machine stood still, or was so busy that it might
// as well have: that breaks what has to happen in time as any harm does.
func (n *night) watchStalls(ctx context.Context) {
	const look, most = 100 * time.Millisecond, time.Second
	last := time.Now()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(look):
		}
		if now := time.Now(); now.Sub(last) > most {
			n.book.Harm(ledger.Harm{From: last, Until: now, Kind: ledger.Stall, Target: "this machine"})
			n.say("the machine stood still for %s", now.Sub(last).Round(time.Millisecond))
		}
		last = time.Now()
	}
}

// breakThings does one harm after another until the time is up, and enough was done.
func (n *night) breakThings(ctx context.Context, until time.Time) error {
	schedule := harm.New(n.o.Seed, n.o.Faults, n.o.Instances)
	for {
		h, ok := schedule.Next()
		after := h.After
		if ok && h.Number%together == 0 {
			after += min(breath, n.o.For/8)
		}
		enough := !ok || h.Number > n.o.Least
		if enough && time.Now().Add(after).After(until) {
			after = time.Until(until)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(after):
		}
		if enough && !time.Now().Before(until) {
			return nil
		}
		if err := n.breakOne(ctx, h); err != nil {
			return err
		}
	}
}

func (n *night) breakOne(ctx context.Context, h harm.Harm) error {
	n.say("%s", h)
	if h.Kind == harm.ChangeConfig {
		n.people.Configure(ctx, h.Number)
		return nil
	}
	do := n.world.Do
	if h.Kind == harm.Storm {
		do = n.storm
	}
	l, err := do(ctx, h)
	n.book.Harm(l)
	n.say("%s: over after %s; %s", h.Kind, l.Until.Sub(l.From).Round(time.Millisecond), l.Detail)
	return err
}

// stormFor is how long a storm lasts at least.
const stormFor = 8 * time.Second

// storm has one service's monitor send as fast as it can while people tap.
func (n *night) storm(ctx context.Context, h harm.Harm) (ledger.Harm, error) {
	l := ledger.Harm{From: time.Now(), Kind: string(h.Kind), Target: h.String()}
	lasting, over := context.WithTimeout(ctx, h.Lasts+stormFor)
	defer over()
	var sent int64
	var both sync.WaitGroup
	both.Go(func() { sent = n.source.Storm(lasting, n.world.Services[h.Number%len(n.world.Services)]) })
	both.Go(func() { n.people.Tap(lasting) })
	both.Wait()
	err := n.world.Ready(ctx)
	l.Until = time.Now()
	l.Served, l.Detail = l.Until, fmt.Sprintf("%d events were sent", sent)
	return l, err
}

// end waits for rest, stops the instances, and checks.
func (n *night) end(ctx context.Context) (*Report, error) {
	n.people.Settle()
	n.say("everybody has what they wanted; what waits is done")
	inbox, work, err := n.rest(ctx)
	if err != nil {
		return nil, err
	}
	listed, err := n.world.List(ctx)
	if err != nil {
		return nil, err
	}
	n.say("rest: the instances stop")
	if err := n.world.StopInstances(); err != nil {
		return nil, err
	}
	found, err := n.world.Find(ctx)
	if err != nil {
		return nil, err
	}
	found.Listed, found.Inbox, found.Work = listed, inbox, work
	book := n.book.Book()
	outcome := check.All(book, found, check.Terms{
		Level: world.Level, Last: world.Levels - 1, Loops: world.Loops, Late: n.o.Late, Early: time.Second, Recovery: recovery,
		Silence: 10 * time.Second, Tap: time.Second, Config: 2*time.Second + n.o.Late, Loses: n.o.loses(), Succeeds: n.o.Redis != redisset.Single,
	})
	r := newReport(n.o, time.Since(n.began), book, found, outcome)
	if err := r.keep(filepath.Join(n.o.Dir, "chaos.json"), &book); err != nil {
		return nil, err
	}
	return r, nil
}

// rest waits until nothing waits any more. It returns what does all the same.
// Incidents go on escalating, so there is new work now and then.
func (n *night) rest(ctx context.Context) (inbox, work int, err error) {
	deadline := time.Now().Add(drain)
	for calm := 0; calm < 5; {
		inbox, work, err = n.world.Waiting(ctx)
		if calm++; err != nil || inbox+work > 0 {
			calm = 0
		}
		if time.Now().After(deadline) {
			return inbox, work, err // the checks say what that means
		}
		select {
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	return 0, 0, nil
}
