package world

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/check"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/ledger"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/redisset"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// Find reads the whole state out of Redis: the incidents as the store decodes
// them, and the indexes key by key, as ARCHITECTURE.md names them, so that an
// index that is wrong cannot hide what it leads to.
func (w *World) Find(ctx context.Context) (check.Found, error) {
	f := check.Found{
		At: time.Now(), Linked: map[store.LinkedKey]incident.ID{}, Open: map[incident.ID]bool{},
		Timers: map[incident.ID]time.Time{}, Beside: map[incident.ID][]string{},
	}
	s, err := store.Open(ctx, store.Options{URL: w.storeURL()})
	if err != nil {
		return f, err
	}
	defer func() { _ = s.Close() }()
	err = w.Redis.EachMaster(ctx, func(n *redisset.Node) error {
		keys := n.Client.Scan(ctx, 0, "*", 1000).Iterator()
		for keys.Next(ctx) {
			if err := w.take(ctx, s, keys.Val(), &f); err != nil {
				return fmt.Errorf("read %s: %w", keys.Val(), err)
			}
		}
		return keys.Err()
	})
	if err != nil {
		return f, err
	}
	return f, leftOvers(ctx, s, &f)
}

// lasting are the keys that are there for as long as the installation, by the
// names that ARCHITECTURE.md has for them. All others that no incident or person
// has end by themselves.
var lasting = strings.Fields("in fence sv pe wk wt closed feed u ds dlq drop dropn raw meta r log audit rev loglow number members leases format drill drills of open read at") //nolint:gochecknoglobals // look-up table

// take reads one key.
func (w *World) take(ctx context.Context, s *store.Store, key string, f *check.Found) error {
	_, rest, _ := strings.Cut(key, "}:")
	kind, id, _ := strings.Cut(rest, ":")
	if kind == "dv" && strings.HasPrefix(id, "u:") {
		return nil // a person's
	}
	switch kind {
	case "i":
		r, err := s.Record(ctx, incident.ID(id))
		if err != nil {
			return err
		}
		f.Records = append(f.Records, r)
	case "tl", "al", "dv":
		f.Beside[incident.ID(id)] = append(f.Beside[incident.ID(id)], key)
	case "dd":
		return w.links(ctx, key, catalog.ServiceID(id), f)
	case "open":
		return w.openOnes(ctx, key, f)
	case "tm":
		return w.timers(ctx, key, f)
	default:
		if !slices.Contains(lasting, kind) {
			return w.fleeting(ctx, key, f)
		}
	}
	return nil
}

// fleeting sees whether a key ends by itself.
func (w *World) fleeting(ctx context.Context, key string, f *check.Found) error {
	left, err := w.Redis.Client.TTL(ctx, key).Result()
	if left == -1 { // go-redis' word for a key without an end
		f.Endless = append(f.Endless, key)
	}
	return err
}

func (w *World) links(ctx context.Context, key string, service catalog.ServiceID, f *check.Found) error {
	all, err := w.Redis.Client.HGetAll(ctx, key).Result()
	for k, id := range all {
		f.Linked[store.LinkedKey{Service: service, Key: k}] = incident.ID(id)
	}
	return err
}

func (w *World) openOnes(ctx context.Context, key string, f *check.Found) error {
	all, err := w.Redis.Client.ZRange(ctx, key, 0, -1).Result()
	for _, id := range all {
		f.Open[incident.ID(id)] = true
	}
	return err
}

func (w *World) timers(ctx context.Context, key string, f *check.Found) error {
	var all []redis.Z
	all, err := w.Redis.Client.ZRangeWithScores(ctx, key, 0, -1).Result()
	for _, z := range all {
		member, _ := z.Member.(string)
		if id, ok := strings.CutPrefix(member, "i:"); ok {
			f.Timers[incident.ID(id)] = time.UnixMilli(int64(z.Score))
		}
	}
	return err
}

// leftOvers finds what was given up.
func leftOvers(ctx context.Context, s *store.Store, f *check.Found) error {
	stats, err := s.Stats(ctx)
	if err != nil {
		return err
	}
	for _, p := range stats {
		if p.Dead == 0 {
			continue
		}
		dead, err := s.DeadLetters(ctx, p.Partition, "", 100)
		if err != nil {
			return err
		}
		for _, d := range dead {
			f.Dead = append(f.Dead, fmt.Sprintf("%+v", d))
		}
	}
	return nil
}

