package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"

	tocsinv1 "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

// Every address of the OpenAPI document leads to the method that it names, and
// to no other: "incidents:watch" is no incident, and a verb belongs to one resource.
func TestEveryDocumentedAddressReachesItsMethod(t *testing.T) {
	raw, err := os.ReadFile("openapi/tocsin.swagger.json")
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(raw, &document); err != nil {
		t.Fatal(err)
	}
	var documented, methodCount int
	conn := &refusing{}
	mux := gatewayMux(t, conn)
	for path, operations := range document.Paths {
		for verb, operation := range operations {
			documented++
			service, method, _ := strings.Cut(operation.OperationID, "_")
			want := "/tocsin.v1." + service + "/" + method
			conn.method = ""
			request := httptest.NewRequestWithContext(t.Context(), strings.ToUpper(verb), example(path), strings.NewReader("{}"))
			answer := httptest.NewRecorder()
			mux.ServeHTTP(answer, request)
			if conn.method != want || answer.Code != http.StatusNotImplemented {
				t.Errorf("%s %s reached %q (%d), want %q", verb, example(path), conn.method, answer.Code, want)
			}
		}
	}
	methods(func(protoreflect.MethodDescriptor) { methodCount++ })
	if documented != methodCount {
		t.Errorf("the document has %d operations, want one for each of %d methods", documented, methodCount)
	}
}

// example fills the variables of a documented path.
func example(path string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(path, "{")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		_, path, _ = strings.Cut(rest, "}")
		b.WriteString("x1")
	}
}

// refusing is a connection that refuses every call and remembers its method.
type refusing struct{ method string }

func (c *refusing) Invoke(_ context.Context, method string, _, _ any, _ ...grpc.CallOption) error {
	c.method = method
	return status.Error(codes.Unimplemented, "refused")
}

func (c *refusing) NewStream(_ context.Context, _ *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	c.method = method
	return nil, status.Error(codes.Unimplemented, "refused")
}

func gatewayMux(t *testing.T, conn grpc.ClientConnInterface) http.Handler {
	t.Helper()
	mux, ctx := runtime.NewServeMux(), t.Context()
	for _, err := range []error{
		tocsinv1.RegisterIncidentServiceHandlerClient(ctx, mux, tocsinv1.NewIncidentServiceClient(conn)),
		tocsinv1.RegisterEventServiceHandlerClient(ctx, mux, tocsinv1.NewEventServiceClient(conn)),
		tocsinv1.RegisterDeviceServiceHandlerClient(ctx, mux, tocsinv1.NewDeviceServiceClient(conn)),
		tocsinv1.RegisterUserServiceHandlerClient(ctx, mux, tocsinv1.NewUserServiceClient(conn)),
		tocsinv1.RegisterTeamServiceHandlerClient(ctx, mux, tocsinv1.NewTeamServiceClient(conn)),
		tocsinv1.RegisterCatalogServiceHandlerClient(ctx, mux, tocsinv1.NewCatalogServiceClient(conn)),
		tocsinv1.RegisterEscalationPolicyServiceHandlerClient(ctx, mux, tocsinv1.NewEscalationPolicyServiceClient(conn)),
		tocsinv1.RegisterScheduleServiceHandlerClient(ctx, mux, tocsinv1.NewScheduleServiceClient(conn)),
		tocsinv1.RegisterOnCallServiceHandlerClient(ctx, mux, tocsinv1.NewOnCallServiceClient(conn)),
		tocsinv1.RegisterCalendarServiceHandlerClient(ctx, mux, tocsinv1.NewCalendarServiceClient(conn)),
		tocsinv1.RegisterDrillServiceHandlerClient(ctx, mux, tocsinv1.NewDrillServiceClient(conn)),
		tocsinv1.RegisterTokenServiceHandlerClient(ctx, mux, tocsinv1.NewTokenServiceClient(conn)),
		tocsinv1.RegisterOperatorServiceHandlerClient(ctx, mux, tocsinv1.NewOperatorServiceClient(conn)),
		tocsinv1.RegisterConfigurationServiceHandlerClient(ctx, mux, tocsinv1.NewConfigurationServiceClient(conn)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return mux
}
