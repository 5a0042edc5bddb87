package engine

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/tocsin-oncall/tocsin/server/incident"
)

// overdueAfter is how late an incident may be for its people to be paged
// without anybody having looked: what is later was likely solved long ago, and
// an old back-up or the end of a long outage would page for all of it at once
// (ADR 6).
const overdueAfter = time.Hour

// shelf is what the owner knows of the incidents that wait as overdue.
type shelf struct {
	known  bool      // the partition has been looked at since it was taken over, and since the store was out
	before time.Time // OverdueBefore of the settings that the timers agree with
}

// sort looks, once, for incidents that were due long before, and makes the
// timers agree with whether such incidents wait. While all paging is held
// nothing is due anyhow, and whoever resumes it has looked.
func (o *owner) sort(ctx context.Context, now time.Time) error {
	o.sorting.Lock()
	defer o.sorting.Unlock()
	set := o.desk.View().Settings()
	fresh := !o.known()
	if !fresh && set.OverdueBefore.Equal(o.shelf.before) {
		return nil
	}
	if err := o.shelve(ctx, set.OverdueBefore); err != nil {
		return err
	}
	before := set.OverdueBefore
	if fresh && o.overdue != nil && !set.Held {
		var err error
		if before, err = o.lookBack(ctx, now, before); err != nil {
			return err
		}
	}
	o.mu.Lock()
	o.shelf = shelf{known: true, before: before}
	o.mu.Unlock()
	return nil
}

// lookBack has the settings changed when there is something overdue that does
// not wait yet, and returns what they say then.
func (o *owner) lookBack(ctx context.Context, now, before time.Time) (time.Time, error) {
	limit := now.Add(-overdueAfter)
	n, people, err := o.store.Overdue(ctx, o.partition, limit)
	if err != nil {
		return before, fmt.Errorf("look for overdue work in partition %s: %w", o.partition, err)
	}
	if n > 0 {
		if err := o.overdue(ctx, limit); err != nil {
			return before, fmt.Errorf("let %d overdue incidents of partition %s wait: %w", n, o.partition, err)
		}
		if after := o.desk.View().Settings().OverdueBefore; !after.Equal(before) {
			before = after
			if err := o.shelve(ctx, before); err != nil {
				return before, err
			}
		}
	}
	// What people are owed of other incidents must not wait behind what is set aside.
	return before, o.decideDue(ctx, people, now)
}

func (o *owner) known() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.shelf.known
}

// doubt has the partition looked at again: what a store that was out comes back
// with may be older than what it had.
func (o *owner) doubt() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.shelf.known = false
}

// shelve sets the incidents aside that were due before the instant, or takes
// all back when it is zero.
func (o *owner) shelve(ctx context.Context, before time.Time) error {
	if before.IsZero() {
		n, err := o.store.TakeBack(ctx, o.partition)
		if err != nil {
			return fmt.Errorf("take overdue incidents of partition %s back: %w", o.partition, err)
		}
		if n > 0 {
			o.setNext(o.desk.Now())
			o.log.InfoContext(ctx, "overdue incidents go on", slog.Int("count", n))
		}
		return nil
	}
	n, err := o.store.SetAside(ctx, o.partition, before)
	if err != nil {
		return fmt.Errorf("set overdue incidents of partition %s aside: %w", o.partition, err)
	}
	if n > 0 {
		o.log.WarnContext(ctx, "overdue incidents wait for tocsin resume", slog.Int("count", n), slog.Time("due_before", before))
	}
	return nil
}

// heardOf takes an incident up that waits as overdue: its monitor has spoken of
// it again, so it is not solved.
func (o *owner) heardOf(ctx context.Context, in *incident.Incident) error {
	if !in.WaitsAsOverdue(o.desk.View().Settings().OverdueBefore) {
		return nil
	}
	if err := o.store.TakeUp(ctx, in); err != nil {
		return fmt.Errorf("take the overdue incident %s up: %w", in.ID, err)
	}
	o.setNext(o.desk.Now())
	o.poke()
	return nil
}
