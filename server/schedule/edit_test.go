package schedule

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// people makes participants of letters; a dot is an empty place.
func people(letters string) []roster.UserID {
	ids := make([]roster.UserID, len(letters))
	for i, l := range letters {
		if l != '.' {
			ids[i] = roster.UserID(l)
		}
	}
	return ids
}

// weekly is a schedule of one layer that hands off on Mondays at 09:00 in Berlin.
func weekly(t failer, participants string) Schedule {
	return Schedule{ID: "s", Name: "Shop", Zone: "Europe/Berlin", Layers: []Layer{{
		ID: "l", Name: "First line", Participants: people(participants),
		Rotation: Rotation{Unit: Weeks, Length: 1, Anchor: wall(t, "2026-06-01T09:00")}, // a Monday
	}}}
}

// edited makes a schedule, and edits it.
func edited(t failer, s Schedule, now time.Time, effect Effect, change func(*Schedule)) Schedule {
	wanted := s
	wanted.Layers = slices.Clone(s.Layers)
	change(&wanted)
	next, err := Edit(s, wanted, now, effect, zones)
	if err != nil {
		t.Fatalf("edit: %v", err)
	}
	return next
}

// weeks are who is on call on Wednesdays from 3 June 2026 on, in letters.
func weeks(t failer, s Schedule, n int) string {
	r := compiled(t, s)
	var who strings.Builder
	for i := range n {
		user := r.At(at(t, "2026-06-03T10:00Z").Add(time.Duration(i) * 7 * day)).User
		if user == "" {
			user = "."
		}
		who.WriteString(string(user))
	}
	return who.String()
}

func TestEditOfParticipants(t *testing.T) {
	// On Tuesday of the second week, the edit is made: A had the first week, B has this one.
	for _, c := range []struct {
		name, before, after string
		effect              Effect
		want                string // from the first week on
	}{
		{"one is taken out before the holder", "ABCD", "BCD", AtHandOff, "ABCDBCD"},
		{"one is taken out before the holder, at once", "ABCD", "BCD", AtOnce, "ABCDBCD"},
		{"one is taken out after the holder", "ABCD", "ABD", AtHandOff, "ABDABDA"},
		{"the holder is taken out", "ABCD", "ACD", AtHandOff, "ACDACDA"},
		{"the holder is replaced", "ABCD", "AXCD", AtHandOff, "AXCDAXC"},
		{"the holder and the next are taken out", "ABCD", "AD", AtHandOff, "ADADADA"},
		{"the holder leaves, another comes at the end", "ABC", "ACX", AtHandOff, "ACXACXA"},
		{"nobody stays", "ABC", "XYZW", AtHandOff, "AXYZWXY"},
		{"one comes first", "ABC", "XABC", AtHandOff, "ABCXABC"},
		{"one comes after the holder", "ABC", "ABXC", AtHandOff, "ABXCABX"},
		{"the order is turned", "ABC", "CBA", AtHandOff, "ABACBAC"},
		{"somebody who is there twice", "ABAC", "BAC", AtHandOff, "ABACBAC"},
		{"the first place of somebody who was there twice goes", "AABC", "ABC", AtHandOff, "AABCABC"},
		{"an empty place comes", "ABC", "AB.C", AtHandOff, "AB.CAB."},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := edited(t, Schedule{}, at(t, "2026-05-01T00:00Z"), AtOnce, func(s *Schedule) { *s = weekly(t, c.before) })
			s = edited(t, s, at(t, "2026-06-09T10:00Z"), c.effect, func(s *Schedule) { s.Layers[0].Participants = people(c.after) })
			if got := weeks(t, s, 7); got != c.want {
				t.Errorf("who has the weeks: %s, want %s", got, c.want)
			}
		})
	}
}

// TestHolderWhoLeavesGoesAtOnce: until the edit it was he, from there on the next.
func TestHolderWhoLeavesGoesAtOnce(t *testing.T) {
	now := at(t, "2026-06-09T10:00Z")
	s := edited(t, Schedule{}, at(t, "2026-05-01T00:00Z"), AtOnce, func(s *Schedule) { *s = weekly(t, "ABC") })
	s = edited(t, s, now, AtHandOff, func(s *Schedule) { s.Layers[0].Participants = people("AC") })
	r := compiled(t, s)
	if got := r.At(now.Add(-time.Nanosecond)).User; got != "B" {
		t.Errorf("before the edit: %q, want B", got)
	}
	if got := r.At(now).User; got != "C" {
		t.Errorf("from the edit on: %q, want C", got)
	}
}

