package push

import "time"

// BreakerState is whether an app's provider is used at all.
type BreakerState uint8

// The states. Open for credentials is apart from open for trouble: only the
// first needs a person to mend it.
const (
	BreakerClosed BreakerState = iota
	BreakerOpen
	BreakerOpenAuth
)

var breakerNames = [...]string{"closed", "open", "open_auth"} //nolint:gochecknoglobals // look-up table

func (b BreakerState) String() string {
	if int(b) < len(breakerNames) {
		return breakerNames[b]
	}
	return ""
}

const (
	breakerWindow  = 10 // seconds looked at
	breakerMinimum = 10 // attempts in the window below which no share is believed
	probeTransport = 5 * time.Second
	probeAuth      = time.Minute
)

// breaker opens when half of at least ten attempts within ten seconds failed
// by trouble of the service, or at the first refusal of our credential. While
// open it lets one real message through per probe interval.
type breaker struct {
	state   BreakerState
	since   time.Time
	probeAt time.Time
	window  rolling
}

// allow tells whether an attempt may be made now; if not, until when to wait.
func (b *breaker) allow(now time.Time) (bool, time.Time) {
	if b.state == BreakerClosed {
		return true, time.Time{}
	}
	if now.Before(b.probeAt) {
		return false, b.probeAt
	}
	b.probeAt = now.Add(b.interval())
	return true, time.Time{}
}

func (b *breaker) interval() time.Duration {
	if b.state == BreakerOpenAuth {
		return probeAuth
	}
	return probeTransport
}

// record notes an outcome and tells whether the state changed.
func (b *breaker) record(now time.Time, o *Outcome) bool {
	was := b.state
	switch {
	case o.Local || o.Also:
		return false
	case o.Class == AuthConfig && o.Scope != ScopePlatform:
		b.open(now, BreakerOpenAuth)
	case o.failed():
		if b.state != BreakerClosed {
			return false // a probe failed: the next one is already booked
		}
		b.window.add(now, 1, 1)
		total, bad := b.window.sum(now)
		if total >= breakerMinimum && 2*bad >= total {
			b.open(now, BreakerOpen)
		}
	case (o.Class == RetryLater || o.Class == RetryNow) && b.state != BreakerClosed:
		return false // told to slow down, or to come again with another credential: neither ill nor well
	default:
		if b.state != BreakerClosed {
			*b = breaker{since: now}
		}
		b.window.add(now, 1, 0)
	}
	return b.state != was
}

func (b *breaker) open(now time.Time, s BreakerState) {
	if b.state == s {
		return
	}
	b.state, b.since = s, now
	b.probeAt = now.Add(b.interval())
	b.window = rolling{}
}

// rolling counts two numbers over the last breakerWindow seconds.
type rolling struct {
	second [breakerWindow]int64
	total  [breakerWindow]int
	bad    [breakerWindow]int
}

func (r *rolling) add(now time.Time, total, bad int) {
	s := now.Unix()
	i := int(((s % breakerWindow) + breakerWindow) % breakerWindow)
	if r.second[i] != s {
		r.second[i], r.total[i], r.bad[i] = s, 0, 0
	}
	r.total[i] += total
	r.bad[i] += bad
}

func (r *rolling) sum(now time.Time) (total, bad int) {
	oldest := now.Unix() - breakerWindow
	for i, s := range r.second {
		if s > oldest {
			total += r.total[i]
			bad += r.bad[i]
		}
	}
	return total, bad
}
