package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"google.golang.org/grpc"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/apns"
	"github.com/tocsin-oncall/tocsin/server/admission"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/config"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/engine"
	"github.com/tocsin-oncall/tocsin/server/gateway"
	"github.com/tocsin-oncall/tocsin/server/handover"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/notify"
	"github.com/tocsin-oncall/tocsin/server/respond"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/rpc"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// Options are what Run needs to know beside the configuration.
type Options struct {
	Config  config.Config // validated
	Version string
	Log     *slog.Logger // nil: made as Config.Log says, to standard error
	// Reload makes Run read certificates, push apps and their keys again: SIGHUP.
	Reload <-chan os.Signal
	// Reread reads the configuration again at a Reload. Only its push apps are
	// taken: what else it says counts from the next start. nil: they stay.
	Reread func() (config.Config, error)
	// Started is called once, when every door is open. nil is fine.
	Started func(Doors)
	// Now replaces this machine's clock, which is then compared with no other:
	// for tests that move time. nil: time.Now.
	Now func() time.Time
	// Machine replaces this machine's clock, and is compared with the reference
	// as that would be: for tests of a machine whose clock is wrong. nil: time.Now.
	Machine func() time.Time

	// Step, when set, is told of every durable step before and after it is
	// taken: "before commit", "after push". A test ends the process there. nil
	// in every real server.
	Step func(point string)

	// limits are the rooms for events; a test makes them small.
	limits admission.Limits
	// patience is how long an event over HTTP may take; a test that lets Redis
	// hang makes it longer. 0: as [ingest.Config] has it.
	patience time.Duration
	// inside, when set, gets the server before it starts. A test looks into it.
	inside func(*server)
}

// local is the clock that the process goes by before it is compared with any.
func (o Options) local() func() time.Time {
	switch {
	case o.Now != nil:
		return o.Now
	case o.Machine != nil:
		return o.Machine
	}
	return time.Now
}

// Doors are the addresses at which the server can be reached.
type Doors struct {
	Listen string // host:port of gRPC and HTTP
	Admin  string // host:port of profiles and metrics; empty: off
	Socket string // path of the admin socket
}

// server is one process: what it is made of, from the bottom up.
type server struct {
	o        Options
	c        config.Config
	log      *slog.Logger
	life     *life
	clock    *clock
	registry *prometheus.Registry
	tracing  tracing

	store     *store.Store
	keys      auth.Keyring
	directory *directory.Directory
	auth      *auth.Authenticator
	pushes    *pushes
	sender    *push.Sender
	people    people
	news      *deviceNews
	phones    *phoneKeeper
	shifts    *shiftWarning
	drills    *drills
	away      *vacations
	turns     *turnNews
	notifier  *notify.Notifier
	desk      *respond.Desk
	engine    *engine.Engine
	gate      *admission.Gate
	intake    intake
	channels  map[roster.MethodKind]notify.Channel
	ready     *able
	vitals    *vitals
	api       *rpc.Server
	grpc      *grpc.Server
	gateway   *gateway.Gateway
	cert      *certificate
}

// Run is the server, from its start to its end. It returns nil when ctx has
// ended and everything has come to rest, and an error when a part could not be
// started or failed.
func Run(ctx context.Context, o Options) error {
	defer tendMemory(os.DirFS("/"), memoryShare(o.Config.Private()))()
	s := &server{o: o, c: o.Config, log: o.Log, registry: prometheus.NewRegistry()}
	if s.log == nil {
		s.log = NewLog(s.c.Log, os.Stderr)
	}
	s.clock = newClock(o.local(), s.log)
	s.life = newLife(s.log)
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if o.inside != nil {
		o.inside(s)
	}
	err := s.start(ctx)
	if err == nil {
		err = s.life.wait(ctx)
	}
	if ctx.Err() != nil {
		s.log.InfoContext(ctx, "stopping", slog.String("within", s.c.Shutdown.Drain.String()))
	}
	err = errors.Join(err, s.life.end(ctx, s.c.Shutdown.Drain))
	if err == nil || errors.Is(err, context.Canceled) {
		s.log.InfoContext(context.WithoutCancel(ctx), "stopped")
		return nil
	}
	return err
}

