package schedule

import (
	"time"

	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Mode is what a shadow does with the pages of the person that he follows. In
// all modes he never fills a gap and is never counted as somebody who can be
// reached.
type Mode uint8

// The modes.
const (
	// Observe: paged alongside, marked as shadow; may not acknowledge. The default.
	Observe Mode = iota + 1
	// Practise: may acknowledge for the measure only; nothing stops.
	Practise
	// Duty: must answer, as must the person he follows: both have to acknowledge.
	Duty
)

// Shadow is one person who follows a schedule or another person for a while.
// Several may follow the same.
type Shadow struct {
	ID     ShadowID
	User   roster.UserID // who follows
	Person roster.UserID // follows this person while he is on call here; empty: whoever is
	Mode   Mode
	Start  time.Time
	End    time.Time // zero: none. [Start, End)
}

// Trainees is a shadow rotation, paired with the rotation of its layer by
// place: Users[i] follows the turns of Participants[i], so that eight newcomers
// follow eight holders in turn. Where that turn is overridden, he follows the
// one who has it then. Empty places, and those past the end, have no shadow.
type Trainees struct {
	Users []roster.UserID
	Mode  Mode
	Start time.Time // zero: none
	End   time.Time // zero: none. [Start, End)
}
