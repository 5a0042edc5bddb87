package importer

import (
	"fmt"
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// Draft is an import under way: what is carried over so far, and the ids that
// the records of the source have here.
type Draft struct {
	*Import
	Window   Window
	People   IDs
	Teams    IDs
	Rotas    IDs
	Policies IDs
	Services IDs
	Keys     IDs // of integrations
	lanes    map[string][]string
}

// NewDraft returns an empty import.
func NewDraft(source string, w Window) *Draft {
	d := &Draft{Import: &Import{Source: source}, Window: w, lanes: map[string][]string{}}
	d.People.Reserve("me")
	return d
}

// Person carries over a person with the address of one e-mail, which counts as
// proven: the other system wrote to it. Nil without an address.
func (d *Draft) Person(about, source, name, email, zone string) *directory.PersonDoc {
	id, ok := d.People.Of(source)
	if !ok {
		d.Note(about, "has no e-mail address", "add one there and import again; without it the person is left out")
		return nil
	}
	p := directory.PersonDoc{ID: id, Name: Name(name, id), Email: email}
	if zone != "" {
		if _, err := time.LoadLocation(zone); err == nil {
			p.TimeZone = &zone
		} else {
			d.Note(about, "the time zone "+zone+" is not known", "set time_zone in the document")
		}
	}
	d.Document.People = append(d.Document.People, p)
	return &d.Document.People[len(d.Document.People)-1]
}

// Steps are the ways in which somebody is told, in the order of the source, with
// how long after the page each begins. methods has the contact method here by
// what the source calls it. Ways that are not there are told, and left out; but
// where nothing else rings, a push stands for the first of them: who was called
// or texted there, and mailed, would sleep through mail alone.
func (d *Draft) Steps(about string, ways []Way, methods map[string]string) []directory.StepDoc {
	var steps []directory.StepDoc
	carried := func(w Way) bool { return methods[w.By] != "" }
	rings := func(w Way) bool { return methods[w.By] == string(roster.PushAll) }
	instead := -1
	if slices.ContainsFunc(ways, carried) && !slices.ContainsFunc(ways, rings) { // without any step it is the usual ones that ring
		instead = slices.IndexFunc(ways, func(w Way) bool { return !carried(w) })
	}
	for i, w := range ways {
		method, ok := methods[w.By]
		if i == instead {
			method, ok = string(roster.PushAll), true
			d.Note(about, fmt.Sprintf("the step after %s goes out by a way that is not carried over (%s), and no other step rings", Lasting(w.After), w.By), "it is a push here: enrol a phone")
		}
		if !ok {
			d.Note(about, fmt.Sprintf("the step after %s goes out by a way that is not carried over (%s)", Lasting(w.After), w.By), "add a step by push or e-mail in its place")
			continue
		}
		step := directory.StepDoc{Method: method, Loud: w.Loud}
		if w.After > 0 {
			step.Delay = Lasting(min(w.After, roster.MaxStepDelay))
		}
		if !slices.Contains(steps, step) {
			steps = append(steps, step)
		}
	}
	if len(steps) > roster.MaxSteps {
		d.Note(about, fmt.Sprintf("has %d steps; %d are carried over", len(steps), roster.MaxSteps), "see which of them are needed")
		steps = steps[:roster.MaxSteps]
	}
	return steps
}

// Way is one way in which the source tells a person.
type Way struct {
	By    string        // as the source calls it
	After time.Duration // since the page
	Loud  bool          // through silence
}

// Who returns a person's id here; the id of the source, which is nobody's here,
// for one who is not carried over, so that his shifts show as differences.
func (d *Draft) Who(source string) string {
	if id, ok := d.People.Of(source); ok {
		return id
	}
	return source
}

// Participants names people for a layer. Those who are not carried over are
// places of nobody, and told. It is nil when nobody is left.
func (d *Draft) Participants(about string, sources []string) []string {
	var all []string
	some := false
	for _, s := range sources {
		id, ok := d.People.Of(s)
		if !ok && s != "" {
			d.Note(about, s+" has turns and is not in the export", "export people, too, and import again; until then the turns are nobody's. What is no person cannot have turns here")
		}
		some = some || ok
		all = append(all, id)
	}
	if !some {
		return nil
	}
	return all
}

// Lay carries over one schedule of the source: its layers, in as many schedules
// as it takes, beside its shifts by the source's rules and, if the export has
// them, as the source rendered them. The id and name of base are given here.
func (d *Draft) Lay(source, name string, base directory.ScheduleDoc, layers []directory.LayerDoc, there, shown []Shift) error {
	about := fmt.Sprintf("schedule %s (%s)", name, source)
	base.ID = d.Rotas.New(source, name)
	base.Name = Name(name, base.ID)
	if len(layers) > schedule.MaxLayers {
		d.Note(about, fmt.Sprintf("takes %d layers; %d are carried over", len(layers), schedule.MaxLayers), "make the last ones by hand")
		layers = layers[:schedule.MaxLayers]
	}
	lanes, err := Lanes(base, layers, d.Window.From)
	if err != nil {
		return fmt.Errorf("%s: %w", about, err)
	}
	for i := range lanes {
		if i > 0 {
			lanes[i].ID = d.Rotas.New(fmt.Sprintf("%s#%d", source, i+1), lanes[i].ID)
		}
		d.lanes[source] = append(d.lanes[source], lanes[i].ID)
	}
	if len(lanes) > 1 {
		d.Note(about, fmt.Sprintf("has up to %d people on call at once; one of ours has one", len(lanes)), fmt.Sprintf("it is %d schedules here, and policies that asked it ask all of them", len(lanes)))
	}
	d.Document.Schedules = append(d.Document.Schedules, lanes...)
	d.Schedules = append(d.Schedules, Schedule{ID: source, Name: name, Here: d.lanes[source], There: d.here(there), Shown: d.here(shown)})
	return nil
}

func (d *Draft) here(shifts []Shift) []Shift {
	all := slices.Clone(shifts)
	for i := range all {
		all[i].User = d.Who(all[i].User)
	}
	return all
}

// Rota returns the targets that stand for a schedule of the source.
func (d *Draft) Rota(source string) []string {
	var all []string
	for _, id := range d.lanes[source] {
		all = append(all, "schedules/"+id)
	}
	return all
}

// Level adds a level to a policy, as far as it may ask people and may wait.
func (d *Draft) Level(about string, p *directory.PolicyDoc, targets []string, delay time.Duration, strategy string) {
	n := len(p.Levels) + 1
	slices.Sort(targets)
	targets = slices.Compact(targets)
	switch {
	case len(targets) == 0:
		d.Note(about, fmt.Sprintf("level %d asks nobody who is carried over; it is left out", n), "add the level by hand")
		return
	case len(targets) > escalation.MaxTargets:
		d.Note(about, fmt.Sprintf("level %d asks %d; %d are carried over", n, len(targets), escalation.MaxTargets), "make a team of them")
		targets = targets[:escalation.MaxTargets]
	}
	if delay < escalation.MinDelay || delay > escalation.MaxDelay {
		within := min(max(delay, escalation.MinDelay), escalation.MaxDelay)
		d.Note(about, fmt.Sprintf("level %d escalates after %s; here it is 1 minute to 24 hours", n, Lasting(delay)), "it is "+Lasting(within)+" in the document; set what you want")
		delay = within
	}
	p.Levels = append(p.Levels, directory.LevelDoc{Targets: targets, Delay: Lasting(delay), Strategy: strategy})
}

// Policy carries over a policy with at least one level.
func (d *Draft) Policy(source string, p directory.PolicyDoc) {
	if len(p.Levels) == 0 {
		return
	}
	p.ID = d.Policies.New(source, p.Name)
	p.Name = Name(p.Name, p.ID)
	d.Document.Policies = append(d.Document.Policies, p)
}

// Loops is how often a policy begins anew, as far as it may.
func (d *Draft) Loops(about string, n int) int {
	if n > escalation.MaxLoops {
		d.Note(about, fmt.Sprintf("begins anew %d times; here it is at most %d", n, escalation.MaxLoops), "add the last ones to fallback, which is asked for ever")
	}
	return min(max(n, 0), escalation.MaxLoops)
}

// Moment writes an instant as documents have it.
func Moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }
