package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/cmd/internal/lab"
)

const (
	clients   = 64
	newEvents = 60_000
	repeats   = 100_000
	batches   = 800 // of batchSize events: less than may wait for a decision at a time
	batchSize = 50
	comeAgain = 100 * time.Millisecond // after which a client sends again what was refused
)

// quiet is 50 services of 50 people whose phones ring a day later: what is
// measured is taking events in.
func quiet() setting {
	return setting{organisation: lab.Organisation{Services: 50, People: 50, Devices: 1, FirstPage: 24 * time.Hour}}
}

func ingestScenes() []scene {
	return []scene{
		{name: "ingest_new", play: playNew, figures: []figure{
			atLeast("ingest_new_per_s", 8000, "events/s", "HTTP Events v2, 64 clients, every key new, 50 services, until the incident is stored"),
			atMost("ingest_p99_ms", 30, "ms", "the answer to an event, of the same run"),
			atMost("cpu_s_per_1000_new", 0.20, "s", "processor time of the server and Redis, of the same run"),
		}},
		{name: "ingest_repeat", play: playRepeat, figures: []figure{
			atLeast("ingest_repeat_per_s", 12_000, "events/s", "HTTP Events v2, 64 clients, 50 keys repeated, until all are counted"),
		}},
		{name: "ingest_grpc", play: playGRPC, figures: []figure{
			atLeast("ingest_grpc_per_s", 20_000, "events/s", "gRPC, batches of 50, every key new, accepted"),
			atMost("ingest_grpc_drain_ratio", 2, "", "until all are stored, by the time of the run"),
		}},
	}
}

// load is what came of many calls.
type load struct {
	took      time.Duration
	latencies []time.Duration // sorted
	refused   int64
}

func (l load) p(q float64) float64 {
	if len(l.latencies) == 0 {
		return 0
	}
	at := min(len(l.latencies)-1, int(q*float64(len(l.latencies))))
	return float64(l.latencies[at]) / float64(time.Millisecond)
}

// post sends n events over the clients, each with the service and the dedup key
// that which gives it.
func (st *stage) post(ctx context.Context, n int64, which func(i int64) (service int, key int64)) (load, error) {
	return st.postTold(ctx, n, which, func(int64, int) {})
}

// postTold is post that tells of every answer at once.
func (st *stage) postTold(ctx context.Context, n int64, which func(i int64) (service int, key int64), told func(i int64, status int)) (load, error) {
	var next, refused atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, clients)
	times := make([][]time.Duration, clients)
	began := time.Now()
	for c := range clients {
		wg.Go(func() {
			times[c], errs[c] = st.caller(ctx, n, &next, which, func(i int64, status int) {
				if status != http.StatusAccepted {
					refused.Add(1)
				}
				told(i, status)
			})
		})
	}
	wg.Wait()
	l := load{took: time.Since(began), latencies: slices.Concat(times...), refused: refused.Load()}
	slices.Sort(l.latencies)
	return l, errors.Join(errs...)
}

// caller is one client: one event after the other, on one connection.
func (st *stage) caller(ctx context.Context, n int64, next *atomic.Int64, which func(int64) (int, int64), told func(int64, int)) ([]time.Duration, error) {
	c, err := lab.Dial(ctx, st.server.Listen)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	events := map[int]*lab.Event{}
	times := make([]time.Duration, 0, 1024)
	for {
		i := next.Add(1) - 1
		if i >= n {
			return times, nil
		}
		service, key := which(i)
		e := events[service]
		if e == nil {
			e = lab.NewEvent(service)
			events[service] = e
		}
		began := time.Now()
		status, err := c.Call(e.Request(key))
		if err != nil {
			return times, err
		}
		times = append(times, time.Since(began))
		told(i, status)
	}
}

func playNew(ctx context.Context, st *stage) error {
	if err := st.open(ctx, quiet()); err != nil {
		return err
	}
	before, err := st.spent()
	if err != nil {
		return err
	}
	began := time.Now()
	n := st.some(newEvents)
	var l load
	err = st.profiled(ctx, func() error {
		if l, err = st.post(ctx, int64(n), func(i int64) (int, int64) { return int(i % 50), i }); err != nil {
			return err
		}
		return st.drained(ctx, time.Minute)
	})
	if err != nil {
		return err
	}
	took := time.Since(began)
	after, err := st.spent()
	if err != nil {
		return err
	}
	open, _, _, err := st.state(ctx)
	if err != nil {
		return err
	}
	if want := n - int(l.refused); open != want {
		return fmt.Errorf("%d incidents are open, want %d", open, want)
	}
	st.noteBetween(before, after, open, "events")
	st.measured("ingest_new_per_s", float64(open)/took.Seconds())
	st.measured("ingest_p99_ms", l.p(0.99))
	st.measured("cpu_s_per_1000_new", (after.server+after.redis-before.server-before.redis)/float64(open)*1000)
	return nil
}

