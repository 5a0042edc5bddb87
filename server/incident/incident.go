// Package incident is the unit of human work: what broke, who has been asked,
// who said that he is on it. Its rules are one pure function, [Decide]; nothing
// else changes an incident. No clock, no I/O, no Redis: instants are arguments,
// and what a decision may know of people and policies comes in as a [View].
package incident

import (
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// ID names an incident for ever: <map epoch><partition:2><48-bit ms><random> in
// lower base32, so that any instance finds its partition without asking.
type ID string

// Status is where an incident is in its life.
type Status uint8

// The statuses. The zero Status is invalid.
const (
	Triggered    Status = iota + 1 // somebody has to act
	Acknowledged                   // somebody does; snoozed while SnoozedUntil is set
	Resolved                       // over, until somebody re-opens it
)

// Urgency says how people are woken.
type Urgency uint8

// The urgencies.
const (
	High Urgency = iota + 1 // wakes people, escalates
	Low                     // waits for the morning
)

// Priority is P1 to P5, 0 for none. P1 and P2 are always high urgency.
type Priority uint8

// Via says how an assignee came to be asked.
type Via uint8

// The ways of being asked.
const (
	ViaPolicy    Via = iota + 1
	ViaDirect        // named by a person: does not escalate
	ViaFallback      // the policy was exhausted
	ViaCatchAll      // nobody at all could be asked
	ViaResponder     // asked to help
)

// Incident is the whole state of one incident, all its timers included.
type Incident struct {
	ID       ID
	Number   int64 // for people to say aloud; gaps are allowed
	Service  catalog.ServiceID
	Team     roster.TeamID // owner when it was triggered; frozen
	Text     Text
	Severity event.Severity
	Status   Status
	Urgency  Urgency
	Priority Priority

	Policy    escalation.Ref // zero while directly assigned without a policy to fall back to
	Direct    bool           // assigned by name: the policy is not walking
	Level     int            // index of the level that was asked last
	Loop      int            // finished passes over the policy
	Exhausted bool           // every loop is done: fallback and reminders only
	Hurried   bool           // Timers.Escalate was brought forward: nobody could be reached
	Reminded  bool           // "still on it?" was asked and is not answered
	MultiAck  bool           // the level asks every holder to acknowledge
	Turns     []Turn         // round-robin members used, so that loops and retries keep them
	Assignees []Assignee
	Shadows   []Assignee // paged beside the assignees, to learn: see [Shadowing]
	Responses []Response // how fast people answer, where that is measured
	Acks      []Ack
	Timers    Timers

	Created    time.Time
	Updated    time.Time // last decision; instants of one document never run backwards
	FirstAck   time.Time
	ResolvedAt time.Time
	ResolvedBy Actor
	Cause      Cause // of the resolve
	Opened     []Interval
	Reopens    int

	AlertsOpen  int
	AlertsTotal int
	HoldOpen    bool // alerts were added by hand: never resolved by its alerts alone
	MergedInto  ID
	Merged      []ID // incidents that were merged into this one

	Seq        int    // last sequence number of the timeline, dense from 1
	Generation uint32 // rises when pending pages must fall silent
	Version    uint32 // the API's etag: moves with what a responder sees, never with repeats or receipts
	Revision   uint64 // of the stored document; 0 before the first commit. The store's
	Writer     string // names the commit that made this revision; "": not known. The store's
	Trace      string // W3C traceparent of the event that began it, so that page and ack join its trace
}

// Text is what people read. It does not change after the trigger.
type Text struct {
	Title                                              string
	Source, Component, Group, Class, Client, ClientURL string
	Details                                            []byte // JSON object, or empty
	Links                                              []event.Link
	Images                                             []event.Image
}

// Timers are the instants at which the incident itself wants to be decided
// again. Zero: not armed. Contact steps are timers of the assignees.
type Timers struct {
	Escalate    time.Time // E: next level
	AckTimeout  time.Time // K: acknowledged for too long
	AckReminder time.Time // RA: "still on it?"
	SnoozeEnd   time.Time // Z
	AutoResolve time.Time // AR
	Raise       time.Time // U: urgency to high when support hours begin
	Fallback    time.Time // FB: a direct assignment that nobody took goes back to the policy
	CatchAll    time.Time // the fallback is paged again
	HandOff     time.Time // a shift ends by which somebody is asked
}

// Assignee is one person who is asked now, with where he is in his contact plan.
type Assignee struct {
	User  roster.UserID
	Since time.Time // the plan's zero
	Via   Via
	Level int
	// Schedule is the one by which he is asked; empty when he is by himself.
	Schedule schedule.ID
	// Elapsed is how far the plan has run: steps with Delay <= Elapsed are
	// done or missed. -1 before the first.
	Elapsed   time.Duration
	Next      time.Time         // next step or reminder; zero: silent
	Reminders int               // sent since the plan ended
	ReceiptBy time.Time         // a push went out; with no receipt by then the next other way runs now
	Pulled    []string          // keys of steps that ran before their time
	Failed    []roster.MethodID // methods that failed for good since the plan began
	Paged     time.Time         // last page; zero: not paged
	Pages     int               // how many pages went out for this assignment
	Shadow    Shadowing         // of Incident.Shadows: whom he follows, and how
}

// Turn is the member that a round-robin level uses for this incident.
type Turn struct {
	Level int
	User  roster.UserID
}

// Ack is one person's acknowledgement.
type Ack struct {
	By       Actor
	At       time.Time
	ClientAt time.Time // the phone's clock; shown, never used for order
}

// Interval is one stretch of being open.
type Interval struct{ From, To time.Time }

// Alert is one condition within an incident, identified by its service and key.
// It is a record beside the incident, not part of it.
type Alert struct {
	Service     catalog.ServiceID
	Key         string // scoped dedup key
	Integration catalog.IntegrationID
	Open        bool
	Count       int
	First, Last time.Time // server time
	SourceTime  time.Time // the sender's time of the last trigger; zero when not said
	Severity    event.Severity
	Summary     string
	Repeats     Repeats
}

// Repeats is the timeline entry that counts the latest repeats of an alert:
// while it is the last one and less than a minute old, it is rewritten.
type Repeats struct {
	Seq, Count int
	At         time.Time
}

// ActorKind says who did something.
type ActorKind uint8

// The kinds of actor.
const (
	ActorSystem ActorKind = iota + 1 // a timer, a rule
	ActorUser
	ActorSource  // an integration
	ActorService // a service account's token
)

// Actor is who did something, and how.
type Actor struct {
	Kind   ActorKind
	ID     string // user, integration or token
	Via    string // "api", "app", "notification", "action_token", "cli", "events" …
	Device roster.DeviceID
}

// System is the actor of timers and rules.
func System(via string) Actor { return Actor{Kind: ActorSystem, Via: via} }

// User returns the person behind the actor, if there is one.
func (a Actor) User() (roster.UserID, bool) {
	return roster.UserID(a.ID), a.Kind == ActorUser
}

// Cause says why something happened.
type Cause uint8

// The causes.
const (
	CauseManual Cause = iota + 1
	CauseTimeout
	CauseSource // the monitor said so
	CauseAlerts // all alerts are resolved
	CauseAutoTimeout
	CauseMerged
	CauseNobody   // the level has nobody who can be reached
	CauseGap      // nobody holds the target
	CauseNoMethod // somebody holds it and cannot be reached
	CauseReminder // the "still on it?" was not answered
	CauseSeverity
	CausePriority
	CauseHours // support hours began
	CauseExhausted
	CauseUndelivered // every method of everybody failed for good
	CauseNoReceipt
	CauseRejected
	CauseReassigned
	CauseSnooze
	CauseHandOff // the shift changed
)

// Open reports whether somebody may still have to act.
func (in *Incident) Open() bool { return in.Status == Triggered || in.Status == Acknowledged }

// Snoozed reports whether the incident sleeps.
func (in *Incident) Snoozed() bool { return !in.Timers.SnoozeEnd.IsZero() }

// Assigned returns the assignee of that person, nil when he is not asked.
func (in *Incident) Assigned(u roster.UserID) *Assignee {
	if i := slices.IndexFunc(in.Assignees, func(a Assignee) bool { return a.User == u }); i >= 0 {
		return &in.Assignees[i]
	}
	return nil
}

// Asked returns the plan of whoever is paged for the incident, as an assignee or
// as a shadow; nil for others.
func (in *Incident) Asked(u roster.UserID) *Assignee {
	if a := in.Assigned(u); a != nil {
		return a
	}
	return in.Following(u)
}

// Asks reports whether the incident asks that person now: he is assigned, or the
// shadow of somebody who is, and nobody's acknowledgement speaks for him. On a level that asks each holder,
// and of helpers, somebody else's does not.
func (in *Incident) Asks(u roster.UserID) bool {
	a := in.Asked(u)
	switch {
	case a == nil || !a.Shadow.Acked.IsZero():
		return false
	case in.Status == Acknowledged:
		return !in.AckedBy(u) && (!a.Next.IsZero() || !a.ReceiptBy.IsZero())
	}
	return in.Status == Triggered
}

// AckedBy reports whether the person's acknowledgement stands.
func (in *Incident) AckedBy(u roster.UserID) bool {
	return slices.ContainsFunc(in.Acks, func(a Ack) bool { v, ok := a.By.User(); return ok && v == u })
}

// Due returns the earliest instant at which the incident wants to be decided
// again; zero for none. It is the document's one timer in the store.
func (in *Incident) Due() time.Time {
	due := earliest(in.Timers.Escalate, in.Timers.AckTimeout, in.Timers.AckReminder, in.Timers.SnoozeEnd,
		in.Timers.AutoResolve, in.Timers.Raise, in.Timers.Fallback, in.Timers.CatchAll, in.Timers.HandOff)
	for i := range in.Assignees {
		due = earliest(due, in.Assignees[i].Next, in.Assignees[i].ReceiptBy)
	}
	for i := range in.Shadows {
		due = earliest(due, in.Shadows[i].Next, in.Shadows[i].ReceiptBy)
	}
	for i := range in.Responses {
		due = earliest(due, in.Responses[i].Next)
	}
	return due
}

// WaitsAsOverdue reports whether the incident is among those that wait until
// paging is resumed because they were due before the instant (see
// [catalog.Settings]) and nobody has touched them since. Zero: none wait.
func (in *Incident) WaitsAsOverdue(before time.Time) bool {
	due := in.Due()
	return !due.IsZero() && due.Before(before) && in.Updated.Before(before)
}

// clone returns a copy that shares nothing that a decision changes.
func (in *Incident) clone() *Incident {
	c := *in
	c.Turns = slices.Clone(in.Turns)
	c.Assignees, c.Shadows = cloned(in.Assignees), cloned(in.Shadows)
	c.Responses = slices.Clone(in.Responses)
	c.Acks = slices.Clone(in.Acks)
	c.Opened = slices.Clone(in.Opened)
	c.Merged = slices.Clone(in.Merged)
	return &c
}

func cloned(assignees []Assignee) []Assignee {
	c := slices.Clone(assignees)
	for i := range c {
		c[i].Pulled = slices.Clone(c[i].Pulled)
	}
	return c
}

// earliest returns the first of the instants, ignoring zero ones.
func earliest(at ...time.Time) time.Time {
	var first time.Time
	for _, t := range at {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}
