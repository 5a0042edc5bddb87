package directory

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/civil"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// daily is a schedule whose people change at midnight UTC; the first has the
// day on which the test is.
func daily(id string, now time.Time, people ...roster.UserID) *Schedule {
	day, _ := civil.Of(now, time.UTC)
	return &Schedule{Schedule: schedule.Schedule{ID: schedule.ID(id), Name: id, Zone: "UTC", Layers: []schedule.Layer{{
		ID: "days", Participants: people, Rotation: schedule.Rotation{Unit: schedule.Days, Length: 1, Anchor: civil.Time{Day: day}},
	}}}}
}

// rota is a directory with three people and the schedule "primary" of theirs.
func rota(t *testing.T) *Directory {
	t.Helper()
	d := open(t, newJournal())
	create(t, d, user("ann"), user("ben"), user("cyd"))
	edit(t, d, func(e *Edit) error { return e.PutSchedule(daily("primary", e.Now, "ann", "ben"), "", schedule.AtOnce) })
	return d
}

func edit(t *testing.T, d *Directory, f func(*Edit) error) *Snapshot {
	t.Helper()
	s, err := d.Change(t.Context(), By{Method: "test"}, f)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func onCallNow(t *testing.T, s *Snapshot, at time.Time) roster.UserID {
	t.Helper()
	shift, _ := s.Holder("primary", at)
	return shift.User
}

func TestScheduleSaysWhoIsAsked(t *testing.T) {
	d := rota(t)
	s, now := d.Snapshot(), d.now()
	target := escalation.Target{Kind: escalation.ScheduleTarget, ID: "primary"}
	for after, want := range map[time.Duration]roster.UserID{0: "ann", 24 * time.Hour: "ben", 48 * time.Hour: "ann"} {
		if got := s.OnCall(target, now.Add(after)); !slices.Equal(got, []roster.UserID{want}) {
			t.Errorf("after %v %v are asked, want %s", after, got, want)
		}
	}
	if got := s.OnCall(target, now.Add(-48*time.Hour)); len(got) != 0 {
		t.Errorf("before the schedule was, %v were on call", got)
	}
}

func TestOverrideIsOnCallAndIsCutOff(t *testing.T) {
	d := rota(t)
	now := d.now()
	s := edit(t, d, func(e *Edit) error {
		return e.AddOverrides("primary", schedule.Override{ID: "o1", User: "cyd", Start: e.Now.Add(-time.Hour), End: e.Now.Add(time.Hour)})
	})
	if got := onCallNow(t, s, now.Add(time.Minute)); got != "cyd" {
		t.Errorf("%q is on call during the override, want cyd", got)
	}
	if got := onCallNow(t, s, now.Add(-time.Minute)); got == "cyd" {
		t.Error("an override changed the past")
	}
	s = edit(t, d, func(e *Edit) error { return e.RemoveOverride("o1", "") })
	if o, ok := s.GetOverride("o1"); ok && o.End.After(d.now()) {
		t.Errorf("after its removal the override lasts until %v", o.End)
	}
	if got := onCallNow(t, s, d.now().Add(time.Minute)); got != "ann" {
		t.Errorf("%q is on call after the override was removed, want ann", got)
	}
	_, err := d.Change(t.Context(), By{}, func(e *Edit) error {
		return e.AddOverrides("primary", schedule.Override{ID: "o2", User: "cyd", Start: e.Now.Add(-2 * time.Hour), End: e.Now.Add(-time.Hour)})
	})
	if fault.KindOf(err) != fault.Precondition {
		t.Errorf("an override of the past: %v, want a precondition fault", err)
	}
}

// TestTwoOverridesAreOneChange: both or neither.
func TestTwoOverridesAreOneChange(t *testing.T) {
	d := rota(t)
	_, err := d.Change(t.Context(), By{}, func(e *Edit) error {
		return e.AddOverrides("primary",
			schedule.Override{ID: "o1", User: "ben", Start: e.Now.Add(time.Hour), End: e.Now.Add(2 * time.Hour)},
			schedule.Override{ID: "o2", User: "ann", Start: e.Now.Add(4 * time.Hour), End: e.Now.Add(3 * time.Hour)})
	})
	if err == nil || !strings.Contains(err.Error(), "end") {
		t.Errorf("an override that ends before it begins: %v", err)
	}
	if d.Snapshot().Count(KindOverride) != 0 {
		t.Error("half of a refused change is there")
	}
}

func TestScheduleInUse(t *testing.T) {
	d := rota(t)
	p := policy("p")
	p.Levels = []escalation.Level{{Delay: time.Minute, Targets: []escalation.Target{{Kind: escalation.ScheduleTarget, ID: "primary"}}}}
	create(t, d, p)
	for _, k := range []Key{{KindSchedule, "primary"}, {KindUser, "ben"}} {
		_, err := d.Change(t.Context(), By{}, func(e *Edit) error { return e.Delete(k, "") })
		if f, ok := asFault(err); !ok || f.Reason != "IN_USE" {
			t.Errorf("delete %s: %v, want IN_USE", k, err)
		}
	}
	// Who has left the schedule may go, although its past names him.
	edit(t, d, func(e *Edit) error {
		wanted := daily("primary", e.Now, "ann")
		return e.PutSchedule(wanted, "", schedule.AtOnce)
	})
	edit(t, d, func(e *Edit) error { return e.Delete(Key{KindUser, "ben"}, "") })
	if by := d.Snapshot().CountedOn("ann"); !slices.Contains(by, p.key()) {
		t.Errorf("%v count on ann, want the policy of her schedule", by)
	}
}

// TestLastReachablePersonStays: taking everybody out whom a page could reach is refused.
func TestLastReachablePersonStays(t *testing.T) {
	d := rota(t)
	p := policy("p")
	p.Levels = []escalation.Level{{Delay: time.Minute, Targets: []escalation.Target{{Kind: escalation.ScheduleTarget, ID: "primary"}}}}
	create(t, d, p, user("dee", func(u *User) { u.Methods = nil }))
	_, err := d.Change(t.Context(), By{}, func(e *Edit) error { return e.PutSchedule(daily("primary", e.Now, "dee"), "", schedule.AtOnce) })
	if f, ok := asFault(err); !ok || f.Reason != "PAGES_NOBODY" {
		t.Errorf("a schedule of somebody who cannot be reached: %v, want PAGES_NOBODY", err)
	}
}

func TestShadows(t *testing.T) {
	d := rota(t)
	add := func(h *Shadow) error {
		_, err := d.Change(t.Context(), By{}, func(e *Edit) error { return e.AddShadow(h) })
		return err
	}
	one := func(id, user, person string, of schedule.ID) *Shadow {
		return &Shadow{Schedule: of, Shadow: schedule.Shadow{
			ID: schedule.ShadowID(id), User: roster.UserID(user), Person: roster.UserID(person), Mode: schedule.Practise,
		}}
	}
	for _, h := range []*Shadow{one("s1", "cyd", "", "primary"), one("s2", "ben", "ann", "")} {
		if err := add(h); err != nil {
			t.Fatal(err)
		}
	}
	now := d.now().Add(time.Second)
	var who []string
	for _, f := range d.Snapshot().ShadowsAt("primary", "ann", now) {
		who = append(who, string(f.User))
	}
	slices.Sort(who)
	if fmt.Sprint(who) != "[ben cyd]" {
		t.Errorf("%v follow ann, want ben and cyd", who)
	}
	for name, h := range map[string]*Shadow{
		"himself": one("s3", "ann", "ann", ""), "nobody": one("s4", "ann", "", ""), "of no schedule": one("s5", "ann", "", "nowhere"),
	} {
		if err := add(h); err == nil {
			t.Errorf("a shadow of %s was taken", name)
		}
	}
	s := edit(t, d, func(e *Edit) error { return e.RemoveShadow("s2", "") })
	if got := s.ShadowsAt("primary", "ann", d.now().Add(time.Second)); len(got) != 1 {
		t.Errorf("after one left, %v follow ann", got)
	}
}

// TestUnknownZoneNamesItsField, as a schedule is written by people.
func TestUnknownZoneNamesItsField(t *testing.T) {
	d := rota(t)
	_, err := d.Change(t.Context(), By{}, func(e *Edit) error {
		wanted := daily("primary", e.Now, "ann")
		wanted.Layers[0].Zone = "Europe/Atlantis"
		return e.PutSchedule(wanted, "", schedule.AtOnce)
	})
	f, ok := asFault(err)
	if !ok || len(f.Fields) != 1 || f.Fields[0].Path != "layers[0].time_zone" {
		t.Errorf("a zone that does not exist: %v with fields %v", err, f.Fields)
	}
}
