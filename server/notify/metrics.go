package notify

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// metrics are what an operator sees of pages. Labels are from closed sets, never
// a person, a token or an incident, nor an app, which phones name.
type metrics struct {
	pages      *prometheus.CounterVec
	latency    *prometheus.HistogramVec
	receipts   *prometheus.HistogramVec
	fallbacks  *prometheus.CounterVec
	deliveries *prometheus.CounterVec
	refused    *prometheus.CounterVec
	cards      *prometheus.CounterVec
	pushed     *prometheus.CounterVec
	ratio      *prometheus.GaugeVec
	degraded   *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		pages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_pages_total", Help: "Contact steps, by channel and by what became of them.",
		}, []string{"channel", "verdict"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tocsin_page_latency_seconds", Help: "From the decision to page until a provider took the page.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2, 5, 10, 30, 60, 300, 900},
		}, []string{"channel"}),
		receipts: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "push_receipt_seconds", Help: "From the acceptance of a page until the phone said that it has it.",
			Buckets: []float64{.1, .25, .5, 1, 2, 5, 10, 20, 60, 300, 3600},
		}, []string{"provider"}),
		fallbacks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "push_fallback_total", Help: "Pages by push that did not reach a phone, so that another way was asked for before its time, by cause.",
		}, []string{"cause"}),
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_deliveries_total", Help: "Deliveries that reached a state.",
		}, []string{"channel", "state"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "push_receipts_refused_total", Help: "Receipts that were not applied, by why.",
		}, []string{"why"}),
		cards: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_cards_total", Help: "Messages about several incidents, by kind.",
		}, []string{"kind"}),
		pushed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "push_deliveries_total", Help: "Pages and cards by push that reached a state: of us, of the push service, of the phone.",
		}, []string{"provider", "state"}),
		ratio: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "push_receipt_ratio", Help: "Share of the pages of the last 5 minutes that phones confirmed within 20 s, each phone counting the same.",
		}, []string{"provider"}),
		degraded: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "push_delivery_degraded", Help: "1 while a push service takes pages that phones do not confirm.",
		}, []string{"provider"}),
	}
	for _, cause := range []fallbackCause{causeRejected, causeNoReceipt, causeNoDevice, causeBreaker} {
		m.fallbacks.WithLabelValues(string(cause)) // there from the start, so that a first one is an increase
	}
	if r != nil {
		r.MustRegister(m.pages, m.latency, m.receipts, m.fallbacks, m.deliveries, m.refused, m.cards, m.pushed, m.ratio, m.degraded)
	}
	return m
}

// reached counts a delivery that reached a state; platform is that of a push.
func (m *metrics) reached(kind roster.MethodKind, platform roster.Platform, s incident.DeliveryState) {
	m.deliveries.WithLabelValues(channelName(kind), stateName(s)).Inc()
	if kind == roster.Push {
		m.pushed.WithLabelValues(providerOf(platform), stateName(s)).Inc()
	}
}

// fallbackCause is why another way than push was asked for.
type fallbackCause string

const (
	causeRejected  fallbackCause = "rejected"   // every device was refused for good, or does not show pages
	causeNoReceipt fallbackCause = "no_receipt" // no phone confirmed it in time
	causeNoDevice  fallbackCause = "no_device"  // there was none that could be paged
	causeBreaker   fallbackCause = "breaker"    // the push service is out, or refuses our key
)

// fallback counts a page by push that did not reach a phone.
func (m *metrics) fallback(c fallbackCause) { m.fallbacks.WithLabelValues(string(c)).Inc() }

// pulled counts the ways that ran before their time for a reason that only
// their own page tells. A push that failed was counted when it did.
func (m *metrics) pulled(w incident.Work) {
	switch {
	case w.Reason == incident.PageNoReceipt:
		m.fallback(causeNoReceipt)
	case w.Reason == incident.PageRejected && w.Cause == incident.CauseNoMethod:
		m.fallback(causeNoDevice)
	}
}

// accepted observes how long a page took to be taken.
func (m *metrics) accepted(kind roster.MethodKind, took time.Duration) {
	m.latency.WithLabelValues(channelName(kind)).Observe(max(took, 0).Seconds())
}

func channelName(k roster.MethodKind) string {
	switch k {
	case roster.Push:
		return "push"
	case roster.Email:
		return "email"
	case roster.Webhook:
		return "webhook"
	}
	return "other"
}

func stateName(s incident.DeliveryState) string {
	names := [...]string{
		"", "queued", "attempted", "accepted", "rejected", "expired", "withdrawn", "suppressed", "received", "displayed", "opened", "acted",
	}
	if int(s) < len(names) {
		return names[s]
	}
	return ""
}
