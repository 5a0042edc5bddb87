package admission

import (
	"cmp"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Reason is which limit a request was refused for. The set is closed: it labels
// a metric.
type Reason string

// The reasons. Those of the store are counted here, too: an operator asks once.
const (
	KeyRequests     Reason = "key_requests"
	ServiceRequests Reason = "service_requests"
	Requests        Reason = "requests"
	KeyEvents       Reason = "key_events"
	ServiceEvents   Reason = "service_events"
	Events          Reason = "events"
	InboxFull       Reason = "inbox_full"
	StoreFull       Reason = "store_full"
)

// Refused is how often a sender was refused lately.
type Refused struct {
	Sender

	Reason Reason    // of the last time
	Since  time.Time // the first time, after a while without
	Last   time.Time
	Times  int // since it was last told
}

// quiet is how long a sender has not been refused when it is storming no more.
const quiet = time.Minute

// Refuse notes that the store had no room for a sender's events.
func (g *Gate) Refuse(from Sender, why Reason) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refuse(from, why)
}

func (g *Gate) refuse(from Sender, why Reason) {
	g.metrics.refuse(why)
	now := g.c.Now()
	r, ok := g.refused[from]
	if !ok {
		r = &Refused{Sender: from, Since: now}
		g.refused[from] = r
	}
	r.Reason, r.Last = why, now
	r.Times++
}

// Storming returns who was refused within the last minute, who was most often first.
func (g *Gate) Storming() []Refused {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.storming()
}

// Told is Storming, and begins to count anew.
func (g *Gate) Told() []Refused {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := g.storming()
	for _, r := range g.refused {
		r.Times = 0
	}
	return all
}

func (g *Gate) storming() []Refused {
	now := g.c.Now()
	var all []Refused
	for from, r := range g.refused {
		if now.Sub(r.Last) > quiet {
			delete(g.refused, from)
			continue
		}
		all = append(all, *r)
	}
	slices.SortFunc(all, func(a, b Refused) int {
		return cmp.Or(cmp.Compare(b.Times, a.Times), cmp.Compare(a.Key, b.Key))
	})
	return all
}

// metrics are what an operator watches of the gate.
type metrics struct{ refused *prometheus.CounterVec }

func newMetrics() metrics {
	return metrics{prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "tocsin", Name: "event_requests_refused_total",
		Help: "Requests with events that were refused for want of room, by the limit; their senders come again.",
	}, []string{"reason"})}
}

func (m metrics) refuse(why Reason) { m.refused.WithLabelValues(string(why)).Inc() }

// Register adds the metrics of the gate.
func (g *Gate) Register(r prometheus.Registerer) {
	gauge := func(name, help string, s *Shares) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "tocsin", Name: name, Help: help}, func() float64 {
			g.mu.Lock()
			defer g.mu.Unlock()
			return float64(s.Used())
		})
	}
	for _, why := range []Reason{KeyRequests, ServiceRequests, Requests, KeyEvents, ServiceEvents, Events, InboxFull, StoreFull} {
		g.metrics.refused.WithLabelValues(string(why)) // 0 is an answer, too
	}
	r.MustRegister(
		g.metrics.refused,
		gauge("event_requests_in_hand", "Room taken by requests with events that are being handled; a large one counts several times.", &g.requests),
		gauge("events_waiting", "Events that were accepted here and, as far as is known, not decided.", &g.waiting),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "tocsin", Name: "events_waiting_room", Help: "How many events may wait: what is decided in ten seconds, at the pace of the last storm.",
		}, func() float64 {
			g.mu.Lock()
			defer g.mu.Unlock()
			return float64(g.waiting.Room)
		}),
	)
}
