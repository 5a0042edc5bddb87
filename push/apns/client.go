package apns

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/sideshow/apns2"
	"github.com/sideshow/apns2/token"
)

// Response is APNs' answer to one request, whatever it looked like.
type Response struct {
	StatusCode int
	Reason     string    // from the body; empty when it held none
	ApnsID     string    // echoed
	UniqueID   string    // apns-unique-id, sandbox only
	Timestamp  time.Time // of a 410; zero when it held none that can be read
	Date       string    // the server's clock, as it wrote it; empty when it did not say
	Raw        []byte    // the body, when it was not what Apple documents
}

// exchange is one request of an apns2.Client on one connection, and the
// http.RoundTripper beneath that client. Each attempt has its own: apns2 knows
// one connection pool for each client, and could neither be told to avoid the
// connection that has just failed a page nor say which one it took. One value
// holds it all, so that it costs one allocation.
//
// The round tripper sees what apns2 does not show:
//
//   - The answer. apns2 decodes the body of every answer and returns an empty
//     Response when that fails, so a proxy's page, or a timestamp of another
//     type, costs the status. It shows no headers either, so no Date. The answer
//     is read here, once, and apns2 is handed an empty body.
//   - The error of the connection, apart from that of a request which was never
//     sent. The error of http.Client names the URL, and with it the phone's token.
//   - A missing apns-expiration. apns2 leaves the header out for the Unix epoch,
//     and without it Apple keeps the push for thirty days.
type exchange struct {
	client apns2.Client
	http   http.Client
	via    http.RoundTripper

	answer *Response // nil while there is none
	lost   error     // of the connection; nil when the request never reached it
}

const maxAnswer = 4 << 10

// ask makes one request. Exactly one of the three results is set: an answer,
// however odd; the error of the connection; the error of a request that could
// not be made.
func ask(ctx context.Context, via http.RoundTripper, host string, t *token.Token, n *apns2.Notification) (answer *Response, lost, unmade error) {
	x := &exchange{via: via}
	x.http = http.Client{
		Transport: x, // without a timeout: the 60 s of apns2 are longer than a page can wait, and ctx has the attempt's
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // Apple never redirects; whoever does shall not get the provider token
		},
	}
	x.client = apns2.Client{Host: host, Token: t, HTTPClient: &x.http}
	_, err := x.client.PushWithContext(ctx, n)
	switch {
	case x.answer != nil:
		return x.answer, nil, nil
	case x.lost != nil:
		return nil, x.lost, nil
	}
	return nil, nil, err
}

// RoundTrip implements http.RoundTripper.
func (x *exchange) RoundTrip(r *http.Request) (*http.Response, error) {
	// The request was made by apns2 for this one call, so nobody else sees its header.
	if _, ok := r.Header["Apns-Expiration"]; !ok {
		r.Header["Apns-Expiration"] = []string{"0"}
	}
	answer, err := x.via.RoundTrip(r)
	if err != nil {
		x.lost = err
		return nil, err
	}
	var body []byte
	if answer.ContentLength != 0 {
		// The status arrived: a body that breaks off must not lose it.
		body, err = io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	}
	_ = answer.Body.Close() // nothing more is wanted of it
	x.answer = ParseResponse(answer.StatusCode, answer.Header, body)
	if err != nil && x.answer.Reason == "" {
		x.answer.Raw = body
	}
	answer.Body = http.NoBody
	return answer, nil
}

// ParseResponse reads an answer. Nothing in it can make it fail: a proxy's
// HTML page, an empty body or a timestamp of a wrong type keep the status.
func ParseResponse(status int, h http.Header, body []byte) *Response {
	res := &Response{StatusCode: status, ApnsID: h.Get("Apns-Id"), UniqueID: h.Get("Apns-Unique-Id"), Date: h.Get("Date")}
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
