package push_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sideshow/apns2"
	apnstoken "github.com/sideshow/apns2/token"
	"golang.org/x/net/http2"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/apns"
	"github.com/tocsin-oncall/tocsin/push/fcm"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/push/webpush"
)

// The figures of docs/push.md. Push services run in a process of their own, as
// they do in life, so that what they cost is not counted as ours. Each
// iteration is one round, the sides that are compared take turns within it, and
// what is reported is the median of the rounds:
//
//	go test ./push -run '^$' -bench Figure -benchtime 5x

const servicesVariable = "PUSHTEST_SERVICES"

func TestMain(m *testing.M) {
	if options := os.Getenv(servicesVariable); options != "" {
		if err := runServices(options); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// The teams of the sides that are compared, and the ids of their keys.
const (
	teamOfAPNs2 = "TEAM000002"
	teamOfHTTP  = "TEAM000003"
)

var teams = map[string]string{team: keyID, teamOfAPNs2: "KEY0000002", teamOfHTTP: "KEY0000003"}

// services is what the other process says of itself.
type services struct {
	Latency                time.Duration // asked for
	APNs, FCM              string        // base addresses
	APNsCA, FCMCA, Account []byte
	P8                     map[string][]byte // by team: Apple takes the provider tokens of one team from one signer only
	Project                string
	WebPush                string
	WebPushCA              []byte
	Subscriptions          []pushtest.Subscription
}

// runServices is the other process. It ends with its standard input, and obeys
// the lines there.
func runServices(options string) error {
	var s services
	if err := json.Unmarshal([]byte(options), &s); err != nil {
		return err
	}
	apple, err := pushtest.NewAPNs(pushtest.APNsOptions{KeepLog: -1, AnyToken: true, Latency: s.Latency})
	if err != nil {
		return err
	}
	defer apple.Close()
	google, err := pushtest.NewFCM(pushtest.FCMOptions{KeepLog: -1, AnyToken: true, Latency: s.Latency})
	if err != nil {
		return err
	}
	defer google.Close()
	s.APNs, s.APNsCA, s.P8 = apple.URL(), apple.CA(), map[string][]byte{}
	for team, key := range teams {
		s.P8[team] = apple.NewKey(team, key)
	}
	s.FCM, s.FCMCA, s.Account, s.Project = google.URL(), google.CA(), google.ServiceAccountJSON(), google.Project()
	browsers, err := pushtest.NewWebPush(pushtest.WebPushOptions{KeepLog: -1, Latency: s.Latency})
	if err != nil {
		return err
	}
	defer browsers.Close()
	s.WebPush, s.WebPushCA = browsers.URL(), browsers.CA()
	for range 64 {
		subscription, err := browsers.Subscribe(nil)
		if err != nil {
			return err
		}
		s.Subscriptions = append(s.Subscriptions, subscription)
	}
	if err := json.NewEncoder(os.Stdout).Encode(s); err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		switch lines.Text() {
		case "silence":
			apple.Always("", pushtest.Break(pushtest.Silence))
		case "heal":
			apple.Heal("")
		case "freeze":
			apple.ScriptAny(pushtest.Break(pushtest.FreezeConnection))
		}
		if _, err := fmt.Fprintln(os.Stdout, "done"); err != nil {
			return err
		}
	}
	return lines.Err()
}

// figures is a sender of ours and the services that it talks to.
type figures struct {
	b      *testing.B
	at     services
	tell   func(line string)
	sender *push.Sender
	serial atomic.Int64
}

func newFigures(b *testing.B, latency time.Duration) *figures {
	b.Helper()
	f := &figures{b: b}
	f.start(latency)
	via, err := apns.New(apns.Config{
		App: "ios", BundleID: bundle, TeamID: team, KeyID: keyID, Key: f.at.P8[team], CriticalEntitled: true,
		TestEndpoint: &apns.TestEndpoint{URL: f.at.APNs, CA: f.at.APNsCA},
	})
	if err != nil {
		b.Fatal(err)
	}
	google, err := fcm.New(fcm.Config{
		App: "android", ProjectID: f.at.Project, ServiceAccount: f.at.Account,
		TestEndpoint: &fcm.TestEndpoint{URL: f.at.FCM, CA: f.at.FCMCA},
	})
	if err != nil {
		b.Fatal(err)
	}
	key, err := webpush.NewKey()
	if err != nil {
		b.Fatal(err)
	}
	file, err := key.File()
	if err != nil {
		b.Fatal(err)
	}
	web, err := webpush.New(webpush.Config{
		App: "web", Key: file, Subject: webSubject, AppURL: "https://oncall.example.com/",
		TestEndpoint: &webpush.TestEndpoint{URL: f.at.WebPush, CA: f.at.WebPushCA},
	})
	if err != nil {
		b.Fatal(err)
	}
	atOnce := 100
	if latency > 0 {
		atOnce = push.DefaultMaxInFlight // what is far away needs more on the way
	}
	f.sender = push.NewSender(push.Options{})
	b.Cleanup(func() { _ = f.sender.Close(context.Background()) })
	err = f.sender.SetApps([]push.App{
		{ID: "ios", Provider: "apns", Via: via, MaxInFlight: atOnce}, {ID: "android", Provider: "fcm", Via: google}, {ID: "web", Provider: "webpush", Via: web},
	})
	if err != nil {
		b.Fatal(err)
	}
	return f
}

// start runs the services in a process of their own.
func (f *figures) start(latency time.Duration) {
	options, err := json.Marshal(services{Latency: latency})
	if err != nil {
		f.b.Fatal(err)
	}
	child := exec.CommandContext(f.b.Context(), os.Args[0])
	child.Env = append(os.Environ(), servicesVariable+"="+string(options))
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		f.b.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		f.b.Fatal(err)
	}
	if err := child.Start(); err != nil {
		f.b.Fatal(err)
	}
	f.b.Cleanup(func() {
		_ = in.Close()
		_ = child.Wait()
	})
	answers := bufio.NewReader(out)
	answer := func() []byte {
		line, err := answers.ReadBytes('\n')
		if err != nil {
			f.b.Fatalf("the services do not answer: %v", err)
		}
		return line
	}
	if err := json.Unmarshal(answer(), &f.at); err != nil {
		f.b.Fatal(err)
	}
	f.tell = func(line string) {
		if _, err := fmt.Fprintln(in, line); err != nil {
			f.b.Fatal(err)
		}
		answer()
	}
}

