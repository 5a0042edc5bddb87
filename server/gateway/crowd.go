package gateway

import (
	"net"
	"sync"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tocsin-oncall/tocsin/server/admission"
)

// Limits bound what comes in at once. Zero fields have the defaults. One address
// may have half of what is free, since all of an organisation may come through
// one proxy, and there is always something left for the others.
type Limits struct {
	// Connections that are open: 10,000, or half of the files that the process
	// may have open.
	Connections int
	// Calls under way, streams with them: 20,000.
	Calls int
}

// leastOfAddress is what an address may have whatever the others do.
const leastOfAddress = 16

func (l Limits) withDefaults() Limits {
	if l.Connections <= 0 {
		l.Connections = 10_000
		var files syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil && files.Cur/2 < uint64(l.Connections) {
			l.Connections = int(files.Cur / 2) //nolint:gosec // it is the smaller one
		}
	}
	if l.Calls <= 0 {
		l.Calls = 20_000
	}
	return l
}

// crowd is who is here, by address.
type crowd struct {
	refused prometheus.Counter

	mu     sync.Mutex
	shares admission.Shares
}

func newCrowd(what string, most int, r prometheus.Registerer) *crowd {
	c := &crowd{shares: admission.Shares{Room: most - most/4, Least: leastOfAddress, Reserve: most / 4}}
	c.refused = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "tocsin", Name: what + "_refused_total", Help: "Refused for want of room: the address had its share.",
	})
	open := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "tocsin", Name: what + "_open", Help: "Open at the moment."}, func() float64 {
		c.mu.Lock()
		defer c.mu.Unlock()
		return float64(c.shares.Used())
	})
	if r != nil {
		r.MustRegister(c.refused, open)
	}
	return c
}

// enter counts one more of the address, and returns what takes it off again.
func (c *crowd) enter(address string) (leave func(), ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shares.Take("", address, 1) != admission.Admitted {
		c.refused.Inc()
		return nil, false
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.shares.Give("", address, 1)
	}, true
}

// Listener returns l with a bound on connections. One that is too much is closed
// at once.
func (g *Gateway) Listener(l net.Listener) net.Listener { return doorman{l, g.connections} }

type doorman struct {
	net.Listener

	crowd *crowd
}

func (d doorman) Accept() (net.Conn, error) {
	for {
		c, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		leave, ok := d.crowd.enter(hostOf(c.RemoteAddr().String()))
		if ok {
			return counted{c, sync.OnceFunc(leave)}, nil
		}
		_ = c.Close() // he hears it
	}
}

// counted is a connection that counts until it is closed.
type counted struct {
	net.Conn

	leave func()
}

func (c counted) Close() error {
	c.leave()
	return c.Conn.Close()
}

// hostOf returns an address without its port.
func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}
