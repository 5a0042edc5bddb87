package push

import (
	"context"
	"maps"
	"time"
)

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
