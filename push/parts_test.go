package push

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// parted is a fake that stands before several push services; the part of a
// device is what its token begins with.
type parted struct {
	fake
	closes int
}

func (p *parted) Part(d *Device) string {
	name, _, found := strings.Cut(string(d.Token), ":")
	if !found {
		return ""
	}
	return name
}

func (p *parted) PartStats(part string) Stats { return Stats{InFlight: len(part)} }

func (p *parted) Close() error {
	p.mu.Lock()
	p.closes++
	p.mu.Unlock()
	return p.fake.Close()
}

func (p *parted) closed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closes
}

func toPart(part string) Delivery {
	d := pageTo(part + " browser")
	d.Device.Token = Token(part + ":x")
	return d
}

func refuse(part string, o Outcome) func(int, Attempt) Outcome {
	return func(_ int, a Attempt) Outcome {
		if strings.HasPrefix(string(a.Device.Token), part+":") {
			return o
		}
		return Outcome{Class: Accepted, Status: 201}
	}
}

// One refused credential at one of the push services behind a provider stops
// that service alone, and is shown under its name.
func TestPartsOfAnAppAreKeptApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &parted{}
		p.answer = refuse("mozilla", Outcome{Class: AuthConfig, Status: 401, Alert: "refused"})
		registry := prometheus.NewPedanticRegistry()
		s := newTestSender(t, Options{Registerer: registry}, app("a", p))
		wantEnd(t, s.Send(t.Context(), toPart("mozilla")), EndProviderDown)
		wantEnd(t, s.Send(t.Context(), toPart("apple")), EndAccepted)
		wantEnd(t, s.Send(t.Context(), pageTo("nobody knows where")), EndAccepted)
		n := p.count()
		wantEnd(t, s.Send(t.Context(), toPart("mozilla")), EndProviderDown)
		if p.count() != n {
			t.Error("the part whose breaker is open was tried, want the answer at once")
		}
		got := map[string]AppState{}
		for _, st := range s.State() {
			got[st.App] = st
		}
		if len(got) != 3 || got["a/mozilla"].Breaker != BreakerOpenAuth || got["a/apple"].Breaker != BreakerClosed || got["a"].Breaker != BreakerClosed {
			t.Errorf("states %+v", got)
		}
		if got["a/apple"].Stats.InFlight != len("apple") || got["a"].Stats.InFlight != 0 {
			t.Errorf("stats %+v, want each part's own", got)
		}
		if _, err := registry.Gather(); err != nil {
			t.Errorf("metrics: %v", err)
		}
	})
}

// A service that never answers fills its own places in flight and nobody else's.
func TestPartsHaveTheirOwnPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &parted{}
		p.answer = func(_ int, a Attempt) Outcome {
			if strings.HasPrefix(string(a.Device.Token), "mozilla:") {
				pass(3 * time.Second) // less than the sender drains for
				return Outcome{Class: RetryNow, Reason: "Timeout", Unknown: true}
			}
			return Outcome{Class: Accepted, Status: 201}
		}
		a := app("a", p)
		a.MaxInFlight = 2
		s := newTestSender(t, Options{}, a)
		for range 5 {
			s.Submit(toPart("mozilla"), func(Result) {})
		}
		began := time.Now()
		wantEnd(t, s.Send(t.Context(), toPart("apple")), EndAccepted)
		if took := time.Since(began); took > time.Second {
			t.Errorf("the other service's page took %v", took)
		}
	})
}

// A new provider takes the place of the old one in every part; the old one is
// closed once, after the last attempt of any part.
func TestPartsAreReloadedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, fresh := &parted{}, &parted{}
		old.answer = refuse("mozilla", Outcome{Class: AuthConfig, Status: 401})
		old.took = 0
		s := newTestSender(t, Options{}, app("a", old))
		wantEnd(t, s.Send(t.Context(), toPart("mozilla")), EndProviderDown)
		old.script(func(int, Attempt) Outcome {
			pass(3 * time.Second)
			return Outcome{Class: Accepted, Status: 201}
		})
		flying := make(chan Result, 1)
		s.Submit(toPart("apple"), func(r Result) { flying <- r })
		synctest.Wait()
		if err := s.SetApps([]App{app("a", fresh)}); err != nil {
			t.Fatal(err)
		}
		wantEnd(t, s.Send(t.Context(), toPart("mozilla")), EndAccepted)
		if old.closed() != 0 {
			t.Error("the old provider was closed under an attempt")
		}
		wantEnd(t, <-flying, EndAccepted)
		synctest.Wait()
		if old.closed() != 1 {
			t.Errorf("the old provider was closed %d times, want once", old.closed())
		}
		if err := s.SetApps(nil); err != nil {
			t.Fatal(err)
		}
		r := s.Send(t.Context(), toPart("apple"))
		wantEnd(t, r, EndRejected)
		if r.Address != AddressPark || len(s.State()) != 0 {
			t.Errorf("an app that is gone: %+v, states %+v", r, s.State())
		}
		synctest.Wait()
		if fresh.closed() != 1 {
			t.Errorf("the provider of an app that is gone was closed %d times, want once", fresh.closed())
		}
	})
}

func TestSenderClosesASharedProviderOnce(t *testing.T) {
	p := &parted{}
	s := NewSender(Options{})
	if err := s.SetApps([]App{app("a", p)}); err != nil {
		t.Fatal(err)
	}
	wantEnd(t, s.Send(t.Context(), toPart("apple")), EndAccepted)
	wantEnd(t, s.Send(t.Context(), toPart("google")), EndAccepted)
	if err := s.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if p.closed() != 1 {
		t.Errorf("closed %d times, want once", p.closed())
	}
}

func TestAppIDHasNoSlash(t *testing.T) {
	s := newTestSender(t, Options{})
	if err := s.SetApps([]App{app("a/b", &fake{})}); err == nil || !strings.Contains(err.Error(), "slash") {
		t.Errorf("error %v, want one about the slash", err)
	}
}
