package push

import (
	"math"
	"time"
)

const (
	budgetFloor = 50  // retries per ten seconds that are always allowed
	budgetShare = 0.2 // of the first attempts in those ten seconds

	pageBackoffBase = 300 * time.Millisecond
	pageBackoffCap  = 15 * time.Second
	infoBackoffBase = time.Second
	infoBackoffCap  = time.Minute
	infoAttempts    = 3

	brakeMinimum = 20
	brakeShare   = 0.05

	quotaDevices = 3
	quotaWindow  = 10 * time.Second

	silentRate  = 1.0 // silent updates per second and device
	silentBurst = 5.0
	personRate  = 20.0 / 60 // messages that can wait, per second and person
	personBurst = 20.0
)

// backoff is a full-jitter delay before the attempt that follows n failures,
// n from 1. Full jitter keeps a thousand pages that failed together from
// returning together. jitter is in [0, 1).
func backoff(k Kind, n int, jitter float64) time.Duration {
	base, limit := pageBackoffBase, pageBackoffCap
	if !k.Loud() {
		base, limit = infoBackoffBase, infoBackoffCap
	}
	upper := min(float64(base)*math.Pow(2, float64(min(n, 30)-1)), float64(limit))
	return time.Duration(jitter * upper)
}

// budget bounds retries to a share of first attempts, so that a service in
// trouble is not buried by everybody trying again.
type budget struct{ window rolling }

func (b *budget) first(now time.Time) { b.window.add(now, 1, 0) }

func (b *budget) retry(now time.Time) bool {
	first, retries := b.window.sum(now)
	if float64(retries) >= max(budgetFloor, budgetShare*float64(first)) {
		return false
	}
	b.window.add(now, 0, 1)
	return true
}

// brake stops the dropping of tokens when so many look dead that the likelier
// cause is our own configuration: at least twenty and over five per cent of
// the devices tried within five minutes. Devices are counted, not attempts.
type brake struct {
	begin      time.Time
	young, old brakeCount
}

type brakeCount struct{ seen, dropped int }

const brakeHalf = 150 * time.Second

// seen counts a device that answered one way or the other.
func (b *brake) seen(now time.Time) {
	b.turn(now)
	b.young.seen++
}

// drop asks whether a suspicious token may be dropped.
func (b *brake) drop(now time.Time) bool {
	b.turn(now)
	seen, dropped := b.young.seen+b.old.seen, b.young.dropped+b.old.dropped
	if dropped >= brakeMinimum && float64(dropped+1) > brakeShare*float64(seen) {
		return false
	}
	b.young.dropped++
	return true
}

// turn forgets in halves of the window: the count covers between two and a
// half and five minutes, for two numbers instead of three hundred.
func (b *brake) turn(now time.Time) {
	switch age := now.Sub(b.begin); {
	case age >= 2*brakeHalf:
		*b = brake{begin: now}
	case age >= brakeHalf:
		*b = brake{begin: b.begin.Add(brakeHalf), old: b.young}
	}
}

// bucket holds back what makes no sound: so many at once, then so many a
// second. Nothing audible ever waits in one, and nothing is dropped by one.
type bucket struct {
	rate, burst float64
	tokens      float64
	filled      time.Time
}

// at tells from when on the next one may go; now when it may at once.
func (b *bucket) at(now time.Time) time.Time {
	b.refill(now)
	if b.tokens >= 1 {
		return now
	}
	return now.Add(time.Duration((1 - b.tokens) / b.rate * float64(time.Second)))
}

func (b *bucket) take() { b.tokens-- }

func (b *bucket) refill(now time.Time) {
	if b.filled.IsZero() {
		b.tokens = b.burst
	} else if d := now.Sub(b.filled).Seconds(); d > 0 {
		b.tokens = min(b.burst, b.tokens+d*b.rate)
	}
	b.filled = now
}

func (b *bucket) full(now time.Time) bool {
	b.refill(now)
	return b.tokens >= b.burst
}

// phone is what the sender remembers of one device between deliveries.
type phone struct {
	pause   pause
	updates bucket
	foreign Token // with which the service said that it reaches the phone through another service
}

func newPhone() *phone { return &phone{updates: bucket{rate: silentRate, burst: silentBurst}} }

// idle tells whether forgetting the phone changes nothing.
func (p *phone) idle(now time.Time) bool {
	return p.updates.full(now) && !now.Before(p.pause.until) && p.foreign == ""
}

// pause is what a push service asked for: nothing until a moment, to one
// device or of one app. A page of high urgency may ask every five seconds
// whether it still holds, as a person is worth a request.
type pause struct{ until, probeAt time.Time }

// extend tells whether the pause became longer.
func (p *pause) extend(now, until time.Time) bool {
	if !until.After(p.until) {
		return false
	}
	p.until, p.probeAt = until, now.Add(probeTransport)
	return true
}

func mayProbe(m *Message) bool { return m.HighUrgency && m.Kind.Loud() }

// probe tells whether the message may go all the same, and if so counts it.
func (p *pause) probe(now time.Time, m *Message) bool {
	if !mayProbe(m) || now.Before(p.probeAt) {
		return false
	}
	p.probeAt = now.Add(probeTransport)
	return true
}

// next is when the message may go.
func (p *pause) next(m *Message) time.Time {
	if mayProbe(m) && p.probeAt.Before(p.until) {
		return p.probeAt
	}
	return p.until
}

// newInbox is the ceiling of one person over all devices.
func newInbox() *bucket { return &bucket{rate: personRate, burst: personBurst} }

// quota decides whether 429 answers concern single devices or the project.
type quota struct {
	devices map[string]time.Time
}

func (q *quota) hit(device string, now time.Time) (project bool) {
	if q.devices == nil {
		q.devices = make(map[string]time.Time)
	}
	q.devices[device] = now
	n := 0
	for d, at := range q.devices {
		if now.Sub(at) > quotaWindow {
			delete(q.devices, d)
			continue
		}
		n++
	}
	return n >= quotaDevices
}
