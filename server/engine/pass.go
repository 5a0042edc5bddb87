package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// maxHops is how often an event follows a merged incident to another
// partition before it begins an incident of its own.
const maxHops = 3

// elsewhere reports whether the incident is in another partition.
func (o *owner) elsewhere(id incident.ID) bool {
	if id == "" {
		return false
	}
	p, err := store.PartitionOfIncident(id)
	return err == nil && p != o.partition
}

// bounce sends a forwarded event back whose target has ended: it begins an
// incident where its service is at home.
func (o *owner) bounce(ctx context.Context, s step) error {
	if err := o.store.Unlink(ctx, s.Service, s.Key, s.Target); err != nil {
		return fmt.Errorf("unlink a key of service %s: %w", s.Service, err)
	}
	return o.pass(ctx, s, "")
}

// pass hands events on: to the incident that their key was merged into or,
// without one, home. They are appended there before they are deleted here; the
// sender's id folds what a kill in between would double.
func (o *owner) pass(ctx context.Context, s step, target incident.ID) error {
	on := make([]store.InboxEntry, len(s.run))
	for i, e := range s.run {
		e.Event.SenderID = fmt.Sprintf("forward/%s/%s/%d", o.partition, e.ID, e.Hops)
		e.ID, e.Target, e.Hops = "", target, e.Hops+1
		on[i] = e
	}
	if err := o.store.Append(ctx, on); err != nil {
		return fmt.Errorf("forward an event of service %s: %w", s.Service, err)
	}
	_, err := o.store.Commit(ctx, store.Commit{Partition: o.partition, Inbox: s.ids})
	if err != nil && !errors.Is(err, store.ErrInboxGone) {
		return fmt.Errorf("delete a forwarded event of service %s: %w", s.Service, err)
	}
	return nil
}
