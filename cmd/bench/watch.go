package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	tocsinv1 "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/cmd/internal/lab"
)

const (
	watchers = 5000 // phones, each with a connection of its own
	changes  = 50   // incidents that begin while they watch
	// comeAtOnce is how many phones connect at the same time.
	comeAtOnce = 100
)

func watchScenes() []scene {
	return []scene{{name: "watch", play: playWatch, figures: []figure{
		atMost("watch_fanout_p50_ms", 500, "ms", "5,000 phones watching over gRPC: from the answer to a monitor until the last phone has the new incident, of 50"),
		atMost("watch_fanout_max_ms", 500, "ms", "the slowest of them"),
		atMost("watch_kb_per_watcher", 30, "KB", "what the server's memory grew by when they came, by each"),
	}}}
}

// sight counts the phones that have seen each incident.
type sight struct {
	mu    sync.Mutex
	seen  map[string]int
	all   map[string]time.Time // when the last phone saw it
	phone int                  // how many there are
	news  chan struct{}
}

func (s *sight) saw(incident string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[incident]++; s.seen[incident] == s.phone {
		s.all[incident] = time.Now()
		select {
		case s.news <- struct{}{}:
		default:
		}
	}
}

// seenByAll is how many incidents every phone has.
func (s *sight) seenByAll() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

func playWatch(ctx context.Context, st *stage) error {
	n := st.some(watchers)
	err := st.open(ctx, setting{organisation: lab.Organisation{Services: 1, People: n, Devices: 1, FirstPage: 24 * time.Hour}})
	if err != nil {
		return err
	}
	if err := st.rest(ctx, 2*time.Second); err != nil {
		return err
	}
	before, err := st.server.Usage()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &sight{seen: map[string]int{}, all: map[string]time.Time{}, phone: n, news: make(chan struct{}, 1)}
	var phones sync.WaitGroup
	defer phones.Wait()
	defer cancel()
	var here atomic.Int64
	door := make(chan struct{}, comeAtOnce)
	var lost atomic.Pointer[error]
	for i := range n {
		phones.Go(func() {
			door <- struct{}{}
			began := func() {
				here.Add(1)
				<-door
			}
			if err := st.watch(ctx, i, began, s.saw); err != nil && ctx.Err() == nil {
				lost.Store(&err)
			}
		})
	}
	well := func() error {
		if err := lost.Load(); err != nil {
			return *err
		}
		return nil
	}
	err = st.until(ctx, "all phones watch", time.Minute, 50*time.Millisecond, func() (bool, error) { return int(here.Load()) == n, well() })
	if err != nil {
		return fmt.Errorf("%d of %d: %w", here.Load(), n, err)
	}
	after, err := st.server.Usage()
	if err != nil {
		return err
	}
	st.measured("watch_kb_per_watcher", float64(after.RSS-before.RSS)/1000/float64(n))
	var late []float64
	err = st.profiled(ctx, func() error {
		late, err = st.changes(ctx, s, well)
		return err
	})
	if err != nil {
		return err
	}
	st.measured("watch_fanout_p50_ms", quantile(late, 0.5))
	st.measured("watch_fanout_max_ms", late[len(late)-1])
	return nil
}

// changes begins incidents, one after the other has reached every phone, and
// returns how many milliseconds each took, sorted.
func (st *stage) changes(ctx context.Context, s *sight, well func() error) ([]float64, error) {
	c, err := lab.Dial(ctx, st.server.Listen)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	e := lab.NewEvent(0)
	var late []float64
	for i := range changes {
		status, err := c.Call(e.Request(int64(i)))
		if err == nil && status != http.StatusAccepted {
			err = fmt.Errorf("an event was answered %d", status)
		}
		if err != nil {
			return nil, err
		}
		began := time.Now()
		err = st.until(ctx, "all phones have it", 30*time.Second, 5*time.Millisecond, func() (bool, error) { return s.seenByAll() > i, well() })
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		for incident, at := range s.all {
			if s.seen[incident] == s.phone { // not counted yet
				s.seen[incident]++
				late = append(late, ms(at.Sub(began)))
			}
		}
		s.mu.Unlock()
	}
	slices.Sort(late)
	return late, nil
}

// dialFrom dials from one of many addresses of loopback: one alone may not have
// so many connections.
func dialFrom(person int) func(context.Context, string) (net.Conn, error) {
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+person%200))}}
	return func(ctx context.Context, to string) (net.Conn, error) { return d.DialContext(ctx, "tcp", to) }
}

// watch is one phone, until ctx ends.
func (st *stage) watch(ctx context.Context, person int, began func(), saw func(incident string)) error {
	conn, err := grpc.NewClient("passthrough:///"+st.server.Listen, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithReadBufferSize(4<<10), grpc.WithWriteBufferSize(4<<10), // five thousand are in this process
		grpc.WithStaticStreamWindowSize(64<<10), // as libraries of phones have it: others ping with what they receive, to grow the window
		grpc.WithContextDialer(dialFrom(person)))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+lab.Credential(person, 0))
	stream, err := tocsinv1.NewIncidentServiceClient(conn).WatchIncidents(ctx, &tocsinv1.WatchIncidentsRequest{})
	if err != nil {
		return err
	}
	for first := true; ; first = false {
		m, err := stream.Recv()
		if err != nil {
			return errors.Join(err, ctx.Err())
		}
		if first {
			began()
		}
		if slices.Contains(m.GetChanges(), tocsinv1.TimelineEntry_TYPE_TRIGGERED) {
			saw(m.GetIncident().GetName())
		}
	}
}
