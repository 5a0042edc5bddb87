// Package attention decides how loudly and how often one person is told: one
// sound in thirty seconds, storms on one card, mail in bundles, low urgency
// held through the night. Its rules are one pure function, [Decide], on the
// document of one person.
//
// It never decides whether somebody is paged (package incident does) and it
// never loses a page: what is not sent now is on a card, in a bundle or in a
// digest, and [Person.Due] says when that is sent. The first page after a
// quiet spell is always sent at once, with its sound.
//
// No clock, no I/O: instants are arguments, and which incidents still need
// somebody comes in as a [View].
package attention

import (
	"slices"
	"time"

	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Person is what one person has been told lately and is still owed. It is a
// document of its own, in the partition of the person.
type Person struct {
	User     roster.UserID
	Revision uint64    // of the stored document; 0 before the first commit. The store's
	Writer   string    // names the commit that made this revision; "": not known. The store's
	Updated  time.Time // last decision; instants of one document never run backwards

	Sound Sound     // the last sound of a page
	Owed  time.Time // since when a withheld sound is owed; zero: none
	Storm Storm
	Open  []Item // what the person was paged for and has not been settled, oldest first

	Bundles []Bundle // running collect windows
	Held    []Line   // waiting for the end of quiet hours, oldest first
	Release time.Time
	Told    []Told   // notices that may not come again soon
	Recent  []Recent // decisions by work id, so that a repeat gets the same one; oldest first
	Outbox  []Card   // decided and not yet known to be sent
}

// Sound is one audible page.
type Sound struct {
	At      time.Time
	Urgency incident.Urgency
}

// Storm is the one card that stands for many incidents.
type Storm struct {
	Start  time.Time // when it was made, part of its name; zero: there is none
	Sent   int       // number of its last update, from 1
	Last   time.Time // of the last update
	Update time.Time // when what has gathered since is shown; zero: nothing has
}

// Item is one incident that the person was paged for.
type Item struct {
	Incident   incident.ID
	Generation uint32 // of the page
	Version    uint32 // of the incident as the person saw it: what "acknowledge all" acts on
	Urgency    incident.Urgency
	Method     roster.MethodID
	At         time.Time // of the last page
	// Card is the update of the storm card that showed it first; 0 when it has
	// a card of its own, -1 until the next update.
	Card int
	Owed bool // its sound was withheld
	Loud bool // that sound is the critical one
}

// BundleKind says what a collect window collects.
type BundleKind uint8

// The kinds of bundle. Numbers are stored: never reuse one.
const (
	BundleMail     BundleKind = iota + 1 // messages of one method, 60 s
	BundleLow                            // low urgency by day, 5 min
	BundleFallback                       // ways pulled forward because phones stayed silent, 60 s
)

// Bundle is an open collect window. The message that opened it was sent at
// once; what came since is in Items, and goes out together at Until.
type Bundle struct {
	Kind   BundleKind
	Method roster.MethodID
	Until  time.Time
	Items  []Item
}

// Line is one line of a digest: an incident, or a notice.
type Line struct {
	At       time.Time
	Incident incident.ID
	Method   roster.MethodID
	Text     string // of a notice; empty for a page, whose text is made when it is sent
	Item     Item   // of a page
}

// Told is a notice that was given, by what it was about.
type Told struct {
	Key string
	At  time.Time
}

// Recent is a decision that was taken for a work item.
type Recent struct {
	Work    string
	At      time.Time
	Outcome Outcome
}

// CardKind says what a card is.
type CardKind uint8

// The kinds of card. Numbers are stored: never reuse one.
const (
	CardStorm    CardKind = iota + 1 // the storm card, a further update of it
	CardBundle                       // a bundle of mail
	CardFallback                     // the summary by another way, as the phones stayed silent
	CardDigest                       // what quiet hours held
)

// Card is a message about several incidents, to be sent now. It stays in the
// person's outbox until [Sent] says how that went.
type Card struct {
	ID       string // names the message over all its tries, so that one is sent once
	Kind     CardKind
	Method   roster.MethodID
	Urgency  incident.Urgency
	Number   int // of the update, for the storm card
	Collapse string
	Sound    bool
	Loud     bool   // with the critical sound
	Items    []Item // stored for all but the storm card, whose items are those of Open
	Lines    []Line // of a digest: the notices
	More     int    // how many lines did not fit
	At       time.Time
	Deadline time.Time
	Retry    time.Time // nobody has reported it sent by then: it is given out again
	Tries    int
}

// Verdict is what becomes of a page.
type Verdict uint8

// The verdicts. Numbers are stored: never reuse one.
const (
	SendNow  Verdict = iota + 1 // a message of its own, now
	OnCard                      // on the storm card, silently
	Bundled                     // with the next message of its kind, at Until
	HeldBack                    // in the digest at Until
	Repeated                    // a notice that was given lately
)

// Outcome is the decision about one page or notice.
type Outcome struct {
	Verdict Verdict
	Sound   bool
	Card    string    // the card that shows it, for OnCard
	Until   time.Time // for Bundled and HeldBack
	Open    int       // pages that still need the person, this one included
}

// Due returns the earliest instant at which the person has to be decided
// again; zero for none. It is the document's one timer in the store.
func (p *Person) Due() time.Time {
	due := earliest(p.payAt(), p.Storm.Update, p.Release)
	for i := range p.Bundles {
		due = earliest(due, p.Bundles[i].Until)
	}
	for i := range p.Outbox {
		due = earliest(due, p.Outbox[i].Retry)
	}
	return due
}

// Waiting returns every incident that a decision about the person may ask the
// view about.
func (p *Person) Waiting() []incident.ID {
	var ids []incident.ID
	for i := range p.Open {
		ids = append(ids, p.Open[i].Incident)
	}
	for i := range p.Bundles {
		for j := range p.Bundles[i].Items {
			ids = append(ids, p.Bundles[i].Items[j].Incident)
		}
	}
	for i := range p.Held {
		if p.Held[i].Incident != "" {
			ids = append(ids, p.Held[i].Incident)
		}
	}
	for i := range p.Outbox {
		for j := range p.Outbox[i].Items {
			ids = append(ids, p.Outbox[i].Items[j].Incident)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// clone returns a copy that shares nothing that a decision changes.
func (p *Person) clone() *Person {
	c := *p
	c.Open = slices.Clone(p.Open)
	c.Bundles = slices.Clone(p.Bundles)
	for i := range c.Bundles {
		c.Bundles[i].Items = slices.Clone(c.Bundles[i].Items)
	}
	c.Held = slices.Clone(p.Held)
	c.Told = slices.Clone(p.Told)
	c.Recent = slices.Clone(p.Recent)
	c.Outbox = slices.Clone(p.Outbox)
	return &c
}

// payAt returns when the owed sound is made: as soon as the last sound is
// thirty seconds old, and at the latest a minute after it was withheld, as
// sounds that the limit does not bind may push the first instant away.
func (p *Person) payAt() time.Time {
	if p.Owed.IsZero() {
		return time.Time{}
	}
	return earliest(p.Sound.At.Add(SoundEvery), p.Owed.Add(owedAtMost))
}

// The limits on what a person has to bear.
const (
	SoundEvery    = 30 * time.Second // between sounds of equal or lower urgency
	MailWindow    = time.Minute
	LowWindow     = 5 * time.Minute
	FallbackEvery = time.Minute
	DigestLines   = 50

	owedAtMost   = time.Minute
	maxOpen      = 500
	maxRecent    = 256
	keepRecent   = 15 * time.Minute
	keepOpen     = 7 * 24 * time.Hour
	keepTold     = 24 * time.Hour
	retryEvery   = 10 * time.Second
	cardLife     = 10 * time.Minute
	digestLife   = time.Hour
	quickUpdates = 5 // of a storm card, a second apart; later ones four
)

// earliest returns the first of the instants, ignoring zero ones.
func earliest(at ...time.Time) time.Time {
	var first time.Time
	for _, t := range at {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}
