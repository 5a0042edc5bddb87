package schedule

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// TestEightNewcomersFollowEight runs sixteen weeks of eight primaries, a week
// each, with eight newcomers paired by place. In the eleventh week, somebody
// outside of the rotation has two days of the primary's turn.
func TestEightNewcomersFollowEight(t *testing.T) {
	start := at(t, "2026-09-07T07:00Z") // Monday 09:00 in Berlin; clocks go back in the seventh week
	now := start.Add(-day)
	s := edited(t, Schedule{}, now, AtOnce, func(s *Schedule) {
		*s = weekly(t, "ABCDEFGH")
		s.Layers[0].Rotation.Anchor = wall(t, "2026-09-07T09:00")
		s.Layers[0].Trainees = Trainees{Users: people("abcdefgh"), Mode: Practise}
	})
	away := span{at(t, "2026-11-17T08:00Z"), at(t, "2026-11-19T08:00Z")} // in C's second turn
	s, err := s.WithOverrides(now, Override{ID: "o", Start: away.start, End: away.end, User: "X"})
	if err != nil {
		t.Fatal(err)
	}
	r := compiled(t, s)
	end := wall(t, "2026-12-28T09:00").In(zone(t, "Europe/Berlin"))

	var want []Shadowing
	add := func(from, to time.Time, primary, newcomer string) {
		want = append(want, Shadowing{from, to, roster.UserID(primary), Follower{User: roster.UserID(newcomer), Mode: Practise, Layer: "l"}})
	}
	for week := range int64(16) {
		monday := wall(t, "2026-09-07T09:00").Add(week * 7 * 86400)
		from, to := monday.In(zone(t, "Europe/Berlin")), monday.Add(7*86400).In(zone(t, "Europe/Berlin"))
		primary, newcomer := "ABCDEFGH"[week%8:week%8+1], "abcdefgh"[week%8:week%8+1]
		if week == 10 {
			add(from, away.start, primary, newcomer)
			add(away.start, away.end, "X", newcomer)
			from = away.end
		}
		add(from, to, primary, newcomer)
	}
	if got := r.RenderShadows(start, end); !slices.Equal(got, want) {
		t.Errorf("who follows whom:\n%+v\nwant\n%+v", got, want)
	}
	for _, w := range want {
		for _, when := range []time.Time{w.Start, w.End.Add(-time.Nanosecond)} {
			holder := r.At(when).User
			got := r.ShadowsAt(when, holder)
			if holder != w.Follows || len(got) != 1 || got[0] != w.Follower {
				t.Errorf("at %v %q is on call, and %+v follow; want %q and %+v", when, holder, got, w.Follows, w.Follower)
			}
		}
	}
}

// TestTraineeOnCallFollowsNobody: he took the turn that he would have followed.
func TestTraineeOnCallFollowsNobody(t *testing.T) {
	now := at(t, "2026-06-09T10:00Z")
	s := weekly(t, "AB")
	s.Layers[0].Trainees = Trainees{Users: people("ab"), Mode: Observe}
	s.Overrides = []Override{{ID: "o", Start: now, End: now.Add(day), User: "b"}}
	r := compiled(t, s)
	if got := r.ShadowsAt(now, "b"); len(got) != 0 {
		t.Errorf("he is followed by %+v, want nobody", got)
	}
	if got := r.RenderShadows(now, now.Add(day)); len(got) != 0 {
		t.Errorf("rendered: %+v, want nobody", got)
	}
}

// TestPairsStayWhenOneLeaves: of three pairs the first leaves, the others stay pairs.
func TestPairsStayWhenOneLeaves(t *testing.T) {
	s := edited(t, Schedule{}, at(t, "2026-05-01T00:00Z"), AtOnce, func(s *Schedule) {
		*s = weekly(t, "ABC")
		s.Layers[0].Trainees = Trainees{Users: people("abc"), Mode: Duty}
	})
	s = edited(t, s, at(t, "2026-06-09T10:00Z"), AtHandOff, func(s *Schedule) { // B's week
		s.Layers[0].Participants, s.Layers[0].Trainees.Users = people("BC"), people("bc")
	})
	r := compiled(t, s)
	for week, want := range []string{"Aa", "Bb", "Cc", "Bb", "Cc"} {
		when := at(t, "2026-06-03T10:00Z").Add(time.Duration(week) * 7 * day)
		holder := r.At(when).User
		followers := r.ShadowsAt(when, holder)
		if len(followers) != 1 || string(holder+followers[0].User) != want {
			t.Errorf("week %d: %q is followed by %+v, want %s", week, holder, followers, want)
		}
	}
}

