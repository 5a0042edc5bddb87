package store

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Query says which incidents to list. Empty fields match all.
//
// Service and Assignee are answered from an index; Statuses choose between the
// open incidents and the closed ones; Team and Urgency are a filter over what
// the others leave, of which one page looks at 1,000 incidents at most.
type Query struct {
	Statuses []incident.Status
	Service  catalog.ServiceID
	Team     roster.TeamID
	Assignee roster.UserID // open incidents only: a resolved one has no assignees
	Urgency  incident.Urgency
	PageSize int // 1 to 200; 0: 50
}

// Page is one page of a list. It may be short, even empty, and still have a next one.
type Page struct {
	Incidents []*incident.Incident
	Next      string // token of the next page; empty after the last
}

const (
	defaultPage = 50
	maxPage     = 200
	maxScan     = 1000 // incidents that one page looks at
)

// The sections of a list, in order.
const (
	sectionOpen   = 1 // by (create time, id), latest first
	sectionClosed = 2 // by closing, latest first
)

func (q Query) wantsOpen() bool {
	return len(q.Statuses) == 0 || slices.ContainsFunc(q.Statuses, func(s incident.Status) bool { return s != incident.Resolved })
}

func (q Query) wantsClosed() bool {
	return q.Assignee == "" && (len(q.Statuses) == 0 || slices.Contains(q.Statuses, incident.Resolved))
}

func (q Query) matches(in *incident.Incident) bool {
	return (len(q.Statuses) == 0 || slices.Contains(q.Statuses, in.Status)) &&
		(q.Service == "" || q.Service == in.Service) && (q.Team == "" || q.Team == in.Team) &&
		(q.Urgency == 0 || q.Urgency == in.Urgency) && (q.Assignee == "" || in.Assigned(q.Assignee) != nil)
}

// hash binds a page token to the filter that it was made for.
func (q Query) hash() uint32 {
	h := fnv.New32a()
	_, _ = fmt.Fprintf(h, "%v\x00%s\x00%s\x00%s\x00%d", q.Statuses, q.Service, q.Team, q.Assignee, q.Urgency) // never fails
	return h.Sum32()
}

// partitions are those where matching incidents can be.
func (q Query) partitions() []Partition {
	if q.Service != "" {
		return []Partition{PartitionOf(string(q.Service))}
	}
	return All()
}

// row is one line of an index, before its incident has been read.
type row struct {
	partition Partition
	ms, seq   int64 // creation, or the closing's place in its stream
	id        incident.ID
	reopens   int // of the closing: only an incident's latest closing lists it
}

// place is where a list stands: the last row taken.
type place struct {
	section int
	begun   bool // false: before the first row of the section
	row     row
}

// token is the text form of a place.
func (pl place) token(q Query) string {
	b := []byte{1, byte(pl.section), 0}
	if pl.begun {
		b[2] = 1
	}
	b = binary.BigEndian.AppendUint32(b, q.hash())
	b = append(b, byte(pl.row.partition))
	b = binary.AppendVarint(b, pl.row.ms)
	b = binary.AppendVarint(b, pl.row.seq)
	b = append(b, pl.row.id...)
	return base64.RawURLEncoding.EncodeToString(b)
}

func (q Query) place(token string) (place, error) {
	if token == "" {
		if q.wantsOpen() {
			return place{section: sectionOpen}, nil
		}
		return place{section: sectionClosed}, nil
	}
	bad := fault.InvalidField("page_token", "is not a token of this list; start again without one")
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) < 10 || b[0] != 1 || b[1] < sectionOpen || b[1] > sectionClosed || b[7] >= Partitions {
		return place{}, bad
	}
	if binary.BigEndian.Uint32(b[3:7]) != q.hash() {
		return place{}, fault.InvalidField("page_token", "belongs to a list with another filter")
	}
	pl := place{section: int(b[1]), begun: b[2] == 1, row: row{partition: Partition(b[7])}}
	b = b[8:]
	for _, to := range []*int64{&pl.row.ms, &pl.row.seq} {
		v, n := binary.Varint(b)
		if n <= 0 {
			return place{}, bad
		}
		*to, b = v, b[n:]
	}
	pl.row.id = incident.ID(b)
	return pl, nil
}

