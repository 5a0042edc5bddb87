package app

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/notify"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// awayFrom is a calendar with one absence of whole days.
func awayFrom(from, to time.Time) []byte {
	return []byte("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nX-WR-TIMEZONE:UTC\r\nBEGIN:VEVENT\r\nUID:a\r\nSUMMARY:Sailing\r\n" +
		"DTSTART;VALUE=DATE:" + from.Format("20060102") + "\r\nDTEND;VALUE=DATE:" + to.Format("20060102") + "\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n")
}

// TestVacationsAreReadAgain: Ann's calendar is read once in two hours by two
// instances together; what it says anew is known, and when it falls silent what
// was read last stays, with the reason. She and the manager of the schedule's team
// are told 14, 7 and 1 days before her turn, once each, until somebody has taken it.
func TestVacationsAreReadAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	here, there := w.start(), w.start()
	here.apply(organisation + `
teams:
  - {id: shop, name: Shop, members: [ann, bo, cy], managers: [cy]}
`)
	start := time.Now().UTC().Truncate(24 * time.Hour).Add(30 * 24 * time.Hour)
	here.night(start)
	here.change(func(e *directory.Edit) error {
		r, _ := e.GetSchedule("nights")
		of := *r
		of.Team = "shop"
		return e.PutSchedule(&of, "", schedule.AtOnce)
	})

	var mu sync.Mutex
	var told []notify.News
	reads, answer, broken := 0, awayFrom(start.AddDate(0, 0, -1), start.AddDate(0, 0, 1)), error(nil)
	sealed, err := here.server.directory.SealCalendar("ann", "https://calendar.example.org/ann")
	if err != nil {
		t.Fatal(err)
	}
	here.change(func(e *directory.Edit) error {
		return e.SetVacations(&directory.Vacations{User: "ann", Sealed: sealed})
	})
	settles(t, "the other instance knows the calendar", func() bool { _, ok := there.server.directory.Snapshot().GetVacations("ann"); return ok })
	look := func(at time.Time) []notify.News {
		t.Helper()
		told = nil
		var wg sync.WaitGroup
		for _, in := range []*instance{here, there} {
			k := *in.server.away
			k.now = func() time.Time { return at }
			k.owned = func() []store.Partition { return []store.Partition{store.PartitionOf("ann")} } // as after a change of owners
			k.fetch = func(_ context.Context, url string) ([]byte, error) {
				mu.Lock()
				defer mu.Unlock()
				if url != "https://calendar.example.org/ann" {
					t.Errorf("asked for %q", url)
				}
				reads++
				return answer, broken
			}
			k.tell = func(n notify.News) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, n)
			}
			for range 2 {
				wg.Go(func() {
					if err := k.round(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		settles(t, "both instances know the same", func() bool {
			return here.server.directory.CatchUp(t.Context()) == nil && there.server.directory.CatchUp(t.Context()) == nil
		})
		slices.SortFunc(told, func(a, b notify.News) int { return strings.Compare(string(a.User), string(b.User)) })
		return told
	}
	away := func() []schedule.Absence { return there.server.directory.Snapshot().AbsencesOf("ann") }
	reading := func() store.Reading {
		r, err := here.server.store.Reading(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		return r
	}

	first := start.AddDate(0, 0, -20).Add(time.Hour)
	if got := look(first); len(got) != 0 || reads != 1 || len(away()) != 1 || !away()[0].Start.Equal(start.AddDate(0, 0, -1)) {
		t.Fatalf("read %d times, told %v, away %v", reads, got, away())
	}
	look(first.Add(time.Minute))
	if reads != 1 {
		t.Errorf("within a minute it is read %d times", reads)
	}
	answer, broken = []byte("<html>"), nil
	look(first.Add(readEvery))
	if reads != 2 || len(away()) != 1 {
		t.Errorf("read %d times; of a page that is no calendar is left %v", reads, away())
	}
	if r := reading(); !strings.Contains(r.Error, "no iCalendar") || r.Read.IsZero() || !r.Tried.After(r.Read) {
		t.Errorf("the reading is %+v", r)
	}
	answer, broken = nil, fault.New(fault.Unavailable, "CALENDAR_SILENT", "the calendar did not answer")
	look(first.Add(2 * readEvery))
	if r := reading(); r.Error != "the calendar did not answer" || len(away()) != 1 {
		t.Errorf("the reading is %+v, and away %v", r, away())
	}

	wants := func(days int) {
		t.Helper()
		at := start.Add(-time.Duration(days) * 24 * time.Hour).Add(time.Minute)
		got := look(at)
		if len(got) != 2 || got[0].User != "ann" || got[1].User != "cy" || got[0].Title != "You are on call while you are away" || !strings.HasPrefix(got[1].Title, "Ann is on call") {
			t.Fatalf("%d days before these were told: %+v", days, got)
		}
		if d := got[0].Details; d["offer"] != "cover" || d["schedule"] != "schedules/nights" || d["start_time"] != start.Format(time.RFC3339) {
			t.Errorf("what is offered is %v", d)
		}
		if got := look(at.Add(time.Hour)); len(got) != 0 {
			t.Errorf("an hour later these were told again: %+v", got)
		}
	}
	wants(14)
	wants(7)
	here.change(func(e *directory.Edit) error {
		return e.AddOverrides("nights", schedule.Override{ID: "bos", User: "bo", Start: start, End: start.Add(8 * time.Hour)})
	})
	settles(t, "the other instance knows that Bo covers", func() bool {
		s, ok := there.server.directory.Snapshot().Holder("nights", start)
		return ok && s.User == roster.UserID("bo")
	})
	if got := look(start.Add(-23 * time.Hour)); len(got) != 0 {
		t.Errorf("although Bo covers, these were told: %+v", got)
	}
}

// Whoever is told of a turn while away can ask for cover out of what the push
// carries.
func TestOfferOfCoverReachesThePhone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	in := w.start()
	in.apply(organisation)
	ann := in.bring(w, "ann", pb.Device_PLATFORM_IOS)
	in.server.notifier.Tell(notify.News{Name: "x", User: "ann", Title: "You are on call while you are away", Details: map[string]string{"offer": "cover", "schedule": "schedules/nights"}})
	n := gets(t, ann.Phone, "the news", info("You are on call while you are away"))
	if n.Details["offer"] != "cover" || n.Details["schedule"] != "schedules/nights" {
		t.Errorf("the push carries %v", n.Details)
	}
}
