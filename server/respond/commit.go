package respond

import (
	"context"
	"fmt"

	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// Commit returns the commit of a decision about an incident, all but what
// becomes of its dedup keys. before is nil for a new incident.
func Commit(before *incident.Incident, dec incident.Decision) store.Commit {
	c := store.Commit{
		Before: before, Timeline: dec.Timeline, Coalesce: dec.Coalesce, Work: dec.Work,
		Feed: dec.Moved || len(dec.Timeline) > 0,
	}
	for _, a := range dec.Alerts {
		if a.Count == 0 {
			c.Drop = append(c.Drop, a)
		} else {
			c.Alerts = append(c.Alerts, a)
		}
	}
	if dec.Changed || before == nil {
		c.After = dec.Incident
	}
	return c
}

// keys returns what becomes of the dedup keys beside the incident after a
// command that closes several alerts at once: they are forgotten, or lead to
// the target of a merge. Only keys that lead here are touched. A key of another
// partition is told by work.
func (d *Desk) keys(ctx context.Context, cmd incident.Command, dec incident.Decision) ([]store.KeyGuard, error) {
	switch cmd.(type) {
	case incident.Resolve, incident.Tick, incident.CloseMerged:
	default:
		return nil, nil
	}
	in := dec.Incident
	home, err := store.PartitionOfIncident(in.ID)
	if err != nil {
		return nil, err
	}
	var guards []store.KeyGuard
	for _, a := range dec.Alerts {
		if a.Open || store.PartitionOf(string(a.Service)) != home || (in.MergedInto == "" && d.Reopens(a)) {
			continue
		}
		leads, err := d.Store.Linked(ctx, a.Service, a.Key)
		if err != nil {
			return nil, fmt.Errorf("look up the dedup keys of incident %s: %w", in.ID, err)
		}
		if leads[a.Key] == in.ID {
			guards = append(guards, store.KeyGuard{Service: a.Service, Key: a.Key, Was: in.ID, Now: in.MergedInto})
		}
	}
	return guards, nil
}

// Reopens reports whether the alert, fired again, re-opens its incident for a
// while after its end: its key is kept.
func (d *Desk) Reopens(a incident.Alert) bool {
	svc, ok := d.View().Service(a.Service)
	return ok && svc.ReopenWindow > 0
}

// receipts tells what the phones of everybody who was paged for the incident have said.
func (d *Desk) receipts(ctx context.Context, in *incident.Incident) (map[roster.UserID]incident.Receipt, error) {
	all, err := d.Store.Deliveries(ctx, store.IncidentDoc(in.ID))
	if err != nil {
		return nil, fmt.Errorf("read the deliveries of incident %s: %w", in.ID, err)
	}
	return incident.Receipts(all, in.PagedSince(d.View().Pace().ReceiptWait)), nil
}
