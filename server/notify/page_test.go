package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

func TestPageReachesEveryDevice(t *testing.T) {
	r := newRig(t)
	in, work := r.trigger("Disk full", page("ann", roster.PushAll))
	r.must(work...)
	got := r.push.sent(push.KindPage)
	if len(got) != 3 {
		t.Fatalf("pushes = %d, want one for each of three devices", len(got))
	}
	for _, d := range got {
		m := d.Message
		if m.IncidentID != string(in.ID) || m.CollapseID != "inc-"+string(in.ID) || m.ThreadID != string(service) || m.Revision != 1 {
			t.Errorf("message = %+v, want the incident, its card, its service and revision 1", m)
		}
		if m.Sound != push.SoundNormal || m.Level != push.LevelTimeSensitive || !m.HighUrgency || m.OpenPages != 1 {
			t.Errorf("sound %v, level %v, high %v, open %d; want a normal, time-sensitive page, 1 open", m.Sound, m.Level, m.HighUrgency, m.OpenPages)
		}
		if m.Title != "Critical: Checkout API" || m.Subtitle != "Disk full" || m.ReceiptPath == "" || m.ReceiptKey == "" {
			t.Errorf("texts %q, %q, receipts %q; want severity and service, the title, and where to report", m.Title, m.Subtitle, m.ReceiptPath)
		}
		if err := m.Validate(); err != nil {
			t.Errorf("message does not hold: %v", err)
		}
		if hasToken := m.ActionToken != ""; hasToken != (d.Device.Platform == push.Web) {
			t.Errorf("action token on %s: %v; want it for the browser alone", d.Device.Platform, hasToken)
		}
	}
	all := r.deliveries(in)
	if len(all) != 3 {
		t.Fatalf("records = %d, want 3", len(all))
	}
	for _, dv := range all {
		if dv.State != incident.DeliveryAccepted || !dv.Page || !dv.Audible || dv.Accepted.IsZero() || dv.Attempts != 1 || dv.User != "ann" {
			t.Errorf("record = %+v, want an accepted, audible page after one attempt", dv)
		}
	}
}

func TestCriticalStep(t *testing.T) {
	r := newRig(t)
	w := page("ann", roster.PushAll)
	w.Loud = true
	_, work := r.trigger("Disk full", w)
	r.must(work...)
	if m := r.push.to(push.KindPage, "iphone")[0]; m.Sound != push.SoundCritical || m.Level != push.LevelCritical {
		t.Errorf("sound %v, level %v; want critical", m.Sound, m.Level)
	}
}

func TestRepeatedWorkSendsOnce(t *testing.T) {
	r := newRig(t)
	_, work := r.trigger("Disk full", page("ann", roster.PushAll))
	r.must(work...)
	r.must(work...) // as after a death between the sending and its record
	if got := len(r.push.sent(push.KindPage)); got != 3 {
		t.Errorf("pushes = %d, want 3: the second handling finds them done", got)
	}
	if got := r.failures(); len(got) != 0 {
		t.Errorf("failures = %+v, want none", got)
	}
}

// TestCase70_OvertakenPages: a page whose incident was acknowledged while it
// was queued is never sent, and one that is past its deadline is recorded as
// expired and never sent.
func TestCase70_OvertakenPages(t *testing.T) {
	t.Run("acknowledged", func(t *testing.T) {
		r := newRig(t)
		in, work := r.trigger("Disk full", page("ann", roster.PushAll))
		replace := r.acknowledge(in, "bob")
		r.must(append(work, replace...)...)
		if got := r.push.sent(push.KindPage); len(got) != 0 {
			t.Errorf("pages = %d, want none", len(got))
		}
		if got := r.deliveries(in); len(got) != 1 || got[0].State != incident.DeliveryWithdrawn || got[0].Reason == "" {
			t.Errorf("records = %+v, want one that says why nothing was sent", got)
		}
	})
	t.Run("too late", func(t *testing.T) {
		r := newRig(t)
		in, work := r.trigger("Disk full", page("ann", roster.PushAll))
		r.advance(time.Hour)
		r.must(work...)
		if got := r.push.sent(push.KindPage); len(got) != 0 {
			t.Errorf("pages = %d, want none after the deadline", len(got))
		}
		if got := r.failures(); len(got) != 1 || got[0].Reason != "too late" {
			t.Errorf("failures = %+v, want one: too late", got)
		}
		if got := r.deliveries(in); len(got) != 1 || got[0].State != incident.DeliveryExpired {
			t.Errorf("records = %+v, want one, expired", got)
		}
	})
}

