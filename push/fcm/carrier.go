package fcm

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/internal/h2"
)

// carrier is the http.RoundTripper beneath whatever Client is in use. Each
// request takes a place on a connection of the pool. net/http's own pool
// would open a connection for each of a thousand pages that meet a cold start,
// and keep a dead one until its pings have failed.
type carrier struct{ pool *h2.Pool }

// wayError is what happened on the way, for the provider to judge.
type wayError struct {
	fate h2.Fate
	via  string
	also bool  // the connection's death has been reported before
	none bool  // there was no connection
	err  error // underneath
}

func (e *wayError) Error() string { return e.err.Error() }
func (e *wayError) Unwrap() error { return e.err }

// route is what an attempt tells its carrier.
type route struct {
	urgent bool
	avoid  string
	used   string // told back: the connection
	bearer string // told back: the OAuth token
}

type routeKey struct{}

func withRoute(ctx context.Context, r *route) context.Context {
	return context.WithValue(ctx, routeKey{}, r)
}

func (c *carrier) RoundTrip(r *http.Request) (*http.Response, error) {
	way, _ := r.Context().Value(routeKey{}).(*route)
	if way == nil {
		way = &route{}
	}
	l, err := c.pool.Acquire(r.Context(), way.urgent, way.avoid)
	if err != nil {
		return nil, &wayError{none: true, err: err}
	}
	way.used = l.ID()
	slow := time.AfterFunc(h2.SlowAnswer, func() { c.pool.Suspect(l) }) //nolint:contextcheck // the ping belongs to the connection, not to the request
	res, err := l.RoundTrip(r)
	slow.Stop()
	if err == nil {
		c.pool.Release(l, res.StatusCode == http.StatusOK, false)
		return res, nil
	}
	f := h2.FateOf(err)
	trouble := c.pool.Release(l, false, f.Refused)
	e := &wayError{fate: f, via: l.ID(), err: err}
	switch {
	case f.Timeout:
		c.pool.Suspect(l) //nolint:contextcheck // the ping belongs to the connection, not to the request
	case f.Refused:
		e.also = !trouble // else the server has lowered its limit, and so has the pool
	case f.Reset:
		// The connection goes on, and the reset counts for itself.
	default:
		e.also = !l.Casualty() || f.Unsent // a server that says goodbye is not in trouble
		c.pool.Retire(l, f.Reason)
	}
	return nil, e
}

// outcome is what a transport error means for the attempt.
func (e *wayError) outcome() push.Outcome {
	switch {
	case errors.Is(e.err, h2.ErrBusy):
		return push.Outcome{Class: push.RetryNow, Reason: "Busy", Local: true}
	case e.none:
		return push.Outcome{Class: push.RetryLater, Reason: "NoConnection"}
	case e.fate.Refused && !e.also:
		return push.Outcome{Class: push.RetryLater, Reason: e.fate.Reason, Via: e.via}
	}
	return push.Outcome{Class: push.RetryNow, Reason: e.fate.Reason, Via: e.via, Unknown: !e.fate.Unsent, Also: e.also}
}
