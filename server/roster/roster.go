// Package roster is people and teams as values: who somebody is, how they want
// to be woken, and whether they can be. Pure: no clock, no I/O.
package roster

import (
	"slices"
	"time"
)

// The ids are the last segment of the API's resource names.
type (
	// UserID names a person.
	UserID string
	// TeamID names a team.
	TeamID string
	// MethodID names a contact method among those of its person.
	MethodID string
	// DeviceID names a phone or browser.
	DeviceID string
)

// Role is what a person may do in the whole installation.
type Role uint8

// The roles, each including the ones after it. The zero Role may nothing.
const (
	Admin       Role = iota + 1 // everything
	Responder                   // acts on incidents, changes own contact methods
	Stakeholder                 // reads and subscribes
)

// User is one person.
type User struct {
	ID       UserID
	Name     string
	Email    string // unique, case-insensitive
	Zone     string // IANA; for quiet hours and display
	Locale   string // BCP 47; may be empty
	Role     Role
	Inactive bool // keeps history; never paged, may not sign in
	Methods  []Method
	High     []Step // contact plan for high urgency, ordered by delay
	Low      []Step
	Quiet    QuietHours
	Privacy  Privacy // strictest redaction wanted; may only go stricter than the installation
	Remind   Reminder
}

// Team owns services, policies and later schedules.
type Team struct {
	ID       TeamID
	Name     string
	Members  []UserID
	Managers []UserID // those of the members who may change what is the team's
}

// MethodKind is a way of reaching a person.
type MethodKind uint8

// The kinds of method. Push means every active device of the person.
const (
	Push MethodKind = iota + 1
	Email
	Webhook
)

// Method is one way of reaching a person. Push needs no address: the devices
// are enrolled apart and Device narrows it to one of them.
type Method struct {
	ID       MethodID
	Kind     MethodKind
	Address  string   // e-mail address, or https URL of the webhook
	Device   DeviceID // for Push: only this device; empty: all
	Verified bool     // the person proved to own it; unverified ones are never paged
	Bouncing bool     // the last sends came back for good
	Secret   []byte   // Webhook: sealed signing secret
}

// Limits of the steps by which a person is told of one urgency.
const (
	MaxSteps     = 20
	MaxStepDelay = 24 * time.Hour
)

// Step is one line of a contact plan: this method, so long after the assignment.
type Step struct {
	Delay  time.Duration // 0..MaxStepDelay since assignment to the person
	Method MethodID      // PushAll is always there
	Loud   bool          // push with the critical sound
}

// PushAll is the method that every user has: push to all active devices.
const PushAll MethodID = "push"

// Reminder says how a person is reminded when the plan has ended and nobody acted.
type Reminder struct {
	Every        time.Duration // 1..60 min; 0 = 5 min
	UntilResolve bool          // goes on after the person's own acknowledgement
}

// QuietHours hold low urgency and status messages back, in the person's zone.
// Start == End means none. A window with Start > End crosses midnight.
type QuietHours struct {
	Start, End time.Duration // civil time of day
}

// Privacy is how much of an incident a push shows before unlock.
type Privacy uint8

// The redaction levels, each stricter than the one before. Zero: the installation's default.
const (
	PrivacyFull Privacy = iota + 1
	PrivacyTitle
	PrivacyMinimal
	PrivacySealed
)

// Platform is what a device runs.
type Platform uint8

// The platforms.
const (
	IOS Platform = iota + 1
	Android
	Web
)

// DeviceState is whether a device may be paged.
type DeviceState uint8

// The states of a device. Only Active and Unverified ones are paged.
const (
	DeviceActive     DeviceState = iota + 1
	DeviceUnverified             // not heard of for long: paged, never counted as the only way
	DeviceParked                 // a configuration fault: not paged until it is mended
	DeviceDead                   // the provider said so
	DeviceRevoked                // lost, or signed out
)

// Device is what a decision needs to know of a phone or browser.
type Device struct {
	ID       DeviceID
	User     UserID
	Name     string
	Platform Platform
	State    DeviceState
	Silenced bool // the device says that it would not show a page (permission, channel)
}

// Native reports whether the device is a phone app; only such a receipt counts.
func (d Device) Native() bool { return d.Platform == IOS || d.Platform == Android }

// Pageable reports whether pages are sent to the device.
func (d Device) Pageable() bool { return d.State == DeviceActive || d.State == DeviceUnverified }

// Method returns the user's method of that id; PushAll is always there.
func (u User) Method(id MethodID) (Method, bool) {
	if id == PushAll {
		return Method{ID: PushAll, Kind: Push, Verified: true}, true
	}
	i := slices.IndexFunc(u.Methods, func(m Method) bool { return m.ID == id })
	if i < 0 {
		return Method{}, false
	}
	return u.Methods[i], true
}

// defaultHigh is used for people without a plan of their own: a push at once,
// the same push with the critical sound a minute later, and e-mail after
// three for whoever has a verified address.
func (u User) defaultHigh() []Step {
	steps := []Step{{Method: PushAll}, {Delay: time.Minute, Method: PushAll, Loud: true}}
	for _, m := range u.Methods {
		if m.Kind != Push && m.Verified && !m.Bouncing {
			steps = append(steps, Step{Delay: 3 * time.Minute, Method: m.ID})
		}
	}
	return steps
}

// Plan returns the contact plan for the urgency, the default one when the
// person has none, ordered by delay.
func (u User) Plan(high bool) []Step {
	steps := u.Low
	if high {
		steps = u.High
	}
	if len(steps) == 0 {
		if !high {
			return []Step{{Method: PushAll}}
		}
		return u.defaultHigh()
	}
	return steps
}

// Works reports whether a step of the plan could reach the person now.
func (u User) Works(s Step, devices []Device) bool {
	m, ok := u.Method(s.Method)
	if !ok || !m.Verified || m.Bouncing {
		return false
	}
	if m.Kind != Push {
		return true
	}
	return slices.ContainsFunc(devices, func(d Device) bool {
		return d.Pageable() && !d.Silenced && (m.Device == "" || m.Device == d.ID)
	})
}

// Reachable reports whether at least one step of the plan for the urgency works.
func (u User) Reachable(high bool, devices []Device) bool {
	return !u.Inactive && slices.ContainsFunc(u.Plan(high), func(s Step) bool { return u.Works(s, devices) })
}
