package directory

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// large returns a snapshot of n services, each with an integration.
func large(b *testing.B, n int) *Snapshot {
	b.Helper()
	s := &Snapshot{zones: &zones{}}
	build := s.build()
	build.put(user("ann"))
	build.put(policy("p", "ann"))
	for i := range n {
		id := fmt.Sprintf("service-%07d", i)
		build.put(service(id, "p"))
		build.put(integration("in-"+id, id, fmt.Sprintf("%032d", i)))
	}
	return build.done()
}

// BenchmarkApply is one change of one record next to very many.
func BenchmarkApply(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		b.Run(fmt.Sprintf("%d services", n), func(b *testing.B) {
			s := large(b, n)
			payload, err := encode(service("service-0000007", "p"))
			if err != nil {
				b.Fatal(err)
			}
			change := Stored{Key: Key{KindService, "service-0000007"}, Revision: 2, Updated: time.Unix(0, 0), Payload: payload}
			b.ReportAllocs()
			for b.Loop() {
				build := s.build()
				if err := build.apply(change); err != nil {
					b.Fatal(err)
				}
				s = build.done()
			}
		})
	}
}

// BenchmarkMemory reports what a service with its integration takes.
func BenchmarkMemory(b *testing.B) {
	const n = 100_000
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		s := large(b, n)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "bytes/service")
		runtime.KeepAlive(s)
	}
}

func BenchmarkView(b *testing.B) {
	s := large(b, 100_000)
	b.ReportAllocs()
	for b.Loop() {
		svc, _ := s.Service("service-0000007")
		p, _ := s.CurrentPolicy(svc.Policy)
		for _, u := range s.OnCall(p.Levels[0].Targets[0], time.Time{}) {
			s.User(u)
			s.Devices(u)
		}
	}
}