// List returns a page of incidents: the open ones by (create time, id), latest
// first, then the closed ones in the reverse order of their closing. An incident
// that is there all the while is listed exactly once, whatever else is made or
// closed between pages. One that is closed or re-opened meanwhile changes
// section, and may be seen in both or in neither.
func (s *Store) List(ctx context.Context, q Query, token string) (Page, error) {
	pl, err := q.place(token)
	if err != nil {
		return Page{}, err
	}
	size := q.PageSize
	if size <= 0 {
		size = defaultPage
	}
	size = min(size, maxPage)
	var page Page
	for scanned := 0; ; {
		m := s.merge(q, pl, size)
		for len(page.Incidents) < size && scanned < maxScan {
			rows, err := m.take(ctx, size-len(page.Incidents))
			if err != nil {
				return Page{}, failed(err, "list incidents")
			}
			if len(rows) == 0 {
				break
			}
			scanned += len(rows)
			pl.begun, pl.row = true, rows[len(rows)-1]
			if err := s.fill(ctx, q, pl.section, rows, &page); err != nil {
				return Page{}, err
			}
		}
		switch more, err := m.more(ctx); {
		case err != nil:
			return Page{}, failed(err, "list incidents")
		case more:
			page.Next = pl.token(q)
			return page, nil
		case pl.section == sectionOpen && q.wantsClosed():
			pl = place{section: sectionClosed}
			if len(page.Incidents) >= size || scanned >= maxScan {
				page.Next = pl.token(q)
				return page, nil
			}
		default:
			return page, nil
		}
	}
}

// fill adds the incidents of rows that are what the list is about.
func (s *Store) fill(ctx context.Context, q Query, section int, rows []row, page *Page) error {
	ids := make([]incident.ID, len(rows))
	for i, r := range rows {
		ids[i] = r.id
	}
	found, err := s.Incidents(ctx, ids...)
	if err != nil {
		return failed(err, "list incidents")
	}
	for i, in := range found {
		switch {
		case in == nil, in.Open() != (section == sectionOpen), !q.matches(in):
		case section == sectionClosed && in.Reopens != rows[i].reopens: // another closing lists it
		default:
			page.Incidents = append(page.Incidents, in)
		}
	}
	return nil
}

// merger merges the indexes of many partitions into one order.
type merger struct {
	s       *Store
	section int
	sources []*source
	chunk   int
}

// source is the index of one partition, read piece by piece.
type source struct {
	partition Partition
	key       string
	after     row // the last row read
	begun     bool
	rows      []row // read and not taken
	done      bool
	chunk     int
}

func (s *Store) merge(q Query, pl place, size int) *merger {
	parts := q.partitions()
	m := &merger{s: s, section: pl.section, chunk: min(size+1, max(8, 2*size/len(parts)))}
	for _, p := range parts {
		src := &source{partition: p, after: pl.row, begun: pl.begun, chunk: m.chunk}
		switch {
		case pl.section == sectionClosed:
			src.key = closedKey(p)
		case q.Assignee != "":
			src.key = assigneeKey(p, q.Assignee)
		case q.Service != "":
			src.key = serviceKey(p, q.Service)
		default:
			src.key = openKey(p)
		}
		m.sources = append(m.sources, src)
	}
	return m
}

// order sorts rows as the section lists them: latest first.
func (m *merger) order(a, b row) int {
	if m.section == sectionOpen {
		return -cmp.Or(cmp.Compare(a.ms, b.ms), cmp.Compare(a.id, b.id))
	}
	return -cmp.Or(cmp.Compare(a.ms, b.ms), cmp.Compare(a.partition, b.partition), cmp.Compare(a.seq, b.seq))
}

