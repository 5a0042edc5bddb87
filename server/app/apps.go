package app

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/apns"
	"github.com/tocsin-oncall/tocsin/push/fcm"
	"github.com/tocsin-oncall/tocsin/push/webpush"
	"github.com/tocsin-oncall/tocsin/server/config"
)

// apps is the apps of the configuration, by what phones call them.
type apps []config.PushApp

// resolve returns the id under which the sender knows the app of a phone. A
// phone names it by that id or by its bundle id. FCM tokens say by themselves
// which app they are for, so where there is one project any package name is it.
// An app that nobody configured keeps its name, and is refused by the sender.
func (a apps) resolve(platform push.Platform, name string) string {
	only, several := "", false
	for _, c := range a {
		if push.Platform(c.Platform) != platform {
			continue
		}
		if c.ID == name || (c.Bundle != "" && c.Bundle == name) {
			return c.ID
		}
		several = several || (only != "" && only != c.ID)
		only = c.ID
	}
	if only == "" || several || platform == push.IOS {
		return name
	}
	return only
}

// serves reports whether phones of the app, as they name it, can be pushed to.
func (a apps) serves(platform push.Platform, name string) bool {
	id := a.resolve(platform, name)
	return slices.ContainsFunc(a, func(c config.PushApp) bool { return push.Platform(c.Platform) == platform && c.ID == id })
}

// pushes keeps the sender's apps as the configuration and its key files say.
type pushes struct {
	config  atomic.Pointer[apps] // of the configuration as it was read last
	sender  *push.Sender
	metrics *push.Metrics
	keyring *apns.Keyring // of all apps and all their reloads
	log     *slog.Logger
	now     func() time.Time   // of provider tokens: all instances make the same; nil is this machine's
	step    func(point string) // see Options; nil in every real server

	mu     sync.Mutex
	active map[string]keyed // by identity
}

// keyed is a provider and the hash of what it was made of.
type keyed struct {
	hash [sha256.Size]byte
	via  push.Provider
	web  *webpush.Provider // of a web app: the provider itself
}

// newPushes returns the apps of the configuration. None is served before load,
// which needs a sender.
func newPushes(configured []config.PushApp, log *slog.Logger) *pushes {
	p := &pushes{log: log}
	p.configure(configured)
	return p
}

// configure replaces the apps of the configuration; load makes them served.
func (p *pushes) configure(configured []config.PushApp) {
	all := apps(configured)
	p.config.Store(&all)
}

// known returns the apps for [people].
func (p *pushes) known() apps { return *p.config.Load() }

// identity names an app of the configuration apart from all others.
func identity(c config.PushApp) string { return c.Platform + "/" + c.ID + "/" + c.Environment }

// load makes the sender serve the apps as they are configured, and their files
// are on disk, now. An app of which nothing has changed keeps its connections.
// When a file cannot be used, the app goes on with what it had, or is
// [unusable], and load says so.
func (p *pushes) load(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := map[string]keyed{}
	var all []push.App
	var errs []error
	for _, c := range p.known() {
		id := identity(c)
		k, err := p.provider(c, p.active[id]) //nolint:contextcheck // what it starts outlives the start
		if err != nil {
			errs = append(errs, fmt.Errorf("push app %s (%s, %s): %w", c.ID, c.Platform, cmp.Or(c.Environment, "production"), err))
			if k.via == nil {
				k.via = unusable{}
			}
		}
		next[id] = k
		all = append(all, push.App{
			ID: c.ID, Provider: push.Platform(c.Platform).Provider(), Environment: appEnvironment(c), Via: k.via,
			MaxInFlight: c.MaxInFlight, PerSecond: pace(c),
		})
	}
	if err := p.sender.SetApps(all); err != nil { //nolint:contextcheck // what it starts outlives the start
		for id, k := range next {
			if k.via != p.active[id].via { // made for nothing
				errs = append(errs, k.via.Close())
			}
		}
		return errors.Join(append(errs, fmt.Errorf("set the push apps: %w", err))...)
	}
	p.active = next
	p.log.DebugContext(ctx, "push apps are set", slog.Int("count", len(all)))
	return errors.Join(errs...)
}

// usable reports whether some app has a provider, or none was asked for.
func (p *pushes) usable() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range p.active {
		if k.via != (unusable{}) {
			return true
		}
	}
	return len(p.known()) == 0
}

// unusable stands in for an app whose files cannot be used. Its phones keep
// their addresses, and their people are reached another way at once.
type unusable struct{}

// Send implements [push.Provider].
func (unusable) Send(context.Context, push.Attempt) push.Outcome {
	return push.Outcome{
		Class: push.AuthConfig, Reason: "NoCredential",
		Alert: "the credential of an app cannot be used: the log of the start or of the last reload says why",
	}
}

// Close implements [push.Provider].
func (unusable) Close() error { return nil }

func appEnvironment(c config.PushApp) push.Environment {
	if c.Environment == string(push.Sandbox) {
		return push.Sandbox
	}
	return push.Production
}

func pace(c config.PushApp) float64 {
	if c.PerSecond == 0 && c.Platform == string(push.Android) {
		return fcm.DefaultPerSecond
	}
	return c.PerSecond
}

// provider returns the app's provider: the one it has when the files are the
// same, or cannot be used.
func (p *pushes) provider(c config.PushApp, had keyed) (keyed, error) {
	key, err := readKeyFile(cmp.Or(c.KeyFile, c.ServiceAccountFile, c.VAPIDKeyFile))
	if err != nil {
		return had, fmt.Errorf("read its key: %w", err)
	}
	var ca []byte
	if c.TestCAFile != "" {
		if ca, err = os.ReadFile(c.TestCAFile); err != nil {
			return had, fmt.Errorf("read the simulator's authority: %w", err)
		}
	}
	hash := sha256.Sum256(bytes.Join([][]byte{credentials(c), key, ca}, []byte{0}))
	if had.via != nil && had.hash == hash {
		return had, nil
	}
	via, err := NewProvider(c, key, ca, ProviderOptions{Keyring: p.keyring, Metrics: p.metrics, Log: p.log, Now: p.now})
	if err != nil {
		return had, err
	}
	web, _ := via.(*webpush.Provider)
	if p.step != nil {
		via = &stepped{Provider: via, step: p.step}
	}
	return keyed{hash: hash, via: via, web: web}, nil
}

// credentials is everything of an app's configuration that its provider is made
// of, apart from the files: with another key id it is another provider.
func credentials(c config.PushApp) []byte {
	c.MaxInFlight, c.PerSecond = 0, 0 // of the sender
	return fmt.Appendf(nil, "%+v", c)
}

// stepped reports every attempt before and after it is made.
type stepped struct {
	push.Provider
	step func(point string)
}

// Send implements [push.Provider].
func (s stepped) Send(ctx context.Context, a push.Attempt) push.Outcome {
	s.step("before push")
	defer s.step("after push")
	return s.Provider.Send(ctx, a)
}

// maxKeyFile bounds what is read of a key file, in bytes: those of Apple and
// Google have a few thousand.
const maxKeyFile = 1 << 20

func readKeyFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	key, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err == nil && len(key) > maxKeyFile {
		err = fmt.Errorf("%s has over %d bytes: that is no key", name, maxKeyFile)
	}
	return key, err
}
