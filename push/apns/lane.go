package apns

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
	slowAnswer     = 1500 * time.Millisecond // after which a connection has to prove itself
	suspectTimeout = time.Second             // in which it has to
	suspectEvery   = 3 * time.Second

	firstLimit  = 1   // requests in flight before Apple has accepted one
	warmLimit   = 100 // after that
	laneLimit   = 500 // at most
	growthEvery = time.Second
)

type laneState uint8

const (
	laneOpen laneState = iota
	laneSuspect
	laneDraining
	laneClosed
)

var laneStates = [...]string{"open", "suspect", "draining", "closed"} //nolint:gochecknoglobals // look-up table

// lane is one connection. The pool's lock guards state, inFlight and limit.
type lane struct {
	id     string
	conn   *http2.ClientConn
	client Client
	born   time.Time

	added     bool // to the pool
	state     laneState
	inFlight  int
	limit     int
	grownAt   time.Time
	server    int  // requests in flight that the server allows; 0 when it has not said
	useful    bool // it has carried a success
	checkedAt time.Time
	why       string // it was closed, when we know

	casualty atomic.Bool // somebody has reported its death
	readAt   atomic.Int64
}

const readEvery = 250 * time.Millisecond

// readLimit is what the server allows now, or 0 when it was read a moment ago.
// It must not be called under the pool's lock: it waits for a write to finish,
// and a dead peer's never does.
func (l *lane) readLimit() int {
	now, last := clock().UnixNano(), l.readAt.Load()
	if now-last < int64(readEvery) || !l.readAt.CompareAndSwap(last, now) {
		return 0
	}
	return int(min(l.conn.State().MaxConcurrentStreams, 1<<20))
}

// clock is for the pace of sockets only: what an operator or Apple sees takes
// its time from Config.Now.
func clock() time.Time { return time.Now() } //nolint:forbidigo // see above

// RoundTrip makes the lane the transport of whatever Client is in use.
func (l *lane) RoundTrip(r *http.Request) (*http.Response, error) { return l.conn.RoundTrip(r) }

// dialer opens connections to one address.
type dialer struct {
	base  *url.URL
	trust *tls.Config
	make  func(base *url.URL, via http.RoundTripper) Client
	turn  atomic.Uint64
}

// dial returns a connection that is warm: TLS is up and the server's SETTINGS
// have arrived, because its answer to our first ping comes after them.
func (d *dialer) dial(ctx context.Context, lost func(*lane)) (*lane, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	address, err := d.resolve(ctx)
	if err != nil {
		return nil, err
	}
	trust := d.trust.Clone()
	trust.NextProtos = []string{http2.NextProtoTLS}
	raw, err := (&tls.Dialer{NetDialer: &net.Dialer{KeepAlive: 15 * time.Second}, Config: trust}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", d.base.Host, err)
	}
	secure, ok := raw.(*tls.Conn)
	if !ok || secure.ConnectionState().NegotiatedProtocol != http2.NextProtoTLS {
		return nil, errors.Join(fmt.Errorf("connect to %s: it does not speak HTTP/2", d.base.Host), raw.Close())
	}
	l := &lane{id: fmt.Sprintf("%s#%d", address, d.turn.Add(1)), limit: firstLimit, born: clock()}
	l.client = d.make(d.base, l)
	watched := &watchedConn{Conn: secure, closed: func() { lost(l) }}
	// net/http's ClientConn is the successor of this call, but cannot ping:
	// without a ping a dead connection costs every page on it the whole timeout.
	l.conn, err = (&http2.Transport{DisableCompression: true}).NewClientConn(watched) //nolint:staticcheck // see above
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start HTTP/2 with %s: %w", d.base.Host, err), raw.Close())
	}
	if err := l.conn.Ping(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("first ping to %s: %w", d.base.Host, err), l.conn.Close())
	}
	return l, nil
}

// resolve asks for the addresses at every dial and takes the next one each
// time, so that the connections of a pool end on different machines.
func (d *dialer) resolve(ctx context.Context) (string, error) {
	host, port := hostPort(d.base)
	if ip := net.ParseIP(host); ip != nil {
		return net.JoinHostPort(host, port), nil
	}
	addresses, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return "", fmt.Errorf("look up %s: %w", host, err)
	}
	return net.JoinHostPort(addresses[d.turn.Load()%uint64(len(addresses))], port), nil
}

// watchedConn tells when HTTP/2 has given its connection up.
type watchedConn struct {
	net.Conn
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
func (c *watchedConn) ConnectionState() tls.ConnectionState {
	if s, ok := c.Conn.(*tls.Conn); ok {
		return s.ConnectionState()
	}
	return tls.ConnectionState{}
}

// fate says what a transport error means for the request it ended.
type fate struct {
	reason  string
	unsent  bool // the server has certainly not acted on it
	refused bool // the server has too many requests on this connection
	timeout bool
}

func fateOf(err error) fate {
	if reset, ok := errors.AsType[http2.StreamError](err); ok {
		if reset.Code == http2.ErrCodeRefusedStream {
			return fate{reason: "RefusedStream", unsent: true, refused: true}
		}
		return fate{reason: "StreamReset_" + reset.Code.String()}
	}
	if away, ok := errors.AsType[http2.GoAwayError](err); ok {
		return fate{reason: goAwayReason(away)}
	}
	switch text := err.Error(); {
	case errors.Is(err, context.DeadlineExceeded):
		return fate{reason: "Timeout", timeout: true}
	case errors.Is(err, context.Canceled):
		return fate{reason: "Canceled"}
	case strings.Contains(text, "graceful shutdown GOAWAY"): // http2 has no exported name for it
		return fate{reason: "GoAway", unsent: true}
	case strings.Contains(text, "client conn not usable"), strings.Contains(text, "client conn could not be established"):
		return fate{reason: "ConnectionClosed", unsent: true}
	}
	return fate{reason: "ConnectionLost"}
}

// goAwayReason is Apple's word in the GOAWAY frame, if it sent one.
func goAwayReason(e http2.GoAwayError) string {
	if r := ParseResponse(0, nil, []byte(e.DebugData)); r.Reason != "" {
		return r.Reason
	}
	return "GoAway_" + e.ErrCode.String()
}
