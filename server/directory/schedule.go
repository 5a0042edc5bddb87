package directory

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// A schedule is kept in pieces: what is planned (layers, and what they were
// before) is one record, and each override and shadow that people make by hand
// is a record of its own, so that applying a plan never meets with them.
type (
	// Schedule is the planned part of a schedule: its Overrides and Shadows are empty.
	Schedule struct {
		schedule.Schedule
		Meta
	}
	// Override is one override of a schedule.
	Override struct {
		schedule.Override
		Schedule schedule.ID
		Meta
	}
	// Shadow is somebody who follows a schedule or, with none, a person on
	// whatever schedule.
	Shadow struct {
		schedule.Shadow
		Schedule schedule.ID
		Meta
	}
)

func (s *Schedule) key() Key { return Key{KindSchedule, string(s.ID)} }
func (o *Override) key() Key { return Key{KindOverride, string(o.ID)} }
func (s *Shadow) key() Key   { return Key{KindShadow, string(s.ID)} }

func (s *Schedule) meta() *Meta { return &s.Meta }
func (o *Override) meta() *Meta { return &o.Meta }
func (s *Shadow) meta() *Meta   { return &s.Meta }

func (s *Schedule) copied() Record { c := *s; return &c }
func (o *Override) copied() Record { c := *o; return &c }
func (s *Shadow) copied() Record   { c := *s; return &c }

func (s *Schedule) refs(f func(string, Key)) {
	refTeam(s.Team, f)
	for i, l := range s.Layers {
		refPeople(l.Participants, fmt.Sprintf("layers[%d].participants", i), f)
		refPeople(l.Trainees.Users, fmt.Sprintf("layers[%d].shadows.participants", i), f)
	}
}

func (o *Override) refs(f func(string, Key)) {
	f("schedule", Key{KindSchedule, string(o.Schedule)})
	refPerson(o.User, "user", f)
}

func (s *Shadow) refs(f func(string, Key)) {
	if s.Schedule != "" {
		f("schedule", Key{KindSchedule, string(s.Schedule)})
	}
	refPerson(s.User, "user", f)
	refPerson(s.Person, "person", f)
}

func refPeople(people []roster.UserID, path string, f func(string, Key)) {
	for i, u := range people {
		refPerson(u, fmt.Sprintf("%s[%d]", path, i), f)
	}
}

func refPerson(u roster.UserID, path string, f func(string, Key)) {
	if u != "" {
		f(path, Key{KindUser, string(u)})
	}
}

// turns are the answers of one schedule, compiled when they are first asked for.
type turns struct {
	whole schedule.Schedule
	zones schedule.Zones
	once  sync.Once
	ready *schedule.Resolver
	err   error
}

func (t *turns) resolver() (*schedule.Resolver, error) {
	t.once.Do(func() { t.ready, t.err = schedule.New(t.whole, t.zones) })
	return t.ready, t.err
}

// whole puts the pieces of a schedule together.
func (s *Snapshot) whole(r *Schedule) schedule.Schedule {
	w := r.Schedule
	refs, _ := s.referrer.get(reference{r.key(), KindOverride})
	for id := range refs.all() {
		if o, ok := find[*Override](s, KindOverride, id); ok {
			w.Overrides = append(w.Overrides, o.Override)
		}
	}
	refs, _ = s.referrer.get(reference{r.key(), KindShadow})
	for id := range refs.all() {
		if h, ok := find[*Shadow](s, KindShadow, id); ok {
			w.Shadows = append(w.Shadows, h.Shadow)
		}
	}
	return w
}

// GetSchedule returns the planned part of a schedule.
func (s *Snapshot) GetSchedule(id schedule.ID) (*Schedule, bool) {
	return find[*Schedule](s, KindSchedule, string(id))
}

// GetOverride returns an override, one that has ended too.
func (s *Snapshot) GetOverride(id schedule.OverrideID) (*Override, bool) {
	return find[*Override](s, KindOverride, string(id))
}

// GetShadow returns a shadow, one that has ended too.
func (s *Snapshot) GetShadow(id schedule.ShadowID) (*Shadow, bool) {
	return find[*Shadow](s, KindShadow, string(id))
}