// delivery is a page to a phone that nobody else has.
func (f *figures) delivery(platform push.Platform) push.Delivery {
	n := f.serial.Add(1)
	device := push.Device{ID: fmt.Sprint(n), Platform: platform, App: "ios", EnvironmentConfirmed: true, Token: appleToken}
	switch platform {
	case push.Android:
		device.App, device.Token = "android", "cXf0:APA91bSomeTokenOfAPhone"
	case push.Web:
		s := f.at.Subscriptions[n%int64(len(f.at.Subscriptions))]
		device.App, device.Token, device.Keys = "web", push.Token(s.Endpoint), push.SubscriptionKeys{P256dh: s.P256dh, Auth: s.Auth}
	case push.IOS:
	}
	return push.Delivery{Device: device, Message: push.Message{
		Kind: push.KindPage, DeliveryID: fmt.Sprintf("00000000-0000-4000-8000-%012x", n), IncidentID: "inc1", IncidentNumber: 42, Revision: 1,
		Severity: "critical", Title: "CRITICAL checkout", Subtitle: "Database down", Body: "pg-1 does not answer", OpenPages: 1,
		CollapseID: fmt.Sprint("inc-", n), ThreadID: "checkout", Sound: push.SoundNormal, HighUrgency: true,
		Deadline: time.Now().Add(time.Hour), ReceiptPath: "/v1/push/receipts",
	}}
}

const appleToken = "0000000000000000000000000000000000000000000000000000000000000001"

// crowd has some workers do n things, and returns how many a second that was.
func crowd(workers, n int, do func()) float64 {
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	began := time.Now()
	for range workers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				do()
			}
		})
	}
	wg.Wait()
	return float64(n) / time.Since(began).Seconds()
}

// ours sends n pages by the sender, and tells how many a second it took.
func (f *figures) ours(platform push.Platform, workers, n int) float64 {
	return crowd(workers, n, func() {
		if res := f.sender.Send(f.b.Context(), f.delivery(platform)); res.End != push.EndAccepted {
			f.b.Errorf("ended %v: %+v", res.End, res.Outcome)
		}
	})
}

// measured counts what a round allocates, for each of n pushes.
func measured(n int, round func() float64) (perSecond, allocs float64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	perSecond = round()
	runtime.ReadMemStats(&after)
	return perSecond, float64(after.Mallocs-before.Mallocs) / float64(n)
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

// spread is the least and the most of the rounds, beside their median.
func spread(b *testing.B, name string, v []float64) {
	b.ReportMetric(median(v), name)
	b.Logf("%s: median %.3g, from %.3g to %.3g, %d rounds", name, median(v), slices.Min(v), slices.Max(v), len(v))
}

func trust(ca []byte) *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}

