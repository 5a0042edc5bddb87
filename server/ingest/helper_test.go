package ingest_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/admission"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/ingest"
)

const key = "0123456789abcdefghijklmnopqrstuv"

// backend is the rest of the server: one integration, and an acceptor that
// keeps what it was given or fails as told.
type backend struct {
	integration ingest.Integration
	keyErr      error // of every look-up
	acceptErr   error
	hang        bool // until the context ends
	outcome     ingest.Outcome
	reason      string

	mu     sync.Mutex
	events []event.Event
	calls  int
}

func (b *backend) Integration(_ context.Context, k string) (ingest.Integration, error) {
	if b.keyErr != nil {
		return ingest.Integration{}, b.keyErr
	}
	if k != key {
		return ingest.Integration{}, fault.New(fault.Unauthenticated, "UNKNOWN_KEY", "the key is not known")
	}
	return b.integration, nil
}

func (b *backend) Accept(ctx context.Context, _ ingest.Integration, events []event.Event) ([]ingest.Accepted, error) {
	if b.hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if b.acceptErr != nil {
		return nil, b.acceptErr
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	b.events = append(b.events, events...)
	answers := make([]ingest.Accepted, len(events))
	for i, e := range events {
		answers[i] = ingest.Accepted{DedupKey: e.DedupKey, Action: e.Action, Result: ingest.OutcomeAccepted, Reason: b.reason}
		if b.outcome != "" {
			answers[i].Result = b.outcome
		}
	}
	return answers, nil
}

func (b *backend) handler(log io.Writer) *ingest.Handler {
	return ingest.New(ingest.Config{
		Keys: b, Acceptor: b, Gate: admission.New(admission.Config{Partition: func(string) int { return 0 }, Now: time.Now}), StoreTimeout: 50 * time.Millisecond,
		Now:   func() time.Time { return time.Date(2026, 11, 21, 10, 15, 40, 0, time.UTC) },
		NewID: func() string { return "made-by-the-server" },
		Log:   slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
}

// call sends one request; header is name, value, name, value.
func (b *backend) call(t *testing.T, method, path, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	b.handler(io.Discard).ServeHTTP(w, r)
	if !json.Valid(w.Body.Bytes()) || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%s answers %q %q, want JSON", method, w.Header().Get("Content-Type"), w.Body)
	}
	return w
}

func (b *backend) post(t *testing.T, path, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	return b.call(t, http.MethodPost, path, body, header...)
}

func wantStatus(t *testing.T, w *httptest.ResponseRecorder, want int) {
	t.Helper()
	if w.Code != want {
		t.Fatalf("status = %d, want %d; body %s", w.Code, want, w.Body)
	}
}

func wantBody(t *testing.T, w *httptest.ResponseRecorder, status int, want string) {
	t.Helper()
	wantStatus(t, w, status)
	if got := w.Body.String(); got != want {
		t.Errorf("body = %s\nwant %s", got, want)
	}
}
