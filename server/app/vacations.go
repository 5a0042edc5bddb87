package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tocsin-oncall/tocsin/server/calendar"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/notify"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// vacations reads people's calendars of vacations again and again, and tells whoever
// is on call while he is away, and those who manage the schedule, while there is
// time to find somebody else. Each person is looked after by the owner of his
// partition; of one reading and of one notice there is one, whoever owns what.
type vacations struct {
	directory *directory.Directory
	fetch     func(ctx context.Context, url string) ([]byte, error)
	keep      func(ctx context.Context, user roster.UserID, r store.Reading) error
	once      claims
	tell      func(notify.News)
	owned     func() []store.Partition
	now       func() time.Time
	log       *slog.Logger
	every     time.Duration
}

const (
	readEvery  = 2 * time.Hour
	readAtOnce = fetchAtOnce / 2 // the others are for people who wait for an answer
)

// awayLeads are how long before a turn its person is told, the shortest first.
var awayLeads = []time.Duration{24 * time.Hour, 7 * 24 * time.Hour, 14 * 24 * time.Hour} //nolint:gochecknoglobals // look-up table

// run looks now and then until ctx ends.
func (w *vacations) run(ctx context.Context) error {
	return rounds(ctx, w.every, w.log, "calendars of vacations were not looked after", w.round)
}

func (w *vacations) round(ctx context.Context) error {
	snap, now := w.directory.Snapshot(), w.now()
	mine := mineOf(w.owned())
	var g errgroup.Group // not WithContext: one calendar must not stop the others
	g.SetLimit(readAtOnce)
	var told []error
	for v := range snap.AllVacations() {
		if !mine[store.PartitionOf(string(v.User))] {
			continue
		}
		g.Go(func() error { return w.read(ctx, snap, v, now) })
		told = append(told, w.warn(ctx, snap, v.User, now))
	}
	return errors.Join(append(told, g.Wait())...)
}

// read reads one calendar, if it is time. What cannot be read leaves what was read
// before, and is kept as the reason.
func (w *vacations) read(ctx context.Context, snap *directory.Snapshot, v *directory.Vacations, now time.Time) error {
	h := fnv.New32a()
	_, _ = h.Write([]byte(v.User)) // never fails; spreads the readings over the time
	seconds := int64(readEvery / time.Second)
	slot := (now.Unix() + int64(h.Sum32())%seconds) / seconds
	if first, err := w.once.first(ctx, fmt.Sprintf("vacations/%s/%d/%d", v.User, v.Created.UnixMilli(), slot), 2*readEvery); !first {
		return err
	}
	away, err := w.absences(ctx, snap, v, now)
	reading := store.Reading{Tried: now, Read: now}
	if err != nil {
		reading = store.Reading{Tried: now, Error: faultText(err)}
	} else if !slices.Equal(away, v.Away) {
		_, err := w.directory.Change(ctx, directory.ByServer("vacations"), func(e *directory.Edit) error { return e.KeepAbsences(v, away) })
		if f, ok := errors.AsType[*fault.Error](err); ok && f.Kind == fault.Invalid {
			reading = store.Reading{Tried: now, Error: f.Message}
		} else if err != nil {
			return fmt.Errorf("keep the vacations of %s: %w", v.User, err)
		}
	}
	return w.keep(ctx, v.User, reading)
}

func (w *vacations) absences(ctx context.Context, snap *directory.Snapshot, v *directory.Vacations, now time.Time) ([]directory.Away, error) {
	url, err := w.directory.OpenCalendar(v)
	if err != nil {
		return nil, err
	}
	raw, err := w.fetch(ctx, url)
	if err != nil {
		return nil, err
	}
	u, _ := snap.User(v.User)
	found, err := calendar.Absences(raw, snap.Zone(u.Zone), now, now.Add(directory.AbsencesAhead))
	if err != nil {
		return nil, err
	}
	away := make([]directory.Away, len(found))
	for i, a := range found {
		away[i] = directory.Away{Start: a.Start, End: a.End}
	}
	return away, nil
}

// faultText is what may be told of a fault: of one without a kind, nothing.
func faultText(err error) string {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f.Message
	}
	return "the calendar could not be read"
}

// warn tells of the turns within two weeks that somebody has while he is away.
func (w *vacations) warn(ctx context.Context, snap *directory.Snapshot, user roster.UserID, now time.Time) error {
	longest := awayLeads[len(awayLeads)-1]
	for _, c := range snap.AwayOnCall(user, now, now.Add(longest)) {
		i := slices.IndexFunc(awayLeads, func(l time.Duration) bool { return c.Start.Sub(now) <= l })
		if i < 0 || !c.Start.After(now) { // it has begun: who is on call is a matter of readiness
			continue
		}
		name := fmt.Sprintf("away/%s/%d/%s/%d", c.Schedules[0], c.Start.Unix(), user, int(awayLeads[i].Hours()))
		first, err := w.once.first(ctx, name, longest+warnedFor)
		if err != nil {
			return err
		}
		if first {
			w.told(snap, c, name, now)
		}
	}
	return nil
}

// told tells the person and those who manage the schedule, each on his own wall.
func (w *vacations) told(snap *directory.Snapshot, c schedule.Conflict, name string, now time.Time) {
	by, ok := snap.GetSchedule(c.Schedules[0])
	if !ok {
		return
	}
	asked := ""
	for r := range snap.Covers() {
		if r.User == c.User && r.Schedule == by.ID && r.Start.Before(c.End) && c.Start.Before(r.End) && r.StateAt(now) == schedule.RequestOpen {
			asked = " The request for cover is still open."
		}
	}
	when := func(id roster.UserID) string {
		u, _ := snap.User(id)
		const form = "Mon 2 January 15:04"
		zone := snap.Zone(u.Zone)
		return fmt.Sprintf("By %q from %s to %s.", by.Name, c.Start.In(zone).Format(form), c.End.In(zone).Format(form+" MST"))
	}
	offer := map[string]string{
		"offer": "cover", "schedule": "schedules/" + string(by.ID), "start_time": c.Start.UTC().Format(time.RFC3339), "end_time": c.End.UTC().Format(time.RFC3339),
	}
	w.tell(notify.News{
		Name: name, User: c.User, Details: offer, Title: "You are on call while you are away",
		Body: when(c.User) + cmp.Or(asked, " Ask the others of the schedule for cover, or it stays yours."),
	})
	team, ok := snap.GetTeam(by.Team)
	if !ok {
		return
	}
	for _, m := range team.Managers {
		if m != c.User {
			w.tell(notify.News{
				Name: name, User: m, Title: displayName(snap, c.User) + " is on call while away",
				Body: when(m) + cmp.Or(asked, " Nobody covers it yet."),
			})
		}
	}
}

// readVacations begins to read people's calendars.
func (s *server) readVacations(ctx context.Context, fetch func(ctx context.Context, url string) ([]byte, error)) {
	s.away = &vacations{
		directory: s.directory, fetch: fetch, keep: s.store.KeepReading, once: s.store.PutOnce, tell: s.notifier.Tell, owned: s.engine.Owned,
		now: s.clock.Now, log: s.log, every: time.Minute,
	}
	s.life.background(ctx, "vacations", s.away.run)
}
