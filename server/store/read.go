package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/attention"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store/storepb"
)

func isNil(err error) bool { return errors.Is(err, redis.Nil) }

func notFound(id incident.ID) error {
	return fault.New(fault.NotFound, "INCIDENT_NOT_FOUND", "there is no incident of that name", "incident", string(id))
}

// get reads a string.
func (s *Store) get(ctx context.Context, key string) ([]byte, error) {
	var cmd *redis.StringCmd
	if err := s.trips.alone(ctx, func(pipe redis.Pipeliner) { cmd = pipe.Get(ctx, key) }); err != nil {
		return nil, err
	}
	return cmd.Bytes()
}

// Incident returns an incident, archived or not. NotFound when there is none.
func (s *Store) Incident(ctx context.Context, id incident.ID) (*incident.Incident, error) {
	in, _, err := s.load(ctx, id)
	return in, err
}

// load returns an incident, and its archive when it is archived.
func (s *Store) load(ctx context.Context, id incident.ID) (*incident.Incident, *archive, error) {
	p, err := PartitionOfIncident(id)
	if err != nil {
		return nil, nil, err
	}
	raw, err := s.get(ctx, incidentKey(p, id))
	if isNil(err) {
		return nil, nil, notFound(id)
	}
	if err != nil {
		return nil, nil, failed(err, "read incident %s", id)
	}
	return decodeIncident(id, raw)
}

func decodeIncident(id incident.ID, raw []byte) (*incident.Incident, *archive, error) {
	pre, body, err := open(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("read incident %s: %w", id, err)
	}
	if pre.Encoding == encodingArchive {
		a, err := unpackArchive(id, pre, body)
		if err != nil {
			return nil, nil, fmt.Errorf("read the archive of incident %s: %w", id, err)
		}
		return a.incident, a, nil
	}
	var m storepb.Incident
	if err := pre.Form.read(body, &m); err != nil {
		return nil, nil, fmt.Errorf("read incident %s: %w", id, err)
	}
	return incidentFromProto(id, pre, &m), nil, nil
}

// Found is an incident, or why it could not be read.
type Found struct {
	Incident *incident.Incident
	Err      error
}

// Each is [Store.Incident] for several, in one trip and in the order of the ids:
// one that is damaged or gone is nobody else's error. Of one with Unavailable
// nothing is known.
func (s *Store) Each(ctx context.Context, ids ...incident.ID) []Found {
	found := make([]Found, len(ids))
	if len(ids) == 0 {
		return found
	}
	cmds := make([]*redis.StringCmd, len(ids))
	pipe := s.rdb.Pipeline()
	for i, id := range ids {
		p, err := PartitionOfIncident(id)
		if found[i].Err = err; err == nil {
			cmds[i] = pipe.Get(ctx, incidentKey(p, id))
		}
	}
	err := s.trips.travel(ctx, pipe)
	lost := err != nil && (ctx.Err() != nil || errors.Is(err, redis.ErrClosed)) // the commands may be under way
	for i, cmd := range cmds {
		if cmd == nil {
			continue
		}
		if lost {
			found[i].Err = failed(err, "read incident %s", ids[i])
			continue
		}
		b, err := beside(ids[i], cmd)
		switch {
		case err != nil:
			found[i].Err = err
		case b.incident == nil:
			found[i].Err = notFound(ids[i])
		default:
			found[i].Incident = b.incident
		}
	}
	return found
}

// Incidents returns the incidents in the order of the ids, nil for those that do
// not exist. So it is for those that are damaged, which are logged: nobody is to
// miss the others for them.
func (s *Store) Incidents(ctx context.Context, ids ...incident.ID) ([]*incident.Incident, error) {
	found := make([]*incident.Incident, len(ids))
	for i, f := range s.Each(ctx, ids...) {
		switch found[i] = f.Incident; {
		case f.Err == nil, fault.KindOf(f.Err) == fault.NotFound:
		case fault.KindOf(f.Err) == fault.Unavailable:
			return nil, f.Err
		default:
			s.o.Log.ErrorContext(ctx, "incident unreadable: left out", slog.String("incident", string(ids[i])), slog.Any("error", f.Err))
		}
	}
	return found, nil
}

// Person returns the document of a person, a fresh one (Revision 0) when there
// is none yet: commit that with Before nil.
func (s *Store) Person(ctx context.Context, id roster.UserID) (*attention.Person, error) {
	raw, err := s.get(ctx, personKey(PartitionOf(string(id)), id))
	if err != nil && !isNil(err) {
		return nil, failed(err, "read what %s was told", id)
	}
	return decodePerson(id, raw, err == nil)
}

func decodePerson(id roster.UserID, raw []byte, there bool) (*attention.Person, error) {
	if !there {
		return &attention.Person{User: id}, nil
	}
	pre, body, err := open(raw)
	if err != nil {
		return nil, fmt.Errorf("read what %s was told: %w", id, err)
	}
	var m storepb.Person
	if err := pre.Form.read(body, &m); err != nil {
		return nil, fmt.Errorf("read what %s was told: %w", id, err)
	}
	return personFromProto(id, pre, &m), nil
}

