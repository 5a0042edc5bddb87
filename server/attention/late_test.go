package attention

import (
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/incident"
)

// Whoever had a card in hand died, or paging was held, for longer than the
// card lives: it is given out again all the same. It never went out.
func TestCardOutlivesALongPause(t *testing.T) {
	d := newDesk(t, "2026-07-01T12:00:00Z")
	d.page("i1", incident.High, mail, incident.PageAssigned)
	d.page("i2", incident.High, mail, incident.PageAssigned)
	d.lost = true
	d.now = d.now.Add(MailWindow)
	d.do(Tick{})
	if len(d.sent) != 1 || d.sent[0].Kind != CardBundle {
		t.Fatalf("cards = %+v, want the bundle", d.sent)
	}
	d.now = d.now.Add(3 * time.Hour)
	d.lost = false
	d.do(Tick{})
	if len(d.sent) != 2 || d.sent[1].ID != d.sent[0].ID || !d.sent[1].Deadline.After(d.now) {
		t.Fatalf("cards = %+v, want the same bundle again, with a deadline that is not over", d.sent)
	}
	if len(d.person.Outbox) != 0 {
		t.Errorf("outbox = %+v, want nothing left", d.person.Outbox)
	}
}

// What nobody needs any more is not given out again, and does not stay.
func TestCardOfSettledIncidentsEnds(t *testing.T) {
	d := newDesk(t, "2026-07-01T12:00:00Z")
	d.page("i1", incident.High, mail, incident.PageAssigned)
	d.page("i2", incident.High, mail, incident.PageAssigned)
	d.lost = true
	d.now = d.now.Add(MailWindow)
	d.do(Tick{})
	d.settled["i1"], d.settled["i2"] = true, true
	d.now = d.now.Add(3 * time.Hour)
	d.do(Tick{})
	if len(d.sent) != 1 || len(d.person.Outbox) != 0 || !d.person.Due().IsZero() {
		t.Errorf("cards = %+v, outbox = %+v, due %v; want one card, and nothing left", d.sent, d.person.Outbox, d.person.Due())
	}
}