// The acknowledgement is committed while the page waits at the provider's door.
func TestLastLookRefusesAfterTheAcknowledgement(t *testing.T) {
	r := newRig(t)
	in, work := r.trigger("Disk full", page("ann", roster.PushAll))
	r.dir.only("iphone")
	r.push.before = func(push.Delivery) { r.acknowledge(in, "bob") }
	r.must(work...)
	if got := r.push.sent(push.KindPage); len(got) != 0 {
		t.Errorf("pages = %d, want none", len(got))
	}
	if got := r.deliveries(in); len(got) != 1 || got[0].State != incident.DeliveryWithdrawn {
		t.Errorf("records = %+v, want one, withdrawn", got)
	}
	if got := r.failures(); len(got) != 0 {
		t.Errorf("failures = %+v, want none: nobody needs another way", got)
	}
}

func TestEveryDeviceRefused(t *testing.T) {
	r := newRig(t)
	r.push.answer = func(push.Delivery) push.Result {
		return push.Result{End: push.EndRejected, Address: push.AddressDrop, Outcome: push.Outcome{Reason: "Unregistered"}}
	}
	in, work := r.trigger("Disk full", page("ann", roster.PushAll))
	r.must(work...)
	want := incident.Undelivered{User: "ann", Method: roster.PushAll, Generation: 1, Reason: "Unregistered"}
	if got := r.failures(); len(got) != 1 || got[0] != want {
		t.Errorf("failures = %+v, want %+v once", got, want)
	}
	if len(r.dir.fates) != 3 || r.dir.fates[0].Address != push.AddressDrop || r.dir.fates[0].Token == "" {
		t.Errorf("fates = %+v, want three dead addresses", r.dir.fates)
	}
	for _, dv := range r.deliveries(in) {
		if dv.State != incident.DeliveryRejected || dv.Reason != "Unregistered" || dv.Ended.IsZero() {
			t.Errorf("record = %+v, want it rejected for its reason", dv)
		}
	}
}

func TestOneRefusedDeviceIsNoFailure(t *testing.T) {
	r := newRig(t)
	r.push.answer = func(d push.Delivery) push.Result {
		if d.Device.ID == "iphone" {
			return push.Result{End: push.EndRejected}
		}
		return push.Result{End: push.EndAccepted}
	}
	_, work := r.trigger("Disk full", page("ann", roster.PushAll))
	r.must(work...)
	if got := r.failures(); len(got) != 0 {
		t.Errorf("failures = %+v, want none: two devices took it", got)
	}
}

// The provider is down: another way at once, and the page stays with it.
func TestProviderDownFailsOverAtOnce(t *testing.T) {
	r := newRig(t)
	r.dir.only("iphone")
	back := make(chan struct{})
	r.push.answer = func(d push.Delivery) push.Result {
		if !d.Persist {
			t.Error("the page does not persist, want it kept for when the provider is back")
		}
		d.Progress(push.Progress{Down: true})
		<-back
		return push.Result{End: push.EndAccepted}
	}
	in, work := r.trigger("Disk full", page("ann", roster.PushAll))
	ended := make(chan error, 1)
	r.n.Do(t.Context(), work[0], func(err error) { ended <- err })
	r.until("the failure is reported", func() bool { return len(r.failures()) == 1 })
	select {
	case err := <-ended:
		t.Fatalf("the work has ended (%v), want it to go on until the provider is back", err)
	default:
	}
	close(back)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if got := r.deliveries(in); got[0].State != incident.DeliveryAccepted {
		t.Errorf("record = %+v, want it accepted in the end", got[0])
	}
}

func TestNoDeviceFailsOverAtOnce(t *testing.T) {
	r := newRig(t)
	r.dir.only()
	_, work := r.trigger("Disk full", page("ann", roster.PushAll))
	r.must(work...)
	if got := r.failures(); len(got) != 1 || got[0].Reason != "there is no device that can be paged" {
		t.Errorf("failures = %+v, want one: no device", got)
	}
}

