package attention

import (
	"time"

	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Command is something that happens to a person's attention. Decide knows them all.
type Command interface{ command() }

// Page is one contact step that package incident decided on. Repeating it with
// the same Work gives the same outcome.
type Page struct {
	Work string // id of the work item
	Item Item   // Incident, Generation, Version, Urgency, Method and Loud are read
	// Reason tells a first page from a re-notify step, which is exempt from the limit on sounds.
	Reason incident.PageReason
}

// Notice tells the person something that needs nobody at once.
type Notice struct {
	Work     string
	Incident incident.ID
	Method   roster.MethodID
	Text     string // redacted already: it may wait here for the morning
	// Key and Every keep notices about one thing apart; zero Every: no limit.
	Key   string
	Every time.Duration
	// Urgent ones ask something that has a time limit: they are never held, and heard.
	Urgent bool
}

// Settle tells that the incident does not need the person any more, or not for now.
type Settle struct{ Incident incident.ID }

// Sent tells that a card has come to its end: accepted, refused for good or expired.
type Sent struct{ Card string }

// Tick decides whatever is due.
type Tick struct{}

func (Page) command()   {}
func (Notice) command() {}
func (Settle) command() {}
func (Sent) command()   {}
func (Tick) command()   {}

// View is what a decision may know beside the document.
type View struct {
	User roster.User
	Zone *time.Location // of the person; nil is UTC
	// Needs reports whether the incident still asks this person. It is asked by
	// [Tick] alone, for incidents of [Person.Waiting]; nil: all of them do.
	Needs func(incident.ID) bool
}

// kind returns the kind of a method; 0 for one that the person does not have any more.
func (v View) kind(id roster.MethodID) roster.MethodKind {
	m, _ := v.User.Method(id)
	return m.Kind
}

// Decision is what a command leads to.
type Decision struct {
	Person  *Person // the state after; the argument of Decide is never changed
	Changed bool    // the document has to be written
	Outcome Outcome // of a Page or Notice
	Cards   []Card  // to be sent once the document is written; Items filled
}
