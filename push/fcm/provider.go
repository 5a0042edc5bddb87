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
	"time"

	"firebase.google.com/go/v4/messaging"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/internal/h2"
	"github.com/tocsin-oncall/tocsin/push/internal/skew"
)

const maxToken = 4096

// Provider pushes to one Firebase project.
type Provider struct {
	app    string
	client *messaging.Client
	tokens *tokens
	pool   *h2.Pool
	login  *http.Client // for OAuth tokens
	log    *slog.Logger
	now    func() time.Time
	skew   skew.Gauge
	keys   keys
}

// New checks the configuration and starts to connect. An error names the app
// and says how to mend what is wrong. Nothing is asked of Google yet.
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
	c.ProjectID = a.ProjectID
	base, token, trust, err := c.endpoints(a)
	if err != nil {
		return nil, fmt.Errorf("fcm app %q: %w", c.App, err)
	}
	named := trust.Clone()
	named.ServerName = base.Hostname()
	p := &Provider{app: c.App, log: c.Log, now: c.Now, login: newHTTP(trust)}
	p.tokens = newTokens(a, token, p.login, c.Now)
	p.pool = h2.New(h2.Options{
		Base: base, Trust: named,
		Closed: func(reason string) { c.Metrics.ConnectionClosed("fcm", c.App, push.Production, reason) },
	})
	if p.client, err = newClient(c.ProjectID, base.JoinPath("v1").String(), &carrier{pool: p.pool, tokens: p.tokens}); err != nil {
		return nil, errors.Join(fmt.Errorf("fcm app %q: %w", c.App, err), p.Close())
	}
	return p, nil
}

// newHTTP is a client of the provider's own for the token service: nothing
// shared with other apps, no redirects.
func newHTTP(trust *tls.Config) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	protocols.SetHTTP1(true)
	return &http.Client{
		Timeout: fetchTimeout,
		Transport: &http.Transport{
			DialContext: (&net.Dialer{Timeout: fetchTimeout}).DialContext, TLSHandshakeTimeout: fetchTimeout,
			TLSClientConfig: trust.Clone(), Protocols: protocols,
			DisableKeepAlives: true, // a token an hour needs no connection kept, and one that died would take every try of the next minutes along
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Close ends the connections.
func (p *Provider) Close() error {
	p.tokens.close()
	p.pool.Close()
	p.login.CloseIdleConnections()
	return nil
}

// Stats implements push.Reporter.
func (p *Provider) Stats() push.Stats {
	st := push.Stats{TokenAge: p.tokens.age(), ClockSkew: p.skew.Skew()}
	st.Connections, st.InFlight = p.pool.Stats()
	return st
}

// Send implements push.Provider.
func (p *Provider) Send(ctx context.Context, a push.Attempt) push.Outcome {
	if !validToken(a.Device.Token) {
		return push.Outcome{Class: push.Park, Reason: "MalformedToken", Local: true, Alert: "a phone has a token that is none"}
	}
	began := p.now()
	at := a.At // by the clock of the message's times
	if at.IsZero() {
		at = began
	}
	m, size, shrunk := Build(a.Message, a.Device, a.Form, at)
	if key := m.Android.CollapseKey; key != "" && !p.keys.take(a.Device.Token, key, at.Add(*m.Android.TTL), at) {
		m.Android.CollapseKey = ""
	}
	x := &exchange{urgent: a.Message.Kind.Loud(), avoid: a.Avoid}
	name, err := p.client.Send(withExchange(ctx, x), m)
	o := p.outcome(x, name, err, at)
	o.Via = x.used
	o.Bytes, o.Shrunk, o.Elapsed = size, shrunk, p.now().Sub(began)
	return o
}

// outcome is what the exchange means. Of what the SDK returned only the name
// counts: an accepted message is one whatever the answer's body looks like.
func (p *Provider) outcome(x *exchange, name string, err error, at time.Time) push.Outcome {
	switch {
	case !x.made:
		p.log.Warn("the Firebase SDK refuses a message", slog.String("app", p.app), slog.Any("error", err))
		return push.Outcome{Class: push.OurBug, Reason: "RefusedBySDK", Local: true, Alert: alertSDK}
	case x.err != nil:
		return p.unanswered(x.err)
	}
	o := Classify(x.status, x.header, x.body, p.now())
	switch {
	case o.Class == push.Accepted:
		o.ProviderID = name
	case o.Class == push.DropAddress && !o.Suspect:
		o.Deadness = at // registered again since: then it is not dead
	}
	if p.skew.Compare(x.header.Get("Date"), p.now()) && o.Alert == "" {
		o.Alert = "this machine's clock and Google's differ by more than a minute"
	}
	return p.spoilt(o, x.bearer)
}

func (p *Provider) unanswered(err error) push.Outcome {
	if _, ok := errors.AsType[*tokenError](err); ok {
		if reason, alert, no := refused(err); no {
			return push.Outcome{Class: push.AuthConfig, Reason: reason, Alert: alert}
		}
		p.log.Debug("no oauth token", slog.String("app", p.app), slog.Any("error", err))
		return push.Outcome{Class: push.RetryLater, Reason: "OAuthUnreachable"}
	}
	if lost, ok := errors.AsType[*wayError](err); ok {
		return lost.outcome
	}
	return push.Outcome{Class: push.RetryNow, Reason: "ConnectionLost", Unknown: true}
}

// spoilt gives a 401 that names no cause one chance with a fresh token: an
// access token can be revoked before its time.
func (p *Provider) spoilt(o push.Outcome, bearer string) push.Outcome {
	if o.Status != http.StatusUnauthorized || o.Scope == push.ScopePlatform {
		return o
	}
	if p.tokens.spoil(bearer) {
		return push.Outcome{Class: push.RetryNow, Status: o.Status, Reason: o.Reason}
	}
	return o
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
