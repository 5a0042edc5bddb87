package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// answer is what a sender gets, and what the log gets.
type answer struct {
	status      int
	body        any
	retryAfter  time.Duration // rounded up to seconds; 0: no such header
	allow       string
	challenge   bool   // ask for Basic: some senders (SNS) send a password only then
	integration string // for the log
	err         error  // for the log
}

// The bodies. Slices are written as [] and never as null.
type (
	processedBody struct {
		Status  string         `json:"status"`
		Message string         `json:"message"`
		Events  []processedOne `json:"events"`
	}
	processedOne struct {
		DedupKey    string  `json:"dedup_key"`
		EventAction string  `json:"event_action"`
		Result      Outcome `json:"result"`
		Reason      string  `json:"reason"`
	}
	problemBody struct {
		Status  string   `json:"status"`
		Message string   `json:"message"`
		Errors  []string `json:"errors"`
	}
	v2Success struct {
		Status   string `json:"status"`
		Message  string `json:"message"`
		DedupKey string `json:"dedup_key"`
	}
)

func (a answer) write(w http.ResponseWriter) {
	body, err := json.Marshal(a.body)
	if err != nil { // plain structs of strings: cannot be
		a.status, body = http.StatusInternalServerError, nil
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if a.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(a.retryAfter.Seconds()))))
	}
	if a.allow != "" {
		h.Set("Allow", a.allow)
	}
	if a.challenge {
		h.Set("WWW-Authenticate", `Basic realm="tocsin"`)
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(body) // the sender has gone: it will come again
}

// processed is the 202 of the integrations.
func processed(accepted []Accepted) answer {
	events := make([]processedOne, 0, len(accepted))
	for _, a := range accepted {
		events = append(events, processedOne{
			DedupKey: a.DedupKey, EventAction: a.Action.String(), Result: a.Result, Reason: a.Reason,
		})
	}
	return answer{
		status: http.StatusAccepted,
		body:   processedBody{Status: "success", Message: "Event processed", Events: events},
	}
}

func problem(status int, message string, errs ...string) answer {
	if errs == nil {
		errs = []string{}
	}
	return answer{status: status, body: problemBody{Status: "error", Message: message, Errors: errs}}
}

// unauthorized is the same for a missing and for an unknown key.
func unauthorized() answer {
	a := problem(http.StatusUnauthorized, "The integration key is missing or unknown")
	a.challenge = true
	return a
}

// refusal answers a body that was refused before anything was stored.
func refusal(err error) answer {
	var a answer
	if r, ok := errors.AsType[*v2Error](err); ok {
		a = problem(http.StatusBadRequest, r.Message, r.Errors...)
	} else if f, ok := errors.AsType[*fault.Error](err); ok {
		a = problem(refusedStatus(f), "The body cannot be taken", f.Message)
	} else {
		a = problem(http.StatusInternalServerError, "Something went wrong here")
	}
	a.err = err
	return a
}

func refusedStatus(f *fault.Error) int {
	if f.Reason == ReasonTooLarge {
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusBadRequest
}

// refusalV2 is refusal in the words of Events v2.
func refusalV2(err error) answer {
	if fault.KindOf(err) == fault.Exhausted {
		return failureV2(err)
	}
	a := answer{status: http.StatusBadRequest, err: err}
	if r, ok := errors.AsType[*v2Error](err); ok {
		a.body = r
	} else if f, ok := errors.AsType[*fault.Error](err); ok {
		a.status, a.body = refusedStatus(f), invalidEvent(f.Message)
	} else {
		return failureV2(err)
	}
	return a
}

// failure answers what the store or the acceptor could not do. exhausted is
// the status for "too much at once": senders of webhooks take 429 for good and
// lose the page, those of Events v2 come again.
func failure(err error, exhausted int) answer {
	var a answer
	kind := fault.KindOf(err)
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), kind == fault.Unavailable, kind == fault.Conflict:
		a = problem(http.StatusServiceUnavailable, "Events cannot be stored at the moment")
	case kind == fault.Exhausted:
		a = problem(exhausted, "Events are arriving too quickly")
		if f, ok := errors.AsType[*fault.Error](err); ok {
			a = problem(exhausted, "Events are arriving too quickly", f.Message)
		}
	case kind == fault.Invalid, kind == fault.Precondition, kind == fault.NotFound, kind == fault.Exists, kind == fault.OutOfRange:
		a = problem(http.StatusBadRequest, "The events cannot be taken")
		if f, ok := errors.AsType[*fault.Error](err); ok {
			a = problem(http.StatusBadRequest, "The events cannot be taken", f.Message)
		}
	case kind == fault.Unauthenticated:
		a = unauthorized()
	case kind == fault.Denied:
		a = problem(http.StatusForbidden, "The integration may not send this")
	default:
		a = problem(http.StatusInternalServerError, "Something went wrong here")
	}
	a.err = err
	if a.status == http.StatusServiceUnavailable || a.status == http.StatusTooManyRequests {
		a.retryAfter = time.Second
		if f, ok := errors.AsType[*fault.Error](err); ok {
			a.retryAfter = max(a.retryAfter, f.RetryAfter)
		}
	}
	return a
}

// failureV2 is failure in the words of Events v2.
func failureV2(err error) answer {
	a := failure(err, http.StatusTooManyRequests)
	body, _ := a.body.(problemBody)
	switch a.status {
	case http.StatusTooManyRequests:
		body.Status = "throttle exceeded"
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		body.Status = "invalid event"
	}
	a.body = body
	return a
}
