// Package silence tells when the phones behind a push service have fallen
// silent: the service takes every page, and no phone confirms one. A push
// service that is down says so; one that loses what it takes does not, and only
// the receipts of many phones together show it.
//
// No clock, no I/O: what was seen comes in as values, with the instant.
package silence

import (
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/roster"
)

// When a push service counts as degraded.
const (
	// Window is what is looked at.
	Window = 5 * time.Minute
	// Day is what it is compared with.
	Day = 24 * time.Hour
	// LeastPages is how many pages a judgement needs.
	LeastPages = 20
	// LeastDevices is how many phones it needs: one that is off is not its service.
	LeastDevices = 10
	// Excess is by how much the share without a receipt is above the usual one
	// when the service counts as degraded.
	Excess = 0.30

	// It has recovered when the excess is below half of that, of a few pages at
	// least; or when nothing was missing for long.
	recovered      = Excess / 2
	recoveredPages = 5
	forgotten      = 30 * time.Minute

	// leastDay is how many windows with pages it takes to know what is usual.
	// What is degraded counts too: where many phones never confirm anything that
	// is no news after an hour of pages.
	leastDay = 12

	maxPages = 4096 // that are remembered; the oldest give way
)

// Page is one page that the service has taken and whose phone had time to
// confirm it.
type Page struct {
	Device    roster.DeviceID
	At        time.Time // when the service took it
	Confirmed bool
}

// Count is what the pages of a while come to.
type Count struct {
	Pages, Missing, Devices int
	// Share is the share without a receipt, from 0 to 1. Each device counts the
	// same: a dead phone in a storm of pages does not stand for its service.
	Share float64
}

// State is what is known of a service.
type State struct {
	Count // of the last five minutes

	Degraded bool
	Since    time.Time // of Degraded
	Usual    float64   // the share of the day before; 0 while too little is known
}

// Watch follows one push service. The zero Watch knows nothing yet. It is for
// one goroutine at a time.
type Watch struct {
	pages    []Page
	day      []stretch // closed, in order
	closed   time.Time // up to where pages are in day
	missing  time.Time // the last page that nobody confirmed
	degraded bool
	since    time.Time
}

// stretch is one window of the day.
type stretch struct {
	end     time.Time
	devices int
	share   float64
}

// Add takes in what became of a page. Pages may come in any order.
func (w *Watch) Add(p Page) {
	w.pages = append(w.pages, p)
	if n := len(w.pages) - maxPages; n > 0 {
		w.pages = slices.Delete(w.pages, 0, n)
	}
	if !p.Confirmed && p.At.After(w.missing) {
		w.missing = p.At
	}
}

// Look judges the service at an instant.
func (w *Watch) Look(now time.Time) State {
	w.close(now)
	s := State{Count: count(w.pages, now.Add(-Window), now), Usual: w.usual()}
	excess := s.Share - s.Usual
	switch {
	case !w.degraded && s.Pages >= LeastPages && s.Devices >= LeastDevices && excess > Excess:
		w.degraded, w.since = true, now
	case w.degraded && ((s.Pages >= recoveredPages && excess < recovered) || now.Sub(w.missing) > forgotten):
		w.degraded, w.since = false, time.Time{}
	}
	s.Degraded, s.Since = w.degraded, w.since
	return s
}

// close moves what is older than the window into the day.
func (w *Watch) close(now time.Time) {
	end := now.Truncate(Window).Add(-Window)
	if w.closed.IsZero() || w.closed.After(now) { // the clock was ahead, and would hide every page until it is that late
		w.closed = end.Add(-Window)
	}
	if w.missing.After(now) {
		w.missing = now
	}
	for ; w.closed.Before(end); w.closed = w.closed.Add(Window) {
		if end.Sub(w.closed) > Day { // nobody looked for a day
			w.closed = end.Add(-Window)
		}
		c := count(w.pages, w.closed, w.closed.Add(Window))
		if c.Devices > 0 {
			w.day = append(w.day, stretch{end: w.closed.Add(Window), devices: c.Devices, share: c.Share})
		}
	}
	w.pages = slices.DeleteFunc(w.pages, func(p Page) bool { return p.At.Before(w.closed) })
	w.day = slices.DeleteFunc(w.day, func(s stretch) bool { return now.Sub(s.end) > Day })
}

// usual returns the share of the day, each window by how many devices it saw.
func (w *Watch) usual() float64 {
	devices, sum := 0, 0.0
	for _, s := range w.day {
		devices += s.devices
		sum += s.share * float64(s.devices)
	}
	if len(w.day) < leastDay {
		return 0
	}
	return sum / float64(devices)
}

// count counts the pages from an instant on and before another.
func count(pages []Page, from, before time.Time) Count {
	type tally struct{ pages, missing int }
	c, devices := Count{}, map[roster.DeviceID]tally{}
	for _, p := range pages {
		if p.At.Before(from) || !p.At.Before(before) {
			continue
		}
		t := devices[p.Device]
		t.pages++
		if !p.Confirmed {
			t.missing++
			c.Missing++
		}
		devices[p.Device] = t
		c.Pages++
	}
	for _, t := range devices {
		c.Share += float64(t.missing) / float64(t.pages)
	}
	if c.Devices = len(devices); c.Devices > 0 {
		c.Share /= float64(c.Devices)
	}
	return c
}
