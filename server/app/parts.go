package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/apns"
	"github.com/tocsin-oncall/tocsin/server/config"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/notify"
	"github.com/tocsin-oncall/tocsin/server/redisd"
	"github.com/tocsin-oncall/tocsin/server/respond"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// lock makes the data directory and keeps every other server out of it.
func (s *server) lock() error {
	if err := os.MkdirAll(s.c.DataDir, 0o700); err != nil {
		return err
	}
	lock, err := redisd.TakeLock(s.c.DataDir)
	if err != nil {
		return err
	}
	s.life.onStop("data directory", func(context.Context) error { return lock.Release() })
	return nil
}

// masterKeys returns the keys of the configuration, one a line.
func masterKeys(text string) string { return strings.ReplaceAll(text, ",", "\n") }

// openStore connects to Redis, which it starts first where there is none.
func (s *server) openStore(ctx context.Context) error {
	url := s.c.Redis.URL
	if s.c.Private() {
		private, err := s.startRedis(ctx)
		if err != nil {
			return err
		}
		url = private.URL()
	}
	roots, err := rootsOf(s.c.Redis.CAFile, "redis.ca_file")
	if err != nil {
		return err
	}
	s.gate = newGate(s.o.limits, s.clock.Now)
	s.gate.Register(s.registry)
	o := store.Options{
		URL: url, TLS: roots, Replicated: s.c.Redis.Durability == "replicated", Log: s.log, Now: s.o.local(), Step: s.o.Step,
		WayBack: s.c.Upgrade.WayBack,
	}
	if !s.c.Private() { // that one has no replica, and comes back with all that it had
		o.Ring = ringBytes
	}
	o.InboxLimit = inboxLimit
	if s.store, err = s.connect(ctx, o); err != nil {
		return err
	}
	s.life.onStop("store", func(context.Context) error { return s.store.Close() })
	s.failovers().register(s.registry)
	if s.tracing, err = newTracing(ctx, s.c.Tracing, s.o.Version, s.store.Instance()); err != nil {
		return err
	}
	s.life.onStop("tracing", s.tracing.shutdown)
	if s.o.Now == nil {
		s.clock.compare(ctx, s.store.Clock)
		s.life.background(ctx, "clock", func(ctx context.Context) error { return s.clock.follow(ctx, s.store.Clock) })
	}
	return nil
}

func (s *server) failovers() failovers {
	return failovers{stats: s.store.FailoverStats, now: s.clock.Now}
}

// startRedis runs the private server.
func (s *server) startRedis(ctx context.Context) (*redisd.Server, error) {
	o := redisd.Options{
		Dir: filepath.Join(s.c.DataDir, "redis"), Fsync: redisd.FsyncAlways, MaxMemory: int64(s.c.Redis.MaxMemory),
		Binary: s.c.Redis.Program, Log: s.log,
	}
	if s.c.Redis.Durability == "everysec" {
		o.Fsync = redisd.FsyncEverySec
	}
	private, err := redisd.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	s.life.onStop("redis", private.Stop)
	s.life.background(ctx, "redis supervision", private.Run)
	return private, nil
}

// ringBytes is how much of what was acknowledged in the last minute is kept to be
// written again after a failover: five seconds of 5,000 new incidents a second,
// and the whole minute of any ordinary night.
const ringBytes = 64 << 20

const (
	connectPause = time.Second
	connectTell  = 30 * time.Second // between log lines while Redis cannot be reached
)

