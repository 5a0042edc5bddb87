package schedule

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/server/roster"
)

// The reference knows the rules and nothing of the code: it looks at the wall
// clock once a minute. It shares no step with the resolver, not even the way
// from civil time to an instant.

// walls is a wall clock that was looked at every minute.
type walls struct {
	first time.Time
	shown []int64         // minutes since 1970 on the wall
	most  []int64         // the latest that was shown up to then
	final map[int64]int64 // for each minute of the wall, the last minute that showed it
}

// look walks over a window with enough before and after it.
func look(loc *time.Location, from, to time.Time) walls {
	const around = 10 * 24 * time.Hour
	w := walls{first: from.Add(-around), final: map[int64]int64{}}
	for t := w.first; t.Before(to.Add(around)); t = t.Add(time.Minute) {
		l := t.In(loc)
		m := time.Date(l.Year(), l.Month(), l.Day(), l.Hour(), l.Minute(), 0, 0, time.UTC).Unix() / 60
		w.final[m] = int64(len(w.shown))
		w.shown = append(w.shown, m)
		if n := len(w.most); n > 0 {
			m = max(m, w.most[n-1])
		}
		w.most = append(w.most, m)
	}
	return w
}

// begun reports whether the wall has shown the time, or a later one, by minute i.
func (w walls) begun(c int64, i int) bool { return c <= w.most[i] }

// over reports whether the wall shows the time for the last time at minute i or
// did before; of one that is skipped, whether it was passed.
func (w walls) over(c int64, i int) bool {
	if last, ok := w.final[c]; ok {
		return last <= int64(i)
	}
	return c <= w.most[i]
}

// handOff is the civil minute at which turn k begins.
func (r Rotation) handOff(k int) int64 {
	day := time.Unix(int64(r.Anchor.Day)*86400, 0).UTC()
	clock := int64(r.Anchor.Clock / time.Minute)
	switch r.Unit {
	case Hours:
		return day.Unix()/60 + clock + int64(60*r.Length*k)
	case Days:
		return day.AddDate(0, 0, r.Length*k).Unix()/60 + clock
	case Weeks:
		return day.AddDate(0, 0, 7*r.Length*k).Unix()/60 + clock
	case Months:
	}
	first := time.Date(day.Year(), day.Month()+time.Month(r.Length*k), 1, 0, 0, 0, 0, time.UTC)
	d := first.AddDate(0, 0, day.Day()-1)
	for d.Month() != first.Month() {
		d = d.AddDate(0, 0, -1)
	}
	return d.Unix()/60 + clock
}

// column is who a layer has, minute by minute from the window's start.
func (l Layer) column(w walls, from, to time.Time) []roster.UserID {
	i := int(from.Sub(w.first) / time.Minute)
	k := 0
	for w.begun(l.Rotation.handOff(k), i) {
		k += 100
	}
	for !w.begun(l.Rotation.handOff(k), i) {
		k--
	}
	var who []roster.UserID
	for t := from; t.Before(to); t = t.Add(time.Minute) {
		for w.begun(l.Rotation.handOff(k+1), i) {
			k++
		}
		place := (k + l.Offset) % len(l.Participants)
		if place < 0 {
			place += len(l.Participants)
		}
		user := l.Participants[place]
		if t.Before(l.Start) || !l.End.IsZero() && !t.Before(l.End) || !l.lets(w, i) {
			user = ""
		}
		who = append(who, user)
		i++
	}
	return who
}

// lets reports whether a restriction lets the layer count in minute i.
func (l Layer) lets(w walls, i int) bool {
	for _, r := range l.Restrictions {
		midnight := w.shown[i]/1440*1440 + 2*1440
		for d := midnight; d >= midnight-11*1440; d -= 1440 {
			weekday := int(time.Unix(d*60, 0).UTC().Weekday())
			if r.Weekday != 0 && r.Weekday%7 != weekday {
				continue
			}
			start := d + int64(r.Start/time.Minute)
			if w.begun(start, i) && !w.over(start+int64(r.Length/time.Minute), i) {
				return true
			}
		}
	}
	return len(l.Restrictions) == 0
}

// reference is who is on call, minute by minute.
func reference(s Schedule, from, to time.Time) []roster.UserID {
	layers := slices.Clone(s.Layers)
	slices.SortFunc(layers, func(a, b Layer) int { return cmp.Or(b.Priority-a.Priority, cmp.Compare(a.ID, b.ID)) })
	columns := make([][]roster.UserID, len(layers))
	seen := map[string]walls{}
	for i, l := range layers {
		name := cmp.Or(l.Zone, s.Zone)
		if _, ok := seen[name]; !ok {
			loc, _ := zones(name)
			seen[name] = look(loc, from, to)
		}
		columns[i] = l.column(seen[name], from, to)
	}
	var who []roster.UserID
	for t := from; t.Before(to); t = t.Add(time.Minute) {
		var user roster.UserID
		for _, c := range columns {
			if user == "" {
				user = c[len(who)]
			}
		}
		var newest *Override
		for i, o := range s.Overrides {
			if t.Before(o.Start) || !t.Before(o.End) {
				continue
			}
			if newest == nil || o.CreatedAt.After(newest.CreatedAt) || o.CreatedAt.Equal(newest.CreatedAt) && o.ID > newest.ID {
				newest = &s.Overrides[i]
			}
		}
		if newest != nil {
			user = newest.User
		}
		who = append(who, user)
	}
	return who
}

// TestResolverAgreesWithBruteForce holds rendering and point query against the
// reference, every minute of up to twelve days around a change of clocks.
func TestResolverAgreesWithBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, now := drawSchedule(t)
		from := now.Add(-time.Duration(rapid.IntRange(0, 4*1440).Draw(t, "before")) * time.Minute)
		to := now.Add(time.Duration(rapid.IntRange(1, 8*1440).Draw(t, "after")) * time.Minute)
		want := reference(s, from, to)
		r := compiled(t, s)
		got := make([]roster.UserID, len(want))
		for _, shift := range r.Render(from, to) {
			for i := shift.Start.Sub(from) / time.Minute; i < shift.End.Sub(from)/time.Minute; i++ {
				got[i] = shift.User
			}
		}
		for i := range want {
			at := from.Add(time.Duration(i) * time.Minute)
			if got[i] != want[i] {
				t.Fatalf("rendered at %v: %q, want %q\n%v", at, got[i], want[i], r.Explain(at))
			}
			if i%97 == 0 || i > 0 && want[i] != want[i-1] {
				if point := r.At(at).User; point != want[i] {
					t.Fatalf("asked at %v: %q, want %q\n%v", at, point, want[i], r.Explain(at))
				}
			}
		}
	})
}
