package incident_test

import (
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/incident/incidenttest"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

func TestAcknowledgeSilences(t *testing.T) {
	s := trigger(t, incidenttest.New()).received()
	before := s.in.Generation
	s.until(90 * time.Second)
	s.must(incident.Acknowledge{By: by("ann")})
	if s.in.Generation == before {
		t.Error("pages that have not begun are not void after the acknowledgement")
	}
	n := len(s.work)
	s.until(29 * time.Minute)
	for _, w := range s.work[n:] {
		if w.Kind == incident.WorkPage {
			t.Errorf("a page after the acknowledgement: %+v", w)
		}
	}
	version, seq := s.in.Version, s.in.Seq
	s.must(incident.Acknowledge{By: by("ann")})
	if s.in.Version != version || s.in.Seq != seq {
		t.Error("the second acknowledgement of the same person changed the incident")
	}
	s.must(incident.Acknowledge{By: by("bo")})
	if len(s.in.Acks) != 2 {
		t.Errorf("%d acknowledgements, want the second person's recorded", len(s.in.Acks))
	}
}

func TestAcknowledgementTimesOut(t *testing.T) {
	s := trigger(t, incidenttest.New()).received()
	s.must(incident.Acknowledge{By: by("cy")})
	s.until(30*time.Minute + time.Second)
	same(t, "taken back", s.at(incident.EntryUnacknowledged), []time.Duration{30 * time.Minute})
	same(t, "asked", s.assigned(), []string{"ann@0s", "ann@30m0s", "cy@30m0s"}) // the level's holder, and who had it
	if want := start.Add(35 * time.Minute); !s.in.Timers.Escalate.Equal(want) {
		t.Errorf("next level at +%v, want the full delay of the level, +35m", s.in.Timers.Escalate.Sub(start))
	}
}

func TestStillOnIt(t *testing.T) {
	w := incidenttest.New()
	svc := w.Services[shop]
	svc.AckReminder = 10 * time.Minute
	w.Services[shop] = svc
	s := trigger(t, w).received()
	s.must(incident.Acknowledge{By: by("ann")})
	s.until(11 * time.Minute)
	s.must(incident.Confirm{By: by("ann")})
	s.until(40 * time.Minute)
	same(t, "asked", s.at(incident.EntryReminded), []time.Duration{10 * time.Minute, 21 * time.Minute, 31 * time.Minute})
	s.until(42 * time.Minute)
	last := s.timeline[0]
	for _, e := range s.timeline {
		if e.Type == incident.EntryUnacknowledged {
			last = e
		}
	}
	if last.Cause != incident.CauseReminder || last.At.Sub(start) != 41*time.Minute {
		t.Errorf("taken back: cause %v at +%v, want the missed reminder at +41m", last.Cause, last.At.Sub(start))
	}
}

func TestAckOfResolvedChangesNothing(t *testing.T) {
	s := trigger(t, incidenttest.New())
	s.must(incident.Resolve{By: by("bo"), Alerts: s.open()})
	version := s.in.Version
	s.must(incident.Acknowledge{By: by("ann")})
	s.must(incident.Resolve{By: by("ann")})
	if s.in.Status != incident.Resolved || s.in.Version != version || s.in.ResolvedBy.ID != "bo" {
		t.Errorf("after a late acknowledgement: %v by %v", s.in.Status, s.in.ResolvedBy)
	}
	if s.in.AlertsOpen != 0 || s.alerts["k1"].Open {
		t.Errorf("the alert is still open: %+v", s.alerts["k1"])
	}
	if !s.in.Due().IsZero() {
		t.Errorf("a resolved incident has a timer: %v", s.in.Timers)
	}
	for name, cmd := range map[string]incident.Command{
		"snooze": incident.Snooze{By: by("ann"), For: time.Hour}, "escalate": incident.Escalate{By: by("ann")},
		"reassign": incident.Reassign{By: by("ann"), Users: []roster.UserID{"bo"}},
	} {
		if err := s.do(cmd); fault.KindOf(err) != fault.Precondition {
			t.Errorf("%s of a resolved incident: %v, want a precondition", name, err)
		}
	}
}

func TestMultiAck(t *testing.T) {
	w := incidenttest.New()
	l := incidenttest.Level(5*time.Minute, "ann", "bo")
	l.MultiAck = true
	w.SetPolicy("night", 0, l)
	s := trigger(t, w).received()
	s.must(incident.Acknowledge{By: by("ann")})
	gen := s.in.Generation
	s.until(4 * time.Minute)
	same(t, "ann", s.pages("ann"), []string{"push@0s"})
	same(t, "bo", s.pages("bo"), []string{"push@0s", "push!@1m0s", "mail@3m0s"})
	if s.in.Status != incident.Acknowledged {
		t.Errorf("status %v after the first acknowledgement", s.in.Status)
	}
	s.must(incident.Acknowledge{By: by("bo")})
	if s.in.Generation == gen || !s.in.Assigned("bo").Next.IsZero() {
		t.Error("after everybody's acknowledgement pages still go out")
	}
}

func TestSnooze(t *testing.T) {
	s := trigger(t, incidenttest.New()).received()
	s.until(6 * time.Minute)
	s.must(incident.Snooze{By: by("cy"), For: time.Hour})
	if s.in.Status != incident.Acknowledged || !s.in.Snoozed() {
		t.Fatalf("snoozed: %v", s.in.Status)
	}
	s.until(65 * time.Minute)
	if n := len(s.assigned()); n != 2 {
		t.Errorf("asked while asleep: %v", s.assigned())
	}
	s.until(67 * time.Minute)
	same(t, "asked", s.assigned(), []string{"ann@0s", "bo@5m0s", "ann@1h6m0s", "cy@1h6m0s"})
	if s.in.Snoozed() || s.in.Level != 0 {
		t.Errorf("after waking: snoozed %v, level %d", s.in.Snoozed(), s.in.Level)
	}
}

func TestSourceEndsItWithItsLastAlert(t *testing.T) {
	s := trigger(t, incidenttest.New())
	s.must(incident.Repeat{Alert: incident.Alert{Service: shop, Key: "k2"}, Event: fire("second disk", event.Error), By: source})
	s.must(incident.CloseAlert{Alert: s.alerts["k1"], By: source})
	if !s.in.Open() || s.in.AlertsOpen != 1 {
		t.Fatalf("one of two alerts closed: %v, open %d", s.in.Status, s.in.AlertsOpen)
	}
	s.must(incident.CloseAlert{Alert: s.alerts["k2"], By: source})
	if s.in.Status != incident.Resolved || s.in.Cause != incident.CauseAlerts {
		t.Errorf("all alerts closed: %v, cause %v", s.in.Status, s.in.Cause)
	}
}

func TestRepeatsRewriteOneEntryAMinute(t *testing.T) {
	s := trigger(t, incidenttest.New()).received()
	s.until(10 * time.Second)
	for range 30 {
		s.now = s.now.Add(time.Second)
		s.must(incident.Repeat{Alert: s.alerts["k1"], Event: fire("disk full", event.Critical), By: source})
	}
	if n := len(s.at(incident.EntryDuplicate)); n != 1 {
		t.Errorf("%d entries for 30 repeats in half a minute, want 1", n)
	}
	if last := s.timeline[len(s.timeline)-1]; last.Count != 30 || s.alerts["k1"].Count != 31 {
		t.Errorf("the entry counts %d and the alert %d, want 30 and 31", last.Count, s.alerts["k1"].Count)
	}
	same(t, "pages", s.pages("ann"), []string{"push@0s"})
}

func TestOvertakenResolveIsIgnored(t *testing.T) {
	s := trigger(t, incidenttest.New())
	a := s.alerts["k1"]
	a.SourceTime = start
	s.must(incident.CloseAlert{Alert: a, By: source, At: start.Add(-time.Minute)})
	if !s.in.Open() {
		t.Error("a resolve older than the trigger ended the incident")
	}
	a.SourceTime = start.Add(-time.Hour) // that clock is an hour off: the order of arrival counts
	s.must(incident.CloseAlert{Alert: a, By: source, At: start.Add(-2 * time.Hour)})
	if s.in.Open() {
		t.Error("a resolve by a clock far from ours was ignored")
	}
}

func TestSeverityRaisesUrgency(t *testing.T) {
	w := incidenttest.New()
	s := &story{t: t, w: w, now: start, alerts: map[string]incident.Alert{}, receipts: map[roster.UserID]incident.Receipt{}}
	s.must(incident.Begin{
		ID: "i1", Number: 1, Service: w.Services[shop], By: source,
		Alert: incident.Alert{Service: shop, Key: "k1"}, Event: fire("disk filling", event.Warning),
	})
	if s.in.Urgency != incident.Low || !s.in.Timers.Escalate.IsZero() {
		t.Fatalf("a warning: urgency %v, escalates at %v", s.in.Urgency, s.in.Timers.Escalate)
	}
	s.until(time.Hour)
	s.must(incident.Repeat{Alert: s.alerts["k1"], Event: fire("disk full", event.Critical), By: source})
	if s.in.Urgency != incident.High || s.in.Timers.Escalate.IsZero() {
		t.Errorf("a critical repeat: urgency %v, escalates at %v", s.in.Urgency, s.in.Timers.Escalate)
	}
	same(t, "pages", s.pages("ann"), []string{"push@0s", "push@1h0m0s"})
}

func TestReopen(t *testing.T) {
	s := trigger(t, incidenttest.New()).received()
	s.until(7 * time.Minute)
	s.must(incident.Resolve{By: by("bo"), Alerts: s.open()})
	s.until(time.Hour)
	s.must(incident.Reopen{By: by("bo")})
	if s.in.Status != incident.Triggered || s.in.Level != 0 || s.in.Reopens != 1 || len(s.in.Opened) != 2 {
		t.Errorf("re-opened: %v level %d reopens %d intervals %v", s.in.Status, s.in.Level, s.in.Reopens, s.in.Opened)
	}
	s.must(incident.Resolve{By: by("bo")})
	s.until(26 * time.Hour)
	if err := s.do(incident.Reopen{By: by("bo")}); fault.KindOf(err) != fault.Precondition {
		t.Errorf("a day later: %v, want a precondition", err)
	}
}

// An event without a dedup key gets one made of its content; its sender can
// never say that the condition is over.
func TestAlertsWithAMadeKeyEndByThemselves(t *testing.T) {
	unnamed := fire("disk full", event.Critical)
	unnamed.KeyMade = true
	s := trigger(t, incidenttest.New()).received()
	if at := s.in.Timers.AutoResolve; !at.IsZero() {
		t.Fatalf("an alert with a key of its own ends by itself at %s", at)
	}
	s.must(incident.Repeat{Alert: s.alerts["k1"], Event: unnamed, By: source})
	s.must(incident.Acknowledge{By: by("ann")})
	s.until(23 * time.Hour)
	if !s.in.Open() {
		t.Fatal("resolved before it had been silent for a day")
	}
	s.until(25 * time.Hour)
	if s.in.Cause != incident.CauseAutoTimeout {
		t.Errorf("a day later: %v because of %v, want it resolved by itself", s.in.Status, s.in.Cause)
	}
}

func TestAutoResolveRestartsOnRepeats(t *testing.T) {
	w := incidenttest.New()
	svc := w.Services[shop]
	svc.AutoResolve = time.Hour
	w.Services[shop] = svc
	s := trigger(t, w).received()
	s.until(50 * time.Minute)
	s.must(incident.Repeat{Alert: s.alerts["k1"], Event: fire("disk full", event.Critical), By: source})
	s.until(109 * time.Minute)
	if !s.in.Open() {
		t.Fatal("resolved although it was heard of within the hour")
	}
	s.until(111 * time.Minute)
	if s.in.Cause != incident.CauseAutoTimeout || s.alerts["k1"].Open {
		t.Errorf("cause %v, alert open %v", s.in.Cause, s.alerts["k1"].Open)
	}
}
