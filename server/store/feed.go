package store

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
)

// FeedEntry is one visible change of an incident.
type FeedEntry struct {
	Partition Partition
	At        Position // in the partition's feed
	Incident  incident.ID
	Revision  uint64               // of the document after the change
	Version   uint32               // its etag
	Types     []incident.EntryType // what entered the timeline
}

// encode writes the id, NUL, revision and version as varints, and the types.
func (e FeedEntry) encode() []byte {
	b := append([]byte(e.Incident), 0)
	b = binary.AppendUvarint(b, e.Revision)
	b = binary.AppendUvarint(b, uint64(e.Version))
	for _, t := range e.Types {
		b = append(b, byte(t))
	}
	return b
}

func decodeFeed(raw string) (FeedEntry, error) {
	id, rest, ok := strings.Cut(raw, "\x00")
	b := []byte(rest)
	revision, n := binary.Uvarint(b)
	if !ok || n <= 0 {
		return FeedEntry{}, fmt.Errorf("feed entry of %d bytes is unreadable", len(raw))
	}
	version, m := binary.Uvarint(b[n:])
	if m <= 0 {
		return FeedEntry{}, fmt.Errorf("feed entry of %d bytes is unreadable", len(raw))
	}
	e := FeedEntry{Incident: incident.ID(id), Revision: revision, Version: uint32(version)}
	for _, t := range b[n+m:] {
		e.Types = append(e.Types, incident.EntryType(t))
	}
	return e, nil
}

// Position is a place in a stream: the id of the last entry read.
type Position struct {
	MS  int64
	Seq int64
}

func (p Position) String() string {
	return strconv.FormatInt(p.MS, 10) + "-" + strconv.FormatInt(p.Seq, 10)
}

// before reports whether p lies before q.
func (p Position) before(q Position) bool {
	return cmp.Or(cmp.Compare(p.MS, q.MS), cmp.Compare(p.Seq, q.Seq)) < 0
}

func parsePosition(id string) (Position, error) {
	a, b, ok := strings.Cut(id, "-")
	millis, err1 := strconv.ParseInt(a, 10, 64)
	seq, err2 := strconv.ParseInt(b, 10, 64)
	if !ok || err1 != nil || err2 != nil || millis < 0 || seq < 0 {
		return Position{}, fmt.Errorf("%q is no position in a stream", id)
	}
	return Position{millis, seq}, nil
}

// Cursor is a place in the feeds of all partitions. Its text form resumes a
// watch after any interruption, on any instance.
type Cursor [Partitions]Position

const cursorVersion = 1

