package push

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

const (
	maxInstant = 3                      // retries without a wait before one is waited for after all
	minWaited  = 100 * time.Millisecond // for a try that found no place to go on at once
	maxTries   = 64                     // records kept of one delivery
)

// begin asks the caller for leave. It answers a zero Outcome and End to go on.
func (s *Sender) begin(d *Delivery, number int) (Outcome, End) {
	ctx, cancel := s.attemptContext()
	defer cancel()
	switch err := d.Begin(ctx, number); {
	case err == nil:
		return Outcome{}, 0
	case errors.Is(err, ErrNotNeeded):
		return Outcome{Local: true, Reason: "NotNeeded"}, EndNotNeeded
	default:
		return Outcome{Class: RetryLater, Reason: "Begin: " + err.Error(), Local: true}, 0
	}
}

// settle decides what an attempt's outcome means for the job and for its app.
func (s *Sender) settle(now time.Time, b *bulkhead, j *job, o Outcome, end End, began time.Time) {
	b.flying--
	s.release(j.via)
	j.place = placeNew
	if !j.begun && b.breaker.state != BreakerClosed {
		b.breaker.probeAt = now // the probe was not made: the next one may
	}
	if end != 0 {
		s.end(now, j, end, AddressKeep)
		return
	}
	if o.Class == 0 {
		o = Outcome{Class: OurBug, Reason: "NoClass", Alert: "a provider answered without a class"}
	}
	if o.Elapsed == 0 {
		o.Elapsed = now.Sub(began)
	}
	s.record(now, b, j, &o, began)
	s.consequences(now, b, j, &o)
	if o.Class != Accepted && s.cutShort(now, j) {
		return
	}
	switch o.Class {
	case Accepted:
		s.accepted(now, j)
	case DropAddress:
		s.dead(now, b, j, &o)
	case Park:
		s.end(now, j, EndRejected, AddressPark)
	case RetryNow:
		if o.Local && o.Elapsed >= minWaited { // there was no place, and it has done its waiting
			s.metrics.retry(b.key, j.d.Message.Kind, &o)
			j.place = placeQueued
			b.queueFor(j).pushFront(j)
			return
		}
		if j.instant++; j.instant > maxInstant {
			s.retryLater(now, b, j, &o)
			return
		}
		s.again(now, b, j, &o)
	case RetryLater:
		s.retryLater(now, b, j, &o)
	case TooLarge:
		s.smaller(now, j, j.form+1)
	case AuthConfig:
		until := b.breaker.probeAt
		if o.Scope == ScopePlatform || b.breaker.state == BreakerClosed { // nobody else is held back, and this one waits all the same
			until = now.Add(probeAuth)
		}
		s.hold(now, j, until, true)
	default:
		if o.Safe {
			s.smaller(now, j, FormMinimal)
			return
		}
		s.end(now, j, EndRejected, AddressKeep)
	}
}

func (s *Sender) record(now time.Time, b *bulkhead, j *job, o *Outcome, began time.Time) {
	if j.begun {
		j.attempts++
	}
	if o.Class != Accepted {
		j.failures++
	}
	if o.Class != RetryNow {
		j.instant = 0
	}
	j.last, j.avoid = *o, o.Via
	t := Try{At: began, Took: o.Elapsed, Class: o.Class, Status: o.Status, Reason: o.Reason, Unknown: o.Unknown}
	if len(j.tries) == maxTries { // the first ones tell how it began, the last ones how it stands
		copy(j.tries[maxTries/2:], j.tries[maxTries/2+1:])
		j.tries = j.tries[:maxTries-1]
	}
	j.tries = append(j.tries, t)
	if j.d.Progress != nil && o.Class != Accepted {
		s.ended = append(s.ended, ending{tell: j.d.Progress, what: &Progress{Try: t}})
	}
	s.metrics.attempt(s.meter(b, j), o)
	if s.log.Enabled(context.Background(), slog.LevelDebug) { // asked first, as the values alone would cost eight allocations
		s.log.Debug("push attempted",
			slog.String("provider", b.key.provider), slog.String("app", b.key.app), slog.String("delivery", j.d.Message.DeliveryID),
			slog.String("class", o.Class.String()), slog.Int("status", o.Status), slog.String("reason", o.Reason), slog.Duration("took", now.Sub(began)))
	}
}

