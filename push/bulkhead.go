package push

import (
	"maps"
	"slices"
	"time"

	"golang.org/x/time/rate"
)

// place is where a job is. A job is in exactly one.
type place uint8

const (
	placeNew     place = iota
	placeBehind        // an older delivery of its slot is in flight
	placeQueued        // ready, waiting for its turn
	placeWaiting       // for a timer
	placeFlying        // an attempt is being made
	placeEnded
)

// job is a delivery on its way. The sender's lock guards it, except d, done
// and the fields that only change between attempts, which the worker reads.
type job struct {
	d      Delivery
	done   func(*Result)
	result Result // once it has ended
	env    Environment

	home     *bulkhead
	via      *provider // of the attempt in flight
	place    place
	enqueued time.Time
	timer    *time.Timer
	expiry   *time.Timer // ends it at its deadline while it stands in a queue; nil until it has to stand
	round    int         // distinguishes a timer from its successors
	ahead    *job
	next     *job // the newer delivery of the slot that waits for this one

	form       Form
	avoid      string
	attempts   int
	failures   int
	instant    int // consecutive retries without a wait
	last       Outcome
	tries      []Try
	begun      bool // the caller has given leave for the attempt in flight
	abandoned  bool
	triedOther bool // environment
	suspect    bool // the service called the address dead; a second, minimal try decides
	unpaid     bool // a retry that the budget has not allowed yet
	held       bool // waits for the provider to come back
	told       bool // that the provider is down
}

func (j *job) slot() (slot, bool) {
	s := slot{j.d.Device.ID, j.d.Message.CollapseID}
	return s, s.device != "" && s.collapse != ""
}

// bulkhead is everything that one app at one provider in one environment has
// for itself. The sender's lock guards it.
type bulkhead struct {
	key          appKey
	of           appKey // the configured app; another than key for a part of it
	part         string // of a Parted provider; "" of the app itself
	config       App
	via          *provider
	maxInFlight  int
	maxQueue     int
	limiter      *rate.Limiter // nil is no limit
	limiterTimer *time.Timer

	pages, others queue
	live          map[*job]struct{}
	flying        int

	meters  [len(kindNames)]*meter // by kind, as they come up
	proven  bool                   // the provider has accepted something: its environment and its credential are right
	breaker breaker
	foreign breaker // for the devices that the service can reach only through another one
	budget  budget
	brake   brake
	quota   quota
	pause   pause
}

// provider counts the attempts that still use a Provider, so that a replaced
// one is closed after the last of them.
type provider struct {
	p       Provider
	users   int
	retired bool
}

func newBulkhead(k appKey, a App) *bulkhead {
	b := &bulkhead{key: k, of: k, via: &provider{p: a.Via}, live: make(map[*job]struct{})}
	b.configure(a)
	return b
}

// bulkhead is the one that a device's deliveries belong to, nil for none. A
// part of an app comes into being with its first delivery.
func (s *Sender) bulkhead(d *Device) *bulkhead {
	k := appKey{d.Platform.Provider(), d.App, d.Environment.orProduction()}
	b := s.apps[k]
	if b == nil {
		return nil
	}
	via, parted := b.via.p.(Parted)
	if !parted {
		return b
	}
	name := via.Part(d)
	if name == "" {
		return b
	}
	key := k
	key.app += "/" + name
	part := s.apps[key]
	if part == nil {
		part = newBulkhead(key, b.config)
		part.of, part.part, part.via = k, name, b.via
		s.apps[key] = part
	}
	return part
}

// shared is the provider of an app, counted once for all parts of it.
func (s *Sender) shared(of appKey, p Provider) *provider {
	for _, b := range s.apps {
		if b.of == of && b.via.p == p {
			return b.via
		}
	}
	return &provider{p: p}
}

// reporter is who knows how the bulkhead's provider fares, nil for nobody.
func (b *bulkhead) reporter() Reporter {
	if via, parted := b.via.p.(Parted); parted {
		return partReporter{via, b.part}
	}
	r, _ := b.via.p.(Reporter)
	return r
}

type partReporter struct {
	via  Parted
	part string
}

func (r partReporter) Stats() Stats { return r.via.PartStats(r.part) }

func (b *bulkhead) configure(a App) {
	b.config = a
	b.maxInFlight, b.maxQueue = a.MaxInFlight, a.MaxQueue
	if b.maxInFlight <= 0 {
		b.maxInFlight = DefaultMaxInFlight
	}
	if b.maxQueue <= 0 {
		b.maxQueue = DefaultMaxQueue
	}
	b.limiter = nil
	if a.PerSecond > 0 {
		b.limiter = rate.NewLimiter(rate.Limit(a.PerSecond), max(1, int(a.PerSecond/10)))
	}
}

func (b *bulkhead) all() []*job { return slices.Collect(maps.Keys(b.live)) }

func (b *bulkhead) queueFor(j *job) *queue {
	if j.d.Message.Kind.Loud() {
		return &b.pages
	}
	return &b.others
}

func (b *bulkhead) pop() *job {
	if j := b.pages.pop(b); j != nil {
		return j
	}
	return b.others.pop(b)
}

func (b *bulkhead) state(now time.Time) AppState {
	st := AppState{
		Provider: b.key.provider, App: b.key.app, Environment: b.key.env,
		Breaker: b.breaker.state, Since: b.breaker.since, InFlight: b.flying,
	}
	if now.Before(b.pause.until) {
		st.PausedUntil = b.pause.until
	}
	for j := range b.live {
		if !j.d.Message.Kind.Loud() {
			st.Others++
			continue
		}
		st.Pages++
		st.Oldest = max(st.Oldest, now.Sub(j.enqueued))
	}
	return st
}

// meter is what counts the job in an app.
func (s *Sender) meter(b *bulkhead, j *job) *meter {
	kind := j.d.Message.Kind
	if b.meters[kind] == nil {
		b.meters[kind] = s.metrics.meter(b.key, kind)
	}
	return b.meters[kind]
}
