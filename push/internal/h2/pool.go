package h2

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"
)

const (
	// DefaultLanes are kept open: one would carry the load, two survive a death.
	DefaultLanes = 2
	// MaxLanes is as many as there ever are while the load asks for more.
	MaxLanes = 4

	answersWithin = 2 * time.Second // for a pool to count as alive

	refusalsTogether = 100 * time.Millisecond
)

var (
	errClosed = errors.New("the provider is closed")
	errStuck  = errors.New("no connection had a place, and none has answered for a while")

	// errBusy is that no connection had a place although they answer: there is
	// more to send than they carry, which is no trouble of the server's.
	errBusy = errors.New("no connection had a place")
)

// Options are what a pool is made of.
type Options struct {
	Base   *url.URL
	Trust  *tls.Config
	Lanes  int                 // kept open; 0 is DefaultLanes
	First  int                 // requests in flight on a fresh connection until one has succeeded; 0 is 100
	Closed func(reason string) // told of every connection that ended; may be nil
}

// Pool keeps a few connections open and hands out places on them. Its cap in
// flight per connection is its own, below the server's: a request that waits
// inside the HTTP/2 transport waits without order and without a way out
// (https://github.com/golang/go/issues/70809).
type Pool struct {
	dialer  *dialer
	target  int
	closedF func(reason string) // told of every connection that ended

	begin  func(task func(context.Context)) // runs a task that is told when the pool closes
	stop   context.CancelFunc
	owners sync.WaitGroup // the tasks

	mu       sync.Mutex
	lanes    []*Lane
	dialing  int
	waiters  [2][]*waiter // urgent ones first
	strikes  int          // dials that failed and connections that ended before they were worth their while, in a row
	redialAt time.Time
	redial   *time.Timer
	dialErr  error // why there is no connection, while none is being made

	answeredAt time.Time // the last answer
	shut       bool
}

type waiter struct {
	avoid string
	got   chan struct{}
	lane  *Lane
	err   error
	gone  bool
}

// New starts to connect. Close ends what it started.
func New(o Options) *Pool {
	if o.Lanes <= 0 {
		o.Lanes = DefaultLanes
	}
	if o.First <= 0 {
		o.First = warmLimit
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &Pool{
		dialer: &dialer{base: o.Base, trust: o.Trust, first: o.First, lookup: net.DefaultResolver.LookupHost}, target: min(o.Lanes, MaxLanes), closedF: o.Closed,
		stop: stop,
	}
	p.begin = func(task func(context.Context)) { p.owners.Go(func() { task(ctx) }) }
	p.mu.Lock()
	p.maintain()
	p.mu.Unlock()
	return p
}

// Acquire returns a lane with a place for one request, or an error when ctx
// ends first or no connection can be made.
func (p *Pool) Acquire(ctx context.Context, urgent bool, avoid string) (*Lane, error) {
	p.mu.Lock()
	if p.shut {
		p.mu.Unlock()
		return nil, errClosed
	}
	if l := p.best(avoid); l != nil {
		p.take(l)
		p.mu.Unlock()
		return l, nil
	}
	p.maintain()
	if len(p.lanes) == 0 && p.dialing == 0 && p.dialErr != nil {
		defer p.mu.Unlock()
		return nil, p.dialErr // between two dials: waiting would only use up the page's time
	}
	w := &waiter{avoid: avoid, got: make(chan struct{})}
	class := 1
	if urgent {
		class = 0
	}
	p.waiters[class] = append(p.waiters[class], w)
	p.mu.Unlock()

	ctx, cancel := patience(ctx)
	defer cancel()
	select {
	case <-w.got:
		return w.lane, w.err
	case <-ctx.Done():
		p.mu.Lock()
		defer p.mu.Unlock()
		if w.lane != nil { // it was served in the same instant
			p.giveBack(w.lane)
		}
		w.gone = true
		if clock().Sub(p.answeredAt) < answersWithin {
			return nil, errBusy
		}
		return nil, errStuck
	}
}

// patience bounds the waiting to two fifths of the time there is: a request
// that gets its place in the last moment would only be cut off, and nobody
// would know whether it arrived.
func patience(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, end.Sub(clock())*2/5)
}

// take counts one more request on a lane.
func (p *Pool) take(l *Lane) {
	if l.inFlight++; l.inFlight == 1 {
		l.owedSince = clock()
	}
	l.used = true
	if l.guard == nil {
		l.guard = time.AfterFunc(slowAnswer, func() { p.look(l) })
	}
}

// look suspects a lane that has owed answers for too long and given none. One
// timer for each lane does it, which costs less than one for each request.
func (p *Pool) look(l *Lane) {
	p.mu.Lock()
	defer p.mu.Unlock()
	left := slowAnswer - clock().Sub(l.owedSince)
	switch {
	case l.inFlight == 0 || l.state == laneClosed || p.shut:
		l.guard = nil
		return
	case left <= 0:
		p.suspect(l)
		left = slowAnswer
	}
	l.guard.Reset(left)
}

