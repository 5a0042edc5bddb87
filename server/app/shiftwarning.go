package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/notify"
	"github.com/tocsin-oncall/tocsin/server/readiness"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// shiftWarning tells whoever is about to come on call and could not be woken,
// and those who would have to stand in for him, while there is time to mend it.
// Each person is looked after by the owner of his partition; of one warning, one
// is sent, whoever owns what and however often a server starts.
type shiftWarning struct {
	directory *directory.Directory
	words     func(ctx context.Context, ids ...roster.DeviceID) (map[roster.DeviceID]roster.Word, error)
	once      claims
	tell      func(notify.News)
	owned     func() []store.Partition
	now       func() time.Time
	log       *slog.Logger
	every     time.Duration
}

// lead is how long before a stint its person is told.
type lead struct {
	before time.Duration
	words  string
}

// leads are the shortest first. Who becomes unready between two is told then.
var leads = []lead{{time.Hour, "within the hour"}, {24 * time.Hour, "within a day"}} //nolint:gochecknoglobals // look-up table

// warnedFor is how long it is remembered that somebody was warned: until the
// stint has begun.
const warnedFor = 48 * time.Hour

// run looks now and then until ctx ends.
func (w *shiftWarning) run(ctx context.Context) error {
	return rounds(ctx, w.every, w.log, "shifts to come were not looked at", w.round)
}

// round warns of the stints that begin within a day.
func (w *shiftWarning) round(ctx context.Context) error {
	snap, now := w.directory.Snapshot(), w.now()
	mine := mineOf(w.owned())
	longest := leads[len(leads)-1].before
	for r := range snap.Schedules() {
		turns, err := snap.Turns(r.ID)
		if err != nil {
			return fmt.Errorf("look at schedule %s: %w", r.ID, err)
		}
		for _, h := range turns.HandOffs(now.Add(time.Second), now.Add(longest)) {
			if h.To == "" || !mine[store.PartitionOf(string(h.To))] {
				continue
			}
			if err := w.look(ctx, snap, r, h, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// look warns of one stint, if its person is counted on and not ready.
func (w *shiftWarning) look(ctx context.Context, snap *directory.Snapshot, r *directory.Schedule, h schedule.HandOff, now time.Time) error {
	if len(snap.CountedOn(h.To)) == 0 {
		return nil
	}
	answer, err := w.ready(ctx, snap, h.To, now)
	if err != nil || answer.Verdict == readiness.Ready {
		return err
	}
	i := slices.IndexFunc(leads, func(l lead) bool { return h.At.Sub(now) <= l.before })
	if i < 0 {
		return nil
	}
	name := fmt.Sprintf("unready/%s/%d/%s/%s", r.ID, h.At.Unix(), h.To, leads[i].before)
	if first, err := w.once.first(ctx, name, warnedFor); !first {
		return err
	}
	w.warn(snap, r, h, answer, name, leads[i].words)
	return nil
}

// warn tells the person and those who would have to stand in for him.
func (w *shiftWarning) warn(snap *directory.Snapshot, r *directory.Schedule, h schedule.HandOff, a readiness.Answer, name, soon string) {
	u, _ := snap.User(h.To)
	why := "Nothing says that a page would wake you."
	if len(a.Reasons) > 0 {
		why = a.Reasons[0].Text
		if d, ok := snap.GetDevice(a.Reasons[0].Device); ok {
			why = d.Name + ": " + why
		}
	}
	at := h.At.In(snap.Zone(u.Zone)).Format("Mon 15:04 MST")
	w.tell(notify.News{
		Name: name, User: h.To, Aside: true,
		Title: "You are on call " + soon + " and might not be woken", Body: "By " + r.Name + " from " + at + ". " + why,
	})
	for _, b := range snap.Backers(h.To) {
		w.tell(notify.News{
			Name: name, User: b, Aside: true,
			Title: u.Name + " is on call " + soon + " and might not be woken", Body: "By " + r.Name + " from " + at + ". What was found: " + why,
		})
	}
}

// ready says whether the person could be woken now.
func (w *shiftWarning) ready(ctx context.Context, snap *directory.Snapshot, id roster.UserID, now time.Time) (readiness.Answer, error) {
	u, ok := snap.User(id)
	if !ok {
		return readiness.Answer{}, errors.New("user " + string(id) + " of a schedule is not there")
	}
	devices := snap.Devices(id)
	words := map[roster.DeviceID]roster.Word{}
	if len(devices) > 0 {
		ids := make([]roster.DeviceID, len(devices))
		for i, d := range devices {
			ids[i] = d.ID
		}
		var err error
		if words, err = w.words(ctx, ids...); err != nil {
			return readiness.Answer{}, err
		}
	}
	return readiness.Of(u, devices, words, now), nil
}