func TestNarrowedMethodPagesOneDevice(t *testing.T) {
	r := newRig(t)
	ann := r.dir.users["ann"]
	ann.Methods = append(ann.Methods, roster.Method{ID: "only-pixel", Kind: roster.Push, Device: "pixel", Verified: true})
	r.dir.users["ann"] = ann
	_, work := r.trigger("Disk full", page("ann", "only-pixel"))
	r.must(work...)
	if got := r.push.sent(push.KindPage); len(got) != 1 || got[0].Device.ID != "pixel" {
		t.Errorf("pushes = %+v, want one, to the pixel", got)
	}
}

func TestMailIsTriedAgainUntilTaken(t *testing.T) {
	r := newRig(t)
	r.chans[roster.Email].errs = []error{errors.New("451 try later"), errors.New("connection reset")}
	in, work := r.trigger("Disk full", page("bob", "mail"))
	r.must(work...)
	got := r.chans[roster.Email].sent()
	if len(got) != 1 || got[0].To != "bob@example.org" || got[0].Kind != "page" || got[0].Subject != "Critical: Checkout API: Disk full" {
		t.Fatalf("mails = %+v, want one page to bob", got)
	}
	if got[0].Link != "https://tocsin.example/i/"+string(in.ID) {
		t.Errorf("link = %q, want the incident", got[0].Link)
	}
	if dv := r.deliveries(in)[0]; dv.State != incident.DeliveryAccepted || dv.Attempts != 3 || dv.Provider != "taken" {
		t.Errorf("record = %+v, want it accepted at the third attempt", dv)
	}
}

func TestDeadAddressIsReported(t *testing.T) {
	r := newRig(t)
	r.chans[roster.Email].errs = []error{&RefusedError{Reason: "550 no such user", Address: true}}
	in, work := r.trigger("Disk full", page("bob", "mail"))
	r.must(work...)
	if got := r.failures(); len(got) != 1 || got[0].Reason != "550 no such user" {
		t.Errorf("failures = %+v, want one with the server's word", got)
	}
	if !slices.Equal(r.dir.bounces, []roster.MethodID{"mail"}) {
		t.Errorf("bounces = %v, want that of the mail method", r.dir.bounces)
	}
	if dv := r.deliveries(in)[0]; dv.State != incident.DeliveryRejected {
		t.Errorf("record = %+v, want it rejected", dv)
	}
}

func TestLostPartitionEndsTheWork(t *testing.T) {
	r := newRig(t)
	r.dir.only("iphone")
	hold := make(chan struct{})
	r.push.before = func(push.Delivery) { <-hold }
	in, work := r.trigger("Disk full", page("ann", roster.PushAll))
	ctx, lose := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	r.n.Do(ctx, work[0], func(err error) { ended <- err })
	lose()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the work ended with %v, want it handed over", err)
	}
	close(hold)
	r.push.running.Wait()
	if got := r.push.sent(push.KindPage); len(got) != 0 {
		t.Errorf("pages = %d, want none: the next owner sends it", len(got))
	}
	r.push.before = nil
	r.must(work...)
	if got := r.push.sent(push.KindPage); len(got) != 1 || r.deliveries(in)[0].State != incident.DeliveryAccepted {
		t.Errorf("pages = %d, want one by the next owner", len(got))
	}
}

// Domain test 11: a hundred incidents within ten seconds.
func TestStormIsOneCard(t *testing.T) {
	r := newRig(t)
	r.dir.only("iphone")
	var ins []*incident.Incident
	for i := range 100 {
		in, work := r.trigger(fmt.Sprint("Host ", i), page("ann", roster.PushAll))
		ins = append(ins, in)
		r.must(work...)
		r.pass("ann", 100*time.Millisecond)
	}
	r.pass("ann", 30*time.Second)
	audible := 0
	var last push.Message
	for _, m := range r.push.to(push.KindPage, "iphone") {
		if m.Sound != push.SoundNone {
			audible++
			last = m
		}
	}
	if audible != 2 {
		t.Errorf("audible pushes = %d, want 2: the first, and the owed one", audible)
	}
	if last.OpenPages != 99 || !strings.HasPrefix(last.CollapseID, "storm-ann-") || last.Subtitle != "99 Checkout API" {
		t.Errorf("last card = %q of %d open on %s, want 99 on the storm card", last.Subtitle, last.OpenPages, last.CollapseID)
	}
	for _, in := range ins {
		if all := r.deliveries(in); len(all) == 0 || all[0].State != incident.DeliveryAccepted || !all[0].Page {
			t.Fatalf("records of %s = %+v, want one accepted page each", in.Text.Title, all)
		}
	}
	listed, err := r.n.Listed(t.Context(), last.DeliveryID)
	if err != nil || len(listed) != 99 {
		t.Errorf("acknowledge all would act on %d incidents (%v), want 99", len(listed), err)
	}
}

