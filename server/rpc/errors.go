package rpc

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// Domain is that of every ErrorInfo.
const Domain = "tocsin.dev"

// defaultRetry is what callers are told to wait when nobody knows better.
const defaultRetry = time.Second

// kindCodes is what each kind of fault is called in gRPC.
var kindCodes = map[fault.Kind]codes.Code{ //nolint:gochecknoglobals // look-up table
	fault.Internal:        codes.Internal,
	fault.Invalid:         codes.InvalidArgument,
	fault.Unauthenticated: codes.Unauthenticated,
	fault.Denied:          codes.PermissionDenied,
	fault.NotFound:        codes.NotFound,
	fault.Exists:          codes.AlreadyExists,
	fault.Precondition:    codes.FailedPrecondition,
	fault.Conflict:        codes.Aborted,
	fault.Exhausted:       codes.ResourceExhausted,
	fault.Unavailable:     codes.Unavailable,
	fault.OutOfRange:      codes.OutOfRange,
}

// contractReasons are the words of the contract for what lower layers name after
// what went on inside them.
var contractReasons = map[string]string{ //nolint:gochecknoglobals // look-up table
	"ETAG_STALE":          "REVISION_MOVED",
	"CONFIG_MOVED":        "REVISION_MOVED",
	"SOURCE_RESOLVED":     "INCIDENT_RESOLVED",
	"ENROLMENT_INVALID":   "ENROLMENT_CODE",
	"REQUEST_ANSWERED":    "REQUEST_IN_PROGRESS",
	"DEVICE_NOT_PAGEABLE": "NO_ADDRESS",
}

// statusOf returns what the caller is told of an error: the kind as a code, the
// values as details, and of what has no kind nothing but the request id.
func statusOf(err error, requestID string) *status.Status {
	f, ok := errors.AsType[*fault.Error](err)
	switch {
	case ok && f.Kind != fault.Internal:
		return faultStatus(f, requestID)
	case ok: // its text is for the log
	case errors.Is(err, context.Canceled):
		return detailed(status.New(codes.Canceled, "the caller has hung up"), info("CANCELED", nil), requestInfo(requestID))
	case errors.Is(err, context.DeadlineExceeded):
		return detailed(status.New(codes.DeadlineExceeded, "the call took longer than its deadline"), info("DEADLINE_EXCEEDED", nil), requestInfo(requestID))
	default:
		// What gRPC itself says, of a stream that broke or a method that is not there.
		if s, ok := status.FromError(err); ok && s.Code() != codes.Unknown && s.Code() != codes.Internal {
			return s
		}
	}
	s := status.New(codes.Internal, "something went wrong here; the log has it under the request id")
	return detailed(s, info("INTERNAL", nil), requestInfo(requestID))
}

func faultStatus(f *fault.Error, requestID string) *status.Status {
	code, ok := kindCodes[f.Kind]
	if !ok {
		code = codes.Internal
	}
	reason := cmp.Or(contractReasons[f.Reason], f.Reason, strings.ToUpper(strings.ReplaceAll(f.Kind.String(), " ", "_")))
	details := []protoadapt.MessageV1{info(reason, f.Meta)}
	switch f.Kind {
	case fault.Invalid:
		details = append(details, violations(f))
	case fault.Denied:
		if len(f.Fields) > 0 {
			details = append(details, violations(f))
		}
	case fault.NotFound, fault.Exists:
		details = append(details, resource(f))
		if len(f.Fields) > 0 {
			details = append(details, violations(f))
		}
	case fault.Precondition:
		details = append(details, precondition(reason, f))
	case fault.Exhausted, fault.Unavailable:
		wait := cmp.Or(f.RetryAfter, defaultRetry)
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(wait)})
	default:
	}
	return detailed(status.New(code, f.Message), append(details, requestInfo(requestID))...)
}

// detailed adds what can be added; a status without details is better than none.
func detailed(s *status.Status, details ...protoadapt.MessageV1) *status.Status {
	if with, err := s.WithDetails(details...); err == nil {
		return with
	}
	return s
}

func info(reason string, meta map[string]string) *errdetails.ErrorInfo {
	return &errdetails.ErrorInfo{Reason: reason, Domain: Domain, Metadata: maps.Clone(meta)}
}

func requestInfo(id string) *errdetails.RequestInfo { return &errdetails.RequestInfo{RequestId: id} }

func violations(f *fault.Error) *errdetails.BadRequest {
	b := &errdetails.BadRequest{}
	for _, v := range f.Fields {
		b.FieldViolations = append(b.FieldViolations, &errdetails.BadRequest_FieldViolation{
			Field: v.Path, Description: v.Fix, Reason: f.Reason,
		})
	}
	return b
}

func precondition(reason string, f *fault.Error) *errdetails.PreconditionFailure {
	_, name := named(f)
	return &errdetails.PreconditionFailure{Violations: []*errdetails.PreconditionFailure_Violation{
		{Type: reason, Subject: name, Description: f.Message},
	}}
}

func resource(f *fault.Error) *errdetails.ResourceInfo {
	kind, name := named(f)
	return &errdetails.ResourceInfo{ResourceType: kind, ResourceName: name, Description: f.Message}
}

// collections are the first parts of resource names with the types they stand for.
var collections = map[string]string{ //nolint:gochecknoglobals // look-up table
	"incidents": "Incident", "alerts": "Alert", "services": "Service", "integrations": "Integration", "users": "User",
	"teams": "Team", "escalationPolicies": "EscalationPolicy", "devices": "Device", "tokens": "Token",
	"testPushes": "TestPush", "deadLetters": "DeadLetter", "settings": "Settings",
}

// namedBy are the values of a fault that name a resource, with the collection
// that a bare id belongs to.
var namedBy = []struct{ key, collection string }{ //nolint:gochecknoglobals // look-up table
	{"name", ""},
	{"incident", "incidents"},
	{"user", "users"},
	{"policy", "escalationPolicies"},
	{"service", "services"},
	{"device", "devices"},
	{"id", "deadLetters"},
}

// named returns the resource that a fault is about: its type and its name.
func named(f *fault.Error) (kind, name string) {
	for _, n := range namedBy {
		v := f.Meta[n.key]
		if v == "" {
			continue
		}
		if n.collection != "" && !strings.Contains(v, "/") {
			v = n.collection + "/" + v
		}
		collection, _, _ := strings.Cut(v, "/")
		if t, ok := collections[collection]; ok {
			return Domain + "/" + t, v
		}
	}
	return "", ""
}

// itemError is what went wrong with one item of a batch, in the words of statusOf.
func itemError(err error, requestID string) (code codes.Code, reason, message string) {
	s := statusOf(err, requestID)
	return s.Code(), reasonOf(s), s.Message()
}

// reasonOf returns the word that programs compare.
func reasonOf(s *status.Status) string {
	details := s.Details()
	i := slices.IndexFunc(details, func(d any) bool { _, ok := d.(*errdetails.ErrorInfo); return ok })
	if i < 0 {
		return ""
	}
	e, _ := details[i].(*errdetails.ErrorInfo)
	return e.GetReason()
}

// asFault returns the first fault of a chain.
func asFault(err error) (*fault.Error, bool) { return errors.AsType[*fault.Error](err) }
