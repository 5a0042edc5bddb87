package app

import "runtime"

// heapFloor is how much is allocated between two collections of garbage at
// least. The server keeps little in memory and allocates much: it would collect
// some tens of times a second under load, for a fifth of its processor time.
const heapFloor = 32 << 20

// keepFloor makes the collector count the floor as part of the heap, so that it
// waits for as much again. It is never touched, so that it takes no memory, and
// holds no pointers, so that it is not looked at. What it returns gives it up.
//
// A higher GOGC would do the same for a small heap and take the machine's memory
// with a large one.
func keepFloor() (release func()) {
	floor := make([]byte, heapFloor)
	return func() { runtime.KeepAlive(floor) }
}
