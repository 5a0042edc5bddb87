package webpush

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/egress"
	"github.com/tocsin-oncall/tocsin/push/internal/skew"
)

const (
	dialTimeout = 5 * time.Second
	idleTimeout = 90 * time.Second
	pingEvery   = 10 * time.Second
	pingTimeout = 5 * time.Second
	mostConns   = 8  // to one host at a time, while a burst waits for the first
	mostDead    = 64 // connections whose death is remembered
	mostPast    = 8  // transports that are looked after when they have been replaced
)

// service is one push service, with connections that nobody else uses. They
// are net/http's: not every push service is known to speak HTTP/2, and it falls
// back to HTTP/1.1 where one does not.
type service struct {
	name      string
	transport atomic.Pointer[http.Transport]
	fresh     func() *http.Transport
	inFlight  atomic.Int64
	open      atomic.Int64
	skew      skew.Gauge
	closed    func(reason string)

	mu   sync.Mutex
	dead map[string]struct{} // connections that took a request along
	past []*http.Transport   // replaced; what is on them may still end

	proven  atomic.Bool             // it has accepted something
	doubted atomic.Bool             // refused holds something
	refused map[push.Token]struct{} // endpoints whose VAPID token was refused since the last success
}

// refusedAlone is for how many endpoints a service may refuse our token before
// the token is to blame, when it took it before.
const refusedAlone = 2

// accepts notes that the service took a message, and so our token.
func (s *service) accepts() {
	s.proven.Store(true)
	if s.doubted.Load() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.doubted.Store(false)
		clear(s.refused)
	}
}

// refusesOnly notes that our token was refused for an endpoint, and tells whether
// that endpoint is to blame and not the token: all subscriptions at a service see
// the same one, and whoever registers an endpoint chooses its path, so that one
// of them must not stop the browsers of everybody else.
func (s *service) refusesOnly(endpoint push.Token) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.refused) <= refusedAlone {
		s.refused[endpoint] = struct{}{}
		s.doubted.Store(true)
	}
	return s.proven.Load() && len(s.refused) <= refusedAlone
}

// newService makes a service. All its connections go to the simulator if
// there is one, and never inside the house otherwise.
func newService(name string, simulator *url.URL, trust *tls.Config, closed func(reason string)) *service {
	s := &service{name: name, closed: closed, dead: make(map[string]struct{}), refused: make(map[push.Token]struct{})}
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second, Control: egress.Control()}
	if simulator != nil {
		dialer.Control = onlyLoopback
	}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		if simulator != nil {
			address = simulator.Host
		}
		c, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		s.open.Add(1)
		return &counted{Conn: c, service: s}, nil
	}
	s.fresh = func() *http.Transport {
		return &http.Transport{ // no proxy from the environment: it would connect past the check of addresses
			DialContext: dial, TLSClientConfig: trust.Clone(), TLSHandshakeTimeout: dialTimeout, ForceAttemptHTTP2: true,
			MaxConnsPerHost: mostConns, MaxIdleConnsPerHost: mostConns, MaxIdleConns: 4 * mostConns, IdleConnTimeout: idleTimeout,
			MaxResponseHeaderBytes: 16 << 10, DisableCompression: true,
			HTTP2: &http.HTTP2Config{SendPingTimeout: pingEvery, PingTimeout: pingTimeout},
		}
	}
	s.transport.Store(s.fresh())
	return s
}

// onlyLoopback is for a simulator, which is on this machine.
func onlyLoopback(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !at.Addr().Unmap().IsLoopback() {
		return &egress.RefusedError{Address: address}
	}
	return nil
}

// counted tells when its connection ends.
type counted struct {
	net.Conn
	service *service
	once    sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() {
		c.service.open.Add(-1)
		c.service.closed("Closed")
	})
	return c.Conn.Close()
}

// roundTrip makes one request, without following redirects, and tells over
// which connection.
func (s *service) roundTrip(r *http.Request) (res *http.Response, via string, err error) {
	s.inFlight.Add(1)
	defer s.inFlight.Add(-1)
	var at atomic.Pointer[string]
	trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		a := i.Conn.LocalAddr().String()
		at.Store(&a)
	}}
	transport := s.transport.Load()
	res, err = transport.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
	if p := at.Load(); p != nil {
		via = *p
	}
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) && via != "" {
			s.renew(transport)
		}
		return nil, via, err
	}
	return res, via, nil
}

// renew lets new requests take new connections: the ones in use owe an answer,
// and a page must not wait for the ping that proves them dead. What is on them
// may still end well.
func (s *service) renew(old *http.Transport) {
	if !s.transport.CompareAndSwap(old, s.fresh()) {
		return // by another that waited for the same
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.past = append(s.past, old)
	for _, t := range s.past {
		t.CloseIdleConnections()
	}
	if len(s.past) > mostPast { // connections of the oldest end by their pings and idle timeouts
		s.past = s.past[1:]
	}
}

// casualty tells whether a request is not the first that its connection took
// along. Everything on a connection fails together; for a breaker that is one
// failure.
func (s *service) casualty(via string) (also bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, also = s.dead[via]; also {
		return true
	}
	if len(s.dead) >= mostDead {
		clear(s.dead)
	}
	s.dead[via] = struct{}{}
	return false
}

func (s *service) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range append(s.past, s.transport.Load()) {
		t.CloseIdleConnections()
	}
}

func (s *service) stats() push.Stats {
	return push.Stats{
		Connections: map[string]int{"open": int(s.open.Load())}, InFlight: int(s.inFlight.Load()),
		ClockSkew: s.skew.Skew(),
	}
}

// outcome is what a request without an answer means for the attempt; via is
// the connection that it was on, "" for none.
func (s *service) outcome(err error, via string) push.Outcome {
	if _, inside := errors.AsType[*egress.RefusedError](err); inside {
		return push.Outcome{Class: push.RetryLater, Reason: "AddressInside", Alert: alertInside}
	}
	switch {
	case via == "":
		return push.Outcome{Class: push.RetryLater, Reason: "NoConnection"}
	case errors.Is(err, context.DeadlineExceeded):
		return push.Outcome{Class: push.RetryNow, Reason: "Timeout", Via: via, Unknown: true}
	case errors.Is(err, context.Canceled):
		return push.Outcome{Class: push.RetryNow, Reason: "Canceled", Via: via, Unknown: true}
	}
	return push.Outcome{Class: push.RetryNow, Reason: "ConnectionLost", Via: via, Unknown: true, Also: s.casualty(via)}
}
