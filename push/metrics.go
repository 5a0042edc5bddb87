package push

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the counters of a sender and its providers. Labels never hold
// a person, a token or an incident. A nil *Metrics counts nothing.
type Metrics struct {
	requests  *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	acceptAge *prometheus.HistogramVec
	deliver   *prometheus.CounterVec
	retries   *prometheus.CounterVec
	expired   *prometheus.CounterVec
	drops     *prometheus.CounterVec
	bytes     *prometheus.HistogramVec
	shrunk    *prometheus.CounterVec
	closes    *prometheus.CounterVec

	mu      sync.Mutex
	reasons map[string]struct{}
}

// NewMetrics makes the metrics and registers them. A nil registerer keeps
// them unregistered.
func NewMetrics(r prometheus.Registerer) *Metrics {
	app := []string{"provider", "app", "env"}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append(app[:3:3], labels...))
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, append(app[:3:3], labels...))
	}
	m := &Metrics{
		requests:  counter("push_requests_total", "Attempts, by what they came to.", "kind", "outcome", "reason"),
		seconds:   histogram("push_request_seconds", "Duration of an attempt.", prometheus.ExponentialBuckets(0.002, 2, 13), "kind"),
		acceptAge: histogram("push_accept_age_seconds", "From the intent to the push service accepting it.", prometheus.ExponentialBuckets(0.005, 2, 16), "kind"),
		deliver:   counter("push_deliveries_ended_total", "Deliveries, by how they ended.", "kind", "end"),
		retries:   counter("push_retries_total", "Attempts that were followed by another.", "kind", "reason"),
		expired:   counter("push_expired_total", "Deliveries whose deadline passed before anybody accepted them.", "kind"),
		drops:     counter("push_tokens_dropped_total", "Addresses proven dead.", "reason"),
		bytes:     histogram("push_payload_bytes", "Size of a payload as sent.", []float64{256, 512, 1024, 2048, 3072, 4096}, "kind"),
		shrunk:    counter("push_payload_shrunk_total", "Payloads that had to lose something to fit.", "kind"),
		closes:    counter("push_connection_closes_total", "Connections that ended, by why.", "goaway_reason"),
		reasons:   make(map[string]struct{}),
	}
	if r != nil {
		r.MustRegister(m.requests, m.seconds, m.acceptAge, m.deliver, m.retries, m.expired, m.drops, m.bytes, m.shrunk, m.closes)
	}
	return m
}

// ConnectionClosed counts a connection of a provider that ended.
func (m *Metrics) ConnectionClosed(provider, app string, env Environment, reason string) {
	if m == nil {
		return
	}
	m.closes.WithLabelValues(provider, app, string(env.orProduction()), m.label(reason)).Inc()
}

// meter is what every push of one kind through one app moves, looked up once:
// finding a metric by its labels costs more than counting.
type meter struct {
	app  appKey
	kind Kind

	accepted, ended     prometheus.Counter
	seconds, bytes, age prometheus.Observer
}

func (m *Metrics) meter(k appKey, kind Kind) *meter {
	labels := []string{k.provider, k.app, string(k.env), kind.String()}
	m.expired.WithLabelValues(labels...) // there from the start, so that a first one is an increase
	return &meter{
		app: k, kind: kind,
		accepted: m.requests.WithLabelValues(append(labels, Accepted.String(), m.label(""))...),
		ended:    m.deliver.WithLabelValues(append(labels, EndAccepted.String())...),
		seconds:  m.seconds.WithLabelValues(labels...), bytes: m.bytes.WithLabelValues(labels...), age: m.acceptAge.WithLabelValues(labels...),
	}
}

func (m *Metrics) attempt(t *meter, o *Outcome) {
	if o.Class == Accepted && o.Reason == "" {
		t.accepted.Inc()
	} else {
		m.requests.WithLabelValues(t.app.provider, t.app.app, string(t.app.env), t.kind.String(), o.Class.String(), m.label(o.Reason)).Inc()
	}
	t.seconds.Observe(o.Elapsed.Seconds())
	if o.Bytes > 0 {
		t.bytes.Observe(float64(o.Bytes))
	}
	if o.Shrunk != "" {
		m.shrunk.WithLabelValues(t.app.provider, t.app.app, string(t.app.env), t.kind.String()).Inc()
	}
}

func (m *Metrics) ended(t *meter, e End) {
	if e == EndAccepted {
		t.ended.Inc()
		return
	}
	m.deliver.WithLabelValues(t.app.provider, t.app.app, string(t.app.env), t.kind.String(), e.String()).Inc()
	if e == EndExpired {
		m.expired.WithLabelValues(t.app.provider, t.app.app, string(t.app.env), t.kind.String()).Inc()
	}
}

func (m *Metrics) retry(k appKey, kind Kind, o *Outcome) {
	m.retries.WithLabelValues(k.provider, k.app, string(k.env), kind.String(), m.label(o.Reason)).Inc()
}

func (m *Metrics) dropped(k appKey, reason string) {
	m.drops.WithLabelValues(k.provider, k.app, string(k.env), m.label(reason)).Inc()
}

const (
	maxReasons     = 64
	maxReasonBytes = 48
)

// label keeps the set of reasons closed although services invent words: only
// names, and after the first sixty-four only those that were seen before.
func (m *Metrics) label(reason string) string {
	if reason == "" {
		return "none"
	}
	if len(reason) > maxReasonBytes || !isName(reason) {
		return "other"
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.reasons[reason]; known {
		return reason
	}
	if len(m.reasons) >= maxReasons {
		return "other"
	}
	m.reasons[reason] = struct{}{}
	return reason
}

func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}

// collector reads what is a state, not an event, at the time of a scrape.
type collector struct{ states func() []AppState }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, append([]string{"provider", "app", "env"}, labels...), nil)
}

//nolint:gochecknoglobals // descriptions of metrics are immutable
var (
	breakerDesc = desc("push_breaker_state", "0 closed, 1 open for trouble, 2 open for a refused credential.")
	depthDesc   = desc("push_outbox_depth", "Deliveries in the sender that have not ended.", "priority")
	oldestDesc  = desc("push_sender_oldest_seconds", "How long the oldest page that has not ended has been in the sender.")
	flightDesc  = desc("push_attempts_inflight", "Attempts being made.")
	streamsDesc = desc("push_streams_inflight", "Requests on the wire.")
	connsDesc   = desc("push_connections", "Connections to the push service.", "state")
	tokenDesc   = desc("push_jwt_age_seconds", "Age of the provider token in use.")
	skewDesc    = desc("push_clock_skew_seconds", "The push service's clock minus ours.")
)

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{breakerDesc, depthDesc, oldestDesc, flightDesc, streamsDesc, connsDesc, tokenDesc, skewDesc} {
		ch <- d
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	for _, st := range c.states() {
		gauge := func(d *prometheus.Desc, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v,
				append([]string{st.Provider, st.App, string(st.Environment)}, labels...)...)
		}
		gauge(breakerDesc, float64(st.Breaker))
		gauge(depthDesc, float64(st.Pages), "page")
		gauge(depthDesc, float64(st.Others), "info")
		gauge(oldestDesc, st.Oldest.Seconds())
		gauge(flightDesc, float64(st.InFlight))
		gauge(streamsDesc, float64(st.Stats.InFlight))
		gauge(tokenDesc, st.Stats.TokenAge.Seconds())
		gauge(skewDesc, st.Stats.ClockSkew.Seconds())
		for state, n := range st.Stats.Connections {
			gauge(connsDesc, float64(n), state)
		}
	}
}
