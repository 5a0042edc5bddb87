package directory

import (
	"cmp"
	"fmt"
	"time"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/drill"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

func (r *reader) drillPlan(path string, d DrillDoc) *DrillPlan {
	p := &DrillPlan{Plan: drill.Plan{
		ID: drill.PlanID(d.ID), Name: d.Name, Team: roster.TeamID(bare(d.Team, "teams/")), People: targets(d.People),
		Every:  cmp.Or(duration(r.l, path+".interval", d.Interval), drill.DefaultEvery),
		Limit:  cmp.Or(duration(r.l, path+".limit", d.Limit), drill.DefaultLimit),
		OnCall: duration(r.l, path+".on_call_within", d.OnCall),
		Night:  d.Night, Start: drill.DefaultStart, End: drill.DefaultEnd,
	}}
	if h := d.Hours; h != nil {
		at := path + ".hours"
		p.Start, p.End = clock(r.l, at+".start", h.Start), clock(r.l, at+".end", h.End)
		for i, name := range h.Days {
			p.Days = append(p.Days, word[time.Weekday](r.l, fmt.Sprintf("%s.days[%d]", at, i), name, dayWords))
		}
	}
	if len(p.Days) == 0 {
		p.Days = drill.Workdays()
	}
	p.Seed = NewDrillSeed()
	if old, ok := r.s.GetDrillPlan(p.ID); ok {
		p.Seed = old.Seed
	}
	return p
}

// NewDrillSeed makes what the times of a new plan of drills are drawn from.
func NewDrillSeed() string { return auth.NewID() }

// daysText writes a duration, whole days as such; 0 is left out.
func daysText(d time.Duration) string {
	const day = 24 * time.Hour
	if d == 0 || d%day != 0 {
		return lasting(d)
	}
	return fmt.Sprintf("%dd", d/day)
}

func drillDoc(p *DrillPlan) DrillDoc {
	d := DrillDoc{
		ID: string(p.ID), Name: p.Name, Team: string(p.Team), People: targetTexts(p.People), Interval: daysText(p.Every),
		Hours: &DrillHoursDoc{Start: clockText(p.Start), End: clockText(p.End)}, Limit: span(p.Limit), Night: p.Night, OnCall: daysText(p.OnCall),
	}
	for _, day := range p.Days {
		d.Hours.Days = append(d.Hours.Days, dayWords[day])
	}
	return d
}
