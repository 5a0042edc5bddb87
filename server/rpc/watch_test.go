package rpc_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

// watching opens a stream and reads its first message, a heartbeat with a cursor,
// unless it has something to say at once.
func (r *rig) watching(ctx context.Context, req *pb.WatchIncidentsRequest) grpc.ServerStreamingClient[pb.WatchIncidentsResponse] {
	r.t.Helper()
	s, err := r.incidents().WatchIncidents(ctx, req)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// next returns the next change.
func next(t *testing.T, s grpc.ServerStreamingClient[pb.WatchIncidentsResponse]) *pb.WatchIncidentsResponse {
	t.Helper()
	for {
		m, err := s.Recv()
		if err != nil {
			t.Fatalf("watch: %v", err)
		}
		if m.GetKind() == pb.WatchIncidentsResponse_KIND_CHANGE {
			return m
		}
	}
}

func TestWatch(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithTimeout(r.as(stakeholder), 20*time.Second)
	defer cancel()
	s := r.watching(ctx, &pb.WatchIncidentsRequest{})
	first, err := s.Recv()
	if err != nil || first.GetKind() != pb.WatchIncidentsResponse_KIND_HEARTBEAT || first.GetCursor() == "" {
		t.Fatalf("the first message is %v (%v)", first, err)
	}
	in := r.page("disk full")
	m := next(t, s)
	if m.GetIncident().GetName() != in.GetName() || m.GetIncident().GetRevision() != 1 || len(m.GetChanges()) == 0 || m.GetEventTime() == nil {
		t.Errorf("a new incident is told as %v", m)
	}
	if len(m.GetCursor()) > 1024 {
		t.Errorf("the cursor has %d characters", len(m.GetCursor()))
	}
	if _, err := r.incidents().ResolveIncident(r.as(responder), &pb.ResolveIncidentRequest{Name: in.GetName()}); err != nil {
		t.Fatal(err)
	}
	if m = next(t, s); m.GetIncident().GetState() != pb.Incident_STATE_RESOLVED {
		t.Errorf("its end is told as %v", m)
	}
	// From the very first cursor on, all of it comes again, at least its final state.
	if m = next(t, r.watching(ctx, &pb.WatchIncidentsRequest{Cursor: first.GetCursor()})); m.GetIncident().GetState() != pb.Incident_STATE_RESOLVED {
		t.Errorf("from the first cursor: %v", m)
	}
	// A list's cursor misses nothing that came after it began.
	list, err := r.incidents().ListIncidents(ctx, &pb.ListIncidentsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	in = r.page("disk slow")
	if m = next(t, r.watching(ctx, &pb.WatchIncidentsRequest{Cursor: list.GetWatchCursor()})); m.GetIncident().GetName() != in.GetName() {
		t.Errorf("behind a list: %v", m)
	}
	_, err = r.watching(ctx, &pb.WatchIncidentsRequest{Cursor: "rubbish"}).Recv()
	wants(t, err, codes.InvalidArgument, "INVALID_FIELD")
}

func TestWatchFilters(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithTimeout(r.as(responder), 20*time.Second)
	defer cancel()
	mine := r.watching(ctx, &pb.WatchIncidentsRequest{Assignees: []string{"users/me"}})
	search := r.watching(ctx, &pb.WatchIncidentsRequest{Services: []string{"services/search"}})
	for _, s := range []grpc.ServerStreamingClient[pb.WatchIncidentsResponse]{mine, search} {
		if _, err := s.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	in := r.page("disk full")
	if m := next(t, mine); m.GetIncident().GetName() != in.GetName() {
		t.Errorf("ben's first is %v", m)
	}
	// With this change it ceases to be ben's: he is told.
	if _, err := r.incidents().EscalateIncident(r.as(admin), &pb.EscalateIncidentRequest{Name: in.GetName()}); err != nil {
		t.Fatal(err)
	}
	if m := next(t, mine); m.GetIncident().GetAssignees()[0].GetUser() != "users/ann" {
		t.Errorf("it was taken from ben, and he is told %v", m)
	}
	// A note on what is ann's is not.
	if _, err := r.incidents().AddIncidentNote(r.as(admin), &pb.AddIncidentNoteRequest{Name: in.GetName(), Text: "x"}); err != nil {
		t.Fatal(err)
	}
	other, err := r.incidents().CreateIncident(r.as(admin), &pb.CreateIncidentRequest{Incident: &pb.Incident{Title: "slow", Service: "services/search"}})
	if err != nil {
		t.Fatal(err)
	}
	if m := next(t, mine); m.GetIncident().GetName() != other.GetName() {
		t.Errorf("ben is told of %v", m)
	}
	if m := next(t, search); m.GetIncident().GetName() != other.GetName() {
		t.Errorf("who watches search is told of %v", m)
	}
}

// An incident that cannot be read keeps nobody from hearing of the others, whether
// he watched when they came or comes back.
func TestWatchBesideADamagedIncident(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithTimeout(r.as(stakeholder), 20*time.Second)
	defer cancel()
	s := r.watching(ctx, &pb.WatchIncidentsRequest{})
	first, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	broken := r.page("disk full")
	if m := next(t, s); m.GetIncident().GetName() != broken.GetName() {
		t.Fatalf("the first is told as %v", m)
	}
	id := strings.TrimPrefix(broken.GetName(), "incidents/")
	rdb := r.redis.Client(t)
	for _, key := range rdb.Keys(ctx, "*:i:"+id).Val() {
		if err := rdb.Set(ctx, key, "damaged", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	fine := r.page("disk slow")
	for who, s := range map[string]grpc.ServerStreamingClient[pb.WatchIncidentsResponse]{
		"who watched":    s,
		"who comes back": r.watching(ctx, &pb.WatchIncidentsRequest{Cursor: first.GetCursor()}),
	} {
		if m := next(t, s); m.GetIncident().GetName() != fine.GetName() {
			t.Errorf("%s: told of %v, want %s", who, m, fine.GetName())
		}
	}
}

// Whoever comes back with the last cursor misses nothing, however often the
// line breaks, and wherever.
func TestWatchNeverSkips(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithTimeout(r.as(stakeholder), 60*time.Second)
	defer cancel()
	s := r.watching(ctx, &pb.WatchIncidentsRequest{})
	m, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	const writers, each = 4, 40
	var mu sync.Mutex
	final := map[string]string{} // by name, its last etag
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				in := r.page(fmt.Sprintf("%d-%d", w, i))
				if i%2 == 0 {
					var err error
					if in, err = r.incidents().AcknowledgeIncident(r.as(responder), &pb.AcknowledgeIncidentRequest{Name: in.GetName()}); err != nil {
						t.Errorf("acknowledge: %v", err)
						return
					}
				}
				mu.Lock()
				final[in.GetName()] = in.GetEtag()
				mu.Unlock()
			}
		})
	}
	written := make(chan struct{})
	go func() { wg.Wait(); close(written) }()
	seen, cursor := map[string]string{}, m.GetCursor()
	complete := func() bool {
		select {
		case <-written:
		default:
			return false
		}
		for name, etag := range final {
			if seen[name] != etag {
				return false
			}
		}
		return true
	}
	breaks := 0
	for ; !complete(); breaks++ {
		line, hangUp := context.WithCancel(ctx)
		s := r.watching(line, &pb.WatchIncidentsRequest{Cursor: cursor})
		for range 1 + rand.IntN(12) { //nolint:gosec // where the line breaks
			m, err := s.Recv()
			if err != nil {
				t.Fatalf("watch: %v after %d breaks, %d of %d seen", err, breaks, len(seen), len(final))
			}
			cursor = m.GetCursor()
			if in := m.GetIncident(); in != nil {
				seen[in.GetName()] = in.GetEtag()
			}
			if m.GetKind() == pb.WatchIncidentsResponse_KIND_HEARTBEAT || complete() {
				break // all that was there
			}
		}
		hangUp()
	}
	if breaks < 5 || len(seen) != writers*each {
		t.Errorf("%d incidents seen over %d breaks, want %d", len(seen), breaks, writers*each)
	}
}

func TestDrainEndsStreams(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithTimeout(r.as(stakeholder), 20*time.Second)
	defer cancel()
	s := r.watching(ctx, &pb.WatchIncidentsRequest{})
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	r.server.Drain()
	_, err := s.Recv()
	wants(t, err, codes.Unavailable, "SERVER_DRAINING")
	if retry(status.Convert(err)) == 0 {
		t.Error("the status does not say when to come back")
	}
}

// events reads server-sent events until it has seen n changes.
func events(t *testing.T, res *http.Response, n int) (ids []string, names []string) {
	t.Helper()
	lines := bufio.NewReader(res.Body)
	id, event := "", ""
	for len(names) < n {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			t.Fatalf("the stream ended after %d of %d changes", len(names), n)
		}
		if err != nil {
			t.Fatal(err)
		}
		switch field, value, _ := strings.Cut(strings.TrimSpace(line), ": "); field {
		case "id":
			id = value
		case "event":
			event = value
		case "data":
			if event == "heartbeat" {
				ids = append(ids[:0:0], id)
				continue
			}
			var m pb.WatchIncidentsResponse
			if err := protojson.Unmarshal([]byte(value), &m); err != nil {
				t.Fatalf("%q: %v", value, err)
			}
			ids, names = append(ids, id), append(names, m.GetIncident().GetName())
		}
	}
	return ids, names
}

