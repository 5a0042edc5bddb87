package admission

import (
	"sync"
	"time"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// Limits are the rooms of a Gate. Zero fields have the defaults.
type Limits struct {
	// Requests are being read, decided on or stored: 3,000. A request with a
	// large body counts for each 16 KiB of it.
	Requests int
	// Waiting is how many events may be stored and not decided, at the most:
	// 200,000. It is fewer when they are decided slowly, see Measure.
	Waiting int
	// Inbox is how many of them may be in one partition: 20,000. The store
	// refuses above half as many more; what is between is for those who hold
	// little.
	Inbox int
}

const (
	sizeUnit      = 16 << 10
	leastRequests = 8
	leastInInbox  = 64
	mostCrowd     = 1000
	// retryAfter is what refused senders are told to wait. Short: Alertmanager
	// holds a group's other receivers up while it tries again.
	retryAfter = 2 * time.Second
)

func (l Limits) withDefaults() Limits {
	set := func(n *int, to int) {
		if *n <= 0 {
			*n = to
		}
	}
	set(&l.Requests, 3000)
	set(&l.Waiting, 200_000)
	set(&l.Inbox, 20_000)
	return l
}

// Sender is who sends events.
type Sender struct{ Service, Key string }

// Config is what a Gate is made of.
type Config struct {
	Limits
	// Partition returns where the events of a service wait.
	Partition func(service string) int
	Now       func() time.Time
}

// Gate admits events.
type Gate struct {
	c Config

	mu        sync.Mutex
	strangers Shares // requests whose key is not known yet, by address
	requests  Shares
	waiting   Shares
	inboxes   map[int]*inbox
	refused   map[Sender]*Refused
	pace      pace
	metrics   metrics
	crowding  chan struct{} // holds something after many have begun to wait
}

// New returns a Gate.
func New(c Config) *Gate {
	c.Limits = c.withDefaults()
	g := &Gate{
		c:         c,
		strangers: Shares{Room: c.Requests, Least: leastRequests, Reserve: c.Requests / 2},
		requests:  Shares{Room: c.Requests, Least: leastRequests, Reserve: c.Requests / 2},
		waiting:   Shares{},
		inboxes:   map[int]*inbox{},
		refused:   map[Sender]*Refused{},
		pace:      pace{perSecond: firstPace},
		metrics:   newMetrics(),
		crowding:  make(chan struct{}, 1),
	}
	g.fit()
	return g
}

// Stranger admits a request that has to be read before its sender is known, by
// the address it comes from. The caller says when it knows the sender or has
// answered. size is that of the body in bytes, as far as it is known.
func (g *Gate) Stranger(address string, size int64) (known func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := units(size)
	if v := g.strangers.Take("", address, n); v != Admitted {
		g.metrics.refuse(requestReasons[v])
		return nil, requestFaults[v]
	}
	return g.back(&g.strangers, "", address, n), nil
}

// Enter admits a request of a sender, before its body is read where that can
// be. The caller says when it has answered. A sender whose events fill its share
// already is refused here, as its next one would be.
func (g *Gate) Enter(from Sender, size int64) (leave func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.mayWait(from, 1); err != nil {
		return nil, err
	}
	n := units(size)
	if v := g.requests.Take(from.Service, from.Key, n); v != Admitted {
		g.refuse(from, requestReasons[v])
		return nil, requestFaults[v]
	}
	return g.back(&g.requests, from.Service, from.Key, n), nil
}

// back returns what gives back what was taken.
func (g *Gate) back(s *Shares, group, member string, n int) func() {
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		s.Give(group, member, n)
	}
}

func units(size int64) int { return 1 + int(max(size, 0)/sizeUnit) }

