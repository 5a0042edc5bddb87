package webpush

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
)

const (
	maxAnswer = 4 << 10

	partTest = "simulator"
)

// Provider pushes to the browsers of one web app.
type Provider struct {
	app      string
	appURL   string
	key      *Key
	tokens   *tokens
	checked  checked
	services map[string]*service
	log      *slog.Logger
	now      func() time.Time
	closed   atomic.Bool
}

// New checks the configuration and signs once. An error names the app and says
// how to mend what is wrong. Nothing is connected yet.
func New(c Config) (*Provider, error) {
	if c.Now == nil {
		c.Now = time.Now //nolint:forbidigo // the default of an injected clock
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	ok, err := c.check()
	if err != nil {
		return nil, fmt.Errorf("webpush app %q: %w", c.App, err)
	}
	p := &Provider{
		app: c.App, appURL: c.AppURL, key: ok.key, checked: ok, log: c.Log, now: c.Now,
		tokens: newTokens(ok.key, c.Subject), services: make(map[string]*service),
	}
	names := []string{partTest}
	for _, list := range [][]host{known, ok.further} {
		for _, h := range list {
			names = append(names, h.name)
		}
	}
	for _, name := range names {
		p.services[name] = newService(name, ok.simulator, ok.trust, func(reason string) {
			c.Metrics.ConnectionClosed("webpush", c.App+"/"+name, push.Production, reason)
		})
	}
	return p, nil
}

// Close ends the connections.
func (p *Provider) Close() error {
	p.closed.Store(true)
	for _, s := range p.services {
		s.close()
	}
	return nil
}

// PublicKey is what the web app passes to pushManager.subscribe as
// applicationServerKey, in base64url.
func (p *Provider) PublicKey() string { return p.key.PublicKey() }

// CheckSubscription tells what is wrong with a subscription that somebody wants
// to register: its endpoint (see [CheckEndpoint]) or its keys.
func (p *Provider) CheckSubscription(endpoint string, keys push.SubscriptionKeys) error {
	if _, _, err := p.locate(push.Token(endpoint)); err != nil {
		return err
	}
	return CheckKeys(keys)
}

// Stats implements push.Reporter, over all push services.
func (p *Provider) Stats() push.Stats {
	all := push.Stats{Connections: map[string]int{"open": 0}, TokenAge: p.tokens.age(p.now())}
	for _, s := range p.services {
		st := s.stats()
		all.Connections["open"] += st.Connections["open"]
		all.InFlight += st.InFlight
		if st.ClockSkew.Abs() > all.ClockSkew.Abs() {
			all.ClockSkew = st.ClockSkew
		}
	}
	return all
}

// PartStats implements push.Parted.
func (p *Provider) PartStats(part string) push.Stats {
	s := p.services[part]
	if s == nil {
		return push.Stats{}
	}
	st := s.stats()
	st.TokenAge = p.tokens.age(p.now())
	return st
}

// Part implements push.Parted: the maker of the browser whose service it is.
func (p *Provider) Part(d *push.Device) string {
	_, s, err := p.locate(d.Token)
	if err != nil {
		return ""
	}
	return s.name
}

// locate says where an endpoint is, if it is allowed.
func (p *Provider) locate(endpoint push.Token) (*url.URL, *service, error) {
	if sim := p.checked.simulator; sim != nil {
		if u, err := parseEndpoint(string(endpoint)); err == nil && u.Host == sim.Host {
			return u, p.services[partTest], nil
		}
	}
	u, h, err := locate(string(endpoint), p.checked.further)
	if err != nil {
		return nil, nil, err
	}
	return u, p.services[h.name], nil
}

// Send implements push.Provider.
func (p *Provider) Send(ctx context.Context, a push.Attempt) push.Outcome {
	if p.closed.Load() {
		return push.Outcome{Class: push.RetryLater, Reason: "Closed", Local: true}
	}
	u, s, err := p.locate(a.Device.Token)
	if err != nil {
		p.log.DebugContext(ctx, "endpoint refused", slog.String("app", p.app), slog.Any("error", err))
		return push.Outcome{Class: push.Park, Reason: "EndpointRefused", Local: true, Alert: alertEndpoint}
	}
	browser, auth, err := parseKeys(a.Device.Keys)
	if err != nil {
		p.log.DebugContext(ctx, "keys refused", slog.String("app", p.app), slog.Any("error", err))
		return push.Outcome{Class: push.Park, Reason: "MalformedKeys", Local: true, Alert: alertKeys}
	}
	if a.Message.Kind == push.KindHeartbeat {
		return push.Outcome{Class: push.OurBug, Reason: "SilentPush", Local: true, Alert: alertSilent}
	}
	began := p.now()
	plain, shrunk, err := Build(a.Message, a.Device, a.Form, p.appURL)
	if err != nil {
		return push.Outcome{Class: push.OurBug, Reason: "Payload: " + err.Error(), Local: true, Alert: "a payload could not be built"}
	}
	body, err := encrypt(plain, browser, auth, a.Form)
	if err != nil {
		return push.Outcome{Class: push.OurBug, Reason: "Encrypt: " + err.Error(), Local: true, Alert: "a message could not be encrypted"}
	}
	o := p.attempt(ctx, u, s, a, body)
	o.Bytes, o.Shrunk, o.Elapsed = len(plain), shrunk, p.now().Sub(began)
	return o
}

// attempt makes one request and reads its answer.
func (p *Provider) attempt(ctx context.Context, u *url.URL, s *service, a push.Attempt, body []byte) push.Outcome {
	now, origin := p.now(), originOf(u)
	at := a.At // by the clock of the message's times
	if at.IsZero() {
		at = now
	}
	bearer, err := p.tokens.get(origin, now)
	if err != nil {
		return push.Outcome{Class: push.AuthConfig, Reason: "Sign: " + err.Error(), Alert: alertAuth}
	}
	res, via, err := s.roundTrip(request(ctx, u, body, bearer, a.Message, at))
	if err != nil {
		return s.outcome(err, via)
	}
	defer res.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(res.Body, maxAnswer)) // the status has arrived; a body that broke off must not lose it
	o := Classify(res.StatusCode, res.Header, answer, p.now())
	o.Via = via
	if o.Class == push.DropAddress {
		o.Deadness = at // registered again since: then it is not dead
	}
	switch {
	case o.Class == push.Accepted:
		s.accepts()
	case o.Class == push.AuthConfig && p.tokens.spoil(origin, bearer, p.now()):
		o.Class, o.Alert = push.RetryNow, "" // with a token made now
	case o.Class == push.AuthConfig && s.refusesOnly(a.Device.Token):
		o.Class, o.Alert = push.OurBug, alertOne
	}
	if s.skew.Compare(res.Header.Get("Date"), p.now()) && o.Alert == "" {
		o.Alert = alertClock
	}
	return o
}

// request is the message on the wire (RFC 8030, 5). HTTP may repeat it by
// itself where the server says that it has not looked at it.
func request(ctx context.Context, u *url.URL, body []byte, bearer string, m *push.Message, now time.Time) *http.Request {
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	r := &http.Request{
		Method: http.MethodPost, URL: u, Host: u.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{
			"Authorization": {bearer}, "Content-Encoding": {"aes128gcm"}, "Content-Type": {"application/octet-stream"},
			"Ttl": {ttl(m, now)}, "Urgency": {urgency(m)}, "User-Agent": {"tocsin"},
		},
		ContentLength: int64(len(body)), GetBody: open,
	}
	r.Body, _ = open() // never fails
	if t := topic(m); t != "" {
		r.Header["Topic"] = []string{t}
	}
	return r.WithContext(ctx)
}

// originOf is an endpoint's origin (RFC 6454): what a VAPID token is for.
func originOf(u *url.URL) string {
	return "https://" + strings.TrimSuffix(strings.ToLower(u.Host), ":443")
}
