package app

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/server/config"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/ingest"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childConfig); path != "" {
		os.Exit(serveAsChild(path))
	}
	os.Exit(redistest.Main(m))
}

// patience bounds every wait of these tests: on a busy machine, not on a good day.
const patience = 30 * time.Second

// watch is time that a test moves. It runs on between moves, until it is stopped.
type watch struct {
	mu      sync.Mutex
	ahead   time.Duration
	stopped time.Time // zero: it runs
}

func (w *watch) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped.IsZero() {
		return w.stopped
	}
	return time.Now().Add(w.ahead)
}

// stop lets the watch stand at an instant.
func (w *watch) stop(at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = at
}

// start lets a watch that stands run on from where it stands.
func (w *watch) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped.IsZero() {
		w.ahead, w.stopped = time.Until(w.stopped), time.Time{}
	}
}

// forward moves time.
func (w *watch) forward(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ahead += d
}

const (
	bundle = "com.example.oncall"
	// masterKey is that of all instances of a test.
	masterKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	key       = "k0123456789abcdef0123456789abcde"
)

// organisation is what most tests page: Ann, then Bo, and Cy when all else fails.
const organisation = `
people:
  - {id: ann, name: Ann, email: ann@example.com, role: responder}
  - {id: bo, name: Bo, email: bo@example.com, role: responder}
  - {id: cy, name: Cy, email: cy@example.com, role: admin}
policies:
  - {id: shop, name: Shop, levels: [{targets: [users/ann], delay: 5m}, {targets: [users/bo], delay: 5m}], fallback: [users/cy]}
services:
  - {id: checkout, name: Checkout, escalation_policy: shop, integrations: [{id: monitor, source: generic, key: ` + key + `}]}
settings: {organization: Example, catch_all: [cy]}
`

// world is everything outside of the server.
type world struct {
	t     *testing.T
	redis string
	watch *watch
	apple *pushtest.APNs
	fcm   *pushtest.FCM
	files string
}

func newWorld(t *testing.T, redis string, change ...func(*pushtest.APNsOptions)) *world {
	t.Helper()
	w := &world{t: t, redis: redis, watch: &watch{}, files: t.TempDir()}
	o := pushtest.APNsOptions{Now: w.watch.Now}
	for _, f := range change {
		f(&o)
	}
	var err error
	if w.apple, err = pushtest.NewAPNs(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.apple.Close)
	if w.fcm, err = pushtest.NewFCM(pushtest.FCMOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.fcm.Close)
	for name, text := range map[string][]byte{
		"key.p8": w.apple.NewKey("TEAM000001", "KEY0000001"), "apple.pem": w.apple.CA(),
		"account.json": w.fcm.ServiceAccountJSON(), "google.pem": w.fcm.CA(),
	} {
		if err := os.WriteFile(filepath.Join(w.files, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *world) file(name string) string { return filepath.Join(w.files, name) }

// config is that of one instance, with a data directory of its own.
func (w *world) config(dir string) config.Config {
	c := config.Default()
	c.Listen, c.DataDir, c.Redis.URL = "127.0.0.1:0", dir, w.redis
	c.MasterKey = masterKey
	c.Shutdown.Drain = 5 * time.Second
	c.Push.Apps = []config.PushApp{
		{
			ID: "oncall", Platform: "ios", Environment: "production", Bundle: bundle, TeamID: "TEAM000001", KeyID: "KEY0000001",
			KeyFile: w.file("key.p8"), TestEndpoint: w.apple.URL(), TestCAFile: w.file("apple.pem"), Critical: true,
		},
		{
			ID: "oncall", Platform: "android", Environment: "production", ServiceAccountFile: w.file("account.json"),
			TestEndpoint: w.fcm.URL(), TestCAFile: w.file("google.pem"),
		},
	}
	return c
}

// instance is one running server.
type instance struct {
	t      *testing.T
	server *server
	doors  Doors
	stop   func() // in order; waits
}

// start runs a server in this process, with what change does to its options.
func (w *world) start(change ...func(*Options)) *instance {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	started, ended := make(chan Doors, 1), make(chan error, 1)
	in := &instance{t: w.t}
	o := Options{
		Config: w.config(w.t.TempDir()), Version: "test", Log: logTo(w.t), Now: w.watch.Now,
		Started: func(d Doors) { started <- d }, inside: func(s *server) { in.server = s },
	}
	for _, f := range change {
		f(&o)
	}
	go func() { ended <- Run(ctx, o) }() // read by stop
	var once sync.Once
	in.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				w.t.Errorf("the server ended with: %v", err)
			}
		})
	}
	select {
	case in.doors = <-started:
	case err := <-ended:
		cancel()
		w.t.Fatalf("the server did not start: %v", err)
	}
	w.t.Cleanup(in.stop)
	return in
}

