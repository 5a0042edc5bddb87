package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/tocsin-oncall/tocsin/server/config"
)

// adminSocket is where serve takes calls from whoever may open the data
// directory, in the data directory.
const adminSocket = "admin.sock"

// connection is the flags of every command that talks to a server.
type connection struct {
	Server  string        `group:"server" placeholder:"ADDRESS" help:"https://host or host:port. Default: $$TOCSIN_SERVER, or the one on this machine, through its data directory."`
	Token   string        `group:"server" placeholder:"TOKEN" help:"API token. Better set $$TOCSIN_TOKEN: everybody on this machine can see a command line."`
	CA      string        `group:"server" name:"ca" placeholder:"FILE" type:"existingfile" help:"PEM file of the authority that signed the server's certificate."`
	Timeout time.Duration `group:"server" default:"15s" help:"Longest wait for an answer."`
}

// dial connects the command to its server. The connection is lazy: what is
// wrong with the address shows at the first call.
func (c connection) dial(ctx context.Context, s *session, g *grammar) (*grpc.ClientConn, error) {
	token := c.Token
	if token == "" {
		token = s.getenv(config.EnvToken)
	}
	server := c.Server
	if server == "" {
		server = s.getenv(config.EnvServer)
	}
	if server == "" {
		if token != "" {
			return nil, usageError{errors.New("a token is given but no server: add --server or set TOCSIN_SERVER")}
		}
		return c.dialLocal(ctx, s, g)
	}
	address, secure, err := parseServer(server)
	if err != nil {
		return nil, usageError{fmt.Errorf("--server %s: %w", server, err)}
	}
	if token == "" {
		return nil, usageError{fmt.Errorf("a token is needed for %s: set TOCSIN_TOKEN, or make one on the server's machine with tocsin token create", server)}
	}
	creds := insecure.NewCredentials()
	if secure {
		roots, err := c.roots()
		if err != nil {
			return nil, err
		}
		creds = credentials.NewTLS(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})
	}
	return c.connect(s, "passthrough:///"+address, creds, bearer{token: token, secure: secure})
}

// dialLocal connects to the server on this machine, as administrator: the
// right to open the socket is the credential.
func (c connection) dialLocal(ctx context.Context, s *session, g *grammar) (*grpc.ClientConn, error) {
	cfg, _, err := g.load(s)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(cfg.DataDir, adminSocket)
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if _, err := os.Stat(path); err != nil {
		if errors.Is(err, os.ErrPermission) {
			return nil, fmt.Errorf("%s may only be opened by the user that runs tocsin serve: become that user, or give --server and --token", path)
		}
		return nil, fmt.Errorf("no server runs here (there is no %s): start one with tocsin serve, name its directory with --data-dir, or give --server and --token", path)
	}
	probe, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("the server that ran here is gone (nobody listens on %s): start it with tocsin serve, or give --server and --token", path)
	}
	if err == nil {
		_ = probe.Close()
	}
	return c.connect(s, "unix://"+path, insecure.NewCredentials(), nil)
}

func (c connection) connect(s *session, target string, creds credentials.TransportCredentials, token credentials.PerRPCCredentials) (*grpc.ClientConn, error) {
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(creds), grpc.WithUserAgent("tocsin-cli/" + s.build.Version),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
	}
	if token != nil {
		options = append(options, grpc.WithPerRPCCredentials(token))
	}
	conn, err := grpc.NewClient(target, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", target, err)
	}
	return conn, nil
}

// call runs f with a connection and a bounded context.
func (c connection) call(ctx context.Context, s *session, g *grammar, f func(ctx context.Context, conn *grpc.ClientConn) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	return c.stream(ctx, s, g, f)
}

// stream runs f with a connection for as long as it takes.
func (c connection) stream(ctx context.Context, s *session, g *grammar, f func(ctx context.Context, conn *grpc.ClientConn) error) error {
	conn, err := c.dial(ctx, s, g)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return f(ctx, conn)
}

func (c connection) roots() (*x509.CertPool, error) {
	if c.CA == "" {
		return nil, nil //nolint:nilnil // nil is the system's roots
	}
	text, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, fmt.Errorf("read --ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--ca %s: there is no certificate in PEM form in it", c.CA)
	}
	return pool, nil
}

// parseServer reads https://host[:port], http://host[:port] or host:port. A
// bare address is plain text on this machine and TLS elsewhere: a token never
// travels in the clear unless somebody wrote http.
func parseServer(server string) (address string, secure bool, err error) {
	u, err := url.Parse(server)
	if err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
		port := u.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
		}
		return net.JoinHostPort(u.Hostname(), port), u.Scheme == "https", nil
	}
	host, port, err := net.SplitHostPort(server)
	if err != nil || port == "" {
		return "", false, errors.New("write https://host, http://host:port or host:port")
	}
	addr, err := netip.ParseAddr(host)
	local := host == "localhost" || host == "" || err == nil && addr.IsLoopback()
	return server, !local, nil
}

// bearer sends an API token with each call.
type bearer struct {
	token  string
	secure bool
}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + b.token}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (b bearer) RequireTransportSecurity() bool { return b.secure }
