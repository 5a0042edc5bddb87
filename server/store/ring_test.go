package store

import (
	"runtime"
	"strconv"
	"testing"
	"time"
)

// A ring holds the latest of a minute, and no more memory than it may.
func TestRingKeepsALimitedPast(t *testing.T) {
	t.Parallel()
	carried := func(n int) *call {
		return &call{
			kept: true, keys: []string{"{1}:in"}, args: []any{20_000, 3600, 0, make([]byte, 500)}, size: 564,
			outcome: outcome{reply: []any{strconv.Itoa(n) + "-0"}},
		}
	}
	old := ring{most: 1 << 20}
	for n := range 100 {
		old.add(base.Add(time.Duration(n)*time.Second), []*call{carried(n)})
	}
	if all := old.all(); len(all) != 61 || all[0].ids[0] != "39-0" || all[60].ids[0] != "99-0" {
		t.Errorf("after 100 s: got %d writes, want the 61 of the last minute", len(all))
	}

	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	full := ring{most: 8 << 20}
	for n := range 20_000 {
		full.add(base, []*call{carried(n)})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	all := full.all()
	if len(all) == 0 || all[len(all)-1].ids[0] != "19999-0" || full.held > full.most {
		t.Errorf("got %d writes of %d bytes, want the latest, %d bytes at most", len(all), full.held, full.most)
	}
	if took := int64(after.HeapAlloc) - int64(before.HeapAlloc); took > 2*int64(full.most) {
		t.Errorf("a ring of %d bytes takes %d", full.most, took)
	}
	runtime.KeepAlive(all)

	// What was refused is nothing to bring back.
	var none ring
	short, failed := carried(0), carried(0)
	short.short, failed.err = true, errTrouble
	refused := ring{most: 1 << 20}
	refused.add(base, []*call{short, failed})
	none.add(base, []*call{carried(0)})
	if len(refused.all())+len(none.all()) != 0 {
		t.Error("a refused event, or one of a store without a ring, was kept")
	}
}
