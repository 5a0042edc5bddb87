package redistest

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"

	"github.com/tocsin-oncall/tocsin/server/redisd"
)

// Ports of servers are taken below those that the kernel gives to outgoing
// connections: a port that was free a moment ago is not taken by one of those.
const (
	lowestPort = 20_000
	ports      = 10_000
)

// freePort returns a TCP port on loopback that nobody listens on just now.
func freePort(ctx context.Context) (string, error) {
	for range 100 {
		port := strconv.Itoa(lowestPort + rand.IntN(ports)) //nolint:gosec // no secret
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(loopback, port))
		if err == nil {
			return port, l.Close()
		}
	}
	return "", errors.New("no free port on loopback")
}

const loopback = "127.0.0.1"

// address is where the node listens on TCP.
func address(port string) string { return net.JoinHostPort(loopback, port) }

// onTCP has a server listen on a port as well.
func onTCP(port string) Option {
	return func(c *redisd.Config) {
		c.Extra = append(c.Extra, "port "+port, "bind "+loopback, "repl-diskless-sync-delay 0", "repl-ping-replica-period 1")
	}
}

// launchAt starts a server that listens on a free port of loopback, too. Others
// take ports at the same time, so it tries a few.
func launchAt(ctx context.Context, opts ...Option) (*Server, error) {
	var failed error
	for range 5 {
		port, err := freePort(ctx)
		if err != nil {
			return nil, err
		}
		s, err := launch(append([]Option{onTCP(port)}, opts...)...) //nolint:contextcheck // the server outlives the call
		if err == nil {
			s.port = port
			return s, nil
		}
		failed = err
	}
	return nil, failed
}
