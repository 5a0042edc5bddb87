package pushtest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

func TestFaultNames(t *testing.T) {
	for _, name := range pushtest.FaultNames() {
		f, err := pushtest.ParseFault(name)
		if err != nil || f.String() != name {
			t.Errorf("%q is read as %v, %v", name, f, err)
		}
	}
	if _, err := pushtest.ParseFault("earthquake"); err == nil || !strings.Contains(err.Error(), "goaway-covering") {
		t.Errorf("%v, want an error that lists the faults", err)
	}
}

// TestFaultsAsAClientSeesThem: what net/http makes of each fault; the next request works, on this connection or another.
func TestFaultsAsAClientSeesThem(t *testing.T) {
	errs := func(t *testing.T, res *http.Response, err error) {
		t.Helper()
		if err == nil {
			t.Errorf("answered %d, want an error", res.StatusCode)
		}
	}
	times := func(t *testing.T, res *http.Response, err error) {
		t.Helper()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want the deadline", err)
		}
	}
	succeeds := func(t *testing.T, res *http.Response, err error) {
		t.Helper()
		if err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("%v, want it repeated by net/http", err)
		}
	}
	broken := func(t *testing.T, res *http.Response, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("no status: %v", err)
		}
		if b, err := io.ReadAll(res.Body); err == nil {
			t.Errorf("status %d and %q in full, want the body cut", res.StatusCode, b)
		}
	}
	half := pushtest.Reject(503, "ServiceUnavailable")
	for name, check := range map[string]func(*testing.T, *http.Response, error){
		"silence": times, "close": errs, "reset": errs, "refuse": succeeds, "goaway-before": succeeds, "goaway-covering": errs,
		"freeze": times, "stop-reading": times, "half-answer": broken, "cut-answer": broken, "garbage": errs,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPNs(t, pushtest.APNsOptions{AnyBearer: true})
			token := a.Register(nil, bundle)
			fault, err := pushtest.ParseFault(name)
			if err != nil {
				t.Fatal(err)
			}
			answer := half
			answer.Fault = fault
			if fault != pushtest.HalfAnswer && fault != pushtest.CutAnswer {
				answer = pushtest.Break(fault)
			}
			a.Script(token, answer)
			patience := 2 * time.Second
			if name == "refuse" || name == "goaway-before" { // what is answered in the end may take its time
				patience = time.Minute
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			c := client(t, a.CA())
			send := func(ctx context.Context) (*http.Response, error) {
				r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.URL()+"/3/device/"+token, strings.NewReader(small))
				if err != nil {
					t.Fatal(err)
				}
				r.Header = http.Header{"Apns-Topic": {bundle}, "Apns-Push-Type": {"alert"}}
				return c.Do(r)
			}
			res, err := send(ctx)
			check(t, res, err)
			if err == nil {
				_ = res.Body.Close()
			}
			if got := a.Requests()[0]; got.Fault != fault {
				t.Errorf("recorded as %v", got.Fault)
			}
			c = client(t, a.CA())
			res, err = send(t.Context())
			if err != nil || res.StatusCode != http.StatusOK {
				t.Fatalf("on a new connection: %v", err)
			}
			_ = res.Body.Close()
		})
	}
}

func TestDripArrivesWhole(t *testing.T) {
	a := newAPNs(t, pushtest.APNsOptions{AnyBearer: true})
	token := a.Register(nil, bundle)
	answer := pushtest.Reject(503, "ServiceUnavailable")
	answer.Drip = time.Millisecond
	a.Script(token, answer)
	got := post(t, client(t, a.CA()), a.URL()+"/3/device/"+token, map[string]string{"apns-topic": bundle}, small)
	if got.status != 503 || got.reason != "ServiceUnavailable" {
		t.Errorf("%d %q, want it whole", got.status, got.reason)
	}
}

func TestOneStreamUntilTheFirstSuccess(t *testing.T) {
	a := newAPNs(t, pushtest.APNsOptions{AnyBearer: true, AnyToken: true, OneStreamFirst: true, Latency: 5 * time.Millisecond})
	token := a.Register(nil, bundle)
	c := client(t, a.CA())
	a.Script(token, pushtest.Reject(500, "InternalServerError"))
	header := map[string]string{"apns-topic": bundle}
	post(t, c, a.URL()+"/3/device/"+token, header, small) // no success
	done := make(chan answer, 100)
	burst := func(n int) (most int) {
		for range n {
			go func() { done <- post(t, c, a.URL()+"/3/device/"+token, header, small) }()
		}
		for range n {
			if got := <-done; got.status != http.StatusOK {
				t.Errorf("%d %s", got.status, got.reason)
			}
		}
		_, _, most = a.Connections()
		return most
	}
	if most := burst(1); most != 1 {
		t.Errorf("%d in flight before the first success, want 1", most)
	}
	if most := burst(50); most < 2 {
		t.Errorf("%d in flight at most after it, want more", most)
	}
}

