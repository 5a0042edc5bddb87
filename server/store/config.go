package store

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/store/storepb"
)

// ConfigRecord is one record of the configuration. What is inside is the
// directory's, secrets sealed.
type ConfigRecord struct {
	Kind, ID string
	Revision uint64 // rises with each change, over deletion too: an etag is never seen again
	Created  time.Time
	Updated  time.Time
	Payload  []byte
}

// ConfigChange is one change to be applied.
type ConfigChange struct {
	Kind, ID string
	Was      uint64 // revision that it was decided on; 0: the record is not there
	Created  time.Time
	Payload  []byte
	Delete   bool
	Keep     bool // guard only: the record must still be at Was, and stays
}

// ConfigEvent is one entry of the change log.
type ConfigEvent struct {
	Position string // in the log
	Record   ConfigRecord
	Deleted  bool // Record has Kind, ID and the last Revision only
}

// ErrConfigMoved asks to read the configuration again and decide again.
var ErrConfigMoved = fault.New(fault.Conflict, "CONFIG_MOVED", "the record has changed since it was read")

// ErrConfigLogGone asks to load the whole configuration again: the log no longer
// holds what follows the position, or Redis went back to an older state.
var ErrConfigLogGone = fault.New(fault.OutOfRange, "CONFIG_LOG_GONE", "the change log does not reach back that far; load again")

const (
	configLogKept = 100_000 // changes
	auditKept     = 100_000 // records
)

func configField(kind, id string) string { return kind + "/" + id }

// Applied is a set of changes that was applied.
type Applied struct {
	Position  string   // in the log behind the last change: who has followed to it knows all
	Revisions []uint64 // of the records, in the order of the changes
}

// ConfigApply applies all changes or none, writes a log entry for each and keeps
// the audit records. Conflict (ErrConfigMoved) when a record is no longer at the
// revision that its change was decided on.
func (s *Store) ConfigApply(ctx context.Context, now time.Time, changes []ConfigChange, audit ...[]byte) (Applied, error) {
	// One counter for all records: one that is made again begins above its former
	// life, so that an etag never comes back.
	n, err := s.count(ctx, configRevisionKey, 1, int64(s.revision.Load()))
	if err != nil {
		return Applied{}, failed(err, "apply %d configuration changes", len(changes))
	}
	revision := uint64(n)
	for had := s.revision.Load(); had < revision && !s.revision.CompareAndSwap(had, revision); {
		had = s.revision.Load()
	}
	plan := newPlan()
	applied := Applied{Revisions: make([]uint64, len(changes))}
	logged := 0
	for i, c := range changes {
		field := configField(c.Kind, c.ID)
		miss := ErrConfigMoved.With("kind", c.Kind).With("id", c.ID)
		plan.guard(miss, "rec", configKey, revisionText(c.Was), field)
		applied.Revisions[i] = c.Was
		if c.Keep {
			continue
		}
		logged++
		applied.Revisions[i] = revision
		values := []any{"*", "k", c.Kind, "i", c.ID, "r", strconv.FormatUint(revision, 10)}
		if c.Delete {
			plan.write("HDEL", configKey, field)
			plan.write("XADD", configLogKey, append(values, "d", "1")...)
			continue
		}
		created := c.Created
		if created.IsZero() {
			created = now
		}
		pre := prefix{Revision: revision, Form: s.form(), Encoding: encodingPlain, Nonce: plan.nonce}
		body := pre.Form.body(&storepb.Record{Created: ms(created), Updated: ms(now), Payload: c.Payload})
		plan.write("HSET", configKey, field, seal(pre, body))
		plan.write("XADD", configLogKey, append(values, "b", pre.Form.stamped(body))...)
	}
	for _, a := range audit {
		plan.write("XADD", auditKey, "MAXLEN", "~", auditKept, "*", "a", a)
	}
	plan.proof = proofOfApply(changes, revision, plan.nonce)
	o := s.commits.do(ctx, plan.call(Wake{}))[0]
	if o.err != nil {
		return Applied{}, failed(o.err, "apply %d configuration changes", len(changes))
	}
	if o.short {
		s.o.Log.WarnContext(ctx, "configuration not confirmed by a replica", slog.Uint64("revision", revision))
	}
	v, err := plan.read(o.reply)
	switch {
	case err != nil:
		return Applied{}, err
	case v.code == codeMissed && v.guard != nil:
		return Applied{}, failed(v.guard, "apply %d configuration changes", len(changes))
	case v.code == codeCommitted && logged > 0:
		applied.Position = v.ids[logged-1]
	default: // a repeated try, or nothing to log: everything there is in the log covers it
		if applied.Position, err = s.ConfigPosition(ctx); err != nil {
			return Applied{}, err
		}
	}
	return applied, nil
}