// connect opens the store. A Redis that cannot be reached is waited for, and
// after a while the administrators are told, out of the copy on disk.
func (s *server) connect(ctx context.Context, o store.Options) (*store.Store, error) {
	began, told, paged := time.Now(), time.Time{}, false
	for {
		opened, err := store.Open(ctx, o)
		switch {
		case err == nil:
			return opened, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case fault.KindOf(err) != fault.Unavailable:
			return nil, err
		}
		if time.Since(told) > connectTell {
			told = time.Now()
			s.log.ErrorContext(ctx, "redis cannot be reached; trying again", slog.Any("error", err))
		}
		if after := s.c.OutOfBand.After; !paged && after > 0 && time.Since(began) > after {
			paged = true
			s.pageWithoutStore(ctx, err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(connectPause):
		}
	}
}

// pageWithoutStore pages the administrators at a start without Redis.
func (s *server) pageWithoutStore(ctx context.Context, cause error) {
	d, err := directory.Open(ctx, directory.Options{
		Log: noLog{}, Keys: s.keys, File: s.snapshotFile(), Now: s.clock.Now, Logger: s.log, StartWait: time.Millisecond,
	})
	if err != nil {
		s.log.ErrorContext(ctx, "administrators cannot be told: there is no copy of the configuration", slog.Any("error", err))
		return
	}
	sender := push.NewSender(push.Options{Log: s.log, Now: s.clock.Now}) //nolint:contextcheck // what it starts outlives the start
	apps := newPushes(s.c.PushApps(), s.log)
	apps.sender = sender
	apps.keyring = &apns.Keyring{Log: s.log}
	if err := apps.load(ctx); err != nil {
		s.log.ErrorContext(ctx, "some administrators cannot be told", slog.Any("error", err))
	}
	o := &outOfBand{
		admins: func() []notify.Phone { return adminPhones(people{directory: d, apps: apps.known, log: s.log}) },
		send:   sender.Send, now: s.clock.Now, log: s.log,
	}
	limited, cancel := context.WithTimeout(ctx, connectTell)
	defer cancel()
	o.tell(limited, cause)
	if err := sender.Close(limited); err != nil {
		s.log.WarnContext(ctx, "pushes cut off", slog.Any("error", err))
	}
}

// outOfBand returns the watch over Redis.
func (s *server) outOfBand() *outOfBand {
	return &outOfBand{
		ping: s.store.Ping, admins: func() []notify.Phone { return adminPhones(s.people) }, send: s.sender.Send,
		after: s.c.OutOfBand.After, every: time.Second, now: s.clock.Now, log: s.log,
	}
}

// view is what decisions know of the world now.
func (s *server) view() incident.View {
	return view{s.directory.Snapshot(), s.notifier.Silent}
}

// undelivered pulls the next way of reaching somebody forward.
func (s *server) undelivered(ctx context.Context, id incident.ID, u incident.Undelivered) error {
	_, err := s.desk.Do(ctx, id, u, respond.Options{})
	return err
}

// keepEvery is how often housekeeping looks: often enough for the ages that
// are configured, and never more than once a second.
func keepEvery(c config.Retention) time.Duration {
	return min(max(c.ArchiveAfter/10, time.Second), time.Minute)
}

// reload reads certificates, push apps and their keys again whenever it is asked
// to. What cannot be used leaves what was there in force.
func (s *server) reload(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.o.Reload:
		}
		err := s.reread()
		err = errors.Join(err, s.pushes.load(ctx), s.people.unpark(ctx))
		if s.c.TLS.CertFile != "" {
			err = errors.Join(err, s.cert.load())
		}
		if err != nil {
			s.log.ErrorContext(ctx, "not everything could be read again; what was there stays in force", slog.Any("error", err))
			continue
		}
		s.log.InfoContext(ctx, "certificates, push apps and their keys were read again")
	}
}

// reread takes the push apps out of the configuration as it is now.
func (s *server) reread() error {
	if s.o.Reread == nil {
		return nil
	}
	c, err := s.o.Reread()
	if err != nil {
		return fmt.Errorf("read the configuration again: %w", err)
	}
	s.pushes.configure(c.PushApps())
	return nil
}

// hint says how the first administrator comes about.
func (s *server) hint(ctx context.Context) {
	if s.directory.Snapshot().Count(directory.KindUser) > 0 {
		return
	}
	s.log.InfoContext(ctx, "nobody is set up yet: on this machine, run tocsin apply -f with your people, services and policies, then tocsin enrol for each phone and tocsin token create for programs",
		slog.String("data_dir", s.c.DataDir))
}

var errNoListener = errors.New("app: the listener has closed")

// unless drops the error that a part returns because it was stopped.
func unless(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errNoListener, err)
}
