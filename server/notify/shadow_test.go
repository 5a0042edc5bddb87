package notify

import (
	"strings"
	"testing"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// follows makes ann bob's shadow.
func follows(mode schedule.Mode) func(*incident.Incident) {
	return func(in *incident.Incident) {
		in.Shadows = []incident.Assignee{{User: "ann", Shadow: incident.Shadowing{Follows: "bob", Mode: mode}}}
	}
}

// shadowed is a page to ann, who follows bob.
func shadowed(mode schedule.Mode, m roster.MethodID) incident.Work {
	w := page("ann", m)
	w.Follows, w.Mode = "bob", mode
	return w
}

// A page to a shadow is marked in its texts at every level of redaction and in
// its data; of one who observes, a browser's page has nothing to act by.
func TestPageToAShadowIsMarked(t *testing.T) {
	for mode, name := range map[schedule.Mode]string{schedule.Observe: "observe", schedule.Practise: "practise", schedule.Duty: "duty"} {
		r := newRig(t)
		_, work := r.triggerWith(follows(mode), page("bob", "mail"), shadowed(mode, roster.PushAll), shadowed(mode, "mail"))
		r.must(work[1:]...)
		for _, d := range r.push.sent(push.KindPage) {
			m := d.Message
			if m.Shadow != name || m.Title != "Shadow · Critical: Checkout API" {
				t.Errorf("%s: the page to %s is marked %q and says %q", name, d.Device.Platform, m.Shadow, m.Title)
			}
			if token := m.ActionToken != ""; d.Device.Platform == push.Web && token != (mode != schedule.Observe) {
				t.Errorf("%s: the browser can acknowledge: %v", name, token)
			}
		}
		letters := r.chans[roster.Email].sent()
		if len(letters) != 1 || letters[0].Shadow != name {
			t.Fatalf("%s: letters %+v, want one, marked", name, letters)
		}
		if acts := strings.Contains(strings.Join(letters[0].Lines, "\n"), "tocsin incidents ack"); acts != (mode != schedule.Observe) {
			t.Errorf("%s: the letter says how to acknowledge: %v", name, acts)
		}
	}
	in := &incident.Incident{Number: 7, Text: incident.Text{Title: "secret"}}
	if w := pageWords(in, "Checkout", shadowed(schedule.Duty, "mail"), roster.PrivacyMinimal); w.Title != "Shadow" || strings.Contains(w.Body, "secret") {
		t.Errorf("redacted: %+v", w)
	}
}

// The page was made before ann answered, as a shadow; it is not sent after.
func TestPageToAShadowWhoHasAnswered(t *testing.T) {
	r := newRig(t)
	_, work := r.triggerWith(func(in *incident.Incident) {
		follows(schedule.Practise)(in)
		in.Shadows[0].Shadow.Acked = r.now()
	}, page("bob", "mail"), shadowed(schedule.Practise, roster.PushAll))
	r.must(work...)
	if got := r.push.sent(push.KindPage); len(got) != 0 {
		t.Errorf("%d pages to one who has answered", len(got))
	}
	if got := r.chans[roster.Email].sent(); len(got) != 1 {
		t.Errorf("%d pages to the one who is asked, want 1: he has not", len(got))
	}
}

// The owners of a schedule are told once in six hours that nobody is on call by
// it, whatever asks by it.
func TestGapOfAScheduleIsToldOnce(t *testing.T) {
	r := newRig(t)
	gap := incident.Work{Kind: incident.WorkUncovered, Level: 1, Cause: incident.CauseGap, Schedule: "shop"}
	other := gap
	other.Level = 4
	for range 2 {
		_, work := r.trigger("Disk full", gap, other)
		for _, item := range work {
			r.must(item)
		}
	}
	infos := r.push.to(push.KindInfo, "iphone")
	if len(infos) != 1 || infos[0].Body != `Level 2 had nobody to page: nobody is on call by the schedule "Night of shop".` {
		t.Errorf("told %+v, want the schedule named, once", infos)
	}
}
