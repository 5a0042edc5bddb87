package rpc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/rpc"
)

var golden = flag.Bool("update", false, "write the golden files anew")

func retry(s *status.Status) time.Duration {
	for _, d := range s.Details() {
		if i, ok := d.(*errdetails.RetryInfo); ok {
			return i.GetRetryDelay().AsDuration()
		}
	}
	return 0
}

// kinds are one fault of each kind, as lower layers make them.
var kinds = []struct {
	name   string
	err    error
	code   codes.Code
	reason string
	http   int
	retry  string
}{
	{"internal", fault.New(fault.Internal, "BUG", "secret inner text"), codes.Internal, "INTERNAL", 500, ""},
	{"no kind", fmt.Errorf("dial redis at 10.1.2.3: %w", errors.New("secret inner text")), codes.Internal, "INTERNAL", 500, ""},
	{"panic", nil, codes.Internal, "INTERNAL", 500, ""},
	{"invalid", fault.InvalidField("event.summary", "must have 1 to %d characters", 1024), codes.InvalidArgument, "INVALID_FIELD", 400, ""},
	{"unauthenticated", fault.New(fault.Unauthenticated, "CREDENTIAL_INVALID", "the credential is unknown"), codes.Unauthenticated, "CREDENTIAL_INVALID", 401, ""},
	{"denied", fault.New(fault.Denied, "PERMISSION_DENIED", "you may not"), codes.PermissionDenied, "PERMISSION_DENIED", 403, ""},
	{"not found", fmt.Errorf("read incident x: %w", fault.New(fault.NotFound, "INCIDENT_NOT_FOUND", "there is no incident of that name", "incident", "x")), codes.NotFound, "INCIDENT_NOT_FOUND", 404, ""},
	{"exists", fault.New(fault.Exists, "ALREADY_EXISTS", "there is a user of that name already", "name", "users/ann"), codes.AlreadyExists, "ALREADY_EXISTS", 409, ""},
	{"precondition", fault.New(fault.Precondition, "INCIDENT_RESOLVED", "the incident is resolved", "incident", "x"), codes.FailedPrecondition, "INCIDENT_RESOLVED", 400, ""},
	{"conflict", fault.New(fault.Conflict, "ETAG_STALE", "the incident has changed since it was read", "incident", "x"), codes.Aborted, "REVISION_MOVED", 409, ""},
	{"exhausted", fault.New(fault.Exhausted, "INBOX_FULL", "too many events are waiting").After(1500 * time.Millisecond), codes.ResourceExhausted, "INBOX_FULL", 429, "2"},
	{"unavailable", fault.New(fault.Unavailable, "STORE_UNAVAILABLE", "the store does not answer").Because(errors.New("secret inner text")), codes.Unavailable, "STORE_UNAVAILABLE", 503, "1"},
	{"out of range", fault.New(fault.OutOfRange, "CURSOR_TOO_OLD", "the cursor lies before what is kept"), codes.OutOfRange, "CURSOR_TOO_OLD", 400, ""},
}

// Every kind of fault leaves by both doors as the contract says, and what is
// internal stays inside.
func TestErrorKinds(t *testing.T) {
	r := newRig(t)
	event := &pb.Event{Action: pb.Event_ACTION_TRIGGER, Summary: "disk full", DedupKey: "a"}
	for _, c := range kinds {
		t.Run(c.name, func(t *testing.T) {
			r.acceptor.mu.Lock()
			r.acceptor.err = c.err
			r.acceptor.mu.Unlock()
			if c.name == "panic" {
				r.acceptor.mu.Lock() // what panics here is a test's own: an outcome that gives no answer
				r.acceptor.err = errPanic
				r.acceptor.mu.Unlock()
			}
			ctx := metadata.AppendToOutgoingContext(r.as(monitor), rpc.RequestIDHeader, "req-"+strings.ReplaceAll(c.name, " ", "-"))
			_, err := pb.NewEventServiceClient(r.conn).PublishEvent(ctx, &pb.PublishEventRequest{Event: event})
			s := wants(t, err, c.code, c.reason)
			if strings.Contains(fmt.Sprint(s.Message(), s.Details()), "secret") || strings.Contains(s.Message(), "redis") {
				t.Errorf("inner text leaves the house: %v", s)
			}
			res := r.http(http.MethodPost, "/v1/events:publish", monitor, `{"event":{"action":"ACTION_TRIGGER","summary":"disk full","dedupKey":"a"}}`,
				"X-Request-Id", "req-"+strings.ReplaceAll(c.name, " ", "-"))
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != c.http || res.Header.Get("Retry-After") != c.retry {
				t.Errorf("HTTP %d with Retry-After %q, want %d with %q", res.StatusCode, res.Header.Get("Retry-After"), c.http, c.retry)
			}
			if id := res.Header.Get("X-Request-Id"); id != "req-"+strings.ReplaceAll(c.name, " ", "-") {
				t.Errorf("the request id comes back as %q", id)
			}
			compare(t, "error_"+strings.ReplaceAll(c.name, " ", "_")+".json", body)
		})
	}
}

