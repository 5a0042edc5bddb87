package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// takeOver is how long the partitions of a dead instance may rest (architecture:
// dead after 3 s of silence, taken over within 5 s), and what a busy machine adds.
const takeOver, busy = 5 * time.Second, 3 * time.Second

// manyServices is an organisation whose services lie in many partitions.
func manyServices(n int) string {
	var b strings.Builder
	head, _, _ := strings.Cut(organisation, "services:")
	b.WriteString(head + "services:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - {id: s%d, name: S%d, escalation_policy: shop, integrations: [{id: m%d, source: generic, key: %s}]}\n", i, i, i, keyOf(i))
	}
	b.WriteString("settings: {organization: Example, catch_all: [cy]}\n")
	return b.String()
}

func keyOf(i int) string { return fmt.Sprintf("k%031d", i) }

func TestAnotherInstanceTakesOver(t *testing.T) {
	const services = 24
	w := newWorld(t, redistest.Start(t).URL())
	phone := pushtest.NewPhone(pushtest.PhoneOptions{Name: "ann"})
	t.Cleanup(phone.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	kept, err := w.prepareAs(ctx, phone, manyServices(services))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kept.Close() })
	var children [2]*child
	for i := range children {
		if children[i], err = w.spawn(t.TempDir()); err != nil {
			t.Fatal(err)
		}
	}
	defer children[1].end()
	if err := shared(ctx, kept, 2); err != nil {
		t.Fatal(err)
	}
	// Both take events in; the first dies in the middle of it.
	for i := range services {
		if i == services/2 {
			_ = children[0].cmd.Process.Kill()
		}
		if err := post(ctx, children[1].address, keyOf(i), "trigger", fmt.Sprint("db", i)); err != nil {
			t.Fatal(err)
		}
	}
	died := time.Now()
	<-children[0].gone
	if err := incidents(ctx, kept, services, incident.Triggered); err != nil {
		t.Fatal(err)
	}
	took := time.Since(died)
	t.Logf("everything that was accepted is an incident %s after the death", took.Round(time.Millisecond))
	if took > takeOver+busy {
		t.Errorf("the partitions rested for %s, want %s at most", took, takeOver)
	}
	if _, err := phone.Wait(ctx, page); err != nil {
		t.Errorf("nobody was paged: %v", err)
	}
}

// TestPartitionsAreGivenBack stops one of two instances in order: the other one
// goes on at once, without waiting for a missed heartbeat.
func TestPartitionsAreGivenBack(t *testing.T) {
	w := newWorld(t, redistest.Start(t).URL())
	first := w.start()
	first.apply(organisation)
	second := w.start()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := shared(ctx, first.server.store, 2); err != nil {
		t.Fatal(err)
	}
	first.stop()
	began := time.Now()
	for len(second.server.engine.Owned()) < store.Partitions {
		if !again(ctx) {
			t.Fatalf("the second instance owns %d partitions, want all", len(second.server.engine.Owned()))
		}
	}
	if took := time.Since(began); took > store.DeadAfter {
		t.Errorf("taking over from an instance that left took %s, want less than %s", took, store.DeadAfter)
	}
}

// shared returns when n instances own partitions, and all are owned.
func shared(ctx context.Context, s *store.Store, n int) error {
	for {
		m, err := s.Membership(ctx)
		owners := map[string]int{}
		for _, l := range m.Leases {
			owners[l.Owner]++
		}
		if err == nil && len(owners) == n && owners[""] == 0 {
			return nil
		}
		if !again(ctx) {
			return errors.Join(fmt.Errorf("%d instances do not share the partitions: %v", n, owners), err)
		}
	}
}

// incidents returns when there are n of that status.
func incidents(ctx context.Context, s *store.Store, n int, status incident.Status) error {
	for {
		list, err := s.List(ctx, store.Query{Statuses: []incident.Status{status}, PageSize: 200}, "")
		if err == nil && len(list.Incidents) == n {
			return nil
		}
		if !again(ctx) {
			return errors.Join(fmt.Errorf("there are %d incidents, want %d", len(list.Incidents), n), err)
		}
	}
}

// TestStoppingFinishesWhatIsInFlight stops a server while Apple takes its time
// over a page: the page is recorded as accepted, and the next server does not
// send it again.
func TestStoppingFinishesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	first := w.start()
	first.apply(organisation)
	ann := first.enrol(w, "ann", roster.IOS)
	asked := make(chan struct{}, 16)
	w.apple.Decide(func(pushtest.Request) (pushtest.Answer, bool) {
		asked <- struct{}{}
		return pushtest.After(500*time.Millisecond, pushtest.Accept()), true
	})
	first.send("trigger", "db", "disk full")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	select {
	case <-asked:
	case <-ctx.Done():
		t.Fatal("Apple was never asked")
	}
	if n := len(ann.Got()); n != 0 {
		t.Fatalf("the phone has %d pushes already; nothing is in flight", n)
	}
	first.stop()
	n := gets(t, ann, "the page", page)
	second := w.start()
	second.forward(w, 0)
	all, err := second.server.store.Deliveries(ctx, store.IncidentDoc(incident.ID(n.IncidentID)))
	if err != nil || len(all) != 1 || all[0].State != incident.DeliveryAccepted {
		t.Errorf("the page is recorded as %+v (%v), want one that was accepted", all, err)
	}
	if got := w.apple.Count(); got != 1 {
		t.Errorf("Apple was asked %d times, want once", got)
	}
}
