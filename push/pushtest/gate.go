package pushtest

import (
	"net"
	"sync"
)

// gate is a network connection that can go silent without ending.
type gate struct {
	net.Conn
	mu     sync.Mutex
	cond   *sync.Cond
	frozen bool
	deaf   bool // nothing is read
	closed bool
}

func newGate(c net.Conn) *gate {
	g := &gate{Conn: c}
	g.cond = sync.NewCond(&g.mu)
	return g
}

func (g *gate) freeze(on bool) {
	g.mu.Lock()
	g.frozen = on
	g.mu.Unlock()
	g.cond.Broadcast()
}

func (g *gate) deafen(on bool) {
	g.mu.Lock()
	g.deaf = on
	g.mu.Unlock()
	g.cond.Broadcast()
}

func (g *gate) Read(b []byte) (int, error) {
	n, err := g.Conn.Read(b)
	g.hold(true)
	return n, err
}

func (g *gate) Write(b []byte) (int, error) {
	g.hold(false)
	return g.Conn.Write(b)
}

// hold waits while the connection is silent.
func (g *gate) hold(reading bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for (g.frozen || (reading && g.deaf)) && !g.closed {
		g.cond.Wait()
	}
}

func (g *gate) Close() error {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.cond.Broadcast()
	return g.Conn.Close()
}
