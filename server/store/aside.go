package store

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/incident"
)

// aside is added to the instant of a timer that has been set aside, in
// milliseconds: 3,000 years, so that it is due for nobody and keeps its instant.
const aside = 100_000_000_000_000

// asideBatch is how many timers one script moves.
const asideBatch = 300

// Overdue returns how many incidents of the partition have been due since
// before the instant, and the documents of people that have.
func (s *Store) Overdue(ctx context.Context, p Partition, before time.Time) (incidents int, people []Doc, err error) {
	list, err := s.timers(ctx, p, "-inf", "("+strconv.FormatInt(ms(before), 10))
	if err != nil {
		return 0, nil, err
	}
	for _, z := range list {
		member, _ := z.Member.(string)
		d, ok := parseMember(member)
		switch {
		case !ok:
			return 0, nil, fmt.Errorf("read the timers of partition %s: %q is no document", p, member)
		case d.Person != "":
			people = append(people, d)
		default:
			incidents++
		}
	}
	return incidents, people, nil
}

// SetAside puts the timers of the incidents away that have been due since
// before the instant. They stay away until [Store.TakeBack] or [Store.TakeUp],
// or until a commit on their incident: whoever touches it has it live again.
func (s *Store) SetAside(ctx context.Context, p Partition, before time.Time) (int, error) {
	list, err := s.timers(ctx, p, "-inf", "("+strconv.FormatInt(ms(before), 10))
	if err != nil {
		return 0, err
	}
	list = slices.DeleteFunc(list, func(z redis.Z) bool {
		member, _ := z.Member.(string)
		return !strings.HasPrefix(member, "i:")
	})
	return s.shift(ctx, p, list, aside)
}

// TakeBack puts the timers that were set aside back to their instants.
func (s *Store) TakeBack(ctx context.Context, p Partition) (int, error) {
	list, err := s.timers(ctx, p, strconv.FormatInt(aside, 10), "+inf")
	if err != nil {
		return 0, err
	}
	return s.shift(ctx, p, list, -aside)
}

// TakeUp puts the timer of one incident back, as it was read, if it was set aside.
func (s *Store) TakeUp(ctx context.Context, in *incident.Incident) error {
	p, err := PartitionOfIncident(in.ID)
	if err != nil {
		return err
	}
	z := redis.Z{Member: IncidentDoc(in.ID).member(), Score: float64(ms(in.Due()) + aside)}
	_, err = s.shift(ctx, p, []redis.Z{z}, -aside)
	return err
}

// Aside returns how many incidents are set aside in the whole installation.
func (s *Store) Aside(ctx context.Context) (int, error) {
	pipe := s.rdb.Pipeline()
	counts := make([]*redis.IntCmd, Partitions)
	for _, p := range All() {
		counts[p] = pipe.ZCount(ctx, timersKey(p), strconv.FormatInt(aside, 10), "+inf")
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return 0, failed(err, "count what is set aside")
	}
	n := 0
	for _, c := range counts {
		n += int(c.Val())
	}
	return n, nil
}

func (s *Store) timers(ctx context.Context, p Partition, from, to string) ([]redis.Z, error) {
	list, err := s.rdb.ZRangeByScoreWithScores(ctx, timersKey(p), &redis.ZRangeBy{Min: from, Max: to}).Result()
	return list, failed(err, "read the timers of partition %s", p)
}

// shift moves timers that are where they were seen.
func (s *Store) shift(ctx context.Context, p Partition, list []redis.Z, by int64) (int, error) {
	moved := 0
	for some := range slices.Chunk(list, asideBatch) {
		args := make([]any, 0, 3*len(some))
		for _, z := range some {
			args = append(args, z.Member, int64(z.Score), int64(z.Score)+by)
		}
		n, err := s.run(ctx, asideScript, []string{timersKey(p)}, args...).Int()
		if err != nil {
			return moved, failed(err, "move timers of partition %s", p)
		}
		moved += n
	}
	return moved, nil
}
