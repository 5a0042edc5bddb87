package fcm

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
)

const (
	dialTimeout  = 5 * time.Second
	pingAfter    = 10 * time.Second
	pingTimeout  = 5 * time.Second
	renewedEvery = 3 * time.Second

	maxToken = 4096
)

// Provider pushes to one Firebase project.
type Provider struct {
	app    string
	client Client
	tokens *tokens
	trust  *tls.Config
	log    *slog.Logger
	now    func() time.Time

	pool     atomic.Pointer[http.Client]
	renewed  atomic.Int64
	inFlight atomic.Int64
	skew     atomic.Int64
}

// New checks the configuration. An error names the app and says how to mend
// what is wrong. Nothing is asked of Google yet.
func New(c Config) (*Provider, error) {
	if c.Now == nil {
		c.Now = time.Now //nolint:forbidigo // the default of an injected clock
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("fcm app %q: %w", c.App, err)
	}
	a, err := parseAccount(c.ServiceAccount, c.ProjectID)
	if err != nil {
		return nil, fmt.Errorf("fcm app %q: %w", c.App, err)
	}
	messages, token, trust, err := c.endpoints(a)
	if err != nil {
		return nil, fmt.Errorf("fcm app %q: %w", c.App, err)
	}
	p := &Provider{app: c.App, trust: trust, log: c.Log, now: c.Now}
	p.pool.Store(newHTTP(trust, 0))
	p.tokens = newTokens(a, token, newHTTP(trust, fetchTimeout), c.Now)
	p.client = &httpClient{url: messages, http: p.pool.Load, bearer: p.tokens.get}
	return p, nil
}

// newHTTP is a client of its own: nothing shared with other apps, no
// redirects, no proxy surprises, a dead peer noticed by pings.
func newHTTP(trust *tls.Config, timeout time.Duration) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	protocols.SetHTTP1(true)
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSClientConfig: trust.Clone(), TLSHandshakeTimeout: dialTimeout, Protocols: protocols, MaxIdleConns: 100, MaxIdleConnsPerHost: 100,
			IdleConnTimeout: 10 * time.Minute, DisableCompression: true,
			HTTP2: &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Close ends the connections.
func (p *Provider) Close() error {
	p.tokens.close()
	p.pool.Load().CloseIdleConnections()
	return nil
}

// Stats implements push.Reporter.
func (p *Provider) Stats() push.Stats {
	return push.Stats{InFlight: int(p.inFlight.Load()), TokenAge: p.tokens.age(), ClockSkew: time.Duration(p.skew.Load())}
}

// Send implements push.Provider.
func (p *Provider) Send(ctx context.Context, a push.Attempt) push.Outcome {
	if !validToken(a.Device.Token) {
		return push.Outcome{Class: push.Park, Reason: "MalformedToken", Local: true, Alert: "a phone has a token that is none"}
	}
	began := p.now()
	m, size, shrunk := Build(a.Message, a.Device, a.Form, began)
	p.inFlight.Add(1)
	name, err := p.client.Send(ctx, m)
	p.inFlight.Add(-1)
	o := p.outcome(name, err, began)
	o.Bytes, o.Shrunk, o.Elapsed = size, shrunk, p.now().Sub(began)
	return o
}

func (p *Provider) outcome(name string, err error, began time.Time) push.Outcome {
	if err == nil {
		return push.Outcome{Class: push.Accepted, Status: http.StatusOK, ProviderID: name}
	}
	if answer, ok := errors.AsType[*AnswerError](err); ok {
		o := Classify(answer.Status, answer.Header, answer.Body, p.now())
		if o.Class == push.DropAddress && !o.Suspect {
			o.Deadness = began // registered again since: then it is not dead
		}
		p.compareClocks(answer.Header, &o)
		return p.spoilt(o)
	}
	if _, ok := errors.AsType[*tokenError](err); ok {
		if reason, no := refused(err); no {
			return push.Outcome{Class: push.AuthConfig, Reason: reason, Alert: alertAuth}
		}
		p.log.Debug("no oauth token", slog.String("app", p.app), slog.Any("error", err))
		return push.Outcome{Class: push.RetryLater, Reason: "OAuthUnreachable"}
	}
	o := push.Outcome{Class: push.RetryNow, Reason: "ConnectionLost", Unknown: true}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		o.Reason = "Timeout"
		p.renew()
	case unsent(err):
		o.Class, o.Reason, o.Unknown = push.RetryLater, "NoConnection", false
	}
	return o
}

// spoilt gives a 401 that names no cause one chance with a fresh token: an
// access token can be revoked before its time.
func (p *Provider) spoilt(o push.Outcome) push.Outcome {
	if o.Status != http.StatusUnauthorized || o.Reason == "THIRD_PARTY_AUTH_ERROR" {
		return o
	}
	token, err := p.tokens.get(alreadyOver())
	if err == nil && p.tokens.spoil(token) {
		return push.Outcome{Class: push.RetryNow, Status: o.Status, Reason: o.Reason}
	}
	return o
}

// alreadyOver is a context that lets nobody wait.
func alreadyOver() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// unsent tells whether the request certainly never left.
func unsent(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// renew puts fresh connections in the place of those on which an attempt ran
// out of time, so that the retry does not meet the same dead peer. What is in
// flight on the old ones goes on.
func (p *Provider) renew() {
	now, last := p.now().UnixNano(), p.renewed.Load()
	if now-last < int64(renewedEvery) || !p.renewed.CompareAndSwap(last, now) {
		return
	}
	old := p.pool.Swap(newHTTP(p.trust, 0))
	old.CloseIdleConnections()
}

func (p *Provider) compareClocks(h http.Header, o *push.Outcome) {
	d, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return
	}
	skew := d.Sub(p.now())
	p.skew.Store(int64(skew))
	if skew.Abs() > time.Minute && o.Alert == "" {
		o.Alert = "this machine's clock and Google's differ by more than a minute"
	}
}

// validToken is what a registration token can look like; Google documents no
// form, so this only keeps out what was never one.
func validToken(t push.Token) bool {
	if len(t) < 16 || len(t) > maxToken {
		return false
	}
	return strings.Trim(string(t), "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_:.=%") == ""
}

func clean(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
