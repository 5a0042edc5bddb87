package notify

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// Whoever is still asked after somebody else's acknowledgement (each holder of
// a level has to answer, or he was asked to help) is on storm cards as anybody.
func TestStormCardOfWhoIsAskedInSpiteOfAnAcknowledgement(t *testing.T) {
	r := newRig(t)
	r.dir.only("iphone")
	_, first := r.trigger("Disk full", page("ann", roster.PushAll))
	in, second := r.trigger("Disk slow", page("ann", roster.PushAll))
	r.change(in, func(in *incident.Incident) {
		in.Status, in.MultiAck = incident.Acknowledged, true
		in.Assignees[0].Next = r.now().Add(time.Minute)
		in.Acks = []incident.Ack{{By: incident.Actor{Kind: incident.ActorUser, ID: "bob"}, At: r.now()}}
	})
	r.must(first...)
	r.must(second...)
	r.settle("ann")
	if got := r.push.sent(push.KindPage); len(got) != 2 || got[1].Message.IncidentID != string(in.ID) {
		t.Errorf("pushes = %d, want the page and the card with the second incident", len(got))
	}
	if got := r.push.sent(push.KindClear); len(got) != 0 {
		t.Errorf("clears = %d, want none", len(got))
	}
}

// An incident that cannot be read keeps nobody from hearing of another.
func TestADamagedIncidentIsNotInTheWayOfAnothersSound(t *testing.T) {
	r := newRig(t)
	r.dir.only("iphone")
	broken, first := r.trigger("Disk full", page("ann", roster.PushAll))
	r.must(first...)
	r.advance(time.Second)
	fine, second := r.trigger("Disk slow", page("ann", roster.PushAll)) // so soon its sound is owed
	r.must(second...)
	r.settle("ann")
	rdb := redistest.Shared(t).Client(t)
	for _, key := range rdb.Keys(t.Context(), "*:i:"+string(broken.ID)).Val() {
		if err := rdb.Set(t.Context(), key, "damaged", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	r.pass("ann", 5*time.Minute)
	pages := r.push.to(push.KindPage, "iphone")
	audible := slices.DeleteFunc(slices.Clone(pages), func(m push.Message) bool { return m.Sound == push.SoundNone })
	if len(audible) != 2 || audible[1].IncidentID != string(fine.ID) {
		t.Errorf("audible pushes = %d of %d, want the first page and the owed sound for the second incident", len(audible), len(pages))
	}
}

// What passes is not held against a way: it is used again when its next step is due.
func TestWhatPassesIsNoFailureForGood(t *testing.T) {
	for name, end := range map[string]push.End{"out": push.EndProviderDown, "expired": push.EndExpired} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.push.answer = func(push.Delivery) push.Result { return push.Result{End: end} }
			_, work := r.trigger("Disk full", page("ann", roster.PushAll))
			r.must(work...)
			if got := r.failures(); len(got) != 1 || !got[0].Passing {
				t.Errorf("failures = %+v, want one, in passing", got)
			}
		})
	}
	t.Run("too late", func(t *testing.T) {
		r := newRig(t)
		_, work := r.trigger("Disk full", page("ann", roster.PushAll))
		r.advance(20 * time.Minute) // nobody was there to send it
		r.must(work...)
		if got := r.failures(); len(got) != 1 || !got[0].Passing {
			t.Errorf("failures = %+v, want one, in passing", got)
		}
	})
}

// A process died after it had recorded that every device refused, and before
// the next way was pulled forward.
func TestDeathBetweenTheRefusalAndItsConsequence(t *testing.T) {
	r := newRig(t)
	r.dir.only("iphone")
	in, work := r.trigger("Disk full", page("ann", roster.PushAll))
	j := job{work: work[0].Work, item: work[0]}
	doc := store.IncidentDoc(in.ID)
	id, err := store.DeliveryID(doc, j.name(), "iphone")
	if err != nil {
		t.Fatal(err)
	}
	dv := incident.Delivery{
		ID: id, Work: j.name(), User: "ann", Device: "iphone", Kind: roster.Push, State: incident.DeliveryAttempted, Attempted: r.now(),
	}
	if _, errs := r.store.BeginSend(t.Context(), r.now(), []store.Send{{Doc: doc, Generation: 1, Delivery: dv}}); errs != nil {
		t.Fatal(errs)
	}
	dv.State, dv.Ended, dv.Reason = incident.DeliveryRejected, r.now(), "Unregistered"
	if err := r.store.RecordDelivery(t.Context(), doc, dv); err != nil {
		t.Fatal(err)
	}
	r.must(work...)
	if got := r.failures(); len(got) != 1 || got[0].Passing || got[0].Reason != "Unregistered" {
		t.Errorf("failures = %+v, want one, for good", got)
	}
	if got := r.push.sent(push.KindPage); len(got) != 0 {
		t.Errorf("pages = %d, want none: it was refused", len(got))
	}
}

