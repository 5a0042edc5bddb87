package gateway

import (
	"context"
	"errors"
	"math"
	"net"
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
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// fail answers an error as google.rpc.Status in JSON, with Retry-After where
// the status says how long to wait.
func (g *Gateway) fail(ctx context.Context, mux *runtime.ServeMux, m runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	if tooBig, ok := errors.AsType[*http.MaxBytesError](err); ok {
		err = &runtime.HTTPStatusError{
			HTTPStatus: http.StatusRequestEntityTooLarge,
			Err:        status.Errorf(codes.InvalidArgument, "the body is larger than %d bytes", tooBig.Limit),
		}
	} else if strings.Contains(err.Error(), "http: request body too large") { // the runtime keeps the text only
		err = &runtime.HTTPStatusError{
			HTTPStatus: http.StatusRequestEntityTooLarge,
			Err:        status.Errorf(codes.InvalidArgument, "the body is larger than %d bytes", maxBody),
		}
	}
	for _, d := range status.Convert(err).Details() {
		if retry, ok := d.(*errdetails.RetryInfo); ok {
			seconds := math.Ceil(retry.GetRetryDelay().AsDuration().Seconds())
			w.Header().Set("Retry-After", strconv.Itoa(int(max(seconds, 1))))
		}
	}
	if status.Code(err) == codes.Unauthenticated {
		w.Header().Set("WWW-Authenticate", `Bearer realm="tocsin"`)
	}
	runtime.DefaultHTTPErrorHandler(ctx, mux, m, w, r, err)
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
