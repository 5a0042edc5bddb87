package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/drill"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// drillsKept is how long drills are kept: as long as facts.
const drillsKept = factsKept

// PutDrill keeps a drill as it is now, if what is kept is the revision that it
// was read with; none, of a new one. Of several who begin or change one at once,
// one is told true. The revision of what was kept is one more.
func (s *Store) PutDrill(ctx context.Context, d drill.Drill) (bool, error) {
	body, err := json.Marshal(d)
	if err != nil {
		return false, fmt.Errorf("encode drill %s: %w", d.ID, err)
	}
	was, open := "", ""
	if d.Revision > 0 {
		was = fmt.Sprintf("%010d", d.Revision)
	}
	if !d.Over() {
		open = "1"
	}
	keys := []string{drillKey, drillsKey, drillsOfKey(d.User), drillsOpenKey}
	n, err := s.run(ctx, drillScript, keys, string(d.ID), was, fmt.Appendf(nil, "%010d%s", d.Revision+1, body), ms(d.Begun), open).Int()
	return n == 1, failed(err, "keep drill %s", d.ID)
}

// Drill returns a drill. NotFound when there is none, or it is over 400 days old.
func (s *Store) Drill(ctx context.Context, id drill.ID) (drill.Drill, error) {
	all, err := s.drills(ctx, []string{string(id)})
	if err == nil && len(all) == 0 {
		err = fault.New(fault.NotFound, "DRILL_NOT_FOUND", "there is no such drill, or it is over 400 days old", "drill", string(id))
	}
	if err != nil {
		return drill.Drill{}, err
	}
	return all[0], nil
}

// OpenDrills returns the drills that are running or put off, the oldest first.
func (s *Store) OpenDrills(ctx context.Context) ([]drill.Drill, error) {
	ids, err := s.rdb.ZRange(ctx, drillsOpenKey, 0, -1).Result()
	if err != nil {
		return nil, failed(err, "read the drills that are not over")
	}
	return s.drills(ctx, ids)
}

// Drills returns up to n drills that began before an instant, the latest first: of
// one person, or of everybody. The instant of the last is where to go on; those of
// one instant come together, so there may be more than n.
func (s *Store) Drills(ctx context.Context, user roster.UserID, before time.Time, n int) ([]drill.Drill, error) {
	key := drillsKey
	if user != "" {
		key = drillsOfKey(user)
	}
	read := func(from, to string, count int) ([]redis.Z, error) {
		z, err := s.rdb.ZRevRangeByScoreWithScores(ctx, key, &redis.ZRangeBy{Min: from, Max: to, Count: int64(count)}).Result()
		return z, failed(err, "list drills")
	}
	list, err := read("-inf", "("+strconv.FormatInt(ms(before), 10), n)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	if len(list) == n { // the others of the last instant
		at := strconv.FormatInt(int64(list[n-1].Score), 10)
		rest, err := read(at, at, -1)
		if err != nil {
			return nil, err
		}
		for len(list) > 0 && list[len(list)-1].Score == rest[0].Score {
			list = list[:len(list)-1]
		}
		list = append(list, rest...)
	}
	ids := make([]string, len(list))
	for i, z := range list {
		ids[i], _ = z.Member.(string)
	}
	return s.drills(ctx, ids)
}

func (s *Store) drills(ctx context.Context, ids []string) ([]drill.Drill, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	rows, err := s.rdb.HMGet(ctx, drillKey, ids...).Result()
	if err != nil {
		return nil, failed(err, "read drills")
	}
	var all []drill.Drill
	for i, row := range rows {
		text, ok := row.(string)
		if !ok {
			continue // forgotten meanwhile
		}
		d, err := openDrill(text)
		if err != nil {
			return nil, fmt.Errorf("read drill %s: %w", ids[i], err)
		}
		all = append(all, d)
	}
	return all, nil
}

func openDrill(text string) (drill.Drill, error) {
	const head = 10
	if len(text) < head {
		return drill.Drill{}, fmt.Errorf("its record is %d bytes long", len(text))
	}
	var d drill.Drill
	revision, err := strconv.Atoi(text[:head])
	if err != nil {
		return d, err
	}
	if err := json.Unmarshal([]byte(text[head:]), &d); err != nil {
		return d, err
	}
	d.Revision = revision
	return d, nil
}

// ForgetDrills deletes drills that began over 400 days ago, at most so many at once.
func (s *Store) ForgetDrills(ctx context.Context, now time.Time, most int) error {
	before := "(" + strconv.FormatInt(ms(now.Add(-drillsKept)), 10)
	ids, err := s.rdb.ZRangeByScore(ctx, drillsKey, &redis.ZRangeBy{Min: "-inf", Max: before, Count: int64(most)}).Result()
	if err != nil || len(ids) == 0 {
		return failed(err, "forget old drills")
	}
	old, err := s.drills(ctx, ids)
	if err != nil {
		return err
	}
	pipe := s.rdb.TxPipeline()
	for _, d := range old {
		pipe.ZRem(ctx, drillsOfKey(d.User), string(d.ID))
	}
	for _, id := range ids {
		pipe.ZRem(ctx, drillsKey, id)
		pipe.ZRem(ctx, drillsOpenKey, id)
		pipe.HDel(ctx, drillKey, id)
	}
	_, err = pipe.Exec(ctx)
	return failed(err, "forget old drills")
}

// Responding reports whether somebody has an open incident.
func (s *Store) Responding(ctx context.Context, user roster.UserID) (bool, error) {
	page, err := s.List(ctx, Query{Assignee: user, Statuses: []incident.Status{incident.Triggered, incident.Acknowledged}, PageSize: 1}, "")
	return len(page.Incidents) > 0, err
}
