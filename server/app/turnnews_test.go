package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/notify"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// crew is a team whose manager is Cy and whose schedule is Ann's, Bo's and Dee's
// in turn, a day each from the hand-off on, until an end.
func crew(handOff, end time.Time) string {
	return fmt.Sprintf(`
people:
  - {id: ann, name: Ann, email: ann@example.com, role: responder}
  - {id: bo, name: Bo, email: bo@example.com, role: responder}
  - {id: cy, name: Cy, email: cy@example.com, role: admin}
  - {id: dee, name: Dee, email: dee@example.com, role: responder}
teams:
  - {id: core, name: Core, members: [ann, bo, cy, dee], managers: [cy]}
schedules:
  - {id: primary, name: Primary, team: core, time_zone: UTC, layers: [{id: days, rotation: {unit: days, handoff: "%s"}, participants: [ann, bo, dee], end_time: "%s"}]}
policies:
  - {id: shop, name: Shop, levels: [{targets: [schedules/primary], delay: 1h}], fallback: [users/cy]}
services:
  - {id: checkout, name: Checkout, escalation_policy: shop, integrations: [{id: monitor, source: generic, key: `+key+`}]}
settings: {organization: Example, catch_all: [cy]}
`, handOff.UTC().Format("2006-01-02T15:04"), end.UTC().Format(time.RFC3339))
}

// lookout has instances look at instants of a clock of its own.
type lookout struct {
	t    *testing.T
	mu   sync.Mutex
	told []notify.News
}

