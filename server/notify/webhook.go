package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"github.com/tocsin-oncall/tocsin/push/egress"
)

// webhookTimeout bounds one call.
const webhookTimeout = 10 * time.Second

// Webhooks calls URLs of people with signed JSON, in the form of the Standard
// Webhooks specification (https://www.standardwebhooks.com).
type Webhooks struct {
	client *http.Client
	unseal func([]byte) ([]byte, error)
	now    func() time.Time
	plain  bool
}

// WebhookConfig is where webhooks may go.
type WebhookConfig struct {
	// Allow are addresses inside the house that may be called all the same.
	// Everything private, loopback or link-local is refused otherwise, at the
	// moment of connecting, whatever the name resolved to before.
	Allow []netip.Prefix
	// Plain allows http, for addresses in Allow.
	Plain bool
	// Unseal opens a method's signing secret.
	Unseal func([]byte) ([]byte, error)
	Now    func() time.Time
}

// NewWebhooks returns the channel.
func NewWebhooks(c WebhookConfig) *Webhooks {
	dialer := &net.Dialer{Timeout: 5 * time.Second, Control: guard(c.Allow)}
	return &Webhooks{
		unseal: c.Unseal, now: c.Now, plain: c.Plain,
		client: &http.Client{
			Timeout: webhookTimeout,
			Transport: &http.Transport{
				DialContext: dialer.DialContext, ForceAttemptHTTP2: true, MaxIdleConns: 100, MaxIdleConnsPerHost: 2,
				IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 5 * time.Second, MaxResponseHeaderBytes: 16 << 10,
			}, // no proxy from the environment: it would connect past the guard
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// guard refuses connections into the house.
func guard(allow []netip.Prefix) func(network, address string, c syscall.RawConn) error {
	control := egress.Control(allow...)
	return func(network, address string, c syscall.RawConn) error {
		if err := control(network, address, c); err != nil {
			return &RefusedError{Reason: err.Error() + "; allow it in the configuration if it is meant"}
		}
		return nil
	}
}

// webhookBody is what is posted.
type webhookBody struct {
	Type      string      `json:"type"` // "page", "summary", "digest", "notice"
	Timestamp time.Time   `json:"timestamp"`
	Data      webhookData `json:"data"`
}

type webhookData struct {
	Delivery  string   `json:"delivery"`
	User      string   `json:"user"`
	UserName  string   `json:"user_name"`
	Reason    string   `json:"reason,omitempty"`
	Shadow    string   `json:"shadow,omitempty"` // "observe", "practise", "duty": follows whoever is paged
	Subject   string   `json:"subject"`
	Lines     []string `json:"lines"`
	Incidents []Ref    `json:"incidents,omitempty"`
}

// Send implements [Channel]. The answer counts by its status alone: 2xx is
// taken; 410 is an address that wants no more; other 4xx but 408, 425 and 429
// are final for this message.
func (w *Webhooks) Send(ctx context.Context, m Message) (Answer, error) {
	body, err := json.Marshal(webhookBody{
		Type: m.Kind, Timestamp: m.At.UTC(),
		Data: webhookData{
			Delivery: m.ID, User: string(m.User.ID), UserName: m.User.Name, Reason: m.Reason, Shadow: m.Shadow,
			Subject: m.Subject, Lines: m.Lines, Incidents: m.Incidents,
		},
	})
	if err != nil {
		return Answer{}, &RefusedError{Reason: "encode: " + err.Error()}
	}
	if err := w.check(m.To); err != nil {
		return Answer{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.To, bytes.NewReader(body))
	if err != nil {
		return Answer{}, &RefusedError{Reason: "the address is no URL", Address: true}
	}
	if err := w.sign(req, m, body); err != nil {
		return Answer{}, err
	}
	res, err := w.client.Do(req)
	if err != nil {
		if r, ok := errors.AsType[*RefusedError](err); ok {
			return Answer{}, r
		}
		return Answer{}, fmt.Errorf("call the webhook: %w", unwrapURL(err))
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, 4<<10) // lets the connection be used again
	return Answer{}, webhookFault(res.StatusCode)
}

func webhookFault(status int) error {
	word := strconv.Itoa(status) + " " + http.StatusText(status)
	switch {
	case status >= 200 && status < 300:
		return nil
	case status == http.StatusGone:
		return &RefusedError{Reason: word, Address: true}
	case status == http.StatusRequestTimeout || status == http.StatusTooEarly || status == http.StatusTooManyRequests:
		return fmt.Errorf("the webhook answered %s", word)
	case status >= 300 && status < 500:
		return &RefusedError{Reason: word}
	}
	return fmt.Errorf("the webhook answered %s", word)
}

// check refuses addresses that no method should have had in the first place.
func (w *Webhooks) check(to string) error {
	u, err := url.Parse(to)
	if err != nil || u.Host == "" || u.User != nil || (u.Scheme != "https" && (u.Scheme != "http" || !w.plain)) {
		return &RefusedError{Reason: "the address is not an https URL", Address: true}
	}
	return nil
}

// sign adds the three headers by which the other side knows us: HMAC-SHA256
// over id, time and body under the method's secret.
func (w *Webhooks) sign(req *http.Request, m Message, body []byte) error {
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "tocsin")
	at := strconv.FormatInt(w.now().Unix(), 10)
	req.Header.Set("Webhook-Id", m.ID)
	req.Header.Set("Webhook-Timestamp", at)
	if len(m.Secret) == 0 {
		return nil
	}
	secret := m.Secret
	if w.unseal != nil {
		var err error
		if secret, err = w.unseal(m.Secret); err != nil {
			return fmt.Errorf("open the webhook's signing secret: %w", err)
		}
	}
	req.Header.Set("Webhook-Signature", "v1,"+WebhookSignature(secret, m.ID, at, body))
	return nil
}

// WebhookSignature returns the signature of a body: base64 of HMAC-SHA256 over
// "<id>.<timestamp>.<body>".
func WebhookSignature(secret []byte, id, timestamp string, body []byte) string {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(id + "." + timestamp + "."))
	h.Write(body)
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// unwrapURL takes the address out of the error: it may hold a secret, and the
// error is stored and logged.
func unwrapURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
