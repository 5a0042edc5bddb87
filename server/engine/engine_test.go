package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/engine"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/incident/incidenttest"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/respond"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }

// house is what several instances share: one Redis, one configuration, one
// record of the work that was done.
type house struct {
	t     *testing.T
	url   string
	world *world
	log   slog.Handler
	ring  int // of the stores, bytes; 0: none

	mu    sync.Mutex
	works []incident.Work  // that were done
	items []store.WorkItem // the same, as they came
	seen  *sync.Cond
}

// instance is one engine with everything around it.
type instance struct {
	*house
	store  *store.Store
	desk   *respond.Desk
	engine *engine.Engine
	stop   context.CancelFunc
	ended  chan struct{}
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, url: redistest.Start(t).URL(), world: newWorld(), log: slog.DiscardHandler}
	h.seen = sync.NewCond(&h.mu)
	return h
}

func (h *house) start() *instance {
	h.t.Helper()
	s, err := store.Open(h.t.Context(), store.Options{URL: h.url, Ring: h.ring})
	if err != nil {
		h.t.Fatal(err)
	}
	i := &instance{house: h, store: s, ended: make(chan struct{})}
	i.desk = &respond.Desk{Store: s, View: func() incident.View { return h.world }, Now: time.Now}
	i.engine = engine.New(engine.Config{
		Store: s, Desk: i.desk, Directory: h.world, Notifier: i,
		Log: slog.New(h.log), Metrics: engine.NewMetrics(prometheus.NewRegistry()),
	})
	i.desk.Committed = i.engine.Committed
	ctx, stop := context.WithCancel(context.Background())
	i.stop = stop
	go func() {
		defer close(i.ended)
		if err := i.engine.Run(ctx); err != nil {
			h.t.Errorf("engine ended: %v", err)
		}
	}()
	h.t.Cleanup(func() { stop(); <-i.ended; _ = s.Close() })
	return i
}

// Do implements engine.Notifier: it remembers the work.
func (i *instance) Do(_ context.Context, item store.WorkItem, done func(error)) {
	i.mu.Lock()
	i.works, i.items = append(i.works, item.Work), append(i.items, item)
	i.seen.Broadcast()
	i.mu.Unlock()
	done(nil)
}

func (i *instance) Tick(context.Context, store.Doc, time.Time) error { return nil }

// await waits until the work that was done satisfies the condition.
func (h *house) await(what string, ok func([]incident.Work) bool) {
	h.t.Helper()
	timeout := time.AfterFunc(20*time.Second, func() { h.mu.Lock(); h.seen.Broadcast(); h.mu.Unlock() })
	defer timeout.Stop()
	deadline := time.Now().Add(20 * time.Second)
	h.mu.Lock()
	defer h.mu.Unlock()
	for !ok(h.works) {
		if time.Now().After(deadline) {
			h.t.Fatalf("never happened: %s; done was %+v", what, h.works)
		}
		h.seen.Wait()
	}
}

func paged(user roster.UserID) func([]incident.Work) bool {
	return func(ws []incident.Work) bool { return count(ws, incident.WorkPage, user) > 0 }
}

func count(ws []incident.Work, kind incident.WorkKind, user roster.UserID) int {
	n := 0
	for _, w := range ws {
		if w.Kind == kind && (user == "" || w.User == user) {
			n++
		}
	}
	return n
}

func (i *instance) send(service catalog.ServiceID, key string, a event.Action) {
	i.t.Helper()
	err := i.engine.Accept(i.t.Context(), []store.InboxEntry{{
		Service: service, Integration: "am", Key: key, Received: time.Now(),
		Event: event.Event{Action: a, DedupKey: key, Summary: "disk full", Severity: event.Critical},
	}})
	if err != nil {
		i.t.Fatalf("accept %s of %s: %v", a, key, err)
	}
}

func (i *instance) find(service catalog.ServiceID, key string) *incident.Incident {
	i.t.Helper()
	linked, err := i.store.Linked(i.t.Context(), service, key)
	if err != nil {
		i.t.Fatal(err)
	}
	in, err := i.store.Incident(i.t.Context(), linked[key])
	if err != nil {
		i.t.Fatalf("incident of key %s: %v", key, err)
	}
	return in
}

