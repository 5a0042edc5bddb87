package store

import (
	"cmp"
	"context"
	"log/slog"
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

// look is a pulse that is being taken.
type look struct {
	Pulse

	inbox, work             *redis.IntCmd
	due                     *redis.ZSliceCmd
	oldestInbox, oldestWork *redis.XMessageSliceCmd // nil: there are no entries
	err                     error
}

// Pulse looks at partitions in one trip, or two when something waits. It is
// cheap enough to be done every second: it reads lengths, not entries.
//
// Partitions that could not be looked at are left out and logged, so that a
// master of a cluster that is out hides nothing of the others; the error is that
// there was none to look at.
func (s *Store) Pulse(ctx context.Context, ps []Partition) ([]Pulse, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	looks := make([]*look, len(ps))
	for i, p := range ps {
		looks[i] = &look{Pulse: Pulse{Partition: p}}
	}
	perMaster(ctx, s, looks, func(l *look) string { return inboxKey(l.Partition) }, func(_ *redis.Client, _ error, some []*look) { // where no master is known the client says so by itself
		s.lengths(ctx, some)
		s.ages(ctx, some)
	})
	pulses := make([]Pulse, 0, len(ps))
	var failure error
	for _, l := range looks {
		if l.err != nil {
			failure = failed(l.err, "look at partition %s", l.Partition)
			continue
		}
		pulses = append(pulses, l.Pulse)
	}
	switch missed := len(ps) - len(pulses); {
	case missed == 0:
		return pulses, nil
	case len(pulses) == 0:
		return nil, failure
	default:
		s.o.Log.WarnContext(ctx, "partitions not looked at", slog.Int("count", missed), slog.Any("err", failure))
		return pulses, nil
	}
}

// lengths reads how much waits, and what is due.
func (s *Store) lengths(ctx context.Context, looks []*look) {
	pipe := s.rdb.Pipeline()
	for _, l := range looks {
		p := l.Partition
		l.inbox, l.work, l.due = pipe.XLen(ctx, inboxKey(p)), pipe.XLen(ctx, workKey(p)), pipe.ZRangeWithScores(ctx, timersKey(p), 0, 0)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	for _, l := range looks {
		l.err = cmp.Or(l.inbox.Err(), l.work.Err(), l.due.Err())
		l.Inbox, l.Work = int(l.inbox.Val()), int(l.work.Val())
		if z := l.due.Val(); len(z) > 0 {
			l.Due = at(int64(z[0].Score))
		}
	}
}

// ages reads how old the oldest entries are, where there are any.
func (s *Store) ages(ctx context.Context, looks []*look) {
	pipe := s.rdb.Pipeline()
	for _, l := range looks {
		if l.Inbox > 0 {
			l.oldestInbox = pipe.XRangeN(ctx, inboxKey(l.Partition), "-", "+", 1)
		}
		if l.Work > 0 {
			l.oldestWork = pipe.XRangeN(ctx, workKey(l.Partition), "-", "+", 1)
		}
	}
	if pipe.Len() == 0 {
		return
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	for _, l := range looks {
		l.age(l.oldestInbox, &l.InboxOldest)
		l.age(l.oldestWork, &l.WorkOldest)
	}
}

// age takes in when the oldest entry was written.
func (l *look) age(oldest *redis.XMessageSliceCmd, at *time.Time) {
	if oldest == nil {
		return
	}
	l.err = cmp.Or(l.err, oldest.Err())
	if entries := oldest.Val(); len(entries) > 0 {
		*at = entryTime(entries[0].ID)
	}
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
