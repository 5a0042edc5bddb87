// Package event holds what a monitor says: the common event that every source
// is mapped to, with its limits. Pure values: no clock, no I/O.
package event

import "time"

// Action is what the sender wants to happen.
type Action uint8

// The actions. The zero Action is invalid, so that a forgotten one shows.
const (
	Trigger Action = iota + 1
	Acknowledge
	Resolve
)

// Severity is how bad the sender thinks it is, most severe first.
type Severity uint8

// The severities. The zero Severity means "not said" and is replaced by Error on a trigger.
const (
	Critical Severity = iota + 1
	Error
	Warning
	Info
)

// Limits of the common event. Sizes in bytes unless said.
const (
	MaxKey       = 255       // dedup key
	MaxSummary   = 1024      // summary, runes
	MaxDetails   = 64 << 10  // custom_details as JSON
	MaxLinks     = 10        // links, and images, each
	MaxBatch     = 1000      // events in one body
	MaxBody      = 1 << 20   // body of an integration, after gunzip
	MaxBodyV2    = 512 << 10 // body of Events v2 (PagerDuty's own limit)
	MaxJSONDepth = 64
	MaxField     = 1024 // source, component, group, class, client and link texts, each, runes
	MaxURL       = 4096 // one link: a longer one is dropped, because a cut one leads nowhere
)

// Event is one message of a monitor about one condition.
type Event struct {
	Action    Action
	DedupKey  string    // 1..MaxKey bytes; identifies the condition on its service
	KeyMade   bool      // DedupKey comes from [StableKey]: its sender may never resolve it, so the alert has to end by itself
	Summary   string    // 1..MaxSummary runes, one line; for a trigger
	Source    string    // the thing that is unwell, never the tool
	Severity  Severity  // set on a trigger; advice on the other actions
	Timestamp time.Time // the sender's; zero when absent. Never used for ordering alone
	Component string
	Group     string
	Class     string
	Details   []byte // custom_details: a JSON object, or empty
	Links     []Link
	Images    []Image
	Client    string // name of the tool
	ClientURL string
	// SenderID is the sender's own id of this delivery, when it gives one: a
	// repeated one is the same event sent again. Empty: none.
	SenderID string
}

// Link is one link to follow: runbook, dashboard, graph.
type Link struct{ Href, Text string }

// Image is one picture of the condition.
type Image struct{ Src, Href, Alt string }

func (a Action) String() string {
	switch a {
	case Trigger:
		return "trigger"
	case Acknowledge:
		return "acknowledge"
	case Resolve:
		return "resolve"
	}
	return ""
}

func (s Severity) String() string {
	switch s {
	case Critical:
		return "critical"
	case Error:
		return "error"
	case Warning:
		return "warning"
	case Info:
		return "info"
	}
	return ""
}

// Worse returns the more severe of s and t; "not said" is the least severe.
func (s Severity) Worse(t Severity) Severity {
	if s == 0 || (t != 0 && t < s) {
		return t
	}
	return s
}
