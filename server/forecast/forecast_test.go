package forecast_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/directory/directorytest"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/forecast"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// now is a Tuesday noon; the week of the schedule below turns on Mondays at 9 in Zurich.
var now = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

const organisation = `
people:
  - {id: ann, name: Ann, email: ann@example.org}
  - {id: ben, name: Ben, email: ben@example.org}
  - {id: cyd, name: Cyd, email: cyd@example.org}
teams:
  - {id: web, name: Web, members: [ben, cyd]}
schedules:
  - id: primary
    name: Primary
    time_zone: Europe/Zurich
    layers:
      - {id: week, rotation: {unit: weeks, handoff: "2026-11-30T09:00"}, participants: [ann, ben]}
policies:
  - {id: shop, name: Shop, levels: [{targets: [schedules/primary], delay: 5m}, {targets: [cyd], delay: 5m}], fallback: [ann]}
  - {id: web, name: Web, levels: [{targets: [teams/web], delay: 5m}]}
services:
  - {id: cart, name: Cart, escalation_policy: shop}
  - {id: till, name: Till, escalation_policy: shop}
  - {id: blog, name: Blog, escalation_policy: web}
`

func apply(t testing.TB, d *directory.Directory, text string, dry bool) directory.Applied {
	t.Helper()
	a, err := d.ApplyFiles(t.Context(), directory.By{}, []directory.File{{Text: []byte(text)}}, directory.ApplyOptions{Force: true, DryRun: dry})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// lines tells the changes: "cart,till 1: 12-07 08:00 ben > cyd".
func lines(changes []forecast.Change) []string {
	var out []string
	for _, c := range changes {
		var services []string
		for _, s := range c.Services {
			services = append(services, string(s))
		}
		for _, s := range c.Stretches {
			out = append(out, fmt.Sprintf("%s %d: %s-%s %s > %s", strings.Join(services, ","), c.Level,
				s.Start.Format("0102T15:04"), s.End.Format("0102T15:04"), people(s.Before), people(s.After)))
		}
	}
	return out
}

func people(ids []roster.UserID) string {
	var out []string
	for _, id := range ids {
		out = append(out, string(id))
	}
	return "[" + strings.Join(out, " ") + "]"
}

func TestCompare(t *testing.T) {
	for _, tc := range []struct {
		name, old, with string
		want            []string
	}{
		{"nothing", "name: Cart", "name: Basket", nil},
		{"somebody joins the rotation, at the next hand-off", "participants: [ann, ben]", "participants: [ann, cyd, ben]", []string{
			"cart,till 1: 1207T08:00-1214T08:00 [ben] > [cyd]", "cart,till 1: 1214T08:00-1215T12:00 [ann] > [ben]",
		}},
		{"a layer ends", "handoff: \"2026-11-30T09:00\"}", "handoff: \"2026-11-30T09:00\"}, end_time: \"2026-12-10T00:00:00Z\"", []string{
			"cart,till 1: 1210T00:00-1214T08:00 [ben] > []", "cart,till 1: 1214T08:00-1215T12:00 [ann] > []",
		}},
		{"another level", "{targets: [cyd], delay: 5m}", "{targets: [cyd, teams/web], delay: 5m}, {targets: [ann], delay: 5m}", []string{
			"cart,till 2: 1201T12:00-1215T12:00 [cyd] > [ben cyd]", "cart,till 3: 1201T12:00-1215T12:00 [] > [ann]",
		}},
		{"another fallback", "fallback: [ann]", "fallback: [ben]", []string{"cart,till 0: 1201T12:00-1215T12:00 [ann] > [ben]"}},
		{"a team changes", "members: [ben, cyd]", "members: [cyd]", []string{"blog 1: 1201T12:00-1215T12:00 [ben cyd] > [cyd]"}},
		{"somebody is inactive", "email: cyd@example.org", "email: cyd@example.org, inactive: true", []string{
			"blog 1: 1201T12:00-1215T12:00 [ben cyd] > [ben]", "cart,till 2: 1201T12:00-1215T12:00 [cyd] > []",
		}},
		{"a service is disabled", "{id: blog, name: Blog,", "{id: blog, disabled: true, name: Blog,", []string{
			"blog 1: 1201T12:00-1215T12:00 [ben cyd] > []",
		}},
		{"another policy", "{id: till, name: Till, escalation_policy: shop}", "{id: till, name: Till, escalation_policy: web}", []string{
			"till 1: 1201T12:00-1207T08:00 [ann] > [ben cyd]", "till 1: 1207T08:00-1214T08:00 [ben] > [ben cyd]",
			"till 1: 1214T08:00-1215T12:00 [ann] > [ben cyd]", "till 2: 1201T12:00-1215T12:00 [cyd] > []", "till 0: 1201T12:00-1215T12:00 [ann] > []",
		}},
		{"a new service", "services:", "services:\n  - {id: new, name: New, escalation_policy: web}", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := directorytest.Open(t, func() time.Time { return now })
			apply(t, d, organisation, false)
			next := strings.Replace(organisation, tc.old, tc.with, 1)
			if next == organisation {
				t.Fatal("the organisation has no such text")
			}
			a := apply(t, d, next, true)
			got := lines(forecast.Compare(a.Before, a.After, now, now.Add(14*24*time.Hour)))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestCompareSaysWhatOnCallSays holds the forecast, at random instants, against
// what the two snapshots answer to the router.
func TestCompareSaysWhatOnCallSays(t *testing.T) {
	d := directorytest.Open(t, func() time.Time { return now })
	apply(t, d, organisation, false)
	rapid.Check(t, func(rt *rapid.T) {
		who := rapid.SampledFrom([]string{"ann", "ben", "cyd", `""`})
		order := strings.Join(rapid.SliceOfN(who, 1, 4).Draw(rt, "participants"), ", ")
		unit := rapid.SampledFrom([]string{"hours, length: 7", "days", "weeks"}).Draw(rt, "unit")
		target := rapid.SampledFrom([]string{"ann", "schedules/primary", "teams/web", "ben, schedules/primary"}).Draw(rt, "target")
		next := strings.NewReplacer("participants: [ann, ben]", "participants: [cyd, "+order+"]", "unit: weeks", "unit: "+unit, "targets: [cyd]", "targets: ["+target+"]").Replace(organisation)
		a := apply(t, d, next, true)
		to := now.Add(14 * 24 * time.Hour)
		changes := forecast.Compare(a.Before, a.After, now, to)
		at := now.Add(time.Duration(rapid.Int64Range(0, int64(to.Sub(now))-1).Draw(rt, "at")))
		for level := range 2 {
			before, after := asked(a.Before, level, at), asked(a.After, level, at)
			told := [2][]roster.UserID{before, before}
			for _, c := range changes {
				if c.Level != level+1 || !slices.Contains(c.Services, "cart") {
					continue
				}
				for _, s := range c.Stretches {
					if !at.Before(s.Start) && at.Before(s.End) {
						told = [2][]roster.UserID{s.Before, s.After}
					}
				}
			}
			if !slices.Equal(told[0], before) || !slices.Equal(told[1], after) {
				rt.Fatalf("level %d at %v: told %v, the snapshots say %v and %v", level+1, at, told, before, after)
			}
		}
	})
}

func asked(s *directory.Snapshot, level int, at time.Time) []roster.UserID {
	p, _ := s.GetPolicy(escalation.PolicyID("shop"))
	var out []roster.UserID
	for _, t := range p.Levels[level].Targets {
		out = append(out, s.OnCall(t, at)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