func (f *figures) token(team string) *apnstoken.Token {
	key, err := apnstoken.AuthKeyFromBytes(f.at.P8[team])
	if err != nil {
		f.b.Fatal(err)
	}
	return &apnstoken.Token{AuthKey: key, KeyID: teams[team], TeamID: team}
}

// bareAPNs2 is a round of the package beneath us, used as its README says.
func (f *figures) bareAPNs2(body []byte) func(workers, n int) float64 {
	client := apns2.NewTokenClient(f.token(teamOfAPNs2))
	client.Host = f.at.APNs
	client.HTTPClient.Transport.(*http2.Transport).TLSClientConfig = trust(f.at.APNsCA) //nolint:forcetypeassert,staticcheck // as made by NewTokenClient, which has no other way in
	return func(workers, n int) float64 {
		return crowd(workers, n, func() {
			d := f.delivery(push.IOS)
			res, err := client.PushWithContext(f.b.Context(), &apns2.Notification{
				ApnsID: d.Message.DeliveryID, CollapseID: d.Message.CollapseID, DeviceToken: appleToken, Topic: bundle,
				Expiration: d.Message.Deadline, Priority: apns2.PriorityHigh, Payload: body, PushType: apns2.PushTypeAlert,
			})
			if err != nil || !res.Sent() {
				f.b.Errorf("bare apns2: %v, %+v", err, res)
			}
		})
	}
}

// bareHTTP is a round of net/http alone.
func (f *figures) bareHTTP(body []byte) func(workers, n int) float64 {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: trust(f.at.APNsCA), Protocols: protocols}}
	bearer := f.token(teamOfHTTP)
	return func(workers, n int) float64 {
		return crowd(workers, n, func() {
			d := f.delivery(push.IOS)
			q, err := http.NewRequestWithContext(f.b.Context(), http.MethodPost, f.at.APNs+"/3/device/"+appleToken, bytes.NewReader(body))
			if err != nil {
				f.b.Error(err)
				return
			}
			q.Header = http.Header{
				"Authorization": {"bearer " + bearer.GenerateIfExpired()}, "Apns-Topic": {bundle}, "Apns-Push-Type": {"alert"}, "Apns-Priority": {"10"},
				"Apns-Expiration": {fmt.Sprint(d.Message.Deadline.Unix())}, "Apns-Id": {d.Message.DeliveryID}, "Apns-Collapse-Id": {d.Message.CollapseID},
			}
			res, err := client.Do(q)
			if err != nil {
				f.b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			if res.StatusCode != http.StatusOK {
				f.b.Errorf("bare net/http: answered %d", res.StatusCode)
			}
		})
	}
}

// BenchmarkFigureLibraryRatio: what all of the sender costs beside the package
// that carries its requests, and beside net/http.
func BenchmarkFigureLibraryRatio(b *testing.B) {
	const workers, n = 100, 20_000
	f := newFigures(b, 0)
	d := f.delivery(push.IOS)
	body, _, err := apns.Build(&d.Message, &d.Device, push.FormFull, true)
	if err != nil {
		b.Fatal(err)
	}
	package2, plain := f.bareAPNs2(body), f.bareHTTP(body)
	for _, warm := range []func(int, int) float64{package2, plain} {
		warm(workers, 1000)
	}
	f.ours(push.IOS, workers, 1000)
	var ratio, ratioHTTP, perSecond, allocs, allocs2 []float64
	for b.Loop() {
		bare, bareAllocs := measured(n, func() float64 { return package2(workers, n) })
		own, ownAllocs := measured(n, func() float64 { return f.ours(push.IOS, workers, n) })
		http := plain(workers, n)
		ratio, ratioHTTP = append(ratio, own/bare), append(ratioHTTP, own/http)
		perSecond, allocs, allocs2 = append(perSecond, own), append(allocs, ownAllocs), append(allocs2, bareAllocs)
	}
	spread(b, "push_library_ratio", ratio)
	spread(b, "push_http_ratio", ratioHTTP)
	spread(b, "push_per_s", perSecond)
	spread(b, "allocs_per_push", allocs)
	spread(b, "apns2_allocs_per_push", allocs2)
}

// BenchmarkFigureAPNs50ms: APNs is 50 ms away.
func BenchmarkFigureAPNs50ms(b *testing.B) {
	f := newFigures(b, 50*time.Millisecond)
	for range 3 { // a second each, in which the cap in flight doubles
		f.ours(push.IOS, 800, 2000)
		<-time.After(time.Second)
	}
	var perSecond []float64
	for b.Loop() {
		perSecond = append(perSecond, f.ours(push.IOS, 1000, 20_000))
	}
	spread(b, "push_50ms_per_s", perSecond)
}

