package h2

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
)

const (
	dialTimeout    = 5 * time.Second
	pingEvery      = 10 * time.Second
	pingTimeout    = 5 * time.Second
	suspectTimeout = time.Second // in which it has to
	suspectEvery   = time.Second // shorter than slowAnswer: what dies right after it was looked at is noticed as soon as anything else

	warmLimit   = 100 // requests in flight after the first success
	laneLimit   = 500 // at most
	growthEvery = time.Second
)

// slowAnswer is how long a connection may owe answers, and give none, before it
// has to prove by a ping that it is alive.
const slowAnswer = 1500 * time.Millisecond

type laneState uint8

const (
	laneOpen laneState = iota
	laneSuspect
	laneDraining
	laneClosed
)

var laneStates = [...]string{"open", "suspect", "draining", "closed"} //nolint:gochecknoglobals // look-up table

// Lane is one connection. It is an http.RoundTripper whose requests count
// against the place that was acquired for them.
type Lane struct {
	id   string
	conn *http2.ClientConn //nolint:staticcheck // see dial
	born time.Time

	// What follows is guarded by the pool's lock.

	added     bool // to the pool
	state     laneState
	inFlight  int
	limit     int
	grownAt   time.Time
	server    int         // requests in flight that the server allows; 0 when it has not said
	useful    bool        // it has carried a success
	successes int         // up to provenBy
	troubles  int         // answers in a row by which the service said that it is in trouble
	used      bool        // since the watch last looked
	owedSince time.Time   // the last answer, or the first request after there were none
	guard     *time.Timer // looks whether an answer is owed for too long; nil when nobody looks
	checkedAt time.Time
	refusedAt time.Time
	why       string // it was closed, when we know

	casualty atomic.Bool // somebody has reported its death
	readAt   atomic.Int64
	carries  atomic.Pointer[credential]
}

// credential is what a connection carries, and since when.
type credential struct {
	text  string
	since time.Time
}

const readEvery = 250 * time.Millisecond

// look is what the server allows now and whether it wants the connection gone;
// ok is false when it was looked at a moment ago. It must not be called under
// the pool's lock: it waits for a write to finish, and a dead peer's never does.
func (l *Lane) look() (limit int, leaving, ok bool) {
	now, last := clock().UnixNano(), l.readAt.Load()
	if now-last < int64(readEvery) || !l.readAt.CompareAndSwap(last, now) {
		return 0, false, false
	}
	st := l.conn.State()
	return int(min(st.MaxConcurrentStreams, 1<<20)), st.Closing || st.Closed, true
}

// clock is for the pace of sockets only; what a person or a push service sees
// takes its time from elsewhere.
func clock() time.Time { return time.Now() } //nolint:forbidigo // see above

// ID names the connection; no other ever has the same.
func (l *Lane) ID() string { return l.id }

// Casualty tells whether the caller is the first to report that the
// connection failed it. Everything on a connection fails together; for a
// breaker that is one failure, not a hundred.
func (l *Lane) Casualty() (first bool) { return l.casualty.CompareAndSwap(false, true) }

// Carry tells whether the connection may carry a credential, and notes that it
// does from now on. It may not when it took up another one less than least
// ago.
func (l *Lane) Carry(text string, now time.Time, least time.Duration) bool {
	for {
		was := l.carries.Load()
		switch {
		case was != nil && was.text == text:
			return true
		case was != nil && now.Sub(was.since) < least:
			return false
		case l.carries.CompareAndSwap(was, &credential{text, now}):
			return true
		}
	}
}

// end closes the connection. What its close says is of no use any more.
func (l *Lane) end() { _ = l.conn.Close() }

// RoundTrip sends a request over this connection and no other.
func (l *Lane) RoundTrip(r *http.Request) (*http.Response, error) { return l.conn.RoundTrip(r) }

// dialer opens connections to one host.
type dialer struct {
	base   *url.URL
	trust  *tls.Config
	first  int // places on a fresh connection
	lookup func(ctx context.Context, host string) ([]string, error)
	turn   atomic.Uint64 // dials
	serial atomic.Uint64 // connections
}