// TestEditThatWaitsIsOvertaken: a second edit before the hand-off takes the place
// of the first, and what counts at once does not wait.
func TestEditThatWaitsIsOvertaken(t *testing.T) {
	s := edited(t, Schedule{}, at(t, "2026-05-01T00:00Z"), AtOnce, func(s *Schedule) { *s = weekly(t, "ABC") })
	s = edited(t, s, at(t, "2026-06-09T10:00Z"), AtHandOff, func(s *Schedule) { s.Layers[0].Participants = people("ABX") })
	s = edited(t, s, at(t, "2026-06-10T11:00Z"), AtHandOff, func(s *Schedule) {
		s.Layers[0].Participants = people("ABY")
		s.Layers[0].Restrictions = []Restriction{{Weekday: 3, Length: day}} // Wednesdays, Berlin
	})
	if got := weeks(t, s, 5); got != "ABYAB" {
		t.Errorf("who has the Wednesdays: %s, want ABYAB", got)
	}
	r := compiled(t, s)
	if got := r.At(at(t, "2026-06-10T10:59Z")).User; got != "B" {
		t.Errorf("before the second edit: %q, want B", got)
	}
	if got := r.At(at(t, "2026-06-11T11:00Z")); !got.Gap() {
		t.Errorf("on Thursday: %q, want nobody: the restriction counts at once", got.User)
	}
	if got := r.At(at(t, "2026-06-09T10:30Z")).User; got != "B" {
		t.Errorf("on the day of the first edit: %q, want B", got)
	}
	if len(s.Replaced) != 2 {
		t.Errorf("%d versions are kept, want what it was and what holds meanwhile", len(s.Replaced))
	}
}

// TestLayerThatHasNotBegun: who would be the first stays so, and nothing waits for
// the hand-off after him.
func TestLayerThatHasNotBegun(t *testing.T) {
	s := edited(t, Schedule{}, at(t, "2026-05-01T00:00Z"), AtOnce, func(s *Schedule) {
		*s = weekly(t, "ABC")
		s.Layers[0].Start = at(t, "2026-06-17T07:00Z") // in C's week
	})
	s = edited(t, s, at(t, "2026-06-09T10:00Z"), AtHandOff, func(s *Schedule) { // B's week, had it begun
		s.Layers[0].Participants, s.Layers[0].Trainees = people("AC"), Trainees{Users: people("ac"), Mode: Observe}
	})
	if got := weeks(t, s, 5); got != "..CAC" {
		t.Errorf("who has the weeks: %s, want ..CAC", got)
	}
	first := s.Layers[0].Start
	if got := compiled(t, s).ShadowsAt(first, "C"); len(got) != 1 || got[0].User != "c" {
		t.Errorf("the first turn is followed by %+v, want c", got)
	}
}

func TestEditThatChangesNothingKeepsNothing(t *testing.T) {
	s := edited(t, Schedule{}, at(t, "2026-05-01T00:00Z"), AtOnce, func(s *Schedule) { *s = weekly(t, "ABC") })
	s = edited(t, s, at(t, "2026-06-09T10:00Z"), AtHandOff, func(s *Schedule) { s.Layers[0].Name, s.Name = "Second line", "Till" })
	if len(s.Replaced) != 0 || s.Layers[0].Name != "Second line" || s.Name != "Till" {
		t.Errorf("after a new name: %d versions, layer %q, schedule %q", len(s.Replaced), s.Layers[0].Name, s.Name)
	}
}

func TestZoneOfTheScheduleMoves(t *testing.T) {
	s := edited(t, Schedule{}, at(t, "2026-05-01T00:00Z"), AtOnce, func(s *Schedule) { *s = weekly(t, "ABC") })
	s = edited(t, s, at(t, "2026-06-09T10:00Z"), AtHandOff, func(s *Schedule) { s.Zone = "America/New_York" })
	r := compiled(t, s)
	for when, want := range map[string]roster.UserID{
		"2026-06-08T06:59Z": "A", "2026-06-08T07:00Z": "B", // 09:00 in Berlin
		"2026-06-15T12:59Z": "B", "2026-06-15T13:00Z": "C", // 09:00 in New York
	} {
		if got := r.At(at(t, when)).User; got != want {
			t.Errorf("at %s: %q, want %q", when, got, want)
		}
	}
}

