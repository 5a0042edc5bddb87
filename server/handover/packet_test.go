package handover

import (
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

var start = time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)

// tale is an incident that was triggered by an alert at an instant of the story, with what followed.
func tale(id incident.ID, status incident.Status, key string, at time.Duration, rest ...incident.Entry) told {
	in := &incident.Incident{ID: id, Service: "shop", Status: status, Urgency: incident.High, Severity: event.Error, Created: start.Add(at)}
	in.Text.Title = "title of " + string(id)
	first := incident.Entry{At: start.Add(at), Type: incident.EntryTriggered, Service: "shop", Key: key}
	return told{in, append([]incident.Entry{first}, rest...)}
}

func after(at time.Duration, e incident.Entry) incident.Entry {
	e.At, e.Service = start.Add(at), "shop"
	return e
}

func page(at time.Duration) incident.Entry {
	return after(at, incident.Entry{Type: incident.EntryNotified, Users: []roster.UserID{"ann"}})
}

func packet() *Packet {
	return &Packet{Turn: Turn{HandOff: schedule.HandOff{At: start.Add(8 * time.Hour), From: "ann", To: "bo"}, Schedule: "primary", Start: start}}
}

// TestOnlyTheShiftCounts: what went before the shift and came after it is no
// part of it; the instant of the hand-off belongs to the next one.
func TestOnlyTheShiftCounts(t *testing.T) {
	p := packet()
	note := func(text string) incident.Entry { return incident.Entry{Type: incident.EntryNote, Text: text} }
	p.tell([]told{
		tale("old", incident.Acknowledged, "disk", -time.Hour, page(-time.Hour), after(-time.Minute, note("before")), page(0), after(time.Hour, note("during")), page(8*time.Hour)),
		tale("gone", incident.Resolved, "disk", time.Hour, page(time.Hour), after(2*time.Hour, incident.Entry{Type: incident.EntryDuplicate, Key: "disk", Count: 7}), after(3*time.Hour, incident.Entry{Type: incident.EntryResolved})),
		tale("late", incident.Triggered, "net", 9*time.Hour, page(9*time.Hour), after(9*time.Hour, note("later"))),
	})
	if p.Pages != 2 || p.Resolved != 1 {
		t.Errorf("%d pages and %d resolved, want 2 and 1", p.Pages, p.Resolved)
	}
	if len(p.Remarks) != 1 || p.Remarks[0].Note.Text != "during" {
		t.Errorf("noted during the shift: %+v", p.Remarks)
	}
	if want := (Noise{Service: "shop", Key: "disk", Title: "title of gone", Incidents: 1, Pages: 2, Repeats: 7}); len(p.Noise) != 1 || p.Noise[0] != want {
		t.Errorf("noise is %+v, want %+v", p.Noise, want)
	}
	if len(p.Open) != 2 || p.Open[0].ID != "late" || p.Open[0].Note.Text != "later" || p.Open[1].Note.Text != "during" {
		t.Errorf("open are %+v, want the late one first, each with its latest note", p.Open)
	}
}

// TestMostPressingFirst: what nobody has taken, then what somebody holds, then
// what sleeps; the urgent and the severe before others.
func TestMostPressingFirst(t *testing.T) {
	asleep, held := tale("asleep", incident.Acknowledged, "a", 0), tale("held", incident.Acknowledged, "b", time.Minute)
	asleep.incident.Timers.SnoozeEnd = start.Add(20 * time.Hour)
	calm, severe := tale("calm", incident.Triggered, "c", 0), tale("severe", incident.Triggered, "d", time.Hour)
	calm.incident.Urgency = incident.Low
	severe.incident.Severity = event.Critical
	p := packet()
	p.tell([]told{asleep, held, calm, severe, tale("old", incident.Triggered, "e", 0)})
	var got []incident.ID
	for _, o := range p.Open {
		got = append(got, o.ID)
	}
	want := []incident.ID{"severe", "old", "calm", "held", "asleep"}
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Fatalf("the order is %v, want %v", got, want)
		}
	}
}

// TestMuchNoiseIsCut: the loudest ten are told, and the latest hundred notes.
func TestMuchNoiseIsCut(t *testing.T) {
	var all []told
	for i := range 120 {
		id := incident.ID(rune('a'+i%26)) + incident.ID(rune('a'+i/26))
		one := tale(id, incident.Resolved, string(id), time.Duration(i)*time.Minute, after(time.Duration(i)*time.Minute, incident.Entry{Type: incident.EntryNote, Text: string(id)}))
		for range i {
			one.timeline = append(one.timeline, page(time.Duration(i)*time.Minute))
		}
		all = append(all, one)
	}
	p := packet()
	p.tell(all)
	if len(p.Noise) != mostNoise || p.Noise[0].Pages != 119 || p.Noise[9].Pages != 110 {
		t.Errorf("noise is %+v", p.Noise)
	}
	if len(p.Remarks) != mostRemarks || p.Remarks[mostRemarks-1].Note.Text != string(all[119].incident.ID) {
		t.Errorf("%d notes, want the latest %d", len(p.Remarks), mostRemarks)
	}
}

func TestMissesAreToldForEachPerson(t *testing.T) {
	p := packet()
	p.tell([]told{tale("i", incident.Triggered, "k", 0, after(15*time.Minute, incident.Entry{Type: incident.EntryResponseMissed, Users: []roster.UserID{"ann"}, Took: 15 * time.Minute}))})
	if len(p.Misses) != 1 || p.Misses[0].User != "ann" || p.Misses[0].Target != 15*time.Minute || !p.Misses[0].At.Equal(start.Add(15*time.Minute)) {
		t.Errorf("missed: %+v", p.Misses)
	}
}

func TestSummary(t *testing.T) {
	asleep := &incident.Incident{Status: incident.Acknowledged}
	asleep.Timers.SnoozeEnd = start
	for want, open := range map[string][]*incident.Incident{
		"No incident is open.":                                 nil,
		"1 incident is open, 1 not acknowledged.":              {{Status: incident.Triggered}},
		"3 incidents are open, 1 not acknowledged, 1 snoozed.": {{Status: incident.Triggered}, asleep, {Status: incident.Acknowledged}},
		"1 incident is open.":                                  {{Status: incident.Acknowledged}},
	} {
		if got := Summary(open); got != want+" The whole hand-off: tocsin oncall handoff." {
			t.Errorf("%d incidents are summed up as %q, want %q", len(open), got, want)
		}
	}
}
