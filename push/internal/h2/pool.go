package h2

import (
	"context"
	"crypto/tls"
	"errors"
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

	redialFirst = time.Second
	redialMost  = time.Minute

	answersWithin = 2 * time.Second // for a pool to count as alive

	refusalsTogether = 100 * time.Millisecond
)

var (
	errClosed = errors.New("the provider is closed")
	errStuck  = errors.New("no connection had a place, and none has answered for a while")

	// ErrBusy is that no connection had a place although they answer: there is
	// more to send than they carry, which is no trouble of the server's.
	ErrBusy = errors.New("no connection had a place")
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

	stop   context.CancelFunc
	life   func() context.Context
	owners sync.WaitGroup

	mu       sync.Mutex
	lanes    []*Lane
	dialing  int
	waiters  [2][]*waiter // urgent ones first
	failures int          // dials in a row
	redialAt time.Time
	redial   *time.Timer
	dialErr  error

	answeredAt time.Time // the last success
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
		dialer: &dialer{base: o.Base, trust: o.Trust, first: o.First}, target: min(o.Lanes, MaxLanes), closedF: o.Closed,
		stop: stop, life: func() context.Context { return ctx },
	}
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
		l.inFlight++
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
			return nil, ErrBusy
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

// best is the open lane with the fewest requests in flight, another than
// avoid if there is one. The caller holds the lock.
func (p *Pool) best(avoid string) *Lane {
	var best *Lane
	cost := 0
	for _, l := range p.lanes {
		if l.state != laneOpen || l.inFlight >= l.limit {
			continue
		}
		if !l.conn.CanTakeNewRequest() { // the server has said GOAWAY
			p.drain(l)
			continue
		}
		c := l.inFlight
		if l.id == avoid {
			c += 1 << 20
		}
		if best == nil || c < cost {
			best, cost = l, c
		}
	}
	return best
}

// Release returns a place after an attempt. ok says that the server accepted;
// refused that it has too many requests on this connection.
//
// A server that lowers its limit refuses all that is above it at once: that is
// one event, answered by halving the cap. Only a refusal at a cap of one is
// trouble, which Release tells.
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
		trouble = l.limit == 1
		l.limit, l.grownAt, l.refusedAt = max(1, l.limit/2), now, now
	case ok:
		p.answeredAt = now
		p.grow(l)
	}
	p.giveBack(l)
	return trouble
}

func (p *Pool) giveBack(l *Lane) {
	l.inFlight--
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
				l.inFlight++
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

// maintain dials what is missing: up to the target, and up to the most while
// somebody waits for a place on warm lanes. Never in a tight loop: Apple takes that
// for an attack.
func (p *Pool) maintain() {
	if p.shut {
		return
	}
	usable, warm := p.dialing, 0
	for _, l := range p.lanes {
		if l.state == laneOpen {
			usable++
			if l.useful {
				warm++
			}
		}
	}
	want := p.target
	if warm == usable && len(p.waiters[0])+len(p.waiters[1]) > 0 {
		want = min(MaxLanes, usable+1)
	}
	want = max(want, p.target)
	for ; usable < want && len(p.lanes)+p.dialing < 2*MaxLanes; usable++ {
		if wait := p.redialAt.Sub(clock()); wait > 0 {
			if p.redial == nil {
				p.redial = time.AfterFunc(wait, func() {
					p.mu.Lock()
					defer p.mu.Unlock()
					p.redial = nil
					p.maintain()
				})
			}
			return
		}
		p.dialing++
		p.owners.Go(p.open)
	}
}

// open dials one connection and watches it until it ends.
func (p *Pool) open() {
	ctx := p.life()
	l, err := p.dialer.dial(ctx, p.lost)
	p.mu.Lock()
	p.dialing--
	if err != nil || p.shut || l.state == laneClosed {
		if err == nil {
			err = errClosed
		}
		p.dialFailed(err)
		p.mu.Unlock()
		if l != nil {
			l.end()
		}
		return
	}
	p.dialErr, p.failures = nil, 0
	l.added = true
	p.lanes = append(p.lanes, l)
	p.serve()
	p.mu.Unlock()
	p.watch(ctx, l)
}

// dialFailed backs off, and lets nobody wait for a connection that is not coming.
func (p *Pool) dialFailed(err error) {
	p.dialErr = err
	p.backOff()
	if !slices.ContainsFunc(p.lanes, func(l *Lane) bool { return l.state == laneOpen }) && p.dialing == 0 {
		p.refuse(err)
	}
	p.maintain()
}

func (p *Pool) backOff() {
	wait := min(redialMost, redialFirst<<min(p.failures, 6))
	p.failures++
	p.redialAt = clock().Add(wait)
}

// watch pings an idle connection and drains one that the server wants gone.
func (p *Pool) watch(ctx context.Context, l *Lane) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		st := l.conn.State()
		p.mu.Lock()
		over, away := l.state == laneClosed, l.state == laneDraining || st.Closing
		idle := l.inFlight == 0
		p.mu.Unlock()
		switch {
		case over:
			return
		case away:
			p.Retire(l, "")
			if idle {
				l.end()
			}
		case p.ping(ctx, l, pingTimeout) != nil:
			p.kill(l, "PingTimeout")
		}
	}
}

