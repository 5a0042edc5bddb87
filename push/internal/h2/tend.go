package h2

import (
	"context"
	"fmt"
	"slices"
	"time"
)

const (
	redialFirst = time.Second
	redialMost  = time.Minute
	redialDown  = 5 * time.Second // while the service cannot be reached at all: the network may be back at any moment
	redialFree  = 3               // connections in a row that may end early and be replaced at once
	provenBy    = 10              // successes, after which a connection was worth its while

	troubledBy = 2 // troubles in a row, after which another connection is looked for
)

// Why connections are retired without the service's doing; these cost nothing
// when they are replaced.
const (
	OutOfUse      = "OutOfUse" // it cannot carry what is to be sent from now on
	surplusReason = "Surplus"
)

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
		p.begin(p.open)
	}
}

// open dials one connection and watches it until it ends.
func (p *Pool) open(ctx context.Context) {
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
			p.begin(func(ctx context.Context) { p.check(ctx, other) })
		}
	}
	l.state = laneSuspect
	p.maintain()
}

// check pings a connection and ends it if it does not answer.
func (p *Pool) check(ctx context.Context, l *Lane) {
	if p.ping(ctx, l, suspectTimeout) != nil {
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