// Events admits n events of a sender, which are about to be stored. The caller
// says whether they were.
func (g *Gate) Events(from Sender, n int) (stored func(bool), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.mayWait(from, n); err != nil {
		return nil, err
	}
	in := g.inbox(from)
	g.waiting.Take(from.Service, from.Key, n)
	in.shares.Take(from.Service, from.Key, n)
	g.tellCrowding()
	return func(ok bool) {
		g.mu.Lock()
		defer g.mu.Unlock()
		if ok {
			in.push(from, n)
			g.tellCrowding() // whoever looked before has not seen these
		} else {
			g.gone(in, from, n)
		}
	}, nil
}

// mayWait refuses a sender whose share of what waits would be exceeded.
func (g *Gate) mayWait(from Sender, n int) error {
	v := g.waiting.May(from.Service, from.Key, n)
	if v == Admitted {
		v = g.inbox(from).shares.May(from.Service, from.Key, n)
	}
	if v == Admitted {
		return nil
	}
	g.refuse(from, waitingReasons[v])
	return waitingFaults[v]
}

func (g *Gate) inbox(from Sender) *inbox {
	p := g.c.Partition(from.Service)
	in, ok := g.inboxes[p]
	if !ok {
		in = &inbox{shares: Shares{Room: g.c.Inbox, Least: leastInInbox, Reserve: g.c.Inbox / 2}}
		g.inboxes[p] = in
	}
	return in
}

// gone gives back events that do not wait any more.
func (g *Gate) gone(in *inbox, from Sender, n int) {
	g.waiting.Give(from.Service, from.Key, n)
	in.shares.Give(from.Service, from.Key, n)
}

// Observe takes in how many events wait in a partition, whoever sent them.
func (g *Gate) Observe(partition, length int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	in, ok := g.inboxes[partition]
	if !ok {
		return // none of them came through here
	}
	in.trim(length, func(t ticket) {
		g.gone(in, t.from, t.n)
		g.pace.decided += t.n
	})
}

// Crowding tells when Crowded is worth asking, until it returns none: so many
// events wait that it matters which of them are gone.
func (g *Gate) Crowding() <-chan struct{} { return g.crowding }

func (g *Gate) tellCrowding() {
	if !g.many() {
		return
	}
	select {
	case g.crowding <- struct{}{}:
	default: // nobody has looked yet
	}
}

// Crowded returns the partitions in which events wait, as far as is known, when
// so many wait that it matters which are gone: somebody should look and Observe.
func (g *Gate) Crowded() []int {
	g.mu.Lock()
	defer g.mu.Unlock()
	var ps []int
	many := g.many()
	for p, in := range g.inboxes {
		if (many && in.ours > 0) || in.shares.Foreign > 0 {
			ps = append(ps, p)
		}
	}
	return ps
}

// many tells whether so many events wait, as far as is known, that it matters
// which of them are gone. Nobody is refused while fewer do.
func (g *Gate) many() bool { return g.waiting.Used() > min(mostCrowd, g.c.Inbox/10) }

// The faults name the limit. Which key it was is not in them: whoever reads it
// has sent it.
//
//nolint:gochecknoglobals // look-up tables
var (
	requestFaults = map[Verdict]*fault.Error{
		MemberFull: exhausted("KEY_REQUESTS", "this key has as many requests under way as its share allows"),
		GroupFull:  exhausted("SERVICE_REQUESTS", "this service has as many requests under way as its share allows"),
		RoomFull:   exhausted("REQUESTS", "too many requests are under way"),
	}
	waitingFaults = map[Verdict]*fault.Error{
		MemberFull: exhausted("KEY_EVENTS", "this key has as many events waiting to be decided as its share allows"),
		GroupFull:  exhausted("SERVICE_EVENTS", "this service has as many events waiting to be decided as its share allows"),
		RoomFull:   exhausted("EVENTS", "too many events are waiting to be decided"),
	}
	requestReasons = map[Verdict]Reason{MemberFull: KeyRequests, GroupFull: ServiceRequests, RoomFull: Requests}
	waitingReasons = map[Verdict]Reason{MemberFull: KeyEvents, GroupFull: ServiceEvents, RoomFull: Events}
)

func exhausted(reason, message string) *fault.Error {
	return fault.New(fault.Exhausted, reason, message).After(retryAfter)
}
