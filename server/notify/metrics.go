package notify

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// metrics are what an operator sees of pages. Labels are from closed sets.
type metrics struct {
	pages      *prometheus.CounterVec
	latency    *prometheus.HistogramVec
	receipts   *prometheus.HistogramVec
	fallbacks  *prometheus.CounterVec
	deliveries *prometheus.CounterVec
	refused    *prometheus.CounterVec
	cards      *prometheus.CounterVec
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
		}, []string{"platform"}),
		fallbacks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "push_fallback_total", Help: "Ways of reaching a person that ran before their time, by cause.",
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
	}
	if r != nil {
		r.MustRegister(m.pages, m.latency, m.receipts, m.fallbacks, m.deliveries, m.refused, m.cards)
	}
	return m
}

// fallback counts ways that ran before their time.
func (m *metrics) fallback(r incident.PageReason) {
	switch r {
	case incident.PageNoReceipt:
		m.fallbacks.WithLabelValues("no_receipt").Inc()
	case incident.PageRejected:
		m.fallbacks.WithLabelValues("rejected").Inc()
	case incident.PageAssigned, incident.PageStep, incident.PageReminder, incident.PageFallback, incident.PageCatchAll, incident.PageResponder:
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
