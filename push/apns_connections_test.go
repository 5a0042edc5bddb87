package push_test

import (
	"sync"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/apns"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

// TestCase07_TwoTeamsNeverShareAConnection: apps of two teams push at the same time; no connection carries both.
func TestCase07_TwoTeamsNeverShareAConnection(t *testing.T) {
	t.Parallel()
	other := (*apns.Provider)(nil)
	r := newRig(t)
	other, err := apns.New(apns.Config{
		App: "other", BundleID: "com.example.other", TeamID: "TEAM000002", KeyID: "KEY0000002", Key: r.apple.NewKey("TEAM000002", "KEY0000002"),
		TestEndpoint: &apns.TestEndpoint{URL: r.apple.URL(), CA: r.apple.CA()}, Now: r.clock.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.sender.SetApps([]push.App{
		{ID: "ios", Provider: "apns", Via: r.apns}, {ID: "android", Provider: "fcm", Via: r.fcm}, {ID: "other", Provider: "apns", Via: other},
	}); err != nil {
		t.Fatal(err)
	}
	d, _ := r.iphone()
	e := iosDevice(r.apple.Register(nil, "com.example.other"))
	e.App = "other"
	for range 20 {
		r.want(r.send(r.page(), d), push.EndAccepted)
		r.want(r.send(r.page(), e), push.EndAccepted)
	}
	topics := map[int]string{}
	for _, q := range r.apple.Requests() {
		if was, seen := topics[q.Connection]; seen && was != q.Header["apns-topic"] {
			t.Fatalf("connection %d carried %s and %s", q.Connection, was, q.Header["apns-topic"])
		}
		topics[q.Connection] = q.Header["apns-topic"]
	}
}

// TestCase17_Shutdown: 503 Shutdown and a GOAWAY that does not cover the next page: the page goes over
// another connection, arrives once and is not held up.
func TestCase17_Shutdown(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, phone := r.iphone()
	r.want(r.send(r.page(), d), push.EndAccepted)
	r.apple.Script(string(d.Token), pushtest.Shutdown())
	m := r.page()
	began := time.Now()
	r.want(r.send(m, d), push.EndAccepted)
	if took := time.Since(began); took > 500*time.Millisecond {
		t.Errorf("took %v, want at most 200 ms extra", took)
	}
	if n := countDelivery(phone, m.DeliveryID); n != 1 {
		t.Errorf("the page arrived %d times, want once", n)
	}
}

func countDelivery(p *pushtest.Phone, id string) int {
	n := 0
	for _, g := range p.Got() {
		if g.DeliveryID == id {
			n++
		}
	}
	return n
}

// TestCase18_GoAwayCoveringOurStream: GOAWAY covers our request and the connection ends without an answer: the page
// is sent again under the same ids, and the phone shows one notification.
func TestCase18_GoAwayCoveringOurStream(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, phone := r.iphone()
	answer := pushtest.Break(pushtest.GoAwayCovering)
	answer.Deliver = true
	r.apple.Script(string(d.Token), answer)
	m := r.page()
	res := r.send(m, d)
	r.want(res, push.EndAccepted)
	if !res.Tries[0].Unknown {
		t.Errorf("first try %+v, want its outcome unknown", res.Tries[0])
	}
	got := r.apple.Requests()
	if len(got) != 2 || got[0].Header["apns-id"] != got[1].Header["apns-id"] || got[0].Header["apns-collapse-id"] != got[1].Header["apns-collapse-id"] {
		t.Fatalf("requests %v, want two with the same ids", got)
	}
	if _, err := phone.Wait(t.Context(), func(n pushtest.Notification) bool { return n.Duplicate }); err != nil {
		t.Fatal(err)
	}
	if shown := phone.Shown(); len(shown) != 1 {
		t.Errorf("the phone shows %d notifications, want 1", len(shown))
	}
}

// TestCase19_DeadPeerInMidPage: the peer dies under a page: it is accepted over another connection within 3 s,
// and nothing goes over the dead one any more.
func TestCase19_DeadPeerInMidPage(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.iphone()
	r.want(r.send(r.page(), d), push.EndAccepted)
	r.apple.Script(string(d.Token), pushtest.Break(pushtest.FreezeConnection))
	began := time.Now()
	r.want(r.send(r.page(), d), push.EndAccepted)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("took %v, want under 3 s over another connection", took)
	}
	dead := r.apple.Requests()[1].Connection
	for range 5 {
		r.want(r.send(r.page(), d), push.EndAccepted)
	}
	for _, q := range r.apple.Requests()[2:] {
		if q.Connection == dead {
			t.Errorf("a page went over the dead connection %d", dead)
		}
	}
}

// TestCase20_OneStreamAtFirst: a connection takes one request at a time until its first success: a burst of 200
// is accepted within 3 s over at most 4 connections.
func TestCase20_OneStreamAtFirst(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.apple.MaxStreams(1)
	var once sync.Once
	r.apple.Decide(func(pushtest.Request) (pushtest.Answer, bool) {
		once.Do(func() { go r.apple.MaxStreams(1000) })
		return pushtest.Answer{}, false
	})
	d, _ := r.iphone()
	began := time.Now()
	r.burst(200, d)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("took %v, want under 3 s", took)
	}
	if opened, _, _ := r.apple.Connections(); opened > 4 {
		t.Errorf("%d connections were opened, want at most 4", opened)
	}
}

// burst sends n pages at once, each of its own incident, and wants all accepted.
func (r *rig) burst(n int, d push.Device) {
	r.t.Helper()
	results := make(chan push.Result, n)
	for range n {
		e := d
		e.ID = uuid()
		r.sender.Submit(push.Delivery{Message: r.page(), Device: e}, func(res push.Result) { results <- res })
	}
	for range n {
		r.want(<-results, push.EndAccepted)
	}
}

// TestCase22_BurstStaysBelowTheLimit: 3,000 pages meet a limit of 1000: none is lost or sent twice, and no connection
// ever has more in flight than the limit.
func TestCase22_BurstStaysBelowTheLimit(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *rigOptions) { o.apple.Latency = 5 * time.Millisecond })
	d, _ := r.iphone()
	r.burst(3000, d)
	if _, _, most := r.apple.Connections(); most > 900 {
		t.Errorf("%d in flight on one connection, want at most 900 of the 1000 allowed", most)
	}
	if n := r.apple.Count(); n != 3000 {
		t.Errorf("%d requests for 3000 pages", n)
	}
}

