package apns

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Notification is one request to APNs.
type Notification struct {
	ApnsID      string
	CollapseID  string
	DeviceToken string
	Topic       string
	Expiration  time.Time // always sent; the Unix epoch says "once, do not store"
	Priority    int
	PushType    string
	Payload     []byte
	Bearer      string // provider token
}

// Response is APNs' answer to one request, whatever it looked like.
type Response struct {
	StatusCode int
	Reason     string    // from the body; empty when it held none
	ApnsID     string    // echoed
	UniqueID   string    // apns-unique-id, sandbox only
	Timestamp  time.Time // of a 410; zero when it held none that can be read
	Date       time.Time // the server's clock; zero when it did not say
	Raw        []byte    // the body, when it was not what Apple documents
}

// Client makes one attempt. It has the shape of apns2's Client, which can
// take its place, see docs/adr/0002. The error is about the way to APNs: an
// answer, however odd, is a Response.
type Client interface {
	PushWithContext(ctx context.Context, n *Notification) (*Response, error)
}

// httpClient is our Client: one POST over the connection it is given.
type httpClient struct {
	base *url.URL
	via  http.RoundTripper
}

const maxAnswer = 4 << 10

func (c *httpClient) PushWithContext(ctx context.Context, n *Notification) (*Response, error) {
	u := *c.base
	u.Path = "/3/device/" + n.DeviceToken
	r := &http.Request{
		Method: http.MethodPost, URL: &u, Host: u.Host, Proto: "HTTP/2.0", ProtoMajor: 2,
		Header: n.header(), Body: io.NopCloser(bytes.NewReader(n.Payload)), ContentLength: int64(len(n.Payload)),
	}
	answer, err := c.via.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil && len(body) == 0 && answer.StatusCode == http.StatusOK {
		err = nil // accepted is in the status; the body of a 200 is empty
	}
	res := ParseResponse(answer.StatusCode, answer.Header, body)
	if err != nil && res.Reason == "" {
		res.Raw = body
	}
	return res, nil //nolint:nilerr // the status arrived: a body that broke off must not lose it
}

func (n *Notification) header() http.Header {
	h := http.Header{
		"Authorization":   {"bearer " + n.Bearer},
		"Apns-Id":         {n.ApnsID},
		"Apns-Topic":      {n.Topic},
		"Apns-Push-Type":  {n.PushType},
		"Apns-Priority":   {strconv.Itoa(n.Priority)},
		"Apns-Expiration": {strconv.FormatInt(n.Expiration.Unix(), 10)},
		"Content-Type":    {"application/json"},
		"User-Agent":      {"tocsin"},
	}
	if n.CollapseID != "" {
		h["Apns-Collapse-Id"] = []string{n.CollapseID}
	}
	return h
}

// ParseResponse reads an answer. Nothing in it can make it fail: a proxy's
// HTML page, an empty body or a timestamp of a wrong type keep the status.
func ParseResponse(status int, h http.Header, body []byte) *Response {
	res := &Response{StatusCode: status, ApnsID: h.Get("Apns-Id"), UniqueID: h.Get("Apns-Unique-Id")}
	if d, err := http.ParseTime(h.Get("Date")); err == nil {
		res.Date = d
	}
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return res
	}
	var fields struct {
		Reason    json.RawMessage `json:"reason"`
		Timestamp json.RawMessage `json:"timestamp"`
	}
	if err := json.Unmarshal(body, &fields); err != nil {
		res.Raw = body
		return res
	}
	if err := json.Unmarshal(fields.Reason, &res.Reason); err != nil {
		res.Raw = body
	}
	if len(res.Reason) > maxReason {
		res.Reason = res.Reason[:maxReason]
	}
	res.Timestamp = milliseconds(fields.Timestamp)
	return res
}

const maxReason = 200

// milliseconds reads a Unix time, which Apple sends as an integer. Others
// have been seen to send a float or text.
func milliseconds(raw json.RawMessage) time.Time {
	text := bytes.Trim(raw, `"`)
	ms, err := strconv.ParseFloat(string(text), 64)
	if err != nil || ms < 1 || ms > 1e14 {
		return time.Time{}
	}
	return time.UnixMilli(int64(ms))
}

// String names the notification without its token and its text.
func (n *Notification) String() string {
	return fmt.Sprintf("apns notification %s (%s, %d bytes)", n.ApnsID, n.PushType, len(n.Payload))
}
