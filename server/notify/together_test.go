package notify

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// homes is a ledger whose people have a home each. What is asked of "sick" waits
// until it is let go, and what is for "nobody" is refused.
type homes struct {
	Ledger

	letGo chan struct{}

	mu      sync.Mutex
	batches []int // how many came at once
}

var errNobody = errors.New("nobody is out")

func (*homes) Home(_ context.Context, p store.Partition) string { return p.String() }

func (l *homes) BeginSend(_ context.Context, _ time.Time, sends []store.Send) ([]store.Begun, []error) {
	l.mu.Lock()
	l.batches = append(l.batches, len(sends))
	l.mu.Unlock()
	begun, errs := make([]store.Begun, len(sends)), make([]error, len(sends))
	for i, s := range sends {
		if begun[i] = store.BegunGo; s.Delivery.User == "nobody" {
			begun[i], errs[i] = 0, errNobody
		}
	}
	if sends[0].Doc.Person == "sick" {
		<-l.letGo
	}
	return begun, errs
}

// taken are last looks that take all lanes of a home which hangs.
func taken(t *testing.T, n *Notifier) {
	t.Helper()
	for range togetherLanes {
		go func() { _, _ = n.lastLook(t.Context(), store.Send{Doc: store.PersonDoc("sick")}) }()
		synctest.Wait()
	}
}

// While a home hangs, with all its lanes taken, the last looks of another go on.
func TestAHomeThatHangsHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &homes{letGo: make(chan struct{})}
		n := New(Options{Ledger: l})
		defer n.Close()
		defer close(l.letGo)
		taken(t, n)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if begun, err := n.lastLook(ctx, store.Send{Doc: store.PersonDoc("ann")}); err != nil || begun != store.BegunGo {
			t.Errorf("a last look at a home that is well: got %v, %v, want go", begun, err)
		}
	})
}

// What has waited goes at once, and everybody gets the answer to their own.
func TestLastLooksTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &homes{letGo: make(chan struct{})}
		n := New(Options{Ledger: l})
		defer n.Close()
		taken(t, n)
		for i := range mostTogether {
			user, want, wantErr := roster.UserID("ann"), store.BegunGo, error(nil)
			if i%3 == 0 {
				user, want, wantErr = "nobody", 0, errNobody
			}
			go func() {
				begun, err := n.lastLook(t.Context(), store.Send{Doc: store.PersonDoc("sick"), Delivery: incident.Delivery{User: user}})
				if begun != want || !errors.Is(err, wantErr) {
					t.Errorf("a page to %s: got %v, %v, want %v, %v", user, begun, err, want, wantErr)
				}
			}()
		}
		synctest.Wait()
		close(l.letGo)
		synctest.Wait()
		if want := slices.Repeat([]int{1}, togetherLanes); !slices.Equal(l.batches, append(want, mostTogether)) {
			t.Errorf("batches of %v, want all that waited at once", l.batches)
		}
		if got := len(n.begins.homes); got != 0 {
			t.Errorf("%d homes are remembered when all is answered, want none", got)
		}
	})
}
