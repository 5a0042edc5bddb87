package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/respond"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// overdue tells the catch-all, by one incident, that incidents wait because
// they were due long ago (ADR 6).
type overdue struct {
	store     *store.Store
	directory *directory.Directory
	desk      *respond.Desk
	now       func() time.Time
	log       *slog.Logger
	every     time.Duration // between looks
}

// hold lets what was due before the instant wait.
func (o *overdue) hold(ctx context.Context, before time.Time) error {
	notice := store.NewIncidentID(store.PartitionOf("overdue"), o.now())
	return o.directory.HoldOverdue(ctx, directory.ByServer("engine"), before, string(notice))
}

// run sees to it that the incident exists, whoever has asked for it and died
// since. It is counted when no more come in.
func (o *overdue) run(ctx context.Context) error {
	var told incident.ID
	last := -1
	tick := time.NewTicker(o.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		set := o.directory.Snapshot().Settings()
		id := incident.ID(set.OverdueNotice)
		if id == "" || id == told {
			continue
		}
		n, err := o.store.Aside(ctx)
		if err == nil && n != last {
			last = n
			continue
		}
		if err == nil {
			err = o.tell(ctx, id, n, set.OverdueBefore)
		}
		if err != nil {
			o.log.ErrorContext(ctx, "nobody could be told that overdue incidents wait; trying again", slog.Any("error", err))
			continue
		}
		told, last = id, -1
	}
}

// tell begins the incident unless somebody else has. It has no policy, so the
// catch-all is asked.
func (o *overdue) tell(ctx context.Context, id incident.ID, n int, before time.Time) error {
	_, err := o.store.Incident(ctx, id)
	if err == nil || fault.KindOf(err) != fault.NotFound {
		return err
	}
	_, err = o.desk.Begin(ctx, incident.Begin{
		ID: id, By: incident.System("overdue"), Urgency: incident.High, HoldOpen: true,
		Event: event.Event{
			Action: event.Trigger, Severity: event.Critical, Source: "tocsin",
			Summary: fmt.Sprintf("%s overdue since before %s: look, then run tocsin resume", waiting(n), before.UTC().Format("2006-01-02 15:04 MST")),
		},
	}, nil, respond.Options{})
	if fault.KindOf(err) == fault.Conflict && err != nil {
		return nil // another instance was faster
	}
	return err
}

func waiting(n int) string {
	if n == 1 {
		return "Paging is held for 1 incident,"
	}
	return fmt.Sprintf("Paging is held for %d incidents,", n)
}