// look returns what all of the instances together tell at an instant, by person,
// each looking three times at once.
func (l *lookout) look(at time.Time, instances ...*instance) []string {
	l.t.Helper()
	l.told = nil
	var wg sync.WaitGroup
	for _, in := range instances {
		for range 3 {
			k := *in.server.turns
			k.now = func() time.Time { return at }
			k.owned = store.All // as after a change of owners
			k.once = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
				return in.server.store.PutOnce(ctx, "test/"+key, value, ttl) // beside what the servers tell by themselves
			}
			k.tell = func(n notify.News) {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.told = append(l.told, n)
			}
			wg.Go(func() {
				if err := k.round(l.t.Context(), true); err != nil {
					l.t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	slices.SortFunc(l.told, func(a, b notify.News) int { return cmp.Compare(a.User, b.User) })
	var got []string
	for _, n := range l.told {
		got = append(got, string(n.User)+": "+n.Title)
	}
	return got
}

func (l *lookout) wants(when string, got []string, want ...string) {
	l.t.Helper()
	if !slices.Equal(got, want) {
		l.t.Errorf("%s these were told: %q, want %q", when, got, want)
	}
}

// settled waits until both instances have the same configuration.
func settled(t *testing.T, a, b *instance) {
	t.Helper()
	settles(t, "both have the configuration", func() bool {
		return a.server.directory.Snapshot().Position() == b.server.directory.Snapshot().Position()
	})
}

// TestCoverIsTold: the others are asked and reminded, and both sides are told
// what becomes of it, each once by two instances and after a new start.
func TestCoverIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	here, there := w.start(), w.start()
	today := w.watch.Now().UTC().Truncate(time.Minute)
	here.apply(crew(today.Add(-time.Hour), today.Add(300*24*time.Hour)))
	l := &lookout{t: t}
	day := func(n int) time.Time { return today.Add(-time.Hour).Add(time.Duration(n) * 24 * time.Hour) }
	ask := func(id schedule.RequestID, n int, swap schedule.Part) {
		here.change(func(e *directory.Edit) error {
			return e.AskCover(&directory.Cover{Cover: schedule.Cover{ID: id, Schedule: "primary", User: "ann", Start: day(n), End: day(n + 1), Note: "wedding"}, Theirs: swap})
		})
		settled(t, here, there)
	}
	ask("c1", 9, schedule.Part{}) // the tenth day, Ann's again
	soon := w.watch.Now().Add(time.Second)
	l.wants("when it is asked", l.look(soon, here, there), "bo: Ann asks for cover", "dee: Ann asks for cover")
	if body := l.told[0].Body; !strings.Contains(body, "wedding") || !strings.Contains(body, `By "Primary", `+day(9).Format("Mon 2 Jan 15:04")+" to ") || !strings.Contains(body, "cover accept c1") {
		t.Errorf("Bo reads %q", body)
	}
	l.wants("then", l.look(soon.Add(time.Hour), here, there))
	l.wants("a week before", l.look(day(2).Add(time.Minute), here, there), "bo: Still open: Ann asks for cover", "dee: Still open: Ann asks for cover")
	there.stop()
	again := w.start()
	settled(t, here, again)
	l.wants("after a start", l.look(day(2).Add(2*time.Minute), here, again))
	l.wants("three days before", l.look(day(6), again), "bo: Still open: Ann asks for cover", "dee: Still open: Ann asks for cover")
	l.wants("much too late for that one", l.look(day(7).Add(-time.Minute), again))
	here.change(func(e *directory.Edit) error { return e.TakeCover("c1", "bo", "") })
	settled(t, here, again)
	l.wants("when it is taken", l.look(w.watch.Now(), here, again), "ann: Bo covers for you", "bo: You cover for Ann")
	l.wants("then", l.look(w.watch.Now().Add(time.Hour), here, again))
	l.wants("days later, were it forgotten", l.look(w.watch.Now().Add(50*time.Hour), here, again))

	there = again
	theirs := schedule.Part{User: "bo", Start: day(4), End: day(5)}
	ask("s1", 12, theirs)
	l.wants("a swap is for one", l.look(w.watch.Now().Add(time.Second), here, there), "bo: Ann offers you a swap")
	here.change(func(e *directory.Edit) error { return e.CancelCover("s1", "bo", "") })
	settled(t, here, there)
	l.wants("declined", l.look(w.watch.Now(), here, there), "ann: Bo has declined the swap", "bo: You have declined the swap with Ann")
	ask("s2", 12, theirs)
	here.change(func(e *directory.Edit) error { return e.TakeCover("s2", "bo", "") })
	settled(t, here, there)
	l.wants("accepted", l.look(w.watch.Now(), here, there), "ann: Bo has accepted the swap", "bo: You have swapped with Ann")

	ask("s3", 15, schedule.Part{User: "dee", Start: day(8), End: day(9)})
	_ = l.look(w.watch.Now().Add(time.Second), here, there)
	l.wants("lapsed", l.look(day(8).Add(time.Minute), here, there), "ann: The swap was not accepted in time", "dee: The swap was not accepted in time")
	ask("c2", 18, schedule.Part{})
	_ = l.look(w.watch.Now().Add(time.Second), here, there)
	here.change(func(e *directory.Edit) error { return e.CancelCover("c2", "ann", "") })
	settled(t, here, there)
	l.wants("taken back by who asked", l.look(w.watch.Now(), here, there))
}

// TestGapsAreToldAhead: the manager hears of a gap 30, 7 and 1 days before, as
// critical since the level asks nobody else; of what is meant so, and of nights
// that come back, he hears nothing.
func TestGapsAreToldAhead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	here, there := w.start(), w.start()
	today := w.watch.Now().UTC().Truncate(time.Minute)
	end := today.Add(40 * 24 * time.Hour)
	here.apply(crew(today.Add(-time.Hour), end))
	here.change(func(e *directory.Edit) error {
		office := &directory.Schedule{Schedule: schedule.Schedule{ID: "office", Name: "Office", Team: "core", Zone: "Europe/Zurich"}}
		r, _ := e.GetSchedule("primary")
		office.Layers = slices.Clone(r.Layers)
		office.Layers[0].End = time.Time{}
		office.Layers[0].Restrictions = schedule.Weekly{Days: []int{1, 2, 3, 4, 5}, Start: 9 * time.Hour, Length: 8 * time.Hour}.Restrictions()
		if err := e.PutSchedule(office, "", schedule.AtOnce); err != nil {
			return err
		}
		return e.AddOverrides("primary", schedule.Override{ID: "party", Start: today.Add(3 * 24 * time.Hour), End: today.Add(4 * 24 * time.Hour)})
	})
	settled(t, here, there)
	l := &lookout{t: t}
	title := `cy: Critical: nobody is on call by "Primary" from ` + end.Format("Mon 2 Jan 15:04")
	before := func(d time.Duration) []string { return l.look(end.Add(-d), here, there) }
	const day = 24 * time.Hour
	l.wants("31 days before", before(31*day))
	l.wants("30 days before", before(30*day-time.Minute), title)
	if n := l.told[0]; !n.Aside || !strings.Contains(n.Body, "on. Then there is nobody else at level 1 of the policy Shop.") {
		t.Errorf("Cy is told %+v", n)
	}
	l.wants("29 days before", before(29*day))
	l.wants("a week before", before(7*day-time.Minute), title)
	there.stop()
	there = w.start()
	settled(t, here, there)
	l.wants("six days before", before(6*day))
	l.wants("a day before", before(day-time.Minute), title)
	l.wants("an hour before", before(time.Hour))
	l.wants("when it is there", before(-time.Hour))

	here.change(func(e *directory.Edit) error {
		p, _ := e.GetPolicy("shop")
		next := *p
		next.Levels = slices.Clone(p.Levels)
		next.Levels[0].Targets = append(slices.Clone(p.Levels[0].Targets), escalation.Target{Kind: escalation.UserTarget, ID: "cy"})
		if err := e.Update(&next, ""); err != nil {
			return err
		}
		r, _ := e.GetSchedule("primary")
		shorter := *r
		shorter.Layers = slices.Clone(r.Layers)
		shorter.Layers[0].End = today.Add(5 * day)
		return e.PutSchedule(&shorter, "", schedule.AtOnce)
	})
	settled(t, here, there)
	l.wants("of a gap that comes to be five days before", l.look(today.Add(time.Minute), here, there),
		`cy: Nobody is on call by "Primary" from `+today.Add(5*day).Format("Mon 2 Jan 15:04"))
}

// TestCoverIsTakenOnOneOfTwoServers: two people accept one request at once, each
// on a server of his own, and both decide before either has committed. One has
// it; the other decides again and is told that it is not open; the schedule has
// one override more, and both servers say so.
func TestCoverIsTakenOnOneOfTwoServers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	servers := []*instance{w.start(), w.start()}
	today := w.watch.Now().UTC().Truncate(time.Minute)
	servers[0].apply(crew(today.Add(-time.Hour), today.Add(300*24*time.Hour)))
	people := []roster.UserID{"bo", "dee"}
	for round := range 8 {
		id := schedule.RequestID(fmt.Sprintf("c%d", round))
		start := today.Add(-time.Hour).Add(time.Duration(3*(round+1)) * 24 * time.Hour) // Ann's
		servers[0].change(func(e *directory.Edit) error {
			return e.AskCover(&directory.Cover{Cover: schedule.Cover{ID: id, Schedule: "primary", User: "ann", Start: start, End: start.Add(24 * time.Hour)}})
		})
		settled(t, servers[0], servers[1])
		var decided, done sync.WaitGroup
		decided.Add(len(servers))
		errs, tries := make([]error, 2), make([]int, 2)
		for i, in := range servers {
			done.Go(func() {
				_, errs[i] = in.server.directory.Change(t.Context(), directory.ByServer("test"), func(e *directory.Edit) error {
					if tries[i]++; tries[i] == 1 {
						decided.Done()
						decided.Wait()
					}
					return e.TakeCover(id, people[i], "")
				})
			})
		}
		done.Wait()
		first := 0
		if errs[0] != nil {
			first = 1
		}
		if f, ok := errors.AsType[*fault.Error](errs[1-first]); errs[first] != nil || !ok || f.Reason != "NOT_OPEN" || tries[1-first] < 2 {
			t.Fatalf("round %d: Bo got %v, Dee got %v, after %v tries; want one of them to have it", round, errs[0], errs[1], tries)
		}
		settled(t, servers[0], servers[1])
		for _, in := range servers {
			c, _ := in.server.directory.Snapshot().GetCover(id)
			shift, _ := in.server.directory.Snapshot().Holder("primary", start.Add(time.Hour))
			if c.By != people[first] || len(c.Overrides) != 1 || shift.User != people[first] {
				t.Errorf("round %d: a server has it taken by %s with %v, on call %s; want %s", round, c.By, c.Overrides, shift.User, people[first])
			}
		}
	}
}

// TestCoverReachesAPhone: the whole way, from one person's call to the other's screen.
func TestCoverReachesAPhone(t *testing.T) {
	w := newWorld(t, redistest.Start(t).URL())
	in := w.start()
	today := w.watch.Now().UTC().Truncate(time.Minute)
	in.apply(crew(today.Add(-time.Hour), today.Add(300*24*time.Hour)))
	ann, bo := in.bring(w, "ann", pb.Device_PLATFORM_IOS), in.bring(w, "bo", pb.Device_PLATFORM_ANDROID)
	in.change(func(e *directory.Edit) error {
		return e.AskCover(&directory.Cover{Cover: schedule.Cover{ID: "c1", Schedule: "primary", User: "ann", Start: today.Add(71 * time.Hour), End: today.Add(95 * time.Hour)}})
	})
	gets(t, bo.Phone, "the request", func(n pushtest.Notification) bool {
		return n.Kind == "info" && n.Title == "Ann asks for cover" && !n.Audible()
	})
	turns := pb.NewOnCallServiceClient(dial(t, in.doors.Listen))
	if _, err := turns.AcceptCoverRequest(bo.auth, &pb.AcceptCoverRequestRequest{Name: "coverRequests/c1"}); err != nil {
		t.Fatal(err)
	}
	gets(t, ann.Phone, "that it is taken", func(n pushtest.Notification) bool { return n.Kind == "info" && n.Title == "Bo covers for you" })
}

// TestOneThatFailsKeepsNothingBack: what cannot be told of one request is no reason
// not to tell of the others.
func TestOneThatFailsKeepsNothingBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	in := w.start()
	today := w.watch.Now().UTC().Truncate(time.Minute)
	in.apply(crew(today.Add(-time.Hour), today.Add(300*24*time.Hour)))
	in.change(func(e *directory.Edit) error {
		for i, id := range []schedule.RequestID{"c1", "c2", "c3"} {
			start := today.Add(-time.Hour).Add(time.Duration(9+3*i) * 24 * time.Hour)
			if err := e.AskCover(&directory.Cover{Cover: schedule.Cover{ID: id, Schedule: "primary", User: "ann", Start: start, End: start.Add(24 * time.Hour)}}); err != nil {
				return err
			}
		}
		return nil
	})
	for _, broken := range []string{"c1", "c2", "c3"} {
		told := map[string]bool{}
		k := *in.server.turns
		k.now, k.owned = func() time.Time { return today.Add(2 * time.Minute) }, store.All
		k.once = func(_ context.Context, key string, _ []byte, _ time.Duration) error {
			if strings.Contains(key, "/"+broken+"/") {
				return errors.New("it cannot be kept")
			}
			return nil
		}
		k.tell = func(n notify.News) { told[strings.Split(n.Name, "/")[1]] = true }
		if err := k.round(t.Context(), false); err == nil || len(told) != 2 {
			t.Errorf("beside %s these were told: %v (%v), want the other two, and the fault", broken, told, err)
		}
	}
}
