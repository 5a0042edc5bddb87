package store

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/redisd"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// benchmarks run with the durability that a small installation has.
func benchStore(b *testing.B) *Store {
	b.Helper()
	return openAt(b, redistest.Start(b, redistest.WithFsync(redisd.FsyncAlways)).URL())
}

func BenchmarkCommitNewIncident(b *testing.B) {
	s := benchStore(b)
	i := 0
	for b.Loop() {
		i++
		if _, err := s.Commit(b.Context(), begin(opened(catalog.ServiceID(strconv.Itoa(i%500)), base), strconv.Itoa(i))); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
}

func BenchmarkCommitNewIncident64(b *testing.B) {
	s := benchStore(b)
	var n atomic.Int64
	b.SetParallelism(32) // times two processors
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := n.Add(1)
			if _, err := s.Commit(context.Background(), begin(opened(catalog.ServiceID(strconv.FormatInt(i%500, 10)), base), strconv.FormatInt(i, 10))); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
}

func BenchmarkCommitAll32(b *testing.B) {
	s := benchStore(b)
	i := 0
	for b.Loop() {
		cs := make([]Commit, 32)
		for k := range cs {
			i++
			cs[k] = begin(opened(catalog.ServiceID(strconv.Itoa(i%500)), base), strconv.Itoa(i))
		}
		for _, r := range s.CommitAll(b.Context(), cs) {
			if r.Err != nil {
				b.Fatal(r.Err)
			}
		}
	}
	b.ReportMetric(float64(32*b.N)/b.Elapsed().Seconds(), "commits/s")
}

func BenchmarkAppend64(b *testing.B) {
	s := openAt(b, redistest.Start(b, redistest.WithFsync(redisd.FsyncAlways)).URL(), func(o *Options) { o.InboxLimit = 1 << 30 })
	var n atomic.Int64
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := n.Add(1)
			if err := s.Append(context.Background(), []InboxEntry{{Service: catalog.ServiceID(strconv.FormatInt(i%500, 10)), Key: "disk", Received: base}}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// used is what all keys take: their own count by Redis, and the table of keys.
func used(tb testing.TB, s *Store) float64 {
	tb.Helper()
	keys, err := s.rdb.Keys(tb.Context(), "*").Result()
	if err != nil {
		tb.Fatal(err)
	}
	sum := 0.0
	for _, k := range keys {
		n, err := s.rdb.MemoryUsage(tb.Context(), k, 0).Result()
		if err != nil {
			tb.Fatal(err)
		}
		sum += float64(n) + 16 // the table doubles: a slot of eight bytes for each key, two at worst
	}
	return sum
}

// lived makes incidents with a timeline of ten entries, one alert, a page to two
// devices with receipts, work done and the feed trimmed.
func lived(tb testing.TB, s *Store, n int) []*incident.Incident {
	tb.Helper()
	ctx := tb.Context()
	var all []*incident.Incident
	for from := 0; from < n; from += 100 {
		var cs []Commit
		for i := range 100 {
			in := opened(catalog.ServiceID(fmt.Sprintf("service-%d", (from+i)%5)), base.Add(time.Duration(from+i)*time.Second))
			c := begin(in, fmt.Sprintf("alertname=HighErrorRate,instance=checkout-%d", services.Add(1)))
			for seq := 3; seq <= 10; seq++ {
				e := incident.Entry{Seq: seq, At: in.Created.Add(time.Duration(seq) * time.Second), Type: incident.EntryNotified, Actor: incident.System("plan"), Users: []roster.UserID{"ann"}, Step: roster.PushAll}
				if seq%4 == 0 {
					e = incident.Entry{Seq: seq, At: e.At, Type: incident.EntryDuplicate, Key: c.Keys[0].Key, Count: seq}
				}
				c.Timeline = append(c.Timeline, e)
			}
			in.Seq = 10
			cs = append(cs, c)
		}
		for i, r := range s.CommitAll(ctx, cs) {
			if r.Err != nil {
				tb.Fatal(r.Err)
			}
			in := *cs[i].After
			r.Stamp(&in)
			sends := []Send{sendTo(tb, in.ID, in.Generation, "iphone-ann"), sendTo(tb, in.ID, in.Generation, "pixel-ann")}
			if _, err := s.BeginSend(ctx, base, sends); err != nil {
				tb.Fatal(err)
			}
			for _, send := range sends {
				send.Delivery.State, send.Delivery.Accepted, send.Delivery.Provider = incident.DeliveryAccepted, base, ""
				if err := s.RecordDelivery(ctx, send.Doc, send.Delivery); err != nil {
					tb.Fatal(err)
				}
			}
			if err := s.WorkDone(ctx, r.Work[0].Partition, r.Work[0].ID); err != nil {
				tb.Fatal(err)
			}
			all = append(all, &in)
		}
	}
	quiet(tb, s)
	return all
}

// quiet removes what is gone a day or a week later in any case.
func quiet(tb testing.TB, s *Store) {
	tb.Helper()
	keys, err := s.rdb.Keys(tb.Context(), "*").Result()
	if err != nil {
		tb.Fatal(err)
	}
	for _, k := range keys {
		if strings.HasSuffix(k, ":feed") || strings.Contains(k, ":d:") {
			s.rdb.Del(tb.Context(), k)
		}
	}
}

// The bars of the architecture: bytes of Redis for each incident.
const (
	barOpen     = 2500
	barArchived = 600
)

func TestMemoryPerIncident(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := openAt(t, srv.URL())
	const n = 1000 // of five services and one person: the indexes are in their larger form
	lived(t, s, n)
	open := used(t, s) / n
	srv.Flush(t)
	pack(t, s, n)
	archived := used(t, s) / n
	t.Logf("an open incident takes %.0f bytes, an archived one %.0f", open, archived)
	if open > barOpen {
		t.Errorf("an open incident takes %.0f bytes, want %d at most", open, barOpen)
	}
	if archived > barArchived {
		t.Errorf("an archived incident takes %.0f bytes, want %d at most", archived, barArchived)
	}
}

// pack makes archived incidents, without their facts: those are kept for longer.
func pack(tb testing.TB, s *Store, n int) {
	tb.Helper()
	for _, in := range lived(tb, s, n) {
		after := resolved(in, base.Add(time.Hour))
		alerts, err := s.Alerts(tb.Context(), in.ID)
		if err != nil || len(alerts) != 1 {
			tb.Fatalf("alerts: got %v, %v", alerts, err)
		}
		mustCommit(tb, s, Commit{
			Before: in, After: after, Keys: []KeyGuard{{Service: in.Service, Key: alerts[0].Key, Was: in.ID}},
			Timeline: []incident.Entry{{Seq: 11, At: after.ResolvedAt, Type: incident.EntryResolved, Actor: after.ResolvedBy}},
		})
		if err := s.Archive(tb.Context(), in.ID, zoneOf); err != nil {
			tb.Fatal(err)
		}
	}
	for _, k := range s.rdb.Keys(tb.Context(), "*:facts:*").Val() {
		s.rdb.Del(tb.Context(), k)
	}
	quiet(tb, s)
}

// What the ring costs: the same writes with and without it. On a machine that
// does other things as well, the processor's time for each write tells more than
// their rate.
func BenchmarkRing(b *testing.B) {
	for _, kind := range []string{"append", "commit"} {
		for _, ring := range []int{0, ringInTests} {
			b.Run(fmt.Sprintf("%s/ring=%dMiB", kind, ring>>20), func(b *testing.B) {
				s := openAt(b, redistest.Start(b, redistest.WithFsync(redisd.FsyncAlways)).URL(), func(o *Options) {
					o.InboxLimit, o.Ring, o.Now = 1<<30, ring, time.Now
				})
				var n atomic.Int64
				b.ReportAllocs()
				b.SetParallelism(32)
				began := processorTime(b)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						i := n.Add(1)
						service := catalog.ServiceID(strconv.FormatInt(i%500, 10))
						var err error
						if kind == "append" {
							err = s.Append(context.Background(), []InboxEntry{{Service: service, Key: "disk", Received: base}})
						} else {
							_, err = s.Commit(context.Background(), begin(opened(service, base), strconv.FormatInt(i, 10)))
						}
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
				b.ReportMetric(float64((processorTime(b)-began).Microseconds())/float64(b.N), "cpu-µs/op")
			})
		}
	}
}

// processorTime is what this process has used, without Redis.
func processorTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
