package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// A process died after it had begun a page: nobody knows whether the service
// has it. It is sent again, under the same id, as soon as nobody can be at it.
func TestDeathBetweenTheLastLookAndTheRecord(t *testing.T) {
	r := newRig(t)
	r.dir.only("iphone")
	in, work := r.trigger("Disk full", page("ann", roster.PushAll))
	j := job{work: work[0].Work, item: work[0]}
	doc := store.IncidentDoc(in.ID)
	id, err := store.DeliveryID(doc, j.name(), "iphone")
	if err != nil {
		t.Fatal(err)
	}
	begun, errs := r.store.BeginSend(t.Context(), r.now(), []store.Send{{Doc: doc, Generation: 1, Delivery: incident.Delivery{
		ID: id, Work: j.name(), User: "ann", Device: "iphone", Kind: roster.Push, State: incident.DeliveryAttempted, Attempted: r.now(),
	}}})
	if errs != nil || begun[0] != store.BegunGo {
		t.Fatalf("BeginSend = %v, %v", begun, errs)
	}
	ended := make(chan error, 1)
	r.n.Do(t.Context(), work[0], func(err error) { ended <- err })
	r.until("the person has been decided", func() bool {
		p, err := r.store.Person(t.Context(), "ann")
		return err == nil && len(p.Recent) == 1
	})
	if got := r.push.sent(push.KindPage); len(got) != 0 {
		t.Fatalf("pages = %d, want none while the other may still be sending", len(got))
	}
	r.advance(10 * time.Second)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if got := r.push.sent(push.KindPage); len(got) != 1 || got[0].Message.DeliveryID != id {
		t.Errorf("pages = %d, want one, under the id that it had", len(got))
	}
}

// deaf hears the first answer of the store to a page that begins only as an error.
type deaf struct {
	Ledger

	asked atomic.Int64
}

func (l *deaf) BeginSend(ctx context.Context, now time.Time, sends []store.Send) ([]store.Begun, []error) {
	begun, errs := l.Ledger.BeginSend(ctx, now, sends)
	if l.asked.Add(1) == 1 {
		return make([]store.Begun, len(sends)), slices.Repeat([]error{fault.New(fault.Unavailable, "STORE_TIMEOUT", "no answer")}, len(sends))
	}
	return begun, errs
}

// Who has not heard whether his page began sends it, without waiting for the end
// of what he has begun himself.
func TestTheAnswerToTheLastLookIsLost(t *testing.T) {
	r := newRig(t)
	r.dir.only("iphone")
	l := &deaf{Ledger: r.store}
	n := New(Options{Ledger: l, Directory: r.dir, Push: r.push, Signer: auth.NewSigner(r.ring), Now: r.now, RetryBase: time.Millisecond})
	t.Cleanup(n.Close)
	in, work := r.trigger("Disk full", page("ann", roster.PushAll))
	r.see(n, work[0]) // the clock stands still
	if got := r.push.sent(push.KindPage); len(got) != 1 || l.asked.Load() != 2 {
		t.Errorf("pages = %d after %d looks, want one after two", len(got), l.asked.Load())
	}
	list, err := r.store.Deliveries(t.Context(), store.IncidentDoc(in.ID))
	if err != nil || len(list) != 1 || list[0].State != incident.DeliveryAccepted || list[0].Attempts != 2 {
		t.Errorf("deliveries = %+v, %v, want one, accepted at the second attempt", list, err)
	}
}

// Another instance has begun what an attempt of ours has not ended in time: it is
// left to it, though we had begun it before.
func TestAnAttemptThatAnotherHasTakenOver(t *testing.T) {
	r := newRig(t)
	in, _ := r.trigger("Disk full", page("ann", roster.PushAll))
	d := &dispatch{n: r.n, e: envelope{doc: store.IncidentDoc(in.ID), work: "w", generation: in.Generation}}
	ours, err := d.leg("iphone")
	if err != nil {
		t.Fatal(err)
	}
	theirs, _ := d.leg("iphone")
	begin := func(who string, l *leg, number int, want error) {
		t.Helper()
		if err := l.begin(t.Context(), number); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", who, err, want)
		}
	}
	begin("ours", ours, 1, nil)
	begin("ours at once again", ours, 2, nil)
	begin("theirs", theirs, 1, errInFlight)
	r.advance(10 * time.Second)
	begin("theirs ten seconds later", theirs, 1, nil)
	begin("ours", ours, 3, errInFlight)
}

// A storm on one instance is decided in few commits and makes one sound.
func TestPagesAtTheSameInstant(t *testing.T) {
	r := newRig(t)
	r.dir.only("iphone")
	var work []store.WorkItem
	for i := range 60 {
		_, items := r.trigger(fmt.Sprint("Host ", i), page("ann", roster.PushAll))
		work = append(work, items...)
	}
	r.must(work...)
	r.settle("ann")
	checkOneSound(t, r.push.to(push.KindPage, "iphone"))
	p, err := r.store.Person(t.Context(), "ann")
	if err != nil || len(p.Open) != 60 || p.Revision >= 60 {
		t.Errorf("open %d after %d commits (%v), want 60 in fewer than one each", len(p.Open), p.Revision, err)
	}
}

// Two instances page the same person: the document settles who sounds.
func TestTwoInstancesOnePerson(t *testing.T) {
	r := newRig(t)
	r.dir.only("iphone")
	other := New(Options{
		Ledger: r.store, Directory: r.dir, Push: r.push, Signer: auth.NewSigner(r.ring), Now: r.now, RetryBase: time.Millisecond,
	})
	ended := make(chan error, 80)
	for i := range 40 {
		_, items := r.trigger(fmt.Sprint("Host ", i), page("ann", roster.PushAll))
		r.n.Do(t.Context(), items[0], func(err error) { ended <- err })
		other.Do(t.Context(), items[0], func(err error) { ended <- err }) // both believe to own the partition
	}
	for range 80 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	r.settle("ann")
	r.push.running.Wait()
	other.Close()
	checkOneSound(t, r.push.to(push.KindPage, "iphone"))
}

func checkOneSound(t *testing.T, all []push.Message) {
	t.Helper()
	sounds, seen := 0, map[string]int{}
	for _, m := range all {
		if m.Sound != push.SoundNone {
			sounds++
		}
		seen[m.DeliveryID]++
	}
	if sounds != 1 {
		t.Errorf("sounds = %d, want 1 within 30 s", sounds)
	}
	for id, n := range seen {
		if n > 1 {
			t.Errorf("delivery %s was sent %d times, want once", id, n)
		}
	}
}