// proofOfApply is one record by which it can be seen that the changes were
// applied, nil when nothing is. What is written tells more than what is gone.
func proofOfApply(changes []ConfigChange, revision uint64, nonce string) *proof {
	var by *proof
	for _, c := range changes {
		switch {
		case c.Keep, c.Delete && by != nil:
			continue
		}
		what := c.Kind + " " + c.ID
		if !c.Delete {
			return &proof{key: configKey, field: configField(c.Kind, c.ID), revision: revision, nonce: nonce, told: true, what: what}
		}
		by = &proof{key: configKey, field: configField(c.Kind, c.ID), revision: c.Was, gone: true, told: true, what: what}
	}
	return by
}

// ConfigPosition returns the end of the change log.
func (s *Store) ConfigPosition(ctx context.Context) (string, error) {
	info, err := s.rdb.XInfoStream(ctx, configLogKey).Result()
	if err != nil {
		if strings.Contains(err.Error(), "no such key") {
			return "0-0", nil
		}
		return "", failed(err, "find the end of the configuration log")
	}
	return info.LastGeneratedID, nil
}

// ConfigLoad calls f for every record and returns the position to follow the
// change log from. Records that change meanwhile may be given in either state:
// following makes up for it. A record may be given twice.
func (s *Store) ConfigLoad(ctx context.Context, f func(ConfigRecord) error) (string, error) {
	position, err := s.ConfigPosition(ctx)
	if err != nil {
		return "", err
	}
	for cursor := uint64(0); ; {
		list, next, err := s.rdb.HScan(ctx, configKey, cursor, "", 1000).Result()
		if err != nil {
			return "", failed(err, "load the configuration")
		}
		for i := 0; i+1 < len(list); i += 2 {
			r, err := decodeRecord(list[i], []byte(list[i+1]))
			if err != nil {
				return "", err
			}
			if err := f(r); err != nil {
				return "", err
			}
		}
		if cursor = next; cursor == 0 {
			return position, nil
		}
	}
}

func decodeRecord(field string, raw []byte) (ConfigRecord, error) {
	kind, id, _ := strings.Cut(field, "/")
	pre, body, err := open(raw)
	if err != nil {
		return ConfigRecord{}, fmt.Errorf("read record %s: %w", field, err)
	}
	var m storepb.Record
	if err := pre.Form.read(body, &m); err != nil {
		return ConfigRecord{}, fmt.Errorf("read record %s: %w", field, err)
	}
	return recordFromProto(kind, id, pre.Revision, &m), nil
}

func recordFromProto(kind, id string, revision uint64, m *storepb.Record) ConfigRecord {
	return ConfigRecord{
		Kind: kind, ID: id, Revision: revision, Created: at(m.GetCreated()), Updated: at(m.GetUpdated()), Payload: m.GetPayload(),
	}
}

// ConfigChanges returns what changed behind a position, at most n entries; fewer
// than n are all there are. OutOfRange (ErrConfigLogGone) asks to load again.
func (s *Store) ConfigChanges(ctx context.Context, after string, n int) ([]ConfigEvent, error) {
	if err := s.checkLog(ctx, after); err != nil {
		return nil, err
	}
	list, err := s.rdb.XRangeN(ctx, configLogKey, "("+after, "+", int64(n)).Result()
	if err != nil {
		return nil, failed(err, "read the configuration log")
	}
	return decodeEvents(list)
}

// checkLog makes sure that the log continues the position without a gap.
func (s *Store) checkLog(ctx context.Context, after string) error {
	end, err := s.ConfigPosition(ctx)
	if err != nil {
		return err
	}
	low, err := s.rdb.HGet(ctx, configLowKey, "low").Result()
	if err != nil && !isNil(err) {
		return failed(err, "read the configuration log")
	}
	here, err1 := parsePosition(after)
	last, err2 := parsePosition(end)
	if err1 != nil || err2 != nil || last.before(here) {
		return ErrConfigLogGone
	}
	if low != "" {
		if first, err := parsePosition(low); err != nil || here.before(first) {
			return ErrConfigLogGone
		}
	}
	return nil
}

func decodeEvents(list []redis.XMessage) ([]ConfigEvent, error) {
	events := make([]ConfigEvent, 0, len(list))
	for _, x := range list {
		kind, _ := x.Values["k"].(string)
		id, _ := x.Values["i"].(string)
		number, _ := x.Values["r"].(string)
		body, _ := x.Values["b"].(string)
		revision, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read change %s of the configuration: %w", x.ID, err)
		}
		e := ConfigEvent{Position: x.ID, Record: ConfigRecord{Kind: kind, ID: id, Revision: revision}}
		if _, e.Deleted = x.Values["d"]; !e.Deleted {
			var m storepb.Record
			if err := readRecord(body, &m); err != nil {
				return nil, fmt.Errorf("read change %s of the configuration: %w", x.ID, err)
			}
			e.Record = recordFromProto(kind, id, revision, &m)
		}
		events = append(events, e)
	}
	return events, nil
}

