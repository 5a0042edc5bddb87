package respond_test

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/incident/incidenttest"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/respond"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }

func newDesk(t *testing.T) (*respond.Desk, *incidenttest.World) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{URL: redistest.Start(t).URL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	w := incidenttest.New()
	w.AnyService = &catalog.Service{Name: "any", Policy: "night"}
	return &respond.Desk{Store: s, View: func() incident.View { return w }, Now: time.Now}, w
}

func by(user string) incident.Actor { return incident.Actor{Kind: incident.ActorUser, ID: user} }

// begin makes an incident with one open alert for each key.
func begin(t *testing.T, d *respond.Desk, service catalog.ServiceID, keys ...string) *incident.Incident {
	t.Helper()
	svc, _ := d.View().Service(service)
	b := incident.Begin{
		ID: store.NewIncidentID(store.PartitionOf(string(service)), d.Now()), Service: svc, By: by("ann"),
		Event: event.Event{Summary: "disk full", Severity: event.Critical},
	}
	var guards []store.KeyGuard
	for _, k := range keys {
		b.Alerts = append(b.Alerts, incident.Alert{Service: service, Key: k, Open: true, Count: 1, Summary: k})
		guards = append(guards, store.KeyGuard{Service: service, Key: k, Now: b.ID})
	}
	in, err := d.Begin(t.Context(), b, guards, respond.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func leads(t *testing.T, d *respond.Desk, service catalog.ServiceID, key string) incident.ID {
	t.Helper()
	l, err := d.Store.Linked(t.Context(), service, key)
	if err != nil {
		t.Fatal(err)
	}
	return l[key]
}

func TestFiftyPhonesAcknowledgeAtOnce(t *testing.T) {
	d, w := newDesk(t)
	in := begin(t, d, "shop", "k")
	var wg sync.WaitGroup
	errs := make([]error, 50)
	for i := range errs {
		id := roster.UserID(fmt.Sprintf("p%d", i%5))
		w.Users[id] = roster.User{ID: id}
	}
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = d.Do(t.Context(), in.ID, incident.Acknowledge{By: by(fmt.Sprintf("p%d", i%5))}, respond.Options{})
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	after, err := d.Store.Incident(t.Context(), in.ID)
	if err != nil || len(after.Acks) != 5 {
		t.Errorf("%d acknowledgements (%v), want one of each of the five people", len(after.Acks), err)
	}
	entries, err := d.Store.Timeline(t.Context(), in.ID, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range entries {
		if e.Seq != i+1 {
			t.Errorf("entry %d has number %d", i+1, e.Seq)
		}
	}
}

func TestStaleEtagIsRefused(t *testing.T) {
	d, _ := newDesk(t)
	in := begin(t, d, "shop", "k")
	seen := respond.Options{Etag: in.Version}
	if _, err := d.Do(t.Context(), in.ID, incident.Acknowledge{By: by("ann")}, seen); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Do(t.Context(), in.ID, incident.Resolve{By: by("bo")}, seen); !errors.Is(err, respond.ErrStale) {
		t.Errorf("a resolve on what was seen before the acknowledgement: %v, want %v", err, respond.ErrStale)
	}
}

func TestRequestIsAnsweredOnce(t *testing.T) {
	d, _ := newDesk(t)
	in := begin(t, d, "shop", "k")
	o := respond.Options{Request: "ann/note/1", Answer: func(_, in *incident.Incident) []byte { return fmt.Appendf(nil, "seq %d", in.Seq) }}
	first, err := d.Do(t.Context(), in.ID, incident.AddNote{By: by("ann"), Text: "looking"}, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Do(t.Context(), in.ID, incident.AddNote{By: by("ann"), Text: "looking"}, o); !errors.Is(err, store.ErrRequestAnswered) {
		t.Errorf("the repeated request: %v, want %v", err, store.ErrRequestAnswered)
	}
	p, err := store.PartitionOfIncident(in.ID)
	if err != nil {
		t.Fatal(err)
	}
	got, ok, err := d.Store.Answer(t.Context(), p, o.Request)
	if want := fmt.Sprintf("seq %d", first.Seq); err != nil || !ok || string(got) != want {
		t.Errorf("the kept answer is %q, %v, %v; want %q", got, ok, err, want)
	}
}

func TestResolveForgetsTheKeysUnlessTheyReopen(t *testing.T) {
	d, w := newDesk(t)
	in := begin(t, d, "shop", "a", "b")
	if _, err := d.Do(t.Context(), in.ID, incident.Resolve{By: by("ann")}, respond.Options{}); err != nil {
		t.Fatal(err)
	}
	if id := leads(t, d, "shop", "a"); id != "" {
		t.Errorf("after the resolve the key leads to %s", id)
	}
	w.Services["flappy"] = catalog.Service{ID: "flappy", Policy: "night", ReopenWindow: time.Minute}
	in = begin(t, d, "flappy", "a")
	if _, err := d.Do(t.Context(), in.ID, incident.Resolve{By: by("ann")}, respond.Options{}); err != nil {
		t.Fatal(err)
	}
	if id := leads(t, d, "flappy", "a"); id != in.ID {
		t.Errorf("the key of a service that re-opens leads to %q, want %s", id, in.ID)
	}
}

func TestSplit(t *testing.T) {
	d, _ := newDesk(t)
	in := begin(t, d, "shop", "a", "b", "c")
	begun, err := d.Split(t.Context(), in.ID, respond.Part{Alerts: []string{"b"}, Title: "the other disk"}, by("ann"), respond.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if id := leads(t, d, "shop", "b"); id != begun.ID {
		t.Errorf("the key of the split alert leads to %s, want %s", id, begun.ID)
	}
	if begun.Text.Title != "the other disk" {
		t.Errorf("the new incident is called %q", begun.Text.Title)
	}
	old, err := d.Store.Incident(t.Context(), in.ID)
	if err != nil || old.AlertsTotal != 2 || begun.AlertsTotal != 1 || begun.Status != incident.Triggered {
		t.Errorf("after the split %d and %d alerts (%v)", old.AlertsTotal, begun.AlertsTotal, err)
	}
	for name, keys := range map[string][]string{"a key it does not have": {"z"}, "all of them": {"a", "c"}, "none": nil} {
		if _, err := d.Split(t.Context(), in.ID, respond.Part{Alerts: keys}, by("ann"), respond.Options{}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("splitting %s: %v, want invalid", name, err)
		}
	}
}

func TestMergeIsRefusedWhenTheTargetIsOver(t *testing.T) {
	d, _ := newDesk(t)
	target, source := begin(t, d, "s1", "a"), begin(t, d, "s2", "a")
	if _, err := d.Do(t.Context(), target.ID, incident.Resolve{By: by("ann")}, respond.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Merge(t.Context(), target.ID, []incident.ID{source.ID}, by("ann"), respond.Options{}); fault.KindOf(err) != fault.Precondition {
		t.Errorf("merging into a resolved incident: %v, want a precondition", err)
	}
	if _, err := d.Merge(t.Context(), source.ID, []incident.ID{source.ID}, by("ann"), respond.Options{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("merging an incident into itself: %v, want invalid", err)
	}
	if in, err := d.Store.Incident(t.Context(), source.ID); err != nil || !in.Open() {
		t.Errorf("a refused merge ended its source (%v)", err)
	}
}

func TestMergeTwiceIsMergeOnce(t *testing.T) {
	d, _ := newDesk(t)
	target, source := begin(t, d, "s1", "a"), begin(t, d, "s2", "a")
	for range 2 {
		if _, err := d.Merge(t.Context(), target.ID, []incident.ID{source.ID}, by("ann"), respond.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	in, err := d.Store.Incident(t.Context(), target.ID)
	if err != nil || in.AlertsTotal != 2 || in.AlertsOpen != 2 || len(in.Merged) != 1 {
		t.Errorf("after merging twice: %+v (%v)", in, err)
	}
	if id := leads(t, d, "s2", "a"); id != target.ID {
		t.Errorf("the key of the source leads to %s, want %s", id, target.ID)
	}
}

func TestRoundRobinTakesTurnsOverIncidents(t *testing.T) {
	d, w := newDesk(t)
	l := incidenttest.Level(time.Hour, "ann", "bo", "cy")
	l.Strategy = escalation.RoundRobin
	w.SetPolicy("night", 0, l)
	w.Mute("bo")
	var got []roster.UserID
	for i := range 6 {
		in := begin(t, d, "shop", fmt.Sprint(i))
		got = append(got, in.Assignees[0].User)
	}
	if want := "[ann cy ann cy ann cy]"; fmt.Sprint(got) != want {
		t.Errorf("asked %v, want %s: the one who cannot be reached is passed over", got, want)
	}
}

func TestAckAndEscalationAtTheSameInstant(t *testing.T) {
	d, w := newDesk(t)
	w.Speed.FastestLevel = 0
	w.SetPolicy("night", 0, incidenttest.Level(0, "ann"), incidenttest.Level(time.Hour, "bo"))
	for i := range 100 {
		in := begin(t, d, "shop", fmt.Sprintf("race%d", i))
		var wg sync.WaitGroup
		var acked *incident.Incident
		var ackErr, tickErr error
		wg.Go(func() {
			acked, ackErr = d.Do(t.Context(), in.ID, incident.Acknowledge{By: by("ann")}, respond.Options{})
		})
		wg.Go(func() { _, tickErr = d.Do(t.Context(), in.ID, incident.Tick{}, respond.Options{}) })
		wg.Wait()
		if err := errors.Join(ackErr, tickErr); err != nil {
			t.Fatal(err)
		}
		entries, err := d.Store.Timeline(t.Context(), in.ID, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		over := false
		for _, e := range entries {
			over = over || e.Type == incident.EntryAcknowledged
			if over && (e.Type == incident.EntryNotified || e.Type == incident.EntryEscalated) {
				t.Fatalf("after the acknowledgement the timeline has %+v", e)
			}
		}
		if acked.Status != incident.Acknowledged || !over {
			t.Fatalf("the acknowledgement was answered with status %v", acked.Status)
		}
	}
}