// TestCase21_LimitDropsInABurst: the limit drops from 1000 to 1 in a burst of 1,000: all are accepted, and no two
// acceptances are more than 2 s apart.
func TestCase21_LimitDropsInABurst(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *rigOptions) { o.apple.Latency = time.Millisecond })
	d, _ := r.iphone()
	r.burst(50, d) // warm
	var once sync.Once
	var dropping sync.WaitGroup
	dropping.Add(1)
	r.apple.Decide(func(pushtest.Request) (pushtest.Answer, bool) {
		once.Do(func() {
			go func() { // off the connection's goroutine, which has to go on reading
				defer dropping.Done()
				r.apple.MaxStreams(1)
			}()
		})
		return pushtest.Answer{}, false
	})
	accepted := make(chan push.Result, 1000)
	for range 1000 {
		e := d
		e.ID = uuid()
		r.sender.Submit(push.Delivery{Message: r.page(), Device: e}, func(res push.Result) { accepted <- res })
	}
	held := withheld(t)
	var longest time.Duration
	last := time.Now()
	for range 1000 {
		r.want(<-accepted, push.EndAccepted)
		longest, last = max(longest, time.Since(last)), time.Now()
	}
	dropping.Wait()
	// Between two requests on a connection that takes one at a time the page is
	// handed on by about ten goroutines, each of which may wait for the machine.
	if lag := held(); longest-10*lag > 2*time.Second {
		t.Errorf("nothing was accepted for %v, want no stall above 2 s; the machine itself was late by up to %v", longest, lag)
	}
}

// withheld measures how long the machine keeps this process waiting for a
// processor. The function that it returns tells the longest such time, and ends
// the measuring.
func withheld(t *testing.T) func() time.Duration {
	t.Helper()
	var wg sync.WaitGroup
	var longest time.Duration
	stop := make(chan struct{})
	wg.Go(func() {
		const every = 10 * time.Millisecond
		tick := time.NewTicker(every)
		defer tick.Stop()
		for last := time.Now(); ; {
			select {
			case <-stop:
				return
			case <-tick.C:
				longest, last = max(longest, time.Since(last)-every), time.Now()
			}
		}
	})
	return func() time.Duration {
		close(stop)
		wg.Wait()
		return longest
	}
}
