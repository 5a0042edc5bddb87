package linear_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/incident/incidenttest"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/respond"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }

// pairs is how many are raced: a few with all tests, 10,000 by make chaos.
var pairs = flag.Int("pairs", 2000, "how many acknowledgements are raced against escalations")

// TestAcknowledgementsAgainstEscalations: an acknowledgement by one
// instance and an escalation by another come at the same instant, and pages of
// either level try to begin all the while. Whoever commits first wins, and
// after the acknowledgement has been answered no page begins.
func TestAcknowledgementsAgainstEscalations(t *testing.T) {
	w := incidenttest.New()
	w.AnyService = &catalog.Service{Name: "any", Policy: "night"}
	w.Speed.FastestLevel = 0
	w.SetPolicy("night", 0, incidenttest.Level(0, "ann"), incidenttest.Level(time.Hour, "bo"))
	desks := make([]*respond.Desk, 2)
	for i := range desks { // two instances, each with connections of its own
		s, err := store.Open(t.Context(), store.Options{URL: redistest.URL(t)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		desks[i] = &respond.Desk{Store: s, View: func() incident.View { return w }, Now: time.Now}
	}
	var escalated, began, refused atomic.Int64
	var all errgroup.Group
	all.SetLimit(32)
	for i := range *pairs {
		all.Go(func() error {
			r := race{desks: desks, service: catalog.ServiceID(fmt.Sprintf("service-%d", i))}
			if err := r.run(t); err != nil {
				return fmt.Errorf("pair %d: %w", i, err)
			}
			escalated.Add(r.escalated)
			began.Add(r.began)
			refused.Add(r.refused)
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d pairs: the escalation won %d; %d pages began, %d were refused", *pairs, escalated.Load(), began.Load(), refused.Load())
	if escalated.Load() == 0 || int(escalated.Load()) == *pairs || began.Load() == 0 || refused.Load() == 0 {
		t.Error("one side always won: nothing was raced")
	}
}

// race is one pair.
type race struct {
	desks   []*respond.Desk
	service catalog.ServiceID

	escalated, began, refused int64
}

func (r *race) run(t *testing.T) error {
	ctx, now := t.Context(), time.Now()
	id := store.NewIncidentID(store.PartitionOf(string(r.service)), now)
	svc, _ := r.desks[0].View().Service(r.service)
	in, err := r.desks[0].Begin(ctx, incident.Begin{
		ID: id, Service: svc, By: incident.System("test"), Event: event.Event{Summary: "disk full", Severity: event.Critical},
	}, nil, respond.Options{})
	if err != nil {
		return err
	}
	first := in.Generation
	var all sync.WaitGroup
	var ackErr, tickErr, sendErr error
	var answered atomic.Bool // the acknowledgement was
	var second atomic.Uint32 // generation of the next level's pages, once it is asked
	all.Go(func() {
		_, ackErr = r.desks[0].Do(ctx, id, incident.Acknowledge{By: incident.Actor{Kind: incident.ActorUser, ID: "ann"}}, respond.Options{})
		answered.Store(true)
	})
	all.Go(func() {
		var after *incident.Incident
		if after, tickErr = r.desks[1].Do(ctx, id, incident.Tick{}, respond.Options{}); tickErr == nil && after.Status == incident.Triggered {
			second.Store(after.Generation)
		}
	})
	all.Go(func() { sendErr = r.pages(t, id, first, &second, &answered) })
	all.Wait()
	if err := errors.Join(ackErr, tickErr, sendErr); err != nil {
		return err
	}
	entries, err := r.desks[0].Store.Timeline(ctx, id, 1, 0)
	if err != nil {
		return err
	}
	return r.read(entries)
}

// read looks at the order in which the two were committed.
func (r *race) read(entries []incident.Entry) error {
	over := false
	for _, e := range entries {
		switch e.Type {
		case incident.EntryAcknowledged:
			over = true
		case incident.EntryEscalated, incident.EntryNotified:
			if over {
				return fmt.Errorf("after the acknowledgement the timeline has %+v", e)
			}
			if e.Type == incident.EntryEscalated {
				r.escalated++
			}
		default:
		}
	}
	if !over {
		return errors.New("the acknowledgement is not in the timeline")
	}
	return nil
}

// pages begins pages of both levels again and again, and once more after the
// acknowledgement was answered.
func (r *race) pages(t *testing.T, id incident.ID, first uint32, second *atomic.Uint32, answered *atomic.Bool) error {
	for n := 0; ; n++ {
		taken := answered.Load()
		generations := []uint32{first}
		if g := second.Load(); g != 0 {
			generations = append(generations, g)
		}
		for _, generation := range generations {
			name, err := store.DeliveryID(store.IncidentDoc(id), fmt.Sprintf("%d/%d", generation, n), "phone")
			if err != nil {
				return err
			}
			begun, errs := r.desks[1].Store.BeginSend(t.Context(), time.Now(), []store.Send{{
				Doc: store.IncidentDoc(id), Generation: generation,
				Delivery: incident.Delivery{
					ID: name, User: "ann", Kind: roster.Push, Page: true, State: incident.DeliveryAttempted, Attempted: time.Now(),
				},
			}})
			if errs != nil {
				return errors.Join(errs...)
			}
			if begun[0] != store.BegunGo {
				r.refused++
				continue
			}
			r.began++
			if taken {
				return fmt.Errorf("a page of generation %d began after the acknowledgement had been answered", generation)
			}
		}
		if taken {
			return nil
		}
	}
}
