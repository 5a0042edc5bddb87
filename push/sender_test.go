package push

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// fake is a provider that a test tells what to answer.
type fake struct {
	mu      sync.Mutex
	answer  func(n int, a Attempt) Outcome // n counts from 1
	took    time.Duration
	seen    []Attempt
	at      []time.Time
	flying  int
	most    int
	closed  bool
	afterIt int // attempts after Close
}

func (f *fake) Send(ctx context.Context, a Attempt) Outcome {
	f.mu.Lock()
	f.seen, f.at = append(f.seen, a), append(f.at, time.Now())
	n := len(f.seen)
	if f.closed {
		f.afterIt++
	}
	f.flying++
	f.most = max(f.most, f.flying)
	answer, took := f.answer, f.took
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.flying--
		f.mu.Unlock()
	}()
	if took > 0 {
		select {
		case <-time.After(took):
		case <-ctx.Done():
			return Outcome{Class: RetryNow, Reason: "Timeout", Unknown: true}
		}
	}
	if answer == nil {
		return Outcome{Class: Accepted, Status: 200}
	}
	return answer(n, a)
}

func (f *fake) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return nil
}

func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.seen)
}

func (f *fake) script(f2 func(n int, a Attempt) Outcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = f2
}

// pass lets time go by; in a bubble that costs none.
func pass(d time.Duration) { <-time.After(d) }

func always(o Outcome) func(int, Attempt) Outcome { return func(int, Attempt) Outcome { return o } }

func newTestSender(t *testing.T, o Options, apps ...App) *Sender {
	t.Helper()
	s := NewSender(o)
	if err := s.SetApps(apps); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func app(id string, p Provider) App { return App{ID: id, Provider: "apns", Via: p} }

var serial struct {
	sync.Mutex
	n int
}

func next() int {
	serial.Lock()
	defer serial.Unlock()
	serial.n++
	return serial.n
}

func pageTo(device string) Delivery {
	n := next()
	return Delivery{
		Message: Message{
			Kind: KindPage, DeliveryID: fmt.Sprintf("00000000-0000-4000-8000-%012x", n), IncidentID: fmt.Sprint("inc", n), CollapseID: fmt.Sprint("inc-", n),
			Title: "page", Deadline: time.Now().Add(10 * time.Minute), HighUrgency: true, Revision: 1,
		},
		Device: Device{ID: device, Platform: IOS, App: "a", Token: "t"},
	}
}

func infoTo(device string) Delivery {
	d := pageTo(device)
	d.Message.Kind, d.Message.HighUrgency = KindInfo, false
	return d
}

func wantEnd(t *testing.T, got Result, want End) {
	t.Helper()
	if got.End != want {
		t.Fatalf("ended %v, want %v: %+v, tries %+v", got.End, want, got.Outcome, got.Tries)
	}
}

var (
	unavailable = Outcome{Class: RetryLater, Status: 503, Reason: "ServiceUnavailable"}
	badAuth     = Outcome{Class: AuthConfig, Status: 403, Reason: "InvalidProviderToken"}
)

func TestPagesOvertakeInformation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{took: time.Second}
		a := app("a", p)
		a.MaxInFlight = 1
		s := newTestSender(t, Options{}, a)
		var order []string
		var mu sync.Mutex
		submit := func(name string, d Delivery) {
			s.Submit(d, func(Result) {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, name)
			})
		}
		submit("info 1", infoTo("d1"))
		submit("info 2", infoTo("d2"))
		submit("page 1", pageTo("d3"))
		submit("info 3", infoTo("d4"))
		submit("page 2", pageTo("d5"))
		pass(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if got, want := strings.Join(order, ", "), "info 1, page 1, page 2, info 2, info 3"; got != want {
			t.Errorf("order %s, want %s", got, want)
		}
		if p.most != 1 {
			t.Errorf("%d in flight, want 1", p.most)
		}
	})
}

func TestPageIsRetriedUntilItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{}
		// Trouble on every second attempt of others keeps the breaker closed.
		p.script(func(_ int, a Attempt) Outcome {
			if a.Device.ID == "ill" {
				return unavailable
			}
			return Outcome{Class: Accepted, Status: 200}
		})
		s := newTestSender(t, Options{}, app("a", p))
		stop := make(chan struct{})
		var healthy sync.WaitGroup
		healthy.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(50 * time.Millisecond):
					s.Send(t.Context(), pageTo(fmt.Sprint("well", i)))
				}
			}
		})
		pass(5 * time.Second) // a provider that is well on the whole keeps its breaker closed
		d := pageTo("ill")
		d.Message.Deadline = time.Now().Add(5 * time.Minute)
		began := time.Now()
		res := s.Send(t.Context(), d)
		close(stop)
		healthy.Wait()
		wantEnd(t, res, EndExpired)
		if took := time.Since(began); took != 5*time.Minute {
			t.Errorf("ended after %v, want 5m0s", took)
		}
		if res.Attempts < 30 {
			t.Errorf("%d attempts in five minutes, want no limit but the 15 s cap", res.Attempts)
		}
		for i := 1; i < len(res.Tries); i++ {
			if i == maxTries/2 {
				continue // here the record was cut
			}
			if gap := res.Tries[i].At.Sub(res.Tries[i-1].At); gap > 15*time.Second {
				t.Errorf("try %d came %v after the one before, the cap is 15 s", i+1, gap)
			}
		}
	})
}

func TestBeginIsAskedBeforeEveryAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{answer: always(unavailable)}
		s := newTestSender(t, Options{}, app("a", p))
		d := pageTo("d")
		var numbers []int
		d.Begin = func(_ context.Context, n int) error {
			numbers = append(numbers, n)
			if n == 4 {
				return fmt.Errorf("acknowledged: %w", ErrNotNeeded)
			}
			return nil
		}
		wantEnd(t, s.Send(t.Context(), d), EndNotNeeded)
		if !slices.Equal(numbers, []int{1, 2, 3, 4}) || p.count() != 3 {
			t.Errorf("asked before %v, %d attempts; want 1 to 4 and 3", numbers, p.count())
		}
	})
}

func TestBeginInTroubleIsWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{}
		s := newTestSender(t, Options{}, app("a", p))
		d := pageTo("d")
		asked := 0
		d.Begin = func(_ context.Context, n int) error {
			if asked++; asked < 20 {
				return errors.New("the store is away")
			}
			if n != 1 {
				t.Errorf("number %d, want 1: nothing has been attempted", n)
			}
			return nil
		}
		wantEnd(t, s.Send(t.Context(), d), EndAccepted)
		if st := s.State()[0]; st.Breaker != BreakerClosed {
			t.Errorf("breaker %v: our own store is not the provider's trouble", st.Breaker)
		}
	})
}

func TestNothingIsSentAfterTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{took: time.Second}
		a := app("a", p)
		a.MaxInFlight = 1
		s := newTestSender(t, Options{}, a)
		s.Submit(pageTo("first"), nil)
		late := pageTo("late")
		late.Message.Deadline = time.Now().Add(500 * time.Millisecond)
		wantEnd(t, s.Send(t.Context(), late), EndExpired)
		past := pageTo("past")
		past.Message.Deadline = time.Now()
		wantEnd(t, s.Send(t.Context(), past), EndExpired)
		slow := pageTo("slow")
		slow.Message.Deadline = time.Now().Add(3 * time.Second)
		slow.Begin = func(context.Context, int) error {
			pass(4 * time.Second)
			return nil
		}
		wantEnd(t, s.Send(t.Context(), slow), EndExpired)
		if n := p.count(); n != 1 {
			t.Errorf("%d attempts, want only the first", n)
		}
	})
}

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

func TestNewerStateTakesThePlaceOfWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{took: time.Second}
		s := newTestSender(t, Options{}, app("a", p))
		page := pageTo("d")
		results := make([]Result, 4)
		submit := func(i int, kind Kind, revision int64) {
			d := page
			d.Message.Kind, d.Message.Revision = kind, revision
			d.Message.DeliveryID = pageTo("x").Message.DeliveryID
			s.Submit(d, func(r Result) { results[i] = r })
		}
		submit(0, KindPage, 1)
		synctest.Wait() // in flight
		submit(1, KindPage, 2)
		submit(2, KindClear, 3)
		submit(3, KindPage, 1) // late, and older than what waits
		pass(time.Minute)
		synctest.Wait()
		for i, want := range []End{EndAccepted, EndSuperseded, EndAccepted, EndSuperseded} {
			if results[i].End != want {
				t.Errorf("delivery %d ended %v, want %v", i, results[i].End, want)
			}
		}
		if p.most != 1 || p.count() != 2 || p.seen[1].Message.Kind != KindClear {
			t.Errorf("%d attempts, %d at a time; want the page and then its clear", p.count(), p.most)
		}
	})
}

func TestFailedPageYieldsToItsClear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{took: time.Second}
		p.script(func(_ int, a Attempt) Outcome {
			if a.Message.Kind == KindPage {
				return unavailable
			}
			return Outcome{Class: Accepted, Status: 200}
		})
		s := newTestSender(t, Options{}, app("a", p))
		page := pageTo("d")
		done := make(chan Result, 1)
		s.Submit(page, func(r Result) { done <- r })
		synctest.Wait()
		over := page
		over.Message.Kind, over.Message.Revision = KindClear, 2
		wantEnd(t, s.Send(t.Context(), over), EndAccepted)
		wantEnd(t, <-done, EndSuperseded)
		if p.count() != 2 {
			t.Errorf("%d attempts, want 2", p.count())
		}
	})
}

func TestSilentUpdatesArePacedPerDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{}
		s := newTestSender(t, Options{}, app("a", p))
		began := time.Now()
		done := make(chan time.Duration, 20)
		for range 10 {
			s.Submit(infoTo("d"), func(Result) { done <- time.Since(began) })
		}
		s.Submit(pageTo("d"), func(Result) { done <- -1 })
		var slow int
		for range 11 {
			if d := <-done; d > 0 {
				slow++
			}
		}
		if slow != 5 {
			t.Errorf("%d of 10 silent updates waited, want the 5 above the burst", slow)
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("took %v, want one a second", took)
		}
	})
}

func TestAppsAreKeptApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung, well := &fake{took: time.Hour}, &fake{}
		a := app("a", hung)
		a.MaxInFlight = 10
		s := NewSender(Options{})
		if err := s.SetApps([]App{a, app("b", well)}); err != nil {
			t.Fatal(err)
		}
		defer s.Close(context.Background())
		for i := range 100 {
			s.Submit(pageTo(fmt.Sprint(i)), nil)
		}
		d := pageTo("other")
		d.Device.App = "b"
		began := time.Now()
		wantEnd(t, s.Send(t.Context(), d), EndAccepted)
		if !time.Now().Equal(began) {
			t.Errorf("waited %v behind another app's trouble", time.Since(began))
		}
	})
}

func TestHotReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, fresh := &fake{took: time.Second}, &fake{}
		a := app("a", old)
		a.MaxInFlight = 2
		s := newTestSender(t, Options{}, a)
		results := make(chan Result, 10)
		for i := range 10 {
			s.Submit(pageTo(fmt.Sprint(i)), func(r Result) { results <- r })
		}
		synctest.Wait()
		b := app("a", fresh)
		b.MaxInFlight = 100
		if err := s.SetApps([]App{b}); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			wantEnd(t, <-results, EndAccepted)
		}
		synctest.Wait()
		if old.count() != 2 || fresh.count() != 8 || old.afterIt != 0 || !old.closed || fresh.closed {
			t.Errorf("old: %d attempts, %d after its end, closed %v; fresh: %d; want 2, 0, true, 8", old.count(), old.afterIt, old.closed, fresh.count())
		}
		if err := s.SetApps(nil); err != nil {
			t.Fatal(err)
		}
		res := s.Send(t.Context(), pageTo("d"))
		wantEnd(t, res, EndRejected)
		if res.Address != AddressPark || res.Outcome.Reason != "UnknownApp" {
			t.Errorf("of an app that is gone: %v %q, want it parked", res.Address, res.Outcome.Reason)
		}
	})
}

func TestBadConfigurationChangesNothing(t *testing.T) {
	p := &fake{}
	s := newTestSender(t, Options{}, app("a", p))
	for name, apps := range map[string][]App{
		"no provider": {{ID: "a", Provider: "apns"}}, "no id": {{Provider: "apns", Via: p}}, "twice": {app("a", p), {ID: "a", Provider: "apns", Environment: Production, Via: p}},
	} {
		if err := s.SetApps(apps); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	wantEnd(t, s.Send(t.Context(), pageTo("d")), EndAccepted)
}

func TestCloseFinishesWhatFlies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{took: 3 * time.Second}
		a := app("a", p)
		a.MaxInFlight = 2
		s := NewSender(Options{})
		if err := s.SetApps([]App{a}); err != nil {
			t.Fatal(err)
		}
		results := make(chan Result, 5)
		for i := range 5 {
			s.Submit(pageTo(fmt.Sprint(i)), func(r Result) { results <- r })
		}
		synctest.Wait()
		if err := s.Close(t.Context()); err != nil {
			t.Errorf("close: %v", err)
		}
		ends := map[End]int{}
		for range 5 {
			ends[(<-results).End]++
		}
		if ends[EndAccepted] != 2 || ends[EndStopped] != 3 {
			t.Errorf("ends %v, want 2 accepted and 3 stopped", ends)
		}
		wantEnd(t, s.Send(t.Context(), pageTo("late")), EndStopped)
		if !p.closed {
			t.Error("the provider was not closed")
		}
	})
}

func TestCloseCutsWhatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{took: time.Hour}
		s := NewSender(Options{AttemptTimeout: time.Minute})
		if err := s.SetApps([]App{app("a", p)}); err != nil {
			t.Fatal(err)
		}
		done := make(chan Result, 1)
		s.Submit(pageTo("d"), func(r Result) { done <- r })
		synctest.Wait()
		began := time.Now()
		if err := s.Close(t.Context()); err == nil {
			t.Error("no error although an attempt was cut off")
		}
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("took %v, want at most 6 s", took)
		}
		res := <-done
		wantEnd(t, res, EndStopped)
		if !res.Unknown() {
			t.Error("the result does not say that the phone may show it")
		}
	})
}

func TestSendGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{answer: always(Outcome{Class: RetryLater, Status: 429, Reason: "TooManyRequests", RetryAfter: time.Minute, Scope: ScopeDevice})}
		s := newTestSender(t, Options{}, app("a", p))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		wantEnd(t, s.Send(ctx, pageTo("d")), EndStopped)
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("took %v, want 3s", took)
		}
	})
}

func TestInvalidMessagesAreRefusedWithTheReason(t *testing.T) {
	p := &fake{}
	s := newTestSender(t, Options{}, app("a", p))
	for name, spoil := range map[string]func(*Message){
		"kind":        func(m *Message) { m.Kind = 0 },
		"delivery id": func(m *Message) { m.DeliveryID = strings.ToUpper("00000000-0000-4000-8000-00000000000a") },
		"deadline":    func(m *Message) { m.Deadline = time.Time{} },
		"collapse id": func(m *Message) { m.CollapseID = strings.Repeat("x", 65) },
		"printable":   func(m *Message) { m.CollapseID = "a\nb" },
		"volume":      func(m *Message) { m.Volume = 1.5 },
		"title":       func(m *Message) { m.Title, m.Body = "", "" },
	} {
		d := pageTo("d")
		spoil(&d.Message)
		res := s.Send(t.Context(), d)
		wantEnd(t, res, EndRejected)
		if !strings.Contains(res.Outcome.Reason, name) {
			t.Errorf("%s: reason %q does not name it", name, res.Outcome.Reason)
		}
	}
	if p.count() != 0 {
		t.Errorf("%d attempts, want none", p.count())
	}
}

func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{took: time.Second}
		a := app("a", p)
		a.MaxInFlight, a.MaxQueue = 1, 3
		s := newTestSender(t, Options{}, a)
		for i := range 3 {
			s.Submit(pageTo(fmt.Sprint(i)), nil)
		}
		res := s.Send(t.Context(), pageTo("d"))
		wantEnd(t, res, EndProviderDown)
		if res.Outcome.Reason != "QueueFull" {
			t.Errorf("reason %q, want QueueFull", res.Outcome.Reason)
		}
		pass(time.Minute)
	})
}

func TestAppRateIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{}
		a := app("a", p)
		a.PerSecond = 100
		s := newTestSender(t, Options{}, a)
		began := time.Now()
		done := make(chan Result, 300)
		for i := range 300 {
			s.Submit(pageTo(fmt.Sprint(i)), func(r Result) { done <- r })
		}
		for range 300 {
			wantEnd(t, <-done, EndAccepted)
		}
		if took := time.Since(began); took < 2800*time.Millisecond || took > 4*time.Second {
			t.Errorf("300 at 100 a second took %v, want about 2.9 s", took)
		}
	})
}

func TestMetricsAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewPedanticRegistry()
		p := &fake{}
		p.script(func(n int, _ Attempt) Outcome {
			switch n {
			case 1:
				return unavailable
			case 2:
				return Outcome{Class: DropAddress, Status: 410, Reason: "Unregistered"}
			case 3:
				return Outcome{Class: OurBug, Status: 400, Reason: "a sentence, not a name"}
			}
			return Outcome{Class: Accepted, Status: 200}
		})
		s := newTestSender(t, Options{Registerer: registry}, app("a", p))
		for i := range 10 {
			s.Send(t.Context(), pageTo(fmt.Sprint(i)))
		}
		want := `
# HELP push_requests_total Attempts, by what they came to.
# TYPE push_requests_total counter
push_requests_total{app="a",env="production",kind="page",outcome="accepted",provider="apns",reason="none"} 8
push_requests_total{app="a",env="production",kind="page",outcome="drop_address",provider="apns",reason="Unregistered"} 1
push_requests_total{app="a",env="production",kind="page",outcome="our_bug",provider="apns",reason="other"} 1
push_requests_total{app="a",env="production",kind="page",outcome="retry_later",provider="apns",reason="ServiceUnavailable"} 1
# HELP push_deliveries_ended_total Deliveries, by how they ended.
# TYPE push_deliveries_ended_total counter
push_deliveries_ended_total{app="a",end="accepted",env="production",kind="page",provider="apns"} 8
push_deliveries_ended_total{app="a",end="rejected",env="production",kind="page",provider="apns"} 2
# HELP push_breaker_state 0 closed, 1 open for trouble, 2 open for a refused credential.
# TYPE push_breaker_state gauge
push_breaker_state{app="a",env="production",provider="apns"} 0
`
		if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "push_requests_total", "push_deliveries_ended_total", "push_breaker_state"); err != nil {
			t.Error(err)
		}
		if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
			t.Errorf("metrics: %v %v", problems, err)
		}
	})
}