// logTo writes a server's log into the test's.
func logTo(t *testing.T) *slog.Logger {
	level := slog.LevelWarn
	if testing.Verbose() {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level}))
}

// apply sets the organisation up.
func (in *instance) apply(text string) {
	in.t.Helper()
	_, err := in.server.directory.ApplyDocument(in.t.Context(), directory.ByServer("test"), []byte(text), directory.ApplyOptions{Force: true})
	if err != nil {
		in.t.Fatalf("apply: %v", err)
	}
}

// send posts an event of the generic source.
func (in *instance) send(action, dedup, summary string) {
	in.t.Helper()
	body, err := json.Marshal(map[string]string{
		"event_action": action, "dedup_key": dedup, "summary": summary, "severity": "critical", "source": "test",
	})
	if err != nil {
		in.t.Fatal(err)
	}
	status, answer := in.post("/integrations/"+key+"/generic", body)
	if status != http.StatusAccepted {
		in.t.Fatalf("event answered %d %s, want 202", status, answer)
	}
}

func (in *instance) post(path string, body []byte) (int, string) {
	in.t.Helper()
	req, err := http.NewRequestWithContext(in.t.Context(), http.MethodPost, "http://"+in.doors.Listen+path, bytes.NewReader(body))
	if err != nil {
		in.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	return in.do(req)
}

func (in *instance) get(path string) (int, string) {
	in.t.Helper()
	req, err := http.NewRequestWithContext(in.t.Context(), http.MethodGet, "http://"+in.doors.Listen+path, nil)
	if err != nil {
		in.t.Fatal(err)
	}
	return in.do(req)
}

func (in *instance) do(req *http.Request) (int, string) {
	in.t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		in.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		in.t.Fatal(err)
	}
	return res.StatusCode, strings.TrimSpace(string(text))
}

// enrol gives a person a phone.
func (in *instance) enrol(w *world, user roster.UserID, platform roster.Platform) *pushtest.Phone {
	in.t.Helper()
	phone := pushtest.NewPhone(pushtest.PhoneOptions{Name: string(user), Now: w.watch.Now})
	in.t.Cleanup(phone.Close)
	kind, token := directory.APNs, ""
	if platform == roster.IOS {
		token = w.apple.Register(phone, bundle)
	} else {
		kind, token = directory.FCM, w.fcm.Register(phone, bundle)
	}
	if err := registerAs(in.t.Context(), in.server.directory, user, platform, kind, token); err != nil {
		in.t.Fatal(err)
	}
	return phone
}

// register gives a person an iPhone by its token.
func register(ctx context.Context, d *directory.Directory, user roster.UserID, token string) error {
	return registerAs(ctx, d, user, roster.IOS, directory.APNs, token)
}

func registerAs(
	ctx context.Context, d *directory.Directory, user roster.UserID, platform roster.Platform, kind directory.AddressKind, token string,
) error {
	device := directory.Device{
		Device: roster.Device{ID: roster.DeviceID("d" + string(user)), User: user, Name: "phone", Platform: platform, State: roster.DeviceActive},
		App:    bundle, Install: newUUID(), Permission: directory.PermissionGranted,
		Can: directory.Capabilities{Sound: true, Alert: true, Actions: true},
	}
	var err error
	if device.Address, err = d.SealAddress(device.ID, kind, directory.AddressSecret{Value: token}, time.Now()); err != nil {
		return err
	}
	_, err = d.Change(ctx, directory.ByServer("test"), func(e *directory.Edit) error { return e.Create(&device) })
	return err
}

// gets waits for a push on the phone.
func gets(t *testing.T, phone *pushtest.Phone, what string, match func(pushtest.Notification) bool) pushtest.Notification {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	n, err := phone.Wait(ctx, match)
	if err != nil {
		t.Fatalf("%s's phone never got %s; it got %+v", phone.Name(), what, phone.Got())
	}
	return n
}

func page(n pushtest.Notification) bool { return n.Kind == "page" }

// integration is that of the organisation, as the doors see it.
func (in *instance) integration(t *testing.T) ingest.Integration {
	t.Helper()
	from, err := in.server.intake.Integration(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return from
}

func trigger(dedup string) []event.Event {
	return []event.Event{{Action: event.Trigger, DedupKey: dedup, Summary: "disk full", Source: "test", Severity: event.Critical}}
}
