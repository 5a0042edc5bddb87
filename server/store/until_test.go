package store

import (
	"testing"
	"time"
)

// until asks again until it holds; what it asks takes its time.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(60 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after a minute: %s does not hold", what)
		}
	}
}
