package attention

import (
	"fmt"
	"slices"
	"testing"
	"time"
	_ "time/tzdata" // the zones of the tests do not depend on the machine

	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

const mail roster.MethodID = "mail"

// desk plays one person over time, as package notify does: decide, write, send,
// report sent, and tick whenever the document is due.
type desk struct {
	t       interface{ Fatalf(string, ...any) }
	now     time.Time
	person  *Person
	view    View
	works   int
	settled map[incident.ID]bool
	sounds  []sound
	sent    []Card
	// lost makes the world forget to report what it sent.
	lost bool
}

type sound struct {
	at      time.Time
	urgency incident.Urgency
	exempt  bool // a re-notify step
	overdue bool // an owed sound that could wait no longer
}

func newDesk(t interface{ Fatalf(string, ...any) }, now string) *desk {
	at, err := time.Parse(time.RFC3339, now)
	if err != nil {
		t.Fatalf("%v", err)
	}
	d := &desk{
		t: t, now: at.UTC(), person: &Person{User: "ann"}, settled: map[incident.ID]bool{},
		view: View{User: roster.User{ID: "ann", Methods: []roster.Method{{ID: mail, Kind: roster.Email, Verified: true}}}},
	}
	d.view.Needs = func(id incident.ID) bool { return !d.settled[id] }
	return d
}

func (d *desk) do(c Command) Outcome {
	before := d.person
	got, err := Decide(before, c, d.view, d.now)
	if err != nil {
		d.t.Fatalf("%T at %v: %v", c, d.now, err)
	}
	if got.Changed {
		d.person = got.Person
	}
	for _, card := range got.Cards {
		d.sent = append(d.sent, card)
		if !d.lost {
			d.do(Sent{Card: card.ID})
		}
	}
	if s := d.person.Sound; s != before.Sound {
		page, ok := c.(Page)
		d.sounds = append(d.sounds, sound{
			at: s.At, urgency: s.Urgency, exempt: ok && renotify(page.Reason) && got.Outcome.Verdict == SendNow,
			overdue: !before.Owed.IsZero() && d.now.Sub(before.Owed) >= owedAtMost,
		})
	}
	return got.Outcome
}

func (d *desk) page(id incident.ID, u incident.Urgency, m roster.MethodID, r incident.PageReason) Outcome {
	d.works++
	return d.do(Page{Work: fmt.Sprint("w", d.works), Reason: r, Item: Item{Incident: id, Urgency: u, Method: m, Version: 1}})
}

func (d *desk) push(id incident.ID) Outcome {
	return d.page(id, incident.High, roster.PushAll, incident.PageAssigned)
}

// pass lets the time go by, with every tick that is due on the way.
func (d *desk) pass(by time.Duration) {
	end := d.now.Add(by)
	for i := 0; ; i++ {
		due := d.person.Due()
		if due.IsZero() || due.After(end) {
			break
		}
		if i > 10_000 {
			d.t.Fatalf("due %v for ever: %+v", due, d.person)
		}
		if due.After(d.now) {
			d.now = due
		}
		d.do(Tick{})
	}
	d.now = end
}

func (d *desk) last() Card {
	if len(d.sent) == 0 {
		d.t.Fatalf("no card was sent")
	}
	return d.sent[len(d.sent)-1]
}

func ids(items []Item) []incident.ID {
	out := []incident.ID{}
	for _, i := range items {
		out = append(out, i.Incident)
	}
	return out
}

func TestFirstPageSoundsAtOnce(t *testing.T) {
	d := newDesk(t, "2026-07-01T12:00:00Z")
	if got := d.push("a"); got.Verdict != SendNow || !got.Sound || got.Open != 1 {
		t.Errorf("first page = %+v, want sent now, with a sound, 1 open", got)
	}
	d.pass(SoundEvery)
	if got := d.push("b"); got.Verdict != SendNow || !got.Sound || got.Open != 2 {
		t.Errorf("page after 30 s = %+v, want sent now, with a sound, 2 open", got)
	}
}

// Domain test 11: a hundred incidents within ten seconds.
func TestStormOfHundred(t *testing.T) {
	d := newDesk(t, "2026-07-01T12:00:00Z")
	start := d.now
	for i := range 100 {
		d.push(incident.ID(fmt.Sprintf("i%03d", i)))
		d.pass(100 * time.Millisecond)
	}
	d.pass(start.Add(SoundEvery).Sub(d.now))
	if len(d.sounds) > 2 {
		t.Errorf("sounds in the first 30 s = %v, want at most 2", d.sounds)
	}
	if got := d.sounds[len(d.sounds)-1].at.Sub(start); got != SoundEvery {
		t.Errorf("the owed sound came after %v, want %v", got, SoundEvery)
	}
	card := d.last()
	if !card.Sound || len(card.Items) != 99 || len(d.person.Open) != 100 {
		t.Errorf("card: sound %v, %d items, %d open; want a sound, 99 beside the first, 100", card.Sound, len(card.Items), len(d.person.Open))
	}
	for _, c := range d.sent {
		if c.Collapse != card.Collapse {
			t.Errorf("card %s is shown under %s, want one card, %s", c.ID, c.Collapse, card.Collapse)
		}
	}
	d.pass(10 * time.Minute)
	if got := len(d.sounds); got != 2 {
		t.Errorf("sounds after ten minutes = %d, want 2: nothing is owed any more", got)
	}
}

func TestAcknowledgeAllIsWhatTheCardListed(t *testing.T) {
	d := newDesk(t, "2026-07-01T12:00:00Z")
	for _, id := range []incident.ID{"a", "b", "c"} {
		d.push(id)
		d.pass(2 * time.Second)
	}
	seen := d.last()
	d.push("d")
	d.do(Settle{Incident: "b"})
	n, ok := d.person.UpdateNumber(seen.ID)
	if got, want := ids(d.person.CardItems(n)), []incident.ID{"c"}; !ok || !slices.Equal(got, want) {
		t.Errorf("card %s acknowledges %v (%v), want %v: b has settled, d came later", seen.ID, got, ok, want)
	}
	if _, ok := d.person.UpdateNumber("storm-bob-x#1"); ok {
		t.Error("a card of another storm is known, want it refused")
	}
}

// A storm is over and another begins before the next sound: its card is another
// one, or its updates would pass for those that were sent already, and a late tap
// on the first card would acknowledge what that card never showed.
func TestTwoStormsWithinOneSoundHaveTwoCards(t *testing.T) {
	d := newDesk(t, "2026-07-01T12:00:00Z")
	d.push("a")
	d.pass(2 * time.Second)
	d.push("b")
	first := d.last()
	d.do(Settle{Incident: "a"})
	d.do(Settle{Incident: "b"})
	d.pass(3 * time.Second)
	d.push("c")
	d.pass(2 * time.Second)
	second := d.last()
	if len(ids(second.Items)) != 1 || second.Collapse == first.Collapse || second.ID == first.ID {
		t.Errorf("the second storm has the card %+v, the first had %+v", second, first)
	}
	if n, ok := d.person.UpdateNumber(first.ID); ok {
		t.Errorf("the first card stands for %v of the second storm", ids(d.person.CardItems(n)))
	}
}

func TestHigherUrgencySoundsThroughTheLimit(t *testing.T) {
	d := newDesk(t, "2026-07-01T12:00:00Z")
	if got := d.page("low", incident.Low, roster.PushAll, incident.PageAssigned); !got.Sound {
		t.Errorf("first low page = %+v, want a sound", got)
	}
	d.pass(time.Second)
	if got := d.push("high"); !got.Sound || got.Verdict != SendNow {
		t.Errorf("high page a second later = %+v, want a sound, on its own", got)
	}
	d.pass(time.Second)
	if got := d.push("other"); got.Sound {
		t.Errorf("another high page a second later = %+v, want it silent", got)
	}
}

func TestReminderIsExempt(t *testing.T) {
	d := newDesk(t, "2026-07-01T12:00:00Z")
	d.push("a")
	d.pass(time.Minute)
	d.push("b")
	d.pass(time.Second)
	for _, r := range []incident.PageReason{incident.PageStep, incident.PageReminder, incident.PageRejected} {
		if got := d.page("a", incident.High, roster.PushAll, r); !got.Sound || got.Verdict != SendNow {
			t.Errorf("re-notify step %d a second after a sound = %+v, want it heard, on its own card", r, got)
		}
	}
}

func TestOwedSoundIsPaidForWhatStillNeedsSomebody(t *testing.T) {
	d := newDesk(t, "2026-07-01T12:00:00Z")
	d.push("a")
	d.push("b")
	d.push("c")
	d.settled["b"] = true
	d.pass(time.Minute)
	if got := d.last(); !got.Sound || !slices.Equal(ids(got.Items), []incident.ID{"c"}) {
		t.Errorf("owed card = %+v, want a sound for c alone", got)
	}
}

func TestNothingIsOwedForTheSettled(t *testing.T) {
	d := newDesk(t, "2026-07-01T12:00:00Z")
	d.push("a")
	d.push("b")
	d.settled["b"] = true // its Settle got lost: the view says so too
	d.pass(time.Minute)
	if len(d.sounds) != 1 {
		t.Errorf("sounds = %v, want only that of a", d.sounds)
	}
	if got := d.last(); len(got.Items) != 0 || got.Sound || got.Kind != CardStorm {
		t.Errorf("last card = %+v, want the storm card cleared in silence", got)
	}
	if !d.person.Storm.Start.IsZero() || len(d.person.Open) != 1 {
		t.Errorf("person = %+v, want no storm and a alone open", d.person)
	}
}

func TestRepeatedWorkGetsTheSameAnswer(t *testing.T) {
	d := newDesk(t, "2026-07-01T12:00:00Z")
	d.push("a")
	c := Page{Work: "again", Reason: incident.PageAssigned, Item: Item{Incident: "b", Urgency: incident.High, Method: roster.PushAll}}
	first, person := d.do(c), d.person
	d.pass(40 * time.Second)
	second, err := Decide(person, c, d.view, d.now)
	if err != nil || second.Changed || second.Outcome != first || len(second.Cards) != 0 {
		t.Errorf("repeated: %+v, changed %v, %v; want %+v and nothing else", second.Outcome, second.Changed, err, first)
	}
}

func TestDecideChangesNoArgument(t *testing.T) {
	d := newDesk(t, "2026-07-01T12:00:00Z")
	d.push("a")
	d.push("b")
	was := fmt.Sprintf("%+v", d.person)
	p := d.person
	d.push("c")
	d.do(Settle{Incident: "b"})
	if got := fmt.Sprintf("%+v", p); got != was {
		t.Errorf("the old document is now\n%s\nwant\n%s", got, was)
	}
}

func TestMailIsBundled(t *testing.T) {
	d := newDesk(t, "2026-07-01T12:00:00Z")
	mailed := func(id incident.ID) Outcome { return d.page(id, incident.High, mail, incident.PageStep) }
	if got := mailed("a"); got.Verdict != SendNow || got.Sound {
		t.Errorf("first mail = %+v, want it now, without a sound", got)
	}
	d.pass(10 * time.Second)
	for _, id := range []incident.ID{"b", "c", "b"} {
		if got := mailed(id); got.Verdict != Bundled || got.Until.Sub(d.now) != 50*time.Second {
			t.Errorf("mail %s within the window = %+v, want it bundled for 50 s", id, got)
		}
	}
	d.settled["c"] = true
	d.pass(time.Minute)
	if got := d.last(); got.Kind != CardBundle || !slices.Equal(ids(got.Items), []incident.ID{"b"}) || got.Method != mail {
		t.Errorf("bundle = %+v, want b alone by mail: c has settled", got)
	}
	if got := mailed("d"); got.Verdict != Bundled {
		t.Errorf("mail after the bundle = %+v, want it in the window that the bundle opened", got)
	}
	d.pass(3 * time.Minute)
	if got := mailed("e"); got.Verdict != SendNow {
		t.Errorf("mail after a quiet spell = %+v, want it now", got)
	}
}

// TestCase54_StormOfASilentPhone: two hundred incidents within a minute of a
// person whose phone is silent; the first fallback goes out at once, all others
// a minute later in one summary.
func TestCase54_StormOfASilentPhone(t *testing.T) {
	d := newDesk(t, "2026-07-01T12:00:00Z")
	fall := func(id incident.ID) Outcome { return d.page(id, incident.High, mail, incident.PageNoReceipt) }
	if got := fall("a"); got.Verdict != SendNow {
		t.Errorf("first fall-back = %+v, want it now", got)
	}
	for i := range 200 {
		if got := fall(incident.ID(fmt.Sprint("i", i))); got.Verdict != Bundled {
			t.Fatalf("fall-back %d = %+v, want it in the summary", i, got)
		}
	}
	d.pass(time.Minute)
	if len(d.sent) != 1 || d.sent[0].Kind != CardFallback || len(d.sent[0].Items) != 200 {
		t.Errorf("%d cards, the last %v with %d; want one summary of 200", len(d.sent), d.last().Kind, len(d.last().Items))
	}
}

func TestLowUrgencyByDayCollects(t *testing.T) {
	d := newDesk(t, "2026-07-01T12:00:00Z")
	low := func(id incident.ID) Outcome {
		return d.page(id, incident.Low, roster.PushAll, incident.PageAssigned)
	}
	if got := low("a"); got.Verdict != SendNow || !got.Sound {
		t.Errorf("first low page = %+v, want it now", got)
	}
	d.pass(time.Minute)
	low("b")
	if got := low("c"); got.Verdict != Bundled || got.Until.Sub(d.now) != 4*time.Minute {
		t.Errorf("low page within five minutes = %+v, want it collected", got)
	}
	d.pass(5 * time.Minute)
	if got := d.last(); !got.Sound || !slices.Equal(ids(got.Items), []incident.ID{"b", "c"}) || got.Urgency != incident.Low {
		t.Errorf("after the window: %+v, want b and c with a sound", got)
	}
}

func quietDesk(t *testing.T, now string) *desk {
	t.Helper()
	d := newDesk(t, now)
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	d.view.Zone, d.view.User.Quiet = zone, roster.QuietHours{Start: 22 * time.Hour, End: 7 * time.Hour}
	return d
}

// Domain tests 18 and 19: low urgency at two in the morning, also in the night
// that is an hour longer.
func TestQuietHoursHoldLowUrgency(t *testing.T) {
	for _, c := range []struct{ name, at, release string }{
		{"ordinary night", "2026-07-02T06:00:00Z", "2026-07-02T11:00:00Z"},
		{"clocks go back", "2026-11-01T06:00:00Z", "2026-11-01T12:00:00Z"},
		{"clocks go forward", "2026-03-08T06:00:00Z", "2026-03-08T11:00:00Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := quietDesk(t, c.at)
			for i := range 60 {
				if got := d.page(incident.ID(fmt.Sprint("i", i)), incident.Low, roster.PushAll, incident.PageAssigned); got.Verdict != HeldBack {
					t.Fatalf("low page at night = %+v, want it held", got)
				}
			}
			d.do(Notice{Work: "n", Method: roster.PushAll, Text: "merged"})
			d.settled["i7"] = true
			d.pass(12 * time.Hour)
			if len(d.sent) != 1 {
				t.Fatalf("%d cards, want one digest", len(d.sent))
			}
			got := d.sent[0]
			if got.Kind != CardDigest || got.At.Format(time.RFC3339) != c.release {
				t.Errorf("card %v at %v, want a digest at %s", got.Kind, got.At, c.release)
			}
			if len(got.Items)+len(got.Lines) != DigestLines || got.More != 10 {
				t.Errorf("%d lines and %d more, want %d and 10: one of 61 has settled", len(got.Items)+len(got.Lines), got.More, DigestLines)
			}
		})
	}
}

