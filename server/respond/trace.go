package respond

import (
	"context"
	"fmt"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tocsin-oncall/tocsin/server/incident"
)

// traced begins the span of a command. It belongs to the trace of the event
// that began the incident, so that event, page and acknowledgement are one
// trace; the caller's own span is linked to it.
func (d *Desk) traced(ctx context.Context, in *incident.Incident, cmd incident.Command) (context.Context, trace.Span) {
	if d.Tracer == nil || in.Trace == "" {
		return ctx, noop.Span{}
	}
	caller := trace.LinkFromContext(ctx)
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": in.Trace})
	name := strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", cmd), "incident."))
	return d.Tracer.Start(ctx, name, trace.WithLinks(caller), trace.WithAttributes(attribute.String("tocsin.incident", string(in.ID)))) //nolint:spancheck // ended by the caller
}
