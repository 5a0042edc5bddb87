package app

import (
	"context"
	"encoding/hex"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/config"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
)

// spans is a collector of traces.
type spans struct {
	collector.UnimplementedTraceServiceServer

	mu    sync.Mutex
	names map[string][]string // by trace id
}

func (s *spans) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range req.GetResourceSpans() {
		for _, scope := range r.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				id := hex.EncodeToString(span.GetTraceId())
				s.names[id] = append(s.names[id], span.GetName())
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// TestEventPageAndAcknowledgementAreOneTrace sends an event that is part of a
// monitor's trace, and finds in the collector what became of it.
func TestEventPageAndAcknowledgementAreOneTrace(t *testing.T) {
	t.Parallel()
	all := &spans{names: map[string][]string{}}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	collecting := grpc.NewServer()
	collector.RegisterTraceServiceServer(collecting, all)
	go func() { _ = collecting.Serve(l) }() // ends with Stop
	t.Cleanup(collecting.Stop)

	w := newWorld(t, redistest.Start(t).URL())
	in := w.start(func(o *Options) { o.Config.Tracing = config.Tracing{Endpoint: "http://" + l.Addr().String(), Ratio: 1} })
	in.apply(organisation)
	ann := in.bring(w, "ann", pb.Device_PLATFORM_IOS)
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+in.doors.Listen+"/integrations/"+key+"/generic",
		strings.NewReader(`{"event_action":"trigger","dedup_key":"db","summary":"disk full","severity":"critical","source":"test"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Traceparent", "00-"+id+"-00f067aa0ba902b7-01")
	if status, body := in.do(req); status != http.StatusAccepted {
		t.Fatalf("event answered %d %s, want 202", status, body)
	}
	ann.acknowledge(gets(t, ann.Phone, "the page", page))
	in.stop() // what has been recorded is exported

	all.mu.Lock()
	defer all.mu.Unlock()
	for _, want := range []string{"http POST", "page", "acknowledge"} {
		if !slices.Contains(all.names[id], want) {
			t.Errorf("the trace of the event has the spans %q, want %q too", all.names[id], want)
		}
	}
}