// consequences are what the outcome means beyond this job.
func (s *Sender) consequences(now time.Time, b *bulkhead, j *job, o *Outcome) {
	if o.Alert != "" {
		s.alert(now, b.key, o.Alert, o.Reason)
	}
	switch o.Class {
	case Accepted:
		b.proven = true
		b.brake.seen(now)
		if ph := s.phone(j); ph != nil && ph.foreign != "" {
			ph.foreign, b.foreign = "", breaker{since: now}
		}
	case DropAddress, Park:
		if !o.Verify || j.suspect { // a device is counted once, with the answer that counts
			b.brake.seen(now)
		}
	case RetryLater:
		s.slowDown(now, b, j, o)
	case AuthConfig:
		if id := j.d.Device.ID; o.Scope == ScopePlatform && id != "" {
			s.remember(now, id).foreign = j.d.Device.Token
			b.foreign.open(now, BreakerOpenAuth)
		}
	case RetryNow, TooLarge, OurBug: // nothing is learnt about tokens or pace
	}
	if !b.breaker.record(now, o) {
		return
	}
	if b.breaker.state == BreakerClosed {
		s.log.Info("push provider is back", slog.String("provider", b.key.provider), slog.String("app", b.key.app))
		s.wake(now, b)
		return
	}
	s.alert(now, b.key, "pushes of an app are stopped; other ways of reaching people are used meanwhile", o.Reason)
	for other := range b.live {
		if other.place == placeQueued || other.place == placeWaiting {
			s.stopTimer(other)
			s.hold(now, other, b.breaker.probeAt, true)
		}
	}
}

func (s *Sender) slowDown(now time.Time, b *bulkhead, j *job, o *Outcome) {
	if o.RetryAfter <= 0 {
		return
	}
	until := now.Add(o.RetryAfter)
	scope := o.Scope
	if scope == ScopeQuota && b.quota.hit(j.d.Device.ID, now) {
		scope = ScopeApp
	}
	switch scope {
	case ScopeApp:
		if b.pause.extend(now, until) {
			s.alert(now, b.key, "the push service asked to slow down", o.Reason)
		}
	case ScopeDevice, ScopeQuota:
		if id := j.d.Device.ID; id != "" {
			s.remember(now, id).pause.extend(now, until)
		}
	case ScopeMessage, ScopePlatform:
	}
}

// cutShort ends a job that nobody wants to be tried again.
func (s *Sender) cutShort(now time.Time, j *job) bool {
	switch {
	case j.abandoned || s.closing:
		s.end(now, j, EndStopped, AddressKeep)
	case j.next != nil:
		s.end(now, j, EndSuperseded, AddressKeep)
	case !now.Before(j.d.Message.Deadline):
		s.end(now, j, EndExpired, AddressKeep)
	default:
		return false
	}
	return true
}

func (s *Sender) accepted(now time.Time, j *job) {
	s.meter(j.home, j).age.Observe(now.Sub(j.d.Message.At).Seconds())
	address := AddressKeep
	if j.triedOther {
		address = AddressCorrect
	}
	s.end(now, j, EndAccepted, address)
}

// dead decides what a "this token is dead" is worth.
func (s *Sender) dead(now time.Time, b *bulkhead, j *job, o *Outcome) {
	d := &j.d.Device
	if !o.Deadness.IsZero() && !d.RegisteredAt.IsZero() && !o.Deadness.After(d.RegisteredAt) {
		s.end(now, j, EndRejected, AddressKeep) // the app has registered since
		return
	}
	if o.Env && !j.triedOther && !d.EnvironmentConfirmed {
		if elsewhere := s.apps[appKey{b.key.provider, b.key.app, j.env.other()}]; elsewhere != nil {
			s.move(now, b, elsewhere, j)
			return
		}
	}
	if o.Env && !j.triedOther && !b.proven {
		s.alert(now, b.key, "a token looks dead, and the app has had none accepted yet: if its environment is wrong, all will; phones are parked meanwhile, and not dropped", o.Reason)
		s.end(now, j, EndRejected, AddressPark)
		return
	}
	if o.Verify && !j.suspect {
		j.suspect, j.form = true, FormMinimal
		s.ready(now, j)
		return
	}
	if o.Suspect && !b.brake.drop(now) {
		s.alert(now, b.key, "so many tokens look dead that the app's environment or project is more likely wrong: none are dropped for now", o.Reason)
		s.end(now, j, EndRejected, AddressPark)
		return
	}
	s.metrics.dropped(b.key, o.Reason)
	s.end(now, j, EndRejected, AddressDrop)
}

// move tries the environment that the token may belong to.
func (s *Sender) move(now time.Time, from, to *bulkhead, j *job) {
	delete(from.live, j)
	to.live[j] = struct{}{}
	j.home, j.env, j.triedOther, j.avoid = to, to.key.env, true, ""
	s.ready(now, j)
	s.pump(now, to)
}