func TestStormReceiptCountsForAllOnTheCard(t *testing.T) {
	r := newRig(t)
	r.dir.only("iphone")
	var ins []*incident.Incident
	for i := range 3 {
		in, work := r.trigger(fmt.Sprint("Host ", i), page("ann", roster.PushAll))
		ins = append(ins, in)
		r.must(work...)
	}
	r.settle("ann")
	r.pass("ann", 2*time.Second)
	all := r.push.to(push.KindPage, "iphone")
	last := all[len(all)-1]
	r.receipt(t, last.DeliveryID, incident.DeliveryReceived)
	for _, in := range ins[1:] {
		if got := incident.Receipts(r.deliveries(in), ever)["ann"]; !got.Received {
			t.Errorf("receipt of %s = %+v, want it received with the card", in.Text.Title, got)
		}
	}
	if got := incident.Receipts(r.deliveries(ins[0]), ever)["ann"]; got.Received {
		t.Error("the first incident counts as received, want not: it has a card of its own")
	}
}

func (r *rig) receipt(t *testing.T, delivery string, s incident.DeliveryState) {
	t.Helper()
	_, dv, ok, err := r.store.Delivery(t.Context(), delivery)
	if err != nil || !ok {
		t.Fatalf("delivery %s: %v, %v", delivery, ok, err)
	}
	caller := auth.Principal{Kind: auth.KindDevice, User: dv.User, Device: dv.Device}
	got, err := r.n.Report(t.Context(), caller, "", []Receipt{{Delivery: delivery, State: s}})
	if err != nil || got[0] != ReceiptRecorded {
		t.Fatalf("receipt %v = %v, %v; want it recorded", s, got, err)
	}
}

func TestStormCardShrinksAndClears(t *testing.T) {
	r := newRig(t)
	r.dir.only("iphone")
	var ins []*incident.Incident
	for i := range 3 {
		in, work := r.trigger(fmt.Sprint("Host ", i), page("ann", roster.PushAll))
		ins = append(ins, in)
		r.must(work...)
	}
	r.pass("ann", 2*time.Second)
	r.must(r.acknowledge(ins[1], "bob")...)
	r.settle("ann")
	r.pass("ann", 5*time.Second)
	all := r.push.to(push.KindPage, "iphone")
	if last := all[len(all)-1]; last.OpenPages != 1 || last.Sound != push.SoundNone {
		t.Errorf("after one acknowledgement the card is %+v, want 1 open, silent", last)
	}
	r.must(r.acknowledge(ins[2], "bob")...)
	r.settle("ann")
	r.pass("ann", time.Minute)
	clears := r.push.to(push.KindClear, "iphone")
	if len(clears) == 0 || !strings.HasPrefix(clears[len(clears)-1].CollapseID, "storm-") {
		t.Errorf("clears = %+v, want the storm card cleared with its last incident", clears)
	}
	for _, m := range r.push.to(push.KindPage, "iphone")[len(all):] {
		if m.Sound != push.SoundNone {
			t.Errorf("a sound after all was acknowledged: %+v", m)
		}
	}
}

func TestClearOnEveryDeviceThatWasPaged(t *testing.T) {
	r := newRig(t)
	r.push.answer = func(d push.Delivery) push.Result {
		if d.Device.ID == "pixel" && d.Message.Kind == push.KindPage {
			return push.Result{End: push.EndRejected}
		}
		return push.Result{End: push.EndAccepted}
	}
	in, work := r.trigger("Disk full", page("ann", roster.PushAll))
	r.must(work...)
	paged := r.now()
	r.advance(time.Minute)
	r.must(r.acknowledge(in, "bob")...)
	got := r.push.sent(push.KindClear)
	if len(got) != 2 {
		t.Fatalf("clears = %d, want two: the pixel never showed the page", len(got))
	}
	for _, d := range got {
		m := d.Message
		if m.CollapseID != "inc-"+string(in.ID) || m.Title != "#42 acknowledged by Bob" || m.Sound != push.SoundNone || m.Revision != 2 || !m.PagedAt.Equal(paged) {
			t.Errorf("clear = %+v, want the page's card, who, silent, revision 2, paged at %v", m, paged)
		}
	}
	p, err := r.store.Person(t.Context(), "ann")
	if err != nil || len(p.Open) != 0 {
		t.Errorf("open pages of ann = %+v (%v), want none", p.Open, err)
	}
}

