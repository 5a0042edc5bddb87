package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/rpc"
)

const eventStream = "text/event-stream"

// isStream reports whether the call lasts as long as its caller wants.
func isStream(r *http.Request) bool {
	return r.Method == http.MethodGet && (strings.HasSuffix(r.URL.Path, ":watch") || strings.HasSuffix(r.URL.Path, ":export"))
}

// wantsEvents reports whether the caller wants a stream as server-sent events
// rather than as lines of JSON. A browser's EventSource cannot choose headers
// freely, so the query may say it too.
func wantsEvents(r *http.Request) bool {
	return isStream(r) && (strings.Contains(r.Header.Get("Accept"), eventStream) || r.URL.Query().Get("stream") == "sse")
}

// streams answers watches as server-sent events when that is wanted.
func (g *Gateway) streams(rest http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !wantsEvents(r) {
			rest.ServeHTTP(w, r)
			return
		}
		name, isTest := strings.CutPrefix(strings.TrimSuffix(r.URL.Path, ":watch"), "/v1/testPushes/")
		switch {
		case r.URL.Path == "/v1/incidents:watch":
			g.watchIncidents(w, r)
		case isTest && !strings.Contains(name, "/"):
			g.watchTest(w, r, "testPushes/"+name)
		default:
			rest.ServeHTTP(w, r)
		}
	})
}

// watchIncidents is WatchIncidents as server-sent events: the id of an event is
// its cursor, so that a browser resumes by itself with Last-Event-ID; the
// server's heartbeats move the cursor under an event of their own name.
// https://html.spec.whatwg.org/multipage/server-sent-events.html
func (g *Gateway) watchIncidents(w http.ResponseWriter, r *http.Request) {
	req := &pb.WatchIncidentsRequest{}
	if err := query(req, r.URL.Query()); err != nil {
		g.refuse(w, r, err)
		return
	}
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		req.Cursor = last
	}
	stream, err := pb.NewIncidentServiceClient(g.conn).WatchIncidents(g.outgoing(r.Context(), r), req)
	if err != nil {
		g.refuse(w, r, err)
		return
	}
	send(g, w, r, stream, func(m *pb.WatchIncidentsResponse) (id, event string) {
		if m.GetKind() == pb.WatchIncidentsResponse_KIND_HEARTBEAT {
			return m.GetCursor(), "heartbeat"
		}
		return m.GetCursor(), "change"
	})
}

// watchTest is WatchTestPush as server-sent events.
func (g *Gateway) watchTest(w http.ResponseWriter, r *http.Request, name string) {
	stream, err := pb.NewDeviceServiceClient(g.conn).WatchTestPush(g.outgoing(r.Context(), r), &pb.WatchTestPushRequest{Name: name})
	if err != nil {
		g.refuse(w, r, err)
		return
	}
	send(g, w, r, stream, func(*pb.TestPush) (id, event string) { return "", "state" })
}

// outgoing is the context of a call to the server in the name of the caller.
func (g *Gateway) outgoing(ctx context.Context, r *http.Request) context.Context {
	md := metadata.Pairs(rpc.ClientIPHeader, g.clientIP(r))
	for name, values := range r.Header {
		if key, ok := passIn(name); ok {
			md.Append(key, values...)
		}
	}
	if a := r.Header.Get("Authorization"); a != "" {
		md.Set("authorization", a)
	}
	return metadata.NewOutgoingContext(ctx, md)
}

// send writes the messages of a stream as events until it ends. What the server
// refuses before its first message is answered as any call is.
func send[M any, P interface {
	*M
	proto.Message
}](g *Gateway, w http.ResponseWriter, r *http.Request, stream grpc.ServerStreamingClient[M], name func(*M) (id, event string)) {
	m, err := stream.Recv()
	if err != nil && !errors.Is(err, io.EOF) {
		g.refuse(w, r, err)
		return
	}
	w.Header().Set("Content-Type", eventStream)
	w.Header().Set("X-Accel-Buffering", "no") // nginx would keep events back
	w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(w)
	for ; err == nil; m, err = stream.Recv() {
		// Who does not read is let go: he would hold the stream for ever.
		_ = control.SetWriteDeadline(now().Add(g.c.Patience.Write)) // not every writer has one
		id, event := name(m)
		body, jsonErr := protojson.Marshal(P(m))
		if jsonErr != nil {
			return
		}
		if writeEvent(w, id, event, body) != nil || control.Flush() != nil {
			return // the caller is gone
		}
	}
	if errors.Is(err, io.EOF) || r.Context().Err() != nil {
		return
	}
	// The stream broke: the caller is told why, and comes back with its last cursor.
	body, jsonErr := protojson.Marshal(status.Convert(err).Proto())
	if jsonErr == nil && writeEvent(w, "", "error", body) == nil {
		_ = control.Flush() // the caller is gone
	}
}

// writeEvent writes one event. protojson has no line breaks, but its spaces are
// not stable: the body is compacted.
func writeEvent(w io.Writer, id, event string, body []byte) error {
	var line strings.Builder
	if id != "" {
		line.WriteString("id: " + id + "\n")
	}
	line.WriteString("event: " + event + "\ndata: ")
	var compact json.RawMessage = body
	out, err := json.Marshal(compact)
	if err != nil {
		return err
	}
	line.Write(out)
	line.WriteString("\n\n")
	_, err = io.WriteString(w, line.String())
	return err
}

// refuse answers an error as the REST side does.
func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, err error) {
	g.fail(r.Context(), runtime.NewServeMux(), marshaler(), w, r, err)
}