// dial returns a connection that is warm: TLS is up and the server's SETTINGS
// have arrived, because its answer to our first ping comes after them.
func (d *dialer) dial(ctx context.Context, lost func(*Lane)) (*Lane, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	secure, address, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	l := &Lane{id: fmt.Sprintf("%s#%d", address, d.serial.Add(1)), limit: d.first, born: clock()}
	watched := &watchedConn{Conn: newWrites(secure), tls: secure, closed: func() { lost(l) }}
	// net/http's ClientConn is the successor of this call, but cannot ping:
	// without a ping a dead connection costs every page on it the whole timeout.
	// Strict means that what exceeds a limit which the server has just lowered
	// waits here; otherwise HTTP/2 calls the connection unusable, as it does
	// after GOAWAY, and the two could not be told apart.
	transport := &http2.Transport{DisableCompression: true, StrictMaxConcurrentStreams: true} //nolint:staticcheck // see above
	l.conn, err = transport.NewClientConn(watched)                                            //nolint:staticcheck // see above
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start HTTP/2 with %s: %w", d.base.Host, err), watched.Close())
	}
	if err := l.conn.Ping(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("first ping to %s: %w", d.base.Host, err), l.conn.Close())
	}
	return l, nil
}

// connect asks for the addresses at every dial and begins with the next one
// each time, so that the connections of a pool end on different machines. When
// an address cannot be reached it goes on to the one after it.
func (d *dialer) connect(ctx context.Context) (*tls.Conn, string, error) {
	host, port := hostPort(d.base)
	addresses := []string{host}
	if net.ParseIP(host) == nil {
		var err error
		if addresses, err = d.lookup(ctx, host); err != nil {
			return nil, "", fmt.Errorf("look up %s: %w", host, err)
		}
	}
	var errs []error
	addresses = spread(addresses, d.turn.Add(1))
	for i, ip := range addresses {
		address := net.JoinHostPort(ip, port)
		secure, err := d.handshake(ctx, address, i == len(addresses)-1)
		if err == nil {
			return secure, address, nil
		}
		errs = append(errs, err)
	}
	return nil, "", fmt.Errorf("connect to %s: %w", d.base.Host, errors.Join(errs...))
}

// spread puts addresses into the order in which they are tried: from another one
// on at each turn, and those of IPv4 and IPv6 by turns. Where the way of one of
// the two leads nowhere, which costs half of the time there is for each address,
// the second try already goes the other way.
func spread(addresses []string, turn uint64) []string {
	var kinds [2][]string // of the first one's kind, and of the other
	for i := range addresses {
		a := addresses[(turn+uint64(i))%uint64(len(addresses))]
		other := 0
		if len(kinds[0]) > 0 && strings.Contains(a, ":") != strings.Contains(kinds[0][0], ":") {
			other = 1
		}
		kinds[other] = append(kinds[other], a)
	}
	order := make([]string, 0, len(addresses))
	for i := range addresses {
		for _, k := range kinds {
			if i < len(k) {
				order = append(order, k[i])
			}
		}
	}
	return order
}

// handshake connects to one address. An address that is not the last may take
// half of the time there is.
func (d *dialer) handshake(ctx context.Context, address string, last bool) (*tls.Conn, error) {
	if end, ok := ctx.Deadline(); ok && !last {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, end.Sub(clock())/2)
		defer cancel()
	}
	trust := d.trust.Clone()
	trust.NextProtos = []string{http2.NextProtoTLS}
	raw, err := (&tls.Dialer{NetDialer: &net.Dialer{KeepAlive: 15 * time.Second}, Config: trust}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	secure, ok := raw.(*tls.Conn)
	if !ok || secure.ConnectionState().NegotiatedProtocol != http2.NextProtoTLS {
		return nil, errors.Join(errors.New("it does not speak HTTP/2"), raw.Close())
	}
	return secure, nil
}

// watchedConn tells when HTTP/2 has given its connection up.
type watchedConn struct {
	net.Conn
	tls    *tls.Conn // at the bottom of it
	told   atomic.Bool
	closed func()
}

func (c *watchedConn) Close() error {
	if c.told.CompareAndSwap(false, true) {
		c.closed()
	}
	return c.Conn.Close()
}

// ConnectionState lets HTTP/2 see the TLS state through the wrapper.
func (c *watchedConn) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

func hostPort(u *url.URL) (host, port string) {
	if port = u.Port(); port == "" {
		port = "443"
	}
	return u.Hostname(), port
}
