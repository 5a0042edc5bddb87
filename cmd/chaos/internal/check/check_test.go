package check

import (
	"slices"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/ledger"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// start is when the story of these tests begins.
var start = time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

// story is a ledger and a state in which every promise was kept: Ann is paged,
// does not answer, Bo is paged and acknowledges; a second incident has been
// resolved and archived; a third one waits for Ann.
type story struct {
	book  ledger.Book
	found Found
	terms Terms
}

// The incidents of the story.
const (
	taken = iota
	over
	waiting
)

func newStory() *story {
	s := &story{
		terms: Terms{
			Level: 10 * time.Second, Last: 1, Loops: 1, Late: 2 * time.Second, Early: 100 * time.Millisecond, Recovery: 5 * time.Second,
			Silence: 10 * time.Second, Tap: time.Second, Config: 2 * time.Second,
		},
		found: Found{
			At: at(100), Linked: map[store.LinkedKey]incident.ID{}, Open: map[incident.ID]bool{}, Timers: map[incident.ID]time.Time{},
			Beside: map[incident.ID][]string{}, Listed: map[incident.ID]incident.Status{},
		},
	}
	s.add("one", 0, []incident.Entry{
		{At: at(0), Type: incident.EntryTriggered, Urgency: incident.High, Severity: event.Critical, Count: 1},
		{At: at(0), Type: incident.EntryAssigned, Users: []roster.UserID{"ann"}, Via: incident.ViaPolicy},
		{At: at(0), Type: incident.EntryNotified, Users: []roster.UserID{"ann"}, Step: roster.PushAll},
		{At: at(10), Type: incident.EntryEscalated, Level: 1, Cause: incident.CauseTimeout},
		{At: at(10), Type: incident.EntryAssigned, Users: []roster.UserID{"bo"}, Via: incident.ViaPolicy, Level: 1},
		{At: at(10), Type: incident.EntryNotified, Users: []roster.UserID{"bo"}, Step: roster.PushAll},
		{At: at(13), Type: incident.EntryAcknowledged, Actor: incident.Actor{Kind: incident.ActorUser, ID: "bo"}},
		{At: at(14), Type: incident.EntryNote, Text: "note 1"},
	})
	in := s.found.Records[taken].Incident
	in.Status, in.Level, in.Timers.AckTimeout = incident.Acknowledged, 1, at(1800)
	in.Assignees = []incident.Assignee{{User: "bo"}}
	in.Acks = []incident.Ack{{By: incident.Actor{Kind: incident.ActorUser, ID: "bo"}, At: at(13)}}
	s.found.Records[taken].Deliveries = []incident.Delivery{
		{ID: "d1", Work: "w1", User: "ann", Device: "a", Kind: roster.Push, Page: true, Attempted: at(0.1)},
		{ID: "d2", Work: "w2", User: "bo", Device: "b", Kind: roster.Push, Page: true, Attempted: at(10.1)},
	}

	s.add("two", 20, []incident.Entry{
		{At: at(20), Type: incident.EntryTriggered, Urgency: incident.High, Severity: event.Critical, Count: 1},
		{At: at(20), Type: incident.EntryAssigned, Users: []roster.UserID{"ann"}, Via: incident.ViaPolicy},
		{At: at(20), Type: incident.EntryNotified, Users: []roster.UserID{"ann"}, Step: roster.PushAll},
		{At: at(25), Type: incident.EntryResolved, Cause: incident.CauseManual, Actor: incident.Actor{Kind: incident.ActorUser, ID: "ann"}},
	})
	r := &s.found.Records[over]
	r.Archived, r.Incident.Status, r.Incident.AlertsOpen = true, incident.Resolved, 0
	r.Alerts[0].Open = false
	delete(s.found.Linked, store.LinkedKey{Service: "shop", Key: "two"})
	s.found.Open[r.Incident.ID] = false

	s.add("three", 95, []incident.Entry{
		{At: at(95), Type: incident.EntryTriggered, Urgency: incident.High, Severity: event.Critical, Count: 1},
		{At: at(95), Type: incident.EntryAssigned, Users: []roster.UserID{"ann"}, Via: incident.ViaPolicy},
		{At: at(95), Type: incident.EntryNotified, Users: []roster.UserID{"ann"}, Step: roster.PushAll},
	})
	in = s.found.Records[waiting].Incident
	in.Assignees, in.Timers.Escalate = []incident.Assignee{{User: "ann"}}, at(105)
	s.found.Timers[in.ID] = at(105)

	s.book = ledger.Book{
		Events: []ledger.Event{
			{Number: 1, Service: "shop", Key: "one", Action: "trigger", Sender: "1", Tries: 1, Sent: at(0), Accepted: at(0)},
			{Number: 2, Service: "shop", Key: "two", Action: "trigger", Sender: "2", Tries: 2, Sent: at(20), Accepted: at(20)},
			{Number: 3, Service: "shop", Key: "two", Action: "resolve", Sender: "3", Tries: 1, Sent: at(24), Accepted: at(24)},
			{Number: 4, Service: "shop", Key: "three", Action: "trigger", Tries: 1, Sent: at(95), Accepted: at(95)},
		},
		Pushes: []ledger.Push{
			{At: at(0.2), Person: "ann", Token: "a", Kind: "page", Delivery: "d1", Incident: "one", Collapse: "inc-one", Answered: 200, Partition: 7},
			{At: at(10.2), Person: "bo", Token: "b", Kind: "page", Delivery: "d2", Incident: "one", Collapse: "inc-one", Answered: 200, Instance: -1, Partition: 7},
			{At: at(20.2), Person: "ann", Token: "a", Kind: "page", Delivery: "d3", Incident: "two", Collapse: "inc-two", Answered: 200, Partition: 7},
			{At: at(95.2), Person: "ann", Token: "a", Kind: "page", Delivery: "d4", Incident: "three", Collapse: "inc-three", Answered: 200, Instance: 1, Partition: 7},
		},
		Acts: []ledger.Act{
			{At: at(12.9), Answered: at(13.1), Person: "bo", Incident: "one", Verb: "acknowledge", Taken: true, Changed: true},
			{At: at(24.9), Answered: at(25.1), Person: "ann", Incident: "two", Verb: "resolve", Taken: true, Changed: true},
			{At: at(14), Answered: at(14), Incident: "one", Verb: "note", Again: true, Same: true, Taken: true},
			{At: at(61), Answered: at(61.1), Person: "bo", Incident: "one", Verb: "acknowledge", Taken: true},
		},
		Looks: []ledger.Look{
			{At: at(1), Incident: "one", Revision: 1, Generation: 1, Version: 1, Seq: 3},
			{At: at(12), Incident: "one", Revision: 2, Generation: 2, Version: 2, Seq: 6},
		},
		Harms: []ledger.Harm{
			{From: at(60), Until: at(70), Served: at(70), Kind: "full-memory"},
			{From: at(12.5), Until: at(13.5), Served: at(13.5), Kind: "storm"},
			{From: at(72), Until: at(74), Served: at(74), Kind: "kill-instance"},
		},
		Policies: []ledger.Policy{
			{Service: "shop", Levels: []string{"ann", "bo"}}, {Service: "shop", Levels: []string{"ann", "cy"}, Began: at(5), Set: at(5.1)},
		},
		Leases: []ledger.Lease{
			{At: at(-1), Partition: 7, Instance: 0}, {At: at(50), Partition: 7, Instance: 1},
		},
		Probes: []ledger.Probe{{Set: at(30), By: "instance 0", Seen: "instance 1", SeenAt: at(30.2)}},
	}
	return s
}

// add makes an open incident of one alert, triggered at an instant.
func (s *story) add(id string, seconds float64, timeline []incident.Entry) {
	for i := range timeline {
		timeline[i].Seq = i + 1
	}
	in := &incident.Incident{
		ID: incident.ID(id), Service: "shop", Status: incident.Triggered, Urgency: incident.High, Severity: event.Critical, Created: at(seconds),
		AlertsOpen: 1, Seq: len(timeline), Revision: 9, Generation: 9, Version: 9,
	}
	s.found.Records = append(s.found.Records, store.Record{
		Incident: in, Timeline: timeline, Alerts: []incident.Alert{{Service: "shop", Key: id, Open: true, Count: 1}},
	})
	s.found.Linked[store.LinkedKey{Service: "shop", Key: id}] = in.ID
	s.found.Open[in.ID] = true
	s.found.Timers[in.ID] = at(1800)
	s.found.Listed[in.ID] = in.Status
}

// entry returns an entry of a timeline, to be changed.
func (s *story) entry(record, number int) *incident.Entry {
	return &s.found.Records[record].Timeline[number-1]
}

// lengthen appends an entry to a timeline.
func (s *story) lengthen(record int, e incident.Entry) {
	r := &s.found.Records[record]
	r.Incident.Seq++
	e.Seq = r.Incident.Seq
	r.Timeline = append(r.Timeline, e)
}

func TestKeptPromises(t *testing.T) {
	s := newStory()
	out := All(s.book, s.found, s.terms)
	for _, v := range out.Violations {
		t.Errorf("in a story without a violation: %s", v)
	}
	for _, invariant := range []string{
		"I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I10", "I11", "I12", "I13", "I14", "I15", "I16", "I17", "I18", "I19", "API",
	} {
		if out.Checked[invariant] == 0 {
			t.Errorf("%s was held against nothing", invariant)
		}
	}
}

// TestPlantedViolations: each check finds what it is there for.
func TestPlantedViolations(t *testing.T) {
	for _, c := range []struct {
		name      string
		invariant string
		plant     func(s *story)
	}{
		{"an accepted event is in no incident", "I1", func(s *story) {
			s.book.Events = append(s.book.Events, ledger.Event{Service: "shop", Key: "four", Action: "trigger", Sender: "5", Tries: 1, Accepted: at(40)})
		}},
		{"an accepted repeat is not counted", "I1", func(s *story) {
			s.book.Events = append(s.book.Events, ledger.Event{Service: "shop", Key: "one", Action: "trigger", Sender: "5", Tries: 1, Accepted: at(40)})
		}},
		{"an event sent twice is counted twice", "I1", func(s *story) { s.found.Records[over].Alerts[0].Count = 2 }},
		{"an event that nobody sent is counted", "I1", func(s *story) { s.book.Events = s.book.Events[:3] }},
		{"an accepted end has no effect", "I1", func(s *story) {
			s.book.Events = append(s.book.Events, ledger.Event{Service: "shop", Key: "one", Action: "resolve", Sender: "6", Tries: 1, Accepted: at(50)})
		}},
		{"two open incidents of one key", "I2", func(s *story) {
			s.found.Records[waiting].Alerts = append(s.found.Records[waiting].Alerts, incident.Alert{Service: "shop", Key: "one", Open: true})
		}},
		{"an open incident is not in the index", "I3", func(s *story) { delete(s.found.Open, "one") }},
		{"a resolved incident is in the index", "I3", func(s *story) { s.found.Open["two"] = true }},
		{"the index has an incident that does not exist", "I3", func(s *story) { s.found.Open["nine"] = true }},
		{"a key leads to a resolved incident", "I3", func(s *story) { s.found.Linked[store.LinkedKey{Service: "shop", Key: "two"}] = "two" }},
		{"a key leads to nothing", "I3", func(s *story) { s.found.Linked[store.LinkedKey{Service: "shop", Key: "two"}] = "nine" }},
		{"the key of an open alert leads nowhere", "I3", func(s *story) { delete(s.found.Linked, store.LinkedKey{Service: "shop", Key: "one"}) }},
		{"an incident miscounts its alerts", "I3", func(s *story) { s.found.Records[taken].Incident.AlertsOpen = 2 }},
		{"an incident without a timer", "I4", func(s *story) { s.found.Records[waiting].Incident.Timers.Escalate = time.Time{} }},
		{"a timer that the index does not have", "I4", func(s *story) { delete(s.found.Timers, "three") }},
		{"a timer that the index has too late", "I4", func(s *story) { s.found.Timers["three"] = at(200) }},
		{"a timer that was due long ago", "I4", func(s *story) {
			s.found.Records[waiting].Incident.Timers.Escalate = at(80)
			s.found.Timers["three"] = at(80)
		}},
		{"a page that was never asked for", "I5", func(s *story) { s.book.Pushes = slices.Delete(s.book.Pushes, 1, 2); s.entry(taken, 7).At = at(20) }},
		{"a page that came too late", "I5", func(s *story) { s.book.Pushes[0].At = at(9) }},
		{"a page to somebody else", "I5", func(s *story) { s.book.Pushes[0].Person = "cy" }},
		{"a level that gave way early", "I6", func(s *story) { s.entry(taken, 4).At = at(8) }},
		{"a level that gave way late", "I6", func(s *story) { s.entry(taken, 4).At = at(15) }},
		{"a level that never gave way", "I6", func(s *story) {
			s.entry(waiting, 2).At = at(40)
		}},
		{"a level that was skipped", "I6", func(s *story) { s.entry(taken, 4).Level = 2 }},
		{"a pass that was not counted", "I6", func(s *story) {
			*s.entry(taken, 4) = incident.Entry{Seq: 4, At: at(10), Type: incident.EntryLoopRepeated, Loop: 2}
		}},
		{"a policy that was given up early", "I6", func(s *story) {
			*s.entry(taken, 4) = incident.Entry{Seq: 4, At: at(10), Type: incident.EntryExhausted}
		}},
		{"a level that gave way twice", "I7", func(s *story) {
			s.entry(taken, 5).Type, s.entry(taken, 5).Cause, s.entry(taken, 5).From = incident.EntryEscalated, incident.CauseTimeout, 0
		}},
		{"a page long after the acknowledgement", "I8", func(s *story) {
			s.book.Pushes = append(s.book.Pushes, ledger.Push{At: at(40), Person: "ann", Kind: "page", Incident: "one", Delivery: "d9"})
		}},
		{"a page that began after the answer", "I8", func(s *story) {
			s.found.Records[taken].Deliveries[0].Attempted = at(14)
		}},
		{"a duplicate under another name", "I9", func(s *story) {
			p := s.book.Pushes[0]
			p.Collapse, p.At = "inc-other", at(73)
			s.book.Pushes = append(s.book.Pushes, p)
		}},
		{"a duplicate while nothing was broken", "I9", func(s *story) {
			p := s.book.Pushes[0]
			p.At = at(1)
			s.book.Pushes = append(s.book.Pushes, p)
		}},
		{"one page as two deliveries", "I9", func(s *story) {
			r := &s.found.Records[taken]
			r.Deliveries = append(r.Deliveries, incident.Delivery{ID: "d8", Work: "w1", User: "ann", Device: "a", Kind: roster.Push, Page: true, Attempted: at(1)})
		}},
		{"an acknowledgement that got lost", "I10", func(s *story) { s.entry(taken, 7).Actor.ID = "cy" }},
		{"a resolve that got lost", "I10", func(s *story) { s.book.Acts[1].Incident = "nine" }},
		{"a repeated request with another answer", "I11", func(s *story) { s.book.Acts[2].Same = false }},
		{"a repeated request with two effects", "I11", func(s *story) {
			s.lengthen(taken, incident.Entry{At: at(14), Type: incident.EntryNote, Text: "note 1"})
		}},
		{"a revision that went back", "I12", func(s *story) { s.book.Looks[1].Revision = 0 }},
		{"a generation that went back", "I12", func(s *story) { s.book.Looks[1].Generation = 0 }},
		{"an incident that ended before where it was", "I12", func(s *story) { s.found.Records[taken].Incident.Version = 1 }},
		{"a gap in a timeline", "I13", func(s *story) { s.entry(taken, 3).Seq = 4 }},
		{"a timeline that is too short", "I13", func(s *story) { s.found.Records[taken].Incident.Seq = 9 }},
		{"a timeline that tells another state", "I13", func(s *story) { s.found.Records[taken].Incident.Status = incident.Triggered }},
		{"events that still wait", "I14", func(s *story) { s.found.Inbox = 1 }},
		{"work that still waits", "I14", func(s *story) { s.found.Work = 1 }},
		{"a dead letter", "I14", func(s *story) { s.found.Dead = []string{"x"} }},
		{"a page by who was the owner long ago", "I15", func(s *story) { s.book.Pushes[3].Instance = 0 }},
		{"a page by who is to be the owner", "I15", func(s *story) { s.book.Pushes[0].Instance = 1 }},
		{"a page by who was never the owner", "I15", func(s *story) { s.book.Pushes[0].Instance = 2 }},
		{"an acknowledgement that a full Redis refused", "I16", func(s *story) { s.book.Acts[3].Answered = time.Time{} }},
		{"an acknowledgement that was answered late in a storm", "I16", func(s *story) { s.book.Acts[0].Answered = at(14) }},
		{"an acknowledgement that was not answered in a storm", "I16", func(s *story) { s.book.Acts[0].Answered = time.Time{} }},
		{"a change that one instance did not show", "I17", func(s *story) { s.book.Probes[0].SeenAt = time.Time{} }},
		{"a change that one instance showed late", "I17", func(s *story) { s.book.Probes[0].SeenAt = at(33) }},
		{"an incident that follows a change of its policy", "I17", func(s *story) { s.entry(taken, 5).Users = []roster.UserID{"cy"} }},
		{"an incident that does not know of a change before it", "I17", func(s *story) {
			s.lengthen(waiting, incident.Entry{At: at(99), Type: incident.EntryAssigned, Users: []roster.UserID{"bo"}, Via: incident.ViaPolicy, Level: 1})
		}},
		{"an archive with something left beside it", "I18", func(s *story) { s.found.Beside["two"] = []string{"{x}:tl:two"} }},
		{"what is left of an incident that is gone", "I18", func(s *story) { s.found.Beside["nine"] = []string{"{x}:tl:nine"} }},
		{"a key that should end, and has no end", "I18", func(s *story) { s.found.Endless = []string{"{x}:rq:one"} }},
		{"an archive without a timeline", "I18", func(s *story) { s.found.Records[over].Timeline = nil }},
		{"a restart that took too long", "I19", func(s *story) { s.book.Harms[2].Served = at(90) }},
		{"a replica that took the place of its master too late", "I19", func(s *story) {
			s.book.Harms = append(s.book.Harms, ledger.Harm{From: at(72), Until: at(95), Served: at(90), Kind: "kill-master"})
		}},
		{"a revision that went back in peace, where replicas are", "I12", func(s *story) {
			s.terms.Succeeds = true
			s.book.Looks[1].Revision = 0
		}},
		{"an incident that the API does not list", "API", func(s *story) { delete(s.found.Listed, "one") }},
		{"an incident that only the API has", "API", func(s *story) { s.found.Listed["nine"] = incident.Resolved }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStory()
			c.plant(s)
			out := All(s.book, s.found, s.terms)
			if !slices.ContainsFunc(out.Violations, func(v Violation) bool { return v.Invariant == c.invariant }) {
				t.Errorf("%s was not violated; found: %v", c.invariant, out.Violations)
			}
		})
	}
}

