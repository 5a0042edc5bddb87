package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/propagation"

	"github.com/tocsin-oncall/tocsin/server/admission"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/engine"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/ingest"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// intake is where all doors for events lead: it finds the integration of a
// key, and has the engine make the events durable.
type intake struct {
	auth *auth.Authenticator
	book func() *directory.Snapshot
	// append makes entries durable; drop notes an event that was not taken.
	append func(ctx context.Context, entries []store.InboxEntry) error
	gate   *admission.Gate // which events there is room for
	drop   func(ctx context.Context, dropped ...store.Dropped) error
	now    func() time.Time
	log    *slog.Logger
}

var (
	_ ingest.Keys     = intake{}
	_ ingest.Acceptor = intake{}
)

// Integration implements [ingest.Keys].
func (in intake) Integration(ctx context.Context, key string) (ingest.Integration, error) {
	found, err := in.auth.Integration(ctx, key)
	if err != nil {
		return ingest.Integration{}, fmt.Errorf("find the integration of a key: %w", err)
	}
	return in.described(ctx, found), nil
}

// described returns an integration as the doors see it. Settings that cannot
// be read are left out: they were checked when they came in, and an event must
// not be lost to them.
func (in intake) described(ctx context.Context, c catalog.Integration) ingest.Integration {
	options, err := ingest.ParseOptions(c.Options)
	if err != nil {
		in.log.WarnContext(ctx, "settings of an integration are not understood and left out",
			slog.String("integration", string(c.ID)), slog.Any("error", err))
	}
	return ingest.Integration{
		ID: string(c.ID), ServiceID: string(c.Service), Source: c.Source, Options: options, Disabled: c.Disabled,
	}
}

// Accept implements [ingest.Acceptor]. Events of a disabled service are
// answered as ignored, and noted, so that the silence can be explained.
func (in intake) Accept(ctx context.Context, from ingest.Integration, events []event.Event) ([]ingest.Accepted, error) {
	svc, _ := in.book().Service(catalog.ServiceID(from.ServiceID))
	if svc.Disabled {
		return in.ignore(ctx, from, events), nil
	}
	accepted := make([]ingest.Accepted, len(events))
	entries := make([]store.InboxEntry, len(events))
	now, trace := in.now(), traceparent(ctx)
	for i, e := range events {
		accepted[i] = ingest.Accepted{DedupKey: e.DedupKey, Action: e.Action, Result: ingest.OutcomeAccepted}
		entries[i] = store.InboxEntry{
			Service: catalog.ServiceID(from.ServiceID), Integration: catalog.IntegrationID(from.ID), Source: from.Source,
			Key: scoped(from, svc, e.DedupKey), Event: e, Received: now, Trace: trace,
		}
	}
	if err := in.take(ctx, from, entries); err != nil {
		return nil, fmt.Errorf("take in %d events of integration %s: %w", len(events), from.ID, err)
	}
	return accepted, nil
}

// take makes entries durable, if there is room for them.
func (in intake) take(ctx context.Context, from ingest.Integration, entries []store.InboxEntry) error {
	stored, err := in.gate.Events(from.Sender(), len(entries))
	if err != nil {
		return err
	}
	err = in.append(ctx, entries)
	stored(err == nil)
	switch {
	case errors.Is(err, store.ErrInboxFull):
		in.gate.Refuse(from.Sender(), admission.InboxFull)
	case errors.Is(err, store.ErrStoreFull):
		in.gate.Refuse(from.Sender(), admission.StoreFull)
	}
	return err
}

// ignore answers for a service that takes no events.
func (in intake) ignore(ctx context.Context, from ingest.Integration, events []event.Event) []ingest.Accepted {
	ignored := make([]ingest.Accepted, len(events))
	dropped := make([]store.Dropped, len(events))
	for i, e := range events {
		ignored[i] = ingest.Accepted{
			DedupKey: e.DedupKey, Action: e.Action, Result: ingest.OutcomeIgnored, Reason: "the service is disabled",
		}
		dropped[i] = store.Dropped{
			At: in.now(), Service: catalog.ServiceID(from.ServiceID), Integration: catalog.IntegrationID(from.ID),
			Reason: engine.DropDisabled, Key: e.DedupKey, Summary: e.Summary,
		}
	}
	if err := in.drop(ctx, dropped...); err != nil {
		in.log.WarnContext(ctx, "dropped events could not be noted", slog.Any("error", err))
	}
	return ignored
}

// scoped returns the dedup key within the service: as sent, or, where each
// integration has its own, with the integration in front.
func scoped(from ingest.Integration, svc catalog.Service, key string) string {
	own := svc.KeyScope == catalog.ScopeIntegration
	switch from.Options.DedupScope {
	case ingest.ScopeIntegration:
		own = true
	case ingest.ScopeService:
		own = false
	}
	if !own || key == "" {
		return key
	}
	return event.Key(from.ID, from.ID+"/"+key)
}

// traceparent returns the trace of ctx as W3C writes it, "" without one.
func traceparent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier.Get("traceparent")
}
