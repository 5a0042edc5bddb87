package incident_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/incident/incidenttest"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// night is a world whose policy asks the target for five minutes, and what
// holds it: a schedule that ann hands over to bo after three minutes, and a
// team of all three.
func night(kind escalation.TargetKind, strategy escalation.Strategy) *incidenttest.World {
	w := incidenttest.New()
	w.SetPolicy("night", 1, escalation.Level{
		Targets: []escalation.Target{{Kind: kind, ID: "shop"}}, Delay: 5 * time.Minute, Strategy: strategy,
	})
	w.Holders = func(t escalation.Target, at time.Time) []roster.UserID {
		switch {
		case t.Kind == escalation.TeamTarget:
			return []roster.UserID{"ann", "bo", "cy"}
		case at.Before(start.Add(3 * time.Minute)):
			return []roster.UserID{"ann"}
		}
		return []roster.UserID{"bo"}
	}
	return w
}

func TestScheduleIsAskedWhenItsLevelFires(t *testing.T) {
	w := night(escalation.ScheduleTarget, escalation.Everyone)
	p := w.Policies["night"]
	p.HandOff = escalation.HandOffKeep
	w.Policies["night"] = p
	s := trigger(t, w).received()
	s.until(6 * time.Minute)
	same(t, "asked", s.assigned(), []string{"ann@0s", "bo@5m0s"})
}

func TestTeamIsAskedAsAWhole(t *testing.T) {
	w := night(escalation.TeamTarget, escalation.Everyone)
	w.Mute("bo")
	s := trigger(t, w)
	same(t, "asked", s.assigned(), []string{"ann@0s", "cy@0s"})
}

func TestTeamTakesTurns(t *testing.T) {
	w := night(escalation.TeamTarget, escalation.RoundRobin)
	w.Turns[0] = "bo"
	same(t, "asked", trigger(t, w).assigned(), []string{"bo@0s"})
	w.Mute("bo")
	same(t, "asked in his place", trigger(t, w).assigned(), []string{"cy@0s"})
}

// TestAnyOneIsDrawnByLot: one person an incident, the same over loops, each
// about as often as the others, and nobody's lot moves when another leaves.
func TestAnyOneIsDrawnByLot(t *testing.T) {
	w := night(escalation.TeamTarget, escalation.AnyOne)
	drawn := map[roster.UserID]int{}
	const incidents = 300
	for i := range incidents {
		who := theOne(t, w, i)
		drawn[who]++
		if who == "bo" {
			continue
		}
		w.Mute("bo")
		if again := theOne(t, w, i); again != who {
			t.Fatalf("without bo, who had not been drawn, %s became %s", who, again)
		}
		full := incidenttest.New()
		w.Users["bo"], w.Phones["bo"] = full.Users["bo"], full.Phones["bo"]
	}
	for who, n := range drawn {
		if n < incidents/5 || n > incidents/2 {
			t.Errorf("%s was drawn %d times of %d", who, n, incidents)
		}
	}
	s := trigger(t, w).received()
	first := s.in.Assignees[0].User
	s.until(6 * time.Minute)
	if len(s.in.Assignees) != 1 || s.in.Assignees[0].User != first || s.in.Loop != 1 {
		t.Errorf("in the second loop %v are asked, want %s again", s.in.Assignees, first)
	}
}

// theOne returns the one person whom the n-th incident asks.
func theOne(t *testing.T, w *incidenttest.World, n int) roster.UserID {
	t.Helper()
	s := triggerAs(t, w, incident.ID(strconv.Itoa(n)))
	if len(s.in.Assignees) != 1 {
		t.Fatalf("%v are asked, want one", s.in.Assignees)
	}
	return s.in.Assignees[0].User
}
