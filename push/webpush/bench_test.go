package webpush_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	peer "github.com/SherClockHolmes/webpush-go"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/push/webpush"
)

// simulatorVar makes the test binary a simulator in a process of its own, so
// that the processor time of the sender can be told from it.
const simulatorVar = "TOCSIN_TEST_SIMULATOR"

func TestMain(m *testing.M) {
	if os.Getenv(simulatorVar) == "" {
		os.Exit(m.Run())
	}
	if err := simulate(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// outside is a simulator in another process, and a subscription there.
type outside struct {
	URL          string
	CA           []byte
	Subscription pushtest.Subscription
}

func simulate() error {
	sim, err := pushtest.NewWebPush(pushtest.WebPushOptions{KeepLog: -1})
	if err != nil {
		return err
	}
	defer sim.Close()
	s, err := sim.Subscribe(nil)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(outside{sim.URL(), sim.CA(), s}); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin) // until the benchmark ends
	return err
}

func startOutside(b *testing.B) outside {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0]) //nolint:gosec // this test binary
	cmd.Env = append(os.Environ(), simulatorVar+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	var o outside
	if err := json.NewDecoder(out).Decode(&o); err != nil {
		b.Fatal(err)
	}
	return o
}

// processor is the time that this process has spent on a processor.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkSender sends pages through the sender to a simulator in another
// process; webpush_per_s_core is how many of them one core would carry, by the
// processor time of this process alone.
func BenchmarkSender(b *testing.B) {
	o := startOutside(b)
	p := newProvider(b, func(c *webpush.Config) { c.TestEndpoint = &webpush.TestEndpoint{URL: o.URL, CA: o.CA} })
	sender := push.NewSender(push.Options{})
	if err := sender.SetApps([]push.App{{ID: "web", Provider: "webpush", Via: p}}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = sender.Close(b.Context()) })
	device := push.Device{
		Platform: push.Web, App: "web", Token: push.Token(o.Subscription.Endpoint),
		Keys: push.SubscriptionKeys{P256dh: o.Subscription.P256dh, Auth: o.Subscription.Auth},
	}
	warm := page()
	if r := sender.Send(b.Context(), push.Delivery{Message: warm, Device: device}); r.End != push.EndAccepted {
		b.Fatalf("%+v", r)
	}
	inParallel(b, func() bool {
		r := sender.Send(b.Context(), push.Delivery{Message: page(), Device: device})
		return r.End == push.EndAccepted
	})
}

// inParallel sends b.N messages from 64 goroutines and reports their pace.
func inParallel(b *testing.B, send func() bool) {
	b.Helper()
	var left, failed atomic.Int64
	left.Store(int64(b.N))
	before := processor(b)
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if !send() {
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	spent := processor(b) - before
	b.ReportMetric(float64(b.N)/spent.Seconds(), "webpush_per_s_core")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "webpush_per_s")
	if n := failed.Load(); n > 0 {
		b.Errorf("%d of %d were not accepted", n, b.N)
	}
}

// BenchmarkWebpushGo sends the same pages with webpush-go over a plain HTTP
// client: no sender, no check of endpoints, no classification. It is what we
// encrypt by ourselves for; see docs/adr/0008.
func BenchmarkWebpushGo(b *testing.B) {
	o := startOutside(b)
	private, public, err := peer.GenerateVAPIDKeys()
	if err != nil {
		b.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(o.CA)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true, MaxConnsPerHost: 8}
	b.Cleanup(transport.CloseIdleConnections)
	to := &peer.Subscription{Endpoint: o.Subscription.Endpoint, Keys: peer.Keys{P256dh: o.Subscription.P256dh, Auth: o.Subscription.Auth}}
	options := &peer.Options{
		HTTPClient: &http.Client{Transport: transport}, Subscriber: "oncall@example.com", VAPIDPublicKey: public, VAPIDPrivateKey: private,
		TTL: 120, Urgency: peer.UrgencyHigh, Topic: "abc",
	}
	d := &push.Device{Token: push.Token(o.Subscription.Endpoint)}
	inParallel(b, func() bool {
		m := page()
		plain, _, err := webpush.Build(&m, d, push.FormFull, appURL)
		if err != nil {
			return false
		}
		res, err := peer.SendNotificationWithContext(b.Context(), plain, to, options)
		if err != nil {
			return false
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		return res.StatusCode == http.StatusCreated
	})
}

func BenchmarkBuild(b *testing.B) {
	m := page()
	d := &push.Device{Platform: push.Web, Token: "https://web.push.apple.com/QX"}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := webpush.Build(&m, d, push.FormFull, appURL); err != nil {
			b.Fatal(err)
		}
	}
}
