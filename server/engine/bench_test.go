package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/engine"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/incident/incidenttest"
	"github.com/tocsin-oncall/tocsin/server/redisd"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/respond"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// idle is a notifier that does nothing at once.
type idle struct{}

func (idle) Do(_ context.Context, _ store.WorkItem, done func(error)) { done(nil) }
func (idle) Tick(context.Context, store.Doc, time.Time) error         { return nil }

// idleEngine is an engine that pages nobody.
func idleEngine(s *store.Store, w *world) *engine.Engine {
	desk := &respond.Desk{Store: s, View: func() incident.View { return w }, Now: time.Now}
	e := engine.New(engine.Config{
		Store: s, Desk: desk, Directory: w, Notifier: idle{},
		Log: slog.New(slog.DiscardHandler), Metrics: engine.NewMetrics(prometheus.NewRegistry()),
	})
	desk.Committed = e.Committed
	return e
}

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
			e := idleEngine(s, w)
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
	for {
		pulses, err := s.Pulse(tb.Context(), store.All())
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

// BenchmarkDue measures escalations that are due at one instant, of 50 services
// and of people who are paged a day later, until all are committed: the time
// for each, and the processor's of this process and of Redis.
func BenchmarkDue(b *testing.B) {
	const due = 4000
	var all, own, redis time.Duration // of all bursts
	bursts := 0
	for ; b.Loop(); bursts++ {
		b.StopTimer()
		srv := redistest.Start(b, redistest.WithFsync(redisd.FsyncAlways))
		s, err := store.Open(b.Context(), store.Options{URL: srv.URL()})
		if err != nil {
			b.Fatal(err)
		}
		w := newWorld()
		for id, u := range w.Users {
			u.High = []roster.Step{{Delay: 24 * time.Hour, Method: roster.PushAll}}
			w.Users[id] = u
		}
		w.SetPolicy("night", 0, incidenttest.Level(30*time.Minute, "ann"), incidenttest.Level(time.Hour, "bo"))
		escalatable(b, s, w, due)
		e := idleEngine(s, w)
		ctx, stop := context.WithCancel(b.Context())
		ended := make(chan error, 1)
		own0, redis0 := used(b, s)
		began := time.Now()
		b.StartTimer()
		go func() { ended <- e.Run(ctx) }()
		for overdue(b, s) {
			<-time.After(5 * time.Millisecond)
		}
		b.StopTimer()
		own1, redis1 := used(b, s)
		all, own, redis = all+time.Since(began), own+own1-own0, redis+redis1-redis0
		stop()
		if err := <-ended; err != nil {
			b.Error(err)
		}
		_ = s.Close()
		b.StartTimer()
	}
	for name, d := range map[string]time.Duration{"µs": all, "server-cpu-µs": own, "redis-cpu-µs": redis} {
		b.ReportMetric(float64(d.Microseconds())/float64(bursts)/due, name+"/escalation")
	}
}

// escalatable makes incidents whose first level has just passed.
func escalatable(tb testing.TB, s *store.Store, w *world, n int) {
	tb.Helper()
	var commits []store.Commit
	for i := range n {
		now := time.Now().Add(-30 * time.Minute)
		svc, _ := w.Service(catalog.ServiceID(fmt.Sprint("s", i%50)))
		dec, err := incident.Decide(nil, incident.Begin{
			ID: store.NewIncidentID(store.PartitionOf(string(svc.ID)), now), Number: int64(i + 1), Service: svc,
			By:    incident.Actor{Kind: incident.ActorSource, ID: "am", Via: "events"},
			Alert: incident.Alert{Service: svc.ID, Key: fmt.Sprint(i), Integration: "am", Count: 1},
			Event: event.Event{Action: event.Trigger, DedupKey: fmt.Sprint(i), Summary: "disk full on db-1", Source: "db-1", Severity: event.Critical},
		}, w, now)
		if err != nil {
			tb.Fatal(err)
		}
		commits = append(commits, respond.Commit(nil, dec))
	}
	for _, r := range s.CommitAll(tb.Context(), commits) {
		if r.Err != nil {
			tb.Fatal(r.Err)
		}
	}
}

// overdue reports whether anything is due.
func overdue(tb testing.TB, s *store.Store) bool {
	tb.Helper()
	pulses, err := s.Pulse(tb.Context(), store.All())
	if err != nil {
		tb.Fatal(err)
	}
	return slices.ContainsFunc(pulses, func(p store.Pulse) bool { return !p.Due.IsZero() && p.Due.Before(time.Now()) })
}

// used is the processor time of this process and of Redis.
func used(tb testing.TB, s *store.Store) (own, redis time.Duration) {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	info, err := s.Info(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	for _, field := range []string{"used_cpu_user", "used_cpu_sys"} {
		seconds, err := strconv.ParseFloat(info[field], 64)
		if err != nil {
			tb.Fatal(err)
		}
		redis += time.Duration(seconds * float64(time.Second))
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), redis
}
