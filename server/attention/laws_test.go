package attention

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// withheld is a page that was shown without its sound.
type withheld struct {
	id incident.ID
	at time.Time
}

// TestLaws plays random days of pages and holds what no order of events may break.
func TestLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := newDesk(t, "2026-07-01T12:00:00Z")
		var owed []withheld
		settledAt := map[incident.ID]time.Time{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			id := incident.ID(fmt.Sprint("i", rapid.IntRange(0, 9).Draw(t, "incident")))
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0, 1:
				d.pass(time.Duration(rapid.IntRange(1, 90).Draw(t, "seconds")) * time.Second)
			case 2:
				d.settled[id], settledAt[id] = true, d.now
				if rapid.Bool().Draw(t, "told") {
					d.do(Settle{Incident: id})
				}
			default:
				delete(d.settled, id)
				urgency := rapid.SampledFrom([]incident.Urgency{incident.High, incident.High, incident.Low}).Draw(t, "urgency")
				reason := incident.PageReason(rapid.IntRange(int(incident.PageAssigned), int(incident.PageResponder)).Draw(t, "reason"))
				last := d.person.Sound
				got := d.page(id, urgency, roster.PushAll, reason)
				quietFor := d.now.Sub(last.At)
				first := urgency == incident.High && reason != incident.PageNoReceipt && (last.At.IsZero() || quietFor >= SoundEvery)
				if first && !got.Sound {
					t.Fatalf("a page after %v without a sound = %+v, want it heard at once", quietFor, got)
				}
				if got.Sound && got.Verdict != SendNow && got.Verdict != OnCard {
					t.Fatalf("outcome %+v sounds and is not shown", got)
				}
				if got.Verdict == OnCard && !got.Sound {
					owed = append(owed, withheld{id, d.now})
				}
			}
		}
		d.pass(time.Hour)
		checkSounds(t, d)
		for _, w := range owed {
			checkPaid(t, d, w, settledAt)
		}
		if due := d.person.Due(); !due.IsZero() {
			t.Fatalf("after an hour in peace the person is due %v: %+v", due, d.person)
		}
	})
}

// checkSounds holds that sounds keep their distance, but for the exemptions.
func checkSounds(t *rapid.T, d *desk) {
	for i, s := range d.sounds {
		if i == 0 || s.exempt || s.overdue {
			continue
		}
		if last := d.sounds[i-1]; s.at.Sub(last.at) < SoundEvery && s.urgency >= last.urgency {
			t.Fatalf("sounds %v after each other: %+v, %+v", s.at.Sub(last.at), last, s)
		}
	}
}

// checkPaid holds that the withheld sound was made within a minute on a card
// that lists the incident, or that nobody was needed any more.
func checkPaid(t *rapid.T, d *desk, w withheld, settledAt map[incident.ID]time.Time) {
	if at, ok := settledAt[w.id]; ok && !at.Before(w.at) {
		return
	}
	paid := slices.ContainsFunc(d.sent, func(c Card) bool {
		return c.Sound && !c.At.Before(w.at) && c.At.Sub(w.at) <= owedAtMost && slices.Contains(ids(c.Items), w.id)
	})
	if !paid {
		t.Fatalf("the sound of %s withheld at %v was never made; sounds %+v", w.id, w.at, d.sounds)
	}
}

// TestNothingGetsLost holds that every page shows up: at once, or on a card
// before its window ends, unless nobody was needed by then.
func TestNothingGetsLost(t *testing.T) {
	methods := []roster.MethodID{roster.PushAll, mail}
	rapid.Check(t, func(t *rapid.T) {
		d := newDesk(t, "2026-07-01T12:00:00Z")
		if rapid.Bool().Draw(t, "quiet") {
			d.view.User.Quiet = roster.QuietHours{Start: 12 * time.Hour, End: 13 * time.Hour}
		}
		waiting := map[incident.ID]time.Time{}
		for i := range rapid.IntRange(1, 40).Draw(t, "steps") {
			id := incident.ID(fmt.Sprint("i", i))
			got := d.page(id, incident.Urgency(rapid.IntRange(1, 2).Draw(t, "urgency")),
				rapid.SampledFrom(methods).Draw(t, "method"), incident.PageReason(rapid.IntRange(1, 8).Draw(t, "reason")))
			if got.Verdict != SendNow {
				waiting[id] = d.now
			}
			d.pass(time.Duration(rapid.IntRange(0, 30_000).Draw(t, "ms")) * time.Millisecond)
		}
		d.pass(2 * time.Hour)
		for id, at := range waiting {
			shown := slices.ContainsFunc(d.sent, func(c Card) bool {
				return !c.At.Before(at) && slices.Contains(ids(c.Items), id) || c.More > 0
			})
			if !shown {
				t.Fatalf("the page of %s at %v was never shown; cards %+v", id, at, d.sent)
			}
		}
	})
}
