package wire

import (
	"io"
	"net"
	"testing"
	"time"
)

// echo answers whatever it is sent with the same.
func echo(t *testing.T) string {
	t.Helper()
	var listen net.ListenConfig
	l, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() { // until the listener is closed
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	return l.Addr().String()
}

func dial(t *testing.T, c *Cable) net.Conn {
	t.Helper()
	return dialFrom(t, c, "127.0.0.1")
}

func dialFrom(t *testing.T, c *Cable, ip string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	conn, err := d.DialContext(t.Context(), "tcp", c.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// carries reports whether a word comes back within a time.
func carries(conn net.Conn, within time.Duration) bool {
	_ = conn.SetDeadline(time.Now().Add(within))
	if _, err := conn.Write([]byte("word")); err != nil {
		return false
	}
	_, err := io.ReadFull(conn, make([]byte, 4))
	return err == nil
}

const patience = 30 * time.Second

func TestCable(t *testing.T) {
	c, err := Lay(t.Context(), echo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	conn := dial(t, c)
	if !carries(conn, patience) {
		t.Fatal("a new cable carries nothing")
	}
	c.Cut()
	if carries(conn, patience) {
		t.Error("a connection goes on after the cable was cut")
	}
	if !carries(dial(t, c), patience) {
		t.Error("a cable that was cut carries no new connection")
	}
	c.Pull()
	if carries(dial(t, c), patience) {
		t.Error("a cable that was pulled carries a new connection")
	}
	c.Plug()
	conn = dial(t, c)
	if !carries(conn, patience) {
		t.Error("a cable that was plugged in again carries nothing")
	}
	c.Freeze()
	if carries(conn, 200*time.Millisecond) {
		t.Error("a frozen cable carries something")
	}
	c.Plug()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
		t.Errorf("what was on its way when the cable froze did not arrive: %v", err)
	}
}

// TestBar: one caller is not let in, and all others are.
func TestBar(t *testing.T) {
	c, err := Lay(t.Context(), echo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	const barred = "127.0.1.9"
	his, other := dialFrom(t, c, barred), dial(t, c)
	if !carries(his, patience) || !carries(other, patience) {
		t.Fatal("a new cable carries nothing")
	}
	c.Bar(barred)
	if carries(his, patience) || carries(dialFrom(t, c, barred), patience) {
		t.Error("the caller is let in")
	}
	if !carries(other, patience) || !carries(dial(t, c), patience) {
		t.Error("another caller is not let in")
	}
	c.Plug()
	if !carries(dialFrom(t, c, barred), patience) {
		t.Error("the caller is not let in after the cable was plugged in again")
	}
}
