// Package incidenttest gives tests a small world to decide incidents in.
package incidenttest

import (
	"time"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
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
	for _, id := range []roster.UserID{"ann", "bo", "cy", "dee"} {
		w.Users[id] = roster.User{
			ID: id, Name: string(id), Zone: "UTC",
			Methods: []roster.Method{{ID: "mail", Kind: roster.Email, Address: string(id) + "@shop.example", Verified: true}},
			High:    []roster.Step{{Method: roster.PushAll}, {Delay: time.Minute, Method: roster.PushAll, Loud: true}, {Delay: 3 * time.Minute, Method: "mail"}},
		}
		w.Phones[id] = []roster.Device{{ID: roster.DeviceID(id) + "-phone", User: id, Platform: roster.IOS, State: roster.DeviceActive}}
	}
	w.SetPolicy("night", 1, Level(5*time.Minute, "ann"), Level(10*time.Minute, "bo"), Level(15*time.Minute, "cy"))
	return w
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
	case w.Holders != nil:
		return w.Holders(t, at)
	}
	return nil
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