// String returns the cursor as a token that fits into a URL, under 1 KB.
// Instants are written as their distance from the latest one.
func (c *Cursor) String() string {
	var latest int64
	for _, p := range c {
		latest = max(latest, p.MS)
	}
	b := []byte{cursorVersion}
	b = binary.AppendUvarint(b, uint64(latest))
	for _, p := range c {
		b = binary.AppendUvarint(b, uint64(latest-p.MS))
		b = binary.AppendUvarint(b, uint64(p.Seq))
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// ParseCursor reads a token. What is none is Invalid.
func ParseCursor(token string) (*Cursor, error) {
	bad := fault.InvalidField("cursor", "is not a cursor that this installation gave out")
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) == 0 || b[0] != cursorVersion {
		return nil, bad
	}
	b = b[1:]
	next := func() int64 {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > 1<<62 {
			err = bad
			return 0
		}
		b = b[n:]
		return int64(v)
	}
	latest := next()
	c := &Cursor{}
	for i := range c {
		c[i] = Position{latest - next(), next()}
		if err != nil || c[i].MS < 0 {
			return nil, bad
		}
	}
	if len(b) > 0 {
		return nil, bad
	}
	return c, nil
}

// FeedTail returns the end of all feeds: what a new watcher begins with, read
// before its list.
func (s *Store) FeedTail(ctx context.Context) (*Cursor, error) {
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.XMessageSliceCmd, Partitions)
	lows := make([]*redis.StringCmd, Partitions)
	for _, p := range All() {
		cmds[p] = pipe.XRevRangeN(ctx, feedKey(p), "+", "-", 1)
		lows[p] = pipe.HGet(ctx, metaKey(p), "low:feed")
	}
	if err := s.readAll(ctx, pipe); err != nil {
		return nil, failed(err, "find the end of the feeds")
	}
	c := &Cursor{}
	for _, p := range All() {
		id := lows[p].Val() // of a feed whose entries are all trimmed, this is the end
		if list := cmds[p].Val(); len(list) > 0 {
			id = list[0].ID
		}
		if id == "" {
			continue
		}
		var err error
		if c[p], err = parsePosition(id); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// ErrCursorOld asks a watcher to list again from the start.
var ErrCursorOld = fault.New(fault.OutOfRange, "CURSOR_TOO_OLD", "the cursor lies before what is kept; list again")

// Feeds returns what changed behind the cursor in some partitions, in all of them
// when none is named: at most n entries of each, and the cursor behind them.
// Entries of one partition are in order; those of different ones have none.
// OutOfRange (ErrCursorOld) when something behind the cursor has been trimmed already.
//
// A master of a cluster that is out says nothing of the others: the error is that
// of its partitions, whose positions stay where they are, and what the others had
// comes beside it. Where the cursor is nil nothing was read.
func (s *Store) Feeds(ctx context.Context, after *Cursor, n int, of ...Partition) ([]FeedEntry, *Cursor, error) {
	if len(of) == 0 {
		of = All()
	}
	parts := make([]*feedPart, len(of))
	for i, p := range of {
		parts[i] = &feedPart{partition: p}
	}
	perMaster(ctx, s, parts, func(f *feedPart) string { return feedKey(f.partition) }, func(_ *redis.Client, _ error, parts []*feedPart) {
		s.readFeeds(ctx, after, n, parts) // where no master is known the client says so by itself
	})
	next, read := *after, 0
	var entries []FeedEntry
	var out error
	for _, f := range parts {
		if f.err != nil {
			out = failed(f.err, "read the feed of partition %s", f.partition)
			continue
		}
		read++
		list, err := f.list(after[f.partition])
		if err != nil {
			return nil, nil, failed(err, "read the feed of partition %s", f.partition)
		}
		if len(list) > 0 {
			next[f.partition] = list[len(list)-1].At
		}
		entries = append(entries, list...)
	}
	if read == 0 {
		return nil, nil, out
	}
	return entries, &next, out
}

// readFeeds reads the feeds of one master.
func (s *Store) readFeeds(ctx context.Context, after *Cursor, n int, parts []*feedPart) {
	pipe := s.rdb.Pipeline()
	for _, f := range parts {
		f.entries = pipe.XRangeN(ctx, feedKey(f.partition), "("+after[f.partition].String(), "+", int64(n))
		f.low = pipe.HGet(ctx, metaKey(f.partition), "low:feed") // behind the range: a trim in between shows
	}
	err := s.readAll(ctx, pipe)
	for _, f := range parts {
		f.err = err
	}
}

// feedPart is one partition's part of a reading.
type feedPart struct {
	partition Partition
	entries   *redis.XMessageSliceCmd
	low       *redis.StringCmd
	err       error // nothing is known of it
}

// list returns the entries that were read behind a position.
func (f *feedPart) list(after Position) ([]FeedEntry, error) {
	if low := f.low.Val(); low != "" {
		trimmed, err := parsePosition(low)
		if err != nil {
			return nil, err
		}
		if after.before(trimmed) {
			return nil, ErrCursorOld
		}
	}
	var list []FeedEntry
	for _, x := range f.entries.Val() {
		raw, _ := x.Values["f"].(string)
		e, err := decodeFeed(raw)
		if err != nil {
			return nil, err
		}
		e.Partition = f.partition
		if e.At, err = parsePosition(x.ID); err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, nil
}

// readAll has a pipe carried out in the time of one exchange, and fails when any of
// its commands did. That a field is absent is no failure, and must not hide one:
// Exec returns the first error alone, and a feed whose master is out is not empty.
func (s *Store) readAll(ctx context.Context, pipe redis.Pipeliner) error {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	cmds, _ := pipe.Exec(ctx) // each command has its own error
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && !isNil(err) {
			return err
		}
	}
	return nil
}

// feedKept is how long a watcher may be away.
const feedKept = 24 * time.Hour

// TrimFeed removes what is older than 24 hours from a partition's feed. The
// partition's owner calls it now and then.
func (s *Store) TrimFeed(ctx context.Context, p Partition, now time.Time) error {
	low := Position{MS: now.Add(-feedKept).UnixMilli()}.String()
	err := s.run(ctx, trimScript, []string{feedKey(p), metaKey(p)}, "low:feed", low, 0).Err()
	return failed(err, "trim the feed of partition %s", p)
}