// take returns the next n rows, fewer at the end.
func (m *merger) take(ctx context.Context, n int) ([]row, error) {
	var rows []row
	for len(rows) < n {
		if err := m.refill(ctx); err != nil {
			return nil, err
		}
		var best *source
		for _, src := range m.sources {
			if len(src.rows) > 0 && (best == nil || m.order(src.rows[0], best.rows[0]) < 0) {
				best = src
			}
		}
		if best == nil {
			return rows, nil
		}
		rows, best.rows = append(rows, best.rows[0]), best.rows[1:]
	}
	return rows, nil
}

// more reports whether there are further rows.
func (m *merger) more(ctx context.Context) (bool, error) {
	if err := m.refill(ctx); err != nil {
		return false, err
	}
	return slices.ContainsFunc(m.sources, func(src *source) bool { return len(src.rows) > 0 }), nil
}

// refill reads on where a source has run dry: without its next row the order of
// the others is not known.
func (m *merger) refill(ctx context.Context) error {
	for {
		var dry []*source
		for _, src := range m.sources {
			if len(src.rows) == 0 && !src.done {
				dry = append(dry, src)
			}
		}
		if len(dry) == 0 {
			return nil
		}
		pipe := m.s.rdb.Pipeline()
		parse := make([]func() ([]row, error), len(dry))
		for i, src := range dry {
			if m.section == sectionOpen {
				parse[i] = src.open(ctx, pipe)
			} else {
				parse[i] = src.closed(ctx, pipe)
			}
		}
		_, _ = pipe.Exec(ctx) // each command has its own error
		for i, src := range dry {
			read, err := parse[i]()
			if err != nil {
				return err
			}
			m.accept(src, read)
		}
	}
}

// accept keeps of what was read the rows behind the last one. Many incidents of
// one millisecond may fill a whole piece: then the next piece is larger.
func (m *merger) accept(src *source, read []row) {
	src.done = len(read) < src.chunk
	for _, r := range read {
		if !src.begun || m.order(src.after, r) < 0 {
			src.rows = append(src.rows, r)
		}
	}
	if len(src.rows) == 0 {
		src.chunk *= 4
		return
	}
	src.begun, src.after = true, src.rows[len(src.rows)-1]
}

func (src *source) open(ctx context.Context, pipe redis.Pipeliner) func() ([]row, error) {
	latest := "+inf"
	if src.begun {
		latest = strconv.FormatInt(src.after.ms, 10)
	}
	cmd := pipe.ZRangeArgsWithScores(ctx, redis.ZRangeArgs{
		Key: src.key, Start: latest, Stop: "-inf", ByScore: true, Rev: true, Count: int64(src.chunk),
	})
	return func() ([]row, error) {
		list, err := cmd.Result()
		rows := make([]row, len(list))
		for i, z := range list {
			id, _ := z.Member.(string)
			rows[i] = row{partition: src.partition, ms: int64(z.Score), id: incident.ID(id)}
		}
		return rows, err
	}
}

func (src *source) closed(ctx context.Context, pipe redis.Pipeliner) func() ([]row, error) {
	latest := "+"
	if src.begun {
		end := Position{MS: src.after.ms, Seq: math.MaxInt64}
		if src.partition == src.after.partition {
			end.Seq = src.after.seq
		}
		latest = end.String() // inclusive: what has been taken is left out later
	}
	cmd := pipe.XRevRangeN(ctx, src.key, latest, "-", int64(src.chunk))
	return func() ([]row, error) {
		list, err := cmd.Result()
		rows := make([]row, 0, len(list))
		for _, x := range list {
			r, err := closing(src.partition, x)
			if err != nil {
				return nil, err
			}
			rows = append(rows, r)
		}
		return rows, err
	}
}

// closing reads an entry of a closed stream.
func closing(p Partition, x redis.XMessage) (row, error) {
	pos, err := parsePosition(x.ID)
	if err != nil {
		return row{}, err
	}
	id, _ := x.Values["i"].(string)
	count, _ := x.Values["n"].(string)
	n, err := strconv.Atoi(count)
	if err != nil {
		return row{}, fmt.Errorf("closing %s of partition %s: %w", x.ID, p, err)
	}
	return row{partition: p, ms: pos.MS, seq: pos.Seq, id: incident.ID(id), reopens: n}, nil
}