func TestEventPagesEscalatesAndIsAcknowledged(t *testing.T) {
	h := newHouse(t)
	i := h.start()
	i.send("shop", "k", event.Trigger)
	h.await("ann is paged", paged("ann"))
	h.await("bo is paged when ann does not answer", paged("bo"))
	in := i.find("shop", "k")
	if _, err := i.desk.Do(t.Context(), in.ID, incident.Acknowledge{By: incident.Actor{Kind: incident.ActorUser, ID: "bo"}}, respond.Options{}); err != nil {
		t.Fatal(err)
	}
	h.await("the cards are replaced", func(ws []incident.Work) bool { return count(ws, incident.WorkReplace, "") > 0 })
	i.send("shop", "k", event.Resolve)
	h.await("the cards are replaced again", func(ws []incident.Work) bool { return count(ws, incident.WorkReplace, "") > 1 })
	linked, err := i.store.Linked(t.Context(), "shop", "k")
	if err != nil || linked["k"] != "" {
		t.Errorf("after the resolve the key leads to %q (%v), want nowhere", linked["k"], err)
	}
}

func TestTwoHundredTriggersAreOneIncident(t *testing.T) {
	h := newHouse(t)
	one, two := h.start(), h.start()
	var wg sync.WaitGroup
	for n := range 200 {
		i := one
		if n%2 == 1 {
			i = two
		}
		wg.Go(func() { i.send("shop", "same", event.Trigger) })
	}
	wg.Wait()
	h.await("ann is paged", paged("ann"))
	one.settled()
	in := one.find("shop", "same")
	alerts, err := one.store.Alerts(t.Context(), in.ID)
	if err != nil || len(alerts) != 1 || alerts[0].Count != 200 {
		t.Errorf("alerts %+v (%v), want one that counts 200", alerts, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := count(h.works, incident.WorkPage, "ann"); n != 1 {
		t.Errorf("ann was paged %d times, want once", n)
	}
}

// settled waits until nothing is left in any inbox.
func (i *instance) settled() {
	i.t.Helper()
	var all []store.Partition
	for p := range store.Partition(store.Partitions) {
		all = append(all, p)
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		pulses, err := i.store.Pulse(i.t.Context(), all)
		if err != nil {
			i.t.Fatal(err)
		}
		n := 0
		for _, p := range pulses {
			n += p.Inbox + p.Work
		}
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			i.t.Fatalf("%d entries are left: %+v", n, pulses)
		}
	}
}

func TestPartitionsAreTakenOver(t *testing.T) {
	h := newHouse(t)
	one, two := h.start(), h.start()
	deadline := time.Now().Add(15 * time.Second)
	for len(one.engine.Owned())+len(two.engine.Owned()) != store.Partitions || len(two.engine.Owned()) == 0 {
		if time.Now().After(deadline) {
			t.Fatalf("one owns %d and two owns %d partitions", len(one.engine.Owned()), len(two.engine.Owned()))
		}
		<-time.After(20 * time.Millisecond)
	}
	one.stop()
	<-one.ended
	for n := range 40 {
		two.send(catalog.ServiceID(fmt.Sprintf("s%d", n)), "k", event.Trigger)
	}
	h.await("every event pages although one instance is gone", func(ws []incident.Work) bool {
		return count(ws, incident.WorkPage, "ann") >= 40
	})
}

func TestHeldPagingWaitsAndGoesOn(t *testing.T) {
	h := newHouse(t)
	i := h.start()
	h.world.hold(true)
	i.send("shop", "k", event.Trigger)
	i.send("shop", "other", event.Trigger)
	i.stored("shop", "k")
	i.stored("shop", "other")
	h.mu.Lock()
	if n := count(h.works, incident.WorkPage, ""); n != 0 {
		t.Errorf("%d pages went out while paging is held", n)
	}
	h.mu.Unlock()
	h.world.hold(false)
	h.await("both incidents page after the resume", func(ws []incident.Work) bool { return count(ws, incident.WorkPage, "ann") == 2 })
	h.await("and escalate", paged("bo"))
}

// TestTimersDoNotWaitForEvents: every turn to decide events is taken and none
// of them ends; what is due is decided all the same, and then the events are.
func TestTimersDoNotWaitForEvents(t *testing.T) {
	h := newHouse(t)
	i := h.start()
	h.world.hold(true) // what the incident leads to waits until the storm is there
	i.send("shop", "k", event.Trigger)
	i.stored("shop", "k")
	stuck, let := make(chan struct{}, 1000), make(chan struct{})
	h.world.stall(func() { stuck <- struct{}{}; <-let })
	services := []catalog.ServiceID{"shop"}
	for n := range 200 {
		services = append(services, catalog.ServiceID(fmt.Sprint("storm", n)))
	}
	for _, s := range services {
		i.send(s, "storm", event.Trigger)
	}
	for range engine.InboxTurns {
		<-stuck
	}
	h.world.hold(false)
	h.await("ann is paged in the middle of the storm", paged("ann"))
	h.await("and bo, when she does not answer", paged("bo"))
	h.world.stall(func() {})
	close(let)
	for _, s := range services {
		i.stored(s, "storm")
	}
}

// TestEventsDoNotWaitForAnotherMaster: every turn at one master of a cluster is
// taken and none of them ends, as it is when that one hangs; events of the others
// are decided all the same.
func TestEventsDoNotWaitForAnotherMaster(t *testing.T) {
	c := redistest.StartCluster(t, 3, 0)
	h := newHouse(t)
	h.url = c.URL()
	i := h.start()
	var here, there []catalog.ServiceID // services of one master, and of the others
	sick := i.store.Home(t.Context(), 0)
	for n := range 200 {
		s := catalog.ServiceID(fmt.Sprint("storm", n))
		if i.store.Home(t.Context(), store.PartitionOf(string(s))) == sick {
			here = append(here, s)
		} else {
			there = append(there, s)
		}
	}
	stuck, let := make(chan struct{}, 1000), make(chan struct{})
	goOn := sync.OnceFunc(func() { close(let) })
	defer goOn()
	h.world.stall(func() { stuck <- struct{}{}; <-let })
	for _, s := range here {
		i.send(s, "k", event.Trigger)
	}
	for range engine.InboxTurns {
		<-stuck
	}
	h.world.stall(func() {})
	for _, s := range there {
		i.send(s, "k", event.Trigger)
	}
	for _, s := range there {
		i.stored(s, "k")
	}
	goOn()
	for _, s := range here {
		i.stored(s, "k")
	}
}

// stored waits until the key has an incident.
func (i *instance) stored(service catalog.ServiceID, key string) {
	i.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		linked, err := i.store.Linked(i.t.Context(), service, key)
		if err != nil {
			i.t.Fatal(err)
		}
		if linked[key] != "" {
			return
		}
		if time.Now().After(deadline) {
			i.t.Fatalf("the event of key %s was never decided", key)
		}
	}
}

