package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/proto"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/store/storepb"
)

// The rings keep the latest of what never became an incident, so that a silence
// can be explained. They lose their oldest entries, and nothing depends on them.
const (
	droppedKept = 500       // dropped events in each partition
	rawKept     = 100       // bodies in each partition
	rawLongest  = 256 << 10 // of a body; the rest is cut off
)

// Dropped is an event that a rule dropped before the inbox.
type Dropped struct {
	At          time.Time
	Service     catalog.ServiceID
	Integration catalog.IntegrationID
	Reason      string // from a closed set, in UPPER_SNAKE_CASE
	Key         string
	Summary     string
}

// DroppedCount is how many events of a service were dropped for one reason, ever.
type DroppedCount struct {
	Service catalog.ServiceID
	Reason  string
	Count   int64
}

// NoteDropped counts dropped events and keeps the latest of them.
func (s *Store) NoteDropped(ctx context.Context, events ...Dropped) error {
	if len(events) == 0 {
		return nil
	}
	pipe := s.rdb.Pipeline()
	for _, e := range events {
		p := PartitionOf(string(e.Service))
		pipe.XAdd(ctx, &redis.XAddArgs{Stream: droppedKey(p), MaxLen: droppedKept, Approx: true, Values: []any{
			"d", marshal(&storepb.Dropped{
				At: ms(e.At), Service: string(e.Service), Integration: string(e.Integration), Reason: e.Reason,
				Key: e.Key, Summary: e.Summary,
			}),
		}})
		pipe.HIncrBy(ctx, droppedCountKey(p), string(e.Service)+"\x00"+e.Reason, 1)
	}
	_, err := pipe.Exec(ctx)
	return failed(err, "note %d dropped events", len(events))
}

// DroppedEvents returns the latest dropped events of a service, or of all when
// it is empty, latest first, at most n.
func (s *Store) DroppedEvents(ctx context.Context, service catalog.ServiceID, n int) ([]Dropped, error) {
	parts := (Query{Service: service}).partitions()
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.XMessageSliceCmd, len(parts))
	for i, p := range parts {
		cmds[i] = pipe.XRevRange(ctx, droppedKey(p), "+", "-")
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, failed(err, "read dropped events")
	}
	var all []Dropped
	for _, cmd := range cmds {
		for _, x := range cmd.Val() {
			raw, _ := x.Values["d"].(string)
			var m storepb.Dropped
			if err := proto.Unmarshal([]byte(raw), &m); err != nil {
				return nil, fmt.Errorf("read dropped events: %w", err)
			}
			if service == "" || m.GetService() == string(service) {
				all = append(all, Dropped{
					At: at(m.GetAt()), Service: catalog.ServiceID(m.GetService()), Integration: catalog.IntegrationID(m.GetIntegration()),
					Reason: m.GetReason(), Key: m.GetKey(), Summary: m.GetSummary(),
				})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Dropped) int { return b.At.Compare(a.At) })
	return all[:min(n, len(all))], nil
}

// DroppedCounts returns how many events were dropped, by service and reason.
func (s *Store) DroppedCounts(ctx context.Context, service catalog.ServiceID) ([]DroppedCount, error) {
	parts := (Query{Service: service}).partitions()
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.MapStringStringCmd, len(parts))
	for i, p := range parts {
		cmds[i] = pipe.HGetAll(ctx, droppedCountKey(p))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, failed(err, "count dropped events")
	}
	var counts []DroppedCount
	for _, cmd := range cmds {
		for field, value := range cmd.Val() {
			of, reason, _ := strings.Cut(field, "\x00")
			n, err := strconv.ParseInt(value, 10, 64)
			if err == nil && (service == "" || of == string(service)) {
				counts = append(counts, DroppedCount{catalog.ServiceID(of), reason, n})
			}
		}
	}
	slices.SortFunc(counts, func(a, b DroppedCount) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Reason, b.Reason))
	})
	return counts, nil
}

// Raw is a body as an integration sent it.
type Raw struct {
	At          time.Time
	Integration catalog.IntegrationID
	Source      string
	Status      int // HTTP status of the answer
	Body        []byte
	Cut         bool // the body was longer than is kept
}

// rawDeflater has the dictionary that bodies are deflated with: labels of monitors
// are in it.
func rawDeflater() *deflater { return deflaters[firstPacking] }

// NoteRaw keeps a body, so that what a sender really sent can be looked at.
func (s *Store) NoteRaw(ctx context.Context, r Raw) error {
	if len(r.Body) > rawLongest {
		r.Body, r.Cut = r.Body[:rawLongest], true
	}
	err := s.rdb.XAdd(ctx, &redis.XAddArgs{
		Stream: rawKey(PartitionOf(string(r.Integration))), MaxLen: rawKept, Approx: true,
		Values: []any{"r", marshal(&storepb.Raw{
			At: ms(r.At), Integration: string(r.Integration), Source: r.Source, Status: int32(r.Status),
			Body: rawDeflater().deflate(nil, r.Body), Cut: r.Cut,
		})},
	}).Err()
	return failed(err, "keep a body of integration %s", r.Integration)
}

// Raws returns the latest bodies of an integration, latest first, at most n.
func (s *Store) Raws(ctx context.Context, integration catalog.IntegrationID, n int) ([]Raw, error) {
	list, err := s.rdb.XRevRange(ctx, rawKey(PartitionOf(string(integration))), "+", "-").Result()
	if err != nil {
		return nil, failed(err, "read the bodies of integration %s", integration)
	}
	var raws []Raw
	for _, x := range list {
		raw, _ := x.Values["r"].(string)
		var m storepb.Raw
		if err := proto.Unmarshal([]byte(raw), &m); err != nil {
			return nil, fmt.Errorf("read the bodies of integration %s: %w", integration, err)
		}
		if m.GetIntegration() != string(integration) {
			continue
		}
		body, err := rawDeflater().inflate(m.GetBody(), rawLongest)
		if err != nil {
			return nil, fmt.Errorf("read the bodies of integration %s: %w", integration, err)
		}
		raws = append(raws, Raw{
			At: at(m.GetAt()), Integration: integration, Source: m.GetSource(), Status: int(m.GetStatus()), Body: body, Cut: m.GetCut(),
		})
		if len(raws) == n {
			break
		}
	}
	return raws, nil
}
