package h2

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
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

	redialFirst = time.Second
	redialMost  = time.Minute
	redialDown  = 5 * time.Second // while the service cannot be reached at all: the network may be back at any moment
	redialFree  = 3               // connections in a row that may end early and be replaced at once
	provenBy    = 10              // successes, after which a connection was worth its while

	troubledBy = 2 // troubles in a row, after which another connection is looked for

	answersWithin = 2 * time.Second // for a pool to count as alive

	refusalsTogether = 100 * time.Millisecond
)

// Why connections are retired without the service's doing; these cost nothing
// when they are replaced.
const (
	OutOfUse      = "OutOfUse" // it cannot carry what is to be sent from now on
	surplusReason = "Surplus"
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

	stop   context.CancelFunc
	life   func() context.Context
	owners sync.WaitGroup

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
		p.take(l) //nolint:contextcheck // the ping belongs to the connection, not to the request
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

// maintain dials what is missing: up to the target, and up to the most while
// somebody waits for a place on warm lanes or all lanes are in trouble. Never in
// a tight loop: Apple takes that for an attack.
func (p *Pool) maintain() {
	if p.shut {
		return
	}
	usable, warm, troubled := p.dialing, 0, 0
	for _, l := range p.lanes {
		if l.state == laneOpen {
			usable++
			if l.useful {
				warm++
			}
			if l.troubles >= troubledBy {
				troubled++
			}
		}
	}
	want := p.target
	if (warm == usable && len(p.waiters[0])+len(p.waiters[1]) > 0) || (troubled > 0 && troubled == usable) {
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
		p.backOff(unreached(err))
		p.stranded(err)
		p.maintain()
		p.mu.Unlock()
		if l != nil {
			l.end()
		}
		return
	}
	p.dialErr = nil
	l.added = true
	p.lanes = append(p.lanes, l)
	p.serve()
	p.mu.Unlock()
	p.watch(ctx, l)
}

// stranded lets nobody wait for a connection when there is none and none is
// being made.
func (p *Pool) stranded(why error) {
	p.dialErr = why
	if p.dialing == 0 && !slices.ContainsFunc(p.lanes, func(l *Lane) bool { return l.state == laneOpen || l.state == laneSuspect }) {
		p.refuse(why)
	}
}

// backOff puts the next dial off: by a second after the first failure in a row,
// doubling up to a minute. A service that was not even reached (down) does not
// notice how often we try, and a page must not wait a minute for a network that
// is back: the wait is a few seconds then, and counts no strike beyond them.
func (p *Pool) backOff(down bool) {
	wait := min(redialMost, redialFirst<<min(p.strikes, 6))
	if down {
		p.redialAt = clock().Add(min(wait, redialDown))
		if wait > redialDown {
			return
		}
	} else {
		p.redialAt = clock().Add(wait)
	}
	p.strikes++
}

// watch tends a connection until it ends.
func (p *Pool) watch(ctx context.Context, l *Lane) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for over := false; !over; over = p.tend(ctx, l) {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// tend pings a connection, drains one that the server wants gone or nobody
// needs, and tells whether it has ended.
func (p *Pool) tend(ctx context.Context, l *Lane) (over bool) {
	st := l.conn.State()
	p.mu.Lock()
	over, away := l.state == laneClosed, l.state == laneDraining || st.Closing
	idle := l.inFlight == 0
	surplus := idle && !l.used && p.surplus()
	l.used = false
	p.mu.Unlock()
	switch {
	case over:
	case away:
		p.Retire(l, "")
		if idle {
			l.end()
		}
	case surplus:
		p.Retire(l, surplusReason)
	case p.ping(ctx, l, pingTimeout) != nil:
		p.kill(l, "PingTimeout")
	default:
		p.mu.Lock()
		if l.useful {
			p.strikes = 0
		}
		p.mu.Unlock()
	}
	return over
}

// surplus tells whether there are more connections than are kept without a need.
func (p *Pool) surplus() bool {
	open := 0
	for _, l := range p.lanes {
		if l.state == laneOpen {
			open++
		}
	}
	return open > p.target
}

func (p *Pool) ping(ctx context.Context, l *Lane, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return l.conn.Ping(ctx)
}

// suspectNow is suspect for who does not hold the lock.
func (p *Pool) suspectNow(l *Lane) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.suspect(l)
}

// suspect takes a connection that owes an answer out of routing until it has
// answered a ping; if it does not, everything on it is sent another way. The
// other connections have to answer too, so that the retry does not meet a
// second one that died of the same cause.
func (p *Pool) suspect(l *Lane) {
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
	if l.guard != nil {
		l.guard.Stop()
	}
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
	p.replace(l, why)
	p.maintain()
	if p.dialErr != nil {
		p.stranded(p.dialErr)
	}
	p.mu.Unlock()
	if p.closedF != nil {
		p.closedF(why)
	}
}

// replace decides how soon a connection that has ended gets a successor. One
// that was worth its while gets it at once, and so do a few that were not. One
// that did nothing counts as a failed dial: a server that sends every connection
// away must not be met by a loop of new ones.
func (p *Pool) replace(l *Lane, why string) {
	switch {
	case l.successes >= provenBy, l.useful && why == "PingTimeout", why == surplusReason, why == OutOfUse:
		return
	case (l.useful || l.used) && p.strikes < redialFree:
		p.strikes++
		return
	case clock().Sub(l.born) < pingEvery:
		p.backOff(false)
		p.stranded(fmt.Errorf("the service ends new connections: %s", why))
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
