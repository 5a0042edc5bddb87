package push

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Defaults of [App] and [Options].
const (
	DefaultMaxInFlight    = 1000
	DefaultMaxQueue       = 100_000
	DefaultAttemptTimeout = 5 * time.Second
	DefaultDrainTimeout   = 5 * time.Second
)

// App is one app at one provider in one environment, and its own bulkhead.
type App struct {
	ID          string
	Provider    string // "apns", "fcm", "webpush": what Platform.Provider answers
	Environment Environment
	Via         Provider

	MaxInFlight int     // attempts at a time; 0 is DefaultMaxInFlight
	MaxQueue    int     // deliveries that may wait; 0 is DefaultMaxQueue
	PerSecond   float64 // attempts per second; 0 is no limit
}

// Options are what a Sender is made of. The zero value works.
type Options struct {
	Log            *slog.Logger          // nil is silence
	Registerer     prometheus.Registerer // nil keeps the metrics to itself
	Metrics        *Metrics              // shared with the providers; nil makes one on Registerer
	AttemptTimeout time.Duration         // of one attempt; 0 is DefaultAttemptTimeout
	OnAlert        func(Alert)           // told what an operator has to mend, at most once a minute each; must not block
	Now            func() time.Time      // nil is time.Now
	Jitter         func() float64        // in [0, 1); nil is math/rand
}

// Alert is something that an operator has to mend.
type Alert struct {
	Provider, App string
	Environment   Environment
	Text          string // a constant sentence
	Reason        string // the service's word, if it said one
	At            time.Time
}

// Sender brings deliveries to their end. Make one with [NewSender].
type Sender struct {
	log     *slog.Logger
	metrics *Metrics
	timeout time.Duration
	onAlert func(Alert)
	now     func() time.Time
	jitter  func() float64

	attemptContext func() (context.Context, context.CancelFunc)
	cancelAttempts context.CancelFunc
	workers        sync.WaitGroup
	collector      prometheus.Collector
	registerer     prometheus.Registerer

	mu      sync.Mutex // guards everything below, and all of bulkhead and job
	apps    map[appKey]*bulkhead
	latest  map[slot]*job      // per device and collapse id: the newest delivery that has not ended
	phones  map[string]*phone  // by device id
	inboxes map[string]*bucket // by person
	sweepAt int
	ended   []ending // collected under mu, told after it
	alerts  []Alert
	alerted map[Alert]struct{}
	parked  []chan task // workers that have nothing to do
	closing bool
}

type appKey struct {
	provider, app string
	env           Environment
}

type slot struct{ device, collapse string }

// ending is what somebody is told once the lock is free: that a job has ended,
// or how one that has not gets on.
type ending struct {
	job  *job
	tell func(Progress)
	what *Progress
}

// NewSender returns a sender without apps; see [Sender.SetApps].
func NewSender(o Options) *Sender {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.AttemptTimeout <= 0 {
		o.AttemptTimeout = DefaultAttemptTimeout
	}
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // the default of an injected clock
	}
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(o.Registerer)
	}
	base, cancel := context.WithCancel(context.Background())
	s := &Sender{
		log: o.Log, metrics: o.Metrics, timeout: o.AttemptTimeout, onAlert: o.OnAlert, now: o.Now, jitter: o.Jitter,
		cancelAttempts: cancel,
		attemptContext: func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(base, o.AttemptTimeout)
		},
		apps: make(map[appKey]*bulkhead), latest: make(map[slot]*job), phones: make(map[string]*phone), inboxes: make(map[string]*bucket),
		alerted: make(map[Alert]struct{}), registerer: o.Registerer,
	}
	if o.Registerer != nil {
		s.collector = &collector{states: s.State}
		o.Registerer.MustRegister(s.collector)
	}
	return s
}

// SetApps makes apps the ones that are served. An app that stays keeps its
// queue; when its Via changed, its breaker starts closed and the old provider
// is closed as soon as its last attempt has ended. Deliveries to an app that
// is gone end with EndRejected and AddressPark. On error nothing changes.
func (s *Sender) SetApps(apps []App) error {
	next := make(map[appKey]App, len(apps))
	for _, a := range apps {
		k := appKey{a.Provider, a.ID, a.Environment.orProduction()}
		if a.ID == "" || a.Provider == "" || a.Via == nil {
			return fmt.Errorf("push: app %q at %q in %s needs an id, a provider name and a provider", a.ID, a.Provider, k.env)
		}
		if !reflect.TypeOf(a.Via).Comparable() {
			return fmt.Errorf("push: app %q has a %T as its provider, of which two cannot be told apart: give a pointer", a.ID, a.Via)
		}
		if strings.Contains(a.ID, "/") {
			return fmt.Errorf("push: app %q has a slash in its id, which sets the parts of an app apart", a.ID)
		}
		if _, twice := next[k]; twice {
			return fmt.Errorf("push: app %q at %s in %s is configured twice", a.ID, a.Provider, k.env)
		}
		next[k] = a
	}
	var err error
	s.locked(func(now time.Time) {
		if s.closing {
			err = errors.New("push: the sender is closed")
			return
		}
		for _, b := range s.apps { // the parts of an app go its way
			if a, stays := next[b.of]; stays {
				s.reconfigure(now, b, a)
			} else {
				s.remove(now, b)
			}
		}
		for k, a := range next {
			if s.apps[k] == nil {
				s.apps[k] = newBulkhead(k, a)
			}
		}
	})
	return err
}

