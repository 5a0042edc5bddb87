package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/cmd/internal/lab"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

func pageScenes() []scene {
	const pushes = "30,000 first pages to 10,000 people with 3 phones each, begun and recorded"
	return []scene{
		{name: "event_to_push", play: playEventToPush, figures: []figure{
			atMost("event_to_push_p50_ms", 3, "ms", "10 events a second, from the client's send until the request is at APNs"),
			atMost("event_to_push_p99_ms", 15, "ms", "the same"),
		}},
		{name: "storm", play: playStorm, figures: []figure{
			atMost("storm_first_page_ms", 150, "ms", "1,000 alerts at once, 50 services, 50 people: from a service's first 202 to its first push, worst service"),
			atMost("storm_stored_ms", 500, "ms", "the same, from the first send until all are incidents"),
		}},
		{name: "pushes", play: func(ctx context.Context, st *stage) error { return playPushes(ctx, st, "pushes_per_s", 0) }, figures: []figure{
			atLeast("pushes_per_s", 8000, "pushes/s", pushes),
		}},
		{name: "pushes_50ms", play: func(ctx context.Context, st *stage) error {
			return playPushes(ctx, st, "pushes_50ms_per_s", 50*time.Millisecond)
		}, figures: []figure{
			atLeast("pushes_50ms_per_s", 8000, "pushes/s", pushes+", the push services 50 ms away"),
		}},
		{name: "ack", play: func(ctx context.Context, st *stage) error { return playAck(ctx, st, 5000, clients, "ack_p99_ms") }, figures: []figure{
			atMost("ack_p99_ms", 50, "ms", "acknowledging over gRPC from 64 phones while 5,000 new events a second come in"),
		}},
		{name: "overload", play: func(ctx context.Context, st *stage) error {
			return playAck(ctx, st, 0, 10*clients, "overload_ack_p99_ms")
		}, figures: []figure{
			atMost("overload_ack_p99_ms", 1000, "ms", "the same while 640 clients send new events as fast as they are answered"),
		}},
	}
}

// arrivals is when the first push for each person came in at its push service.
type arrivals struct {
	mu    sync.Mutex
	first map[int]time.Time
	count atomic.Int64
}

func newArrivals() *arrivals { return &arrivals{first: map[int]time.Time{}} }

// note takes in a request that a push service has answered.
func (a *arrivals) note(r pushtest.Request) {
	person, ok := lab.PersonOf(r.Token)
	if !ok || !lab.IsPage(r) {
		return
	}
	at := time.Now() // on the clock that the events are sent by
	a.mu.Lock()
	if _, known := a.first[person]; !known {
		a.first[person] = at
	}
	a.mu.Unlock()
	a.count.Add(1)
}

func (a *arrivals) of(person int) (time.Time, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at, ok := a.first[person]
	return at, ok
}

func (a *arrivals) people() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.first)
}

func playEventToPush(ctx context.Context, st *stage) error {
	events := st.some(300)
	got := newArrivals()
	err := st.open(ctx, setting{organisation: lab.Organisation{Services: events + 1, People: events + 1, Devices: 1}, onPush: got.note})
	if err != nil {
		return err
	}
	if err := st.warm(ctx, events); err != nil {
		return err
	}
	delays, err := st.pageEach(ctx, got, 0, events)
	if err != nil {
		return err
	}
	st.measured("event_to_push_p50_ms", quantile(delays, 0.5))
	st.measured("event_to_push_p99_ms", quantile(delays, 0.99))
	return nil
}

// pageEach sends an event to each of the services in turn, ten a second, and
// returns how many milliseconds later its person's push was at APNs, sorted.
func (st *stage) pageEach(ctx context.Context, got *arrivals, from, to int) ([]float64, error) {
	c, err := lab.Dial(ctx, st.server.Listen)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	sent := map[int]time.Time{}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := from; i < to; i++ {
		<-tick.C
		request := lab.NewEvent(i).Request(int64(i))
		sent[i] = time.Now()
		if status, err := c.Call(request); err != nil || status != http.StatusAccepted {
			return nil, fmt.Errorf("event %d was answered %d: %w", i, status, err)
		}
	}
	var delays []float64
	err = st.until(ctx, "every person is paged", time.Minute, 10*time.Millisecond, func() (bool, error) {
		delays = delays[:0]
		for i, at := range sent {
			if arrived, ok := got.of(i); ok {
				delays = append(delays, ms(arrived.Sub(at)))
			}
		}
		return len(delays) == to-from, nil
	})
	slices.Sort(delays)
	return delays, err
}

