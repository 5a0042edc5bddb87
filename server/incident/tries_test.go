package incident_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/server/incident"
)

// Of many tries the first seven and the last are kept, whatever the reasons say.
func TestTries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tries incident.Tries
		n := rapid.IntRange(0, 20).Draw(t, "tries")
		for i := range n {
			tries = tries.With(start.Add(time.Duration(i)*time.Second), fmt.Sprint(i, " ", rapid.String().Draw(t, "reason")))
		}
		all := tries.All()
		if len(all) != min(n, 8) {
			t.Fatalf("%d tries of %d: %q", len(all), n, tries)
		}
		for i, got := range all {
			want := i
			if i == 7 {
				want = n - 1
			}
			if !got.At.Equal(start.Add(time.Duration(want) * time.Second)) {
				t.Fatalf("try %d is of %v, want that of +%ds", i, got.At, want)
			}
		}
	})
	if got := incident.Tries("rubbish\n12 ok").All(); len(got) != 1 || got[0].Reason != "ok" {
		t.Errorf("tries of a damaged record: %+v, want the one that can be read", got)
	}
}
