package gateway

import (
	"context"
	"net"
	"sync"

	"github.com/tocsin-oncall/tocsin/server/rpc"
)

// memory is a listener whose connections never leave the process.
type memory struct {
	conns chan net.Conn
	done  chan struct{}
	close sync.Once
}

func newMemory() *memory { return &memory{conns: make(chan net.Conn), done: make(chan struct{})} }

// dial connects to whoever accepts.
func (m *memory) dial(ctx context.Context) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case m.conns <- memoryConn{there}:
		return here, nil
	case <-m.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error {
	m.close.Do(func() { close(m.done) })
	return nil
}

func (m *memory) Addr() net.Addr { return memoryAddr{} }

// memoryConn says of itself that it is in memory: the server believes the
// gateway, and nobody else, whom it speaks for.
type memoryConn struct{ net.Conn }

func (memoryConn) RemoteAddr() net.Addr { return memoryAddr{} }
func (memoryConn) LocalAddr() net.Addr  { return memoryAddr{} }

type memoryAddr struct{}

func (memoryAddr) Network() string { return rpc.MemoryNetwork }
func (memoryAddr) String() string  { return rpc.MemoryNetwork }
