package gateway

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// strictQuery refuses parameters that the request does not have: a filter with
// a typing error would otherwise be no filter.
type strictQuery struct{ then runtime.DefaultQueryParser }

// Parse implements [runtime.QueryParameterParser].
func (q *strictQuery) Parse(m proto.Message, values url.Values, filter *utilities.DoubleArray) error {
	values.Del("stream") // says in which form a stream is wanted
	for name := range values {
		if !hasField(m.ProtoReflect().Descriptor(), strings.Split(name, ".")) {
			return badQuery("the call has no parameter %q; it has %s", name, strings.Join(fieldsOf(m), ", "))
		}
	}
	if err := q.then.Parse(m, values, filter); err != nil {
		return badQuery("%v", err)
	}
	return nil
}

func badQuery(format string, args ...any) error {
	return &runtime.HTTPStatusError{HTTPStatus: http.StatusBadRequest, Err: status.Errorf(codes.InvalidArgument, format, args...)}
}

// hasField reports whether the path leads to a field, by its proto or its JSON names.
func hasField(d protoreflect.MessageDescriptor, path []string) bool {
	name, _, _ := strings.Cut(path[0], "[") // of a map
	f := d.Fields().ByName(protoreflect.Name(name))
	if f == nil {
		f = d.Fields().ByJSONName(name)
	}
	switch {
	case f == nil:
		return false
	case len(path) == 1:
		return true
	}
	return f.Message() != nil && hasField(f.Message(), path[1:])
}

func fieldsOf(m proto.Message) []string {
	fields := m.ProtoReflect().Descriptor().Fields()
	names := make([]string, 0, fields.Len())
	for i := range fields.Len() {
		names = append(names, fields.Get(i).JSONName())
	}
	slices.Sort(names)
	return names
}

// query fills a request from the query, as the REST side does.
func query(m proto.Message, values url.Values) error {
	return (&strictQuery{}).Parse(m, values, utilities.NewDoubleArray(nil))
}