func TestHighUrgencyPassesQuietHours(t *testing.T) {
	d := quietDesk(t, "2026-07-02T06:00:00Z")
	d.page("a", incident.Low, roster.PushAll, incident.PageAssigned)
	if got := d.push("a"); got.Verdict != SendNow || !got.Sound {
		t.Errorf("raised to high at night = %+v, want it now", got)
	}
	if len(d.person.Held) != 0 || !d.person.Release.IsZero() {
		t.Errorf("held = %+v, want nothing: it was told", d.person.Held)
	}
}

func TestLowUrgencyOwedIntoTheNightIsHeld(t *testing.T) {
	d := quietDesk(t, "2026-07-02T01:59:50Z") // ten seconds before quiet hours
	d.push("a")
	if got := d.page("b", incident.Low, roster.PushAll, incident.PageAssigned); got.Verdict != OnCard || got.Sound {
		t.Errorf("low page right after a high one = %+v, want it silent on the card", got)
	}
	d.pass(time.Hour)
	if len(d.sounds) != 1 {
		t.Errorf("sounds = %v, want none in quiet hours for low urgency", d.sounds)
	}
	d.pass(12 * time.Hour)
	if got := d.last(); got.Kind != CardDigest || !slices.Equal(ids(got.Items), []incident.ID{"b"}) {
		t.Errorf("last card = %+v, want b in the digest", got)
	}
}