// Waiting is how many accepted events and items of work are not done.
func (w *World) Waiting(ctx context.Context) (inbox, work int, err error) {
	s, err := store.Open(ctx, store.Options{URL: w.storeURL()})
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = s.Close() }()
	stats, err := s.Stats(ctx)
	for _, p := range stats {
		inbox, work = inbox+p.Inbox, work+p.Work
	}
	return inbox, work, err
}

// List asks the API for all incidents.
func (w *World) List(ctx context.Context) (map[incident.ID]incident.Status, error) {
	all := map[incident.ID]incident.Status{}
	api := pb.NewIncidentServiceClient(w.Instances[0].Console)
	for token := ""; ; {
		page, err := api.ListIncidents(ctx, &pb.ListIncidentsRequest{PageSize: 200, PageToken: token, Scope: pb.ListIncidentsRequest_SCOPE_ALL})
		if err != nil {
			return nil, fmt.Errorf("list the incidents: %w", err)
		}
		for _, in := range page.GetIncidents() {
			status := incident.Triggered
			switch in.GetState() {
			case pb.Incident_STATE_ACKNOWLEDGED:
				status = incident.Acknowledged
			case pb.Incident_STATE_RESOLVED:
				status = incident.Resolved
			default:
			}
			all[incident.ID(strings.TrimPrefix(in.GetName(), "incidents/"))] = status
		}
		if token = page.GetNextPageToken(); token == "" {
			return all, nil
		}
	}
}

// Look notes open incidents as they are, until ctx ends. What cannot be read
// meanwhile is not noted.
func (w *World) Look(ctx context.Context) error {
	s, err := store.Open(ctx, store.Options{URL: w.storeURL()})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	for {
		pause(ctx, 500*time.Millisecond)
		if ctx.Err() != nil {
			return nil
		}
		one, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := w.look(one, s)
		cancel()
		if err != nil && errors.Is(ctx.Err(), context.Canceled) {
			return nil
		}
	}
}

func (w *World) look(ctx context.Context, s *store.Store) error {
	page, err := s.List(ctx, store.Query{Statuses: []incident.Status{incident.Triggered, incident.Acknowledged}, PageSize: 200}, "")
	if err != nil {
		return err
	}
	now := time.Now()
	for _, in := range page.Incidents {
		w.o.Ledger.Look(ledger.Look{
			At: now, Incident: string(in.ID), Revision: in.Revision, Generation: in.Generation, Version: in.Version, Seq: in.Seq,
		})
	}
	return nil
}

// ownersEvery is how often it is looked who owns what.
const ownersEvery = 200 * time.Millisecond

// unseenFor is how long a partition can have no other owner in between unseen.
const unseenFor = time.Second

// WatchOwners notes when a partition changes its owner, until ctx ends. What
// cannot be read meanwhile is not noted.
func (w *World) WatchOwners(ctx context.Context) error {
	s, err := store.Open(ctx, store.Options{URL: w.storeURL()})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	var last [store.Partitions]int
	for i := range last {
		last[i] = -1
	}
	for seen := time.Now(); ; {
		pause(ctx, ownersEvery)
		if ctx.Err() != nil {
			return nil
		}
		one, cancel := context.WithTimeout(ctx, 2*time.Second)
		m, err := s.Membership(one)
		cancel()
		if err != nil {
			continue
		}
		now := time.Now()
		if now.Sub(seen) > unseenFor {
			w.o.Ledger.Blind(ledger.Blind{From: seen, To: now})
		}
		seen = now
		for p, owner := range w.owners(m) {
			if owner != last[p] {
				w.o.Ledger.Lease(ledger.Lease{At: now, Partition: p, Instance: owner})
				last[p] = owner
			}
		}
	}
}

// owners returns the number of the instance that owns each partition; -1 for none.
func (w *World) owners(m store.Membership) (all [store.Partitions]int) {
	numbers := map[string]int{}
	for _, member := range m.Members {
		for _, in := range w.Instances {
			if in.config.PublicURL == member.Address {
				numbers[member.Instance] = in.Number
			}
		}
	}
	for p, lease := range m.Leases {
		all[p] = -1
		if n, ok := numbers[lease.Owner]; ok {
			all[p] = n
		}
	}
	return all
}
