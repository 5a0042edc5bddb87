// Package wire is a cable between two processes that can be cut: a TCP proxy
// on loopback.
package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// Cable carries connections to one address. It is safe for concurrent use.
type Cable struct {
	listener net.Listener
	to       string
	ctx      context.Context //nolint:containedctx // of the cable's own goroutines: it ends in Close
	cancel   context.CancelFunc
	running  sync.WaitGroup

	mu    sync.Mutex
	down  bool
	bars  map[string]bool // callers, by IP address
	still chan struct{}   // closed unless the cable is frozen
	open  map[net.Conn]bool
}

// Lay opens a cable to an address.
func Lay(ctx context.Context, to string) (*Cable, error) {
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("lay a cable to %s: %w", to, err)
	}
	c := &Cable{listener: l, to: to, open: map[net.Conn]bool{}, bars: map[string]bool{}, still: make(chan struct{})}
	close(c.still)
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	c.running.Go(c.accept)
	return c, nil
}

// Address is where the near end is.
func (c *Cable) Address() string { return c.listener.Addr().String() }

// Cut ends all connections. New ones are carried.
func (c *Cable) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut()
}

func (c *Cable) cut() {
	for conn := range c.open {
		_ = conn.Close()
	}
}

// Pull ends all connections and refuses new ones, until Plug.
func (c *Cable) Pull() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = true
	c.cut()
}

// Freeze lets nothing through any more, in either direction, and ends nothing:
// what a switch does that has lost its way. Until Plug.
func (c *Cable) Freeze() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.still:
		c.still = make(chan struct{})
	default: // it is frozen
	}
}

// Bar ends the connections of one caller, by its IP address, and refuses its new
// ones, until Plug.
func (c *Cable) Bar(ip string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bars[ip] = true
	for conn := range c.open {
		if c.barred(conn) {
			_ = conn.Close()
		}
	}
}

// barred reports whether a connection comes from somebody who is not let in.
func (c *Cable) barred(conn net.Conn) bool {
	from, ok := conn.RemoteAddr().(*net.TCPAddr)
	return ok && c.bars[from.IP.String()]
}

// Plug ends Pull, Freeze and Bar.
func (c *Cable) Plug() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = false
	clear(c.bars)
	select {
	case <-c.still:
	default:
		close(c.still)
	}
}

// Close takes the cable away and returns when nothing of it runs any more.
func (c *Cable) Close() {
	c.cancel()
	_ = c.listener.Close()
	c.Cut()
	c.running.Wait()
}

func (c *Cable) accept() {
	for {
		near, err := c.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			c.running.Go(func() { c.carry(near) })
		}
	}
}

// carry connects the far end and copies both ways until one side ends.
func (c *Cable) carry(near net.Conn) {
	defer near.Close()
	if !c.hold(near) {
		return
	}
	defer c.release(near)
	var d net.Dialer
	far, err := d.DialContext(c.ctx, "tcp", c.to)
	if err != nil {
		return // the near end sees its connection end, as with nobody there
	}
	defer far.Close()
	if !c.hold(far) {
		return
	}
	defer c.release(far)
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		both.Go(func() {
			c.copy(way[1], way[0])
			_ = way[0].Close()
			_ = way[1].Close()
		})
	}
	both.Wait()
}

// hold takes in a connection, unless the cable is pulled or the caller barred.
func (c *Cable) hold(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down || c.barred(conn) || c.ctx.Err() != nil {
		return false
	}
	c.open[conn] = true
	return true
}

func (c *Cable) release(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, conn)
}

func (c *Cable) copy(to io.Writer, from io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			c.mu.Lock()
			still := c.still
			c.mu.Unlock()
			select {
			case <-still:
			case <-c.ctx.Done():
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