func TestNotices(t *testing.T) {
	d := quietDesk(t, "2026-07-02T06:00:00Z")
	uncovered := func(work string) Outcome {
		return d.do(Notice{Work: work, Method: roster.PushAll, Text: "level 1 has nobody", Key: "p/1", Every: 6 * time.Hour})
	}
	if got := uncovered("u1"); got.Verdict != HeldBack {
		t.Errorf("notice at night = %+v, want it held", got)
	}
	if got := uncovered("u2"); got.Verdict != Repeated {
		t.Errorf("the same again = %+v, want it dropped as told", got)
	}
	if got := d.do(Notice{Work: "c", Method: roster.PushAll, Text: "still on it?", Urgent: true}); got.Verdict != SendNow || !got.Sound {
		t.Errorf("urgent notice at night = %+v, want it now, heard", got)
	}
	d.pass(6 * time.Hour)
	if got := uncovered("u3"); got.Verdict != SendNow || got.Sound {
		t.Errorf("notice by day, six hours later = %+v, want it now, silent", got)
	}
}

func TestUnreportedCardComesAgain(t *testing.T) {
	d := newDesk(t, "2026-07-01T12:00:00Z")
	d.lost = true
	d.push("a")
	d.push("b")
	first := d.last()
	d.pass(10 * time.Second)
	if got := d.last(); got.ID != first.ID || len(d.sent) != 2 || !slices.Equal(ids(got.Items), []incident.ID{"b"}) {
		t.Errorf("cards = %+v, want the first again with b", d.sent)
	}
	d.pass(time.Hour)
	if len(d.person.Outbox) != 0 || !d.person.Due().IsZero() {
		t.Errorf("outbox = %+v, due %v; want nothing after the deadline", d.person.Outbox, d.person.Due())
	}
}

