package h2

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"

	"golang.org/x/net/http2"

	"github.com/tocsin-oncall/tocsin/push"
)

// NoPlace is what it means for an attempt that [Pool.Acquire] answered err.
func NoPlace(err error) push.Outcome {
	if errors.Is(err, errBusy) {
		return push.Outcome{Class: push.RetryNow, Reason: "Busy", Local: true}
	}
	return push.Outcome{Class: push.RetryLater, Reason: "NoConnection"}
}

// Lost gives back the place of a request that err ended without an answer, sees
// to its connection, and says what that means for the attempt: mostly another
// one at once, over another connection, since the phone takes the place of what
// may have arrived already by what came again.
func (p *Pool) Lost(l *Lane, err error) push.Outcome {
	f := fateOf(err)
	trouble := p.Release(l, false, f.refused)
	o := push.Outcome{Class: push.RetryNow, Reason: f.reason, Via: l.id, Unknown: !f.unsent}
	switch {
	case f.timeout:
		p.suspectNow(l)
	case f.refused && trouble:
		o.Class = push.RetryLater
	case f.refused:
		o.Also = true // the server has lowered its limit, and so has the pool
	case f.reset:
		// The connection goes on, and the reset counts for itself.
	default:
		// Everything on the connection comes back at once; for the breaker
		// that is one failure, not a hundred.
		// A server that says goodbye is not in trouble at all.
		o.Also = !l.Casualty() || f.unsent
		p.Retire(l, f.reason)
	}
	return o
}

// fate is what a transport error means for the request it ended.
type fate struct {
	reason  string
	unsent  bool // the server has certainly not acted on it
	refused bool // the server has too many requests on this connection
	timeout bool
	reset   bool // only this request was ended, the connection goes on
}

// fateOf reads a transport error of a Lane.
func fateOf(err error) fate {
	if reset, ok := errors.AsType[http2.StreamError](err); ok {
		if reset.Code == http2.ErrCodeRefusedStream {
			return fate{reason: "RefusedStream", unsent: true, refused: true, reset: true}
		}
		return fate{reason: "StreamReset_" + reset.Code.String(), reset: true}
	}
	if away, ok := errors.AsType[http2.GoAwayError](err); ok { //nolint:staticcheck // see dial
		return fate{reason: goAwayReason(away)}
	}
	switch text := err.Error(); {
	case errors.Is(err, context.DeadlineExceeded):
		return fate{reason: "Timeout", timeout: true}
	case errors.Is(err, context.Canceled):
		return fate{reason: "Canceled", reset: true} // by who asked: that says nothing about the connection
	case strings.Contains(text, "graceful shutdown GOAWAY"): // http2 has no exported name for it
		return fate{reason: "GoAway", unsent: true}
	case strings.Contains(text, "force closed"):
		return fate{reason: "ConnectionDead"} // by us, because it answered no ping
	case strings.Contains(text, "client conn not usable"), strings.Contains(text, "client conn could not be established"):
		return fate{reason: "ConnectionClosed", unsent: true}
	}
	return fate{reason: "ConnectionLost"}
}

// unreached tells whether a dial never got as far as the service: no address, or
// nobody at it.
func unreached(err error) bool {
	if _, name := errors.AsType[*net.DNSError](err); name {
		return true
	}
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// goAwayReason is the server's word in the GOAWAY frame, if it sent one as
// Apple does: a JSON object with a reason.
func goAwayReason(e http2.GoAwayError) string { //nolint:staticcheck // see dial
	var said struct{ Reason string }
	if json.Unmarshal([]byte(e.DebugData), &said) == nil && said.Reason != "" {
		return said.Reason[:min(len(said.Reason), 100)]
	}
	return "GoAway_" + e.ErrCode.String()
}
