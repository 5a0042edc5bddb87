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
	// memoryShare is what the process may take before it collects more often, in
	// percent of the memory there is: what GOMEMLIMIT says, if it is set. A private
	// Redis may have as much and more, and seldom does.
	memoryShare = 50
)

// tendMemory sets how this process collects garbage, until it ends. What it
// returns gives the floor up: memory that the collector counts as part of the
// heap, so that it waits for as much again and more. It is never touched, so
// that it takes none, and holds no pointers, so that it is not looked at.
func tendMemory(root fs.FS) (release func()) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(heapGrowth)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(redisd.Memory(root) / 100 * memoryShare)
	}
	floor := make([]byte, heapFloor*100/heapGrowth)
	return func() { runtime.KeepAlive(floor) }
}
