package rpc

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net"
	"regexp"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// The metadata that calls carry.
const (
	// RequestIDHeader names a call in logs and errors; made here when the caller did not.
	RequestIDHeader = "x-request-id"
	// ClientIPHeader is where the gateway, whose own connection is in memory,
	// says whom it speaks for. It counts from there only.
	ClientIPHeader = "tocsin-client-ip"
	// MemoryNetwork is the network of the gateway's connections.
	MemoryNetwork = "memory"
	// ConsoleNetwork is the network of the admin socket: who may open it is admin.
	ConsoleNetwork = "unix"
	// CommandLine begins the user agent of our own command line.
	CommandLine = "tocsin-cli"
)

// call is what is known of one call.
type call struct {
	id        string // request id
	method    string // full method
	ip        string
	cli       bool
	console   bool
	principal auth.Principal
	started   time.Time
}

type callKey struct{}

func withCall(ctx context.Context, c *call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// callOf returns the call of a context; an anonymous one outside the chain.
func callOf(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return &call{}
}

// plainID is what we take over as a request id: it goes into logs and headers.
var plainID = regexp.MustCompile(`^[A-Za-z0-9._:/+=-]{1,128}$`)

func newCall(ctx context.Context, method string, now time.Time) *call {
	c := &call{method: method, started: now}
	md, _ := metadata.FromIncomingContext(ctx)
	if c.id = first(md, RequestIDHeader); !plainID.MatchString(c.id) {
		c.id = newID()
	}
	c.cli = strings.HasPrefix(first(md, "user-agent"), CommandLine)
	p, ok := peer.FromContext(ctx)
	if !ok || p.Addr == nil {
		return c
	}
	switch p.Addr.Network() {
	case MemoryNetwork:
		c.ip = first(md, ClientIPHeader)
		c.cli = strings.HasPrefix(first(md, "grpcgateway-user-agent"), CommandLine)
	case ConsoleNetwork:
		c.console, c.ip = true, "local"
	default:
		if c.ip = p.Addr.String(); c.ip != "" {
			if host, _, err := net.SplitHostPort(c.ip); err == nil {
				c.ip = host
			}
		}
	}
	return c
}

func first(md metadata.MD, name string) string {
	if v := md.Get(name); len(v) > 0 {
		return v[0]
	}
	return ""
}

// newID returns 128 random bits in hex.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// actor returns the caller as the timeline names it. via is empty for the usual door.
func (c *call) actor(via string) incident.Actor {
	if via == "" && c.cli && c.principal.Kind != auth.KindDevice {
		via = "cli"
	}
	return c.principal.Actor(via)
}

// by returns the caller as audit records name it. Who may call the method as
// manager of a team only may change only what belongs to such a team.
func (c *call) by() directory.By {
	by := directory.By{Principal: c.principal, Method: c.method, Request: c.id, IP: c.ip}
	if auth.ByTeam(c.method, c.principal) {
		by.Within = append([]roster.TeamID{}, c.principal.Manages...) // never nil: that would be no limit
	}
	return by
}

// user resolves a user's name; "users/me" is the caller.
func (c *call) user(field, name string) (roster.UserID, error) {
	id := strings.TrimPrefix(name, "users/")
	if id != "me" {
		return roster.UserID(id), nil
	}
	if c.principal.User == "" {
		return "", fault.InvalidField(field, "users/me is the person who calls, and %s is no person", c.principal.String())
	}
	return c.principal.User, nil
}

// covers refuses who may not put that person on call by a schedule: it has to
// be himself, an administrator, or a manager of the schedule's team.
func (c *call) covers(u roster.UserID, team roster.TeamID) error {
	if c.principal.ManagerOf(team) {
		return nil
	}
	return c.mine(u)
}

// mine refuses who is neither the person nor an administrator.
func (c *call) mine(u roster.UserID) error {
	if c.principal.IsAdmin() || c.principal.Is(u) {
		return nil
	}
	return fault.New(fault.Denied, "NOT_YOURS", "this needs the person concerned or an administrator", "user", "users/"+string(u))
}
