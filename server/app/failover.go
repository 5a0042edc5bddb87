package app

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tocsin-oncall/tocsin/server/store"
)

// failovers tells what failovers of Redis did to what had been acknowledged.
type failovers struct {
	stats func() store.FailoverStats
	now   func() time.Time
}

func (f failovers) register(r prometheus.Registerer) {
	counter := func(name, help string, labels prometheus.Labels, value func(store.FailoverStats) int) {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: "tocsin", Subsystem: "store", Name: name, Help: help, ConstLabels: labels,
		}, func() float64 { return float64(value(f.stats())) }))
	}
	const lost = "Acknowledged writes that a failover of Redis had lost, by whether they were written again."
	counter("failovers_total", "Masters of Redis that changed, or started again.", nil,
		func(s store.FailoverStats) int { return s.Failovers })
	counter("lost_writes_detected_total", lost, prometheus.Labels{"outcome": "restored"},
		func(s store.FailoverStats) int { return s.Restored })
	counter("lost_writes_detected_total", lost, prometheus.Labels{"outcome": "lost"},
		func(s store.FailoverStats) int { return s.Lost })
	counter("unconfirmed_commits_total", "Commits that went on although no replica had confirmed them in time (durability replicated).", nil,
		func(s store.FailoverStats) int { return s.Unconfirmed })
}

const (
	lossTold        = 24 * time.Hour // a loss is history after a day
	unconfirmedTold = time.Minute
)

// problems returns what the operator has to know of it now.
func (f failovers) problems() []string {
	var all []string
	s, now := f.stats(), f.now()
	if s.Lost > 0 && now.Sub(s.LastLost) < lossTold {
		all = append(all, fmt.Sprintf("What people did was lost in a failover of Redis, %s, the last at %s; the log names it, and the incidents page again.",
			times(s.Lost, "time"), s.LastLost.UTC().Format("2006-01-02 15:04:05 MST")))
	}
	if s.Unconfirmed > 0 && now.Sub(s.LastUnconfirmed) < unconfirmedTold {
		all = append(all, "No replica of Redis confirms what is written: events are answered 503, all else goes on. Look at the replicas.")
	}
	return all
}

func times(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