// Turns returns what answers every question about a schedule. A schedule that
// does not exist is a NotFound fault.
func (s *Snapshot) Turns(id schedule.ID) (*schedule.Resolver, error) {
	t, ok := s.turns.get(id)
	if !ok {
		return nil, notFound(Key{KindSchedule, string(id)})
	}
	return t.resolver()
}

// Holder returns who is on call by a schedule at the instant; nobody is a gap.
// Asked about the present it costs a look at a clock.
func (s *Snapshot) Holder(id schedule.ID, at time.Time) (schedule.Shift, bool) {
	r, err := s.Turns(id)
	if err != nil {
		return schedule.Shift{}, false
	}
	shift := r.Current(at)
	return shift, !shift.Gap()
}

// Try returns what would answer if the planned part of a schedule were this.
func (s *Snapshot) Try(r *Schedule) (*schedule.Resolver, error) {
	return schedule.New(s.whole(r), s.zones.get)
}

// over reports whether a record speaks of the past only: it does not keep what
// it names from being deleted.
func over(r Record, now time.Time) bool {
	switch r := r.(type) {
	case *Override:
		return !r.End.After(now)
	case *Shadow:
		return !r.End.IsZero() && !r.End.After(now)
	case *Cover:
		return r.StateAt(now) != schedule.RequestOpen
	default:
		return false
	}
}

// mayHold returns everybody whom a target may come to: whoever takes turns or
// is put on call, and the members of a team.
func (s *Snapshot) mayHold(t escalation.Target) []roster.UserID {
	switch t.Kind {
	case escalation.UserTarget:
		return []roster.UserID{roster.UserID(t.ID)}
	case escalation.TeamTarget:
		return s.Members(roster.TeamID(t.ID))
	case escalation.ScheduleTarget:
		if r, ok := s.GetSchedule(schedule.ID(t.ID)); ok {
			return r.Members()
		}
	}
	return nil
}

