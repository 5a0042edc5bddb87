package app

import (
	"io/fs"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/tocsin-oncall/tocsin/server/redisd"
)

const (
	// heapGrowth is how much is allocated between two collections of garbage, in
	// percent of what is alive: what GOGC says, if it is set. With Go's hundred,
	// thirty thousand pages at once took a fifth of the processor for it.
	heapGrowth = 200
	// heapFloor is how much that is at least, in bytes. The server keeps little in
	// memory and allocates much: it would collect some tens of times a second.
	heapFloor = 32 << 20
	// memoryBeside and memoryAlone are what the process may take before it collects
	// more often, in percent of the memory there is: beside a private Redis, which
	// may have the rest, and without. What GOMEMLIMIT says, if it is set.
	memoryBeside, memoryAlone = 40, 80
)

// tendMemory sets how this process collects garbage, until it ends; share is
// how much of the memory it may take, in percent. What it returns gives the
// floor up: memory that the collector counts as part of the heap, so that it
// waits for as much again and more. It is never touched, so that it takes none,
// and holds no pointers, so that it is not looked at.
func tendMemory(root fs.FS, share int64) (release func()) {
	size := heapFloor
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(heapGrowth)
		size = heapFloor * 100 / heapGrowth
	}
	if memory, known := redisd.Memory(root); known && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memory / 100 * share)
	}
	floor := make([]byte, size)
	return func() { runtime.KeepAlive(floor) }
}

// memoryShare is how much of the memory the process may take, in percent.
func memoryShare(private bool) int64 {
	if private {
		return memoryBeside
	}
	return memoryAlone
}