// TestAllowances: what may be late or lost because something was broken is no violation.
func TestAllowances(t *testing.T) {
	for _, c := range []struct {
		name  string
		allow func(s *story)
	}{
		{"a page that waits for what was killed", func(s *story) {
			s.book.Harms = append(s.book.Harms, ledger.Harm{From: at(0), Until: at(4), Kind: "kill-instance"})
			s.book.Pushes[0].At = at(8)
		}},
		{"a level that gives way late, after Redis was out", func(s *story) {
			s.book.Harms = append(s.book.Harms, ledger.Harm{From: at(9), Until: at(12), Kind: "kill-redis"})
			for i := 4; i <= 6; i++ {
				s.entry(taken, i).At = at(12.5)
			}
			s.book.Pushes[1].At = at(12.6)
			s.found.Records[taken].Deliveries[1].Attempted = at(12.6)
		}},
		{"an event without a sender's id that counts once for each try", func(s *story) {
			s.book.Events[3].Tries = 2
			s.found.Records[waiting].Alerts[0].Count = 2
		}},
		{"a duplicate after a death", func(s *story) {
			p := s.book.Pushes[3]
			p.At = at(96)
			s.book.Pushes = append(s.book.Pushes, p)
			s.book.Harms = append(s.book.Harms, ledger.Harm{From: at(95.5), Until: at(95.8), Kind: "kill-instance"})
		}},
		{"a person who escalates from the last level before its time", func(s *story) {
			s.entry(taken, 5).Level = 1
			s.entry(taken, 7).Type, s.entry(taken, 7).Loop = incident.EntryLoopRepeated, 1
			*s.entry(taken, 8) = incident.Entry{Seq: 8, At: at(13), Type: incident.EntryEscalated, From: 1, Cause: incident.CauseManual, Loop: 1}
			s.lengthen(taken, incident.Entry{At: at(13), Type: incident.EntryAssigned, Users: []roster.UserID{"ann"}, Via: incident.ViaPolicy, Loop: 1})
			s.lengthen(taken, incident.Entry{At: at(13), Type: incident.EntryAcknowledged, Actor: incident.Actor{Kind: incident.ActorUser, ID: "bo"}})
			in := s.found.Records[taken].Incident
			in.Level, in.Loop, in.Assignees = 0, 1, []incident.Assignee{{User: "ann"}}
		}},
		{"a restart that took long because the machine stood still", func(s *story) {
			s.book.Harms[2].Served, s.book.Harms[2].Until = at(90), at(90)
			s.book.Harms = append(s.book.Harms, ledger.Harm{From: at(71), Until: at(86), Kind: ledger.Stall})
		}},
		{"a revision that goes back when a replica becomes master, which had not been told", func(s *story) {
			s.terms.Succeeds = true
			s.book.Looks[1].Revision = 0
			s.book.Harms = append(s.book.Harms, ledger.Harm{From: at(11), Until: at(11.5), Served: at(11.2), Kind: "kill-master"})
		}},
		{"a replica that is back long after its place was taken", func(s *story) {
			s.book.Harms = append(s.book.Harms, ledger.Harm{From: at(72), Until: at(95), Served: at(76), Kind: "kill-master"})
		}},
		{"a page by who was the owner just before", func(s *story) { s.book.Leases[1].At = at(90); s.book.Pushes[3].Instance = 0 }},
		{"a page by who may have been the owner while nobody could see it", func(s *story) {
			s.book.Pushes[3].Instance = 2
			s.book.Blinds = []ledger.Blind{{From: s.book.Pushes[3].At.Add(-time.Second), To: s.book.Pushes[3].At.Add(time.Second)}}
		}},
		{"a page by an owner that stood still since", func(s *story) {
			s.book.Pushes[3].Instance = 0
			s.book.Harms = append(s.book.Harms, ledger.Harm{From: at(49), Until: at(86), Kind: "pause-instance"})
		}},
		{"an incident that begins while its policy changes", func(s *story) {
			s.book.Policies[1].Began, s.book.Policies[1].Set = at(-0.5), at(-0.1)
		}},
		{"accepted events that are lost where the mode admits it", func(s *story) {
			s.terms.Loses = true
			s.book.Events = append(s.book.Events, ledger.Event{Service: "shop", Key: "four", Action: "trigger", Sender: "5", Tries: 1, Accepted: at(40)})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStory()
			c.allow(s)
			for _, v := range All(s.book, s.found, s.terms).Violations {
				t.Errorf("found: %s", v)
			}
		})
	}
}
