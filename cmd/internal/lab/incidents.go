package lab

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/respond"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// Wanted is an incident that is to be there.
type Wanted struct {
	Service int // as [ServiceID] counts
	Created time.Time
	Key     string // dedup key of its alert
}

// Make opens n incidents by the rules of the product, without the events that
// would lead to them, many at a time. With done their pages are taken as sent.
func (s *Seed) Make(ctx context.Context, n int, done bool, want func(i int) Wanted) error {
	const atOnce = 256
	var wg sync.WaitGroup
	errs := make([]error, runtime.GOMAXPROCS(0)*2)
	for w := range errs {
		wg.Go(func() {
			for from := w * atOnce; from < n && errs[w] == nil; from += len(errs) * atOnce {
				errs[w] = s.make(ctx, from, min(from+atOnce, n), done, want)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (s *Seed) make(ctx context.Context, from, to int, done bool, want func(i int) Wanted) error {
	commits := make([]store.Commit, 0, to-from)
	for i := from; i < to; i++ {
		c, err := s.begin(want(i), int64(i+1))
		if err != nil {
			return fmt.Errorf("incident %d: %w", i, err)
		}
		commits = append(commits, c)
	}
	sent := map[store.Partition][]string{}
	for i, r := range s.Store.CommitAll(ctx, commits) {
		if r.Err != nil {
			return fmt.Errorf("incident %d: %w", from+i, r.Err)
		}
		for _, w := range r.Work {
			sent[w.Partition] = append(sent[w.Partition], w.ID)
		}
	}
	if !done {
		return nil
	}
	for p, ids := range sent {
		if err := s.Store.WorkDone(ctx, p, ids...); err != nil {
			return err
		}
	}
	return nil
}

// begin is the commit of a new incident.
func (s *Seed) begin(w Wanted, number int64) (store.Commit, error) {
	id := catalog.ServiceID(ServiceID(w.Service))
	service, ok := s.Directory.Snapshot().Service(id)
	if !ok {
		return store.Commit{}, fmt.Errorf("there is no service %s", id)
	}
	p := store.PartitionOf(string(id))
	dec, err := incident.Decide(nil, incident.Begin{
		ID: store.NewIncidentID(p, w.Created), Number: number, Service: service,
		By:    incident.Actor{Kind: incident.ActorSource, ID: "monitor", Via: "events"},
		Alert: incident.Alert{Service: id, Key: w.Key, Integration: "monitor", Count: 1},
		Event: event.Event{
			Action: event.Trigger, DedupKey: w.Key, Severity: event.Critical, Component: "checkout", Class: "HighErrorRate",
			Summary: fmt.Sprintf("Error rate of checkout above 5%% for 10 minutes on web-%d", w.Service),
			Source:  fmt.Sprintf("web-%d.example.com", w.Service), Details: []byte(`{"rate":"7.3%","threshold":"5%"}`),
		},
	}, view{s.Directory.Snapshot()}, w.Created)
	if err != nil {
		return store.Commit{}, err
	}
	c := respond.Commit(nil, dec)
	c.Partition = p
	c.Keys = []store.KeyGuard{{Service: id, Key: w.Key, Now: dec.Incident.ID}}
	return c, nil
}

// Decide is the commit that a command leads to, of an incident with these alerts.
func (s *Seed) Decide(in *incident.Incident, cmd incident.Command) (store.Commit, error) {
	dec, err := incident.Decide(in, cmd, view{s.Directory.Snapshot()}, time.Now())
	if err != nil {
		return store.Commit{}, err
	}
	return respond.Commit(in, dec), nil
}

// view is a snapshot as decisions see it.
type view struct{ *directory.Snapshot }

// Turn implements incident.View: no level takes turns.
func (view) Turn(escalation.PolicyID, int) (roster.UserID, bool) { return "", false }

// Silent implements incident.View.
func (view) Silent(roster.Platform) bool { return false }
