package gateway

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/tocsin-oncall/tocsin/server/rpc"
)

// marshaler writes JSON as the OpenAPI document says: camelCase, fields without
// a value included, so that a client need not know the defaults. A field that it
// does not know is refused by name: it is a typing error until proven otherwise.
func marshaler() runtime.Marshaler {
	return &runtime.HTTPBodyMarshaler{Marshaler: &runtime.JSONPb{
		MarshalOptions:   protojson.MarshalOptions{EmitUnpopulated: true},
		UnmarshalOptions: protojson.UnmarshalOptions{DiscardUnknown: false},
	}}
}

// passIn names the headers that reach the server as metadata. Nothing else
// does: a header must not be able to speak for the gateway.
func passIn(name string) (string, bool) {
	switch textproto.CanonicalMIMEHeaderKey(name) {
	case "X-Request-Id", "Traceparent", "Tracestate":
		return strings.ToLower(name), true
	case "User-Agent":
		return runtime.MetadataPrefix + "user-agent", true
	}
	return "", false // Authorization is passed by the runtime itself
}

// passOut names the metadata that becomes headers.
func passOut(name string) (string, bool) {
	if name == rpc.RequestIDHeader {
		return "X-Request-Id", true
	}
	return "", false
}

// whom tells the server whom the gateway speaks for.
func (g *Gateway) whom(_ context.Context, r *http.Request) metadata.MD {
	return metadata.Pairs(rpc.ClientIPHeader, g.clientIP(r))
}

func (g *Gateway) clientIP(r *http.Request) string {
	if g.c.ClientIP != nil {
		return g.c.ClientIP(r)
	}
	return hostOf(r.RemoteAddr)
}

// fail answers an error as google.rpc.Status in JSON, with Retry-After where
// the status says how long to wait. What the gateway itself refuses has an
// ErrorInfo as well as what the server does.
func (g *Gateway) fail(ctx context.Context, mux *runtime.ServeMux, m runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	code := 0
	if own, ok := errors.AsType[*runtime.HTTPStatusError](err); ok {
		code, err = own.HTTPStatus, own.Err
	}
	if strings.Contains(err.Error(), "http: request body too large") { // the runtime keeps the text only
		code, err = http.StatusRequestEntityTooLarge, status.Errorf(codes.InvalidArgument, "the body is larger than %d bytes", maxBody)
	}
	s := explained(status.Convert(err), code)
	if code == 0 {
		code = runtime.HTTPStatusFromCode(s.Code())
	}
	for _, d := range s.Details() {
		if retry, ok := d.(*errdetails.RetryInfo); ok {
			seconds := math.Ceil(retry.GetRetryDelay().AsDuration().Seconds())
			w.Header().Set("Retry-After", strconv.Itoa(int(max(seconds, 1))))
		}
	}
	runtime.DefaultHTTPErrorHandler(ctx, mux, m, challenged{w}, r, &runtime.HTTPStatusError{HTTPStatus: code, Err: s.Err()})
}

// challenged asks for the credential that there is (RFC 6750, 3): the runtime
// puts the message of the status there.
type challenged struct{ http.ResponseWriter }

func (c challenged) WriteHeader(code int) {
	if code == http.StatusUnauthorized {
		c.Header().Set("WWW-Authenticate", `Bearer realm="tocsin"`)
	}
	c.ResponseWriter.WriteHeader(code)
}

// Unwrap lets http.ResponseController reach the connection.
func (c challenged) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// explained adds an ErrorInfo to a status that did not come from a service.
func explained(s *status.Status, code int) *status.Status {
	if len(s.Details()) > 0 || s.Code() == codes.OK {
		return s
	}
	reason := strings.ToUpper(s.Code().String())
	switch {
	case code == http.StatusRequestEntityTooLarge:
		reason = "BODY_TOO_LARGE"
	case code == http.StatusMethodNotAllowed:
		reason = "METHOD_NOT_ALLOWED"
	case s.Code() == codes.NotFound:
		reason = "ADDRESS_NOT_FOUND"
	case s.Code() == codes.InvalidArgument:
		reason = "REQUEST_UNREADABLE"
	case s.Code() == codes.Unavailable:
		reason = "SERVER_UNAVAILABLE"
	case s.Code() == codes.ResourceExhausted:
		reason = "MESSAGE_TOO_LARGE"
	}
	// protojson begins its errors with a space that is a different one in each build.
	text := strings.ReplaceAll(s.Message(), "\u00a0", " ")
	text = strings.TrimPrefix(text, "proto: ")
	if _, inner, ok := strings.Cut(text, " desc = "); ok && strings.HasPrefix(text, "rpc error: code = ") {
		text = inner // the runtime prints a status into the text of another
	}
	with, err := status.New(s.Code(), text).WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: rpc.Domain})
	if err != nil {
		return s
	}
	return with
}

// lost answers an address or a method that the API does not have.
func (g *Gateway) lost(ctx context.Context, mux *runtime.ServeMux, m runtime.Marshaler, w http.ResponseWriter, r *http.Request, code int) {
	err := &runtime.HTTPStatusError{HTTPStatus: code}
	switch code {
	case http.StatusMethodNotAllowed:
		err.Err = status.Errorf(codes.Unimplemented, "%s is not a method of this address; /docs lists them", r.Method)
	case http.StatusBadRequest:
		err.Err = status.Error(codes.InvalidArgument, "the address cannot be read")
	default:
		err.Err = status.Error(codes.NotFound, "no such address; /docs lists them")
	}
	g.fail(ctx, mux, m, w, r, err)
}
