package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/handover"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/notify"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// handOffs tells both sides of a hand-off: a day and an hour before, and when it
// is there; the latter two with what is open. Shifts of one person that follow each other are one stint, of which
// nothing is told in between.
//
// Every instance looks, and looks back a while when it starts, so that none is
// lost by a restart. A notice has a name, by which it is sent once whoever tells.
type handOffs struct {
	snapshot func() *directory.Snapshot
	open     func(context.Context, *directory.Snapshot, handover.Turn) ([]*incident.Incident, error)
	tell     func(notify.News)
	now      func() time.Time
	log      *slog.Logger
	every    time.Duration // between looks
}

// handOffLate is how late a notice is still worth telling.
const handOffLate = 30 * time.Minute

// handOffLeads are how long before the hand-off it is told of.
var handOffLeads = [...]time.Duration{24 * time.Hour, time.Hour, 0} //nolint:gochecknoglobals // look-up table

// run looks until ctx ends.
func (h *handOffs) run(ctx context.Context) error {
	from := h.now().Add(-handOffLate)
	return rounds(ctx, h.every, h.log, "hand-offs were not looked at", func(ctx context.Context) error {
		to := h.now()
		for _, n := range handOffNews(h.snapshot(), from, to) {
			h.tell(h.withOpen(ctx, n))
		}
		if to.After(from) { // a clock that is set back tells nothing anew
			from = to
		}
		return nil
	})
}

// handOffNotice is one notice, and the hand-off that it is about.
type handOffNotice struct {
	notify.News

	turn handover.Turn
	lead time.Duration
}

// withOpen adds to a notice how much is open, once the hand-off is near. What
// cannot be read is left out: the notice itself matters more.
func (h *handOffs) withOpen(ctx context.Context, n handOffNotice) notify.News {
	if n.lead > time.Hour {
		return n.News
	}
	open, err := h.open(ctx, h.snapshot(), n.turn)
	if err != nil {
		h.log.WarnContext(ctx, "a hand-off is told without what is open", slog.String("schedule", string(n.turn.Schedule)), slog.Any("error", err))
		return n.News
	}
	n.Body += " " + handover.Summary(open)
	return n.News
}

// handOffNews returns what is to be told between two instants, [from, to).
func handOffNews(s *directory.Snapshot, from, to time.Time) []handOffNotice {
	var all []handOffNotice
	if !from.Before(to) {
		return nil
	}
	for r := range s.Schedules() {
		turns, err := s.Turns(r.ID)
		if err != nil {
			continue // its zone is not known here: paging by it says so
		}
		for _, lead := range handOffLeads {
			for _, h := range turns.HandOffs(from.Add(lead), to.Add(lead)) {
				for _, u := range []roster.UserID{h.From, h.To} {
					if user, ok := s.User(u); ok {
						all = append(all, handOffNotice{handOffWords(s, r, h, lead, user), handover.Turn{HandOff: h, Schedule: r.ID}, lead})
					}
				}
			}
		}
	}
	return all
}

// handOffWords tells one side of a hand-off, in the person's own time.
func handOffWords(s *directory.Snapshot, r *directory.Schedule, h schedule.HandOff, lead time.Duration, u roster.User) notify.News {
	at := "at " + h.At.In(s.Zone(u.Zone)).Format("Mon 15:04")
	if lead == 0 {
		at = "now"
	}
	n := notify.News{
		Name: fmt.Sprintf("handoff.%s.%d.%d.%s", r.ID, h.At.Unix(), int(lead.Hours()), u.ID), User: u.ID,
	}
	if u.ID == h.To {
		n.Title = "On call " + at
		n.Body = fmt.Sprintf("You come on call by %q %s.", r.Name, at)
		if other, ok := s.User(h.From); ok {
			n.Body = fmt.Sprintf("You come on call by %q %s, after %s.", r.Name, at, other.Name)
		}
		return n
	}
	n.Title = "Off call " + at
	n.Body = fmt.Sprintf("Your time on call by %q ends %s, and nobody follows you.", r.Name, at)
	if other, ok := s.User(h.To); ok {
		n.Body = fmt.Sprintf("Your time on call by %q ends %s; %s follows you.", r.Name, at, other.Name)
	}
	return n
}
