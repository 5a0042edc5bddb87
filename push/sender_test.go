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

func TestWhatCanWaitIsPacedPerPerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSender(t, Options{}, app("a", &fake{}))
		began := time.Now()
		took := make(chan time.Duration, 100)
		send := func(d Delivery, device int) {
			d.Device.ID, d.Device.Person = fmt.Sprint("device", device), "ann"
			s.Submit(d, func(r Result) {
				wantEnd(t, r, EndAccepted)
				took <- r.At.Sub(began)
			})
		}
		slow := func(n int) (slow int) {
			for range n {
				if <-took > 0 {
					slow++
				}
			}
			return slow
		}
		for i := range 25 { // over five devices, so that none of them is at its own ceiling
			send(infoTo(""), i%5)
		}
		if got := slow(25); got != 5 {
			t.Errorf("%d of 25 messages waited, want the 5 above twenty a minute", got)
		}
		began = time.Now()
		for i := range 5 {
			clearing := infoTo("")
			clearing.Message.Kind = KindClear
			send(clearing, i)
			send(pageTo(""), i)
		}
		if got := slow(10); got != 0 {
			t.Errorf("%d pages and clears waited for what can wait, want none", got)
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

// A caller that is slow to give leave (a store that hesitates) takes nothing of
// the time that the service has, and none of it counts against the service.
func TestSlowLeaveTakesNoTimeOfTheService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{took: time.Second}
		s := newTestSender(t, Options{}, app("a", p))
		results := make(chan Result, 20)
		for i := range 20 {
			d := pageTo(fmt.Sprint(i))
			d.Begin = func(context.Context, int) error {
				pass(4500 * time.Millisecond)
				return nil
			}
			s.Submit(d, func(r Result) { results <- r })
		}
		for range 20 {
			if r := <-results; r.End != EndAccepted || r.Attempts != 1 {
				t.Fatalf("ended %v after %d attempts, want it accepted at the first", r.End, r.Attempts)
			}
		}
	})
}

// The machine's clock says nothing about how much of a message's time is left:
// the sender's does, which may be another's.
func TestDeadlineIsOfTheSendersClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{took: time.Second}
		behind := func() time.Time { return time.Now().Add(-time.Hour) }
		s := newTestSender(t, Options{Now: behind}, app("a", p))
		d := pageTo("d")
		d.Message.Deadline = behind().Add(4 * time.Second)
		wantEnd(t, s.Send(t.Context(), d), EndAccepted)
		if at := p.seen[0].At; !at.Equal(behind().Add(-time.Second)) {
			t.Errorf("the provider was told that it is %v, want the sender's time", at)
		}
	})
}

// What makes a phone quiet has no other way to it: it is tried until its deadline.
func TestPersistingClearIsNotGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{}
		p.script(func(n int, _ Attempt) Outcome {
			if n <= 6 {
				return unavailable
			}
			return Outcome{Class: Accepted, Status: 200}
		})
		s := newTestSender(t, Options{}, app("a", p))
		d := infoTo("d")
		d.Message.Kind, d.Persist = KindClear, true
		wantEnd(t, s.Send(t.Context(), d), EndAccepted)
		info := infoTo("d")
		p.script(always(unavailable))
		wantEnd(t, s.Send(t.Context(), info), EndProviderDown)
	})
}

// Nothing that a service echoes of a request gets into an outcome.
func TestEchoesAreHidden(t *testing.T) {
	const endpoint = "https://push.example.com/wpush/v2/gAAAAABsecretsecret"
	jwt := "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJ0In0.c2ln"
	for _, echo := range []string{
		"no such thing: " + endpoint, "404 /wpush/v2/gAAAAABsecretsecret", "token gAAAAABsecretsecret is unknown", "bad header: vapid t=" + jwt, "Bearer ya29.secretsecret",
	} {
		p := &fake{answer: always(Outcome{Class: OurBug, Status: 400, Reason: echo, Raw: "<p>" + echo})}
		s := newTestSender(t, Options{}, app("a", p))
		d := pageTo("d")
		d.Device.Token = endpoint
		said := fmt.Sprintf("%+v", s.Send(t.Context(), d))
		if strings.Contains(said, "secretsecret") || strings.Contains(said, jwt[10:]) {
			t.Errorf("an echo of %q is told on: %s", echo, said)
		}
		if !strings.Contains(said, hidden) {
			t.Errorf("nothing says that something was hidden: %s", said)
		}
	}
	o := Outcome{Class: OurBug, Reason: "caf\xc3", Raw: "\xff"}
	o.discreet("")
	if o.Reason != "caf" || o.Raw != "" {
		t.Errorf("%q and %q, want text that a store takes", o.Reason, o.Raw)
	}
	if said := fmt.Sprintf("%#v", Device{Token: endpoint}); strings.Contains(said, "secretsecret") {
		t.Errorf("the token is printed: %s", said)
	}
}