func (p *Pool) ping(ctx context.Context, l *Lane, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return l.conn.Ping(ctx)
}

// Suspect takes a connection that owes an answer out of routing until it has
// answered a ping; if it does not, everything on it is sent another way. The
// other connections have to answer too, so that the retry does not meet a
// second one that died of the same cause.
func (p *Pool) Suspect(l *Lane) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shut || l.state != laneOpen || clock().Sub(l.checkedAt) < suspectEvery {
		return
	}
	for _, other := range p.lanes {
		if other.state == laneOpen && (other == l || clock().Sub(other.checkedAt) >= suspectEvery) {
			other.checkedAt = clock()
			p.owners.Go(func() { p.check(other) })
		}
	}
	l.state = laneSuspect
	p.maintain()
}

// check pings a connection and ends it if it does not answer.
func (p *Pool) check(l *Lane) {
	if p.ping(p.life(), l, suspectTimeout) != nil {
		p.kill(l, "PingTimeout")
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.state == laneSuspect {
		l.state = laneOpen
		p.serve()
	}
}

// Retire lets a connection finish what is on it and take nothing new.
func (p *Pool) Retire(l *Lane, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if why != "" && l.why == "" {
		l.why = why
	}
	p.drain(l)
	p.maintain()
}

// drain takes a connection out of routing, and ends it when nothing is on it.
// The caller holds the lock.
func (p *Pool) drain(l *Lane) {
	if l.state == laneClosed || l.state == laneDraining {
		return
	}
	l.state = laneDraining
	if l.inFlight == 0 && !p.shut {
		p.owners.Go(l.end)
	}
}

// kill closes a connection under what is on it.
func (p *Pool) kill(l *Lane, why string) {
	p.mu.Lock()
	if l.why == "" {
		l.why = why
	}
	p.mu.Unlock()
	l.end()
}

// lost is called once for every connection that has ended.
func (p *Pool) lost(l *Lane) {
	p.mu.Lock()
	was := l.state
	l.state = laneClosed
	if !l.added { // it died while being dialled: the dial says so
		p.mu.Unlock()
		return
	}
	p.lanes = slices.DeleteFunc(p.lanes, func(other *Lane) bool { return other == l })
	why := l.why
	if why == "" {
		why = "Closed"
		if was == laneDraining {
			why = "GoAway"
		}
	}
	if !l.useful && clock().Sub(l.born) < time.Second {
		p.backOff() // it was closed before it did anything: as good as a failed dial
	}
	p.maintain()
	p.mu.Unlock()
	if p.closedF != nil {
		p.closedF(why)
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
