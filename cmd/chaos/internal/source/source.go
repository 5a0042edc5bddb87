// Package source is the monitors: each service has one, which triggers,
// repeats and ends alerts of a few keys, and sends every event until it is
// accepted, as monitors do. What it sends follows from its seed; when, from
// how fast it is answered.
package source

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/ledger"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/world"
)

const (
	keys        = 6 // of each service
	callTimeout = 4 * time.Second
	retryEvery  = 250 * time.Millisecond
)

// Options of a Source.
type Options struct {
	Seed      uint64
	Services  []world.Service
	Instances []*world.Instance
	Every     time.Duration // between two events of a service, on average
	Ledger    *ledger.Ledger
}

// Source is all monitors.
type Source struct {
	o      Options
	client *http.Client
	number atomic.Int64
	next   atomic.Int64 // which instance is asked next
}

// New makes the monitors; Run starts them.
func New(o Options) *Source {
	return &Source{o: o, client: &http.Client{Timeout: callTimeout, Transport: &http.Transport{
		MaxIdleConnsPerHost: stormers,
		DialContext:         (&net.Dialer{Timeout: callTimeout}).DialContext,
	}}}
}

// Run sends events until ctx ends, and then goes on with those that are not
// accepted yet until they are, or last ends.
func (s *Source) Run(ctx, last context.Context) {
	var all sync.WaitGroup
	for i, service := range s.o.Services {
		all.Go(func() {
			m := &monitor{
				s: s, service: service, rng: rand.New(rand.NewPCG(s.o.Seed, uint64(i)+100)), //nolint:gosec // to be repeatable is what it is for
				firing: map[string]bool{},
			}
			m.run(ctx, last)
		})
	}
	all.Wait()
	s.client.CloseIdleConnections()
}

// How hard a storm is: far more than two processors bear.
const (
	stormers  = 64
	stormKeys = 5
)

// Storm has the monitor of one service send as fast as it is answered, over many
// connections, and take no refusal to heart, until ctx ends. It returns how many
// events were sent.
func (s *Source) Storm(ctx context.Context, service world.Service) int64 {
	var all sync.WaitGroup
	var sent atomic.Int64
	for i := range stormers {
		all.Go(func() {
			m := &monitor{s: s, service: service}
			for n := i; ctx.Err() == nil; n++ {
				e := ledger.Event{
					Number: int(s.number.Add(1)), Service: service.ID, Key: fmt.Sprintf("storm-%d", n%stormKeys), Action: "trigger", Door: "http",
					Sent: time.Now(), Tries: 1,
				}
				refused, err := m.try(ctx, s.o.Instances[n%len(s.o.Instances)], e)
				switch {
				case err == nil:
					e.Accepted = time.Now()
				case refused:
					e.Refused = 1
				}
				s.o.Ledger.Event(e)
				sent.Add(1)
			}
		})
	}
	all.Wait()
	return sent.Load()
}

// monitor is that of one service.
type monitor struct {
	s       *Source
	service world.Service
	rng     *rand.Rand
	firing  map[string]bool
}

func (m *monitor) run(ctx, last context.Context) {
	for {
		wait := time.Duration(m.rng.ExpFloat64() * float64(m.s.o.Every))
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(wait, 5*m.s.o.Every)):
		}
		m.send(last, m.draw())
	}
}

// draw makes the next event.
func (m *monitor) draw() ledger.Event {
	key := fmt.Sprintf("key-%d", m.rng.IntN(keys))
	e := ledger.Event{Number: int(m.s.number.Add(1)), Service: m.service.ID, Key: key, Action: "trigger"}
	if m.firing[key] && m.rng.IntN(5) < 2 {
		e.Action = "resolve"
	}
	m.firing[key] = e.Action == "trigger"
	switch m.rng.IntN(5) {
	case 0:
		e.Door = "http"
	case 1, 2:
		e.Door = "rest"
	default:
		e.Door = "grpc"
	}
	if e.Door != "http" { // that one takes no id of the sender's
		e.Sender = fmt.Sprintf("%s-%d-%d", m.service.ID, m.s.o.Seed, e.Number)
	}
	return e
}

// send tries until the event is accepted, each time at another instance.
func (m *monitor) send(ctx context.Context, e ledger.Event) {
	defer func() { m.s.o.Ledger.Event(e) }()
	e.Sent = time.Now()
	for ctx.Err() == nil {
		in := m.s.o.Instances[int(m.s.next.Add(1))%len(m.s.o.Instances)]
		e.Tries++
		refused, err := m.try(ctx, in, e)
		if err == nil {
			e.Accepted = time.Now()
			return
		}
		if refused {
			e.Refused++
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryEvery):
		}
	}
}

// try sends once. refused says that the server answered, and with no.
func (m *monitor) try(ctx context.Context, in *world.Instance, e ledger.Event) (refused bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	base := "http://" + in.Clients.Address()
	switch e.Door {
	case "http":
		return m.post(ctx, base+"/integrations/"+m.service.Keys[0]+"/generic", http.StatusAccepted, map[string]any{
			"event_action": e.Action, "dedup_key": e.Key, "summary": "disk full", "severity": "critical", "source": m.service.ID,
		})
	case "rest":
		return m.post(ctx, base+"/v1/events:publish", http.StatusOK, map[string]any{"event": map[string]any{
			"action": "ACTION_" + map[string]string{"trigger": "TRIGGER", "resolve": "RESOLVE"}[e.Action], "dedupKey": e.Key,
			"summary": "disk full", "severity": "SEVERITY_CRITICAL", "source": m.service.ID, "senderId": e.Sender,
		}})
	}
	return m.publish(ctx, in.Door, e)
}

func (m *monitor) post(ctx context.Context, url string, want int, body any) (refused bool, err error) {
	text, err := json.Marshal(body)
	if err != nil {
		return false, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(text))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+m.service.Keys[1])
	res, err := m.s.client.Do(req)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 1<<16))
	if err != nil {
		return false, err
	}
	if res.StatusCode != want {
		return true, fmt.Errorf("answered %d %s", res.StatusCode, answer)
	}
	return false, nil
}

func (m *monitor) publish(ctx context.Context, door *grpc.ClientConn, e ledger.Event) (refused bool, err error) {
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+m.service.Keys[1])
	event := &pb.Event{
		Action: pb.Event_ACTION_TRIGGER, DedupKey: e.Key, Summary: "disk full", Severity: pb.Event_SEVERITY_CRITICAL, Source: m.service.ID, SenderId: e.Sender,
	}
	if e.Action == "resolve" {
		event.Action = pb.Event_ACTION_RESOLVE
	}
	answer, err := pb.NewEventServiceClient(door).BatchPublishEvents(ctx, &pb.BatchPublishEventsRequest{Events: []*pb.Event{event}})
	if err != nil {
		return false, err
	}
	if r := answer.GetResults(); len(r) != 1 || r[0].GetResult() != pb.PublishEventResponse_RESULT_ACCEPTED {
		return true, fmt.Errorf("answered %v", r)
	}
	return false, nil
}
