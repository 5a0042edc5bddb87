package notify

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/server/attention"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// readings counts what is read of incidents and people.
type readings struct {
	Ledger

	incidents, people atomic.Int64
}

func (l *readings) Incident(ctx context.Context, id incident.ID) (*incident.Incident, error) {
	l.incidents.Add(1)
	return l.Ledger.Incident(ctx, id)
}

func (l *readings) Person(ctx context.Context, id roster.UserID) (*attention.Person, error) {
	l.people.Add(1)
	return l.Ledger.Person(ctx, id)
}

// counting is a notifier of the rig that counts its readings.
func (r *rig) counting() (*Notifier, *readings) {
	l := &readings{Ledger: r.store}
	n := New(Options{Ledger: l, Directory: r.dir, Push: r.push, Signer: auth.NewSigner(r.ring), Now: r.now})
	r.t.Cleanup(n.Close)
	return n, l
}

// handedOn is an item as the commit hands it on that wrote it.
func (r *rig) handedOn(item store.WorkItem) store.WorkItem {
	r.t.Helper()
	var err error
	if item.Incident, err = r.store.Incident(r.t.Context(), item.Work.Incident); err != nil {
		r.t.Fatal(err)
	}
	if item.Person, err = r.store.Person(r.t.Context(), item.Work.User); err != nil {
		r.t.Fatal(err)
	}
	return item
}

func (r *rig) see(n *Notifier, item store.WorkItem) {
	r.t.Helper()
	ended := make(chan error, 1)
	n.Do(r.t.Context(), item, func(err error) { ended <- err })
	if err := <-ended; err != nil {
		r.t.Fatal(err)
	}
}

func TestAPageThatIsHandedOnReadsNothing(t *testing.T) {
	r := newRig(t)
	r.dir.only("iphone")
	n, l := r.counting()
	_, work := r.trigger("Disk full", page("ann", roster.PushAll))
	r.see(n, r.handedOn(work[0]))
	if got := r.push.sent(push.KindPage); len(got) != 1 || got[0].Message.Title == "" {
		t.Errorf("pages = %+v, want one", got)
	}
	if i, p := l.incidents.Load(), l.people.Load(); i != 0 || p != 0 {
		t.Errorf("the incident was read %d times and the person %d times, want none", i, p)
	}
}

// What a person was told is not what it was when the page was handed on: the
// decision that was made on it is refused, and made on what is.
func TestAPersonWhoWasToldMoreMeanwhile(t *testing.T) {
	r := newRig(t)
	r.dir.only("iphone")
	n, l := r.counting()
	_, second := r.trigger("Disk full", page("ann", roster.PushAll))
	handed := r.handedOn(second[0])
	_, first := r.trigger("Certificate expired", page("ann", roster.PushAll))
	r.must(first...)
	r.settle("ann")
	r.see(n, handed)
	p, err := r.store.Person(t.Context(), "ann")
	if err != nil || len(p.Open) != 2 || l.people.Load() == 0 {
		t.Errorf("open are %+v (%v) after %d readings, want both after one", p.Open, err, l.people.Load())
	}
	n.Settle()
	r.settle("ann")
	checkOneSound(t, r.push.to(push.KindPage, "iphone"))
}

// The incident is acknowledged between the commit and the page: the last look refuses it.
func TestAPageThatIsHandedOnAndNotNeededAnyMore(t *testing.T) {
	r := newRig(t)
	r.dir.only("iphone")
	n, _ := r.counting()
	in, work := r.trigger("Disk full", page("ann", roster.PushAll))
	handed := r.handedOn(work[0])
	r.acknowledge(in, "bob")
	r.see(n, handed)
	if got := r.push.sent(push.KindPage); len(got) != 0 {
		t.Errorf("pages = %d, want none", len(got))
	}
	if got := r.deliveries(in); len(got) != 1 || got[0].State != incident.DeliveryWithdrawn {
		t.Errorf("records = %+v, want one that was withdrawn", got)
	}
}