func TestWhoIsAskedAnewKeepsTheCard(t *testing.T) {
	r := newRig(t)
	in, work := r.trigger("Disk full", page("ann", roster.PushAll))
	r.must(work...)
	_, items := r.change(in, func(in *incident.Incident) { in.Generation++ },
		incident.Work{Kind: incident.WorkReplace, Text: "escalated"},
		incident.Work{Kind: incident.WorkPage, User: "ann", Method: roster.PushAll, Urgency: incident.High, Reason: incident.PageAssigned, Number: 2})
	r.advance(time.Minute)
	r.must(items...)
	if got := r.push.sent(push.KindClear); len(got) != 0 {
		t.Errorf("clears = %d, want none: ann is asked again", len(got))
	}
}

func TestMinimalLeaksNothing(t *testing.T) {
	r := newRig(t)
	ann := r.dir.users["ann"]
	ann.Privacy = roster.PrivacyMinimal
	r.dir.users["ann"] = ann
	_, work := r.trigger("password=hunter2 on customer-db", page("ann", roster.PushAll), page("ann", "hook"))
	r.must(work...)
	for _, d := range r.push.sent(push.KindPage) {
		text := fmt.Sprintf("%+v", d.Message)
		for _, leak := range []string{"hunter2", "customer-db", "Checkout", "alertmanager"} {
			if strings.Contains(text, leak) {
				t.Errorf("the push tells %q: %s", leak, text)
			}
		}
		if !d.Message.Redacted || d.Message.Severity != "" {
			t.Errorf("message = %+v, want it marked as redacted, without severity", d.Message)
		}
	}
	if text := fmt.Sprintf("%+v", r.chans[roster.Webhook].sent()); strings.Contains(text, "hunter2") || strings.Contains(text, "Checkout") {
		t.Errorf("the webhook tells more than the number: %s", text)
	}
}

func TestQuietHoursDigest(t *testing.T) {
	r := newRig(t)
	r.dir.only("iphone")
	ann := r.dir.users["ann"]
	ann.Quiet = roster.QuietHours{Start: 13 * time.Hour, End: 15 * time.Hour} // it is 14:00 in Berlin
	r.dir.users["ann"] = ann
	w := page("ann", roster.PushAll)
	w.Urgency = incident.Low
	in, work := r.trigger("Certificate expires", w)
	r.must(work...)
	if got := r.push.sent(push.KindPage); len(got) != 0 {
		t.Fatalf("pages in quiet hours = %d, want none", len(got))
	}
	if got := r.deliveries(in); len(got) != 1 || got[0].State != incident.DeliveryWithdrawn || !strings.Contains(got[0].Reason, "quiet hours until 2026-07-01T13:00:00Z") {
		t.Errorf("records = %+v, want one that says why nothing was sent", got)
	}
	r.pass("ann", 2*time.Hour)
	got := r.push.to(push.KindPage, "iphone")
	if len(got) != 1 || got[0].Title != "1 message from quiet hours" || got[0].Level != push.LevelActive || got[0].HighUrgency {
		t.Errorf("pushes after quiet hours = %+v, want one digest", got)
	}
}

