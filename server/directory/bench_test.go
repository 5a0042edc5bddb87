package directory

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/civil"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
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

// company is 10,000 people, 2,000 schedules of two layers with a policy each,
// and 5,000 services.
func company() []Record {
	anchor := civil.Time{Day: civil.Date(2026, 1, 5), Clock: 9 * time.Hour}
	zones := []string{"Europe/Zurich", "America/New_York", "Asia/Kolkata", "Australia/Sydney"}
	var all []Record
	for i := range 10_000 {
		all = append(all, user(fmt.Sprintf("user-%05d", i)))
	}
	for i := range 2_000 {
		id := fmt.Sprintf("team-%04d", i)
		var people []roster.UserID
		for k := range 6 {
			people = append(people, roster.UserID(fmt.Sprintf("user-%05d", (i*5+k)%10_000)))
		}
		all = append(all, &Schedule{Schedule: schedule.Schedule{ID: schedule.ID(id), Name: id, Zone: zones[i%len(zones)], Layers: []schedule.Layer{
			{ID: "weeks", Participants: people, Rotation: schedule.Rotation{Unit: schedule.Weeks, Length: 1, Anchor: anchor}},
			{
				ID: "days", Priority: 1, Participants: people[:3], Rotation: schedule.Rotation{Unit: schedule.Days, Length: 1, Anchor: anchor},
				Restrictions: []schedule.Restriction{{Start: 9 * time.Hour, Length: 8 * time.Hour}},
			},
		}}})
		p := policy(id)
		p.Levels = []escalation.Level{{Delay: 5 * time.Minute, Targets: []escalation.Target{{Kind: escalation.ScheduleTarget, ID: id}}}}
		all = append(all, p)
	}
	for i := range 5_000 {
		all = append(all, service(fmt.Sprintf("service-%04d", i), fmt.Sprintf("team-%04d", i%2_000)))
	}
	return all
}

// payloads is the company as the log has it.
func payloads(b *testing.B) []Stored {
	b.Helper()
	var all []Stored
	for _, r := range company() {
		payload, err := encode(r)
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, Stored{Key: r.key(), Revision: 1, Payload: payload})
	}
	return all
}

func loaded(b *testing.B, all []Stored) *Snapshot {
	b.Helper()
	build := (&Snapshot{zones: &zones{}}).build()
	for _, s := range all {
		if err := build.apply(s); err != nil {
			b.Fatal(err)
		}
	}
	return build.done()
}

// BenchmarkLoad reads the company from its stored form, directory_load_ms, and
// reports what it takes in memory, directory_mb.
func BenchmarkLoad(b *testing.B) {
	all := payloads(b)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	kept := loaded(b, all)
	runtime.GC()
	runtime.ReadMemStats(&after)
	for b.Loop() {
		loaded(b, all)
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "directory_mb")
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "directory_load_ms")
	runtime.KeepAlive(kept)
}

// BenchmarkOnCall asks who is on call now, one schedule of the company after the other.
func BenchmarkOnCall(b *testing.B) {
	s, now := loaded(b, payloads(b)), time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)
	ids := make([]schedule.ID, 2_000)
	for i := range ids {
		ids[i] = schedule.ID(fmt.Sprintf("team-%04d", i))
		s.Holder(ids[i], now) // compiles it
	}
	n := 0
	for b.Loop() {
		s.Holder(ids[n%len(ids)], now)
		n++
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "oncall_lookup_per_s")
}

// BenchmarkDryApply checks the company's own export against what is there: what a
// plan does before it looks at who is paged (package forecast).
func BenchmarkDryApply(b *testing.B) {
	d := open(b, newJournal())
	all := company()
	create(b, d, all[:10_000]...) // the people: one change has its limit
	create(b, d, all[10_000:]...)
	text, err := d.Snapshot().Export()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := d.ApplyDocument(b.Context(), By{}, text, ApplyOptions{DryRun: true}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "dry_apply_ms")
}