// BenchmarkFigureFCM: messages to Google.
func BenchmarkFigureFCM(b *testing.B) {
	const workers, n = 100, 20_000
	f := newFigures(b, 0)
	f.ours(push.Android, workers, 1000)
	var perSecond, allocs []float64
	for b.Loop() {
		v, a := measured(n, func() float64 { return f.ours(push.Android, workers, n) })
		perSecond, allocs = append(perSecond, v), append(allocs, a)
	}
	spread(b, "fcm_per_s", perSecond)
	spread(b, "fcm_allocs_per_push", allocs)
}

// BenchmarkFigureWebPush: messages to browsers, by the processor time that this
// process takes for them. Each is encrypted for its own key.
func BenchmarkFigureWebPush(b *testing.B) {
	const workers, n = 100, 5_000
	f := newFigures(b, 0)
	f.ours(push.Web, workers, 500)
	var perCore, allocs []float64
	for b.Loop() {
		began := processorTime(b)
		_, a := measured(n, func() float64 { return f.ours(push.Web, workers, n) })
		perCore, allocs = append(perCore, n/(processorTime(b)-began).Seconds()), append(allocs, a)
	}
	spread(b, "webpush_per_s", perCore)
	spread(b, "webpush_allocs_per_push", allocs)
}

// BenchmarkPush: what a page costs this process, by processor time, which what
// else runs on the machine changes little.
func BenchmarkPush(b *testing.B) {
	for name, platform := range map[string]push.Platform{"apns": push.IOS, "fcm": push.Android} {
		b.Run(name, func(b *testing.B) {
			f := newFigures(b, 0)
			f.ours(platform, 100, 1000)
			b.ReportAllocs()
			b.ResetTimer()
			began := processorTime(b)
			f.ours(platform, 100, b.N)
			b.ReportMetric(float64((processorTime(b)-began).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}

// processorTime is what this process has used of all cores.
func processorTime(b testing.TB) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkFigureBlackHole: what FCM's slowest in a hundred take while a
// thousand pages wait for an APNs that says nothing, beside what they take
// while it answers them.
func BenchmarkFigureBlackHole(b *testing.B) {
	f := newFigures(b, 0)
	f.ours(push.IOS, 100, 1000)
	f.ours(push.Android, 100, 1000)
	p99 := func() float64 {
		const n, every = 4000, time.Millisecond // well below what the machine carries, or it would be the queue that is measured
		ends := make(chan struct{}, 1000)
		for range 1000 {
			f.sender.Submit(f.delivery(push.IOS), func(push.Result) { ends <- struct{}{} })
		}
		took := make([]float64, n)
		var wg sync.WaitGroup
		tick := time.NewTicker(every)
		defer tick.Stop()
		for i := range n {
			<-tick.C
			wg.Go(func() {
				began := time.Now()
				f.sender.Send(f.b.Context(), f.delivery(push.Android))
				took[i] = float64(time.Since(began))
			})
		}
		wg.Wait()
		for range 1000 {
			<-ends
		}
		slices.Sort(took)
		return took[n*99/100]
	}
	var ratio []float64
	for b.Loop() {
		well := p99()
		f.tell("silence")
		silent := p99()
		f.tell("heal")
		for f.sender.Send(b.Context(), f.delivery(push.IOS)).End != push.EndAccepted { // until a probe has found it well
			<-time.After(100 * time.Millisecond)
		}
		ratio = append(ratio, silent/well)
	}
	spread(b, "blackhole_fcm_p99_ratio", ratio)
}

// BenchmarkFigureSuspectFailover: a page's connection dies under it, without a
// word; how long until it is accepted over another.
func BenchmarkFigureSuspectFailover(b *testing.B) {
	f := newFigures(b, 0)
	f.ours(push.IOS, 10, 100)
	var took []float64
	for b.Loop() {
		f.tell("freeze")
		began := time.Now()
		if res := f.sender.Send(b.Context(), f.delivery(push.IOS)); res.End != push.EndAccepted {
			b.Fatalf("ended %v: %+v", res.End, res.Outcome)
		}
		took = append(took, float64(time.Since(began).Milliseconds()))
	}
	spread(b, "suspect_failover_ms", took)
}

func BenchmarkBuildPayload(b *testing.B) {
	r := &rig{t: b, clock: &clock{}}
	m, d := r.page(), iosDevice(fmt.Sprintf("%064x", 1))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := apns.Build(&m, &d, push.FormFull, true); err != nil {
			b.Fatal(err)
		}
	}
}
