package store

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// ArchiveClosed archives incidents of a partition that were resolved before the
// instant, oldest closing first, looking at n closings at most. It remembers how
// far it came and returns how many it looked at: fewer than n, and it is done
// for now. The partition's owner calls it.
func (s *Store) ArchiveClosed(
	ctx context.Context, p Partition, before time.Time, n int, zone func(roster.UserID) string,
) (int, error) {
	from, err := s.rdb.HGet(ctx, metaKey(p), "archived").Result()
	if err != nil && !isNil(err) {
		return 0, failed(err, "archive partition %s", p)
	}
	start := "-"
	if from != "" {
		start = "(" + from
	}
	list, err := s.rdb.XRangeN(ctx, closedKey(p), start, "+", int64(n)).Result()
	if err != nil {
		return 0, failed(err, "archive partition %s", p)
	}
	looked, last := 0, ""
	for _, x := range list {
		r, err := closing(p, x)
		if err != nil {
			return looked, err
		}
		in, a, err := s.load(ctx, r.id)
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return looked, err
		}
		old := err == nil && in.ResolvedAt.Before(before)
		if err == nil && !in.Open() && !old && r.reopens == in.Reopens {
			break // and those behind it are younger
		}
		if err == nil && a == nil && !in.Open() && old { // an earlier closing of what was re-opened is passed over
			err := s.Archive(ctx, r.id, zone)
			if err != nil && fault.KindOf(err) != fault.Precondition && fault.KindOf(err) != fault.NotFound {
				return looked, err
			}
		}
		looked, last = looked+1, x.ID
	}
	if last != "" {
		err = s.allow(ctx, "HSET", metaKey(p), "archived", last).Err()
	}
	return looked, failed(err, "archive partition %s", p)
}

// Expire deletes incidents of a partition that were closed before the instant,
// with everything beside them; their facts stay. It looks at n closings at most
// and returns how many it looked at.
func (s *Store) Expire(ctx context.Context, p Partition, before time.Time, n int) (int, error) {
	list, err := s.rdb.XRangeN(ctx, closedKey(p), "-", "("+strconv.FormatInt(max(before.UnixMilli(), 1), 10), int64(n)).Result()
	if err != nil {
		return 0, failed(err, "expire partition %s", p)
	}
	for i, x := range list {
		r, err := closing(p, x)
		if err != nil {
			return i, err
		}
		if err := s.expire(ctx, p, x.ID, r.id, before); err != nil {
			return i, failed(err, "expire incident %s", r.id)
		}
	}
	return len(list), nil
}

// expire takes one closing away, and its incident if that was the last closing.
func (s *Store) expire(ctx context.Context, p Partition, entry string, id incident.ID, before time.Time) error {
	plan := newPlan()
	in, _, err := s.load(ctx, id)
	switch {
	case fault.KindOf(err) == fault.NotFound && err != nil: // only the closing is left
	case err != nil:
		return err
	case in.Open() || !in.ResolvedAt.Before(before): // it was re-opened since: a later closing stands for it
	default:
		d := IncidentDoc(id)
		plan.guard(ErrRevisionMoved, "doc", docKey(p, d), revisionText(in.Revision), string(encodingArchive))
		for _, key := range []string{docKey(p, d), timelineKey(p, id), alertsKey(p, id), deliveriesKey(p, d)} {
			plan.write("DEL", key)
		}
		plan.write("ZREM", timersKey(p), d.member())
		if err := s.forgetKeys(ctx, plan, p, id); err != nil {
			return err
		}
	}
	plan.write("XDEL", closedKey(p), entry)
	_, err = s.plain(ctx, plan, Wake{Partition: p}) // a miss: somebody acts on it, and the next round sees
	return err
}

// forgetKeys adds to the plan that dedup keys which still lead to the incident,
// as it could have been re-opened by them, go with it.
func (s *Store) forgetKeys(ctx context.Context, plan *plan, p Partition, id incident.ID) error {
	alerts, err := s.Alerts(ctx, id)
	if err != nil {
		return err
	}
	for _, a := range alerts {
		if PartitionOf(string(a.Service)) != p {
			continue
		}
		leads, err := s.Linked(ctx, a.Service, a.Key)
		if err != nil {
			return err
		}
		if leads[a.Key] == id {
			plan.guard(ErrKeyMoved, "field", keysKey(p, a.Service), a.Key, string(id))
			plan.write("HDEL", keysKey(p, a.Service), a.Key)
		}
	}
	return nil
}

// Export walks over all incidents created in [from, to), with everything beside
// them: partition by partition, the open ones first, then in closing order. It
// holds little in memory. After an error it ends.
func (s *Store) Export(ctx context.Context, from, to time.Time) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for _, p := range All() {
			for r, err := range s.exportPartition(ctx, p, from, to) {
				if !yield(r, err) || err != nil {
					return
				}
			}
		}
	}
}

