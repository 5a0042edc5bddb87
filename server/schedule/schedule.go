package schedule

import (
	"time"

	"github.com/tocsin-oncall/tocsin/server/roster"
)

// The ids. That of a schedule is the last segment of the API's resource name;
// the others are unique within their schedule.
type (
	// ID names a schedule.
	ID string
	// LayerID names a layer, through all its versions.
	LayerID string
	// OverrideID names an override.
	OverrideID string
	// ShadowID names a shadow.
	ShadowID string
	// RequestID names a request for cover or a swap.
	RequestID string
)

// Schedule is who is on call when, and was.
type Schedule struct {
	ID        ID
	Name      string
	Zone      string        // IANA; of the layers that have none of their own
	Team      roster.TeamID // who owns it; may be empty
	Layers    []Layer       // as they are wanted: each holds from its Since on
	Overrides []Override
	Shadows   []Shadow
	Response  time.Duration // target from page to acknowledgement, for holders and shadows alike; 0: none stated

	// Replaced are the layers as they were before edits, kept for answers
	// about the past and for what holds until the next hand-off. Edit alone
	// writes it.
	Replaced []Version
}

// Layer is one rotation within a schedule.
type Layer struct {
	ID           LayerID
	Name         string
	Priority     int    // the highest that has somebody wins; of equal ones the lower id
	Zone         string // IANA; empty: the schedule's
	Start        time.Time
	End          time.Time // zero: none. Start likewise. [Start, End)
	Rotation     Rotation
	Participants []roster.UserID // in turn; may repeat; an empty one is a deliberate gap of this layer
	Offset       int             // place of the participant who has turn 0; Edit moves it to keep the present holder
	Restrictions []Restriction   // when the layer counts: inside any of them; none: always
	Trainees     Trainees
	Since        time.Time // this version holds from here on; Edit alone writes it
	Made         time.Time // when Edit made this version; zero: before it was noted
}

// Version is a layer as it was, and when it held. Its zone is never empty.
type Version struct {
	Layer
	Until time.Time // [Layer.Since, Until)
}

// Override puts somebody on call in place of whoever the layers have. Of two
// that overlap, the one created later counts (equal: the higher id).
type Override struct {
	ID        OverrideID
	Start     time.Time
	End       time.Time     // [Start, End)
	User      roster.UserID // empty: nobody, a deliberate gap
	CreatedAt time.Time
	By        roster.UserID // who made it
	Request   RequestID     // the cover or swap that owns it; empty: made by hand
}

// covers reports whether the override is in force at t.
func (o Override) covers(t time.Time) bool { return !t.Before(o.Start) && t.Before(o.End) }

// Kept is how long the past of a schedule is remembered.
const Kept = 400 * 24 * time.Hour

// Limits of one schedule. They bound the work of a question, see the benchmarks.
const (
	MaxLayers       = 50
	MaxParticipants = 200 // of a layer
	MaxRestrictions = 50  // of a layer
	MaxOverrides    = 500 // that have not ended
	MaxShadows      = 100 // that have not ended
	MaxTurn         = 1000
	MaxName         = 100 // characters
	MaxResponse     = 24 * time.Hour
)