// archived returns the archive of an incident, nil when it is not archived or not there.
func (s *Store) archived(ctx context.Context, id incident.ID) (*archive, error) {
	_, a, err := s.load(ctx, id)
	if fault.KindOf(err) == fault.NotFound {
		return nil, nil
	}
	return a, err
}

func decodeAlert(field, raw, title string) (incident.Alert, error) {
	var m storepb.Alert
	if err := readRecord(raw, &m); err != nil {
		return incident.Alert{}, err
	}
	service, key, _ := strings.Cut(field, "\x00")
	m.Service, m.Key = service, key
	if m.GetTitled() {
		m.Summary = title
	}
	return alertFromProto(&m), nil
}

// Linked returns which incident each dedup key of a service leads to. Keys that
// lead nowhere are absent.
func (s *Store) Linked(ctx context.Context, service catalog.ServiceID, keys ...string) (map[string]incident.ID, error) {
	linked := make(map[string]incident.ID, len(keys))
	if len(keys) == 0 {
		return linked, nil
	}
	ids, err := s.rdb.HMGet(ctx, keysKey(PartitionOf(string(service)), service), keys...).Result()
	if err != nil {
		return nil, failed(err, "look up dedup keys of service %s", service)
	}
	for i, id := range ids {
		if id, ok := id.(string); ok {
			linked[keys[i]] = incident.ID(id)
		}
	}
	return linked, nil
}

// LinkedKey names a dedup key of a service.
type LinkedKey struct {
	Service catalog.ServiceID
	Key     string
}

// LinkedAll is [Store.Linked] for the keys of many services, in one trip. A key
// is named once.
func (s *Store) LinkedAll(ctx context.Context, keys []LinkedKey) (map[LinkedKey]incident.ID, error) {
	linked := make(map[LinkedKey]incident.ID, len(keys))
	if len(keys) == 0 {
		return linked, nil
	}
	pipe := s.rdb.Pipeline()
	of := map[catalog.ServiceID][]string{}
	for _, k := range keys {
		of[k.Service] = append(of[k.Service], k.Key)
	}
	cmds := make(map[catalog.ServiceID]*redis.SliceCmd, len(of))
	for service, names := range of {
		cmds[service] = pipe.HMGet(ctx, keysKey(PartitionOf(string(service)), service), names...)
	}
	if err := s.lookups.travel(ctx, pipe); err != nil {
		return nil, failed(err, "look up %d dedup keys", len(keys))
	}
	for service, cmd := range cmds {
		for i, id := range cmd.Val() {
			if id, ok := id.(string); ok {
				linked[LinkedKey{Service: service, Key: of[service][i]}] = incident.ID(id)
			}
		}
	}
	return linked, nil
}

// Timeline returns entries of an incident from sequence number from on (1 is the
// first), at most n, all of them when n is 0.
func (s *Store) Timeline(ctx context.Context, id incident.ID, from, n int) ([]incident.Entry, error) {
	p, err := PartitionOfIncident(id)
	if err != nil {
		return nil, err
	}
	from = max(from, 1)
	last := int64(-1)
	if n > 0 {
		last = int64(from + n - 2)
	}
	raw, err := s.rdb.LRange(ctx, timelineKey(p, id), int64(from-1), last).Result()
	if err != nil {
		return nil, failed(err, "read the timeline of incident %s", id)
	}
	if len(raw) == 0 {
		a, err := s.archived(ctx, id)
		if a == nil || err != nil || from > len(a.timeline) {
			return nil, err
		}
		end := len(a.timeline)
		if n > 0 {
			end = min(end, from-1+n)
		}
		return a.timeline[from-1 : end], nil
	}
	return decodeTimeline(id, raw)
}

func decodeTimeline(id incident.ID, raw []string) ([]incident.Entry, error) {
	entries := make([]incident.Entry, len(raw))
	for i, r := range raw {
		var m storepb.Entry
		if err := readRecord(r, &m); err != nil {
			return nil, fmt.Errorf("read the timeline of incident %s: %w", id, err)
		}
		entries[i] = entryFromProto(&m)
	}
	return entries, nil
}

// LastEntry returns the last entry of an incident's timeline, which a further
// repeat may replace; false when there is none.
func (s *Store) LastEntry(ctx context.Context, id incident.ID) (incident.Entry, bool, error) {
	p, err := PartitionOfIncident(id)
	if err != nil {
		return incident.Entry{}, false, err
	}
	var last *redis.StringCmd
	err = s.trips.alone(ctx, func(pipe redis.Pipeliner) { last = pipe.LIndex(ctx, timelineKey(p, id), -1) })
	if isNil(err) {
		a, err := s.archived(ctx, id)
		if a == nil || err != nil || len(a.timeline) == 0 {
			return incident.Entry{}, false, err
		}
		return a.timeline[len(a.timeline)-1], true, nil
	}
	if err != nil {
		return incident.Entry{}, false, failed(err, "read the timeline of incident %s", id)
	}
	entries, err := decodeTimeline(id, []string{last.Val()})
	if err != nil {
		return incident.Entry{}, false, err
	}
	return entries[0], true, nil
}
