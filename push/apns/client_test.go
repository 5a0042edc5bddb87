package apns

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sideshow/apns2"
)

// trip is a RoundTripper made of a function.
type trip func(*http.Request) (*http.Response, error)

func (f trip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// broken is a body that ends in an error after its text.
type broken struct{ io.Reader }

func (b broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (broken) Close() error { return nil }

func answer(status int, header http.Header, body io.ReadCloser) trip {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: header, Body: body, ContentLength: -1, Request: r}, nil
	}
}

func page(s string) io.ReadCloser { return io.NopCloser(strings.NewReader(s)) }

// TestWhatApns2Loses has the answers whose status, headers or reason apns2
// would not hand on.
func TestWhatApns2Loses(t *testing.T) {
	date := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		via    trip
		status int
		reason string
		raw    string
	}{
		"a proxy's page":         {answer(502, nil, page("<html>bad gateway</html>")), 502, "", "<html>bad gateway</html>"},
		"timestamp as text":      {answer(410, nil, page(`{"reason":"Unregistered","timestamp":"soon"}`)), 410, "Unregistered", ""},
		"timestamp as a float":   {answer(410, nil, page(`{"reason":"Unregistered","timestamp":1.5e12}`)), 410, "Unregistered", ""},
		"body breaks off":        {answer(503, nil, broken{strings.NewReader(`{"reason":`)}), 503, "", `{"reason":`},
		"accepted, body breaks":  {answer(200, nil, broken{strings.NewReader("")}), 200, "", ""},
		"a redirect":             {answer(301, http.Header{"Location": {"https://evil.example/"}}, page("")), 301, "", ""},
		"a redirect to nonsense": {answer(307, http.Header{"Location": {"://"}}, page("")), 307, "", ""},
	} {
		calls := 0
		via := trip(func(r *http.Request) (*http.Response, error) {
			if calls++; r.URL.Host != "apns.test" {
				t.Errorf("%s: a request went to %s", name, r.URL.Host)
			}
			res, err := tc.via(r)
			if res.Header == nil {
				res.Header = http.Header{}
			}
			res.Header.Set("Date", date.Format(http.TimeFormat))
			return res, err
		})
		got, lost, unmade := ask(t.Context(), via, "https://apns.test", newBearer("jwt", date).carrier, &apns2.Notification{Payload: []byte("{}")})
		if lost != nil || unmade != nil || calls != 1 {
			t.Errorf("%s: %d requests, errors %v and %v; want one answer", name, calls, lost, unmade)
			continue
		}
		if got.StatusCode != tc.status || got.Reason != tc.reason || string(got.Raw) != tc.raw || got.Date != date.Format(http.TimeFormat) {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

func TestWhatApns2Sends(t *testing.T) {
	var header http.Header
	via := trip(func(r *http.Request) (*http.Response, error) {
		header = r.Header
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}, nil
	})
	n := &apns2.Notification{ApnsID: "id", Topic: "topic", Priority: 5, Payload: []byte("{}")}
	for _, tc := range []struct {
		expiration time.Time
		want       string
	}{{time.Time{}, "0"}, {time.Unix(0, 0), "0"}, {time.Unix(1_800_000_000, 0), "1800000000"}} {
		n.Expiration = tc.expiration
		if _, lost, unmade := ask(t.Context(), via, "https://apns.test", newBearer("jwt", time.Unix(0, 0)).carrier, n); lost != nil || unmade != nil {
			t.Fatal(lost, unmade)
		}
		if got := header.Values("apns-expiration"); len(got) != 1 || got[0] != tc.want {
			t.Errorf("expiration %v: header %q, want %q", tc.expiration, got, tc.want)
		}
		if got := header.Get("authorization"); got != "bearer jwt" { // the token is fifty years old: apns2 must not renew it
			t.Errorf("authorization %q, want our token", got)
		}
	}
}

func TestErrorsOfTheWay(t *testing.T) {
	down := errors.New("connection reset")
	via := trip(func(*http.Request) (*http.Response, error) { return nil, down })
	got, lost, unmade := ask(t.Context(), via, "https://apns.test", nil, &apns2.Notification{DeviceToken: "secret", Payload: []byte("{}")})
	if got != nil || lost != down || unmade != nil { //nolint:errorlint // the very error: that of http.Client names the token
		t.Errorf("got %v, %v, %v; want the connection's own error", got, lost, unmade)
	}
	got, lost, unmade = ask(t.Context(), via, "https://apns.test", nil, &apns2.Notification{Payload: []byte("{")})
	if got != nil || lost != nil || unmade == nil {
		t.Errorf("got %v, %v, %v; want the request refused before it is sent", got, lost, unmade)
	}
}
