package ingest

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/server/admission"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/fault"
)

// Integration is the credential that a request came with, and what belongs to it.
type Integration struct {
	ID        string
	ServiceID string
	Source    string // the configured source; empty: whichever the path names
	Options   Options
	Disabled  bool // the key is known, but must not be used
}

// Sender is the integration as the gate counts it.
func (i Integration) Sender() admission.Sender {
	return admission.Sender{Service: i.ServiceID, Key: i.ID}
}

// Keys finds the integration of a key.
type Keys interface {
	// Integration returns the integration of a well-formed key. An unknown
	// key is an Unauthenticated fault.
	Integration(ctx context.Context, key string) (Integration, error)
}

// Outcome is what became of one event.
type Outcome string

// The outcomes. Whether an accepted event was a repeat is on its incident.
const (
	OutcomeAccepted  Outcome = "accepted"
	OutcomeDuplicate Outcome = "duplicate" // this delivery was here before
	OutcomeIgnored   Outcome = "ignored"   // a rule dropped it
	OutcomeRejected  Outcome = "rejected"
)

// Accepted is the answer about one event.
type Accepted struct {
	DedupKey string
	Action   event.Action
	Result   Outcome
	Reason   string // why it was ignored or rejected
}

// Acceptor takes events over.
type Acceptor interface {
	// Accept returns one answer for each event, in order, when all that it
	// accepted is durable. After an error nothing may be assumed, and the
	// sender comes again: Exhausted when too much comes in, Unavailable when
	// the store is out.
	Accept(ctx context.Context, from Integration, events []event.Event) ([]Accepted, error)
}

// Gate admits requests.
type Gate interface {
	// Stranger admits a request whose sender is not known yet. What it returns is
	// called when he is, or has his answer. The error is an Exhausted fault.
	Stranger(address string, size int64) (known func(), err error)
	// Enter admits a request of a sender. What it returns is called when he has
	// his answer. The error is an Exhausted fault.
	Enter(from admission.Sender, size int64) (leave func(), err error)
}

// Config is what a Handler needs.
type Config struct {
	Keys     Keys
	Acceptor Acceptor
	// Gate says which requests there is room for. It is asked before a body is
	// read that need not be read to know its sender.
	Gate Gate
	Now  func() time.Time
	Log  *slog.Logger
	// NewID makes a name that no other has: of requests, and dedup keys of
	// Events v2. nil: 128 random bits in hex.
	NewID func() string
	// Pause is how long a sender that the gate refuses waits for its answer: one
	// that comes again at once takes everybody's time. 0: it does not.
	Pause time.Duration
	// StoreTimeout is how long looking up the key and accepting may take. 0: 2 s.
	StoreTimeout time.Duration
}

// Handler serves the doors for events: POST /v2/enqueue as PagerDuty's Events
// v2, POST /integrations/{key}/{source} and POST /integrations/{key}. The key
// may also come in a header or the query, see the function credential; the
// path is then /integrations/{source} or /integrations.
type Handler struct {
	Config

	paused chan struct{} // who waits for a refusal
}

// mostPaused bounds who waits for a refusal; more are refused at once.
const mostPaused = 4096

// New returns a Handler.
func New(c Config) *Handler {
	if c.NewID == nil {
		c.NewID = newID
	}
	if c.StoreTimeout == 0 {
		c.StoreTimeout = 2 * time.Second
	}
	return &Handler{Config: c, paused: make(chan struct{}, mostPaused)}
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, by its documentation
	return hex.EncodeToString(b[:])
}

// ServeHTTP implements http.Handler. Paths, queries and headers are never
// logged: they hold keys.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get("X-Request-Id")
	if !isRequestID(id) {
		id = h.NewID()
	}
	w.Header().Set("X-Request-Id", id)
	a := h.route(r, id)
	a.write(w)
	level := slog.LevelDebug
	switch {
	case fault.KindOf(a.err) == fault.Exhausted: // thousands a second: the gate says it once a minute
	case a.status >= http.StatusInternalServerError, a.status >= http.StatusBadRequest && a.integration != "":
		level = slog.LevelWarn // a page that did not come in, of somebody we know
	}
	if !h.Log.Enabled(r.Context(), level) {
		return
	}
	h.Log.LogAttrs(r.Context(), level, "events answered", slog.Int("status", a.status), slog.String("request", id),
		slog.String("integration", a.integration), slog.Any("error", a.err))
}

func (h *Handler) route(r *http.Request, id string) answer {
	path := strings.Trim(r.URL.Path, "/")
	rest, ours := strings.CutPrefix(path, "integrations")
	ours = ours && (rest == "" || rest[0] == '/') && strings.Count(rest, "/") <= 2
	if !ours && path != "v2/enqueue" {
		return problem(http.StatusNotFound, "There is nothing at this path")
	}
	if r.Method != http.MethodPost && r.Method != http.MethodPut { // Grafana can be set to PUT
		a := problem(http.StatusMethodNotAllowed, "Events are sent with POST")
		a.allow = "POST, PUT"
		return a
	}
	if !ours {
		return h.enqueue(r)
	}
	return h.deliver(r, strings.TrimPrefix(rest, "/"), id)
}

