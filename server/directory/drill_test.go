package directory

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/drill"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// drillPlan drills whom it names, once in four weeks.
func drillPlan(people ...escalation.Target) *DrillPlan {
	return &DrillPlan{Plan: drill.Plan{
		ID: "core", Name: "Core", People: people, Every: drill.DefaultEvery, Days: drill.Workdays(), Start: drill.DefaultStart, End: drill.DefaultEnd, Limit: drill.DefaultLimit, Seed: "s",
	}}
}

func TestDrilled(t *testing.T) {
	d := rota(t)
	create(t, d, &Team{Team: roster.Team{ID: "web", Name: "Web", Members: []roster.UserID{"ben", "cyd"}}})
	s := edit(t, d, func(e *Edit) error {
		u, _ := e.GetUser("ben")
		c := *u
		c.Inactive = true
		return e.Update(&c, "")
	})
	who := func(k escalation.TargetKind, id string) escalation.Target { return escalation.Target{Kind: k, ID: id} }
	for name, c := range map[string]struct {
		plan *DrillPlan
		soon time.Duration
		want []roster.UserID
	}{
		"by name":                  {drillPlan(who(escalation.UserTarget, "cyd"), who(escalation.UserTarget, "ann")), 0, []roster.UserID{"ann", "cyd"}},
		"of a team, one inactive":  {drillPlan(who(escalation.TeamTarget, "web")), 0, []roster.UserID{"cyd"}},
		"of a schedule":            {drillPlan(who(escalation.ScheduleTarget, "primary")), 0, []roster.UserID{"ann"}},
		"twice":                    {drillPlan(who(escalation.ScheduleTarget, "primary"), who(escalation.UserTarget, "ann")), 0, []roster.UserID{"ann"}},
		"only who is on call soon": {drillPlan(who(escalation.UserTarget, "cyd"), who(escalation.UserTarget, "ann")), 48 * time.Hour, []roster.UserID{"ann"}},
		"and nobody is":            {drillPlan(who(escalation.UserTarget, "cyd")), 48 * time.Hour, nil},
		"of what does not exist":   {drillPlan(who(escalation.ScheduleTarget, "gone")), 0, nil},
	} {
		c.plan.OnCall = c.soon
		if got := s.Drilled(c.plan, d.now()); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// A person whom a plan names is not deleted from under it; a change to a plan of
// drills voids what was planned before.
func TestDrillPlanIsConfiguration(t *testing.T) {
	d := rota(t)
	create(t, d, drillPlan(escalation.Target{Kind: escalation.UserTarget, ID: "cyd"}))
	_, err := d.Change(t.Context(), By{}, func(e *Edit) error { return e.Delete(Key{KindUser, "cyd"}, "") })
	if f, ok := asFault(err); !ok || f.Reason != "IN_USE" || f.Meta["used_by"] != "drillPlans/core" {
		t.Errorf("deleted: %v", err)
	}
	planned := d.Snapshot().Position()
	edit(t, d, func(e *Edit) error {
		p, _ := e.GetDrillPlan("core")
		c := *p
		c.Limit = time.Minute
		return e.Update(&c, "")
	})
	_, err = d.ApplyFiles(t.Context(), By{}, folder(), ApplyOptions{Revision: planned, Force: true})
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "drillPlans/core") {
		t.Errorf("applied on what was planned before: %v", err)
	}
}

// A calendar goes with its person, and who is away while on call is doubted.
func TestVacationsBelongToTheirPerson(t *testing.T) {
	d := rota(t)
	now := d.now()
	create(t, d, user("dan"))
	s := edit(t, d, func(e *Edit) error {
		for _, u := range []roster.UserID{"ann", "dan"} {
			if err := e.SetVacations(&Vacations{User: u, Sealed: []byte{1}, Away: []Away{{now, now.Add(6 * time.Hour)}}}); err != nil {
				return err
			}
		}
		return nil
	})
	turns, err := s.Turns("primary")
	if err != nil {
		t.Fatal(err)
	}
	if got := s.ScheduleWarnings(turns, now, now.Add(48*time.Hour)); !slices.ContainsFunc(got, func(w string) bool { return strings.HasPrefix(w, "ann is on call and away") }) {
		t.Errorf("warned of %v", got)
	}
	if c := s.AwayOnCall("ann", now, now.Add(48*time.Hour)); len(c) != 1 || !slices.Equal(c[0].Schedules, []schedule.ID{"primary"}) {
		t.Errorf("on call while away: %v", c)
	}
	v, _ := s.GetVacations("dan")
	s = edit(t, d, func(e *Edit) error { return e.Delete(Key{KindUser, "dan"}, "") })
	if _, ok := s.GetVacations("dan"); ok {
		t.Error("the calendar is left behind")
	}
	// What was read of an address that is no more is not kept.
	edit(t, d, func(e *Edit) error { return e.KeepAbsences(v, nil) })
	other, _ := s.GetVacations("ann")
	stale := *other
	stale.Sealed = []byte{2}
	s = edit(t, d, func(e *Edit) error { return e.KeepAbsences(&stale, nil) })
	if now, _ := s.GetVacations("ann"); len(now.Away) != 1 {
		t.Error("what was read at an older address is kept")
	}
	_, err = d.Change(t.Context(), By{}, func(e *Edit) error {
		return e.SetVacations(&Vacations{User: "ann", Sealed: []byte{1}, Away: make([]Away, maxAway+1)})
	})
	if fault.KindOf(err) != fault.Invalid {
		t.Errorf("too many absences: %v", err)
	}
}
