// Package catalog is what can break: services, the integrations that report
// on them, and the rules that turn a report into an incident. Pure values.
package catalog

import (
	"time"

	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// ServiceID is the last segment of a service's resource name.
type ServiceID string

// IntegrationID is the last segment of an integration's resource name.
type IntegrationID string

// Service is one thing that a team runs and is paged for.
type Service struct {
	ID           ServiceID
	Name         string
	Team         roster.TeamID
	Policy       escalation.PolicyID
	Disabled     bool // events are accepted and dropped, with a count
	Urgency      UrgencyRule
	Hours        SupportHours   // for UrgencyBySupportHours
	MinSeverity  event.Severity // below it an alert is only counted; 0: every event pages
	AckTimeout   time.Duration  // acknowledged without resolve so long: triggered again. 0: 30 min; negative: off
	AckReminder  time.Duration  // "still on it?" so long after the ack. 0: off
	AutoResolve  time.Duration  // resolved by itself after so long without news; 0: off
	ReopenWindow time.Duration  // the same key within it re-opens instead of making a new incident; 0: off
	KeyScope     KeyScope
	Privacy      roster.Privacy // at least this strict; 0: the installation's
}

// UrgencyRule says which urgency a new incident has.
type UrgencyRule uint8

// The urgency rules. The zero rule goes by severity.
const (
	UrgencyBySeverity UrgencyRule = iota // critical and error: high; warning and info: low
	UrgencyHigh
	UrgencyLow
	UrgencyBySupportHours // high inside Hours; outside low, raised when they begin
)

// KeyScope says among which events a dedup key means the same condition.
type KeyScope uint8

// The scopes.
const (
	ScopeService     KeyScope = iota // all integrations of the service
	ScopeIntegration                 // each integration for itself
)

// SupportHours are civil hours in a zone, on days of the week; without days
// they never are. Start > End belongs to the day of the start; Start == End is
// the whole day.
type SupportHours struct {
	Zone       string // IANA
	Days       []time.Weekday
	Start, End time.Duration
}

// Integration is one credential for sending events to a service.
type Integration struct {
	ID       IntegrationID
	Service  ServiceID
	Name     string
	Source   string            // ingest source: alertmanager, generic, pagerduty …
	KeyHash  [32]byte          // SHA-256 of the key
	Options  map[string]string // settings of the source
	Disabled bool
}

// Settings are those of the whole installation.
type Settings struct {
	CatchAll []roster.UserID // paged when nobody else can be
	Privacy  roster.Privacy
	// Held stops all paging until resumed; see `tocsin hold`.
	Held      bool
	HeldBy    string
	HeldSince time.Time
	// OverdueBefore, when set, lets the incidents that were due before it wait
	// until resumed, after a restore or a long outage. OverdueNotice is the id of
	// the incident that tells of it.
	OverdueBefore time.Time
	OverdueNotice string
	// Resumed is when paging was let go on last. What had waited until then is
	// late because it was told to, not because of an outage.
	Resumed time.Time
}
