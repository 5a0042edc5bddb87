// Package skew compares our clock with a push service's: a clock that is off
// makes tokens invalid and pages late before anybody says why.
package skew

import (
	"net/http"
	"sync/atomic"
	"time"
)

// tolerated is how far the clocks may be apart. Provider tokens and pages
// stand that much; a Date header has no more than seconds anyway.
const tolerated = time.Minute

// Gauge is how far a service's clock is from ours. The zero Gauge is ready, and
// may be used by several goroutines.
type Gauge struct {
	skew atomic.Int64 // nanoseconds, theirs minus ours
	read atomic.Pointer[dated]
}

// dated is a Date header that has been read: thousands of answers share a second.
type dated struct {
	text string
	at   time.Time
}

// Compare takes in the Date header of an answer that came now, and tells whether
// the clocks are too far apart. What is no date says nothing.
func (g *Gauge) Compare(date string, now time.Time) (far bool) {
	read := g.read.Load()
	if read == nil || read.text != date {
		at, err := http.ParseTime(date)
		if err != nil {
			return false
		}
		read = &dated{date, at}
		g.read.Store(read)
	}
	skew := read.at.Sub(now)
	g.skew.Store(int64(skew))
	return skew.Abs() > tolerated
}

// Skew is the service's clock minus ours, by the last answer that said; 0 when
// none did.
func (g *Gauge) Skew() time.Duration { return time.Duration(g.skew.Load()) }
