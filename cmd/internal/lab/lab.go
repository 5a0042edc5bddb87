package lab

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/push/webpush"
)

// Bundle is the app on all phones.
const Bundle = "com.example.oncall"

// The key that the simulated Apple knows us by.
const (
	teamID = "TEAM000001"
	keyID  = "KEY0000001"
)

// Options of a Lab.
type Options struct {
	Program string        // the tocsin to run
	Dir     string        // of everything that it keeps; made when missing
	Latency time.Duration // of each answer of the push services
	KeepLog int           // newest requests that each push service remembers; 0: none
	// PublicURL is where phones reach the server; "" where it listens.
	PublicURL string
	// AppURL is where the web app is; "" leaves browsers, and their push service, out.
	AppURL string
	// OnPush is called for every request that Apple or Google has answered, on
	// the connection's goroutine: it must not block. nil is fine.
	OnPush func(pushtest.Request)
}

// Lab is one installation and what is around it.
type Lab struct {
	Apple    *pushtest.APNs
	Google   *pushtest.FCM
	Browsers *pushtest.WebPush // nil without [Options.AppURL]

	o         Options
	masterKey string
}

// New starts the push services.
func New(o Options) (*Lab, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	o.Dir = dir
	if o.Program, err = filepath.Abs(o.Program); err != nil {
		return nil, err
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails, by its documentation
	l := &Lab{o: o, masterKey: base64.StdEncoding.EncodeToString(key)}
	if err := os.MkdirAll(l.path("push"), 0o700); err != nil {
		return nil, err
	}
	log := o.KeepLog
	if log == 0 {
		log = -1
	}
	if l.Apple, err = pushtest.NewAPNs(pushtest.APNsOptions{KeepLog: log, AnyToken: true, Latency: o.Latency, OnRequest: o.OnPush}); err != nil {
		return nil, fmt.Errorf("simulate APNs: %w", err)
	}
	if l.Google, err = pushtest.NewFCM(pushtest.FCMOptions{KeepLog: log, AnyToken: true, Latency: o.Latency, OnRequest: o.OnPush}); err != nil {
		return nil, errors.Join(fmt.Errorf("simulate FCM: %w", err), l.Close())
	}
	if o.AppURL != "" {
		if l.Browsers, err = pushtest.NewWebPush(pushtest.WebPushOptions{KeepLog: log, Latency: o.Latency, OnRequest: o.OnPush}); err != nil {
			return nil, errors.Join(fmt.Errorf("simulate Web Push: %w", err), l.Close())
		}
	}
	if err := l.writeFiles(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// page is the mark of a page in the payloads of both services.
var page = regexp.MustCompile(`"k":\s*"page"`)

// IsPage tells a page from what else is pushed: phones are asked for a sign of
// life now and then, too.
func IsPage(r pushtest.Request) bool { return page.Match(r.Body) }

func (l *Lab) path(parts ...string) string {
	return filepath.Join(append([]string{l.o.Dir}, parts...)...)
}

// AdminSocket is where the server takes calls from its administrator.
func (l *Lab) AdminSocket() string { return l.path("data", "admin.sock") }

// redisDir is where the private redis-server keeps its data.
func (l *Lab) redisDir() string { return l.path("data", "redis") }

// writeFiles writes what the server reads at its start.
func (l *Lab) writeFiles() error {
	config := fmt.Sprintf(`listen: 127.0.0.1:0
data_dir: data
push:
  apps:
    - {id: oncall, platform: ios, bundle: %s, team_id: %s, key_id: %s, key_file: push/apple.p8, test_endpoint: %q, test_ca_file: push/apple.pem}
    - {id: oncall, platform: android, service_account_file: push/google.json, test_endpoint: %q, test_ca_file: push/google.pem}
`, Bundle, teamID, keyID, l.Apple.URL(), l.Google.URL())
	files := map[string][]byte{
		"push/apple.p8": l.Apple.NewKey(teamID, keyID), "push/apple.pem": l.Apple.CA(),
		"push/google.json": l.Google.ServiceAccountJSON(), "push/google.pem": l.Google.CA(),
	}
	if l.Browsers != nil {
		key, err := webpush.NewKey()
		if err != nil {
			return err
		}
		if files["push/vapid.json"], err = key.File(); err != nil {
			return err
		}
		files["push/browsers.pem"] = l.Browsers.CA()
		config += fmt.Sprintf("    - {id: oncall, platform: web, vapid_key_file: push/vapid.json, vapid_subject: 'mailto:oncall@example.com', app_url: %q, test_endpoint: %q, test_ca_file: push/browsers.pem}\n",
			l.o.AppURL, l.Browsers.URL())
	}
	if l.o.PublicURL != "" {
		config += fmt.Sprintf("public_url: %q\n", l.o.PublicURL)
	}
	files["tocsin.yaml"] = []byte(config)
	for name, text := range files {
		if err := os.WriteFile(l.path(name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the push services, and a redis-server that outlived its tocsin.
// The files stay.
func (l *Lab) Close() error {
	l.Apple.Close()
	if l.Google != nil {
		l.Google.Close()
	}
	if l.Browsers != nil {
		l.Browsers.Close()
	}
	pid, err := l.redisPID()
	if err != nil {
		return nil //nolint:nilerr // none was left
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("end the redis-server that was left: %w", err)
	}
	return nil
}

// redisPID is the process of the private redis-server.
func (l *Lab) redisPID() (int, error) {
	text, err := os.ReadFile(filepath.Join(l.redisDir(), "redis.pid"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// pause waits a moment between two looks at something, less when ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
