package engine

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tocsin-oncall/tocsin/server/store"
)

// Metrics are what an operator watches of the engine.
type Metrics struct {
	dropped  *prometheus.CounterVec
	poisoned prometheus.Counter
	failed   prometheus.Counter
	dead     prometheus.Counter

	handedOver    prometheus.Counter
	schemaWritten prometheus.Gauge

	inboxAge prometheus.Gauge
	dueLag   prometheus.Gauge
	workAge  prometheus.Gauge
	inbox    prometheus.Gauge
	work     prometheus.Gauge
	owned    prometheus.Gauge

	oldestPage atomic.Pointer[func() time.Duration]
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "tocsin", Name: name, Help: help})
		r.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "tocsin", Name: name, Help: help})
		r.MustRegister(g)
		return g
	}
	m := &Metrics{
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "tocsin", Name: "events_dropped_total", Help: "Accepted events that lead to no page, by action; the ring of dropped events says why.",
		}, []string{"action"}),
		poisoned: counter("documents_put_off_total", "Timers put off because no rule could decide the document."),
		failed:   counter("work_failures_total", "Failed handlings of work items; they are tried again."),
		dead:     counter("dead_letters_total", "Work given up after its last try."),

		handedOver:    counter("handed_over_total", "Times that something was met which only a newer version reads; it was left to an instance of that."),
		schemaWritten: gauge("schema_written", "The schema in which everything is stored. An instance that does not read it owns no partition."),

		inboxAge: gauge("inbox_oldest_seconds", "Age of the oldest accepted event that has not been decided, of the partitions owned here."),
		dueLag:   gauge("due_lag_seconds", "How long the most overdue timer has been due, of the partitions owned here."),
		workAge:  gauge("work_oldest_seconds", "Age of the oldest work that has not ended, of the partitions owned here."),
		inbox:    gauge("inbox_entries", "Accepted events that have not been decided, of the partitions owned here."),
		work:     gauge("work_entries", "Work that has not ended, of the partitions owned here."),
		owned:    gauge("partitions_owned", "Partitions that this instance runs."),
	}
	gauge("schema_read", "The newest schema that this instance reads.").Set(store.Schema)
	// Asked of memory, not of Redis: it has to rise while Redis is out.
	r.MustRegister(m.dropped, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "push_outbox_oldest_seconds", Help: "How long ago the oldest page was decided that nobody has taken, given up or withdrawn, of the partitions owned here.",
	}, func() float64 {
		if f := m.oldestPage.Load(); f != nil {
			return (*f)().Seconds()
		}
		return 0
	}))
	return m
}

// observe takes in what a look at the owned partitions found. Those of a master
// that is out are not among what was found.
func (m *Metrics) observe(owned int, pulses []store.Pulse, now time.Time) {
	var inboxAge, lag, workAge time.Duration
	inbox, work := 0, 0
	for _, p := range pulses {
		inbox, work = inbox+p.Inbox, work+p.Work
		inboxAge = max(inboxAge, since(p.InboxOldest, now))
		workAge = max(workAge, since(p.WorkOldest, now))
		lag = max(lag, since(p.Due, now))
	}
	m.inboxAge.Set(inboxAge.Seconds())
	m.workAge.Set(workAge.Seconds())
	m.dueLag.Set(lag.Seconds())
	m.inbox.Set(float64(inbox))
	m.work.Set(float64(work))
	m.owned.Set(float64(owned))
}

// schema takes in in which schema everything is stored.
func (m *Metrics) schema(written int) { m.schemaWritten.Set(float64(written)) }

// since returns how long ago an instant was; 0 when it is not, or zero.
func since(at, now time.Time) time.Duration {
	if at.IsZero() || at.After(now) {
		return 0
	}
	return now.Sub(at)
}
