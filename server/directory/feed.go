package directory

import (
	"fmt"
	"time"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// FeedID names a calendar feed.
type FeedID string

// Feed is a calendar that whoever knows its secret may read: of a person, of a
// team or of a schedule, exactly one of the three. It works for as long as the
// one who made it may sign in, so that nobody takes the view along who leaves.
type Feed struct {
	ID       FeedID
	Hash     auth.Hash
	Hint     string // last four characters of the secret, to tell two apart
	Owner    roster.UserID
	User     roster.UserID
	Team     roster.TeamID
	Schedule schedule.ID
	Revoked  time.Time // zero: in force
	Meta
}

func (f *Feed) key() Key       { return Key{KindFeed, string(f.ID)} }
func (f *Feed) meta() *Meta    { return &f.Meta }
func (f *Feed) copied() Record { c := *f; return &c }

func (f *Feed) refs(do func(string, Key)) {
	refPerson(f.Owner, "owner", do)
	refPerson(f.User, "user", do)
	refTeam(f.Team, do)
	if f.Schedule != "" {
		do("schedule", Key{KindSchedule, string(f.Schedule)})
	}
}

// maxFeeds is how many feeds of one person may be in force.
const maxFeeds = 50

// GetFeed returns a feed, a revoked one too.
func (s *Snapshot) GetFeed(id FeedID) (*Feed, bool) { return find[*Feed](s, KindFeed, string(id)) }

// FeedByHash returns the feed of that secret if it still may be read.
func (s *Snapshot) FeedByHash(h auth.Hash) (*Feed, bool) {
	k, ok := s.hashes.get(h)
	if !ok || k.Kind != KindFeed {
		return nil, false
	}
	f, ok := s.GetFeed(FeedID(k.ID))
	if !ok || !f.Revoked.IsZero() {
		return nil, false
	}
	owner, ok := s.GetUser(f.Owner)
	return f, ok && !owner.Inactive
}

// FeedsOf returns how many feeds of a person are in force.
func (s *Snapshot) FeedsOf(owner roster.UserID) int {
	n := 0
	refs, _ := s.referrer.get(reference{Key{KindUser, string(owner)}, KindFeed})
	for id := range refs.all() {
		if f, ok := s.GetFeed(FeedID(id)); ok && f.Owner == owner && f.Revoked.IsZero() {
			n++
		}
	}
	return n
}

// AddFeed makes a feed, as long as its owner has not too many.
func (e *Edit) AddFeed(f *Feed) error {
	if e.FeedsOf(f.Owner) >= maxFeeds {
		return fault.New(fault.Precondition, "TOO_MANY_FEEDS",
			fmt.Sprintf("%d calendar feeds are in force, which is all that one person may have; revoke one that nobody reads", maxFeeds))
	}
	return e.Create(f)
}

func (c *checker) feed(f *Feed) {
	if !madeForm.MatchString(string(f.ID)) {
		c.bad("id", "%q is no id of a calendar feed", f.ID)
	}
	if f.Owner == "" {
		c.bad("owner", "a calendar feed needs a person who made it")
	}
	of := 0
	for _, subject := range []string{string(f.User), string(f.Team), string(f.Schedule)} {
		if subject != "" {
			of++
		}
	}
	if of != 1 {
		c.bad("user", "a calendar feed is of one user, one team or one schedule; %d are named", of)
	}
	if f.Hash.IsZero() {
		c.bad("hash", "a calendar feed needs a secret")
	}
}
