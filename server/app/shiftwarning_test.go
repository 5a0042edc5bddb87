package app

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/civil"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/notify"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// night puts Ann on call by a schedule that the policy of the shop asks, from an instant on.
func (in *instance) night(start time.Time) {
	in.t.Helper()
	_, err := in.server.directory.Change(in.t.Context(), directory.ByServer("test"), func(e *directory.Edit) error {
		e.Force()
		if err := e.PutSchedule(&directory.Schedule{Schedule: schedule.Schedule{ID: "nights", Name: "Nights", Zone: "UTC", Layers: []schedule.Layer{{
			ID: "night", Participants: []roster.UserID{"ann"}, Start: start, End: start.Add(8 * time.Hour),
			Rotation: schedule.Rotation{Unit: schedule.Weeks, Length: 1, Anchor: civil.Show(start, time.UTC)},
		}}}}, "", schedule.AtOnce); err != nil {
			return err
		}
		p, _ := e.GetPolicy("shop")
		by := *p
		by.Levels = slices.Clone(p.Levels)
		by.Levels[0].Targets = []escalation.Target{{Kind: escalation.ScheduleTarget, ID: "nights"}}
		return e.Update(&by, "")
	})
	if err != nil {
		in.t.Fatal(err)
	}
}

// Whoever comes on call and could not be woken is told a day before and an hour
// before, and so is the catch-all who would stand in: once each, by two
// instances together and after one of them has started again. One whose phone is alive is not.
func TestShiftWarnings(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	here, there := w.start(), w.start()
	here.apply(organisation)
	start := time.Now().UTC().Truncate(time.Hour).Add(72 * time.Hour)
	here.night(start)
	knows := func(in *instance) {
		settles(t, "the instance knows the schedule", func() bool { _, ok := in.server.directory.Snapshot().GetSchedule("nights"); return ok })
	}
	knows(there)
	settles(t, "both instances own something", func() bool { return len(here.server.engine.Owned()) > 0 && len(there.server.engine.Owned()) > 0 })

	var mu sync.Mutex
	var told []notify.News
	look := func(before time.Duration, instances ...*instance) []notify.News {
		t.Helper()
		told = nil
		var wg sync.WaitGroup
		for _, in := range instances {
			k := *in.server.shifts
			k.now = func() time.Time { return start.Add(-before) }
			k.owned = func() []store.Partition { return []store.Partition{store.PartitionOf("ann")} } // as after a change of owners
			k.tell = func(n notify.News) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, n)
			}
			for range 3 {
				wg.Go(func() {
					if err := k.round(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		slices.SortFunc(told, func(a, b notify.News) int { return strings.Compare(string(a.User), string(b.User)) })
		return told
	}
	wants := func(when string, got []notify.News, words string) {
		t.Helper()
		if len(got) != 2 || got[0].User != "ann" || got[1].User != "cy" || !strings.Contains(got[0].Title, words) || !strings.HasPrefix(got[1].Title, "Ann is on call") || !got[0].Aside {
			t.Errorf("%s these were told: %+v, want Ann and Cy, %s", when, got, words)
		}
	}
	if got := look(25*time.Hour, here, there); len(got) != 0 {
		t.Errorf("25 h before these were told: %+v", got)
	}
	wants("23 h before", look(23*time.Hour, here, there), "within a day")
	there.stop()
	again := w.start()
	knows(again)
	if got := look(22*time.Hour, here, again); len(got) != 0 {
		t.Errorf("after a start these were told again: %+v", got)
	}
	wants("an hour before", look(59*time.Minute, here, again), "within the hour")
	if got := look(30*time.Minute, here, again); len(got) != 0 {
		t.Errorf("half an hour before these were told again: %+v", got)
	}

	ann := here.bring(w, "ann", pb.Device_PLATFORM_IOS)
	if ann.me().GetHealth() != pb.Device_HEALTH_GREEN {
		t.Fatalf("Ann's phone is %v", ann.me())
	}
	start = w.watch.Now().Add(2 * time.Hour).Truncate(time.Minute)
	here.night(start)
	if got := look(2*time.Hour, here); len(got) != 0 {
		t.Errorf("with a phone that is alive these were told: %+v", got)
	}
}
