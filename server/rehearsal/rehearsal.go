package rehearsal

import (
	"context"
	"time"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/engine"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// The bounds of one rehearsal.
const (
	Window       = 7 * 24 * time.Hour // after the event
	MostMessages = 1000
	mostInstants = 20_000
)

// Question is what is asked.
type Question struct {
	Integration catalog.Integration // by which the event comes in
	Event       event.Event         // within the limits of its package
	At          time.Time           // when it comes in
	// Deaf: no phone confirms what it is sent, so that each person is tried by
	// the next way before its time.
	Deaf bool
	// ID of the incident, by which levels that draw by lot draw. Empty: a new one.
	ID incident.ID
	// Turn says whose turn it is at a round-robin level, of those who can be
	// asked. nil: the first one's.
	Turn Turn
}

// Level is one level of a policy.
type Level struct {
	Policy escalation.PolicyID
	Number int // from 0
}

// Turn returns one of the members of a round-robin level.
type Turn func(ctx context.Context, at Level, members []roster.UserID) (roster.UserID, error)

// End is why a rehearsal ended.
type End uint8

// The ends.
const (
	Dropped    End = iota + 1 // the event leads to no incident: Answer.Reason
	Quiet                     // nothing more would be sent
	Resolved                  // the incident would end by itself
	Repeating                 // from here on the last ones asked are reminded, and the fallback is paged again
	Unfinished                // there is more than a rehearsal tells
)

// Answer is what would happen.
type Answer struct {
	End    End
	EndAt  time.Time
	Reason string // of Dropped: one of the engine's, or Disabled

	Opened   *incident.Incident // as it opens; nil when none does
	Closed   *incident.Incident // as it is at the end
	Timeline []incident.Entry
	Messages []Message // in order
}

// Disabled is the reason of an event whose integration is turned off.
const Disabled = "INTEGRATION_DISABLED"

// MessageKind is what a message is for.
type MessageKind uint8

// The kinds of message.
const (
	Page   MessageKind = iota + 1 // to wake somebody, for this incident
	Card                          // the same, collected: what the limits on sounds and quiet hours held back
	Notice                        // tells, and asks nothing
	Clear                         // makes what is shown go quiet
)

// Message is one message to one device or address.
type Message struct {
	At      time.Time
	Kind    MessageKind
	User    roster.UserID
	Method  roster.MethodID
	By      roster.MethodKind
	Device  roster.DeviceID     // of a push
	Level   int                 // from 0: at which the person is asked; -1: he is not
	Reason  incident.PageReason // of a Page
	Sound   bool                // it is sent to be heard
	Loud    bool                // with the critical sound
	Follows roster.UserID       // to a shadow: whom he follows
	Mode    schedule.Mode       // likewise: how
	Title   string              // as redacted for the lock screen
	Body    string
}

// Play returns what the event would lead to on the configuration.
func Play(ctx context.Context, snap *directory.Snapshot, q Question) (Answer, error) {
	if q.Integration.Disabled {
		return Answer{End: Dropped, EndAt: q.At, Reason: Disabled}, nil
	}
	if q.ID == "" {
		q.ID = store.NewIncidentID(store.PartitionOf(string(q.Integration.Service)), q.At)
	}
	service, ok := snap.Service(q.Integration.Service)
	if !ok {
		return Answer{}, fault.New(fault.NotFound, "SERVICE_NOT_FOUND", "the service of the integration does not exist", "service", string(q.Integration.Service))
	}
	begin, why := engine.Opens(store.InboxEntry{
		Service: service.ID, Integration: q.Integration.ID, Source: q.Integration.Source, Key: q.Event.DedupKey, Event: q.Event, Received: q.At,
	}, service, q.ID, q.At)
	if begin == nil {
		return Answer{End: Dropped, EndAt: q.At, Reason: why}, nil
	}
	return newStage(snap, q).play(ctx, begin) //nolint:contextcheck // the notifier has a context of its own, which ends with it
}
