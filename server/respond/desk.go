// Package respond carries out what people, timers and monitors want of
// incidents: it reads the document, has [incident.Decide] decide, and makes
// the decision durable. When somebody else was faster it reads and decides
// again, so a caller sees either the effect of the command or a fault.
//
// A Desk is safe for concurrent use, and holds no state of its own.
package respond

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// Desk carries out commands.
type Desk struct {
	Store *store.Store
	// View returns the present snapshot of the directory.
	View func() incident.View
	// Now returns the time that all instances agree on.
	Now func() time.Time
	// Committed is told of the work of every commit, so that it begins at once.
	// It must not block.
	Committed func([]store.WorkItem)
	Tracer    trace.Tracer // nil: no spans
}

// Options of one command. The zero Options are right for timers.
type Options struct {
	// Request makes a retry safe: for 24 hours the same id is refused with
	// store.ErrRequestAnswered, and the store has the first answer. It has to
	// name the caller and the method too.
	Request string
	// Answer writes the answer that is kept for Request: after the command, and
	// before it, nil where there was nothing. Before is what was decided on,
	// which is later than what the caller has read when somebody else was faster.
	Answer func(before, after *incident.Incident) []byte
	// Etag, when set, is the version that the caller saw; another one refuses the command.
	Etag uint32
}

// request returns what the store keeps of the options.
func (o Options) request(before, after *incident.Incident) *store.Request {
	if o.Request == "" {
		return nil
	}
	r := &store.Request{ID: o.Request}
	if o.Answer != nil {
		r.Answer = o.Answer(before, after)
	}
	return r
}

// maxTries bounds how often a command is decided anew. Each try lost means
// that another commit won, so the document as a whole goes on.
const maxTries = 16

// ErrStale says that the caller decided on a version that is no more.
var ErrStale = fault.New(fault.Conflict, "ETAG_STALE", "the incident has changed since it was read; read it again")

// Do carries out one command on one incident and returns the incident after
// it. Errors: NotFound; Conflict when Etag is stale or the document is under
// siege; whatever the rule refuses; Unavailable when Redis is out.
func (d *Desk) Do(ctx context.Context, id incident.ID, cmd incident.Command, o Options) (*incident.Incident, error) {
	return d.do(ctx, id, func(context.Context, *incident.Incident) (incident.Command, error) { return cmd, nil }, o)
}

// builder makes the command from the document that it will be decided on.
type builder func(ctx context.Context, in *incident.Incident) (incident.Command, error)

func (d *Desk) do(ctx context.Context, id incident.ID, build builder, o Options) (*incident.Incident, error) {
	var span trace.Span // from the first reading on
	for try := range maxTries {
		in, err := d.Store.Incident(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("read incident %s: %w", id, err)
		}
		if o.Etag != 0 && o.Etag != in.Version {
			return nil, ErrStale.With("incident", string(id))
		}
		cmd, err := build(ctx, in)
		if err != nil {
			return nil, err
		}
		if span == nil {
			ctx, span = d.traced(ctx, in, cmd)
			defer span.End()
		}
		after, c, err := d.offer(ctx, in, cmd, o)
		if err != nil || c == nil {
			return after, err
		}
		if try == maxTries-1 { // nobody is refused for the sake of a count
			c.Seen = nil
		}
		done, err := d.Store.Commit(ctx, *c)
		switch {
		case err == nil:
			d.Tell(done)
			done.Stamp(after)
			return after, nil
		case fault.KindOf(err) != fault.Conflict, errors.Is(err, store.ErrRequestAnswered):
			return nil, fmt.Errorf("commit %T of incident %s: %w", cmd, id, err)
		}
	}
	return nil, fault.New(fault.Conflict, "INCIDENT_BUSY", "the incident is changed faster than the command could be carried out; try again", "incident", string(id))
}

// offer decides a command on an incident as it was read. It returns the incident
// after it and the commit that makes that durable, nil when nothing changes.
func (d *Desk) offer(ctx context.Context, in *incident.Incident, cmd incident.Command, o Options) (*incident.Incident, *store.Commit, error) {
	cmd, seen, err := d.complete(ctx, in, cmd)
	if err != nil {
		return nil, nil, err
	}
	dec, err := d.Decide(ctx, in, in.ID, cmd)
	if err != nil {
		return nil, nil, fmt.Errorf("decide %T of incident %s: %w", cmd, in.ID, err)
	}
	if !dec.Changed && len(dec.Alerts) == 0 && o.Request == "" {
		return dec.Incident, nil, nil
	}
	c := Commit(in, dec)
	c.Request, c.Seen = o.request(in, dec.Incident), seen
	if c.Keys, err = d.keys(ctx, cmd, dec); err != nil {
		return nil, nil, err
	}
	return dec.Incident, &c, nil
}

// complete adds to a command what its rule needs to know of records beside the
// document, and returns how the alerts among them were stored.
func (d *Desk) complete(ctx context.Context, in *incident.Incident, cmd incident.Command) (incident.Command, store.AlertsSeen, error) {
	var seen store.AlertsSeen
	var err error
	switch c := cmd.(type) {
	case incident.Resolve:
		if in.AlertsOpen > 0 {
			c.Alerts, seen, err = d.openAlerts(ctx, in.ID)
		}
		return c, seen, err
	case incident.Tick:
		if in.AutoResolveDue(d.Now()) {
			if c.Alerts, seen, err = d.openAlerts(ctx, in.ID); err != nil {
				return nil, nil, err
			}
		}
		if in.ReceiptDue(d.Now()) {
			if c.Receipts, err = d.receipts(ctx, in); err != nil {
				return nil, nil, err
			}
		}
		return c, seen, nil
	}
	return cmd, nil, nil
}

func (d *Desk) openAlerts(ctx context.Context, id incident.ID) ([]incident.Alert, store.AlertsSeen, error) {
	all, seen, err := d.Store.SeeAlerts(ctx, id)
	if err != nil {
		return nil, nil, fmt.Errorf("read the alerts of incident %s: %w", id, err)
	}
	open := all[:0]
	for _, a := range all {
		if a.Open {
			open = append(open, a)
		}
	}
	return open, seen, nil
}

// Decide has the rules decide, claiming the turn of a round-robin level when
// one is reached. in is nil for a new incident, whose id is given.
func (d *Desk) Decide(ctx context.Context, in *incident.Incident, id incident.ID, cmd incident.Command) (incident.Decision, error) {
	view := &turns{View: d.View()}
	for {
		dec, err := incident.Decide(in, cmd, view, d.Now())
		need, ok := errors.AsType[*incident.UnclaimedTurnError](err)
		if !ok {
			return dec, err
		}
		user, err := d.Store.ClaimTurn(ctx, need.Policy, need.Level, id, ready(need.Members))
		if err != nil {
			return dec, fmt.Errorf("claim the turn at level %d of policy %s: %w", need.Level+1, need.Policy, err)
		}
		view.claim(need.Policy, need.Level, user)
	}
}

// ready returns the members of a round-robin level who can be asked.
func ready(members []roster.UserID) []roster.UserID {
	return slices.DeleteFunc(slices.Clone(members), func(u roster.UserID) bool { return u == "" })
}

// Tell reports the work of a commit to whoever does it.
func (d *Desk) Tell(done store.Committed) {
	if d.Committed != nil && len(done.Work) > 0 {
		d.Committed(done.Work)
	}
}
