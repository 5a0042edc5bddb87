package app

import (
	"context"
	"fmt"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tocsin-oncall/tocsin/server/config"
)

// tracing is where spans go; nowhere without an endpoint.
type tracing struct {
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
	return tracing{provider: provider, shutdown: provider.Shutdown}, nil
}

// traced begins a span for each delivery of a monitor, continuing the sender's
// own trace. The path is no part of it: it holds keys.
func (t tracing) traced(next http.Handler) http.Handler {
	tracer := t.provider.Tracer("tocsin/ingest")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := tracer.Start(ctx, "events", trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
