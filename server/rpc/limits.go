package rpc

import (
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/admission"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/fault"
)

// Limits bound what one caller may ask for. Zero fields have the defaults.
type Limits struct {
	// PerSecond and Burst are calls of one caller: 50 and 200. Integrations,
	// which send events, have ten times that; callers without a credential
	// have it for each address, a tenth, or all of it for what the page itself
	// proves: receipts and actions.
	PerSecond float64
	Burst     int
	// MaxMessage is the greatest request in bytes: 4 MiB.
	MaxMessage int
	// Streams is how many streams one caller may have open: 32.
	Streams int
	// AllStreams is how many streams all callers together may have open at this
	// instance: 8,192. A quarter of them is for the first two of each caller: an
	// app needs no more, and has them while others hold all that they can get.
	AllStreams int
}

// leastStreams are the streams that each caller may have out of the reserve.
const leastStreams = 2

func (l Limits) withDefaults() Limits {
	if l.PerSecond == 0 {
		l.PerSecond = 50
	}
	if l.Burst == 0 {
		l.Burst = 200
	}
	if l.MaxMessage == 0 {
		l.MaxMessage = 4 << 20
	}
	if l.Streams == 0 {
		l.Streams = 32
	}
	if l.AllStreams == 0 {
		l.AllStreams = 8192
	}
	return l
}

// limiter counts the calls of each caller, and forgets callers who are quiet.
type limiter struct {
	limits Limits

	mu      sync.Mutex
	callers map[string]*caller
	swept   time.Time
	streams admission.Shares // of all callers
}

type caller struct {
	rate    *rate.Limiter
	streams int
	last    time.Time
}

// sweepEvery is how often quiet callers are forgotten; by then their buckets are full.
const sweepEvery = time.Minute

func newLimiter(l Limits) *limiter {
	reserve := l.AllStreams / 4
	return &limiter{
		limits: l, callers: map[string]*caller{},
		streams: admission.Shares{Room: l.AllStreams - reserve, Least: leastStreams, Reserve: reserve},
	}
}

// proves reports whether the call brings the proof of one page along instead of
// a credential. All phones behind one proxy come from one address, and in a
// storm all at once: they have more room than whoever guesses.
func (c *call) proves() bool {
	return c.principal.Kind == auth.KindAnonymous &&
		(c.method == pb.DeviceService_Act_FullMethodName || c.method == pb.DeviceService_ReportReceipts_FullMethodName)
}

// name is whom a call counts for.
func (c *call) name() string {
	if c.proves() {
		return "proof/" + c.ip
	}
	if c.principal.Kind == auth.KindAnonymous {
		return "ip/" + c.ip
	}
	if c.principal.Token != "" {
		return "token/" + string(c.principal.Token)
	}
	return c.principal.String()
}

func (l *limiter) of(c *call, now time.Time) *caller {
	if now.Sub(l.swept) > sweepEvery {
		for name, old := range l.callers {
			if old.streams == 0 && now.Sub(old.last) > sweepEvery {
				delete(l.callers, name)
			}
		}
		l.swept = now
	}
	name := c.name()
	known, ok := l.callers[name]
	if !ok {
		perSecond, burst := l.limits.PerSecond, l.limits.Burst
		switch c.principal.Kind {
		case auth.KindIntegration, auth.KindConsole:
			perSecond, burst = perSecond*10, burst*10
		case auth.KindAnonymous:
			if !c.proves() {
				perSecond, burst = perSecond/10, max(1, burst/10)
			}
		default:
		}
		known = &caller{rate: rate.NewLimiter(rate.Limit(perSecond), burst)}
		l.callers[name] = known
	}
	known.last = now
	return known
}

// take counts one call, or says how long to wait.
func (l *limiter) take(c *call, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.of(c, now).rate.ReserveN(now, 1)
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return fault.New(fault.Exhausted, "RATE_LIMIT", "you call too often; slow down").After(wait)
	}
	return nil
}

// open counts a stream, and returns what ends it.
func (l *limiter) open(c *call, now time.Time) (func(), error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.of(c, now)
	if known.streams >= l.limits.Streams {
		return nil, fault.New(fault.Exhausted, "STREAM_LIMIT", "you have too many streams open; close one first",
			"limit", strconv.Itoa(l.limits.Streams)).After(5 * time.Second)
	}
	name := c.name()
	if l.streams.Take("", name, 1) != admission.Admitted {
		return nil, fault.New(fault.Exhausted, "STREAMS_FULL", "this server has as many streams open as it can hold for you; come again, or close one of yours").After(5 * time.Second)
	}
	known.streams++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		known.streams--
		l.streams.Give("", name, 1)
	}, nil
}
