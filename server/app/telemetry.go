package app

import (
	"context"
	"fmt"
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	metric "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"

	"github.com/tocsin-oncall/tocsin/server/config"
)

// tracing is where spans go; nowhere without an endpoint.
type tracing struct {
	on       bool
	provider trace.TracerProvider
	shutdown func(ctx context.Context) error
}

// newTracing begins the export of traces. The collector need not be there.
func newTracing(ctx context.Context, c config.Tracing, version, instance string) (tracing, error) {
	if c.Endpoint == "" {
		return tracing{provider: noop.NewTracerProvider(), shutdown: func(context.Context) error { return nil }}, nil
	}
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(c.Endpoint))
	if err != nil {
		return tracing{}, fmt.Errorf("export traces to %s: %w", c.Endpoint, err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(c.Ratio))),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "tocsin"), attribute.String("service.version", version),
			attribute.String("service.instance.id", instance),
		)),
	)
	return tracing{on: true, provider: provider, shutdown: provider.Shutdown}, nil
}

// traced begins a span for each call over HTTP, continuing the caller's own
// trace. The path is no part of it: those of monitors hold keys.
func (t tracing) traced(next http.Handler) http.Handler {
	if !t.on {
		return next
	}
	tracer := t.provider.Tracer("tocsin/http")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := tracer.Start(ctx, "http "+r.Method, trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// server and client return what traces the calls of gRPC.
func (t tracing) server() []grpc.ServerOption {
	if !t.on {
		return nil
	}
	return []grpc.ServerOption{grpc.StatsHandler(otelgrpc.NewServerHandler(t.options()...))}
}

func (t tracing) client() []grpc.DialOption {
	if !t.on {
		return nil
	}
	return []grpc.DialOption{grpc.WithStatsHandler(otelgrpc.NewClientHandler(t.options()...))}
}

func (t tracing) options() []otelgrpc.Option {
	return []otelgrpc.Option{
		otelgrpc.WithTracerProvider(t.provider), otelgrpc.WithPropagators(propagation.TraceContext{}),
		otelgrpc.WithMeterProvider(metric.NewMeterProvider()),
	}
}
