package rpc

import (
	"errors"
	"fmt"
	"testing"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/fault"
)

// TestStreamsOfAllCallers: some hold all the streams that they can get, and the
// app of everybody else has its two.
func TestStreamsOfAllCallers(t *testing.T) {
	t.Parallel()
	l := newLimiter(Limits{AllStreams: 400}.withDefaults())
	caller := func(name string, n int) *call {
		return &call{principal: auth.Principal{Kind: auth.KindService, Token: auth.TokenID(fmt.Sprint(name, n))}}
	}
	greedy := 0
	var end func()
	for n := range 20 {
		for range 32 {
			if f, err := l.open(caller("greedy", n), msTime(0)); err == nil {
				greedy++
				end = f
			}
		}
	}
	if greedy < 200 || greedy > 340 {
		t.Errorf("20 callers hold %d streams, want three quarters of 400, and their first two", greedy)
	}
	for n := range 30 {
		for range 2 {
			if _, err := l.open(caller("phone", n), msTime(0)); err != nil {
				t.Fatalf("phone %d of 30 has no stream: %v", n, err)
			}
		}
	}
	for n := range 200 {
		_, err := l.open(caller("late", n), msTime(0))
		if err == nil {
			continue
		}
		if f, ok := errors.AsType[*fault.Error](err); !ok || f.Kind != fault.Exhausted || f.Reason != "STREAMS_FULL" || f.RetryAfter == 0 {
			t.Errorf("when all 400 are taken: got %v, want STREAMS_FULL and when to come again", err)
		}
		end()
		if _, err := l.open(caller("late", n), msTime(0)); err != nil {
			t.Errorf("after one has ended: got %v, want that there is room", err)
		}
		return
	}
	t.Error("more than 400 streams are open")
}
