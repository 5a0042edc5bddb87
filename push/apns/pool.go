package apns

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
)

const (
	defaultLanes = 2
	maxLanes     = 4

	redialFirst = time.Second
	redialMost  = time.Minute
)

var errClosed = errors.New("the provider is closed")

// pool keeps a few connections open and hands out places on them. Its cap in
// flight per connection is its own, below the server's: a request that waits
// inside the HTTP/2 transport waits without order and without a way out
// (https://github.com/golang/go/issues/70809).
type pool struct {
	dialer  *dialer
	target  int
	closedF func(reason string) // told of every connection that ended

	stop   context.CancelFunc
	life   func() context.Context
	owners sync.WaitGroup

	mu       sync.Mutex
	lanes    []*lane
	dialing  int
	waiters  [2][]*waiter // urgent ones first
	failures int          // dials in a row
	redialAt time.Time
	redial   *time.Timer
	dialErr  error
	shut     bool
}

type waiter struct {
	avoid string
	got   chan struct{}
	lane  *lane
	err   error
	gone  bool
}

func newPool(d *dialer, target int, closed func(string)) *pool {
	ctx, stop := context.WithCancel(context.Background())
	p := &pool{dialer: d, target: target, closedF: closed, stop: stop, life: func() context.Context { return ctx }}
	p.mu.Lock()
	p.maintain()
	p.mu.Unlock()
	return p
}

// acquire returns a lane with a place for one request, or an error when ctx
// ends first or no connection can be made.
func (p *pool) acquire(ctx context.Context, urgent bool, avoid string) (*lane, error) {
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
		return nil, errors.Join(errBusy, context.Cause(ctx))
	}
}

var errBusy = errors.New("no connection had a place")

// best is the open lane with the fewest requests in flight, another than
// avoid if there is one. The caller holds the lock.
func (p *pool) best(avoid string) *lane {
	var best *lane
	for _, l := range p.lanes {
		if l.state != laneOpen || l.inFlight >= l.limit {
			continue
		}
		if !l.conn.CanTakeNewRequest() {
			l.state = laneDraining
			continue
		}
		if best == nil || (best.id == avoid && l.id != avoid) || (l.id != avoid && l.inFlight < best.inFlight) {
			best = l
		}
	}
	return best
}

// release returns a place after an attempt. ok says that Apple accepted;
// refused that it has too many requests on this connection.
func (p *pool) release(l *lane, ok, refused bool) {
	server := l.readLimit()
	p.mu.Lock()
	defer p.mu.Unlock()
	if server > 0 {
		l.server = server
	}
	switch {
	case refused:
		l.limit, l.grownAt = max(1, l.limit/2), clock()
	case ok:
		p.grow(l)
	}
	p.giveBack(l)
}

func (p *pool) giveBack(l *lane) {
	l.inFlight--
	if l.state == laneDraining && l.inFlight == 0 && !p.shut {
		p.owners.Go(func() { l.conn.Close() })
	}
	p.serve()
	p.maintain()
}

// grow raises a lane's cap: to a hundred after the first success, then double
// each second, never above nine tenths of what the server allows.
func (p *pool) grow(l *lane) {
	now := clock()
	most := laneLimit
	if l.server > 0 {
		most = max(1, min(most, l.server*9/10))
	}
	switch {
	case !l.useful:
		l.useful, l.limit, l.grownAt = true, warmLimit, now
	case l.limit < most && now.Sub(l.grownAt) >= growthEvery:
		l.limit, l.grownAt = l.limit*2, now
	}
	l.limit = min(l.limit, most)
}

// serve gives free places to those who wait, the urgent ones first.
func (p *pool) serve() {
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
func (p *pool) refuse(err error) {
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
func (p *pool) maintain() {
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
		want = min(maxLanes, usable+1)
	}
	want = max(want, p.target)
	for ; usable < want && len(p.lanes)+p.dialing < 2*maxLanes; usable++ {
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
func (p *pool) open() {
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
			l.conn.Close()
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
func (p *pool) dialFailed(err error) {
	p.dialErr = err
	p.backOff()
	if !slices.ContainsFunc(p.lanes, func(l *lane) bool { return l.state == laneOpen }) && p.dialing == 0 {
		p.refuse(err)
	}
	p.maintain()
}

func (p *pool) backOff() {
	wait := min(redialMost, redialFirst<<min(p.failures, 6))
	p.failures++
	p.redialAt = clock().Add(wait)
}

// watch pings an idle connection and drains one that the server wants gone.
func (p *pool) watch(ctx context.Context, l *lane) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		p.mu.Lock()
		over, away := l.state == laneClosed, l.state == laneDraining || !l.conn.CanTakeNewRequest()
		idle := l.inFlight == 0
		p.mu.Unlock()
		switch {
		case over:
			return
		case away:
			p.retire(l, "")
			if idle {
				l.conn.Close()
			}
		case p.ping(ctx, l, pingTimeout) != nil:
			p.kill(l, "PingTimeout")
		}
	}
}

func (p *pool) ping(ctx context.Context, l *lane, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return l.conn.Ping(ctx)
}

// suspect takes a connection that owes an answer out of routing until it has
// answered a ping; if it does not, everything on it is sent another way.
func (p *pool) suspect(l *lane) {
	p.mu.Lock()
	now := clock()
	if p.shut || l.state != laneOpen || now.Sub(l.checkedAt) < suspectEvery {
		p.mu.Unlock()
		return
	}
	l.state, l.checkedAt = laneSuspect, now
	p.maintain()
	p.owners.Go(func() {
		err := p.ping(p.life(), l, suspectTimeout)
		p.mu.Lock()
		if l.state == laneSuspect {
			if l.state = laneOpen; err == nil {
				p.serve()
			}
		}
		p.mu.Unlock()
		if err != nil {
			p.kill(l, "PingTimeout")
		}
	})
	p.mu.Unlock()
}

// retire lets a connection finish what is on it and take nothing new.
func (p *pool) retire(l *lane, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.state == laneClosed || l.state == laneDraining {
		return
	}
	l.state = laneDraining
	if why != "" {
		l.why = why
	}
	if l.inFlight == 0 && !p.shut {
		p.owners.Go(func() { l.conn.Close() })
	}
	p.maintain()
}

// kill closes a connection under what is on it.
func (p *pool) kill(l *lane, why string) {
	p.mu.Lock()
	if l.why == "" {
		l.why = why
	}
	p.mu.Unlock()
	l.conn.Close()
}

// lost is called once for every connection that has ended.
func (p *pool) lost(l *lane) {
	p.mu.Lock()
	was := l.state
	l.state = laneClosed
	if !l.added { // it died while being dialled: the dial says so
		p.mu.Unlock()
		return
	}
	p.lanes = slices.DeleteFunc(p.lanes, func(other *lane) bool { return other == l })
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

// close ends all connections and waits for what belongs to them.
func (p *pool) close() {
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
		l.conn.Close()
	}
	p.owners.Wait()
}

func (p *pool) stats() (connections map[string]int, inFlight int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	connections = map[string]int{"open": 0, "suspect": 0, "draining": 0, "warming": p.dialing}
	for _, l := range p.lanes {
		connections[laneStates[l.state]]++
		inFlight += l.inFlight
	}
	return connections, inFlight
}

var _ push.Reporter = (*Provider)(nil)
