package incident

import (
	"time"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// WorkKind is what has to be done outside after a commit.
type WorkKind uint8

// The kinds of work. Numbers are stored: never reuse one.
const (
	// WorkPage runs one contact step: page User by Method.
	WorkPage WorkKind = iota + 1
	// WorkReplace replaces the cards of this incident on every device that was
	// paged (of User only, when it is set) by a quiet line: Text.
	WorkReplace
	// WorkNotice tells User something quietly: merged, assigned away, a reminder limit.
	WorkNotice
	// WorkConfirm asks User "still on it?".
	WorkConfirm
	// WorkUncovered tells the owners that a level had nobody: Level, Cause, and
	// the Schedule that had nobody on call.
	WorkUncovered
	// WorkCloseMerged closes Other, which this incident has taken over.
	WorkCloseMerged
	// WorkUnlink forgets the dedup key of an alert that lives in another partition.
	WorkUnlink
)

// Work is one item to be done outside, written by the same commit as the
// decision. It names people and steps; devices are found when it is done.
type Work struct {
	Kind       WorkKind
	Incident   ID
	Generation uint32 // the page is void when the incident's is another
	User       roster.UserID
	Method     roster.MethodID
	Loud       bool // the critical sound
	Urgency    Urgency
	Severity   event.Severity // of the incident
	Reason     PageReason
	Level      int
	Number     int       // how many pages this person has had for it, from 1
	Deadline   time.Time // after it the page has no value
	Text       string
	Actor      Actor
	Cause      Cause
	Other      ID
	Service    catalog.ServiceID
	Key        string
	Revision   uint64 // of the incident, for the phone to drop what is stale
	Trace      string
	Schedule   schedule.ID
	Follows    roster.UserID // a page to a shadow: whom he follows
	Mode       schedule.Mode // likewise: how; zero for whoever is asked himself
}

// PageReason says why a page goes out; logs, metrics and the phone's text use it.
type PageReason uint8

// The reasons to page.
const (
	PageAssigned  PageReason = iota + 1 // the first step of a plan
	PageStep                            // a later step at its time
	PageReminder                        // the plan has ended and nobody acted
	PageNoReceipt                       // the phone stayed silent: the next way, before its time
	PageRejected                        // every device refused: the next way, at once
	PageFallback
	PageCatchAll
	PageResponder
)