// exportChunk is how many incidents an export looks up at a time.
const exportChunk = 100

func (s *Store) exportPartition(ctx context.Context, p Partition, from, to time.Time) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		seen := map[incident.ID]bool{} // open incidents: they may close while we walk
		emit := func(id incident.ID, reopens int) bool {
			if seen[id] {
				return true
			}
			r, err := s.Record(ctx, id)
			if fault.KindOf(err) == fault.NotFound && err != nil {
				return true // expired meanwhile
			}
			if err != nil {
				yield(Record{}, failed(err, "export"))
				return false
			}
			in := r.Incident
			if in.Created.Before(from) || !in.Created.Before(to) || (reopens >= 0 && !in.Open() && in.Reopens != reopens) {
				return true
			}
			if in.Open() || reopens < 0 {
				seen[id] = true
			}
			return yield(r, nil)
		}
		open, err := s.rdb.ZRangeByScore(ctx, openKey(p), &redis.ZRangeBy{
			Min: strconv.FormatInt(from.UnixMilli(), 10), Max: "(" + strconv.FormatInt(to.UnixMilli(), 10),
		}).Result()
		if err != nil {
			yield(Record{}, failed(err, "export"))
			return
		}
		for _, id := range open {
			if !emit(incident.ID(id), -1) {
				return
			}
		}
		// An incident closes after it was created, so earlier closings are of no interest;
		// an hour more, as those have the clock of Redis.
		for start := strconv.FormatInt(max(from.Add(-time.Hour).UnixMilli(), 0), 10); ; {
			list, err := s.rdb.XRangeN(ctx, closedKey(p), start, "+", exportChunk).Result()
			if err != nil {
				yield(Record{}, failed(err, "export"))
				return
			}
			for _, x := range list {
				r, err := closing(p, x)
				if err != nil {
					yield(Record{}, err)
					return
				}
				if r.reopens >= 0 && !emit(r.id, r.reopens) {
					return
				}
			}
			if len(list) < exportChunk {
				return
			}
			start = "(" + list[len(list)-1].ID
		}
	}
}

// PartitionStats is what an operator wants to know of a partition at three in
// the morning. Zero instants: there is none.
type PartitionStats struct {
	Partition Partition
	Open      int // incidents
	Inbox     int
	Oldest    time.Time // accepted event that waits longest
	Due       time.Time // earliest timer
	Work      int
	OldestJob time.Time // item of work that waits longest
	Dead      int
}

// Stats returns the state of all partitions.
func (s *Store) Stats(ctx context.Context) ([]PartitionStats, error) {
	type cmds struct {
		open, inbox, work, dead *redis.IntCmd
		oldest, job             *redis.XMessageSliceCmd
		due                     *redis.ZSliceCmd
	}
	pipe := s.rdb.Pipeline()
	all := make([]cmds, Partitions)
	for _, p := range All() {
		all[p] = cmds{
			open: pipe.ZCard(ctx, openKey(p)), inbox: pipe.XLen(ctx, inboxKey(p)), work: pipe.XLen(ctx, workKey(p)),
			dead: pipe.XLen(ctx, deadKey(p)), oldest: pipe.XRangeN(ctx, inboxKey(p), "-", "+", 1),
			job: pipe.XRangeN(ctx, workKey(p), "-", "+", 1), due: pipe.ZRangeWithScores(ctx, timersKey(p), 0, 0),
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, failed(err, "read the state of the partitions")
	}
	stats := make([]PartitionStats, Partitions)
	for _, p := range All() {
		c := all[p]
		stats[p] = PartitionStats{
			Partition: p, Open: int(c.open.Val()), Inbox: int(c.inbox.Val()), Work: int(c.work.Val()), Dead: int(c.dead.Val()),
			Oldest: firstAt(c.oldest.Val()), OldestJob: firstAt(c.job.Val()),
		}
		if z := c.due.Val(); len(z) > 0 {
			stats[p].Due = at(int64(z[0].Score))
		}
	}
	return stats, nil
}

// firstAt is when the first entry of a stream was written.
func firstAt(list []redis.XMessage) time.Time {
	if len(list) == 0 {
		return time.Time{}
	}
	pos, err := parsePosition(list[0].ID)
	if err != nil {
		return time.Time{}
	}
	return at(pos.MS)
}

func (p PartitionStats) String() string {
	return fmt.Sprintf("partition %d: open %d, inbox %d, work %d, dead %d", p.Partition, p.Open, p.Inbox, p.Work, p.Dead)
}