func TestServerSentEventsResume(t *testing.T) {
	r := newRig(t)
	res := r.http(http.MethodGet, "/v1/incidents:watch?stream=sse", stakeholder, "")
	defer res.Body.Close()
	if got := res.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Fatalf("the stream is %q", got)
	}
	first, second, third := r.page("one"), r.page("two"), r.page("three")
	ids, names := events(t, res, 1)
	if names[0] != first.GetName() {
		t.Fatalf("the first change is of %s, want %s", names[0], first.GetName())
	}
	res.Body.Close()
	again := r.http(http.MethodGet, "/v1/incidents:watch", stakeholder, "", "Accept", "text/event-stream", "Last-Event-ID", ids[len(ids)-1])
	defer again.Body.Close()
	_, names = events(t, again, 2)
	got := map[string]bool{names[0]: true, names[1]: true}
	if !got[second.GetName()] || !got[third.GetName()] {
		t.Errorf("resumed with %v, want %s and %s", names, second.GetName(), third.GetName())
	}
}

// Who does not take what comes is cut, and goes on from the last cursor without a gap.
func TestSlowWatcherIsCut(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithTimeout(r.as(stakeholder), 60*time.Second)
	defer cancel()
	s := r.watching(ctx, &pb.WatchIncidentsRequest{})
	m, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	in := r.page("disk full")
	const notes = 600
	for i := range notes {
		if _, err := r.incidents().AddIncidentNote(r.as(responder), &pb.AddIncidentNoteRequest{Name: in.GetName(), Text: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	cursor, revision := m.GetCursor(), int64(0)
	for {
		m, err := s.Recv()
		if err != nil {
			wants(t, err, codes.ResourceExhausted, "WATCHER_TOO_SLOW")
			break
		}
		if cursor = m.GetCursor(); m.GetIncident() != nil {
			revision = m.GetIncident().GetRevision()
		}
		if revision == notes+1 {
			t.Fatal("everything was kept for a caller who did not read")
		}
	}
	for s := r.watching(ctx, &pb.WatchIncidentsRequest{Cursor: cursor}); revision < notes+1; {
		revision = next(t, s).GetIncident().GetRevision()
	}
}