func TestWeather(t *testing.T) {
	a := newAPNs(t, pushtest.APNsOptions{AnyBearer: true, AnyToken: true})
	token := a.Register(nil, bundle)
	for _, bad := range []pushtest.Weather{{Internal: -0.1}, {Cut: 1.1}, {Internal: 0.6, Reset: 0.6}} {
		if err := a.SetWeather(bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
	if err := a.SetWeather(pushtest.Weather{Unavailable: 0.2, Seed: 7}); err != nil {
		t.Fatal(err)
	}
	c := client(t, a.CA())
	failed := 0
	for range 500 {
		if got := post(t, c, a.URL()+"/3/device/"+token, map[string]string{"apns-topic": bundle}, small); got.status == http.StatusServiceUnavailable {
			failed++
		}
	}
	if failed < 70 || failed > 130 {
		t.Errorf("%d of 500 failed, want about 100", failed)
	}
}

func TestSandboxAndDate(t *testing.T) {
	a := newAPNs(t, pushtest.APNsOptions{AnyBearer: true, Sandbox: true})
	token := a.Register(nil, bundle)
	a.SetSkew(-time.Hour)
	got := post(t, client(t, a.CA()), a.URL()+"/3/device/"+token, map[string]string{"apns-topic": bundle}, small)
	if got.header.Get("apns-unique-id") == "" || got.header.Get("apns-id") == "" {
		t.Errorf("%v, want ids of the service's own making", got.header)
	}
	date, err := http.ParseTime(got.header.Get("Date"))
	if err != nil || time.Since(date) < 59*time.Minute || time.Since(date) > 61*time.Minute {
		t.Errorf("Date %s, %v; want an hour ago", got.header.Get("Date"), err)
	}
}

func TestCertificateStandsForItsTopic(t *testing.T) {
	b := newBench(t, pushtest.APNsOptions{})
	pair, err := b.apple.NewCertificate(bundle, pushtest.Production)
	if err != nil {
		t.Fatal(err)
	}
	c := b.certified(pair)
	b.accepted(b.send(c, map[string]string{"authorization": "", "apns-topic": ""}, small))
	if got := b.send(c, map[string]string{"authorization": "", "apns-topic": "com.example.other"}, small); got.reason != "TopicDisallowed" {
		t.Errorf("another topic: %d %s, want TopicDisallowed", got.status, got.reason)
	}
}

func TestTheNewestRequestsAreKept(t *testing.T) {
	var told []int
	a := newAPNs(t, pushtest.APNsOptions{AnyBearer: true, KeepLog: 3, OnRequest: func(r pushtest.Request) { told = append(told, r.Number) }})
	token := a.Register(nil, bundle)
	c := client(t, a.CA())
	_, wait := a.RequestsSince(0, 10)
	for range 5 {
		post(t, c, a.URL()+"/3/device/"+token, map[string]string{"apns-topic": bundle}, small)
	}
	<-wait
	kept := a.Requests()
	if len(kept) != 3 || kept[0].Number != 3 || kept[2].Number != 5 || a.Count() != 5 {
		t.Errorf("kept %d from %d, counted %d; want 3 to 5 of 5", len(kept), kept[0].Number, a.Count())
	}
	if after, _ := a.RequestsSince(4, 10); len(after) != 1 || after[0].Number != 5 {
		t.Errorf("since 4: %d", len(after))
	}
	if len(told) != 5 {
		t.Errorf("told %v", told)
	}
	a.Forget()
	if a.Count() != 0 || len(a.Requests()) != 0 {
		t.Error("not forgotten")
	}
}

// TestCloseWaits: nothing of a simulator runs after Close, whatever hangs.
func TestCloseWaits(t *testing.T) {
	a, err := pushtest.NewAPNs(pushtest.APNsOptions{AnyBearer: true, Latency: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	token := a.Register(nil, bundle)
	c := client(t, a.CA())
	failed := make(chan error, 1)
	go func() {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.URL()+"/3/device/"+token, strings.NewReader(small))
		if err == nil {
			var res *http.Response
			if res, err = c.Do(r); err == nil {
				_ = res.Body.Close()
			}
		}
		failed <- err
	}()
	for a.InFlight() == 0 {
		runtime.Gosched()
	}
	a.Freeze(true)
	a.Close()
	if err := <-failed; err == nil {
		t.Error("answered by a simulator that was closed")
	}
}
