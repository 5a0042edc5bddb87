package fcm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/internal/h2"
)

// carrier is the http.RoundTripper beneath the Firebase SDK. It puts the OAuth
// token on the request, takes a place on a connection of the pool, keeps the
// answer for the provider, and shows the SDK nothing that it would try again.
//
// net/http's own pool would open a connection for each of a thousand pages
// that meet a cold start, and keep a dead one until its pings have failed.
type carrier struct {
	pool   *h2.Pool
	tokens *tokens
}

// exchange is one request and what came of it. The provider hands it down by
// the request's context and reads it when the SDK has returned: what the SDK
// says itself is the message's name, and nothing else is taken from it, since
// its error has neither headers nor field violations and is only recognised as
// long as nobody wraps it.
type exchange struct {
	urgent bool
	avoid  string // a connection

	made   bool   // the SDK let the message through
	used   string // the connection
	bearer string // the OAuth token
	status int    // 0 when err is set
	header http.Header
	body   []byte
	err    error // why there is no answer: a *wayError or a *tokenError
}

type exchangeKey struct{}

func withExchange(ctx context.Context, x *exchange) context.Context {
	return context.WithValue(ctx, exchangeKey{}, x)
}

const maxAnswer = 16 << 10

// errRepeated is a second request of one attempt. It does not reach FCM.
var errRepeated = errors.New("the attempt has made its request")

// RoundTrip never returns an error, which the SDK would try again.
func (c *carrier) RoundTrip(r *http.Request) (*http.Response, error) {
	x, _ := r.Context().Value(exchangeKey{}).(*exchange)
	if x == nil {
		x = &exchange{}
	}
	if x.made {
		return shown(r, &exchange{err: errRepeated}), nil
	}
	x.made = true
	x.err = c.carry(r, x)
	return shown(r, x), nil
}

// carry makes the request. It leaves either an answer in x or returns why
// there is none.
func (c *carrier) carry(r *http.Request, x *exchange) error {
	ctx := r.Context()
	var err error
	if x.bearer, err = c.tokens.get(ctx); err != nil {
		return &tokenError{err}
	}
	l, err := c.pool.Acquire(ctx, x.urgent, x.avoid)
	if err != nil {
		return &wayError{h2.NoPlace(err), err}
	}
	x.used = l.ID()
	res, err := l.RoundTrip(authorized(r, x.bearer))
	if err != nil {
		return &wayError{c.pool.Lost(l, err), err}
	}
	if res.StatusCode != http.StatusOK {
		c.pool.Answered()
	}
	c.pool.Release(l, res.StatusCode == http.StatusOK, false)
	defer res.Body.Close()
	x.status, x.header = res.StatusCode, res.Header
	if x.body, err = read(res); err != nil {
		x.body = nil // the status has arrived, and says enough
	}
	return nil
}

func read(res *http.Response) ([]byte, error) {
	if n := res.ContentLength; n > 0 && n <= maxAnswer {
		b := make([]byte, n)
		_, err := io.ReadFull(res.Body, b)
		return b, err
	}
	return io.ReadAll(io.LimitReader(res.Body, maxAnswer))
}

// authorized is the SDK's request with our token. A round tripper must leave
// the one that it was given as it is.
func authorized(r *http.Request, bearer string) *http.Request {
	own := *r
	own.Header = make(http.Header, len(r.Header)+2)
	maps.Copy(own.Header, r.Header)
	own.Header["Authorization"] = []string{"Bearer " + bearer}
	own.Header["User-Agent"] = userAgent
	return &own
}

var userAgent = []string{"tocsin"} //nolint:gochecknoglobals // never changed

// noAnswer marks what the SDK is shown in place of an answer that never came.
const noAnswer = "Tocsin-No-Answer"

// shown is the answer as the SDK may see it. It repeats a request after a
// transport error and after a 503, and follows redirects: those three become a
// 500, which it takes as final.
func shown(r *http.Request, x *exchange) *http.Response {
	res := &http.Response{
		StatusCode: x.status, Header: x.header, Body: http.NoBody, ContentLength: int64(len(x.body)),
		Proto: "HTTP/2.0", ProtoMajor: 2, Request: r,
	}
	if len(x.body) > 0 {
		res.Body = io.NopCloser(bytes.NewReader(x.body))
	}
	switch {
	case x.err != nil:
		res.StatusCode, res.Header = http.StatusInternalServerError, http.Header{noAnswer: {"1"}}
	case x.status == http.StatusServiceUnavailable, x.status >= 300 && x.status < 400:
		res.StatusCode = http.StatusInternalServerError
	}
	return res
}

// wayError is what happened on the way, and what that means for the attempt.
type wayError struct {
	outcome push.Outcome
	err     error // underneath
}

func (e *wayError) Error() string { return e.err.Error() }
func (e *wayError) Unwrap() error { return e.err }

// tokenError is that no OAuth token could be had.
type tokenError struct{ err error }

func (e *tokenError) Error() string { return "get an OAuth token: " + e.err.Error() }
func (e *tokenError) Unwrap() error { return e.err }