func TestMergedKeysLeadToTheTarget(t *testing.T) {
	h := newHouse(t)
	i := h.start()
	services := []catalog.ServiceID{"s1", "s2", "s3", "s4"}
	for _, s := range services {
		i.send(s, "k", event.Trigger)
	}
	h.await("four incidents page", func(ws []incident.Work) bool { return count(ws, incident.WorkPage, "ann") >= 4 })
	target := i.find("s1", "k")
	var sources []incident.ID
	for _, s := range services[1:] {
		sources = append(sources, i.find(s, "k").ID)
	}
	by := incident.Actor{Kind: incident.ActorUser, ID: "ann"}
	if _, err := i.desk.Merge(t.Context(), target.ID, sources, by, respond.Options{}); err != nil {
		t.Fatal(err)
	}
	for _, s := range services {
		i.send(s, "k", event.Resolve)
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		in, err := i.store.Incident(t.Context(), target.ID)
		if err != nil {
			t.Fatal(err)
		}
		if in.Status == incident.Resolved {
			if in.Cause != incident.CauseAlerts {
				t.Errorf("cause %v, want that all alerts were resolved", in.Cause)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the target has %d open alerts of %d after all four were resolved", in.AlertsOpen, in.AlertsTotal)
		}
		<-time.After(10 * time.Millisecond)
	}
	i.settled()
	i.send("s3", "k", event.Trigger) // the merge is over: a new incident, where the service is at home
	h.await("the key pages again", func(ws []incident.Work) bool { return count(ws, incident.WorkPage, "ann") >= 5 })
	if in := i.find("s3", "k"); in.Service != "s3" || in.ID == target.ID {
		t.Errorf("a trigger after the merge was resolved went to %s of service %s", in.ID, in.Service)
	}
}

// world is the configuration: every service asks ann, then bo.
type world struct {
	*incidenttest.World

	held   atomic.Bool
	behind atomic.Pointer[func()] // what catching up waits for
}

func (w *world) hold(on bool) { w.held.Store(on) }

func (w *world) Settings() catalog.Settings {
	s := w.World.Settings()
	s.Held = w.held.Load()
	return s
}

func newWorld() *world {
	w := incidenttest.New()
	w.AnyService = &catalog.Service{Name: "any", Policy: "night", Urgency: catalog.UrgencyHigh}
	w.Speed.FastestLevel = time.Millisecond
	w.SetPolicy("night", 0, incidenttest.Level(300*time.Millisecond, "ann"), incidenttest.Level(time.Hour, "bo"))
	return &world{World: w}
}

// stall has every decision about an event wait for f.
func (w *world) stall(f func()) { w.behind.Store(&f) }

func (w *world) CatchUp(context.Context, string) error {
	if f := w.behind.Load(); f != nil {
		(*f)()
	}
	return nil
}

func (*world) Revision() string { return "" }
