package directory

import (
	"fmt"
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/civil"
	"github.com/tocsin-oncall/tocsin/server/drill"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// DrillPlan is a plan of fire drills.
type DrillPlan struct {
	drill.Plan
	Meta
}

func (p *DrillPlan) key() Key       { return Key{KindDrillPlan, string(p.ID)} }
func (p *DrillPlan) meta() *Meta    { return &p.Meta }
func (p *DrillPlan) copied() Record { c := *p; return &c }

func (p *DrillPlan) refs(f func(string, Key)) {
	refTeam(p.Team, f)
	refTargets("people", p.People, f)
}

// GetDrillPlan returns a plan of fire drills.
func (s *Snapshot) GetDrillPlan(id drill.PlanID) (*DrillPlan, bool) {
	return find[*DrillPlan](s, KindDrillPlan, string(id))
}

// Drilled returns the people whom a plan drills at an instant, by id: those it
// names that are active and, where it says so, on call soon.
func (s *Snapshot) Drilled(p *DrillPlan, now time.Time) []roster.UserID {
	return slices.DeleteFunc(s.named(p), func(id roster.UserID) bool {
		return p.OnCall > 0 && !s.onCallWithin(id, now, p.OnCall)
	})
}

// Names reports whether a plan drills a person when he is on call soon.
func (s *Snapshot) Names(p *DrillPlan, id roster.UserID) bool { return slices.Contains(s.named(p), id) }

// named returns the active people whom a plan names, by id.
func (s *Snapshot) named(p *DrillPlan) []roster.UserID {
	var all []roster.UserID
	for _, t := range p.People {
		all = append(all, s.mayHold(t)...)
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(id roster.UserID) bool {
		u, ok := s.GetUser(id)
		return !ok || u.Inactive
	})
}

// MayDrill reports whether a plan may begin a drill of a person at an instant: in
// its hours, and not in the quiet ones of the person.
func (s *Snapshot) MayDrill(p *DrillPlan, id roster.UserID, at time.Time) bool {
	u, ok := s.User(id)
	zone := s.Zone(u.Zone)
	return ok && p.Allows(at, zone) && (p.Night || !civil.Daily(u.Quiet.Start, u.Quiet.End).Contains(at, zone))
}

// onCallWithin reports whether a person is on call by a schedule soon.
func (s *Snapshot) onCallWithin(id roster.UserID, now time.Time, soon time.Duration) bool {
	return slices.ContainsFunc(s.SchedulesOf(id), func(by schedule.ID) bool {
		turns, err := s.Turns(by)
		return err == nil && len(turns.Held(id, now, now.Add(soon))) > 0
	})
}

// checkDrilled refuses the plan of a team that names people of others: their
// nights are not that team's to plan.
func checkDrilled(p *DrillPlan, next *Snapshot) error {
	if p.Team == "" {
		return nil
	}
	members := next.Members(p.Team)
	for i, t := range p.People {
		if t.Kind == escalation.UserTarget && !slices.Contains(members, roster.UserID(t.ID)) {
			return fault.InvalidField(fmt.Sprintf("people[%d]", i), "%s is no member of the team %s, whose plan it is", t.ID, p.Team)
		}
	}
	return nil
}

// maxDrilled is how many people, schedules and teams a plan may name.
const maxDrilled = 100

func (c *checker) drillPlan(p *DrillPlan) {
	c.id(string(p.ID))
	c.name("display_name", p.Name)
	unique(c, "people", p.People, maxDrilled)
	if err := p.Validate(); err != nil {
		c.errs = append(c.errs, err)
	}
}

// DrillDevices returns the devices that a drill of a person goes to: those that pages
// go to. delivery names what is sent to each.
func (s *Snapshot) DrillDevices(user roster.UserID, delivery func(roster.DeviceID) (string, error)) ([]drill.Device, error) {
	var all []drill.Device
	for _, d := range s.Devices(user) {
		if !d.Pageable() {
			continue
		}
		id, err := delivery(d.ID)
		if err != nil {
			return nil, err
		}
		all = append(all, drill.Device{ID: d.ID, Name: d.Name, Delivery: id})
	}
	return all, nil
}
