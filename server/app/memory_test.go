package app

import (
	"runtime/debug"
	"testing"
	"testing/fstest"
)

// TestMemoryIsTended: garbage is collected as this file says, up to a share of
// the memory there is, unless the environment says otherwise.
//
//nolint:paralleltest // it is about the whole process
func TestMemoryIsTended(t *testing.T) {
	percent, limit := debug.SetGCPercent(77), debug.SetMemoryLimit(7<<30)
	t.Cleanup(func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	})
	machine := fstest.MapFS{"proc/meminfo": {Data: []byte("MemTotal: 2048000 kB\n")}}
	told := func(root fstest.MapFS, wantPercent int, wantLimit int64) {
		t.Helper()
		tendMemory(root, memoryShare(true))()
		if got := debug.SetGCPercent(77); got != wantPercent {
			t.Errorf("growth between collections: got %d %%, want %d", got, wantPercent)
		}
		if got := debug.SetMemoryLimit(7 << 30); got != wantLimit {
			t.Errorf("limit of memory: got %d, want %d", got, wantLimit)
		}
	}
	t.Setenv("GOGC", "77")
	t.Setenv("GOMEMLIMIT", "7GiB")
	told(machine, 77, 7<<30)
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	told(machine, heapGrowth, 2048000<<10/100*memoryBeside)
	told(fstest.MapFS{}, heapGrowth, 7<<30) // nothing tells how much there is
}
