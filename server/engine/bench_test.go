package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/engine"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/redisd"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/respond"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// idle is a notifier that does nothing at once.
type idle struct{}

func (idle) Do(_ context.Context, _ store.WorkItem, done func(error)) { done(nil) }
func (idle) Tick(context.Context, store.Doc, time.Time) error         { return nil }

// BenchmarkEvents measures events from their acceptance until all are
// incidents and their work is done, with appendfsync always, 64 senders and 50
// services.
func BenchmarkEvents(b *testing.B) {
	for name, keys := range map[string]int64{"new": 1 << 62, "repeat": 50} {
		b.Run(name, func(b *testing.B) {
			s, err := store.Open(b.Context(), store.Options{URL: redistest.Start(b, redistest.WithFsync(redisd.FsyncAlways)).URL()})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			w := newWorld()
			w.SetPolicy("night", 0, w.Policies["night"].Levels[1])
			desk := &respond.Desk{Store: s, View: func() incident.View { return w }, Now: time.Now}
			e := engine.New(engine.Config{
				Store: s, Desk: desk, Directory: w, Notifier: idle{},
				Log: slog.New(slog.DiscardHandler), Metrics: engine.NewMetrics(prometheus.NewRegistry()),
			})
			desk.Committed = e.Committed
			ctx, stop := context.WithCancel(b.Context())
			ended := make(chan error, 1)
			go func() { ended <- e.Run(ctx) }()
			for len(e.Owned()) == 0 {
				<-time.After(time.Millisecond)
			}
			var n atomic.Int64
			b.SetParallelism(32)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := n.Add(1)
					key := fmt.Sprint(i % keys)
					err := e.Accept(ctx, []store.InboxEntry{{
						Service: catalog.ServiceID(fmt.Sprint("s", i%50)), Integration: "am", Key: key, Received: time.Now(),
						Event: event.Event{Action: event.Trigger, DedupKey: key, Summary: "disk full on db-1", Source: "db-1", Severity: event.Critical},
					}})
					if err != nil {
						b.Error(err)
					}
				}
			})
			drain(b, s)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			b.StopTimer()
			stop()
			if err := <-ended; err != nil {
				b.Error(err)
			}
		})
	}
}

func drain(tb testing.TB, s *store.Store) {
	tb.Helper()
	var all []store.Partition
	for p := range store.Partition(store.Partitions) {
		all = append(all, p)
	}
	for {
		pulses, err := s.Pulse(tb.Context(), all)
		if err != nil {
			tb.Fatal(err)
		}
		n := 0
		for _, p := range pulses {
			n += p.Inbox + p.Work
		}
		if n == 0 {
			return
		}
		<-time.After(time.Millisecond)
	}
}