// again queues a job for a retry, if the retry budget lets it.
func (s *Sender) again(now time.Time, b *bulkhead, j *job, o *Outcome) {
	s.metrics.retry(b.key, j.d.Message.Kind, o)
	m := &j.d.Message
	j.unpaid = !m.HighUrgency || !m.Kind.Loud()
	if b.breaker.state != BreakerClosed {
		if o.Local || o.Also || o.Status < 400 || o.Status >= 500 { // a probe that failed does not take the next one too
			s.hold(now, j, b.breaker.probeAt, true)
			return
		}
		b.breaker.probeAt = now // answered, and to come again with another credential or connection: still the same probe
	}
	s.ready(now, j)
}

func (s *Sender) retryLater(now time.Time, b *bulkhead, j *job, o *Outcome) {
	m := &j.d.Message
	switch {
	case j.suspect: // called dead once, and there was no second word: another way, now
		s.end(now, j, EndRejected, AddressPark)
		return
	case !m.Kind.Loud() && !j.d.Persist && j.attempts >= infoAttempts:
		s.end(now, j, EndProviderDown, AddressKeep)
		return
	}
	delay, down := backoff(m.Kind, j.failures, s.jitter()), false
	if o.RetryAfter > 0 {
		throttled := o.Scope != ScopeMessage
		delay = max(delay, o.RetryAfter)
		if throttled && mayProbe(m) {
			delay = min(delay, probeTransport)
		}
		if !now.Add(delay).Before(m.Deadline) {
			s.end(now, j, EndProviderDown, AddressKeep) // no more tries in time: another way, now
			return
		}
		down = throttled && (now.Before(b.pause.until) || !now.Add(o.RetryAfter).Before(m.Deadline))
	}
	s.metrics.retry(b.key, j.d.Message.Kind, o)
	if !o.Local {
		j.unpaid = !m.HighUrgency || !m.Kind.Loud()
	}
	if down {
		s.hold(now, j, now.Add(delay), m.Kind.Loud())
		return
	}
	if b.breaker.state != BreakerClosed {
		s.hold(now, j, later(now.Add(delay), b.breaker.probeAt), true)
		return
	}
	s.wait(now, j, now.Add(delay))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (s *Sender) smaller(now time.Time, j *job, f Form) {
	if f > FormMinimal || j.form >= f {
		s.end(now, j, EndRejected, AddressKeep)
		return
	}
	j.form = f
	s.ready(now, j)
}

// abandon gives a job up: at once, or after the attempt in flight.
func (s *Sender) abandon(now time.Time, j *job) {
	if j.place == placeFlying {
		j.abandoned = true
		return
	}
	s.end(now, j, EndStopped, AddressKeep)
}

// end ends a job, once, and lets the next of its slot go.
func (s *Sender) end(now time.Time, j *job, e End, a Address) {
	if j.place == placeEnded {
		return
	}
	j.place = placeEnded
	s.stopTimer(j)
	if j.expiry != nil {
		j.expiry.Stop()
	}
	if key, ok := j.slot(); ok && s.latest[key] == j {
		delete(s.latest, key)
		if j.ahead != nil { // still in flight: whoever comes next stands behind it
			s.latest[key] = j.ahead
		}
	}
	if j.ahead != nil {
		j.ahead.next, j.ahead = nil, nil
	}
	if b := j.home; b != nil {
		delete(b.live, j)
		s.metrics.ended(s.meter(b, j), e)
	}
	j.result = Result{
		End: e, Outcome: j.last, Tries: j.tries, Attempts: j.attempts, Address: a, Environment: j.env, At: now,
	}
	s.ended = append(s.ended, ending{job: j})
	if n := j.next; n != nil {
		j.next, n.ahead = nil, nil
		if n.place == placeBehind {
			s.ready(now, n)
			s.pump(now, n.home) // n has its expiry from standing behind
		}
	}
}

func (s *Sender) release(v *provider) {
	if v.users--; v.retired && v.users == 0 {
		s.shut(v)
	}
}

func (s *Sender) retire(v *provider) {
	if v.retired { // by another part of its app
		return
	}
	if v.retired = true; v.users == 0 {
		s.shut(v)
	}
}

// shut closes a provider that nobody uses any more, off the lock.
func (s *Sender) shut(v *provider) {
	s.workers.Go(func() {
		if err := v.p.Close(); err != nil {
			s.log.Warn("a replaced push provider did not close", slog.Any("error", err))
		}
	})
}

const alertEvery = time.Minute

func (s *Sender) alert(now time.Time, k appKey, text, reason string) {
	a := Alert{Provider: k.provider, App: k.app, Environment: k.env, Text: text}
	for old := range s.alerted {
		if now.Sub(old.At) >= alertEvery {
			delete(s.alerted, old)
		}
	}
	for old := range s.alerted {
		if old.Provider == a.Provider && old.App == a.App && old.Environment == a.Environment && old.Text == a.Text {
			return
		}
	}
	a.Reason, a.At = reason, now
	s.alerted[a] = struct{}{}
	s.alerts = append(s.alerts, a)
}
