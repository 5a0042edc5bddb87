package directory

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// asking is a policy each of whose levels asks one schedule or person.
func asking(id string, levels ...escalation.Target) *Policy {
	p := policy(id)
	for _, t := range levels {
		p.Levels = append(p.Levels, escalation.Level{Delay: 5 * time.Minute, Targets: []escalation.Target{t}})
	}
	return p
}

func byTurns(id string) escalation.Target {
	return escalation.Target{Kind: escalation.ScheduleTarget, ID: id}
}

// TestDoubtsOfASchedule: Ann and Ben share primary by the day. Ann holds all of
// other, which another policy asks first, and Ben stands by name on the second
// level of primary's policy; nothing can wake him.
func TestDoubtsOfASchedule(t *testing.T) {
	d := rota(t)
	edit(t, d, func(e *Edit) error {
		ben := *user("ben")
		ben.Methods = nil
		return e.Update(&ben, "")
	})
	s := edit(t, d, func(e *Edit) error {
		if err := e.PutSchedule(daily("other", e.Now, "ann"), "", schedule.AtOnce); err != nil {
			return err
		}
		if err := e.PutSchedule(daily("unasked", e.Now, "ben"), "", schedule.AtOnce); err != nil {
			return err
		}
		e.Force()
		ben := escalation.Target{Kind: escalation.UserTarget, ID: "ben"}
		if err := e.Create(asking("first", byTurns("primary"), ben)); err != nil {
			return err
		}
		return e.Create(asking("second", byTurns("other")))
	})
	turns, err := s.Turns("primary")
	if err != nil {
		t.Fatal(err)
	}
	from := d.now().Truncate(24 * time.Hour).Add(24 * time.Hour) // Ben's first whole day
	found := map[string]int{}
	for _, x := range s.Doubts(turns, from, from.Add(10*24*time.Hour)) {
		if lasts := x.End.Sub(x.Start); lasts != 24*time.Hour && (strings.Contains(x.Text, " on level ") || strings.Contains(x.Text, " at once")) {
			t.Errorf("%q lasts %v, want a day", x.Text, lasts)
		}
		found[x.Text]++
	}
	want := map[string]int{
		"ann is on call by other and primary at once":            5,
		"ann is on call for 10 days in a row":                    1,
		"ben is on level 1 and on level 2 of the policy first":   5,
		"ben (no device and no verified method) cannot be woken": 1,
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("doubts (-want +got):\n%s", diff)
	}
}

// TestWarningsNameGapsThatNobodyMeant: nobody is on call at night, and one
// afternoon is left free on purpose.
func TestWarningsNameGapsThatNobodyMeant(t *testing.T) {
	d := rota(t)
	s := edit(t, d, func(e *Edit) error {
		r := daily("primary", e.Now, "ann", "cyd")
		r.Zone = "Europe/Zurich"
		r.Layers[0].Restrictions = []schedule.Restriction{{Start: 8 * time.Hour, Length: 12 * time.Hour}}
		return e.PutSchedule(r, "", schedule.AtOnce)
	})
	zurich := s.Zone("Europe/Zurich")
	y, m, day := d.now().In(zurich).Date()
	noon := time.Date(y, m, day+1, 12, 0, 0, 0, zurich)
	s = edit(t, d, func(e *Edit) error {
		return e.AddOverrides("primary", schedule.Override{ID: "free", Start: noon, End: noon.Add(6 * time.Hour)})
	})
	turns, err := s.Turns("primary")
	if err != nil {
		t.Fatal(err)
	}
	got := s.ScheduleWarnings(turns, noon, noon.Add(30*24*time.Hour))
	if len(got) != maxWarnings+1 || got[maxWarnings] != "and 10 more gaps" {
		t.Fatalf("%d warnings, the last %q; want %d gaps and that there are 10 more", len(got), got[len(got)-1], maxWarnings)
	}
	want := "nobody is on call from " + noon.Add(8*time.Hour).Format("2006-01-02 15:04 -07:00") + " to "
	if !strings.HasPrefix(got[0], want) {
		t.Errorf("the first is %q, want %q first", got[0], want)
	}
}