var errPanic = errors.New("panic here")

// compare holds a JSON body against its golden file, whatever the spaces.
func compare(t *testing.T, name string, body []byte) {
	t.Helper()
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, body, "", "  "); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	var flat bytes.Buffer
	if err := json.Compact(&flat, body); err != nil {
		t.Fatal(err)
	}
	pretty.Reset()
	if err := json.Indent(&pretty, flat.Bytes(), "", "  "); err != nil {
		t.Fatal(err)
	}
	pretty.WriteByte('\n')
	path := filepath.Join("testdata", name)
	if *golden {
		if err := os.WriteFile(path, pretty.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := pretty.String(); got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

// What breaks the rules of a message is named field by field.
func TestViolationsNameTheirFields(t *testing.T) {
	r := newRig(t)
	_, err := r.incidents().CreateIncident(r.as(admin), &pb.CreateIncidentRequest{
		Incident:  &pb.Incident{Service: "services/UPPER", Links: []*pb.Link{{Uri: "ftp://x"}}},
		RequestId: "no uuid",
	})
	s := wants(t, err, codes.InvalidArgument, "INVALID_FIELD")
	got := map[string]bool{}
	for _, d := range s.Details() {
		if b, ok := d.(*errdetails.BadRequest); ok {
			for _, v := range b.GetFieldViolations() {
				if v.GetDescription() == "" {
					t.Errorf("%s: nothing says how to mend it", v.GetField())
				}
				got[v.GetField()] = true
			}
		}
	}
	for _, want := range []string{"incident.service", "incident.links[0].uri", "request_id", "incident.title"} {
		if !got[want] {
			t.Errorf("nothing names the field %s; named are %v", want, got)
		}
	}
}

func TestLimits(t *testing.T) {
	r := newRig(t, func(c *rpc.Config) { c.Limits = rpc.Limits{PerSecond: 1, Burst: 3, MaxMessage: 10_000, Streams: 1} })
	get := func() error {
		_, err := r.incidents().GetIncident(r.as(responder), &pb.GetIncidentRequest{Name: "incidents/nosuch"})
		return err
	}
	for range 3 {
		wants(t, get(), codes.NotFound, "INCIDENT_NOT_FOUND")
	}
	s := wants(t, get(), codes.ResourceExhausted, "RATE_LIMIT")
	if d := retry(s); d <= 0 || d > time.Second {
		t.Errorf("wait for %s", d)
	}
	if _, err := r.incidents().ListIncidents(r.as(admin), &pb.ListIncidentsRequest{}); err != nil {
		t.Errorf("one caller's haste is held against another: %v", err)
	}
	_, err := r.incidents().AddIncidentNote(r.as(admin), &pb.AddIncidentNoteRequest{Name: "incidents/x", Text: strings.Repeat("x", 20_000)})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a message of 20 kB: %v", err)
	}
	ctx, cancel := context.WithCancel(r.as(stakeholder))
	defer cancel()
	one := r.watching(ctx, &pb.WatchIncidentsRequest{})
	if _, err := one.Recv(); err != nil {
		t.Fatal(err)
	}
	_, err = r.watching(ctx, &pb.WatchIncidentsRequest{}).Recv()
	wants(t, err, codes.ResourceExhausted, "STREAM_LIMIT")
}

func TestWrongCredentials(t *testing.T) {
	r := newRig(t)
	for name, header := range map[string]string{
		"unknown token": "Bearer tcs_" + strings.Repeat("a", 43), "unknown device": "Bearer tcd_nosuch_" + strings.Repeat("a", 43),
		"unknown key": "Bearer " + strings.Repeat("a", 32), "rubbish": "Bearer rubbish", "too long": "Bearer " + strings.Repeat("x", 20_000),
	} {
		t.Run(name, func(t *testing.T) {
			ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", header)
			_, err := r.incidents().ListIncidents(ctx, &pb.ListIncidentsRequest{})
			if name == "too long" && status.Code(err) != codes.OK { // the transport may refuse it first
				return
			}
			wants(t, err, codes.Unauthenticated, "CREDENTIAL_INVALID")
		})
	}
	_, err := r.incidents().ListIncidents(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Basic YTpi"), &pb.ListIncidentsRequest{})
	wants(t, err, codes.Unauthenticated, "CREDENTIAL_MISSING")
}
