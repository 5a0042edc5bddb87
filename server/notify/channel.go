package notify

import (
	"context"
	"errors"
	"time"

	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Channel is a way of reaching a person that is not a push: mail, a webhook.
// Send makes one attempt. A [RefusedError] is final; any other error is tried
// again until the message is too late.
type Channel interface {
	Send(ctx context.Context, m Message) (Answer, error)
}

// Message is what a channel carries. Its texts are redacted already.
type Message struct {
	ID     string      // of the delivery: the same on every try
	To     string      // address in the channel's own form
	Secret []byte      // for signing; sealed
	User   roster.User // who is told

	Kind    string // "page", "summary", "digest", "notice": closed set
	Subject string
	Lines   []string
	Link    string // to the incident in the web app; empty without a public address
	Thread  string // names what messages belong together: "inc-<id>"

	Incidents []Ref
	Reason    string // why somebody is paged, for programs
	Shadow    string // "observe", "practise", "duty": he only follows whoever is paged; empty: he is asked
	At        time.Time
	Deadline  time.Time
}

// Ref is an incident as a program on the other side sees it.
type Ref struct {
	ID       string `json:"id"`
	Number   int64  `json:"number"`
	Version  uint32 `json:"version"`
	Status   string `json:"status"`
	Urgency  string `json:"urgency"`
	Severity string `json:"severity,omitempty"`
	Service  string `json:"service,omitempty"`
	Title    string `json:"title,omitempty"`
	URL      string `json:"url,omitempty"`
}

// Answer is what the other side said when it took the message.
type Answer struct {
	ID string // its name for the message, if it has one
}

// RefusedError is the error of a message that will never be taken.
type RefusedError struct {
	Reason string // the other side's word
	// Address: the address itself is dead, not just this message unwanted.
	Address bool
}

func (r *RefusedError) Error() string { return "refused: " + r.Reason }

// reason returns what is kept in the delivery's record of a failed attempt.
func reason(err error) string {
	if r, ok := errors.AsType[*RefusedError](err); ok {
		return clip(r.Reason)
	}
	return clip(err.Error())
}

// clip bounds words of others that are stored.
func clip(s string) string { return cut(s, 200) }
