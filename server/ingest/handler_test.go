package ingest_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-oncall/tocsin/server/admission"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/ingest"
)

const native = `{"event_action":"trigger","dedup_key":"my/key","summary":"hello","source":"me"}`

func v2(fields string) string { return `{"routing_key":"` + key + `",` + fields + `}` }

const v2Payload = `"payload":{"summary":"s","source":"h","severity":"error"}`

func TestEnqueueAnswersLikePagerDuty(t *testing.T) {
	t.Parallel()
	refused := func(errs string) string {
		return `{"status":"invalid event","message":"Event object is invalid","errors":[` + errs + `]}`
	}
	const severities = `"'payload.severity' is invalid (must be one of the following: 'critical', 'warning', 'error' or 'info')"`
	for _, tc := range []struct {
		name, body string
		status     int
		want       string
	}{
		{"trigger", v2(`"event_action":"trigger","dedup_key":"d",` + v2Payload), 202, `{"status":"success","message":"Event processed","dedup_key":"d"}`},
		{"trigger without a key", v2(`"event_action":"trigger",` + v2Payload), 202, `{"status":"success","message":"Event processed","dedup_key":"made-by-the-server"}`},
		{"acknowledge needs no payload", v2(`"event_action":"acknowledge","dedup_key":"d"`), 202, `{"status":"success","message":"Event processed","dedup_key":"d"}`},
		{"resolve with a payload that is wrong", v2(`"event_action":"resolve","dedup_key":"d","payload":{"severity":"banana"}`), 202, `{"status":"success","message":"Event processed","dedup_key":"d"}`},
		{"severity in capitals", v2(`"event_action":"trigger","dedup_key":"d","payload":{"summary":"s","source":"h","severity":"CRITICAL"}`), 202, `{"status":"success","message":"Event processed","dedup_key":"d"}`},
		{"key echoed as sent", v2(`"event_action":"resolve","dedup_key":" d\n"`), 202, `{"status":"success","message":"Event processed","dedup_key":" d\n"}`},
		{"last of a repeated payload", v2(`"event_action":"trigger","payload":{"summary":"s","severity":"info"},"payload":{"source":"h"}`), 400, refused(`"'payload.summary' is missing or blank","'payload.severity' is missing or blank"`)},
		{"no routing key", `{"event_action":"resolve","dedup_key":"d"}`, 400, refused(`"'routing_key' is missing or blank"`)},
		{"short routing key", `{"routing_key":"abc","event_action":"resolve","dedup_key":"d"}`, 400, refused(`"Length of 'routing_key' is incorrect (should be 32 characters)"`)},
		{"unknown routing key", strings.Replace(v2(`"event_action":"resolve","dedup_key":"d"`), "0", "z", 1), 400, refused(`"Invalid routing key"`)},
		{"routing key of other letters", strings.Replace(v2(`"event_action":"resolve","dedup_key":"d"`), "a", "A", 1), 400, refused(`"Invalid routing key"`)},
		{"no action", v2(`"dedup_key":"d"`), 400, refused(`"'event_action' is missing or blank"`)},
		{"unknown action", v2(`"event_action":"page"`), 400, refused(`"'event_action' is invalid (must be one of the following: 'trigger', 'acknowledge' or 'resolve')"`)},
		{"resolve without a key", v2(`"event_action":"resolve"`), 400, refused(`"'dedup_key' is missing or blank"`)},
		{"key too long", v2(`"event_action":"resolve","dedup_key":"` + strings.Repeat("x", 256) + `"`), 400, refused(`"Length of 'dedup_key' is incorrect (should be at most 255 characters)"`)},
		{"no payload", v2(`"event_action":"trigger"`), 400, refused(`"'payload' is missing or blank"`)},
		{"payload of a wrong type", v2(`"event_action":"trigger","payload":[]`), 400, refused(`"'payload' is missing or blank"`)},
		{"empty payload", v2(`"event_action":"trigger","payload":{}`), 400, refused(`"'payload.summary' is missing or blank","'payload.source' is missing or blank","'payload.severity' is missing or blank"`)},
		{"unknown severity", v2(`"event_action":"trigger","payload":{"summary":"s","source":"h","severity":"banana"}`), 400, refused(severities)},
		{"cut body", v2(`"event_action":"resolve"`)[:40], 400, `{"status":"Unrecognized object","message":"Event object format is unrecognized","errors":["JSON parse error"]}`},
		{"no object", `[]`, 400, refused(`"Event must be a JSON object"`)},
		{"empty body", ``, 400, refused(`"the body is empty"`)},
		{"too deep", v2(`"x":` + strings.Repeat("[", 64) + strings.Repeat("]", 64)), 400, `{"status":"Unrecognized object","message":"Event object format is unrecognized","errors":["JSON parse error"]}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := &backend{}
			wantBody(t, b.post(t, "/v2/enqueue", tc.body), tc.status, tc.want)
			if accepted := tc.status == http.StatusAccepted; accepted != (len(b.events) == 1) {
				t.Errorf("the acceptor got %d events with status %d", len(b.events), tc.status)
			}
		})
	}
}

func TestEnqueueSize(t *testing.T) {
	t.Parallel()
	sized := func(size int) string {
		frame := v2(`"event_action":"trigger",` + v2Payload + `,"client":""`)
		return strings.Replace(frame, `"client":""`, `"client":"`+strings.Repeat("x", size-len(frame))+`"`, 1)
	}
	wantStatus(t, new(backend).post(t, "/v2/enqueue", sized(event.MaxBodyV2)), http.StatusAccepted)
	wantBody(t, new(backend).post(t, "/v2/enqueue", sized(event.MaxBodyV2+1)), http.StatusRequestEntityTooLarge,
		`{"status":"invalid event","message":"Event object is invalid","errors":["the body is too large"]}`)
}

func TestEnqueueMapsWholeEvent(t *testing.T) {
	t.Parallel()
	b := &backend{}
	wantStatus(t, b.post(t, "/v2/enqueue/", v2(`"event_action":"trigger","links":null,"images":7,"client":5,"payload":{"summary":["a"],"source":"h",
		"severity":"info","timestamp":"yesterday","custom_details":"text"}`)), http.StatusAccepted)
	want := event.Event{
		Action: event.Trigger, DedupKey: "made-by-the-server", Summary: `["a"]`, Source: "h", Severity: event.Info,
		Client: "5", Details: []byte(`{"value":"text"}`),
	}
	if diff := cmp.Diff([]event.Event{want}, b.events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestFailuresTellTheSenderToComeAgain(t *testing.T) {
	t.Parallel()
	enqueue := v2(`"event_action":"resolve","dedup_key":"d"`)
	for _, tc := range []struct {
		name              string
		b                 *backend
		native, v2, after int // statuses, and Retry-After in seconds
	}{
		{"store out", &backend{acceptErr: fault.New(fault.Unavailable, "STORE_OUT", "x")}, 503, 503, 1},
		{"store out for a known time", &backend{acceptErr: fmt.Errorf("append: %w", fault.New(fault.Unavailable, "STORE_OUT", "x").After(2500*time.Millisecond))}, 503, 503, 3},
		{"overload", &backend{acceptErr: fault.New(fault.Exhausted, "TOO_MUCH", "x").After(5 * time.Second)}, 503, 429, 5},
		{"no answer of the store", &backend{hang: true}, 503, 503, 1},
		{"keys out", &backend{keyErr: fault.New(fault.Unavailable, "STORE_OUT", "x")}, 503, 503, 1},
		{"denied", &backend{acceptErr: fault.New(fault.Denied, "NO", "x")}, 403, 403, 0},
		{"refused", &backend{acceptErr: fault.New(fault.Precondition, "NO", "x")}, 400, 400, 0},
		{"bug", &backend{acceptErr: errors.New("secret detail")}, 500, 500, 0},
		{"disabled", &backend{integration: ingest.Integration{Disabled: true}}, 403, 403, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			after := ""
			if tc.after > 0 {
				after = fmt.Sprint(tc.after)
			}
			for _, door := range []struct {
				path, body string
				status     int
			}{{"/integrations/" + key + "/generic", native, tc.native}, {"/v2/enqueue", enqueue, tc.v2}} {
				w := tc.b.post(t, door.path, door.body)
				if w.Code != door.status || w.Header().Get("Retry-After") != after {
					t.Errorf("%s: status %d, Retry-After %q, want %d, %q", door.path[:5], w.Code, w.Header().Get("Retry-After"), door.status, after)
				}
				if strings.Contains(w.Body.String(), "secret") {
					t.Errorf("the body shows an internal error: %s", w.Body)
				}
			}
			if len(tc.b.events) != 0 {
				t.Errorf("the acceptor got %v, want nothing", tc.b.events)
			}
		})
	}
	w := (&backend{acceptErr: fault.New(fault.Exhausted, "TOO_MUCH", "x")}).post(t, "/v2/enqueue", enqueue)
	wantBody(t, w, http.StatusTooManyRequests, `{"status":"throttle exceeded","message":"Events are arriving too quickly","errors":["x"]}`)
	w = (&backend{outcome: ingest.OutcomeRejected, reason: "the service is gone"}).post(t, "/v2/enqueue", enqueue)
	wantBody(t, w, http.StatusBadRequest, `{"status":"invalid event","message":"Event object is invalid","errors":["the service is gone"]}`)
	w = (&backend{outcome: ingest.OutcomeIgnored}).post(t, "/v2/enqueue", enqueue)
	wantStatus(t, w, http.StatusAccepted)
}

func TestDeliver(t *testing.T) {
	t.Parallel()
	ofAlertmanager := ingest.Integration{ID: "in1", Source: "alertmanager"}
	ofGeneric := ingest.Integration{ID: "in1", Source: "generic"}
	const done = `{"status":"success","message":"Event processed","events":[{"dedup_key":"my/key","event_action":"trigger","result":"accepted","reason":""}]}`
	for _, tc := range []struct {
		name, method, path string
		integration        ingest.Integration
		body               string
		status             int
		want               string // body; "" for any
	}{
		{"key and source", "POST", "/integrations/" + key + "/generic", ofGeneric, native, 202, done},
		{"the configured source", "POST", "/integrations/" + key, ofGeneric, native, 202, done},
		{"put", "PUT", "/integrations/" + key + "/generic/", ofGeneric, native, 202, done},
		{"any source", "POST", "/integrations/" + key + "/generic", ingest.Integration{}, native, 202, done},
		{"no source anywhere", "POST", "/integrations/" + key, ingest.Integration{}, native, 202, done},
		{"events v2 at our own path", "POST", "/integrations/" + key + "/pagerduty", ingest.Integration{}, `{"event_action":"resolve","dedup_key":"d"}`, 202, `{"status":"success","message":"Event processed","events":[{"dedup_key":"d","event_action":"resolve","result":"accepted","reason":""}]}`},
		{"events v2 at our own path, refused", "POST", "/integrations/" + key + "/pagerduty", ingest.Integration{}, `{"event_action":"resolve"}`, 400, `{"status":"error","message":"Event object is invalid","errors":["'dedup_key' is missing or blank"]}`},
		{"nothing to do", "POST", "/integrations/" + key, ofAlertmanager, `{"alerts":[]}`, 202, `{"status":"success","message":"Event processed","events":[]}`},
		{"another source", "POST", "/integrations/" + key + "/generic", ofAlertmanager, native, 400, `{"status":"error","message":"The integration is of another source","errors":["it is of the source alertmanager"]}`},
		{"no such source", "POST", "/integrations/" + key + "/carrierpigeon", ingest.Integration{}, native, 400, `{"status":"error","message":"There is no such source","errors":["the sources are alertmanager, generic, pagerduty"]}`},
		{"unknown key", "POST", "/integrations/" + strings.Repeat("z", 32) + "/generic", ofGeneric, native, 401, `{"status":"error","message":"The integration key is missing or unknown","errors":[]}`},
		{"key of a wrong form", "POST", "/integrations/zzz/generic", ofGeneric, native, 401, `{"status":"error","message":"The integration key is missing or unknown","errors":[]}`},
		{"no key", "POST", "/integrations", ofGeneric, native, 401, `{"status":"error","message":"The integration key is missing or unknown","errors":[]}`},
		{"broken body", "POST", "/integrations/" + key, ofGeneric, native[:20], 400, `{"status":"error","message":"The body cannot be taken","errors":["the body is not JSON"]}`},
		{"no body", "POST", "/integrations/" + key, ofGeneric, "", 400, `{"status":"error","message":"The body cannot be taken","errors":["the body is empty"]}`},
		{"too deep", "POST", "/integrations/" + key, ofGeneric, strings.Repeat("[", 65) + strings.Repeat("]", 65), 400, `{"status":"error","message":"The body cannot be taken","errors":["the body is nested deeper than 64"]}`},
		{"too large", "POST", "/integrations/" + key, ofGeneric, `"` + strings.Repeat("x", event.MaxBody) + `"`, 413, `{"status":"error","message":"The body cannot be taken","errors":["the body is too large"]}`},
		{"get", "GET", "/integrations/" + key + "/generic", ofGeneric, native, 405, ""},
		{"delete", "DELETE", "/v2/enqueue", ofGeneric, native, 405, ""},
		{"elsewhere", "POST", "/integrationsx/" + key, ofGeneric, native, 404, ""},
		{"deeper", "POST", "/integrations/" + key + "/generic/more", ofGeneric, native, 404, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := &backend{integration: tc.integration}
			w := b.call(t, tc.method, tc.path, tc.body)
			wantStatus(t, w, tc.status)
			if tc.want != "" {
				wantBody(t, w, tc.status, tc.want)
			}
			if tc.status != http.StatusAccepted && len(b.events) > 0 {
				t.Errorf("the acceptor got %v with status %d, want nothing", b.events, tc.status)
			}
			if allow := w.Header().Get("Allow"); (allow == "POST, PUT") != (tc.status == http.StatusMethodNotAllowed) {
				t.Errorf("Allow = %q with status %d", allow, tc.status)
			}
			if ask := w.Header().Get("WWW-Authenticate"); (ask != "") != (tc.status == http.StatusUnauthorized) {
				t.Errorf("WWW-Authenticate = %q with status %d", ask, tc.status)
			}
		})
	}
}

func TestKeyFromElsewhere(t *testing.T) {
	t.Parallel()
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("anybody:"+key))
	for _, tc := range []struct {
		name, path string
		header     []string
		status     int
	}{
		{"bearer", "/integrations/generic", []string{"Authorization", "Bearer " + key}, 202},
		{"bearer, no source", "/integrations", []string{"Authorization", "bearer  " + key}, 202},
		{"token", "/integrations/generic", []string{"Authorization", "Token " + key}, 202},
		{"token as PagerDuty writes it", "/integrations/generic", []string{"Authorization", "Token token=" + key}, 202},
		{"genie", "/integrations/generic", []string{"Authorization", "GenieKey " + key}, 202},
		{"basic", "/integrations/generic", []string{"Authorization", basic}, 202},
		{"x-api-key", "/integrations/generic", []string{"X-Api-Key", key}, 202},
		{"query", "/integrations/generic?key=" + key, nil, 202},
		{"placeholder in the path", "/integrations/-/generic", []string{"X-Api-Key", key}, 202},
		{"the path wins", "/integrations/" + strings.Repeat("z", 32), []string{"X-Api-Key", key}, 401},
		{"a mistyped key stays one", "/integrations/oops", []string{"X-Api-Key", key}, 401},
		{"another scheme", "/integrations/generic", []string{"Authorization", "Digest " + key}, 401},
		{"no key", "/integrations/generic", nil, 401},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			wantStatus(t, new(backend).post(t, tc.path, native, tc.header...), tc.status)
		})
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]string{
		"abc-123.X:7":            "abc-123.X:7",
		"":                       "made-by-the-server",
		"with space":             "made-by-the-server",
		"<script>":               "made-by-the-server",
		strings.Repeat("x", 129): "made-by-the-server",
	} {
		w := new(backend).post(t, "/integrations/"+key, native, "X-Request-Id", sent)
		if got := w.Header().Get("X-Request-Id"); got != want {
			t.Errorf("X-Request-Id %q is answered with %q, want %q", sent, got, want)
		}
	}
}

func TestSenderIDs(t *testing.T) {
	t.Parallel()
	ids := func(body, name string) []string {
		b := &backend{integration: ingest.Integration{Source: "generic"}}
		wantStatus(t, b.post(t, "/integrations/"+key, body, name, "msg_1"), http.StatusAccepted)
		var all []string
		for _, e := range b.events {
			all = append(all, e.SenderID)
		}
		return all
	}
	for _, tc := range []struct {
		name, body, header string
		want               string
	}{
		{"one", native, "webhook-id", "[msg_1]"},
		{"a batch", "[" + native + "," + native + "]", "webhook-id", "[msg_1/0 msg_1/1]"},
		{"a name that proxies use", native, "Request-Id", "[]"},
	} {
		if got := fmt.Sprint(ids(tc.body, tc.header)); got != tc.want {
			t.Errorf("%s: sender ids %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestKeysAreNeverLogged(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	for _, b := range []*backend{{}, {acceptErr: errors.New("broken")}, {hang: true}, {integration: ingest.Integration{Source: "alertmanager"}}} {
		h := b.handler(&log)
		for _, r := range []*http.Request{
			httptest.NewRequestWithContext(t.Context(), "POST", "/integrations/"+key+"/generic?key="+key, strings.NewReader(native)),
			httptest.NewRequestWithContext(t.Context(), "POST", "/integrations/"+key, strings.NewReader("{")),
			httptest.NewRequestWithContext(t.Context(), "GET", "/integrations/"+key, http.NoBody),
			httptest.NewRequestWithContext(t.Context(), "POST", "/v2/enqueue", strings.NewReader(v2(`"event_action":"resolve","dedup_key":"d"`))),
			httptest.NewRequestWithContext(t.Context(), "POST", "/v2/enqueue", strings.NewReader(v2(`"event_action":5`))),
		} {
			r.Header.Set("X-Api-Key", key)
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
	}
	if !strings.Contains(log.String(), "status=202") || !strings.Contains(log.String(), "level=WARN") {
		t.Errorf("the log has no answered request and no warning:\n%s", log.String())
	}
	if strings.Contains(log.String(), key) {
		t.Errorf("the log has the key:\n%s", log.String())
	}
}

func TestRefusedPagesOfKnownSendersAreLogged(t *testing.T) {
	t.Parallel()
	known := ingest.Integration{ID: "in1"}
	for name, body := range map[string]string{"/v2/enqueue": v2(`"event_action":"page"`), "/integrations/" + key: "{"} {
		var log bytes.Buffer
		b := &backend{integration: known}
		b.handler(&log).ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "POST", name, strings.NewReader(body)))
		if got := log.String(); !strings.Contains(got, "level=WARN") || !strings.Contains(got, "integration=in1") || !strings.Contains(got, "status=400") {
			t.Errorf("log = %q, want a warning with the integration and the status", got)
		}
	}
	var log bytes.Buffer
	new(backend).handler(&log).ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "POST", "/v2/enqueue", strings.NewReader("{}")))
	if strings.Contains(log.String(), "WARN") {
		t.Errorf("log = %q, want no warning about strangers: they could fill the disk", log.String())
	}
}

func TestAnswersAreOfTheAcceptor(t *testing.T) {
	t.Parallel()
	b := &backend{outcome: ingest.OutcomeIgnored, reason: "maintenance"}
	var got struct{ Events []map[string]string }
	w := b.post(t, "/integrations/"+key, native)
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if want := "[map[dedup_key:my/key event_action:trigger reason:maintenance result:ignored]]"; fmt.Sprint(got.Events) != want {
		t.Errorf("events = %v, want %s", got.Events, want)
	}
}

// full is a gate with no room.
type full struct{}

var errFull = fault.New(fault.Exhausted, "KEY_REQUESTS", "this key has its share").After(2 * time.Second)

func (full) Stranger(string, int64) (func(), error)        { return nil, errFull }
func (full) Enter(admission.Sender, int64) (func(), error) { return nil, errFull }

// unread fails the test when somebody reads it.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body is read")
	return 0, io.EOF
}

// TestRefusedBeforeItIsRead: who sends more than his share costs next to nothing,
// hears which limit it is and when to come again, and waits for that a little.
func TestRefusedBeforeItIsRead(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]int{
		"/integrations/" + key + "/generic": http.StatusServiceUnavailable, "/integrations/generic": http.StatusServiceUnavailable,
		"/v2/enqueue": http.StatusTooManyRequests,
	} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			h := (&backend{}).handler(&log)
			h.Gate, h.Pause = full{}, 250*time.Millisecond
			h.Log = slog.New(slog.NewTextHandler(&log, nil))
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, unread{t})
			r.Header.Set("Authorization", "Bearer "+key)
			w := httptest.NewRecorder()
			began := time.Now()
			h.ServeHTTP(w, r)
			if took := time.Since(began); took != h.Pause {
				t.Errorf("%s: answered after %v, want %v", path, took, h.Pause)
			}
			if w.Code != want || w.Header().Get("Retry-After") != "2" || !strings.Contains(w.Body.String(), errFull.Message) {
				t.Errorf("%s: got %d, Retry-After %q, %s; want %d, 2 and the limit", path, w.Code, w.Header().Get("Retry-After"), w.Body, want)
			}
			if log.Len() > 0 {
				t.Errorf("%s: each refusal is logged: %s", path, log.String())
			}
			gone, hangUp := context.WithCancel(t.Context())
			hangUp()
			began = time.Now()
			h.ServeHTTP(httptest.NewRecorder(), r.WithContext(gone))
			if took := time.Since(began); took != 0 {
				t.Errorf("%s: who has hung up is waited for %v, want not at all", path, took)
			}
		})
	}
}
