package admission_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tocsin-oncall/tocsin/server/admission"
	"github.com/tocsin-oncall/tocsin/server/fault"
)

// clock is time that a test moves.
type clock struct{ now time.Time }

func newGate(l admission.Limits) (*admission.Gate, *clock) {
	c := &clock{time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)}
	return admission.New(admission.Config{
		Limits: l, Partition: func(service string) int { return len(service) }, Now: func() time.Time { return c.now },
	}), c
}

func reason(err error) string {
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Kind == fault.Exhausted && f.RetryAfter > 0 {
		return f.Reason
	}
	return ""
}

var (
	storm = admission.Sender{Service: "shop", Key: "storm"}
	probe = admission.Sender{Service: "shop", Key: "probe"}
	quiet = admission.Sender{Service: "bank", Key: "quiet"} // waits in the same partition
)

func TestRequestsInHand(t *testing.T) {
	t.Parallel()
	g, _ := newGate(admission.Limits{Requests: 300})
	var leave []func()
	for {
		f, err := g.Enter(storm, 500)
		if err != nil {
			if got := reason(err); got != "KEY_REQUESTS" {
				t.Errorf("refused with %q, want the limit of the key", got)
			}
			break
		}
		leave = append(leave, f)
	}
	if len(leave) != 100 {
		t.Errorf("one key has %d requests in hand, want a third of the room", len(leave))
	}
	for _, from := range []admission.Sender{probe, quiet} {
		f, err := g.Enter(from, 500)
		if err != nil {
			t.Errorf("%v is refused because of another: %v", from, err)
			continue
		}
		f()
	}
	leave[0]()
	if _, err := g.Enter(storm, 500); err != nil {
		t.Errorf("after one of its requests has ended: got %v, want that there is room", err)
	}
	large, _ := newGate(admission.Limits{Requests: 300})
	n := 0
	for ; ; n++ {
		if _, err := large.Enter(quiet, 1<<20); err != nil {
			break
		}
	}
	if n != 2 {
		t.Errorf("%d bodies of 1 MiB are in hand, want two of 300 times 16 KiB: each counts for 65", n)
	}
}

func TestStrangersShareByAddress(t *testing.T) {
	t.Parallel()
	g, _ := newGate(admission.Limits{Requests: 300})
	n := 0
	for ; ; n++ {
		if _, err := g.Stranger("10.0.0.1", -1); err != nil {
			break
		}
	}
	if n != 150 {
		t.Errorf("one address has %d requests in hand, want half of the room", n)
	}
	known, err := g.Stranger("10.0.0.2", 100)
	if err != nil {
		t.Fatalf("another address is refused: %v", err)
	}
	known()
	if _, err := g.Enter(storm, 100); err != nil {
		t.Errorf("who is known is refused because of strangers: %v", err)
	}
}

// TestCrowdingIsToldOfWhatIsStoredLate: whoever looked while events were on their
// way into the store saw none of them, and is told when they are there.
func TestCrowdingIsToldOfWhatIsStoredLate(t *testing.T) {
	t.Parallel()
	g, _ := newGate(admission.Limits{Waiting: 1_000_000, Inbox: 3000})
	stored, err := g.Events(storm, 500)
	if err != nil {
		t.Fatal(err)
	}
	<-g.Crowding()
	if got := g.Crowded(); len(got) != 0 {
		t.Errorf("crowded partitions before anything is stored: got %v, want none", got)
	}
	stored(true)
	select {
	case <-g.Crowding():
	default:
		t.Error("nobody is told that 500 events wait")
	}
	if got := g.Crowded(); !slices.Equal(got, []int{4}) {
		t.Errorf("crowded partitions: got %v, want the one", got)
	}
}

// TestWaitingEvents: what waits is known from what the store says, in the order
// in which it was stored, and who has filled its share is refused at the door.
func TestWaitingEvents(t *testing.T) {
	t.Parallel()
	g, _ := newGate(admission.Limits{Waiting: 1_000_000, Inbox: 3000})
	store := func(from admission.Sender, n int) error {
		stored, err := g.Events(from, n)
		if err == nil {
			stored(true)
		}
		return err
	}
	crowding := func() bool {
		select {
		case <-g.Crowding():
			return true
		default:
			return false
		}
	}
	for i := range 10 {
		if err := store(storm, 100); err != nil {
			t.Fatalf("within a third of the inbox: %v", err)
		}
		if got, want := crowding(), i >= 3; got != want {
			t.Errorf("with %d events that wait, that it is crowding is told: %t, want %t", (i+1)*100, got, want)
		}
	}
	if got := reason(store(storm, 100)); got != "KEY_EVENTS" {
		t.Errorf("above a third: refused with %q, want the limit of the key", got)
	}
	if _, err := g.Enter(storm, 0); err != nil {
		// 1,000 wait: one more is too many.
		if got := reason(err); got != "KEY_EVENTS" {
			t.Errorf("at the door: refused with %q, want the limit of the key", got)
		}
	} else {
		t.Error("its next request is let in, want that it is refused before it is read")
	}
	if err := store(quiet, 200); err != nil {
		t.Errorf("another key of the partition is refused: %v", err)
	}
	if got := g.Crowded(); !slices.Equal(got, []int{4}) {
		t.Errorf("crowded partitions: got %v, want the one", got)
	}
	g.Observe(4, 700) // 500 of the storm are gone
	if err := store(storm, 400); err != nil {
		t.Errorf("after half of it was decided: %v", err)
	}
	g.Observe(4, 0)
	if got := g.Crowded(); len(got) != 0 {
		t.Errorf("crowded partitions: got %v, want none", got)
	}
	g.Observe(4, 2900) // by another instance
	if got := g.Crowded(); !slices.Equal(got, []int{4}) {
		t.Errorf("crowded partitions: got %v, want that what is not ours is looked at until it is gone", got)
	}
	if got := reason(store(storm, 1000)); got != "KEY_EVENTS" {
		t.Errorf("with what came through other instances: refused with %q, want the limit of the key", got)
	}
	if err := store(quiet, 8); err != nil {
		t.Errorf("the least of a quiet key is refused: %v", err)
	}
}

