package store

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Pulse is what waits in one partition.
type Pulse struct {
	Partition   Partition
	Inbox, Work int       // entries
	InboxOldest time.Time // zero: none
	WorkOldest  time.Time // zero: none
	Due         time.Time // when the earliest document is due; zero: none is
}

// Pulse looks at partitions in one trip, or two when something waits. It is
// cheap enough to be done every second: it reads lengths, not entries.
func (s *Store) Pulse(ctx context.Context, ps []Partition) ([]Pulse, error) {
	pulses := make([]Pulse, len(ps))
	if len(ps) == 0 {
		return pulses, nil
	}
	type lengths struct {
		inbox, work *redis.IntCmd
		due         *redis.ZSliceCmd
	}
	pipe := s.rdb.Pipeline()
	cmds := make([]lengths, len(ps))
	for i, p := range ps {
		cmds[i] = lengths{
			inbox: pipe.XLen(ctx, inboxKey(p)), work: pipe.XLen(ctx, workKey(p)),
			due: pipe.ZRangeWithScores(ctx, timersKey(p), 0, 0),
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, failed(err, "look at %d partitions", len(ps))
	}
	for i, c := range cmds {
		pulses[i] = Pulse{Partition: ps[i], Inbox: int(c.inbox.Val()), Work: int(c.work.Val())}
		if z := c.due.Val(); len(z) > 0 {
			pulses[i].Due = at(int64(z[0].Score))
		}
	}
	return pulses, s.ages(ctx, pulses)
}

// ages reads how old the oldest entries are, where there are any.
func (s *Store) ages(ctx context.Context, pulses []Pulse) error {
	pipe := s.rdb.Pipeline()
	oldest := map[*time.Time]*redis.XMessageSliceCmd{}
	for i := range pulses {
		p := &pulses[i]
		if p.Inbox > 0 {
			oldest[&p.InboxOldest] = pipe.XRangeN(ctx, inboxKey(p.Partition), "-", "+", 1)
		}
		if p.Work > 0 {
			oldest[&p.WorkOldest] = pipe.XRangeN(ctx, workKey(p.Partition), "-", "+", 1)
		}
	}
	if pipe.Len() == 0 {
		return nil
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return failed(err, "look at the oldest entries")
	}
	for at, cmd := range oldest {
		if entries := cmd.Val(); len(entries) > 0 {
			*at = entryTime(entries[0].ID)
		}
	}
	return nil
}

// entryTime returns when a stream entry was written, by its id.
func entryTime(id string) time.Time {
	millis, _, _ := strings.Cut(id, "-")
	v, err := strconv.ParseInt(millis, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return at(v)
}

// Postpone moves the timer of a document that could not be decided. Its next
// commit sets it right again.
func (s *Store) Postpone(ctx context.Context, d Doc, until time.Time) error {
	p, err := d.Partition()
	if err != nil {
		return err
	}
	plan := newPlan()
	plan.write("ZADD", timersKey(p), "XX", ms(until), d.member())
	_, err = s.plain(ctx, plan, Wake{Partition: p})
	return failed(err, "put off the timer of %s", d)
}