// start builds and starts the parts, each on those before it.
func (s *server) start(ctx context.Context) error {
	for _, step := range []struct {
		name string
		f    func(ctx context.Context) error
	}{
		{"prepare the data directory", s.prepare},
		{"open the store", s.openStore},
		{"load the configuration", s.openDirectory},
		{"set up pushes", s.openPushes},
		{"start the engine", s.startEngine},
		{"open the doors", s.openDoors},
	} {
		if err := step.f(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// prepare takes the data directory for this process alone, and its master key.
func (s *server) prepare(ctx context.Context) error {
	if err := s.lock(); err != nil {
		return err
	}
	file := filepath.Join(s.c.DataDir, "master.key")
	keys, made, err := auth.LoadKeyring(file, masterKeys(s.c.MasterKey))
	if err != nil {
		return err
	}
	if made {
		s.log.WarnContext(ctx, "a master key was made: back it up apart from the data, without it stored secrets are lost", slog.String("file", file))
	}
	s.keys = keys
	return nil
}

// openDirectory loads the configuration of the organisation and follows it.
func (s *server) openDirectory(ctx context.Context) error {
	s.pushes = newPushes(s.c.PushApps(), s.log)
	o := directory.Options{
		Log: directory.StoreLog{Store: s.store}, Keys: s.keys, File: s.snapshotFile(), InUse: inUse(s.store),
		Channels: directory.Channels{Sends: s.sends, Pushes: s.pushesTo}, Now: s.clock.Now, Logger: s.log,
	}
	s.news = &deviceNews{audit: s.store.Audit, now: s.clock.Now, log: s.log, queue: make(chan directory.Changed, newsQueued)}
	o.Changed = s.news.take
	if s.c.Pace != nil {
		o.Pace = *s.c.Pace
	}
	d, err := directory.Open(ctx, o)
	if err != nil {
		return err
	}
	s.directory = d
	s.life.background(ctx, "directory", d.Run)
	s.auth = &auth.Authenticator{Book: func() auth.Book { return d.Snapshot() }, CatchUp: d.CatchUp, Now: s.clock.Now}
	s.ready = &able{writable: s.store.Writable, outgrown: s.store.Outgrown, directory: d}
	return nil
}

// sends reports whether messages of the kind leave this installation. Webhooks
// need nothing of it.
func (s *server) sends(kind roster.MethodKind) bool {
	return kind != roster.Email || s.c.SMTP.Host != ""
}

// pushesTo reports whether an app is set up, by what its phones call it.
func (s *server) pushesTo(p roster.Platform, app string) bool {
	return s.pushes.known().serves(platform(p), app)
}

func (s *server) snapshotFile() string { return filepath.Join(s.c.DataDir, "directory.snapshot") }

// openPushes makes what reaches people. The sender is stopped before the
// notifier, which records how the last sends ended.
func (s *server) openPushes(ctx context.Context) error {
	metrics := push.NewMetrics(s.registry)
	s.sender = push.NewSender(push.Options{ //nolint:contextcheck // what it starts outlives the start
		Log: s.log, Metrics: metrics, Registerer: s.registry, Now: s.clock.Now,
		OnAlert: func(a push.Alert) {
			s.log.ErrorContext(ctx, "push needs mending", slog.String("app", a.App), slog.String("provider", a.Provider),
				slog.String("environment", string(a.Environment)), slog.String("what", a.Text), slog.String("reason", a.Reason))
		},
	})
	s.pushes.sender, s.pushes.metrics, s.pushes.now, s.pushes.step = s.sender, metrics, s.clock.Now, s.o.Step
	s.pushes.keyring = &apns.Keyring{Vault: newVault(s.store, s.keys, s.clock.Now), Log: s.log}
	if err := s.pushes.load(ctx); err != nil {
		if !s.pushes.usable() {
			return err
		}
		s.log.ErrorContext(ctx, "a push app cannot be used; the others go on", slog.Any("error", err))
	}
	s.people = people{directory: s.directory, apps: s.pushes.known, log: s.log}
	var err error
	if s.channels, err = channels(s.c, s.clock.Now, s.directory); err != nil {
		return err
	}
	s.desk = &respond.Desk{
		Store: s.store, View: s.view, Now: s.clock.Now, Tracer: s.tracing.provider.Tracer("tocsin/respond"),
	}
	s.notifier = notify.New(notify.Options{ //nolint:contextcheck // what it starts outlives the start
		Ledger: s.store, Directory: s.people, Push: s.sender, Channels: s.channels, Signer: auth.NewSigner(s.keys),
		Undelivered: s.undelivered, LinkHosts: s.c.Push.LinkHosts, Now: s.clock.Now, Log: s.log, Registerer: s.registry,
		Tracer: s.tracing.provider.Tracer("tocsin/notify"),
	})
	s.life.onStop("notifier", func(ctx context.Context) error { s.notifier.Drain(ctx); return nil })
	s.life.onStop("push sender", s.sender.Close)
	s.life.background(ctx, "receipts", s.notifier.Watch)
	s.news.people, s.news.tell, s.news.submit = s.people, s.notifier.Tell, s.sender.Submit
	s.life.background(ctx, "device news", s.news.run)
	return nil
}

// startEngine begins to own partitions.
func (s *server) startEngine(ctx context.Context) error {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	late := &overdue{store: s.store, directory: s.directory, desk: s.desk, now: s.clock.Now, log: s.log, every: time.Second}
	s.engine = engine.New(engine.Config{
		Store: s.store, Desk: s.desk, Directory: revisions{s.directory}, Notifier: s.notifier, Overdue: late.hold, Log: s.log,
		Metrics: engine.NewMetrics(s.registry),
		Member:  store.Member{Name: host, Version: s.o.Version, Address: s.c.URL(), Started: s.clock.Now()},
	})
	s.desk.Committed = s.engine.Committed
	s.intake = intake{
		auth: s.auth, book: s.directory.Snapshot, append: s.engine.Accept, gate: s.gate, drop: s.store.NoteDropped, now: s.clock.Now, log: s.log,
	}
	s.life.background(ctx, "engine", s.engine.Run)
	s.life.background(ctx, "admission", s.watchGate)
	keep := &keeper{
		store: s.store, owned: s.engine.Owned, directory: s.directory, retention: s.c.Retention, now: s.clock.Now,
		log: s.log, every: keepEvery(s.c.Retention),
	}
	s.life.background(ctx, "housekeeping", keep.run)
	s.phones = &phoneKeeper{
		directory: s.directory, words: s.store.Devices, claim: s.store.ClaimDevice, beat: s.notifier.Heartbeat, tell: s.notifier.Tell,
		owned: s.engine.Owned, now: s.clock.Now, log: s.log, every: time.Minute,
	}
	s.phones.register(s.registry)
	s.life.background(ctx, "phones", s.phones.run)
	s.shifts = &shiftWarning{
		directory: s.directory, words: s.store.Devices, once: s.store.PutOnce, tell: s.notifier.Tell,
		owned: s.engine.Owned, now: s.clock.Now, log: s.log, every: time.Minute,
	}
	s.life.background(ctx, "shifts to come", s.shifts.run)
	s.turns = &turnNews{
		snapshot: s.directory.Snapshot, once: s.store.PutOnce, tell: s.notifier.Tell, owned: s.engine.Owned, now: s.clock.Now, log: s.log, every: 10 * time.Second,
	}
	s.life.background(ctx, "cover and gaps", s.turns.run)
	hands := &handOffs{
		snapshot: s.directory.Snapshot, tell: s.notifier.Tell, now: s.clock.Now, log: s.log, every: 10 * time.Second,
		open: func(ctx context.Context, snap *directory.Snapshot, t handover.Turn) ([]*incident.Incident, error) {
			return handover.Open(ctx, s.store, snap, t)
		},
	}
	s.life.background(ctx, "hand-offs", hands.run)
	s.drills = &drills{
		directory: s.directory, ledger: s.store, send: s.notifier.SendDrill, tell: s.notifier.Tell, owned: s.engine.Owned, now: s.clock.Now,
		log: s.log, every: 2 * time.Second, told: map[string]bool{},
	}
	s.drills.register(s.registry)
	s.life.background(ctx, "fire drills", s.drills.run)
	s.life.background(ctx, "overdue work", late.run)
	held := &holdWatch{
		settings: func() *directory.Settings { return s.directory.Snapshot().GetSettings() },
		log:      s.log, look: time.Second, repeat: holdEvery,
	}
	held.register(s.registry)
	s.life.background(ctx, "hold", held.run)
	s.vitals = newVitals(s.registry, s.o.Version, s.clock.Jumped)
	s.life.background(ctx, "vitals", func(ctx context.Context) error { return s.vitals.follow(ctx, s.store.Filled, s.log) })
	if s.c.OutOfBand.After > 0 {
		s.life.background(ctx, "out of band", s.outOfBand().run)
	}
	return nil
}
