package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tocsin-oncall/tocsin/server/directory"
)

// holdEvery is how often the log says that paging is held.
const holdEvery = time.Minute

// holdWatch keeps a hold from being forgotten: the log repeats it, and a metric
// shows it. Readiness does not fall for it: events have to be taken in, and a
// load balancer that sent them elsewhere would find the same hold there.
type holdWatch struct {
	settings func() *directory.Settings
	log      *slog.Logger
	look     time.Duration // between looks
	repeat   time.Duration // between lines of the log
}

// register adds the metrics. They are true of the whole installation, at every instance.
func (h *holdWatch) register(r prometheus.Registerer) {
	gauge := func(name, help string, is func(*directory.Settings) bool) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "tocsin", Name: name, Help: help}, func() float64 {
			if is(h.settings()) {
				return 1
			}
			return 0
		}))
	}
	gauge("paging_held", "1 while all paging is held by tocsin hold: nobody is paged.",
		func(s *directory.Settings) bool { return s.Held })
	gauge("overdue_held", "1 while incidents that were due long ago wait for tocsin resume, after a restore or a long outage.",
		func(s *directory.Settings) bool { return !s.OverdueBefore.IsZero() })
}

// run says it at once and then again and again, until ctx ends.
func (h *holdWatch) run(ctx context.Context) error {
	tick := time.NewTicker(h.look)
	defer tick.Stop()
	var said time.Time
	for {
		set := h.settings()
		switch held := set.Held || !set.OverdueBefore.IsZero(); {
		case !held:
			said = time.Time{}
		case time.Since(said) >= h.repeat:
			said = time.Now()
			h.say(ctx, set)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (h *holdWatch) say(ctx context.Context, set *directory.Settings) {
	if set.Held {
		h.log.WarnContext(ctx, "PAGING IS HELD: nobody is paged until tocsin resume",
			slog.String("by", set.HeldBy), slog.Time("since", set.HeldSince), slog.String("reason", set.HeldReason))
		return
	}
	h.log.WarnContext(ctx, "incidents that were due long ago wait: look, then tocsin resume", slog.Time("due_before", set.OverdueBefore))
}