// warm pages one person of whom nothing is measured, so that connections to the
// push services are there.
func (st *stage) warm(ctx context.Context, service int) error {
	c, err := lab.Dial(ctx, st.server.Listen)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if status, err := c.Call(lab.NewEvent(service).Request(0)); err != nil || status != http.StatusAccepted {
		return fmt.Errorf("the event was answered %d: %w", status, err)
	}
	return st.until(ctx, "the first page is sent", time.Minute, 10*time.Millisecond, func() (bool, error) {
		_, inbox, work, err := st.state(ctx)
		return inbox == 0 && work == 0, err
	})
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func playStorm(ctx context.Context, st *stage) error {
	const services, alerts = 50, 1000
	got := newArrivals()
	err := st.open(ctx, setting{organisation: lab.Organisation{Services: services + 1, People: services + 1, Devices: 1}, onPush: got.note})
	if err != nil {
		return err
	}
	if err := st.warm(ctx, services); err != nil {
		return err
	}
	var mu sync.Mutex
	accepted := map[int]time.Time{}
	var stored time.Duration
	began := time.Now()
	err = st.profiled(ctx, func() error {
		_, err := st.postTold(ctx, alerts, func(i int64) (int, int64) { return int(i % services), i }, func(i int64, status int) {
			service := int(i % services)
			mu.Lock()
			defer mu.Unlock()
			if _, known := accepted[service]; !known && status == http.StatusAccepted {
				accepted[service] = time.Now()
			}
		})
		if err != nil {
			return err
		}
		err = st.until(ctx, "all are incidents", time.Minute, 10*time.Millisecond, func() (bool, error) {
			open, _, _, err := st.state(ctx)
			return open == alerts+1, err
		})
		stored = time.Since(began)
		return err
	})
	if err != nil {
		return err
	}
	err = st.until(ctx, "every person is paged", time.Minute, 10*time.Millisecond, func() (bool, error) { return got.people() > services, nil })
	if err != nil {
		return err
	}
	worst := time.Duration(0)
	for i := range services {
		at, _ := got.of(i)
		worst = max(worst, at.Sub(accepted[i]))
	}
	st.measured("storm_first_page_ms", ms(worst))
	st.measured("storm_stored_ms", ms(stored))
	return nil
}

func playPushes(ctx context.Context, st *stage, figure string, away time.Duration) error {
	const devices = 3
	people := st.some(10_000)
	got := newArrivals()
	err := st.open(ctx, setting{
		organisation: lab.Organisation{Services: people, People: people, Devices: devices}, latency: away, onPush: got.note,
	})
	if err != nil {
		return err
	}
	operator, err := st.operator()
	if err != nil {
		return err
	}
	if _, err := operator.HoldPaging(ctx, &pb.HoldPagingRequest{Reason: "measuring"}); err != nil {
		return err
	}
	if _, err := st.post(ctx, int64(people), func(i int64) (int, int64) { return int(i), i }); err != nil {
		return err
	}
	err = st.until(ctx, "all are incidents", time.Minute, 10*time.Millisecond, func() (bool, error) {
		open, _, _, err := st.state(ctx)
		return open == people, err
	})
	if err != nil {
		return err
	}
	before, err := st.spent()
	if err != nil {
		return err
	}
	began := time.Now()
	if _, err := operator.ResumePaging(ctx, &pb.ResumePagingRequest{}); err != nil {
		return err
	}
	err = st.profiled(ctx, func() error {
		return st.until(ctx, "all are sent and recorded", 2*time.Minute, 20*time.Millisecond, func() (bool, error) {
			if got.count.Load() < int64(people*devices) {
				return false, nil
			}
			_, _, work, err := st.state(ctx)
			return work == 0, err
		})
	})
	if err != nil {
		return fmt.Errorf("%d of %d pushes: %w", got.count.Load(), people*devices, err)
	}
	st.measured(figure, float64(people*devices)/time.Since(began).Seconds())
	return st.noteSpent(before, people*devices, "pushes")
}

// operator calls the server as its administrator on this machine.
func (st *stage) operator() (pb.OperatorServiceClient, error) {
	conn, err := grpc.NewClient("unix://"+st.lab.AdminSocket(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	st.closing(func() { _ = conn.Close() })
	return pb.NewOperatorServiceClient(conn), nil
}

// playAck lets 64 phones acknowledge what their people were paged for, while
// senders send new events: perSecond of them, or 0 for as many as they can.
func playAck(ctx context.Context, st *stage, perSecond, senders int, figure string) error {
	const phones, each = 64, 20
	err := st.prepare(ctx, setting{
		organisation: lab.Organisation{Services: phones, People: phones, Devices: 1, FirstPage: 24 * time.Hour},
		state: func(s *lab.Seed) error {
			return s.Make(ctx, phones*each, true, func(i int) lab.Wanted {
				return lab.Wanted{Service: i % phones, Created: time.Now(), Key: fmt.Sprint("seeded-", i)}
			})
		},
	})
	if err != nil {
		return err
	}
	if err := st.serve(ctx); err != nil {
		return err
	}
	conn, err := grpc.NewClient(st.server.Listen, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	mine := make([][]string, phones)
	for i := range phones {
		if mine[i], err = st.assigned(ctx, conn, i); err != nil {
			return err
		}
		if len(mine[i]) != each {
			return fmt.Errorf("person %d has %d incidents, want %d", i, len(mine[i]), each)
		}
	}
	var done, accepted atomic.Int64
	flood := make(chan error, 1)
	go func() { flood <- st.flood(ctx, perSecond, senders, &done, &accepted) }()
	var delays []float64
	err = st.profiled(ctx, func() error {
		delays, err = st.acknowledge(ctx, conn, mine)
		return err
	})
	done.Store(1)
	if flooded := <-flood; err == nil {
		err = flooded
	}
	if err != nil {
		return err
	}
	if err := st.drained(ctx, 2*time.Minute); err != nil {
		return err
	}
	open, _, _, err := st.state(ctx)
	if err != nil {
		return err
	}
	if want := phones*each + int(accepted.Load()); open != want {
		return fmt.Errorf("%d incidents are open, want %d: what was answered 202 is not there", open, want)
	}
	st.note("%d events were accepted meanwhile", accepted.Load())
	slices.Sort(delays)
	st.measured(figure, quantile(delays, 0.99))
	return nil
}

// assigned is what the person's phone lists as theirs.
func (st *stage) assigned(ctx context.Context, conn *grpc.ClientConn, person int) ([]string, error) {
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+lab.Credential(person, 0))
	page, err := pb.NewIncidentServiceClient(conn).ListIncidents(ctx, &pb.ListIncidentsRequest{
		PageSize: 100, Assignees: []string{"users/" + lab.UserID(person)},
	})
	if err != nil {
		return nil, fmt.Errorf("list the incidents of person %d: %w", person, err)
	}
	names := make([]string, len(page.GetIncidents()))
	for i, in := range page.GetIncidents() {
		names[i] = in.GetName()
	}
	return names, nil
}

// acknowledge has every phone acknowledge its incidents, two a second, and
// returns how many milliseconds each took.
func (st *stage) acknowledge(ctx context.Context, conn *grpc.ClientConn, mine [][]string) ([]float64, error) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var delays []float64
	var failed error
	for person, names := range mine {
		wg.Go(func() {
			ctx := metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+lab.Credential(person, 0))
			tick := time.NewTicker(500 * time.Millisecond)
			defer tick.Stop()
			for _, name := range names {
				<-tick.C
				began := time.Now()
				_, err := pb.NewIncidentServiceClient(conn).AcknowledgeIncident(ctx, &pb.AcknowledgeIncidentRequest{Name: name})
				took := ms(time.Since(began))
				mu.Lock()
				delays = append(delays, took)
				if err != nil {
					failed = err
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return delays, failed
}

// flood sends new events until done is set.
func (st *stage) flood(ctx context.Context, perSecond, senders int, done, accepted *atomic.Int64) error {
	var wg sync.WaitGroup
	errs := make([]error, senders)
	var pause time.Duration
	if perSecond > 0 {
		pause = time.Second * time.Duration(senders) / time.Duration(perSecond)
	}
	for s := range senders {
		wg.Go(func() { errs[s] = st.sender(ctx, s, pause, done, accepted) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (st *stage) sender(ctx context.Context, number int, pause time.Duration, done, accepted *atomic.Int64) error {
	c, err := lab.Dial(ctx, st.server.Listen)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	e := lab.NewEvent(number % 50)
	next := time.Now()
	for i := int64(0); done.Load() == 0; i++ {
		if pause > 0 {
			next = next.Add(pause)
			if wait := time.Until(next); wait > 0 {
				<-time.After(wait)
			}
		}
		status, err := c.Call(e.Request(int64(number)*1_000_000_000 + i))
		if err != nil {
			return err
		}
		switch status {
		case http.StatusAccepted:
			accepted.Add(1)
		case http.StatusTooManyRequests, http.StatusServiceUnavailable: // as a monitor does, later
		default:
			return fmt.Errorf("an event was answered %d", status)
		}
	}
	return nil
}