func TestNotices(t *testing.T) {
	r := newRig(t)
	_, work := r.trigger("Disk full",
		incident.Work{Kind: incident.WorkNotice, User: "ann", Text: "merged into #41"},
		incident.Work{Kind: incident.WorkConfirm, User: "ann"},
		incident.Work{Kind: incident.WorkNotice, User: "bob", Text: "merged into #41"},
		incident.Work{Kind: incident.WorkUncovered, Level: 1, Cause: incident.CauseGap},
		incident.Work{Kind: incident.WorkUncovered, Level: 1, Cause: incident.CauseGap})
	for _, item := range work {
		r.must(item)
	}
	infos := r.push.to(push.KindInfo, "iphone")
	if len(infos) != 2 || infos[0].Body != "merged into #41" || infos[1].Body != "Level 2 had nobody to page (nobody holds it)." {
		t.Errorf("notices = %+v, want the merge, and the gap once in six hours", infos)
	}
	for _, m := range infos {
		if m.Sound != push.SoundNone || m.Level != push.LevelPassive {
			t.Errorf("notice = %+v, want it quiet", m)
		}
	}
	asks := r.push.to(push.KindPage, "iphone")
	if len(asks) != 1 || asks[0].Sound != push.SoundNormal || asks[0].Details["ask"] != "confirm" || asks[0].OpenPages == 0 {
		t.Errorf("confirmations = %+v, want one, heard, with the count of open pages", asks)
	}
	if got := r.chans[roster.Email].sent(); len(got) != 2 || got[0].Kind != "notice" {
		t.Errorf("mails = %+v, want bob's two: he has no device", got)
	}
}

func TestUnknownIncidentIsDropped(t *testing.T) {
	r := newRig(t)
	id := store.NewIncidentID(3, r.now())
	r.must(store.WorkItem{ID: "1-1", Partition: 3, Work: incident.Work{Kind: incident.WorkPage, Incident: id, User: "ann"}})
}

func TestForeignWorkIsRefused(t *testing.T) {
	r := newRig(t)
	_, work := r.trigger("Disk full", incident.Work{Kind: incident.WorkUnlink})
	if err := r.do(work...); err == nil {
		t.Error("work of the engine's own was taken, want an error")
	}
}

func TestHeldPagingWaits(t *testing.T) {
	r := newRig(t)
	r.dir.hold(true)
	in, work := r.trigger("Disk full", page("ann", roster.PushAll))
	_, other := r.trigger("Acknowledged meanwhile", page("ann", roster.PushAll))
	ended := make(chan error, 2)
	r.n.Do(t.Context(), work[0], func(err error) { ended <- err })
	r.n.Do(t.Context(), other[0], func(err error) { ended <- err })
	select {
	case err := <-ended:
		t.Fatalf("a page ended (%v) while paging is held", err)
	case <-time.After(50 * time.Millisecond):
	}
	if got := r.push.sent(push.KindPage); len(got) != 0 {
		t.Fatalf("pages while held = %d, want none", len(got))
	}
	held, err := r.store.Incident(t.Context(), other[0].Work.Incident)
	if err != nil {
		t.Fatal(err)
	}
	r.acknowledge(held, "bob")
	r.dir.hold(false)
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	got := r.push.sent(push.KindPage)
	if len(got) != 3 || got[0].Message.IncidentID != string(in.ID) {
		t.Errorf("pages after resuming = %d, want three of the one that still needs somebody", len(got))
	}
}

// One phone's provider is down in a storm: the other phone does not sound at
// every update of the card.
func TestStormWithOneProviderDown(t *testing.T) {
	r := newRig(t)
	r.dir.only("iphone", "pixel")
	back := make(chan struct{})
	t.Cleanup(func() { close(back) }) // before the rig's, which waits for the pushes
	r.push.answer = func(d push.Delivery) push.Result {
		if d.Device.ID == "pixel" {
			<-back
		}
		return push.Result{End: push.EndAccepted}
	}
	for i := range 5 {
		_, work := r.trigger(fmt.Sprint("Host ", i), page("ann", roster.PushAll))
		ended := make(chan error, 1)
		r.n.Do(t.Context(), work[0], func(err error) { ended <- err })
		r.until("the page is decided", func() bool {
			p, err := r.store.Person(t.Context(), "ann")
			return err == nil && len(p.Open) == i+1 && len(p.Outbox) == 0
		})
	}
	for range 3 {
		r.pass("ann", 31*time.Second)
		_, work := r.trigger("Another", page("ann", roster.PushAll))
		r.n.Do(t.Context(), work[0], func(error) {})
		r.settle("ann")
	}
	r.pass("ann", 5*time.Second)
	sounds := 0
	for _, m := range r.push.to(push.KindPage, "iphone") {
		if m.Sound != push.SoundNone {
			sounds++
		}
	}
	if sounds < 2 || sounds > 5 {
		t.Errorf("sounds on the phone that works = %d in %d pushes, want one in 30 s at most", sounds, len(r.push.to(push.KindPage, "iphone")))
	}
}
