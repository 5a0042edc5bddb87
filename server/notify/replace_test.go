package notify

import (
	"fmt"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/server/attention"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

func TestWhatMayBeOnTheScreen(t *testing.T) {
	begun := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name string
		d    incident.Delivery
		want bool
	}{
		{"not begun", incident.Delivery{State: incident.DeliveryQueued}, false},
		{"being sent", incident.Delivery{State: incident.DeliveryAttempted, Attempted: begun}, true},
		{"taken by the push service", incident.Delivery{State: incident.DeliveryAccepted, Attempted: begun}, true},
		{"acknowledged before it began", incident.Delivery{State: incident.DeliveryWithdrawn}, false},
		{"acknowledged after its sender died", incident.Delivery{State: incident.DeliveryWithdrawn, Attempted: begun}, true},
		{"no answer until its deadline", incident.Delivery{State: incident.DeliveryExpired, Attempted: begun}, true},
		{"refused", incident.Delivery{State: incident.DeliveryRejected, Attempted: begun}, false},
		{"not shown, as the phone says", incident.Delivery{State: incident.DeliverySuppressed, Attempted: begun}, false},
	} {
		if got := mayShow(c.d); got != c.want {
			t.Errorf("%s: may show = %t, want %t", c.name, got, c.want)
		}
	}
}

// What is gathered for a phone within two seconds, it gets together: of a storm
// that somebody acknowledges at a blow, the card of the first incident is
// replaced and the storm card once, however many incidents were on it.
func TestAcknowledgingAStormIsAFewPushes(t *testing.T) {
	r := newRig(t)
	r.dir.only("iphone")
	var ins []*incident.Incident
	for i := range 20 {
		in, work := r.trigger(fmt.Sprintf("Incident %d", i), page("ann", roster.PushAll))
		r.must(work...)
		ins = append(ins, in)
	}
	r.pass("ann", time.Minute)
	r.settle("ann")
	before := len(r.push.sent(push.KindPage))
	var replace []store.WorkItem
	for _, in := range ins {
		replace = append(replace, r.acknowledge(in, "bob")...)
	}
	r.must(replace...)
	r.pass("ann", 2*time.Second)
	r.settle("ann") // what settling has led to is on its way without any tick
	clears, pages := r.push.to(push.KindClear, "iphone"), r.push.sent(push.KindPage)[before:]
	cards := map[string]int{}
	for _, m := range clears {
		if cards[m.CollapseID]++; m.Sound != push.SoundNone || m.Badge == nil || *m.Badge != 0 {
			t.Errorf("clear = %+v, want it silent, with no open page on the badge", m)
		}
	}
	if len(cards) != 2 || len(clears) > 3 || len(pages) > 1 {
		t.Errorf("cleared %v, and %d updates of the storm card; want the first card and the storm card cleared, in no more than four pushes", cards, len(pages))
	}
}

// An update of the storm card that was slow, and all of whose incidents are
// handled by then, must not take away the card that shows the later ones.
func TestALateUpdateDoesNotClearTheStorm(t *testing.T) {
	r := newRig(t)
	r.dir.only("iphone")
	var ins []*incident.Incident
	for i := range 3 {
		in, work := r.trigger(fmt.Sprintf("Incident %d", i), page("ann", roster.PushAll))
		r.must(work...)
		ins = append(ins, in)
	}
	r.pass("ann", 5*time.Second)
	r.settle("ann")
	p, err := r.store.Person(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	on := p.CardItems(p.Storm.Sent)
	if len(on) != 2 {
		t.Fatalf("%d incidents on the storm card, want 2", len(on))
	}
	slow := attention.Card{
		ID: p.CardID(1), Kind: attention.CardStorm, Method: roster.PushAll, Urgency: incident.High, Number: 1, Collapse: "storm",
		Items: on[:1], At: r.now(), Deadline: r.now().Add(time.Minute),
	}
	for _, in := range ins {
		if in.ID == on[0].Incident {
			r.acknowledge(in, "bob")
		}
	}
	r.n.card(t.Context(), "ann", slow)
	r.until("the update has ended", func() bool { _, inHand := r.n.cards.Load(slow.ID); return !inHand })
	if clears := r.push.to(push.KindClear, "iphone"); len(clears) != 0 {
		t.Errorf("%d clears of the storm card, with an incident open on it; want none", len(clears))
	}
}

// Whoever acts sees it on the screen before him: a browser on Apple's systems,
// which would have to show a further notification, is left out. The other
// devices, and other people's browsers, are told.
func TestWhoActedIsNotToldByHisIPhonesBrowser(t *testing.T) {
	for actor, want := range map[roster.UserID]int{"ann": 0, "bob": 1} {
		r := newRig(t)
		for i := range r.dir.phones["ann"] {
			if p := &r.dir.phones["ann"][i]; p.ID == "browser" {
				p.Push.Token = "https://web.push.apple.com/QX"
			}
		}
		in, work := r.trigger("Disk full", page("ann", roster.PushAll))
		r.must(work...)
		r.must(r.acknowledge(in, actor)...)
		if got := len(r.push.to(push.KindClear, "browser")); got != want {
			t.Errorf("acknowledged by %s: %d clears to the browser, want %d", actor, got, want)
		}
		if got := len(r.push.to(push.KindClear, "pixel")); got != 1 {
			t.Errorf("acknowledged by %s: %d clears to the phone, want 1", actor, got)
		}
	}
}