// SchedulesOf returns the ids of the schedules whose layers or overrides name the person, sorted.
func (s *Snapshot) SchedulesOf(u roster.UserID) []schedule.ID {
	var out []schedule.ID
	refs, _ := s.referrer.get(reference{Key{KindUser, string(u)}, KindSchedule})
	for id := range refs.all() {
		out = append(out, schedule.ID(id))
	}
	refs, _ = s.referrer.get(reference{Key{KindUser, string(u)}, KindOverride})
	for id := range refs.all() {
		if o, ok := s.GetOverride(schedule.OverrideID(id)); ok {
			out = append(out, o.Schedule)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Following returns the shadows of the person herself, whatever the schedule.
func (s *Snapshot) Following(person roster.UserID) []schedule.Shadow {
	var out []schedule.Shadow
	refs, _ := s.referrer.get(reference{Key{KindUser, string(person)}, KindShadow})
	for id := range refs.all() {
		if h, ok := s.GetShadow(schedule.ShadowID(id)); ok && h.Schedule == "" && h.Person == person {
			out = append(out, h.Shadow)
		}
	}
	return out
}

// PutSchedule makes the planned part of a schedule what is wanted, from now on:
// its past stays, and a change of the participants counts by effect.
func (e *Edit) PutSchedule(wanted *Schedule, etag string, effect schedule.Effect) error {
	old, ok := e.GetSchedule(wanted.ID)
	before := schedule.Schedule{ID: wanted.ID}
	if ok {
		before = old.Schedule
	}
	if errs := validate(wanted, e.pace, e.zones); errs != nil {
		return about(wanted.key(), errs)
	}
	plan, err := schedule.Edit(before, wanted.Schedule, e.Now, effect, e.zones.get)
	if err != nil {
		return about(wanted.key(), err)
	}
	next := &Schedule{Schedule: plan}
	if !ok {
		return e.Create(next)
	}
	next.Meta = old.Meta
	return e.Update(next, etag)
}

// AddOverrides puts people on call in place of the layers, all of them or none.
// What of it has passed is cut off.
func (e *Edit) AddOverrides(id schedule.ID, overrides ...schedule.Override) error {
	r, ok := e.GetSchedule(id)
	if !ok {
		return notFound(Key{KindSchedule, string(id)})
	}
	whole, err := e.whole(r).WithOverrides(e.Now, overrides...)
	if err != nil {
		return about(r.key(), err)
	}
	for _, o := range whole.Overrides[len(whole.Overrides)-len(overrides):] {
		if err := e.Create(&Override{Override: o, Schedule: id}); err != nil {
			return err
		}
	}
	return nil
}

// RemoveOverride takes an override out: one that has not begun goes, one that
// has is cut off now, and one that has ended stays, which is a Precondition fault.
func (e *Edit) RemoveOverride(id schedule.OverrideID, etag string) error {
	o, ok := e.GetOverride(id)
	if !ok {
		return notFound(Key{KindOverride, string(id)})
	}
	r, ok := e.GetSchedule(o.Schedule)
	if !ok {
		return notFound(Key{KindSchedule, string(o.Schedule)})
	}
	whole, err := e.whole(r).WithoutOverride(id, o.Start, o.End, "", e.Now)
	if err != nil {
		return about(o.key(), err)
	}
	i := slices.IndexFunc(whole.Overrides, func(left schedule.Override) bool { return left.ID == id })
	if i < 0 {
		return e.Delete(o.key(), etag)
	}
	cut := *o
	cut.Override = whole.Overrides[i]
	return e.Update(&cut, etag)
}

// AddShadow has somebody follow a schedule, or a person.
func (e *Edit) AddShadow(h *Shadow) error {
	beside, err := e.beside(h)
	if err != nil {
		return err
	}
	with, err := beside.WithShadow(h.Shadow, e.Now)
	if err != nil {
		return about(h.key(), err)
	}
	made := *h
	made.Shadow = with.Shadows[len(with.Shadows)-1]
	return e.Create(&made)
}

// RemoveShadow ends a shadow now; one that has not begun goes.
func (e *Edit) RemoveShadow(id schedule.ShadowID, etag string) error {
	h, ok := e.GetShadow(id)
	if !ok || over(h, e.Now) {
		return notFound(Key{KindShadow, string(id)})
	}
	beside, err := e.beside(h)
	if err != nil {
		return err
	}
	without, err := beside.WithoutShadow(id, e.Now)
	if err != nil {
		return about(h.key(), err)
	}
	i := slices.IndexFunc(without.Shadows, func(left schedule.Shadow) bool { return left.ID == id })
	if i < 0 {
		return e.Delete(h.key(), etag)
	}
	cut := *h
	cut.Shadow = without.Shadows[i]
	return e.Update(&cut, etag)
}

// beside returns the schedule that has the shadow, or, for one of a person, one
// with nothing but the shadows of that person.
func (s *Snapshot) beside(h *Shadow) (schedule.Schedule, error) {
	if h.Schedule == "" {
		if h.Person == "" {
			return schedule.Schedule{}, fault.InvalidField("schedule", "name a schedule or a person to follow")
		}
		return schedule.Schedule{Shadows: s.Following(h.Person)}, nil
	}
	r, ok := s.GetSchedule(h.Schedule)
	if !ok {
		return schedule.Schedule{}, notFound(Key{KindSchedule, string(h.Schedule)})
	}
	return s.whole(r), nil
}

// ShadowsAt returns who follows the one who holds the schedule at the instant,
// each once: by the schedule, and by following the person.
func (s *Snapshot) ShadowsAt(id schedule.ID, holder roster.UserID, at time.Time) []schedule.Follower {
	var all []schedule.Follower
	if r, err := s.Turns(id); err == nil {
		all = r.ShadowsAt(at, holder)
	}
	for _, f := range schedule.Followers(s.Following(holder), at, holder) {
		if !slices.ContainsFunc(all, func(o schedule.Follower) bool { return o.User == f.User }) {
			all = append(all, f)
		}
	}
	return all
}

func (c *checker) schedule(s *Schedule) {
	c.errs = append(c.errs, s.Validate(c.zones.get))
	for i, l := range s.Layers {
		if l.ID != "" && !idForm.MatchString(string(l.ID)) {
			c.bad(fmt.Sprintf("layers[%d].id", i), "%q is no id: 1 to 63 of a to z, 0 to 9, \".\", \"_\" and \"-\"", l.ID)
		}
	}
}