// best is the open lane with the fewest requests in flight, another than
// avoid, and one without troubles, if there is one. The caller holds the lock.
func (p *Pool) best(avoid string) *Lane {
	for {
		var best *Lane
		cost := 0
		for _, l := range p.lanes {
			if l.state != laneOpen || l.inFlight >= l.limit {
				continue
			}
			c := l.inFlight
			if l.id == avoid {
				c += 1 << 20
			}
			if l.troubles > 0 {
				c += 1 << 21
			}
			if best == nil || c < cost {
				best, cost = l, c
			}
		}
		if best == nil || best.conn.CanTakeNewRequest() {
			return best
		}
		p.drain(best) // the server has said GOAWAY
	}
}

// Release returns a place after an attempt. ok says that the server accepted;
// refused that it has too many requests on this connection.
//
// A server that lowers its limit refuses all that is above it at once: that is
// one event, answered by halving the cap. Only a refusal at a cap of one, while
// no other connection is free of troubles, is trouble of the service's, which
// Release tells.
func (p *Pool) Release(l *Lane, ok, refused bool) (trouble bool) {
	server, leaving, looked := l.look()
	p.mu.Lock()
	defer p.mu.Unlock()
	if looked {
		l.server = server
		l.limit = max(1, min(l.limit, l.most()))
	}
	if leaving {
		p.drain(l)
	}
	now := clock()
	switch {
	case refused && now.Sub(l.refusedAt) >= refusalsTogether:
		if l.limit == 1 {
			l.troubles++
			trouble = !p.spare()
		}
		l.limit, l.grownAt, l.refusedAt = max(1, l.limit/2), now, now
	case ok:
		p.answeredAt = now
		p.succeed(l)
		p.grow(l)
	}
	p.giveBack(l)
	return trouble
}

// Answered notes an answer that was no success: a pool whose connections answer
// is busy, and not stuck, whatever they answer.
func (p *Pool) Answered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answeredAt = clock()
}

// Trouble notes that the service answered over this connection that it is in
// trouble. Others are preferred to it until it has carried a success, and after
// the second time in a row another one is opened, to another address if there
// is one.
func (p *Pool) Trouble(l *Lane) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.troubles++
	p.maintain()
}

// spare tells whether some connection is open and free of troubles.
func (p *Pool) spare() bool {
	return slices.ContainsFunc(p.lanes, func(l *Lane) bool { return l.state == laneOpen && l.troubles == 0 })
}

// succeed notes that a lane has carried a success.
func (p *Pool) succeed(l *Lane) {
	l.troubles = 0
	if l.successes < provenBy {
		if l.successes++; l.successes == provenBy {
			p.strikes = 0
		}
	}
}

func (p *Pool) giveBack(l *Lane) {
	l.inFlight--
	l.owedSince = clock()
	if l.state == laneDraining && l.inFlight == 0 && !p.shut {
		p.owners.Go(l.end)
	}
	p.serve()
	p.maintain()
}

// grow raises a lane's cap: to a hundred after the first success, then double
// each second, never above nine tenths of what the server allows.
func (p *Pool) grow(l *Lane) {
	now := clock()
	most := l.most()
	switch {
	case !l.useful:
		l.useful, l.limit, l.grownAt = true, max(l.limit, warmLimit), now
	case l.limit < most && now.Sub(l.grownAt) >= growthEvery:
		l.limit, l.grownAt = l.limit*2, now
	}
	l.limit = min(l.limit, most)
}

// most is what the cap of a lane may grow to.
func (l *Lane) most() int {
	if l.server == 0 {
		return laneLimit
	}
	return max(1, min(laneLimit, l.server*9/10))
}

// serve gives free places to those who wait, the urgent ones first.
func (p *Pool) serve() {
	for class := range p.waiters {
		for len(p.waiters[class]) > 0 {
			w := p.waiters[class][0]
			if !w.gone {
				l := p.best(w.avoid)
				if l == nil {
					return
				}
				p.take(l)
				w.lane = l
				close(w.got)
			}
			p.waiters[class][0] = nil
			p.waiters[class] = p.waiters[class][1:]
		}
	}
}

// refuse ends all waiting with an error.
func (p *Pool) refuse(err error) {
	for class := range p.waiters {
		for _, w := range p.waiters[class] {
			if !w.gone {
				w.err = err
				close(w.got)
			}
		}
		p.waiters[class] = nil
	}
}

// Close ends all connections and waits for what belongs to them.
func (p *Pool) Close() {
	p.mu.Lock()
	p.shut = true
	if p.redial != nil {
		p.redial.Stop()
	}
	p.refuse(errClosed)
	lanes := slices.Clone(p.lanes)
	p.mu.Unlock()
	p.stop()
	for _, l := range lanes {
		l.end()
	}
	p.owners.Wait()
}

// Stats counts the connections by state, and the requests on them.
func (p *Pool) Stats() (connections map[string]int, inFlight int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	connections = map[string]int{"open": 0, "suspect": 0, "draining": 0, "warming": p.dialing}
	for _, l := range p.lanes {
		connections[laneStates[l.state]]++
		inFlight += l.inFlight
	}
	return connections, inFlight
}
