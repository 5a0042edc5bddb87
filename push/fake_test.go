package push

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
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
