// Package escalation is who is asked next: policies, their levels and targets.
// Pure values and rules.
package escalation

import (
	"time"

	"github.com/tocsin-oncall/tocsin/server/roster"
)

// PolicyID is the last segment of the API's resource name.
type PolicyID string

// Ref names one immutable version of a policy. Open incidents keep theirs.
type Ref struct {
	ID      PolicyID
	Version int64
}

// Limits of a policy.
const (
	MaxLevels  = 20
	MaxTargets = 10
	MaxLoops   = 9
	MinDelay   = time.Minute
	MaxDelay   = 24 * time.Hour
)

// Policy is an ordered list of levels, walked Loops+1 times.
type Policy struct {
	ID          PolicyID
	Version     int64
	Name        string
	Team        roster.TeamID
	Levels      []Level
	Loops       int
	Fallback    []Target // paged once when the policy is exhausted, then every 30 min
	EscalateLow bool     // low urgency escalates too; otherwise it stays at level 1
	HandOff     HandOff  // what a change of shifts means to an incident that waits
}

// HandOff says what happens to an incident that nobody has taken when the shift
// of somebody who is asked ends.
type HandOff uint8

// The ways of handing over.
const (
	HandOffAdd  HandOff = iota // whoever comes on call is asked too, at once
	HandOffKeep                // nothing: he is asked when the level is asked again
	HandOffMove                // he is asked instead
)

// Ref returns the name of this version.
func (p Policy) Ref() Ref { return Ref{p.ID, p.Version} }

// Level is who is asked, and for how long before the next level.
type Level struct {
	Targets  []Target
	Delay    time.Duration
	Strategy Strategy
	MultiAck bool // every holder has to acknowledge for himself
}

// Strategy says which of a level's targets are asked.
type Strategy uint8

// The strategies.
const (
	Everyone   Strategy = iota
	RoundRobin          // one of them, the next for the next incident
	AnyOne              // one of them, drawn by the incident
)

// TargetKind is what a target names.
type TargetKind uint8

// The kinds of target.
const (
	UserTarget     TargetKind = iota + 1
	ScheduleTarget            // whoever is on call by it at the time
	TeamTarget                // all its members
)

// Target is somebody to ask, by name or by turn.
type Target struct {
	Kind TargetKind
	ID   string
}
