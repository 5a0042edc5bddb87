// Package incidenttest gives tests a small world to decide incidents in.
package incidenttest

import (
	"time"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// World is an [incident.View] made of maps. It may be changed between
// decisions, not during one.
type World struct {
	Services     map[catalog.ServiceID]catalog.Service
	Policies     map[escalation.PolicyID]escalation.Policy
	Users        map[roster.UserID]roster.User
	Phones       map[roster.UserID][]roster.Device
	Turns        map[int]roster.UserID // claimed, by level
	Installation catalog.Settings
	Speed        incident.Pace
	// Holders says who holds schedules and teams. nil: every one is a gap.
	Holders func(t escalation.Target, at time.Time) []roster.UserID
	Quiet   map[roster.Platform]bool // whose phones do not confirm what their push service takes
	// Schedules answer for themselves; Holders says the rest.
	Schedules map[schedule.ID]*schedule.Resolver
	// Shadowed are those who follow people, whatever the schedule.
	Shadowed map[roster.UserID][]schedule.Shadow
	// AnyService makes every service exist, like this one.
	AnyService *catalog.Service
}

// Shop is the service of [New].
const Shop = catalog.ServiceID("shop")

// New returns a world with one service whose policy asks ann, bo and cy in
// turn (5, 10 and 15 minutes, one repetition), each with an iPhone and an
// e-mail address; dee is the catch-all.
func New() *World {
	w := &World{
		Services:     map[catalog.ServiceID]catalog.Service{Shop: {ID: Shop, Name: "Shop", Policy: "night"}},
		Policies:     map[escalation.PolicyID]escalation.Policy{},
		Users:        map[roster.UserID]roster.User{},
		Phones:       map[roster.UserID][]roster.Device{},
		Turns:        map[int]roster.UserID{},
		Installation: catalog.Settings{CatchAll: []roster.UserID{"dee"}},
		Speed:        incident.DefaultPace(),
	}
	w.Add("ann", "bo", "cy", "dee")
	w.SetPolicy("night", 1, Level(5*time.Minute, "ann"), Level(10*time.Minute, "bo"), Level(15*time.Minute, "cy"))
	return w
}

// Add adds people, each with an iPhone and an e-mail address.
func (w *World) Add(users ...roster.UserID) {
	for _, id := range users {
		w.Users[id] = roster.User{
			ID: id, Name: string(id), Zone: "UTC",
			Methods: []roster.Method{{ID: "mail", Kind: roster.Email, Address: string(id) + "@shop.example", Verified: true}},
			High:    []roster.Step{{Method: roster.PushAll}, {Delay: time.Minute, Method: roster.PushAll, Loud: true}, {Delay: 3 * time.Minute, Method: "mail"}},
		}
		w.Phones[id] = []roster.Device{{ID: roster.DeviceID(id) + "-phone", User: id, Platform: roster.IOS, State: roster.DeviceActive}}
	}
}

// SetSchedule makes or replaces a schedule.
func (w *World) SetSchedule(s schedule.Schedule) {
	r, err := schedule.New(s, func(name string) (*time.Location, bool) {
		l, err := time.LoadLocation(name)
		return l, err == nil
	})
	if err != nil {
		panic(err) //nolint:forbidigo // a mistake of the test
	}
	if w.Schedules == nil {
		w.Schedules = map[schedule.ID]*schedule.Resolver{}
	}
	w.Schedules[s.ID] = r
}

// SetPolicy makes or replaces a policy.
func (w *World) SetPolicy(id escalation.PolicyID, loops int, levels ...escalation.Level) {
	w.Policies[id] = escalation.Policy{ID: id, Version: 1, Name: string(id), Loops: loops, Levels: levels}
}

// Level returns a level that asks the people.
func Level(delay time.Duration, users ...string) escalation.Level {
	l := escalation.Level{Delay: delay}
	for _, u := range users {
		l.Targets = append(l.Targets, escalation.Target{Kind: escalation.UserTarget, ID: u})
	}
	return l
}

// Mute takes every way of being woken from the people.
func (w *World) Mute(users ...roster.UserID) {
	for _, id := range users {
		u := w.Users[id]
		u.Methods = nil
		w.Users[id] = u
		delete(w.Phones, id)
	}
}

// Service implements [incident.View], as do all of the following.
func (w *World) Service(id catalog.ServiceID) (catalog.Service, bool) {
	s, ok := w.Services[id]
	if !ok && w.AnyService != nil {
		s, ok = *w.AnyService, true
		s.ID = id
	}
	return s, ok
}

// Policy returns a version.
func (w *World) Policy(ref escalation.Ref) (escalation.Policy, bool) {
	p, ok := w.Policies[ref.ID]
	return p, ok && p.Version == ref.Version
}

// CurrentPolicy returns the newest version.
func (w *World) CurrentPolicy(id escalation.PolicyID) (escalation.Policy, bool) {
	p, ok := w.Policies[id]
	return p, ok
}

// OnCall returns the person that a target names, or who holds a schedule or team.
func (w *World) OnCall(t escalation.Target, at time.Time) []roster.UserID {
	switch {
	case t.Kind == escalation.UserTarget:
		return []roster.UserID{roster.UserID(t.ID)}
	case t.Kind == escalation.ScheduleTarget && w.Schedules[schedule.ID(t.ID)] != nil:
		if s, _ := w.Shift(schedule.ID(t.ID), at); !s.Gap() {
			return []roster.UserID{s.User}
		}
		return nil
	case w.Holders != nil:
		return w.Holders(t, at)
	}
	return nil
}

// Shift returns the shift of a schedule, and its response target.
func (w *World) Shift(id schedule.ID, at time.Time) (schedule.Shift, time.Duration) {
	if r := w.Schedules[id]; r != nil {
		return r.At(at), r.Schedule().Response
	}
	if w.Holders != nil {
		if held := w.Holders(escalation.Target{Kind: escalation.ScheduleTarget, ID: string(id)}, at); len(held) > 0 {
			return schedule.Shift{User: held[0]}, 0
		}
	}
	return schedule.Shift{}, 0
}

// Followers returns the shadows of a holder.
func (w *World) Followers(t escalation.Target, holder roster.UserID, at time.Time) []schedule.Follower {
	all := schedule.Followers(w.Shadowed[holder], at, holder)
	if r := w.Schedules[schedule.ID(t.ID)]; t.Kind == escalation.ScheduleTarget && r != nil {
		all = append(all, r.ShadowsAt(at, holder)...)
	}
	return all
}

// Follows reports whether a link still stands.
func (w *World) Follows(f schedule.Follower, by schedule.ID, at time.Time) bool {
	if r := w.Schedules[by]; r != nil && r.Follows(f, at) {
		return true
	}
	for _, all := range w.Shadowed {
		for _, s := range all {
			if s.ID == f.Shadow && s.Stands(at) {
				return true
			}
		}
	}
	return false
}

// User returns a person.
func (w *World) User(id roster.UserID) (roster.User, bool) {
	u, ok := w.Users[id]
	return u, ok
}

// Devices returns the phones of a person.
func (w *World) Devices(id roster.UserID) []roster.Device { return w.Phones[id] }

// Turn returns a claimed turn.
func (w *World) Turn(_ escalation.PolicyID, level int) (roster.UserID, bool) {
	u, ok := w.Turns[level]
	return u, ok
}

// Silent reports whether the phones of a platform have fallen silent.
func (w *World) Silent(p roster.Platform) bool { return w.Quiet[p] }

// Zone returns an IANA zone.
func (w *World) Zone(name string) *time.Location {
	if l, err := time.LoadLocation(name); err == nil {
		return l
	}
	return time.UTC
}

// Settings returns those of the installation.
func (w *World) Settings() catalog.Settings { return w.Installation }

// Pace returns how fast the rules run.
func (w *World) Pace() incident.Pace { return w.Speed }
