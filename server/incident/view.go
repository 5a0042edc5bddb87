package incident

import (
	"time"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// View is what a decision may know of the world beside the incident: an
// immutable snapshot, so that one decision sees one world. Who is paged is
// decided on it and nowhere else.
type View interface {
	// Service returns a service; a deleted one stays known for 7 days.
	Service(id catalog.ServiceID) (catalog.Service, bool)
	// Policy returns the version that an incident keeps.
	Policy(ref escalation.Ref) (escalation.Policy, bool)
	// CurrentPolicy returns the newest version.
	CurrentPolicy(id escalation.PolicyID) (escalation.Policy, bool)
	// OnCall returns who holds the target at the instant; nobody is a gap.
	OnCall(t escalation.Target, at time.Time) []roster.UserID
	// Shift returns who is on call by a schedule at the instant and from when to
	// when that is sure, and within how long he is to answer; 0: no target.
	Shift(id schedule.ID, at time.Time) (schedule.Shift, time.Duration)
	// Followers returns who follows, as a shadow, the one who is asked because he
	// holds the target.
	Followers(t escalation.Target, holder roster.UserID, at time.Time) []schedule.Follower
	// Follows reports whether what made somebody a shadow, by a schedule or by
	// following a person, still stands at the instant.
	Follows(f schedule.Follower, by schedule.ID, at time.Time) bool
	// User returns a person.
	User(id roster.UserID) (roster.User, bool)
	// Devices returns the devices of a person, whatever their state.
	Devices(id roster.UserID) []roster.Device
	// Turn returns the member whose turn it is at a round-robin level for the
	// incident, once it has been claimed (see [UnclaimedTurnError]).
	Turn(p escalation.PolicyID, level int) (roster.UserID, bool)
	// Silent reports whether phones of the platform do not confirm lately what
	// their push service takes (package silence).
	Silent(p roster.Platform) bool
	// Zone returns an IANA zone; UTC for a name that is not known.
	Zone(name string) *time.Location
	// Settings returns those of the installation.
	Settings() catalog.Settings
	// Pace returns the durations that the demo shortens.
	Pace() Pace
}

// Pace is the durations of the rules that no policy or plan sets.
type Pace struct {
	AckTimeout     time.Duration // default of a service
	ReceiptWait    time.Duration // a push without a receipt for so long pulls the next way forward
	SilentWait     time.Duration // the same while the phones behind a push service are silent
	RemindEvery    time.Duration // default of a person
	RemindLimit    int           // reminders before they get rarer
	RemindRarely   time.Duration // between reminders past the limit, and between fallback pages
	EmptyPass      time.Duration // before a policy without anybody is walked again
	DirectFallback time.Duration // a direct assignment nobody took goes back to the policy
	PageLife       time.Duration // least time that a page is worth sending
	AckReminderFor time.Duration // "still on it?" unanswered for so long is no ack any more
	FastestLevel   time.Duration // least delay of a level
}

// DefaultPace returns the durations that the rules were made for.
func DefaultPace() Pace {
	return Pace{
		AckTimeout: 30 * time.Minute, ReceiptWait: 20 * time.Second, SilentWait: 5 * time.Second, RemindEvery: 5 * time.Minute,
		RemindLimit: 12, RemindRarely: 30 * time.Minute, EmptyPass: time.Minute,
		DirectFallback: 15 * time.Minute, PageLife: 10 * time.Minute, AckReminderFor: 5 * time.Minute,
		FastestLevel: time.Minute,
	}
}