// ConfigAwait is [Store.ConfigChanges] that waits for the first change, up to
// the given time; none is no error.
func (s *Store) ConfigAwait(ctx context.Context, after string, wait time.Duration) ([]ConfigEvent, error) {
	return s.follow(ctx, after, true, wait)
}

// followBlock is how long one blocking read of the log lasts at most: it cannot
// be interrupted, so it is also how long the end of a follower may take.
const followBlock = time.Second

// ConfigFollow calls f with what changes behind the position, in order and
// without a gap, over any loss of the connection, until ctx ends or f fails.
// OutOfRange (ErrConfigLogGone) asks to load again.
func (s *Store) ConfigFollow(ctx context.Context, after string, f func([]ConfigEvent) error) error {
	check := true
	began, _ := s.homes.configTurn()
	for ctx.Err() == nil {
		if turn, fence := s.homes.configTurn(); turn != began {
			switch gone, err := s.rolledBack(ctx, after, fence); {
			case gone:
				return ErrConfigLogGone
			case err == nil:
				began = turn
			} // else: the reading below tells
		}
		events, err := s.follow(ctx, after, check, followBlock)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return ctx.Err()
		case fault.KindOf(err) == fault.Unavailable:
			s.o.Log.WarnContext(ctx, "configuration log not readable", slog.Any("err", err))
			check = true // a Redis that comes back may have gone back in time
			if err := pause(ctx, 500*time.Millisecond); err != nil {
				return err
			}
			continue
		default:
			return err
		}
		check = len(events) == 0 // quiet: a moment to look for a lost log
		if len(events) == 0 {
			continue
		}
		if err := f(events); err != nil {
			return err
		}
		after = events[len(events)-1].Position
	}
	return ctx.Err()
}

// rolledBack reports whether the log lacks the entry that was read last, because
// it was lost in a failover: others that were written since would make it look
// as if the log went on. The fence is how far the log had come with the failover.
func (s *Store) rolledBack(ctx context.Context, after string, fence Position) (bool, error) {
	here, err := parsePosition(after)
	if err != nil || !fence.before(here) {
		return err != nil, nil
	}
	list, err := s.rdb.XRange(ctx, configLogKey, after, after).Result()
	if err != nil {
		return false, failed(err, "look for a change in the configuration log")
	}
	return len(list) == 0, nil
}

func (s *Store) follow(ctx context.Context, after string, check bool, wait time.Duration) ([]ConfigEvent, error) {
	if check {
		if err := s.checkLog(ctx, after); err != nil {
			return nil, err
		}
	}
	streams, err := s.rdb.XRead(ctx, &redis.XReadArgs{
		Streams: []string{configLogKey, after}, Count: 500, Block: max(wait, time.Millisecond), // 0 would be for ever
	}).Result()
	if isNil(err) || (err == nil && len(streams) == 0) {
		return nil, nil
	}
	if err != nil {
		return nil, failed(err, "follow the configuration log")
	}
	return decodeEvents(streams[0].Messages)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// TrimConfigLog keeps the change log at 100,000 entries.
func (s *Store) TrimConfigLog(ctx context.Context) error {
	err := s.run(ctx, trimScript, []string{configLogKey, configLowKey}, "low", "", configLogKept).Err()
	return failed(err, "trim the configuration log")
}

// Audit keeps an audit record of what is no configuration: an acknowledgement, a login.
func (s *Store) Audit(ctx context.Context, record []byte) error {
	err := s.allow(ctx, "XADD", auditKey, "MAXLEN", "~", auditKept, "*", "a", record).Err()
	return failed(err, "keep an audit record")
}

// AuditRecord is one audit record as it was given.
type AuditRecord struct {
	ID     string
	At     time.Time // when Redis wrote it
	Record []byte
}

// Audits returns audit records before the id ("" = from the latest), latest first, at most n.
func (s *Store) Audits(ctx context.Context, before string, n int) ([]AuditRecord, error) {
	end := "+"
	if before != "" {
		end = "(" + before
	}
	list, err := s.rdb.XRevRangeN(ctx, auditKey, end, "-", int64(n)).Result()
	if err != nil {
		return nil, failed(err, "read audit records")
	}
	records := make([]AuditRecord, 0, len(list))
	for _, x := range list {
		raw, _ := x.Values["a"].(string)
		records = append(records, AuditRecord{ID: x.ID, At: firstAt([]redis.XMessage{x}), Record: []byte(raw)})
	}
	return records, nil
}
