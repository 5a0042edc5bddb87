package fcm

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/jwt"
)

const (
	fetchTimeout = 5 * time.Second
	renewBefore  = 5 * time.Minute // of the expiry: long enough to outlast an outage of the token service
	fetchPause   = time.Second     // between two tries after a failed one
)

// tokens caches the OAuth token. One request fetches for everybody, and
// nobody waits behind another's lock: a token service that hangs must cost
// each attempt its own time at most.
type tokens struct {
	fetch func(ctx context.Context) (*oauth2.Token, error)
	now   func() time.Time
	wg    sync.WaitGroup
	stop  context.CancelFunc
	life  func() context.Context

	mu       sync.Mutex
	current  *oauth2.Token
	got      time.Time
	err      error
	failedAt time.Time
	pending  chan struct{} // closed when the fetch that is under way has ended
}

func newTokens(a account, tokenURL string, client *http.Client, now func() time.Time) *tokens {
	cfg := &jwt.Config{
		Email: a.ClientEmail, PrivateKey: []byte(a.PrivateKey), PrivateKeyID: a.PrivateKeyID,
		Scopes: []string{scopeFCM}, TokenURL: tokenURL, Expires: time.Hour,
	}
	ctx, stop := context.WithCancel(context.Background())
	return &tokens{
		fetch: func(ctx context.Context) (*oauth2.Token, error) {
			return cfg.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, client)).Token()
		},
		now: now, stop: stop, life: func() context.Context { return ctx },
	}
}

// get returns a token that is good now, or an error at the latest when ctx ends.
//
//nolint:contextcheck // a fetch serves everybody, so it must not end with the first who asked
func (t *tokens) get(ctx context.Context) (string, error) {
	t.mu.Lock()
	now := t.now()
	left := t.left(now)
	if left < renewBefore && t.pending == nil && now.Sub(t.failedAt) >= fetchPause {
		t.begin()
	}
	if left > 0 {
		defer t.mu.Unlock()
		return t.current.AccessToken, nil
	}
	pending := t.pending
	if pending == nil { // failed a moment ago
		defer t.mu.Unlock()
		return "", t.err
	}
	t.mu.Unlock()
	select {
	case <-pending:
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left(t.now()) > 0 {
		return t.current.AccessToken, nil
	}
	if t.err == nil {
		return "", errOver
	}
	return "", t.err
}

var (
	errOver  = errors.New("the OAuth token was over before it could be used")
	errEmpty = errors.New("the token service answered without a token")
)

func (t *tokens) left(now time.Time) time.Duration {
	switch {
	case t.current == nil:
		return 0
	case t.current.Expiry.IsZero():
		return time.Hour
	}
	return t.current.Expiry.Sub(now)
}

// begin fetches in the background. The caller holds the lock.
func (t *tokens) begin() {
	pending := make(chan struct{})
	t.pending = pending
	t.wg.Go(func() {
		// oauth2's request carries no deadline of its own; the HTTP client has one.
		token, err := t.fetch(t.life())
		if err == nil && token.AccessToken == "" {
			err = errEmpty
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.pending = nil
		close(pending)
		if err != nil {
			t.err, t.failedAt = err, t.now()
			return
		}
		t.current, t.got, t.err = token, t.now(), nil
	})
}

// spoil forgets the token that Google refused, if it is not a brand new one:
// then the account itself is the trouble.
func (t *tokens) spoil(token string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current == nil || t.current.AccessToken != token {
		return true // another attempt was told the same, and it has been replaced
	}
	if t.now().Sub(t.got).Abs() < time.Minute {
		return false
	}
	t.current = nil
	return true
}

func (t *tokens) age() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current == nil {
		return 0
	}
	return t.now().Sub(t.got)
}

func (t *tokens) close() {
	t.stop()
	t.wg.Wait()
}

// refused tells whether the token service said no, rather than nothing, or a
// proxy in its place: its word for it, and what an operator is told.
func refused(err error) (reason, alert string, no bool) {
	r, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok || r.Response == nil {
		return "", "", false
	}
	switch status := r.Response.StatusCode; {
	case status < 400, status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status == http.StatusProxyAuthRequired:
		return "", "", false
	}
	var body struct { // RFC 6749, 5.2
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if !readable(json.Unmarshal(r.Body, &body)) || body.Error == "" {
		body.Error = "refused"
	}
	alert = alertAuth
	if body.Error == "invalid_grant" {
		alert = alertKey
		// "Token must be a short-lived token (60 minutes) and in a reasonable
		// timeframe. Check your iat and exp values": a clock that is off.
		if strings.Contains(body.Description, "timeframe") {
			alert = alertClock
		}
	}
	return "OAuth_" + short(body.Error), alert, true
}
