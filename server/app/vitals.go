package app

import (
	"context"
	"log/slog"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/ingest"
)

// vitalsEvery is how often Redis is asked how full it is.
const vitalsEvery = 10 * time.Second

// vitals are the figures of this instance that no part below it has: whether it
// is ready, what it takes in, how full Redis is, and what the clock does.
type vitals struct {
	ready  prometheus.Gauge
	filled prometheus.Gauge
	events *prometheus.CounterVec
}

// What an event was answered.
const (
	answerAccepted = "accepted"
	answerIgnored  = "ignored"
	answerRefused  = "refused"
)

// newVitals registers the figures.
func newVitals(r prometheus.Registerer, version string, jumped func() time.Duration) *vitals {
	v := &vitals{
		ready: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tocsin_ready", Help: "1 while /readyz answers 200: what this instance accepts will page somebody.",
		}),
		filled: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tocsin_redis_memory_ratio", Help: "Share of maxmemory that Redis uses, of the fullest node; 0 without a maxmemory. At 1 events are refused.",
		}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_events_total", Help: "Events from known integrations, by what they were answered.",
		}, []string{"answer"}),
	}
	for _, answer := range []string{answerAccepted, answerIgnored, answerRefused} {
		v.events.WithLabelValues(answer) // there from the start, so that a first one is an increase
	}
	built := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tocsin_build_info", Help: "1, labelled with what this instance was built from.",
		ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()},
	})
	built.Set(1)
	r.MustRegister(v.ready, v.filled, v.events, built, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tocsin_clock_jump_seconds", Help: "By how much the clock of Redis has jumped while that is not believed; 0: it has not.",
	}, func() float64 { return jumped().Seconds() }))
	return v
}

// setReady takes in what a look at the conditions of readiness found.
func (v *vitals) setReady(ready bool) {
	if ready {
		v.ready.Set(1)
		return
	}
	v.ready.Set(0)
}

// follow looks at Redis until ctx ends. A Redis that does not answer leaves the
// last figure: that it is out, readiness tells.
func (v *vitals) follow(ctx context.Context, memory func(ctx context.Context) (float64, error), log *slog.Logger) error {
	tick := time.NewTicker(vitalsEvery)
	defer tick.Stop()
	for {
		if ratio, err := memory(ctx); err == nil {
			v.filled.Set(ratio)
		} else if ctx.Err() == nil {
			log.DebugContext(ctx, "how full redis is was not read", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// counted counts what the next acceptor answers.
type counted struct {
	next   ingest.Acceptor
	events *prometheus.CounterVec
}

// Accept implements [ingest.Acceptor].
func (c counted) Accept(ctx context.Context, from ingest.Integration, events []event.Event) ([]ingest.Accepted, error) {
	accepted, err := c.next.Accept(ctx, from, events)
	if err != nil {
		c.events.WithLabelValues(answerRefused).Add(float64(len(events)))
		return nil, err
	}
	for _, a := range accepted {
		answer := answerAccepted
		if a.Result == ingest.OutcomeIgnored {
			answer = answerIgnored
		}
		c.events.WithLabelValues(answer).Inc()
	}
	return accepted, nil
}