func TestLayerThatIsTakenAway(t *testing.T) {
	s := edited(t, Schedule{}, at(t, "2026-05-01T00:00Z"), AtOnce, func(s *Schedule) { *s = weekly(t, "ABC") })
	s = edited(t, s, at(t, "2026-06-09T10:00Z"), AtHandOff, func(s *Schedule) { s.Layers = nil })
	if got := weeks(t, s, 3); got != "A.." {
		t.Errorf("who has the weeks: %s, want A..", got)
	}
	s = edited(t, s, at(t, "2026-06-09T10:00Z").Add(Kept), AtHandOff, func(s *Schedule) { s.Name = "Till" })
	if len(s.Replaced) != 0 {
		t.Errorf("%d versions are kept after 400 days, want none", len(s.Replaced))
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*Schedule)
		want  []string // fields
	}{
		{"nothing", func(s *Schedule) {}, nil},
		{"no name", func(s *Schedule) { s.Name = "" }, []string{"display_name"}},
		{"a zone that is none", func(s *Schedule) { s.Zone = "Mars/Olympus" }, []string{"time_zone"}},
		{"the server's own zone", func(s *Schedule) { s.Layers[0].Zone = "Local" }, []string{"layers[0].time_zone"}},
		{"shifts of no length", func(s *Schedule) { s.Layers[0].Rotation.Length = 0 }, []string{"layers[0].rotation.length"}},
		{"no unit", func(s *Schedule) { s.Layers[0].Rotation.Unit = 0 }, []string{"layers[0].rotation.unit"}},
		{"an anchor of long ago", func(s *Schedule) { s.Layers[0].Rotation.Anchor.Day = -1e6 }, []string{"layers[0].rotation.handoff"}},
		{"half a minute", func(s *Schedule) { s.Layers[0].Rotation.Anchor.Clock += time.Second }, []string{"layers[0].rotation.handoff"}},
		{"an empty layer", func(s *Schedule) { s.Layers[0].Participants = nil }, []string{"layers[0].participants"}},
		{"a layer of empty places", func(s *Schedule) { s.Layers[0].Participants = people("..") }, []string{"layers[0].participants"}},
		{"ends before it starts", func(s *Schedule) { s.Layers[0].Start, s.Layers[0].End = time.Unix(9, 0), time.Unix(8, 0) }, []string{"layers[0].end_time"}},
		{"the same id twice", func(s *Schedule) { s.Layers = append(s.Layers, s.Layers[0]) }, []string{"layers[1].id"}},
		{"a bad weekday and a bad length", func(s *Schedule) {
			s.Layers[0].Restrictions = []Restriction{{Length: day}, {Weekday: 8, Start: day}}
		}, []string{"layers[0].restrictions[1].days", "layers[0].restrictions[1].start", "layers[0].restrictions[1].length"}},
		{"a day of more than 24 h", func(s *Schedule) { s.Layers[0].Restrictions = []Restriction{{Length: 25 * time.Hour}} }, []string{"layers[0].restrictions[0].length"}},
		{"a trainee too many", func(s *Schedule) { s.Layers[0].Trainees = Trainees{Users: people("WXYZ"), Mode: Observe} }, []string{"layers[0].shadows.participants"}},
		{"his own trainee", func(s *Schedule) { s.Layers[0].Trainees = Trainees{Users: people("XB"), Mode: Observe} }, []string{"layers[0].shadows.participants[1]"}},
		{"trainees without a mode", func(s *Schedule) { s.Layers[0].Trainees = Trainees{Users: people("X")} }, []string{"layers[0].shadows.mode"}},
		{"too many layers", func(s *Schedule) {
			for i := range MaxLayers {
				l := s.Layers[0]
				l.ID = LayerID(strconv.Itoa(i))
				s.Layers = append(s.Layers, l)
			}
		}, []string{"layers"}},
		{"days to answer", func(s *Schedule) { s.Response = 48 * time.Hour }, []string{"response_target"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := weekly(t, "ABC")
			c.spoil(&s)
			err := s.Validate(zones)
			var got []string
			if f, ok := errors.AsType[*fault.Error](err); ok && f.Kind == fault.Invalid {
				for _, field := range f.Fields {
					got = append(got, field.Path)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("complaints about %q (%v), want %q", got, err, c.want)
			}
		})
	}
}
