package incident

import (
	"time"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// Command is something that happens to an incident. Decide knows them all.
type Command interface{ command() }

// Begin makes a new incident: the first trigger of a condition, or a person's page.
type Begin struct {
	ID      ID
	Number  int64
	Service catalog.Service
	By      Actor
	Trace   string

	Alert Alert       // zero Key: made by hand, without an alert
	Event event.Event // for a manual one only the text fields are read

	// The following are for incidents made by hand.
	Users    []roster.UserID // asked directly instead of the service's policy
	Policy   escalation.PolicyID
	Urgency  Urgency
	Priority Priority
	HoldOpen bool
	// From is the incident that alerts were split off from, with the alerts.
	From   ID
	Alerts []Alert
}

// Repeat is a further trigger that belongs to the open incident: a known key, or a new alert of it.
type Repeat struct {
	Alert Alert // as stored before; zero Count when new to the incident. Service and Key are set
	Event event.Event
	By    Actor
	Count int // folded repeats, at least 1
}

// CloseAlert is the monitor saying that one condition is over.
type CloseAlert struct {
	Alert Alert // as stored; one that is not Open is a no-op
	By    Actor
	At    time.Time // the sender's time, zero when not said
}

// The commands of people. By is who; every one of them is safe to repeat.
type (
	// Acknowledge takes the incident: nobody is asked any more.
	Acknowledge struct {
		By       Actor
		ClientAt time.Time
	}
	// Confirm answers "still on it?" with yes.
	Confirm struct{ By Actor }
	// Unacknowledge gives it back: the level is asked again.
	Unacknowledge struct{ By Actor }
	// Resolve ends it.
	Resolve struct {
		By     Actor
		Cause  Cause   // CauseManual when zero
		Alerts []Alert // the open ones: they are closed with it
	}
	// Snooze puts it to sleep for a while, in the caller's name.
	Snooze struct {
		By  Actor
		For time.Duration // 1 min to 7 days
	}
	// Escalate goes to the next level, or to To. Expected, when set, is the
	// level that the caller saw: a double tap moves one level, not two.
	Escalate struct {
		By           Actor
		To, Expected *int // 0-based
		Wrap         bool // from the last level to the first, when no loops are left
	}
	// Reassign gives the incident to people, or to a policy.
	Reassign struct {
		By         Actor
		Users      []roster.UserID
		Policy     escalation.PolicyID
		NoFallback bool // people only: never goes back to the policy
	}
	// TakeOver gives the place of who goes off call to By, who comes on call: he is
	// asked instead of whoever the schedule had asked, and holds what they had acknowledged.
	TakeOver struct {
		By       Actor
		Schedule schedule.ID
		From     roster.UserID // who goes off call, taken over where no other schedule asks him; empty: nobody
	}
	// Reopen begins it again, as the same incident.
	Reopen struct {
		By    Actor
		Cause Cause
		Alert *Alert       // the alert that fired again, for a re-open by its key
		Event *event.Event // likewise
		Count int
	}
	// SetUrgency changes how people are woken.
	SetUrgency struct {
		By      Actor
		Urgency Urgency
	}
	// SetPriority changes how much it matters; P1 and P2 make it urgent.
	SetPriority struct {
		By       Actor
		Priority Priority
	}
	// AddNote writes a line on the timeline.
	AddNote struct {
		By   Actor
		Text string
	}
	// RequestResponders asks more people to help, beside whoever is assigned.
	RequestResponders struct {
		By    Actor
		Users []roster.UserID
		Text  string
	}
	// AcceptMerge takes over another incident's alerts; repeated, it takes what is new.
	AcceptMerge struct {
		By     Actor
		Source ID
		Number int64
		Alerts []Alert
	}
	// CloseMerged ends the source of a merge; its open alerts live on in Target.
	CloseMerged struct {
		By     Actor
		Target ID
		Number int64
		Alerts []Alert // all of the source
	}
	// SplitOff removes alerts that begin an incident of their own, Other.
	SplitOff struct {
		By     Actor
		Alerts []Alert
		Other  ID
	}
)

// Tick decides whatever is due.
type Tick struct {
	Receipts map[roster.UserID]Receipt // read from the delivery records when ReceiptDue
	Alerts   []Alert                   // the open ones, when AutoResolveDue
}

// Receipt is what the phones of a person have said about the pages of an incident.
type Receipt struct {
	Received bool // by a native phone, audibly; by any device when there is no phone
	Refused  bool // every device refused, is dead or suppressed: do not wait
}

// Undelivered tells that a contact step has failed for good on every device or address.
type Undelivered struct {
	User       roster.UserID
	Method     roster.MethodID
	Generation uint32
	Reason     string
	// Passing: a provider is out and may be back. The next way runs at once all
	// the same, but this one is used again when its next step is due.
	Passing bool
}

func (Begin) command()             {}
func (Repeat) command()            {}
func (CloseAlert) command()        {}
func (Acknowledge) command()       {}
func (Confirm) command()           {}
func (Unacknowledge) command()     {}
func (Resolve) command()           {}
func (Snooze) command()            {}
func (Escalate) command()          {}
func (Reassign) command()          {}
func (TakeOver) command()          {}
func (Reopen) command()            {}
func (SetUrgency) command()        {}
func (SetPriority) command()       {}
func (AddNote) command()           {}
func (RequestResponders) command() {}
func (AcceptMerge) command()       {}
func (CloseMerged) command()       {}
func (SplitOff) command()          {}
func (Tick) command()              {}
func (Undelivered) command()       {}

// Decision is what a command leads to: everything that has to be made durable together.
type Decision struct {
	Incident *Incident // the state after; the argument of Decide is never changed
	Changed  bool      // the document itself has to be written
	Alerts   []Alert   // records to write
	Timeline []Entry   // to append, numbered
	// Coalesce, when set, replaces the last entry of the timeline: a further repeat in the same minute.
	Coalesce *Entry
	Work     []Work
	// Moved reports a change that a responder sees: the etag moves, watchers are told.
	Moved bool
}
