package notify

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/silence"
)

const (
	// confirmWait is how long a phone has to confirm a page before the page
	// counts as one without a receipt. It is not shortened while a service is
	// degraded: what it is compared with was measured by the same yardstick.
	confirmWait = 20 * time.Second
	confirmPoll = time.Second // between looks at the pages that are due
	mostAwaited = 4096        // pages of one service; more are not looked at
	mostLooks   = 256         // records that are read in one look
)

// platforms are what has a push service of its own.
var platforms = [...]roster.Platform{roster.IOS, roster.Android, roster.Web} //nolint:gochecknoglobals // look-up table

// confirmations follow whether phones confirm what their push service has
// taken. Each instance counts the pages that it has sent itself, in memory: the
// receipts may have gone to any instance, so it is the records that are read.
type confirmations struct {
	mu       sync.Mutex
	awaited  map[roster.Platform][]awaited // oldest first
	services map[roster.Platform]*silence.Watch
	states   map[roster.Platform]silence.State
}

// awaited is a page whose phone has time to confirm it.
type awaited struct {
	delivery string
	device   roster.DeviceID
	at       time.Time
}

func newConfirmations() *confirmations {
	c := &confirmations{
		awaited: map[roster.Platform][]awaited{}, services: map[roster.Platform]*silence.Watch{}, states: map[roster.Platform]silence.State{},
	}
	for _, p := range platforms {
		c.services[p] = &silence.Watch{}
	}
	return c
}

// taken notes that a push service has taken a page.
func (c *confirmations) taken(p roster.Platform, a awaited) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.services[p] != nil && len(c.awaited[p]) < mostAwaited {
		c.awaited[p] = append(c.awaited[p], a)
	}
}

// due takes the pages whose phones have had their time.
func (c *confirmations) due(p roster.Platform, now time.Time) []awaited {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.awaited[p]
	n := slices.IndexFunc(all, func(a awaited) bool { return now.Sub(a.at) < confirmWait })
	if n < 0 {
		n = len(all)
	}
	n = min(n, mostLooks)
	due := slices.Clone(all[:n])
	c.awaited[p] = slices.Delete(all, 0, n)
	return due
}

// look adds pages and judges the service; it returns the state before, too.
func (c *confirmations) look(p roster.Platform, now time.Time, pages []silence.Page) (was, is silence.State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, page := range pages {
		c.services[p].Add(page)
	}
	was = c.states[p]
	c.states[p] = c.services[p].Look(now)
	return was, c.states[p]
}

// Silent reports whether the phones behind the platform's push service have
// fallen silent, as far as this instance has seen.
func (n *Notifier) Silent(p roster.Platform) bool { return n.Confirmed(p).Degraded }

// Confirmed returns what phones of the platform have confirmed lately.
func (n *Notifier) Confirmed(p roster.Platform) silence.State {
	n.confirmed.mu.Lock()
	defer n.confirmed.mu.Unlock()
	return n.confirmed.states[p]
}

// Watch judges push services by what phones confirm, until ctx ends.
func (n *Notifier) Watch(ctx context.Context) error {
	tick := time.NewTicker(confirmPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			for _, p := range platforms {
				n.judge(ctx, p)
			}
		}
	}
}

// judge looks at the pages of one push service that are due.
func (n *Notifier) judge(ctx context.Context, p roster.Platform) {
	var pages []silence.Page
	for _, a := range n.confirmed.due(p, n.now()) {
		_, dv, found, err := n.o.Ledger.Delivery(ctx, a.delivery)
		if err != nil || !found {
			continue // nobody knows: it says nothing
		}
		pages = append(pages, silence.Page{Device: a.device, At: a.at, Confirmed: dv.State >= incident.DeliverySuppressed})
	}
	was, is := n.confirmed.look(p, n.now(), pages)
	name := providerOf(p)
	n.metrics.degraded.WithLabelValues(name).Set(one(is.Degraded))
	if is.Pages > 0 {
		n.metrics.ratio.WithLabelValues(name).Set(1 - is.Share)
	}
	switch {
	case is.Degraded && !was.Degraded:
		n.log.ErrorContext(ctx, "push_delivery_degraded: a push service takes pages and phones do not confirm them; other ways start after 5 s",
			slog.String("provider", name), slog.Int("pages", is.Pages), slog.Int("unconfirmed", is.Missing),
			slog.Int("devices", is.Devices), slog.Float64("usual", is.Usual))
	case was.Degraded && !is.Degraded:
		n.log.WarnContext(ctx, "phones confirm pages again", slog.String("provider", name),
			slog.Int("pages", is.Pages), slog.Int("unconfirmed", is.Missing))
	}
}

// expect lets a page that was taken be looked at when its phone has had its time.
func (n *Notifier) expect(l *leg, at time.Time) {
	if l.d.e.page && l.phone.ID != "" {
		n.confirmed.taken(l.phone.Platform, awaited{delivery: l.delivery.ID, device: l.phone.ID, at: at})
	}
}

// providerOf is the name of the push service that reaches the platform.
func providerOf(p roster.Platform) string {
	switch p {
	case roster.IOS:
		return push.IOS.Provider()
	case roster.Android:
		return push.Android.Provider()
	case roster.Web:
		return push.Web.Provider()
	}
	return "unknown"
}

func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
