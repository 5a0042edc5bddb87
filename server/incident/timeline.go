package incident

import (
	"strconv"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// EntryType is what one timeline entry tells. Numbers are stored: never reuse one.
type EntryType uint8

// The types of entry.
const (
	EntryTriggered          EntryType = iota + 1 // Level, Key, Text
	EntryAlertAdded                              // Key, Text
	EntryDuplicate                               // Key, Count; coalesced, one a minute and alert
	EntryAlertResolved                           // Key
	EntryAssigned                                // Users, Via, Level
	EntryNotified                                // Users, Step, Loud, Cause: a contact step ran
	EntryDelivery                                // Users, Step, Text: only failed over, expired, no target
	EntryNoTarget                                // Level, Cause
	EntryAcknowledged                            // Actor, ClientAt
	EntryUnacknowledged                          // Cause
	EntryEscalated                               // From, Level, Cause, Loop
	EntryLoopRepeated                            // Loop
	EntryExhausted                               // Loop
	EntrySnoozed                                 // Until
	EntryUrgencyChanged                          // Urgency, Cause
	EntryPriorityChanged                         // Priority
	EntrySeverityChanged                         // Severity
	EntryMergedIn                                // Other
	EntryMergedOut                               // Other
	EntrySplit                                   // Other, Count
	EntryReopened                                // Cause, Key
	EntryNote                                    // Text
	EntryResponderAsked                          // Users, Text
	EntryResolved                                // Cause
	EntryReminderLimit                           // Users: reminders fall to one in 30 min
	EntryReminded                                // Users: "still on it?"
	EntryConfirmed                               // Actor is still on it
	EntryAckLimit                                // Count
	EntryShadowAsked                             // Users, Follows, Mode: paged beside whom they follow
	EntryShadowAcknowledged                      // Actor, Follows, Mode, Took, ClientAt: the measure of a shadow
	EntryShadowEnded                             // Users, Follows, Mode: they follow him no longer
	EntryResponseDue                             // Users, Took, Until: the response target is near
	EntryResponseMissed                          // Users, Took: the target has passed
	EntryTakenOver                               // Actor holds what Users had acknowledged
)

// Entry is one line of the timeline. Which fields are set depends on the type.
// Replaying the entries gives status, level, loop, assignees, acks, urgency,
// priority, snooze and alerts: see [Replay].
type Entry struct {
	Seq      int // dense from 1
	At       time.Time
	Type     EntryType
	Actor    Actor
	Cause    Cause
	Users    []roster.UserID
	Via      Via
	From     int // level before
	Level    int
	Loop     int
	Count    int
	Service  catalog.ServiceID
	Key      string
	Step     roster.MethodID
	Loud     bool
	Text     string
	Until    time.Time
	ClientAt time.Time
	Other    ID
	Urgency  Urgency
	Priority Priority
	Severity event.Severity
	Follows  roster.UserID // of a shadow's entry: whom he follows
	Mode     schedule.Mode // likewise; of other entries zero
	Took     time.Duration // from the person's first page to this, where it is measured
}

// DeliveryState is how far a page has come on its way to one device or address.
// A later state implies the earlier ones; states never go back.
type DeliveryState uint8

// The states of a delivery, in order.
const (
	DeliveryQueued     DeliveryState = iota + 1
	DeliveryAttempted                // written to the provider, outcome unknown
	DeliveryAccepted                 // the provider took it: not a proof of anything
	DeliveryRejected                 // the provider refused for good
	DeliveryExpired                  // the deadline passed first
	DeliveryWithdrawn                // no longer useful when its turn came
	DeliverySuppressed               // the device says that it will not show it
	DeliveryReceived                 // the app ran
	DeliveryDisplayed
	DeliveryOpened
	DeliveryActed
)

// Delivery is one page on its way to one device or address: a record beside
// the incident, outside its revision.
type Delivery struct {
	ID                                                                     string // UUID; also the apns-id
	Work                                                                   string // the work item that made it
	User                                                                   roster.UserID
	Device                                                                 roster.DeviceID // for push
	Method                                                                 roster.MethodID
	Kind                                                                   roster.MethodKind
	Native                                                                 bool // a phone app: its receipt counts
	Page                                                                   bool // a page, not a replacement or a notice
	Urgency                                                                Urgency
	State                                                                  DeliveryState
	Audible                                                                bool // sent to sound
	Attempts                                                               int
	Reason                                                                 string // the provider's last word, verbatim
	Provider                                                               string // the provider's id
	Deadline                                                               time.Time
	Queued, Attempted, Accepted, Received, Displayed, Opened, Acted, Ended time.Time
	Silent                                                                 bool   // the device says that it showed it without sound
	Epoch                                                                  uint32 // of the device when it was sent
	Tries                                                                  Tries  // requests that failed
}

// Tries are the requests for a delivery that failed: a line "<Unix ms> <reason>"
// for each. It is text so that records can be compared.
type Tries string

// Try is one request that failed.
type Try struct {
	At     time.Time
	Reason string
}

// maxTries is how many are kept: the first ones, and the last.
const maxTries = 8

// With returns the tries with one more.
func (t Tries) With(at time.Time, reason string) Tries {
	lines := strings.Split(string(t), "\n")
	if t == "" {
		lines = nil
	}
	if len(lines) >= maxTries {
		lines = lines[:maxTries-1]
	}
	reason = strings.Join(strings.Fields(reason), " ")
	return Tries(strings.Join(append(lines, strconv.FormatInt(at.UnixMilli(), 10)+" "+reason), "\n"))
}

// All returns the tries, oldest first.
func (t Tries) All() []Try {
	var all []Try
	for line := range strings.Lines(string(t)) {
		head, reason, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		ms, err := strconv.ParseInt(head, 10, 64)
		if err != nil {
			continue
		}
		all = append(all, Try{At: time.UnixMilli(ms).UTC(), Reason: reason})
	}
	return all
}