// A message that waited behind others past its deadline is not sent any more.
func TestNothingIsSentAfterItsDeadline(t *testing.T) {
	r := newRig(t)
	in, work := r.trigger("Disk full", page("ann", "mail"))
	lane := r.n.lanes[roster.Email]
	for range laneWidth {
		lane <- struct{}{}
	}
	ended := make(chan error, 1)
	r.n.Do(t.Context(), work[0], func(err error) { ended <- err })
	r.until("the person has been decided", func() bool {
		p, err := r.store.Person(t.Context(), "ann")
		return err == nil && len(p.Recent) == 1
	})
	<-time.After(50 * time.Millisecond) // into the lane: nothing tells that somebody waits there
	r.advance(time.Hour)
	for range laneWidth {
		<-lane
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if got := r.chans[roster.Email].sent(); len(got) != 0 {
		t.Errorf("mails = %d, want none an hour late", len(got))
	}
	if got := r.deliveries(in); len(got) != 1 || got[0].State != incident.DeliveryExpired {
		t.Errorf("records = %+v, want one, expired", got)
	}
}

// A phone reports late that it could not show a page of an earlier assignment:
// that says nothing about the page that is out now.
func TestLateSuppressionSaysNothingOfThePresentPage(t *testing.T) {
	r := newRig(t)
	r.dir.only("iphone")
	in, work := r.trigger("Disk full", page("ann", roster.PushAll))
	r.must(work...)
	old := r.deliveries(in)[0]
	r.advance(time.Hour)
	after, again := r.change(in, func(in *incident.Incident) {
		in.Generation++
		in.Assignees = []incident.Assignee{{User: "ann", Since: r.now()}}
	}, incident.Work{
		Kind: incident.WorkPage, User: "ann", Method: roster.PushAll, Reason: incident.PageAssigned, Number: 1,
		Urgency: incident.High, Deadline: r.now().Add(10 * time.Minute),
	})
	r.must(again...)
	report := func(id string) {
		t.Helper()
		got, err := r.n.Report(t.Context(), auth.Principal{Kind: auth.KindDevice, User: "ann", Device: "iphone"}, "",
			[]Receipt{{Delivery: id, State: incident.DeliverySuppressed, Reason: "permission"}})
		if err != nil || got[0] != ReceiptRecorded {
			t.Fatalf("Report = %v, %v", got, err)
		}
	}
	report(old.ID)
	if got := r.failures(); len(got) != 0 {
		t.Errorf("failures = %+v, want none for a page of an hour ago", got)
	}
	for _, dv := range r.deliveries(after) {
		if dv.ID != old.ID {
			report(dv.ID)
		}
	}
	if got := r.failures(); len(got) != 1 || got[0].Generation != after.Generation {
		t.Errorf("failures = %+v, want one for the present page", got)
	}
}

// On a level that asks each holder the generation stays when one of them
// acknowledges: his own pages end all the same, the others' go on.
func TestNoPageToWhoeverHasAcknowledgedOnASharedLevel(t *testing.T) {
	r := newRig(t)
	r.dir.only("iphone")
	in, work := r.trigger("Disk full", page("ann", roster.PushAll), page("bob", "mail"))
	var once sync.Once
	shared := func(in *incident.Incident, acked bool) {
		in.MultiAck = true
		in.Assignees = []incident.Assignee{{User: "ann", Since: r.now()}, {User: "bob", Since: r.now(), Next: r.now().Add(time.Minute)}}
		if acked {
			in.Status = incident.Acknowledged
			in.Acks = []incident.Ack{{By: incident.Actor{Kind: incident.ActorUser, ID: "ann"}, At: r.now()}}
		}
	}
	in, _ = r.change(in, func(in *incident.Incident) { shared(in, false) })
	r.push.before = func(push.Delivery) {
		once.Do(func() { r.change(in, func(in *incident.Incident) { shared(in, true) }) })
	}
	r.must(work...)
	if got := r.push.sent(push.KindPage); len(got) != 0 {
		t.Errorf("pages to ann = %d, want none after her acknowledgement", len(got))
	}
	if got := r.chans[roster.Email].sent(); len(got) != 1 {
		t.Errorf("mails to bob = %d, want one: he has not acknowledged", len(got))
	}
}
