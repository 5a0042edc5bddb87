package directory

import (
	"context"
	"log/slog"
	"time"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// oneOutage is how far apart what is overdue may be to be of one outage, and
// how long after tocsin resume nothing is taken for the trace of one: what had
// been told to wait is decided by then.
const oneOutage = time.Hour

// HoldOverdue lets the incidents that were due before the instant wait until
// paging is resumed; notice is the id of the incident that is to tell of it. It
// does nothing while all paging is held or when somebody has just resumed it.
// When it returns nil, the snapshot says what holds.
func (d *Directory) HoldOverdue(ctx context.Context, by By, before time.Time, notice string) error {
	before = before.UTC().Truncate(time.Millisecond)
	_, err := d.Change(ctx, by, func(e *Edit) error {
		set := *e.GetSettings()
		if set.Held || e.Now.Sub(set.Resumed) < oneOutage || !before.After(set.OverdueBefore) {
			return nil
		}
		if before.Sub(set.OverdueBefore) >= oneOutage { // otherwise a partition that was looked at a little later
			set.OverdueNotice = notice
			d.logger.ErrorContext(ctx, "what was due long ago waits for tocsin resume: this is a restored back-up or the end of a long outage",
				slog.Time("due_before", before), slog.String("told_by_incident", notice))
		}
		set.OverdueBefore = before
		return e.Update(&set, "")
	})
	if err != nil {
		return err
	}
	if set := d.Snapshot().Settings(); !set.Held && set.OverdueBefore.Before(before) && d.now().Sub(set.Resumed) >= oneOutage {
		return fault.New(fault.Unavailable, "DIRECTORY_BEHIND", "the change cannot be read back yet")
	}
	return nil
}
