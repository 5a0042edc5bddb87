package app

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/server/admission"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/store"
)

const (
	gateLook = 100 * time.Millisecond // between looks at what waits where much does
	gatePace = time.Second            // between measurements of how fast events are decided
	gateTell = time.Minute            // between log lines about who is refused
	mostTold = 10                     // senders named in one
	// inboxLimit is where the store refuses events, whoever sends them: the gate's
	// room for a partition and the reserve beside it.
	inboxLimit = 30_000
	// refusalPause is how long a refused sender waits for its answer.
	refusalPause = 250 * time.Millisecond
)

func newGate(l admission.Limits, now func() time.Time) *admission.Gate {
	return admission.New(admission.Config{
		Limits: l, Partition: func(service string) int { return int(store.PartitionOf(service)) }, Now: now,
	})
}

// watchGate tells the gate what waits while much does, and the operator who is
// refused, until ctx ends.
func (s *server) watchGate(ctx context.Context) error {
	look, pace, tell := time.NewTicker(gateLook), time.NewTicker(gatePace), time.NewTicker(gateTell)
	look.Stop() // until there is something to see
	crowding := s.gate.Crowding()
	defer look.Stop()
	defer pace.Stop()
	defer tell.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-crowding:
			look.Reset(gateLook)
			crowding = nil // it has been heard
		case <-look.C:
			if !s.observeInboxes(ctx) {
				look.Stop()
				crowding = s.gate.Crowding()
			}
		case <-pace.C:
			s.gate.Measure()
		case <-tell.C:
			for _, r := range first(s.gate.Told(), mostTold) {
				s.log.WarnContext(ctx, "events are refused", slog.String("why", because(r.Reason)), slog.String("integration", r.Key),
					slog.String("service", r.Service), slog.String("limit", string(r.Reason)), slog.Int("requests", r.Times), slog.Time("since", r.Since))
			}
		}
	}
}

// observeInboxes tells the gate what waits where much does, and returns whether
// it does anywhere.
func (s *server) observeInboxes(ctx context.Context) bool {
	crowded := s.gate.Crowded()
	if len(crowded) == 0 {
		return false
	}
	ps := make([]store.Partition, len(crowded))
	for i, p := range crowded {
		ps[i] = store.Partition(p) //nolint:gosec // it was one
	}
	lengths, err := s.store.Waiting(ctx, ps)
	if err != nil {
		return true // Redis is out, which others tell; nothing gets in meanwhile
	}
	for i, n := range lengths {
		s.gate.Observe(crowded[i], n)
	}
	return true
}

// storms says who is refused at the moment, for the status.
func (s *server) storms() []string {
	var all []string
	book := s.directory.Snapshot()
	for _, r := range first(s.gate.Storming(), mostTold) {
		name := r.Service
		if svc, ok := book.Service(catalog.ServiceID(r.Service)); ok {
			name = svc.Name
		}
		all = append(all, fmt.Sprintf("Events of integration %s (%s) are refused since %s: %s. Whoever sends them is told to come again.",
			r.Key, name, r.Since.UTC().Format(time.TimeOnly), because(r.Reason)))
	}
	return all
}

// because says what is the matter, and so where to look: a sender who is refused
// because Redis is full has done nothing.
func because(r admission.Reason) string {
	switch r {
	case admission.StoreFull:
		return "Redis is full"
	case admission.InboxFull, admission.Events, admission.Requests:
		return "there are more than can be taken on, of all senders (" + words(r) + ")"
	default:
		return "it sends more than its share (" + words(r) + "); look at what sends them"
	}
}

func words(r admission.Reason) string { return strings.ReplaceAll(string(r), "_", " ") }

func first[T any](all []T, n int) []T { return all[:min(len(all), n)] }