func TestShadows(t *testing.T) {
	now := at(t, "2026-06-09T10:00Z") // B's week
	base := weekly(t, "A.BC")
	base.Layers[0].Rotation.Anchor = wall(t, "2026-05-25T09:00") // the empty place had last week
	for _, c := range []struct {
		name    string
		shadows []Shadow
		at      string
		want    []Follower
	}{
		{"of the schedule", []Shadow{{ID: "1", User: "x", Mode: Observe}}, "2026-06-09T10:00Z", []Follower{{User: "x", Mode: Observe, Shadow: "1"}}},
		{"of the holder", []Shadow{{ID: "1", User: "x", Person: "B", Mode: Duty}}, "2026-06-09T10:00Z", []Follower{{User: "x", Mode: Duty, Shadow: "1"}}},
		{"of another", []Shadow{{ID: "1", User: "x", Person: "A", Mode: Duty}}, "2026-06-09T10:00Z", nil},
		{"of a gap", []Shadow{{ID: "1", User: "x", Mode: Duty}}, "2026-06-03T10:00Z", nil},
		{"of himself", []Shadow{{ID: "1", User: "B", Mode: Duty}}, "2026-06-09T10:00Z", nil},
		{"not yet", []Shadow{{ID: "1", User: "x", Mode: Duty, Start: now.Add(1)}}, "2026-06-09T10:00Z", nil},
		{"not any more", []Shadow{{ID: "1", User: "x", Mode: Duty, End: now}}, "2026-06-09T10:00Z", nil},
		{
			"two of them, one in two ways",
			[]Shadow{{ID: "1", User: "x", Mode: Observe}, {ID: "2", User: "y", Mode: Practise}, {ID: "3", User: "x", Person: "B", Mode: Duty}},
			"2026-06-09T10:00Z",
			[]Follower{{User: "x", Mode: Duty, Shadow: "3"}, {User: "y", Mode: Practise, Shadow: "2"}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := base
			s.Shadows = c.shadows
			r := compiled(t, s)
			if got := r.ShadowsAt(at(t, c.at), r.At(at(t, c.at)).User); !slices.Equal(got, c.want) {
				t.Errorf("who follows: %+v, want %+v", got, c.want)
			}
		})
	}
}

// TestShadowsAreRenderedAsTheyAre: the rendering and the question for an instant
// agree, and nobody ever follows himself or a gap.
func TestShadowsAreRenderedAsTheyAre(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, now := drawSchedule(t)
		from, to := drawWindow(t, now)
		to = earlier(to, from.Add(40*day))
		r := compiled(t, s)
		rendered := r.RenderShadows(from, to)
		probes := []time.Time{from, to.Add(-1)}
		for _, w := range rendered {
			probes = append(probes, w.Start, w.End, w.Start.Add(-1), w.End.Add(-1))
		}
		for _, p := range probes {
			if p.Before(from) || !p.Before(to) {
				continue
			}
			holder := r.At(p).User
			var there []Follower
			for _, w := range rendered {
				if (p.Equal(w.Start) || p.After(w.Start)) && p.Before(w.End) {
					if w.Follows != holder || w.Follows == w.User || holder == "" {
						t.Fatalf("at %v %q is on call, but rendered is %+v", p, holder, w)
					}
					there = append(there, w.Follower)
				}
			}
			asked := r.ShadowsAt(p, holder)
			for _, f := range asked {
				if !slices.Contains(there, f) {
					t.Fatalf("at %v asked: %+v, rendered: %+v", p, asked, there)
				}
			}
			if len(strictest(there)) != len(asked) {
				t.Fatalf("at %v asked: %+v, rendered: %+v", p, asked, there)
			}
		}
	})
}

func TestShadowsAreKept(t *testing.T) {
	now := at(t, "2026-06-09T10:00Z")
	for name, bad := range map[string]Shadow{
		"no id": {User: "x", Mode: Observe}, "nobody": {ID: "1", Mode: Observe}, "no mode": {ID: "1", User: "x"},
		"himself": {ID: "1", User: "x", Person: "x", Mode: Observe}, "over": {ID: "1", User: "x", Mode: Observe, End: now},
	} {
		if _, err := weekly(t, "AB").WithShadow(bad, now); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v, want a complaint", name, err)
		}
	}
	s, err := weekly(t, "AB").WithShadow(Shadow{ID: "1", User: "x", Mode: Observe}, now)
	if err != nil {
		t.Fatal(err)
	}
	if s, err = s.WithShadow(Shadow{ID: "2", User: "x", Mode: Observe, Start: now.Add(day)}, now); err != nil {
		t.Fatal(err)
	}
	for _, id := range []ShadowID{"1", "2"} {
		if s, err = s.WithoutShadow(id, now.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.WithoutShadow("3", now); fault.KindOf(err) != fault.NotFound {
		t.Errorf("removed one that never was: %v", err)
	}
	if len(s.Shadows) != 1 || !s.Shadows[0].Start.Equal(now) || !s.Shadows[0].End.Equal(now.Add(time.Hour)) {
		t.Errorf("kept is %+v, want the one that was there for an hour", s.Shadows)
	}
}
