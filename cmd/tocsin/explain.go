package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// slow is said of a server that takes too long.
const slow = "no answer in time: the server or its Redis is slow (see tocsin status), or a longer --timeout helps"

// explain turns an error into words for a person at a terminal: what went
// wrong, and below it each field that has to change, or when to try again.
func explain(err error) string {
	st, ok := statusOf(err)
	if !ok || st.Code() == codes.OK {
		if errors.Is(err, context.DeadlineExceeded) {
			return slow
		}
		return err.Error()
	}
	var b strings.Builder
	b.WriteString(headline(st))
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				if strings.HasSuffix(st.Message(), v.GetDescription()) {
					continue // the message says just that
				}
				fmt.Fprintf(&b, "\n  %s: %s", clean(v.GetField()), clean(v.GetDescription()))
			}
		case *errdetails.RetryInfo:
			if wait := d.GetRetryDelay().AsDuration(); wait > 0 {
				fmt.Fprintf(&b, "\n  try again in %s", wait.Round(time.Second))
			}
		case *errdetails.ErrorInfo:
			if cure := cures[d.GetReason()]; cure != "" {
				b.WriteString("\n  " + cure)
			}
		}
	}
	return b.String()
}

// cures are what helps against some refusals, by reason.
var cures = map[string]string{ //nolint:gochecknoglobals // look-up table
	"CONFIGURATION_MOVED": "look at what changed: run tocsin plan again, and review that",
	"PAGES_NOBODY":        "to set people up before their phones: repeat it with --force, then tocsin enrol each of them",
}

// statusOf finds the status in the chain of err. status.FromError would put
// the texts of all that wrap it into its message.
func statusOf(err error) (*status.Status, bool) {
	carrier, ok := errors.AsType[interface {
		error
		GRPCStatus() *status.Status
	}](err)
	if !ok {
		return nil, false
	}
	return carrier.GRPCStatus(), true
}

func headline(st *status.Status) string {
	text := clean(st.Message())
	switch st.Code() {
	case codes.Unavailable:
		if len(st.Details()) > 0 { // it has answered, and says what it waits for
			return "not now: " + text
		}
		return "the server does not answer: " + text
	case codes.DeadlineExceeded:
		return slow
	case codes.Unauthenticated:
		return "the server does not know this token: " + text
	case codes.PermissionDenied:
		return "not allowed: " + text
	case codes.NotFound:
		return "not found: " + text
	case codes.Aborted:
		return "somebody was faster: " + text + "; look again and repeat"
	case codes.Unimplemented:
		return "the server does not know this call: it is older than this program"
	case codes.Internal, codes.Unknown:
		return "the server has a problem: " + text + "; its log says more"
	default:
		return text
	}
}
