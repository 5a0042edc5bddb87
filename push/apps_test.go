package push

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

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

// A delivery that has moved to the other environment is never attempted in the
// first again, where its place in the queue may still be.
func TestMovedDeliveryLeavesNoPlaceBehind(t *testing.T) {
	s := newTestSender(t, Options{}, app("a", &fake{}))
	here := s.apps[appKey{"apns", "a", Production}]
	there := newBulkhead(appKey{"apns", "a", Sandbox}, App{ID: "a", Via: &fake{}})
	d := pageTo("d")
	j := &job{d: d, home: here}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready(time.Now(), j) // it was put aside and queued again meanwhile, so its first place is still there
	s.ready(time.Now(), j)
	if got := here.pop(); got != j {
		t.Fatalf("popped %v, want the delivery", got)
	}
	j.home = there
	s.ready(time.Now(), j)
	if got := here.pop(); got != nil {
		t.Error("the environment that refused the token gets the delivery again")
	}
	if got := there.pop(); got != j {
		t.Error("the other environment does not get it")
	}
}

func TestProvidersMustBeTellable(t *testing.T) {
	s := newTestSender(t, Options{})
	if err := s.SetApps([]App{app("a", struct {
		*fake
		f func()
	}{})}); err == nil {
		t.Error("a provider was taken that would panic when it is compared with another")
	}
}

// An app with the wrong environment gets every token of a small team refused: as
// long as nothing has been accepted, none is dropped for it.
func TestNoTokenIsDroppedByAnAppThatNeverWorked(t *testing.T) {
	bad := Outcome{Class: DropAddress, Status: 400, Reason: "BadDeviceToken", Suspect: true, Env: true}
	p := &fake{answer: always(bad)}
	alerts := make(chan Alert, 1)
	s := newTestSender(t, Options{OnAlert: func(a Alert) { alerts <- a }}, app("a", p))
	for i := range 5 {
		r := s.Send(t.Context(), pageTo(fmt.Sprint(i)))
		wantEnd(t, r, EndRejected)
		if r.Address != AddressPark {
			t.Errorf("address %v, want it parked", r.Address)
		}
	}
	if a := <-alerts; !strings.Contains(a.Text, "environment") {
		t.Errorf("alert %q, want one about the environment", a.Text)
	}
	p.script(nil)
	wantEnd(t, s.Send(t.Context(), pageTo("well")), EndAccepted)
	p.script(always(bad))
	if r := s.Send(t.Context(), pageTo("dead")); r.Address != AddressDrop {
		t.Errorf("address %v after the app has worked, want it dropped", r.Address)
	}
	if err := s.SetApps([]App{app("a", &fake{answer: always(bad)})}); err != nil { // another key, another environment perhaps
		t.Fatal(err)
	}
	if r := s.Send(t.Context(), pageTo("other")); r.Address != AddressPark {
		t.Errorf("address %v from a provider that never worked, want it parked", r.Address)
	}
}