func playRepeat(ctx context.Context, st *stage) error {
	if err := st.open(ctx, quiet()); err != nil {
		return err
	}
	began := time.Now()
	n := int64(st.some(repeats))
	var l load
	err := st.profiled(ctx, func() (err error) {
		if l, err = st.post(ctx, n, func(i int64) (int, int64) { return int(i % 50), i % 50 }); err != nil {
			return err
		}
		return st.drained(ctx, time.Minute)
	})
	if err != nil {
		return err
	}
	open, _, _, err := st.state(ctx)
	if err != nil {
		return err
	}
	if open != 50 {
		return fmt.Errorf("%d incidents are open, want 50", open)
	}
	st.measured("ingest_repeat_per_s", float64(n-l.refused)/time.Since(began).Seconds())
	return nil
}

// rawCodec sends and receives messages that are encoded already.
type rawCodec struct{}

var _ encoding.Codec = rawCodec{}

// Name implements encoding.Codec: to the server it is the usual one.
func (rawCodec) Name() string { return "proto" }

// Marshal implements encoding.Codec.
func (rawCodec) Marshal(v any) ([]byte, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("a prepared message was expected, not a %T", v)
	}
	return *b, nil
}

// Unmarshal implements encoding.Codec.
func (rawCodec) Unmarshal(data []byte, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("a prepared message was expected, not a %T", v)
	}
	*b = data
	return nil
}

func playGRPC(ctx context.Context, st *stage) error {
	if err := st.open(ctx, quiet()); err != nil {
		return err
	}
	prepared := make([][]byte, st.some(batches))
	for i := range prepared {
		var err error
		if prepared[i], err = batch(i); err != nil {
			return err
		}
	}
	conn, err := grpc.NewClient(st.server.Listen, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	var next, refused atomic.Int64
	var took time.Duration
	began := time.Now()
	err = st.profiled(ctx, func() error {
		var wg sync.WaitGroup
		errs := make([]error, clients)
		for c := range clients {
			wg.Go(func() { errs[c] = publish(ctx, conn, prepared, &next, &refused) })
		}
		wg.Wait()
		took = time.Since(began)
		return errors.Join(append(errs, st.drained(ctx, time.Minute))...)
	})
	if err != nil {
		return err
	}
	open, _, _, err := st.state(ctx)
	if err != nil {
		return err
	}
	if want := len(prepared) * batchSize; open != want {
		return fmt.Errorf("%d incidents are open, want %d", open, want)
	}
	if n := refused.Load(); n > 0 {
		st.note("%d batches were refused and sent again", n)
	}
	st.measured("ingest_grpc_per_s", float64(open)/took.Seconds())
	st.measured("ingest_grpc_drain_ratio", time.Since(began).Seconds()/took.Seconds())
	return nil
}

// publish is one client of gRPC. What is refused, it sends again after a while.
func publish(ctx context.Context, conn *grpc.ClientConn, prepared [][]byte, next, refused *atomic.Int64) error {
	for {
		i := int(next.Add(1) - 1)
		if i >= len(prepared) {
			return nil
		}
		call := metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+lab.Key(i%50))
		for {
			var answer []byte
			err := conn.Invoke(call, pb.EventService_BatchPublishEvents_FullMethodName, &prepared[i], &answer, grpc.ForceCodec(rawCodec{}))
			if code := status.Code(err); code != codes.ResourceExhausted && code != codes.Unavailable {
				if err != nil {
					return err
				}
				break
			}
			refused.Add(1)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(comeAgain):
			}
		}
	}
}

// batch is a request with events of the service i modulo 50.
func batch(i int) ([]byte, error) {
	m := &pb.BatchPublishEventsRequest{}
	for k := range batchSize {
		m.Events = append(m.Events, &pb.Event{
			Action: pb.Event_ACTION_TRIGGER, DedupKey: fmt.Sprintf("batch-%d-%d", i, k), Severity: pb.Event_SEVERITY_CRITICAL,
			Summary: fmt.Sprintf("Error rate of checkout above 5%% on web-%d", k), Source: fmt.Sprintf("web-%d.example.com", k),
		})
	}
	return proto.Marshal(m)
}
