package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// The faults of a commit whose ground has moved. Their kind is Conflict: read
// again and decide again.
var (
	ErrRevisionMoved   = fault.New(fault.Conflict, "REVISION_MOVED", "the document has changed since it was read")
	ErrKeyMoved        = fault.New(fault.Conflict, "KEY_MOVED", "the dedup key leads elsewhere than when it was read")
	ErrInboxGone       = fault.New(fault.Conflict, "INBOX_GONE", "another commit has taken the inbox entry")
	ErrRequestAnswered = fault.New(fault.Conflict, "REQUEST_ANSWERED", "the request id has been answered before")
	ErrAlertMoved      = fault.New(fault.Conflict, "ALERT_MOVED", "an alert has been counted up since it was read")
	ErrTimelineGone    = fault.New(fault.Conflict, "TIMELINE_GONE", "the timeline to rewrite is not there")
)

// retryAfter is what callers are told to wait when Redis is out or full.
const retryAfter = 2 * time.Second

// unavailable are the answers of a Redis that cannot serve just now.
//
//nolint:gochecknoglobals // look-up table
var unavailable = []string{
	"LOADING", "READONLY", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN", "NOREPLICAS", "MISCONF", "BUSY", "MOVED", "ASK",
	"OOM", "UNKILLABLE", "NOAUTH", "WRONGPASS", "NOPERM", "ERR max number of clients",
}

// failed turns what go-redis returned into a fault and says what was being done.
func failed(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	what := fmt.Sprintf(format, args...)
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return fmt.Errorf("%s: %w", what, err)
	}
	if out(err) {
		return fmt.Errorf("%s: %w", what,
			fault.New(fault.Unavailable, "STORE_UNAVAILABLE", "the store does not answer").Because(err).After(retryAfter))
	}
	return fmt.Errorf("%s: %w", what, err)
}

// out reports whether Redis, rather than the command, was at fault.
func out(err error) bool {
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	for _, e := range []error{
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, context.DeadlineExceeded, context.Canceled,
		redis.ErrClosed, redis.ErrPoolTimeout, redis.ErrPoolExhausted,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	for _, p := range unavailable {
		if strings.HasPrefix(err.Error(), p) {
			return true
		}
	}
	if strings.Contains(err.Error(), "all sentinels") { // go-redis has no type for it
		return true
	}
	return false
}
