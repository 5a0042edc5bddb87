package schedule

import (
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/tocsin-oncall/tocsin/server/civil"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Validate reports everything about the schedule that somebody has to mend, each
// with its field and the fix. Overrides and shadows are checked where they are made.
func (s Schedule) Validate(zones Zones) error {
	v := &complaints{}
	v.check(s.Name != "", "display_name", "give the schedule a name")
	v.check(utf8.RuneCountInString(s.Name) <= MaxName, "display_name", "use at most %d characters", MaxName)
	v.zone("time_zone", s.Zone, zones)
	v.check(s.Response >= 0 && s.Response <= MaxResponse, "response_target", "use 0 (none) to %v", MaxResponse)
	v.check(len(s.Layers) <= MaxLayers, "layers", "use at most %d layers; there are %d", MaxLayers, len(s.Layers))
	seen := map[LayerID]bool{}
	for i, l := range s.Layers {
		at := v.in(fmt.Sprintf("layers[%d]", i))
		at.check(l.ID != "", "id", "give the layer an id")
		at.check(l.ID == "" || !seen[l.ID], "id", "use each id once; %q is taken by another layer", l.ID)
		seen[l.ID] = true
		l.validate(at, zones)
	}
	return fault.Fields(v.found...)
}

func (l Layer) validate(v *complaints, zones Zones) {
	if l.Zone != "" {
		v.zone("time_zone", l.Zone, zones)
	}
	v.check(utf8.RuneCountInString(l.Name) <= MaxName, "display_name", "use at most %d characters", MaxName)
	v.check(l.End.IsZero() || l.Start.Before(l.End), "end_time", "end the layer after its start, or leave the end out")
	l.Rotation.validate(v.in("rotation"))
	v.check(slices.ContainsFunc(l.Participants, func(u roster.UserID) bool { return u != "" }), "participants",
		"name at least one person, or remove the layer; nobody is put on call by an override without a user")
	v.check(len(l.Participants) <= MaxParticipants, "participants", "use at most %d; there are %d", MaxParticipants, len(l.Participants))
	v.check(len(l.Restrictions) <= MaxRestrictions, "restrictions", "use at most %d; there are %d", MaxRestrictions, len(l.Restrictions))
	for i, r := range l.Restrictions {
		r.validate(v.in(fmt.Sprintf("restrictions[%d]", i)))
	}
	l.Trainees.validate(v.in("shadows"), l.Participants)
}

func (r Rotation) validate(v *complaints) {
	v.check(r.Unit >= Hours && r.Unit <= Months, "unit", "use hours, days, weeks or months")
	v.check(r.Length >= 1 && r.Length <= MaxTurn, "length", "use 1 to %d units: a shift without a length is nobody's; it is %d", MaxTurn, r.Length)
	v.check(r.Anchor.Day >= civil.Date(1970, 1, 1) && r.Anchor.Day < civil.Date(2200, 1, 1), "handoff", "use a date from 1970 to 2199")
	v.check(minutes(r.Anchor.Clock) && timeOfDay(r.Anchor.Clock), "handoff", "use a time of day in whole minutes, 00:00 to 23:59")
}

func (r Restriction) validate(v *complaints) {
	v.check(r.Weekday >= 0 && r.Weekday <= 7, "days", "use 1 (Monday) to 7 (Sunday), or none for every day; it is %d", r.Weekday)
	v.check(minutes(r.Start) && timeOfDay(r.Start), "start", "use a time of day in whole minutes, 00:00 to 23:59")
	longest := day
	if r.Weekday != 0 {
		longest = 7 * day
	}
	v.check(minutes(r.Length) && r.Length > 0 && r.Length <= longest, "length",
		"use whole minutes up to %v: 24h for every day, 168h for a day of the week; it is %v", longest, r.Length)
}

func (t Trainees) validate(v *complaints, participants []roster.UserID) {
	if len(t.Users) == 0 {
		return
	}
	v.check(len(t.Users) <= len(participants), "participants",
		"pair each trainee with the participant in the same place; there are %d trainees and %d participants", len(t.Users), len(participants))
	for i, u := range t.Users {
		v.check(u == "" || i >= len(participants) || u != participants[i], fmt.Sprintf("participants[%d]", i), "nobody can shadow himself; %q is the participant in that place", u)
	}
	v.check(t.Mode.valid(), "mode", "use observe, practise or duty")
	v.check(t.End.IsZero() || t.Start.Before(t.End), "end_time", "end after the start, or leave the end out")
}

const day = 24 * time.Hour

func minutes(d time.Duration) bool   { return d%time.Minute == 0 }
func timeOfDay(d time.Duration) bool { return d >= 0 && d < day }

// complaints gathers what is wrong under a path.
type complaints struct {
	path  string
	found []error
	under *complaints
}

// in returns complaints about what a field holds.
func (v *complaints) in(field string) *complaints {
	return &complaints{path: v.path + field + ".", under: v.root()}
}

func (v *complaints) root() *complaints {
	if v.under != nil {
		return v.under
	}
	return v
}

func (v *complaints) check(fine bool, field, fix string, args ...any) {
	if !fine {
		root := v.root()
		root.found = append(root.found, fault.InvalidField(v.path+field, fix, args...))
	}
}

func (v *complaints) zone(field, name string, zones Zones) {
	ok := false
	if name != "" {
		_, ok = zones(name)
	}
	v.check(ok, field, "use the IANA name of a time zone, such as Europe/Berlin; %q is not known", name)
}
