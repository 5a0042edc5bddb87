package fcm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// Message is FCM's message, as much of it as we use.
// https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages
type Message struct {
	Token   string            `json:"token"`
	Data    map[string]string `json:"data"`
	Android AndroidConfig     `json:"android"`
	Options Options           `json:"fcm_options"`
}

// AndroidConfig is how a message travels to an Android phone.
type AndroidConfig struct {
	CollapseKey  string `json:"collapse_key,omitempty"`
	Priority     string `json:"priority"` // "high" or "normal"
	TTL          string `json:"ttl"`      // seconds, for example "120s"
	DirectBootOK bool   `json:"direct_boot_ok,omitempty"`
}

// Options are FCM's own.
type Options struct {
	AnalyticsLabel string `json:"analytics_label,omitempty"`
}

// Client makes one attempt and returns the message's name. It has the shape
// of firebase-admin-go's messaging.Client, which can take its place, see
// docs/adr/0002. An answer other than success is an *AnswerError; any other
// error is about the way to FCM.
type Client interface {
	Send(ctx context.Context, m *Message) (name string, err error)
}

// AnswerError is FCM's refusal, whatever it looked like.
type AnswerError struct {
	Status int
	Header http.Header
	Body   []byte
}

func (e *AnswerError) Error() string { return fmt.Sprintf("fcm answered %d", e.Status) }

const maxAnswer = 16 << 10

// httpClient is our Client: one POST, with no retry of its own.
type httpClient struct {
	url    *url.URL
	via    http.RoundTripper
	bearer func(ctx context.Context) (string, error)
}

func (c *httpClient) Send(ctx context.Context, m *Message) (string, error) {
	body, err := json.Marshal(struct {
		Message *Message `json:"message"`
	}{m})
	if err != nil {
		return "", fmt.Errorf("marshal an fcm message: %w", err)
	}
	bearer, err := c.bearer(ctx)
	if err != nil {
		return "", &tokenError{err}
	}
	if way, ok := ctx.Value(routeKey{}).(*route); ok {
		way.bearer = bearer
	}
	r := &http.Request{
		Method: http.MethodPost, URL: c.url, Host: c.url.Host, Proto: "HTTP/2.0", ProtoMajor: 2,
		Header: http.Header{
			"Authorization": {"Bearer " + bearer}, "Content-Type": {"application/json"}, "User-Agent": {"tocsin"},
		},
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
	res, err := c.via.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return "", &AnswerError{Status: res.StatusCode, Header: res.Header, Body: answer}
	}
	var done struct{ Name string }
	if err == nil {
		_ = json.Unmarshal(answer, &done) // accepted is in the status; the name is a courtesy
	}
	return done.Name, nil
}

// tokenError is that no OAuth token could be had.
type tokenError struct{ err error }

func (e *tokenError) Error() string { return "get an OAuth token: " + e.err.Error() }
func (e *tokenError) Unwrap() error { return e.err }
