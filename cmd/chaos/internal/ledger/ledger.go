// Package ledger is what everybody outside of the server wrote down during a
// run: the source which events it sent and what it was answered, the push
// services what they were asked, the phones what they got and did, the harness
// what it broke and when. The checks compare it with what the server says
// afterwards. All instants are of the clock of the machine that runs it all.
package ledger

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// Event is one event of a monitor, sent until it was accepted.
type Event struct {
	Number   int
	Service  string
	Key      string
	Action   string // "trigger", "resolve"
	Sender   string // its own id, by which the server folds what is sent again; "" for doors that take none
	Door     string // "http", "rest", "grpc"
	Sent     time.Time
	Tries    int
	Refused  int       // of the tries, those that were answered with a refusal: nothing was taken
	Accepted time.Time // when the answer came; zero: never
}

// Push is one request at a push service.
type Push struct {
	At       time.Time
	Service  string // "apns", "fcm"
	Token    string
	Person   string
	Kind     string
	Delivery string
	Incident string // of a card that stands for many, one of them
	Collapse string
	Answered int // HTTP status, 0 for none
	// Of a page to an iPhone: who sent it, and the partition of its incident. -1:
	// not known.
	Instance  int
	Partition int
}

// Many reports whether the card stands for many incidents.
func (p Push) Many() bool { return strings.HasPrefix(p.Collapse, "storm-") }

// Act is something that a person did, tried until it was answered.
type Act struct {
	At       time.Time
	Answered time.Time // zero: given up
	Person   string    // "" for an administrator
	Incident string
	Verb     string // "acknowledge", "resolve", "escalate", "note", …
	Request  string
	Again    bool   // the same request was sent a second time on purpose
	Same     bool   // …and the second answer was the first
	Changed  bool   // the server says that it changed something
	Outcome  string // the incident's state after it, or what it was refused with
	Taken    bool   // answered with success
}

// Harm is something that was broken on purpose.
type Harm struct {
	From, Until time.Time // Until is when whatever it was works again, with everything that stands by for the next
	Served      time.Time // when all instances could page again
	Kind        string
	Target      string
	Detail      string
}

// Stall is the kind of harm that nobody did: the machine stood still.
const Stall = "stall"

// Look is one incident as it was seen during the run.
type Look struct {
	At         time.Time
	Incident   string
	Revision   uint64
	Generation uint32
	Version    uint32
	Seq        int
}

// Lease says who owned a partition from an instant on, as Redis had it.
type Lease struct {
	At        time.Time // when it was seen first
	Partition int
	Instance  int // -1: nobody, or nobody that is known
}

// Blind is a time in which it could not be seen who owned what.
type Blind struct{ From, To time.Time }

// Policy is one version of the escalation policy of a service.
type Policy struct {
	Service string
	Levels  []string  // who holds each
	Began   time.Time // when it was asked for; zero: before the run
	Set     time.Time // when that was answered; zero: never, and it may have been set or not
}

// Probe is one change of the configuration, and when each instance showed it.
type Probe struct {
	Set    time.Time
	By     string
	Seen   string
	SeenAt time.Time // zero: never
}

// Book is all of it.
type Book struct {
	Events []Event
	Pushes []Push
	Acts   []Act
	Harms  []Harm
	Looks  []Look
	Probes []Probe
	Leases []Lease
	Blinds []Blind
	// Policies are the versions of each service in their order.
	Policies []Policy
	Mails    int
}

// Ledger takes it in. It is safe for concurrent use.
type Ledger struct {
	mu   sync.Mutex
	book Book
}

// Event adds an event.
func (l *Ledger) Event(e Event) { l.add(func(b *Book) { b.Events = append(b.Events, e) }) }

// Push adds a request.
func (l *Ledger) Push(p Push) { l.add(func(b *Book) { b.Pushes = append(b.Pushes, p) }) }

// Act adds what a person did.
func (l *Ledger) Act(a Act) { l.add(func(b *Book) { b.Acts = append(b.Acts, a) }) }

// Harm adds what was broken and works again.
func (l *Ledger) Harm(h Harm) { l.add(func(b *Book) { b.Harms = append(b.Harms, h) }) }

// Look adds a sight of an incident.
func (l *Ledger) Look(k Look) { l.add(func(b *Book) { b.Looks = append(b.Looks, k) }) }

// Probe adds a change of the configuration as one instance showed it.
func (l *Ledger) Probe(p Probe) { l.add(func(b *Book) { b.Probes = append(b.Probes, p) }) }

// Lease adds a change of an owner.
func (l *Ledger) Lease(e Lease) { l.add(func(b *Book) { b.Leases = append(b.Leases, e) }) }

// Blind adds a time in which no lease could be seen.
func (l *Ledger) Blind(b Blind) { l.add(func(book *Book) { book.Blinds = append(book.Blinds, b) }) }

// Policy adds a version of a policy.
func (l *Ledger) Policy(p Policy) { l.add(func(b *Book) { b.Policies = append(b.Policies, p) }) }

// Mail counts an e-mail.
func (l *Ledger) Mail() { l.add(func(b *Book) { b.Mails++ }) }

func (l *Ledger) add(f func(*Book)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&l.book)
}

// Book returns a copy of what has been written so far.
func (l *Ledger) Book() Book {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.book
	b.Events, b.Pushes, b.Acts = slices.Clone(b.Events), slices.Clone(b.Pushes), slices.Clone(b.Acts)
	b.Harms, b.Looks, b.Probes = slices.Clone(b.Harms), slices.Clone(b.Looks), slices.Clone(b.Probes)
	b.Leases, b.Blinds, b.Policies = slices.Clone(b.Leases), slices.Clone(b.Blinds), slices.Clone(b.Policies)
	return b
}

// Write writes the book as JSON.
func (b *Book) Write(to io.Writer) error {
	out := json.NewEncoder(to)
	out.SetIndent("", " ")
	if err := out.Encode(b); err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}
	return nil
}

// Calm reports whether nothing was broken between two instants, nor for so
// long before the first as it takes to recover.
func (b *Book) Calm(from, to time.Time, recovery time.Duration) bool {
	return !slices.ContainsFunc(b.Harms, func(h Harm) bool {
		return h.From.Before(to) && h.Until.Add(recovery).After(from)
	})
}

// Settled returns the earliest instant at or after which nothing has been
// broken for as long as it takes to recover: what was due at that instant, or
// while things were broken before it, may be done by then.
func (b *Book) Settled(at time.Time, recovery time.Duration) time.Time {
	harms := slices.Clone(b.Harms)
	slices.SortFunc(harms, func(a, b Harm) int { return a.From.Compare(b.From) })
	for _, h := range harms {
		if end := h.Until.Add(recovery); !h.From.After(at) && end.After(at) {
			at = end
		}
	}
	return at
}