func TestWhatIsNotStoredDoesNotWait(t *testing.T) {
	t.Parallel()
	g, _ := newGate(admission.Limits{Waiting: 3000})
	for range 100 {
		stored, err := g.Events(storm, 1000)
		if err != nil {
			t.Fatalf("Redis was out before, and now its events are refused: %v", err)
		}
		stored(false)
	}
}

func TestWhoStorms(t *testing.T) {
	t.Parallel()
	g, c := newGate(admission.Limits{Requests: 30})
	registry := prometheus.NewRegistry()
	g.Register(registry)
	for range 25 {
		_, _ = g.Enter(storm, 0)
	}
	g.Refuse(quiet, admission.StoreFull)
	got := g.Told()
	if len(got) != 2 || got[0].Sender != storm || got[0].Times != 15 || got[0].Reason != admission.KeyRequests || !got[0].Since.Equal(c.now) {
		t.Fatalf("told: got %+v, want the storm first, 15 times", got)
	}
	c.now = c.now.Add(30 * time.Second)
	_, _ = g.Enter(storm, 0)
	if got = g.Storming(); len(got) != 2 || got[0].Times != 1 {
		t.Errorf("half a minute later: got %+v, want both, once more since", got)
	}
	c.now = c.now.Add(40 * time.Second)
	if got = g.Storming(); len(got) != 1 || got[0].Sender != storm {
		t.Errorf("a minute after its last refusal: got %+v, want that the quiet one is forgotten", got)
	}
	if n := testutil.CollectAndCount(registry, "tocsin_event_requests_refused_total"); n != 8 {
		t.Errorf("%d reasons are counted, want all 8", n)
	}
}

// TestTheRoomFitsThePace: what is taken on is what is decided in ten seconds. A
// quiet hour says nothing of the pace.
func TestTheRoomFitsThePace(t *testing.T) {
	t.Parallel()
	g, c := newGate(admission.Limits{Waiting: 100_000, Inbox: 1_000_000})
	registry := prometheus.NewRegistry()
	g.Register(registry)
	room := func() int {
		all, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range all {
			if m.GetName() == "tocsin_events_waiting_room" {
				return int(m.GetMetric()[0].GetGauge().GetValue())
			}
		}
		return 0
	}
	waiting := 0
	second := func(come, decided int) {
		if come > 0 {
			if stored, err := g.Events(storm, come); err == nil {
				stored(true)
				waiting += come
			}
		}
		waiting = max(0, waiting-decided)
		g.Observe(4, waiting)
		c.now = c.now.Add(time.Second)
		g.Measure()
	}
	if got := room(); got != 50_000 {
		t.Errorf("before anything was measured: room for %d, want 50,000", got)
	}
	second(5000, 0)
	for range 30 {
		second(1000, 1000)
	}
	if got := room(); got < 10_000 || got > 10_010 {
		t.Errorf("at 1,000 a second: room for %d, want 10,000", got)
	}
	second(0, 5000)
	for range 100 {
		second(1, 1)
	}
	c.now = c.now.Add(time.Hour)
	second(2000, 0)
	if got := room(); got < 10_000 || got > 10_010 {
		t.Errorf("after a quiet hour: room for %d, want what it was", got)
	}
	for range 30 {
		second(0, 1)
	}
	if got := room(); got != 5000 {
		t.Errorf("when nothing is decided: room for %d, want the least of 5,000", got)
	}
	for range 60 {
		second(1000, 0)
		second(0, 900)
	}
	if got := room(); got > 10_000 {
		t.Errorf("at less than 1,000 a second: room for %d", got)
	}
	for range 30 {
		for range 50 { // 4,000 a second are decided, and as many come as may
			for range 20 {
				if stored, err := g.Events(storm, 100); err == nil {
					stored(true)
					waiting += 100
				}
			}
			waiting -= 80
			g.Observe(4, waiting)
		}
		second(0, 0)
	}
	if got := room(); got < 39_000 || got > 41_000 {
		t.Errorf("when 4,000 a second are decided: room for %d, want 40,000", got)
	}
}
