package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// TestTheWeatherOfALine tries every mode on requests that are answered, and
// counts which of them the server saw.
func TestTheWeatherOfALine(t *testing.T) {
	t.Parallel()
	var seen atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		seen.Add(1)
		_, _ = io.WriteString(w, "ok")
	}))
	defer server.Close()
	l, err := openLine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	l.lead(server.Listener.Addr().String())
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	ask := func(path string) (int, string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, l.URL()+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(r)
		if err != nil {
			return 0, "", err
		}
		defer res.Body.Close()
		return res.StatusCode, res.Header.Get("Retry-After"), nil
	}
	for _, c := range []struct {
		name    string
		weather weather
		path    string
		status  int // 0: no answer
		after   string
		seen    bool
	}{
		{"up", weather{Mode: lineUp}, "/", 200, "", true},
		{"down", weather{Mode: lineDown}, "/", 0, "", false},
		{"up again", weather{Mode: lineUp}, "/", 200, "", true},
		{"silent", weather{Mode: lineSilent}, "/", 0, "", false},
		{"error", weather{Mode: lineError}, "/", 500, "", false},
		{"busy", weather{Mode: lineError, Status: 503, RetryAfter: 7}, "/", 503, "7", false},
		{"lost", weather{Mode: lineLost}, "/", 0, "", true},
		{"another path", weather{Mode: lineLost, Path: "/v1/push"}, "/v1/incidents", 200, "", true},
		{"this path", weather{Mode: lineError, Path: "/v1/push"}, "/v1/push/actions", 500, "", false},
	} {
		before := seen.Load()
		if err := l.set(t.Context(), c.weather); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		status, after, err := ask(c.path)
		if status != c.status || after != c.after || (err == nil) != (c.status != 0) {
			t.Errorf("%s: got %d, Retry-After %q, %v; want %d, %q", c.name, status, after, err, c.status, c.after)
		}
		if got := seen.Load() > before; got != c.seen {
			t.Errorf("%s: the server saw it: %t, want %t", c.name, got, c.seen)
		}
	}
	if err := l.set(t.Context(), weather{Mode: lineError, Times: 1}); err != nil {
		t.Fatal(err)
	}
	first, _, _ := ask("/")
	if second, _, err := ask("/"); first != 500 || second != 200 {
		t.Errorf("an error of one time: got %d, then %d, %v", first, second, err)
	}
	for _, w := range []weather{{Mode: "odd"}, {Mode: lineError, Status: 200}, {Mode: lineUp, Times: -1}, {Mode: lineDown, Path: "/v1"}} {
		if err := l.set(t.Context(), w); err == nil {
			t.Errorf("%+v was taken", w)
		}
	}
}

// TestALineCarriesGRPC asks a real gRPC server through it.
func TestALineCarriesGRPC(t *testing.T) {
	t.Parallel()
	var listen net.ListenConfig
	listener, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	go func() { _ = server.Serve(listener) }() // ends with Stop
	defer server.Stop()
	l, err := openLine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	l.lead(listener.Addr().String())
	conn, err := grpc.NewClient("passthrough:///"+l.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	check := func() codes.Code {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true))
		return status.Code(err)
	}
	if got := check(); got != codes.OK {
		t.Errorf("up: got %s", got)
	}
	if err := l.set(t.Context(), weather{Mode: lineError, Status: 503}); err != nil {
		t.Fatal(err)
	}
	if got := check(); got != codes.Unavailable {
		t.Errorf("an answer of 503: got %s, want Unavailable", got)
	}
}

// TestAPhoneInTheSandbox is what a library's tests do: enrol, be paged, and
// acknowledge while the answer is lost.
func TestAPhoneInTheSandbox(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, options{AppURL: "https://app.example.com/"}, in)
		_ = in.CloseWithError(errors.Join(err, io.EOF))
		ended <- err
	}()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the sandbox ended with %v", err)
		}
	}()
	var where started
	if err := json.NewDecoder(out).Decode(&where); err != nil {
		t.Fatal(err)
	}
	call := func(method, url, credential string, body, into any) error {
		t.Helper()
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		if credential != "" {
			r.Header.Set("Authorization", "Bearer "+credential)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if text, err = io.ReadAll(res.Body); err != nil {
			return err
		}
		if res.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %d %s", method, url, res.StatusCode, text)
		}
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
		return nil
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	type object = map[string]any
	var none object
	var link struct{ Code string }
	must(call(http.MethodPost, where.Control+"/enrolments", "", person{"ann"}, &link))
	var phone struct{ Token string }
	must(call(http.MethodPost, where.APNs+"/api/phones", "", object{"name": "Ann"}, &phone))
	var device struct{ Credential string }
	must(call(http.MethodPost, where.Server+"/v1/devices:enrol", "", object{"code": link.Code, "device": object{
		"installId": "0b9e3c1a-6f0d-4a57-9d1e-2f7c5b8a4e10", "platform": "PLATFORM_IOS", "appId": where.App, "permission": "PERMISSION_GRANTED",
		"address": object{"kind": "KIND_APNS", "value": phone.Token}, "capabilities": object{"sound": true, "alert": true},
	}}, &device))
	must(call(http.MethodPost, where.Control+"/alerts", "", alert{Service: "search", Key: "disk"}, &none))
	var pushes struct {
		Requests []struct{ Body json.RawMessage }
	}
	var page struct {
		T struct{ D, K string }
	}
	for after := 0; page.T.K != "page"; after++ {
		must(call(http.MethodGet, where.APNs+"/api/requests?wait=30s&limit=1&after="+strconv.Itoa(after), "", nil, &pushes))
		if len(pushes.Requests) == 0 {
			t.Fatal("no page came")
		}
		must(json.Unmarshal(pushes.Requests[0].Body, &page))
	}
	must(call(http.MethodPost, where.Control+"/line", "", weather{Mode: lineLost, Path: "/v1/push/actions", Times: 1}, &none))
	act := object{"actionId": "6f1c2a40-0000-4000-8000-000000000001", "deliveryId": page.T.D, "verb": "VERB_ACKNOWLEDGE"}
	var answer struct{ Outcome, State string }
	if err := call(http.MethodPost, where.Server+"/v1/push/actions", device.Credential, act, &answer); err == nil {
		t.Errorf("an answer that was lost arrived: %+v", answer)
	}
	must(call(http.MethodPost, where.Server+"/v1/push/actions", device.Credential, act, &answer))
	if answer.State != "STATE_ACKNOWLEDGED" {
		t.Errorf("the tap again got %+v", answer)
	}
}