func (s *Sender) remove(now time.Time, b *bulkhead) {
	delete(s.apps, b.key)
	for _, j := range b.all() {
		if j.place == placeFlying {
			j.abandoned = true
			continue
		}
		j.last = Outcome{Class: Park, Reason: "UnknownApp", Local: true}
		s.end(now, j, EndRejected, AddressPark)
	}
	s.retire(b.via)
}

func (s *Sender) reconfigure(now time.Time, b *bulkhead, a App) {
	b.configure(a)
	if b.via.p != a.Via {
		s.retire(b.via)
		b.via = s.shared(b.of, a.Via)
		b.breaker, b.foreign, b.proven = breaker{since: now}, breaker{}, false
		b.pause = pause{}
	}
	s.wake(now, b)
}

// Send is Submit that waits for the end. When ctx ends first, the delivery is
// given up with EndStopped, after the attempt in flight if there is one.
func (s *Sender) Send(ctx context.Context, d Delivery) Result {
	done := make(chan struct{})
	j := s.submit(d, func(*Result) { close(done) }) //nolint:contextcheck // attempts are the sender's: a delivery outlives its submission
	select {
	case <-done:
	case <-ctx.Done():
		s.locked(func(now time.Time) { s.abandon(now, j) }) //nolint:contextcheck // other deliveries start in its place, not under this context
		<-done
	}
	return j.result
}

// Submit brings d to its end and then calls done, once, from whichever goroutine
// brought the end about, which may be the caller's before Submit returns: done
// must not block, and must not want a lock that the caller holds. Submit itself
// does not block either.
func (s *Sender) Submit(d Delivery, done func(Result)) {
	s.submit(d, func(r *Result) {
		if done != nil {
			done(*r)
		}
	})
}

// submit has no context to pass on: attempts are the sender's, for a delivery
// outlives the call that submitted it.
func (s *Sender) submit(d Delivery, done func(*Result)) *job {
	j := &job{d: d, done: done, env: d.Device.Environment.orProduction()}
	s.locked(func(now time.Time) { s.admit(now, j) })
	return j
}

// locked runs f under the lock and then, without it, tells everybody whose
// delivery ended what it came to.
func (s *Sender) locked(f func(now time.Time)) {
	s.mu.Lock()
	f(s.now())
	ended, alerts := s.ended, s.alerts
	s.ended, s.alerts = nil, nil
	s.mu.Unlock()
	for _, a := range alerts {
		s.log.Warn("push needs an operator",
			slog.String("provider", a.Provider), slog.String("app", a.App), slog.String("environment", string(a.Environment)),
			slog.String("what", a.Text), slog.String("reason", a.Reason))
		if s.onAlert != nil {
			s.onAlert(a)
		}
	}
	for _, e := range ended {
		if e.job != nil {
			e.job.done(&e.job.result)
		} else {
			e.tell(*e.what)
		}
	}
}

// Close stops the sender: what waits ends with EndStopped at once, what is in
// flight has until ctx ends, and at most DefaultDrainTimeout, to finish.
// Providers are closed. It returns an error when attempts had to be cut off.
func (s *Sender) Close(ctx context.Context) error {
	var vias []*provider
	s.locked(func(now time.Time) { //nolint:contextcheck // ctx bounds the waiting, the attempts have their own
		if s.closing {
			return
		}
		s.closing = true
		for _, tasks := range s.parked {
			close(tasks)
		}
		s.parked = nil
		for _, b := range s.apps {
			if !slices.Contains(vias, b.via) { // parts share theirs
				vias = append(vias, b.via)
			}
			for _, j := range b.all() {
				s.abandon(now, j)
			}
		}
	})
	idle := make(chan struct{})
	go func() { // ends with the workers, which the deadline below ends
		s.workers.Wait()
		close(idle)
	}()
	ctx, cancel := context.WithTimeout(ctx, DefaultDrainTimeout)
	defer cancel()
	var err error
	select {
	case <-idle:
	case <-ctx.Done():
		err = errors.New("push: attempts were still in flight and have been cut off")
		s.cancelAttempts()
		<-idle
	}
	s.cancelAttempts()
	for _, v := range vias {
		err = errors.Join(err, v.p.Close())
	}
	if s.collector != nil && s.registerer != nil {
		s.registerer.Unregister(s.collector)
	}
	return err
}

// AppState is how one app fares at this moment.
type AppState struct {
	Provider, App string
	Environment   Environment
	Breaker       BreakerState
	Since         time.Time     // of Breaker
	PausedUntil   time.Time     // set when the service told us to slow down
	Pages, Others int           // deliveries that have not ended
	InFlight      int           // attempts
	Oldest        time.Duration // how long the oldest unsent page has been here
	Stats         Stats
}

// State lists all apps, in no order.
func (s *Sender) State() []AppState {
	s.mu.Lock()
	now := s.now()
	states := make([]AppState, 0, len(s.apps))
	reporters := make([]Reporter, 0, len(s.apps))
	for _, b := range s.apps {
		states = append(states, b.state(now))
		reporters = append(reporters, b.reporter())
	}
	s.mu.Unlock()
	for i, r := range reporters {
		if r != nil {
			states[i].Stats = r.Stats()
		}
	}
	return states
}
