package push

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// witness is a provider that plays a script and watches what the sender may
// never do.
type witness struct {
	mu      sync.Mutex
	script  []Outcome
	took    time.Duration
	cap     int
	n       int
	flying  map[string]int // by slot
	all     int
	begun   map[string]int // by delivery: how often the caller gave leave
	wrong   []string
	ended   map[string]int
	unended int
}

func (w *witness) complain(format string, args ...any) {
	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
}

func (w *witness) Send(ctx context.Context, a Attempt) Outcome {
	w.mu.Lock()
	id, slot := a.Message.DeliveryID, a.Device.ID+a.Message.CollapseID
	if !time.Now().Before(a.Message.Deadline) {
		w.complain("%s was attempted after its deadline", id)
	}
	if w.begun[id]--; w.begun[id] < 0 {
		w.complain("%s was attempted without leave", id)
	}
	if w.ended[id] > 0 {
		w.complain("%s was attempted after its end", id)
	}
	if w.flying[slot]++; w.flying[slot] > 1 {
		w.complain("two of %s were in flight", slot)
	}
	if w.all++; w.all > w.cap {
		w.complain("%d in flight, the cap is %d", w.all, w.cap)
	}
	o := w.script[w.n%len(w.script)]
	w.n++
	w.mu.Unlock()
	select {
	case <-time.After(w.took):
	case <-ctx.Done():
		o = Outcome{Class: RetryNow, Reason: "Timeout", Unknown: true}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flying[slot]--
	w.all--
	return o
}

func (w *witness) Close() error { return nil }

// TestLaws: whatever the service answers, each delivery ends exactly once and
// before its deadline is long past, is never attempted without leave, after
// its end or after its deadline, and never beside another of its slot.
func TestLaws(t *testing.T) {
	outcomes := []Outcome{
		{Class: Accepted, Status: 200},
		{Class: Accepted, Status: 200},
		{Class: DropAddress, Status: 410, Reason: "Unregistered"},
		{Class: DropAddress, Status: 400, Reason: "Bad", Suspect: true, Verify: true},
		{Class: DropAddress, Status: 400, Reason: "BadDeviceToken", Suspect: true, Env: true},
		{Class: Park, Status: 400},
		{Class: RetryNow, Reason: "ConnectionLost", Unknown: true},
		{Class: RetryNow, Status: 503, Reason: "Shutdown", Also: true},
		{Class: RetryLater, Status: 503},
		{Class: RetryLater, Status: 503, RetryAfter: 3 * time.Second},
		{Class: RetryLater, Status: 429, RetryAfter: 2 * time.Second, Scope: ScopeDevice},
		{Class: RetryLater, Status: 429, RetryAfter: 20 * time.Second, Scope: ScopeQuota},
		{Class: RetryLater, Status: 429, RetryAfter: 10 * time.Second, Scope: ScopeApp},
		{Class: TooLarge, Status: 413},
		{Class: AuthConfig, Status: 403},
		{Class: AuthConfig, Local: true},
		{Class: RetryNow, Status: 403, Reason: "ExpiredProviderToken"},
		{Class: OurBug, Status: 400, Safe: true},
		{Class: OurBug, Status: 400},
		{},
	}
	rapid.Check(t, func(rt *rapid.T) {
		script := rapid.SliceOfN(rapid.SampledFrom(outcomes), 1, 12).Draw(rt, "answers")
		took := time.Duration(rapid.IntRange(0, 6000).Draw(rt, "ms an answer takes")) * time.Millisecond
		limit := rapid.IntRange(1, 5).Draw(rt, "in flight")
		type plan struct {
			device, incident int
			revision         int64
			kind             Kind
			deadline, wait   int
			persist, urgent  bool
			refuse           int
		}
		plans := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) plan {
			return plan{
				rapid.IntRange(1, 3).Draw(t, "device"), rapid.IntRange(1, 2).Draw(t, "incident"), rapid.Int64Range(1, 4).Draw(t, "revision"),
				Kind(rapid.IntRange(1, 5).Draw(t, "kind")), rapid.IntRange(1, 120).Draw(t, "deadline"), rapid.IntRange(0, 20).Draw(t, "wait"),
				rapid.Bool().Draw(t, "persist"), rapid.Bool().Draw(t, "urgent"), rapid.IntRange(0, 5).Draw(t, "refuse"),
			}
		}), 1, 20).Draw(rt, "deliveries")
		stopAfter := rapid.IntRange(0, 200).Draw(rt, "stop after")

		var wrong []string
		synctest.Test(t, func(*testing.T) {
			w := &witness{script: script, took: took, cap: limit, flying: map[string]int{}, begun: map[string]int{}, ended: map[string]int{}}
			a := app("a", w)
			a.MaxInFlight = limit
			s := NewSender(Options{})
			if err := s.SetApps([]App{a}); err != nil {
				w.complain("%v", err)
			}
			for i, p := range plans {
				pass(time.Duration(p.wait) * time.Second)
				id := fmt.Sprintf("00000000-0000-4000-8000-%012x", i)
				deadline := time.Now().Add(time.Duration(p.deadline) * time.Second)
				w.mu.Lock()
				w.unended++
				w.mu.Unlock()
				s.Submit(Delivery{
					Message: Message{
						Kind: p.kind, DeliveryID: id, IncidentID: fmt.Sprint(p.incident), CollapseID: fmt.Sprint("inc-", p.incident), Revision: p.revision,
						Title: "t", Deadline: deadline, HighUrgency: p.urgent,
					},
					Device: Device{ID: fmt.Sprint("d", p.device), Platform: IOS, App: "a"}, Persist: p.persist,
					Begin: func(_ context.Context, n int) error {
						w.mu.Lock()
						defer w.mu.Unlock()
						switch {
						case p.refuse == 1 && n > 1:
							return ErrNotNeeded
						case p.refuse == 2 && time.Now().Unix()%2 == 0:
							return errors.New("the store is away")
						}
						w.begun[id]++
						return nil
					},
				}, func(r Result) {
					w.mu.Lock()
					defer w.mu.Unlock()
					w.unended--
					if w.ended[id]++; w.ended[id] > 1 {
						w.complain("%s ended twice", id)
					}
					if r.End == 0 || len(r.Tries) > maxTries || r.Attempts < 0 {
						w.complain("%s ended as %+v", id, r)
					}
					if late := r.At.Sub(deadline); late > 6*time.Second {
						w.complain("%s ended %v after its deadline", id, late)
					}
				})
			}
			pass(time.Duration(stopAfter) * time.Second)
			_ = s.Close(context.Background()) // what hung was cut off, which is said
			synctest.Wait()
			if w.unended != 0 || w.all != 0 {
				w.complain("%d deliveries never ended, %d attempts never returned", w.unended, w.all)
			}
			if n := len(s.latest); n != 0 {
				w.complain("%d slots are remembered although all has ended", n)
			}
			wrong = w.wrong
		})
		if len(wrong) > 0 {
			rt.Fatalf("%q", wrong)
		}
	})
}
