package apns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sideshow/apns2"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/internal/h2"
	"github.com/tocsin-oncall/tocsin/push/internal/skew"
)

const (
	pageGrace = 30 * time.Second // a page may reach a phone this long after its deadline; the app shows it as missed
)

// Provider pushes to one app in one environment.
type Provider struct {
	app      string
	env      push.Environment
	topic    string
	entitled bool
	host     string
	signer   *Signer
	giveBack func() // the signer
	pool     *h2.Pool
	log      *slog.Logger
	now      func() time.Time
	skew     skew.Gauge
	limited  atomic.Int32 // connections that refused our provider token for changing, since the last success
}

// New checks the configuration, signs once, and starts to connect. An error
// names the app and says how to mend what is wrong.
func New(c Config) (*Provider, error) {
	if c.Now == nil {
		c.Now = time.Now //nolint:forbidigo // the default of an injected clock
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Environment == "" {
		c.Environment = push.Production
	}
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("apns app %q: %w", c.App, err)
	}
	base, trust, err := c.endpoint()
	if err != nil {
		return nil, fmt.Errorf("apns app %q: %w", c.App, err)
	}
	if c.Keyring == nil {
		c.Keyring = &Keyring{}
	}
	signer, release, err := c.Keyring.take(&c)
	if err != nil {
		return nil, fmt.Errorf("apns app %q: %w", c.App, err)
	}
	p := &Provider{
		app: c.App, env: c.Environment, topic: c.BundleID, entitled: c.CriticalEntitled, host: base.String(),
		signer: signer, giveBack: release, log: c.Log, now: c.Now,
	}
	p.pool = h2.New(h2.Options{
		Base: base, Trust: trust, Lanes: c.Connections, First: 1, // Apple starts a connection with one request at a time
		Closed: func(reason string) { c.Metrics.ConnectionClosed("apns", c.App, c.Environment, reason) },
	})
	return p, nil
}

// Close ends the connections, under whatever is on them.
func (p *Provider) Close() error {
	p.pool.Close()
	p.giveBack()
	return nil
}

// Stats implements push.Reporter.
func (p *Provider) Stats() push.Stats {
	st := push.Stats{ClockSkew: p.skew.Skew()}
	st.Connections, st.InFlight = p.pool.Stats()
	if b := p.signer.Peek(); b.JWT != "" {
		st.TokenAge = p.now().Sub(b.Issued)
	}
	return st
}

// Send implements push.Provider.
func (p *Provider) Send(ctx context.Context, a push.Attempt) push.Outcome {
	if !validToken(a.Device.Token) {
		return push.Outcome{Class: push.Park, Reason: "MalformedToken", Local: true, Alert: "a phone has a token that is none"}
	}
	n, shrunk, err := p.notification(a)
	if err != nil {
		return push.Outcome{Class: push.OurBug, Reason: "Payload: " + err.Error(), Local: true, Alert: "a payload could not be built"}
	}
	began := p.now()
	l, bearer, err := p.place(ctx, a)
	if err != nil {
		return p.unplaced(ctx, err, n, shrunk)
	}
	o := p.attempt(ctx, l, n, a, bearer)
	o.Via, o.Bytes, o.Shrunk, o.Elapsed = l.ID(), size(n), shrunk, p.now().Sub(began)
	return o
}

func size(n *apns2.Notification) int {
	body, _ := n.Payload.([]byte)
	return len(body)
}

// signError is that there is no provider token to send with.
type signError struct{ error }

// place waits for a place on a connection that may carry the provider token.
// On one connection a token changes at most once in twenty minutes, by Apple's
// rule: a connection that is too young for the new one finishes what is on it.
func (p *Provider) place(ctx context.Context, a push.Attempt) (*h2.Lane, Bearer, error) {
	for {
		l, err := p.pool.Acquire(ctx, a.Message.Kind.Loud(), a.Avoid)
		if err != nil {
			return nil, Bearer{}, err
		}
		bearer, err := p.signer.Bearer(p.now())
		if err != nil {
			p.pool.Release(l, false, false)
			return nil, Bearer{}, signError{err}
		}
		if l.Carry(bearer.JWT, p.now(), minTokenAge) {
			return l, bearer, nil
		}
		if current := p.signer.Peek(); current.JWT == bearer.JWT { // else it changed under our hands
			p.pool.Retire(l, h2.OutOfUse)
		}
		p.pool.Release(l, false, false)
	}
}