// deliver takes a delivery at /integrations/<path>.
func (h *Handler) deliver(r *http.Request, path, id string) answer {
	key, name := credential(r, path)
	if key == "" {
		return unauthorized()
	}
	from, err := h.integration(r.Context(), key)
	if fault.KindOf(err) == fault.Unauthenticated {
		return unauthorized()
	}
	if err != nil {
		return failure(err, http.StatusServiceUnavailable)
	}
	leave, err := h.Gate.Enter(from.Sender(), r.ContentLength)
	if err != nil {
		h.pause(r.Context())
		return failure(err, http.StatusServiceUnavailable)
	}
	defer leave()
	a := h.take(r, from, name, id)
	a.integration = from.ID
	return a
}

func (h *Handler) take(r *http.Request, from Integration, name, id string) answer {
	if from.Disabled {
		return problem(http.StatusForbidden, "The integration is disabled")
	}
	if name != "" && from.Source != "" && name != from.Source {
		return problem(http.StatusBadRequest, "The integration is of another source", "it is of the source "+from.Source)
	}
	name = cmp.Or(name, from.Source, "generic")
	source, ok := Lookup(name)
	if !ok {
		return problem(http.StatusBadRequest, "There is no such source", "the sources are "+strings.Join(Names(), ", "))
	}
	body, err := Read(r, source.Limit)
	if err != nil {
		return refusal(err)
	}
	query := r.URL.Query()
	query.Del("key")
	result, err := source.Map(Request{
		Body: body, Header: r.Header, Query: query, Options: from.Options, Now: h.Now(),
		ID: id, Integration: from.ID, NewKey: h.NewID(),
	})
	if err != nil {
		return refusal(err)
	}
	if len(result.Events) == 0 {
		return processed(nil)
	}
	accepted, err := h.accept(r.Context(), from, result.Events)
	if err != nil {
		return failure(err, http.StatusServiceUnavailable)
	}
	return processed(accepted)
}

// enqueue is PagerDuty's Events v2: the key is in the body, and so are the
// words of every answer.
func (h *Handler) enqueue(r *http.Request) answer {
	m, err := h.readV2(r)
	if err != nil {
		return refusalV2(err)
	}
	var problems []string
	switch {
	case blank(m.RoutingKey):
		problems = []string{"'routing_key' is missing or blank"}
	case len(m.RoutingKey) != KeyLength:
		problems = []string{"Length of 'routing_key' is incorrect (should be 32 characters)"}
	}
	if problems = append(problems, m.problems()...); len(problems) == 0 && !WellFormedKey(string(m.RoutingKey)) {
		problems = []string{"Invalid routing key"}
	}
	var from Integration
	if WellFormedKey(string(m.RoutingKey)) {
		from, err = h.integration(r.Context(), string(m.RoutingKey))
	}
	switch {
	case len(problems) > 0: // the integration is for the log only: whose page was refused
		a := refusalV2(invalidEvent(problems...))
		a.integration = from.ID
		return a
	case fault.KindOf(err) == fault.Unauthenticated:
		return refusalV2(invalidEvent("Invalid routing key")) // and no 202, so that a wrong key is noticed
	case err != nil:
		return failureV2(err)
	}
	leave, err := h.Gate.Enter(from.Sender(), r.ContentLength)
	if err != nil {
		h.pause(r.Context())
		return failureV2(err)
	}
	defer leave()
	a := h.takeV2(r.Context(), from, m)
	a.integration = from.ID
	return a
}

// readV2 reads a message, whose sender is a stranger until it is read.
func (h *Handler) readV2(r *http.Request) (v2Message, error) {
	known, err := h.Gate.Stranger(addressOf(r), r.ContentLength)
	if err != nil {
		h.pause(r.Context())
		return v2Message{}, err
	}
	defer known()
	body, err := Read(r, event.MaxBodyV2)
	if err == nil {
		body, err = prepare(body)
	}
	if err != nil {
		return v2Message{}, err
	}
	return parseV2(body)
}

// pause lets a sender wait for its refusal.
func (h *Handler) pause(ctx context.Context) {
	if h.Pause == 0 {
		return
	}
	select {
	case h.paused <- struct{}{}:
		defer func() { <-h.paused }()
	default:
		return
	}
	t := time.NewTimer(h.Pause)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// addressOf returns where a connection comes from, without its port.
func addressOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

func (h *Handler) takeV2(ctx context.Context, from Integration, m v2Message) answer {
	if from.Disabled {
		a := refusalV2(invalidEvent("The integration of this routing key is disabled"))
		a.status = http.StatusForbidden
		return a
	}
	key := string(m.DedupKey) // echoed as sent
	if blank(m.DedupKey) {
		key = h.NewID()
	}
	e, err := m.event(key)
	if err != nil {
		return refusalV2(invalidEvent(err.Error()))
	}
	accepted, err := h.accept(ctx, from, []event.Event{e})
	if err != nil {
		return failureV2(err)
	}
	if len(accepted) == 1 && accepted[0].Result == OutcomeRejected {
		return refusalV2(invalidEvent(accepted[0].Reason))
	}
	return answer{status: http.StatusAccepted, body: v2Success{Status: "success", Message: "Event processed", DedupKey: key}}
}

// integration and accept give the store its time. A sender that hangs up
// meanwhile does not take its event back.
func (h *Handler) integration(ctx context.Context, key string) (Integration, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.StoreTimeout)
	defer cancel()
	return h.Keys.Integration(ctx, key)
}

func (h *Handler) accept(ctx context.Context, from Integration, events []event.Event) ([]Accepted, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.StoreTimeout)
	defer cancel()
	return h.Acceptor.Accept(ctx, from, events)
}
