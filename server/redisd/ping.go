package redisd

import (
	"bufio"
	"context"
	"errors"
	"net"
	"strings"
	"time"
)

// Ping asks the server at a Unix socket whether it serves, over a connection
// of its own. While the server loads its data the error is its LOADING line.
//
// A client with a pool would not do: after a few refused connections it tries
// only once a second, and a start takes a tenth of that.
func Ping(ctx context.Context, socket string) error {
	d := net.Dialer{Timeout: time.Second}
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	line = strings.TrimRight(line, "\r\n")
	if line != "+PONG" {
		return errors.New(strings.TrimPrefix(line, "-"))
	}
	return nil
}