// unplaced is the outcome of an attempt that found no place.
func (p *Provider) unplaced(ctx context.Context, err error, n *apns2.Notification, shrunk string) push.Outcome {
	if sign, ok := errors.AsType[signError](err); ok {
		return push.Outcome{Class: push.AuthConfig, Reason: "Sign: " + sign.Error(), Alert: alertAuth}
	}
	p.log.DebugContext(ctx, "no apns connection", slog.String("app", p.app), slog.Any("error", err))
	o := h2.NoPlace(err)
	o.Bytes, o.Shrunk = size(n), shrunk
	return o
}

// attempt makes the request on a lane and gives the lane back.
func (p *Provider) attempt(ctx context.Context, l *h2.Lane, n *apns2.Notification, a push.Attempt, bearer Bearer) push.Outcome {
	res, lost, unmade := ask(ctx, l, p.host, bearer.carrier, n)
	switch {
	case unmade != nil:
		p.pool.Release(l, false, false)
		return push.Outcome{Class: push.OurBug, Reason: "Request", Local: true, Alert: "a request could not be built"}
	case lost != nil:
		return p.pool.Lost(l, lost)
	}
	o := Classify(res.StatusCode, res.Reason, res.Timestamp)
	o.ProviderID = res.ApnsID
	if res.UniqueID != "" {
		o.ProviderID = res.UniqueID
	}
	o.Raw = string(res.Raw[:min(len(res.Raw), 512)])
	if o.Class != push.Accepted {
		p.pool.Answered()
	}
	p.pool.Release(l, o.Class == push.Accepted, false)
	if p.skew.Compare(res.Date, p.now()) && o.Alert == "" {
		o.Alert = "this machine's clock and Apple's differ by more than a minute"
	}
	p.special(l, &o, a, bearer)
	return o
}

// special handles the answers whose meaning depends on more than themselves.
func (p *Provider) special(l *h2.Lane, o *push.Outcome, a push.Attempt, bearer Bearer) {
	switch {
	case o.Class == push.Accepted:
		if p.limited.Load() != 0 {
			p.limited.Store(0)
		}
	case o.Status == http.StatusForbidden && o.Reason == reasonExpiredToken:
		// Apple keeps refusing on a connection whose token it once found expired.
		p.pool.Retire(l, o.Reason)
		if !p.signer.Expire(bearer, p.now()) {
			o.Class, o.Alert = push.AuthConfig, alertSkew
		}
	case o.Status == http.StatusTooManyRequests && o.Reason == reasonTooManyUpdates:
		// The connection is of no use for twenty minutes, and so is never used
		// again; the token stays. A second one that refuses it in a row says that
		// all would: another way of reaching people then, and a try each minute.
		first := l.Casualty()
		p.pool.Retire(l, o.Reason)
		if first && p.limited.Add(1) > 1 {
			o.Class = push.AuthConfig
		}
	case o.Reason == reasonShutdown || o.Reason == "IdleTimeout":
		o.Also = !l.Casualty()
		p.pool.Retire(l, o.Reason)
	case o.Class == push.RetryLater && o.Status >= http.StatusInternalServerError:
		p.pool.Trouble(l)
	case o.Scope == push.ScopeDevice && o.RetryAfter == 0:
		o.RetryAfter = min(4*time.Second, time.Second<<min(max(a.Number-1, 0), 2)) // Apple names no time
	}
}

// notification builds the request of an attempt.
func (p *Provider) notification(a push.Attempt) (*apns2.Notification, string, error) {
	m := a.Message
	body, shrunk, err := Build(m, a.Device, a.Form, p.entitled)
	if err != nil {
		return nil, "", err
	}
	n := &apns2.Notification{
		ApnsID: m.DeliveryID, DeviceToken: string(a.Device.Token), Topic: p.topic, // no Expiration is "once, do not store": see exchange
		Priority: apns2.PriorityLow, PushType: apns2.PushTypeAlert, Payload: body,
	}
	if a.Form != push.FormMinimal { // the safe form has only what cannot be wrong
		n.CollapseID = m.CollapseID
	}
	switch {
	case m.Kind.Loud():
		n.Priority, n.Expiration = apns2.PriorityHigh, m.Deadline.Add(pageGrace)
	case m.Kind == push.KindHeartbeat:
		n.PushType = apns2.PushTypeBackground
	}
	return n, shrunk, nil
}
