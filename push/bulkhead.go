package push

import (
	"context"
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

// queue is first in, first out; jobs that ended while in it, or have their place
// elsewhere since, are skipped.
type queue struct {
	jobs []*job
	head int
}

func (q *queue) push(j *job) { q.jobs = append(q.jobs, j) }

// pushFront is for a job that had its turn and could not use it.
func (q *queue) pushFront(j *job) {
	if q.head == 0 {
		q.jobs = append([]*job{nil}, q.jobs...)
		q.head = 1
	}
	q.head--
	q.jobs[q.head] = j
}

func (q *queue) pop(of *bulkhead) *job {
	for q.head < len(q.jobs) {
		j := q.jobs[q.head]
		q.jobs[q.head] = nil
		q.head++
		if q.head == len(q.jobs) {
			q.jobs, q.head = q.jobs[:0], 0
		} else if q.head >= 1024 && 2*q.head >= len(q.jobs) {
			q.jobs = append(q.jobs[:0], q.jobs[q.head:]...)
			q.head = 0
		}
		if j.place == placeQueued && j.home == of {
			return j
		}
	}
	return nil
}

// admit takes a new job in, or ends it at once.
func (s *Sender) admit(now time.Time, j *job) {
	j.enqueued = now
	m := &j.d.Message
	if m.At.IsZero() {
		m.At = now
	}
	b := s.bulkhead(&j.d.Device)
	switch err := m.Validate(); {
	case s.closing:
		s.end(now, j, EndStopped, AddressKeep)
	case err != nil:
		j.last = Outcome{Class: OurBug, Reason: err.Error(), Local: true}
		s.end(now, j, EndRejected, AddressKeep)
	case b == nil:
		j.last = Outcome{Class: Park, Reason: "UnknownApp", Local: true}
		s.alert(now, appKey{string(j.d.Device.Platform), j.d.Device.App, j.env}, "a phone belongs to an app that is not configured", "UnknownApp")
		s.end(now, j, EndRejected, AddressPark)
	case !now.Before(m.Deadline):
		j.home = b
		s.end(now, j, EndExpired, AddressKeep)
	case len(b.live) >= b.maxQueue:
		j.home = b
		j.last = Outcome{Class: RetryLater, Reason: "QueueFull", Local: true}
		s.alert(now, b.key, "the queue of an app is full", "QueueFull")
		s.end(now, j, EndProviderDown, AddressKeep)
	default:
		s.line(now, b, j)
	}
}

// line puts the job into its slot's line: it takes the place of what waits
// there and goes behind what is in flight, so that a page and its clear never
// overtake each other.
func (s *Sender) line(now time.Time, b *bulkhead, j *job) {
	j.home = b
	if key, ok := j.slot(); ok {
		if prev := s.latest[key]; prev != nil {
			if older(j, prev) {
				s.end(now, j, EndSuperseded, AddressKeep)
				return
			}
			ahead := prev
			if prev.place != placeFlying {
				ahead, prev.ahead = prev.ahead, nil
				s.end(now, prev, EndSuperseded, AddressKeep)
			}
			if ahead != nil {
				ahead.next, j.ahead = j, ahead
			}
		}
		s.latest[key] = j
	}
	b.live[j] = struct{}{}
	if j.ahead != nil {
		j.place = placeBehind
	} else {
		s.ready(now, j)
		s.pump(now, b)
	}
	s.linger(now, j)
}

// linger makes sure that a job which has to stand in a queue is told its end
// at its deadline, not when its turn would have come.
func (s *Sender) linger(now time.Time, j *job) {
	if (j.place != placeQueued && j.place != placeBehind) || j.expiry != nil {
		return
	}
	j.expiry = time.AfterFunc(max(0, j.d.Message.Deadline.Sub(now)), func() {
		s.locked(func(now time.Time) {
			if j.place == placeQueued || j.place == placeBehind {
				s.end(now, j, EndExpired, AddressKeep)
			}
		})
	})
}

func older(j, than *job) bool {
	a, b := &j.d.Message, &than.d.Message
	return a.IncidentID == b.IncidentID && a.Revision < b.Revision
}

func (s *Sender) ready(_ time.Time, j *job) {
	j.place = placeQueued
	j.home.queueFor(j).push(j)
}

// wake queues what waits for the provider to come back.
func (s *Sender) wake(now time.Time, b *bulkhead) {
	var woken []*job
	for j := range b.live {
		j.told = false
		if j.place == placeWaiting && j.held {
			s.stopTimer(j)
			s.ready(now, j)
			woken = append(woken, j)
		}
	}
	s.pump(now, b)
	for _, j := range woken {
		s.linger(now, j)
	}
}

// pump starts as many attempts as the app may have in flight.
func (s *Sender) pump(now time.Time, b *bulkhead) {
	for j := s.next(now, b); j != nil; j = s.next(now, b) {
		s.employ(task{b, j})
	}
}

// task is one job that may fly.
type task struct {
	b *bulkhead
	j *job
}

// maxParked is how many workers are kept for the next burst.
const maxParked = 256

// employ gives a task to a worker who has none, or to a new one. Workers are
// kept because a new goroutine grows its stack anew in every request, which
// took a sixth of the time of a push.
func (s *Sender) employ(t task) {
	if n := len(s.parked); n > 0 {
		s.parked[n-1] <- t // it has a place: a parked worker has no other task
		s.parked = s.parked[:n-1]
		return
	}
	s.workers.Go(func() {
		tasks := make(chan task, 1)
		for ok := true; ok; t, ok = <-tasks {
			s.work(t.b, t.j)
			s.park(tasks)
		}
	})
}

// park keeps the worker behind tasks for later, or sends it home.
func (s *Sender) park(tasks chan task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing || len(s.parked) >= maxParked {
		close(tasks)
		return
	}
	s.parked = append(s.parked, tasks)
}

// next takes the next job that may fly now, and counts it as flying.
func (s *Sender) next(now time.Time, b *bulkhead) *job {
	for b.flying < b.maxInFlight && !s.closing {
		if !s.paced(now, b) {
			return nil
		}
		j := b.pop()
		if j == nil {
			return nil
		}
		if !s.mayFly(now, b, j) {
			continue
		}
		if b.limiter != nil {
			b.limiter.AllowN(now, 1)
		}
		if j.attempts == 0 {
			b.budget.first(now)
		}
		b.flying++
		j.via = b.via
		j.via.users++
		j.place, j.held, j.unpaid = placeFlying, false, false
		return j
	}
	return nil
}

// paced tells whether the app's own rate allows an attempt now; if not, the
// pump runs again when it does.
func (s *Sender) paced(now time.Time, b *bulkhead) bool {
	if b.limiter == nil || b.limiter.TokensAt(now) >= 1 {
		return true
	}
	if b.limiterTimer == nil {
		missing := (1 - b.limiter.TokensAt(now)) / float64(b.limiter.Limit())
		b.limiterTimer = time.AfterFunc(time.Duration(missing*float64(time.Second))+time.Millisecond, func() {
			s.locked(func(now time.Time) {
				b.limiterTimer = nil
				s.pump(now, b)
			})
		})
	}
	return false
}

// mayFly checks everything that may hold a job back; a job that is held back
// has been sent to wait, or has ended.
func (s *Sender) mayFly(now time.Time, b *bulkhead, j *job) bool {
	m := &j.d.Message
	if !now.Before(m.Deadline) {
		s.end(now, j, EndExpired, AddressKeep)
		return false
	}
	ph := s.phone(j)
	if ph != nil && now.Before(ph.pause.until) && !ph.pause.probe(now, m) {
		s.wait(now, j, ph.pause.next(m))
		return false
	}
	if until := s.ceiling(now, j); until.After(now) {
		s.wait(now, j, until)
		return false
	}
	if j.unpaid && !b.budget.retry(now) {
		s.wait(now, j, now.Add(time.Second+time.Duration(s.jitter()*float64(time.Second))))
		return false
	}
	if now.Before(b.pause.until) && !b.pause.probe(now, m) {
		s.hold(now, j, b.pause.next(m), m.Kind.Loud())
		return false
	}
	if ph != nil && ph.foreign == j.d.Device.Token && ph.foreign != "" {
		if ok, until := b.foreign.allow(now); !ok {
			s.hold(now, j, until, true)
			return false
		}
	}
	if ok, until := b.breaker.allow(now); !ok {
		s.hold(now, j, until, true)
		return false
	}
	return true
}

// ceiling is until when the first attempt of a silent message has to wait, so
// that a phone is not woken, and a battery not emptied, by what changes nothing
// for whoever sleeps. A person's ceiling is for what can wait only: clears go to
// all devices of whoever acted, and each of them is still ringing.
func (s *Sender) ceiling(now time.Time, j *job) time.Time {
	kind, d := j.d.Message.Kind, &j.d.Device
	if kind.Loud() || j.attempts > 0 {
		return now
	}
	var full []*bucket
	if d.ID != "" {
		full = append(full, &s.remember(now, d.ID).updates)
	}
	if d.Person != "" && kind == KindInfo {
		full = append(full, s.inbox(d.Person))
	}
	until := now
	for _, b := range full {
		until = later(until, b.at(now))
	}
	if !until.After(now) {
		for _, b := range full {
			b.take()
		}
	}
	return until
}

// phone is what is remembered of the job's device, nil for nothing.
func (s *Sender) phone(j *job) *phone { return s.phones[j.d.Device.ID] }

func (s *Sender) remember(now time.Time, device string) *phone {
	if ph := s.phones[device]; ph != nil {
		return ph
	}
	if s.sweepAt++; s.sweepAt >= 4096 {
		s.sweepAt = 0
		maps.DeleteFunc(s.phones, func(_ string, p *phone) bool { return p.idle(now) })
		maps.DeleteFunc(s.inboxes, func(_ string, b *bucket) bool { return b.full(now) })
	}
	ph := newPhone()
	s.phones[device] = ph
	return ph
}

func (s *Sender) inbox(person string) *bucket {
	b := s.inboxes[person]
	if b == nil {
		b = newInbox()
		s.inboxes[person] = b
	}
	return b
}

// hold keeps a job while its provider cannot be used, or ends it so that the
// caller goes another way at once.
func (s *Sender) hold(now time.Time, j *job, until time.Time, down bool) {
	if down {
		if !j.d.Persist {
			s.end(now, j, EndProviderDown, AddressKeep)
			return
		}
		if !j.told && j.d.Progress != nil {
			s.ended = append(s.ended, ending{tell: j.d.Progress, what: &Progress{Down: true}})
		}
		j.told = true
	}
	s.wait(now, j, until)
	j.held = true
}

// wait puts a job aside until a moment, or until its deadline, when it ends.
func (s *Sender) wait(_ time.Time, j *job, until time.Time) {
	j.place = placeWaiting
	j.round++
	round := j.round
	if until.After(j.d.Message.Deadline) {
		until = j.d.Message.Deadline
	}
	j.timer = time.AfterFunc(max(0, until.Sub(s.now())), func() {
		s.locked(func(now time.Time) {
			if j.place != placeWaiting || j.round != round {
				return
			}
			if !now.Before(j.d.Message.Deadline) {
				s.end(now, j, EndExpired, AddressKeep)
				return
			}
			s.ready(now, j)
			s.pump(now, j.home)
			s.linger(now, j)
		})
	})
}

func (s *Sender) stopTimer(j *job) {
	if j.timer != nil {
		j.timer.Stop()
		j.timer = nil
	}
	j.round++
}

// work makes attempts until nothing may fly for the moment.
func (s *Sender) work(b *bulkhead, j *job) {
	for j != nil {
		began := s.now()
		o, end := s.attempt(j)
		s.locked(func(now time.Time) {
			s.settle(now, b, j, o, end, began)
			settled := j
			j = s.next(now, b)
			s.pump(now, b)
			s.linger(now, settled)
		})
	}
}

// attempt asks the caller whether to begin, and makes one attempt. A nonzero
// End ends the job without one having been made.
func (s *Sender) attempt(j *job) (Outcome, End) {
	number := j.attempts + 1
	if j.begun = j.d.Begin == nil; !j.begun {
		if o, end := s.begin(&j.d, number); end != 0 || o.Class != 0 {
			return o, end
		}
		if !s.now().Before(j.d.Message.Deadline) {
			return Outcome{Class: RetryLater, Reason: "Deadline", Local: true}, EndExpired
		}
		j.begun = true
	}
	ctx, cancel := s.attemptContext() // after the leave: a caller that took long must not look like a service that did
	defer cancel()
	now := s.now()
	if left := j.d.Message.Deadline.Sub(now); left < s.timeout { // not WithDeadline: the machine's clock need not be ours
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, left)
		defer stop()
	}
	device := j.d.Device
	device.Environment = j.env
	o := j.via.p.Send(ctx, Attempt{Message: &j.d.Message, Device: &device, Form: j.form, Number: number, Avoid: j.avoid, At: now})
	o.discreet(device.Token)
	return o, 0
}