func TestSupersededUpdateHandsOnItsSound(t *testing.T) {
	d := newDesk(t, "2026-07-01T12:00:00Z")
	d.push("a")
	d.push("b")
	d.pass(29 * time.Second)
	d.lost = true
	d.pass(time.Second) // the owed sound is on its way, nobody knows how far
	if got := d.last(); !got.Sound {
		t.Fatalf("card = %+v, want the owed sound", got)
	}
	d.pass(2 * time.Second)
	d.push("c")
	if got := d.last(); !got.Sound || len(d.person.Outbox) != 1 || !slices.Equal(ids(got.Items), []incident.ID{"b", "c"}) {
		t.Errorf("card = %+v, outbox %d; want one card with both and the sound", got, len(d.person.Outbox))
	}
}

func TestUnnamedIsRefused(t *testing.T) {
	d := newDesk(t, "2026-07-01T12:00:00Z")
	for _, c := range []Command{Page{Work: "w"}, Page{Item: Item{Incident: "a"}}, Notice{}, nil} {
		if _, err := Decide(d.person, c, d.view, d.now); err == nil {
			t.Errorf("Decide(%+v) = nil, want an error", c)
		}
	}
}

func TestNamesFitApple(t *testing.T) {
	p := &Person{User: roster.UserID(fmt.Sprintf("%0100d", 1)), Storm: Storm{Start: time.Unix(4e9, 0)}}
	if got := len(p.stormName()); got > 64 {
		t.Errorf("the storm card's collapse id has %d bytes, want at most 64", got)
	}
}
