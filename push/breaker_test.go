package push

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestBreakerAnswersAtOnceAndProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{answer: always(unavailable)}
		s := newTestSender(t, Options{}, app("a", p))
		var ends [20]chan Result
		for i := range ends {
			ends[i] = make(chan Result, 1)
			s.Submit(pageTo(fmt.Sprint(i)), func(r Result) { ends[i] <- r })
		}
		for i := range ends {
			wantEnd(t, <-ends[i], EndProviderDown)
		}
		if st := s.State()[0]; st.Breaker != BreakerOpen {
			t.Fatalf("breaker %v, want open", st.Breaker)
		}
		sent := p.count()
		began := time.Now()
		wantEnd(t, s.Send(t.Context(), pageTo("next")), EndProviderDown)
		if !time.Now().Equal(began) || p.count() != sent {
			t.Errorf("the answer took %v and %d attempts, want neither", time.Since(began), p.count()-sent)
		}
		pass(5 * time.Second)
		for i := range 3 { // one probe, the others are told at once
			wantEnd(t, s.Send(t.Context(), pageTo(fmt.Sprint("probe", i))), EndProviderDown)
		}
		if n := p.count() - sent; n != 1 {
			t.Errorf("%d probes, want 1", n)
		}
		p.script(nil)
		pass(5 * time.Second)
		wantEnd(t, s.Send(t.Context(), pageTo("well")), EndAccepted)
		if st := s.State()[0]; st.Breaker != BreakerClosed {
			t.Errorf("breaker %v after a success, want closed", st.Breaker)
		}
	})
}

func TestCredentialBreakerProbesEachMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{answer: always(badAuth)}
		s := newTestSender(t, Options{}, app("a", p))
		wantEnd(t, s.Send(t.Context(), pageTo("d")), EndProviderDown)
		for range 59 {
			pass(time.Second)
			wantEnd(t, s.Send(t.Context(), pageTo("d")), EndProviderDown)
		}
		if n := p.count(); n != 1 {
			t.Errorf("%d attempts in a minute, want 1", n)
		}
		p.script(nil)
		pass(time.Second)
		wantEnd(t, s.Send(t.Context(), pageTo("d")), EndAccepted)
	})
}

func TestPersistingDeliveryTellsAndGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{answer: always(badAuth)}
		s := newTestSender(t, Options{}, app("a", p))
		d := pageTo("d")
		d.Persist = true
		downs := 0
		d.Progress = func(p Progress) {
			if p.Down {
				downs++
			}
		}
		done := make(chan Result, 1)
		s.Submit(d, func(r Result) { done <- r })
		synctest.Wait()
		if downs != 1 {
			t.Fatalf("told %d times that the provider is down, want once, at once", downs)
		}
		pass(3*time.Minute + time.Second)
		p.script(nil)
		began := time.Now()
		wantEnd(t, <-done, EndAccepted)
		if took := time.Since(began); took > time.Minute {
			t.Errorf("accepted %v after the recovery, want within one probe", took)
		}
		if downs != 1 {
			t.Errorf("told %d times that the provider is down, want once", downs)
		}
	})
}

func TestRefusedTokensDoNotOpenTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{answer: always(Outcome{Class: DropAddress, Status: 410, Reason: "Unregistered"})}
		s := newTestSender(t, Options{}, app("a", p))
		for i := range 100 {
			res := s.Send(t.Context(), pageTo(fmt.Sprint(i)))
			wantEnd(t, res, EndRejected)
			if res.Address != AddressDrop {
				t.Fatalf("address %v, want drop", res.Address)
			}
		}
		if st := s.State()[0]; st.Breaker != BreakerClosed {
			t.Errorf("breaker %v, want closed", st.Breaker)
		}
	})
}

func TestOneDeadConnectionIsOneFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{}
		p.script(func(n int, _ Attempt) Outcome {
			if n <= 100 {
				return Outcome{Class: RetryNow, Reason: "ConnectionLost", Via: "c1", Unknown: true, Also: n > 1}
			}
			return Outcome{Class: Accepted, Status: 200}
		})
		s := newTestSender(t, Options{}, app("a", p))
		results := make(chan Result, 100)
		for i := range 100 {
			s.Submit(pageTo(fmt.Sprint(i)), func(r Result) { results <- r })
		}
		for range 100 {
			wantEnd(t, <-results, EndAccepted)
		}
		for _, a := range p.seen {
			if a.Number == 2 && a.Avoid != "c1" {
				t.Fatalf("the second attempt avoids %q, want c1", a.Avoid)
			}
		}
	})
}

func TestRetryBudgetSparesUrgentPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := make(map[string]bool)
		p := &fake{}
		// Every delivery fails once, with an answer that is no trouble of the provider.
		p.script(func(_ int, a Attempt) Outcome {
			if !first[a.Message.DeliveryID] {
				first[a.Message.DeliveryID] = true
				return Outcome{Class: RetryLater, Status: 429, Reason: "TooManyRequests"}
			}
			return Outcome{Class: Accepted, Status: 200}
		})
		a := app("a", p)
		a.MaxInFlight = 1 // one at a time: the map needs no lock
		s := newTestSender(t, Options{Jitter: func() float64 { return 0.5 }}, a)
		began := time.Now()
		within := func(urgent bool) int {
			var mu sync.Mutex
			ended := 0
			for i := range 200 {
				d := pageTo(fmt.Sprint(urgent, i))
				d.Message.HighUrgency = urgent
				s.Submit(d, func(Result) {
					mu.Lock()
					defer mu.Unlock()
					ended++
				})
			}
			pass(5 * time.Second)
			mu.Lock()
			defer mu.Unlock()
			return ended
		}
		if n := within(false); n != 50 {
			t.Errorf("%d of 200 ordinary pages were retried within %v, want the budget of 50", n, time.Since(began))
		}
		if n := within(true); n != 200 {
			t.Errorf("%d of 200 urgent pages were retried, want all", n)
		}
		pass(time.Minute)
	})
}

// A refusal that is worth another try with a fresh credential is part of the
// probe, and no sign that the service is back: nobody else flies on it.
func TestRefusedProbeDoesNotCloseTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{answer: always(badAuth)}
		s := newTestSender(t, Options{}, app("a", p))
		results := make(chan Result, 50)
		var downs atomic.Int64
		for i := range 50 {
			d := pageTo(fmt.Sprint(i))
			d.Persist = true
			d.Progress = func(p Progress) {
				if p.Down {
					downs.Add(1)
				}
			}
			s.Submit(d, func(r Result) { results <- r })
		}
		synctest.Wait()
		sent := p.count()
		p.script(func(_ int, a Attempt) Outcome { // a stale token at every first try, and a refused one after it
			if a.Number%2 == 1 {
				return badAuth
			}
			return Outcome{Class: RetryNow, Status: 403, Reason: "ExpiredProviderToken"}
		})
		pass(3*time.Minute + time.Second)
		if n := p.count() - sent; n > 8 {
			t.Errorf("%d attempts in three minutes of a refused credential, want a few for each of three probes", n)
		}
		if n := downs.Load(); n != 50 {
			t.Errorf("told %d times that the provider is down, want each of 50 once", n)
		}
		p.script(nil)
		for range 50 {
			wantEnd(t, <-results, EndAccepted)
		}
	})
}

// A probe that its caller does not need any more is not the probe of the minute.
func TestUnneededProbeIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{answer: always(badAuth)}
		s := newTestSender(t, Options{}, app("a", p))
		wantEnd(t, s.Send(t.Context(), pageTo("d")), EndProviderDown)
		p.script(nil)
		pass(time.Minute)
		acked := pageTo("d")
		acked.Begin = func(context.Context, int) error { return ErrNotNeeded }
		wantEnd(t, s.Send(t.Context(), acked), EndNotNeeded)
		wantEnd(t, s.Send(t.Context(), pageTo("d")), EndAccepted)
	})
}

// A credential that is refused without the service having been asked is waited
// for, not asked for in a loop.
func TestLocalRefusalDoesNotSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{answer: always(Outcome{Class: AuthConfig, Reason: "NoKey", Local: true})}
		s := newTestSender(t, Options{}, app("a", p))
		d := pageTo("d")
		d.Persist = true
		s.Submit(d, nil)
		pass(2*time.Minute + time.Second)
		if n := p.count(); n != 3 {
			t.Errorf("%d attempts in two minutes, want one a minute", n)
		}
	})
}
