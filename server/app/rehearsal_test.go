package app

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/server/attention"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/ingest"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/rehearsal"
	"github.com/tocsin-oncall/tocsin/server/respond"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// fewer sets how many checks rapid makes where nobody has said it: each of these
// is a night of a whole server.
func fewer(t *testing.T, checks string) {
	t.Helper()
	f := flag.Lookup("rapid.checks")
	if f.Value.String() != f.DefValue {
		return
	}
	if err := f.Value.Set(checks); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Value.Set(f.DefValue) })
}

// TestARehearsalIsTheRealNight lets random organisations be paged for random
// events by a real server, on real Redis and a clock that goes from one due
// instant to the next, and holds every message and every line of the timeline
// against what was foretold.
func TestARehearsalIsTheRealNight(t *testing.T) {
	fewer(t, "8")
	// Apple's hour for a bearer is not asked: the watch makes leaps of hours while heartbeats are on their way.
	w, mail := newWorld(t, redistest.Start(t).URL(), func(o *pushtest.APNsOptions) { o.AnyBearer = true }), &mailbox{}
	// In the past: work is dated by Redis, whose clock no test moves, and never later than now.
	w.watch.stop(time.Date(2021, 3, 22, 0, 0, 0, 0, time.UTC))
	in := w.start(mail.serve(t))
	number := 0
	rapid.Check(t, func(rt *rapid.T) {
		number++
		in.rehearsed(rt, w, number)
	})
	w.watch.start() // the server ends by the same watch
}

// rehearsed is one organisation and one event.
func (in *instance) rehearsed(rt *rapid.T, w *world, number int) {
	o := organisationOf(rt, fmt.Sprintf("n%d", number))
	in.found(rt, o)
	phones := map[roster.UserID]*pushtest.Phone{}
	for _, p := range o.people {
		if p.phone {
			phones[p.id] = in.enrol(w, p.id, roster.IOS)
		}
	}
	at := w.watch.Now().Add(time.Duration(rapid.IntRange(0, 72*60).Draw(rt, "minutes until the event")) * time.Minute)
	w.watch.stop(at)
	e, err := event.Normalise(event.Event{
		Action: event.Trigger, DedupKey: "k", Summary: "disk full", Source: "test", Severity: event.Severity(rapid.IntRange(1, 4).Draw(rt, "severity")),
	})
	if err != nil {
		rt.Fatal(err)
	}
	q := rehearsal.Question{Event: e, At: at, Deaf: rapid.Bool().Draw(rt, "phones confirm nothing")}
	from, err := in.server.intake.Integration(in.t.Context(), o.key())
	if err != nil {
		rt.Fatal(err)
	}
	if q.Integration, err = in.server.auth.Integration(in.t.Context(), o.key()); err != nil {
		rt.Fatal(err)
	}
	snap := in.server.directory.Snapshot()
	if _, err := in.server.intake.Accept(in.t.Context(), from, []event.Event{e}); err != nil {
		rt.Fatal(err)
	}
	in.settled(rt, o)
	happened := in.newest(rt, from)
	if happened != nil {
		q.ID = happened.ID
		defer in.over(w, happened.ID)
	}
	told, err := rehearsal.Play(in.t.Context(), snap, q)
	if err != nil {
		rt.Fatal(err)
	}
	if happened == nil || told.End == rehearsal.Dropped {
		if happened != nil || told.End != rehearsal.Dropped {
			rt.Fatalf("really %v, and told %v %s", happened, told.End, told.Reason)
		}
		return
	}
	until := together(told)
	for {
		if !q.Deaf {
			in.confirm(rt, happened.ID)
		}
		next, docs := in.nextDue(rt)
		if next.IsZero() || next.After(told.EndAt) || !next.Before(until) {
			ours := func(d store.Doc) bool {
				return d.Incident == happened.ID || strings.HasPrefix(string(d.Person), o.name)
			}
			if told.End == rehearsal.Quiet && next.Before(until) && slices.ContainsFunc(docs, ours) {
				rt.Fatalf("it was told that nothing comes, and something is due at %v: %v\n%s", next, docs, o.yaml())
			}
			break
		}
		if len(docs) > 1 {
			until = next
			break
		}
		w.watch.stop(next)
		in.settled(rt, o)
	}
	told.Messages = slices.DeleteFunc(told.Messages, func(m rehearsal.Message) bool { return !m.At.Before(until) })
	told.Timeline = slices.DeleteFunc(told.Timeline, func(e incident.Entry) bool { return !e.At.Before(until) })
	in.compare(rt, o, happened.ID, told)
	for id, phone := range phones {
		got, want := 0, 0
		for _, n := range phone.Got() {
			if page(n) && n.IncidentID == string(happened.ID) && n.Details["card"] == "" {
				got++
			}
		}
		for _, m := range told.Messages {
			if m.User == id && m.Device != "" && m.Kind == rehearsal.Page {
				want++
			}
		}
		if got != want {
			rt.Fatalf("the phone of %s got %d pages, and %d were told\n%s", id, got, want, o.yaml())
		}
	}
}

// over ends a night, so that the next organisation can take its place.
func (in *instance) over(w *world, id incident.ID) {
	if _, err := in.server.desk.Do(in.t.Context(), id, incident.Resolve{By: incident.System("test")}, respond.Options{}); err != nil {
		in.t.Error(err)
	}
	w.watch.stop(in.server.clock.Now().Add(time.Hour)) // what quietens phones is paced by the clock, and nobody waits for it
}

// found puts an organisation in the place of the one before: of that one nobody
// should be told of a hand-off any more.
func (in *instance) found(rt *rapid.T, o company) {
	files := []directory.File{{Name: "company.yaml", Text: []byte(o.yaml())}}
	_, err := in.server.directory.ApplyFiles(in.t.Context(), directory.ByServer("test"), files, directory.ApplyOptions{Force: true, Owner: "company", Prune: true})
	if err != nil {
		rt.Fatalf("apply: %v\n%s", err, o.yaml())
	}
}

// newest is the incident of the integration's service, nil when there is none.
func (in *instance) newest(rt *rapid.T, from ingest.Integration) *incident.Incident {
	page, err := in.server.store.List(in.t.Context(), store.Query{Service: catalog.ServiceID(from.ServiceID), Statuses: []incident.Status{incident.Triggered, incident.Acknowledged, incident.Resolved}}, "")
	if err != nil {
		rt.Fatal(err)
	}
	if len(page.Incidents) == 0 {
		return nil
	}
	return page.Incidents[0]
}

// settled waits until the server has done whatever there is to do at the instant
// at which the watch stands.
func (in *instance) settled(rt *rapid.T, o company) {
	late := time.After(patience)
	for try := 0; ; try++ {
		pulses, err := in.server.store.Pulse(in.t.Context(), in.server.engine.Owned())
		if err != nil {
			rt.Fatal(err)
		}
		now := in.server.clock.Now()
		busy := slices.DeleteFunc(slices.Clone(pulses), func(p store.Pulse) bool {
			return p.Inbox+p.Work == 0 && (p.Due.IsZero() || p.Due.After(now))
		})
		for _, p := range busy {
			if try == 0 {
				in.wake(rt, p)
			}
		}
		cards := in.cards(rt, o)
		if len(busy)+len(cards) == 0 && len(pulses) > 0 {
			return
		}
		select {
		case <-late:
			rt.Fatalf("at %v there is still something to do: %+v, cards %+v", now, busy, cards)
		case <-time.After(time.Millisecond):
		}
	}
}

// wake lets the owner look at a partition at once, where its next look was to be
// at an instant that the watch has leapt to.
func (in *instance) wake(rt *rapid.T, p store.Pulse) {
	w := store.Wake{Partition: p.Partition, Kinds: store.WakeTimer, Due: p.Due.Add(-time.Millisecond)}
	if err := in.server.store.Wake(in.t.Context(), w); err != nil {
		rt.Fatal(err)
	}
}

// cards are those on their way.
func (in *instance) cards(rt *rapid.T, o company) []attention.Card {
	var all []attention.Card
	for _, p := range o.people {
		doc, err := in.server.store.Person(in.t.Context(), p.id)
		if err != nil {
			rt.Fatal(err)
		}
		all = append(all, doc.Outbox...)
	}
	return all
}

// nextDue is the earliest instant at which something is due, and what; zero:
// nothing is.
func (in *instance) nextDue(rt *rapid.T) (next time.Time, docs []store.Doc) {
	pulses, err := in.server.store.Pulse(in.t.Context(), in.server.engine.Owned())
	if err != nil {
		rt.Fatal(err)
	}
	for _, p := range pulses {
		if !p.Due.IsZero() && (next.IsZero() || p.Due.Before(next)) {
			next = p.Due
		}
	}
	for _, p := range pulses {
		if !p.Due.Equal(next) {
			continue
		}
		of, _, err := in.server.store.Due(in.t.Context(), p.Partition, next, 10)
		if err != nil {
			rt.Fatal(err)
		}
		docs = append(docs, of...)
	}
	return next, docs
}

// together returns the first instant at which one device or address is sent two
// pages, or the end of time. Which of two things of one instant a server does
// first is not promised, and what comes after may follow from it: a test may
// compare what was before.
func together(told rehearsal.Answer) time.Time {
	wakes := func(m rehearsal.Message) bool { return m.Kind == rehearsal.Page || m.Kind == rehearsal.Card }
	for i, m := range told.Messages {
		for _, other := range told.Messages[:i] {
			if wakes(m) && wakes(other) && m.At.Equal(other.At) && m.User == other.User && m.By == other.By && m.Device == other.Device {
				return m.At
			}
		}
	}
	return told.EndAt.Add(time.Hour)
}

// confirm lets every phone say that it has shown what was sent to it.
func (in *instance) confirm(rt *rapid.T, id incident.ID) {
	all, err := in.server.store.Deliveries(in.t.Context(), store.IncidentDoc(id))
	if err != nil {
		rt.Fatal(err)
	}
	for _, d := range all {
		if d.State == incident.DeliveryAccepted && d.Kind == roster.Push {
			if _, err := in.server.store.Receipt(in.t.Context(), store.Receipt{Delivery: d.ID, State: incident.DeliveryDisplayed, At: in.server.clock.Now()}); err != nil {
				rt.Fatal(err)
			}
		}
	}
}

// compare holds what was sent, and the timeline, against what was told.
func (in *instance) compare(rt *rapid.T, o company, id incident.ID, told rehearsal.Answer) {
	var want, got []string
	for _, m := range told.Messages {
		want = append(want, fmt.Sprint(m.At.Format(time.RFC3339), " ", m.User, " ", m.Method, " ", m.Device, " page: ", m.Kind == rehearsal.Page || m.Kind == rehearsal.Card))
	}
	docs := []store.Doc{store.IncidentDoc(id)}
	for _, p := range o.people {
		docs = append(docs, store.PersonDoc(p.id))
	}
	for _, doc := range docs {
		all, err := in.server.store.Deliveries(in.t.Context(), doc)
		if err != nil {
			rt.Fatal(err)
		}
		for _, d := range all {
			if d.Accepted.IsZero() || strings.HasPrefix(d.Work, "news.") { // of shifts and devices
				continue
			}
			got = append(got, fmt.Sprint(d.Attempted.UTC().Format(time.RFC3339), " ", d.User, " ", d.Method, " ", d.Device, " page: ", d.Page))
		}
	}
	if diff := cmp.Diff(once(want), once(got)); diff != "" {
		rt.Fatalf("messages (-told +sent), to %v:\n%s\n%s", told.EndAt, diff, o.yaml())
	}
	entries, err := in.server.store.Timeline(in.t.Context(), id, 0, 10_000)
	if err != nil {
		rt.Fatal(err)
	}
	if diff := cmp.Diff(lines(told.Timeline), lines(entries)); diff != "" {
		rt.Fatalf("timeline (-told +happened), to %v:\n%s\n%s", told.EndAt, diff, o.yaml())
	}
}

// once sorts messages, and keeps one of several notices of one instant: the sender
// may let the last take the place of the others.
func once(all []string) []string {
	slices.Sort(all)
	return slices.CompactFunc(all, func(a, b string) bool { return a == b && strings.HasSuffix(a, "page: false") })
}

func lines(entries []incident.Entry) []string {
	all := make([]string, len(entries))
	for i, e := range entries {
		all[i] = fmt.Sprint(e.At.UTC().Format(time.RFC3339), " type ", e.Type, " ", e.Users, " level ", e.Level, " loop ", e.Loop, " cause ", e.Cause, " via ", e.Via, " ", e.Step, e.Loud)
	}
	return all
}

// company is a small organisation.
type company struct {
	name   string
	people []employee
	text   string
}

type employee struct {
	id    roster.UserID
	phone bool
}

func (o company) key() string {
	return o.name + strings.Repeat("k", 32-len(o.name))
}

func (o company) yaml() string { return o.text }

// organisationOf draws an organisation whose ids begin with the name.
func organisationOf(rt *rapid.T, name string) company {
	o := company{name: name}
	pick := func(what string, of ...string) string { return rapid.SampledFrom(of).Draw(rt, what) }
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	ids := make([]string, rapid.IntRange(2, 4).Draw(rt, "people"))
	line("people:")
	for i := range ids {
		ids[i] = fmt.Sprintf("%s%c", name, 'a'+i)
		p := employee{id: roster.UserID(ids[i]), phone: rapid.IntRange(0, 4).Draw(rt, "phone") > 0}
		o.people = append(o.people, p)
		line(`  - id: %s`, ids[i])
		line("    name: %s\n    email: %s@example.com", ids[i], ids[i])
		line("    time_zone: %s", pick("zone", "UTC", "Europe/Zurich", "Asia/Kolkata", "America/New_York"))
		line("    contact_methods: [{id: mail, kind: email, address: %s@example.com, verified: %v}]", ids[i], rapid.IntRange(0, 3).Draw(rt, "mail") > 0)
		for _, plan := range []string{"high_steps", "low_steps"} {
			if steps := stepsOf(rt, plan); steps != "" {
				line("    %s: [%s]", plan, steps)
			}
		}
		if rapid.Bool().Draw(rt, "quiet") {
			line(`    quiet_hours: {start: "%02d:00", end: "%02d:30"}`, rapid.IntRange(0, 23).Draw(rt, "quiet from"), rapid.IntRange(0, 23).Draw(rt, "quiet until"))
		}
	}
	someone := func(what string) string { return rapid.SampledFrom(ids).Draw(rt, what) }
	line("teams:\n  - {id: %s, name: %s, members: [%s]}", name, name, strings.Join(ids[:2], ", "))
	line("schedules:\n  - id: %s\n    name: %s\n    team: %s\n    time_zone: %s", name, name, name, pick("schedule's zone", "UTC", "Europe/Zurich", "America/New_York"))
	if rapid.Bool().Draw(rt, "target") {
		line("    response_target: 6m")
	}
	line("    layers:\n      - id: turns\n        rotation: {unit: %s, length: 1, handoff: \"2021-01-04T%02d:00\"}", pick("unit", "hours", "days"), rapid.IntRange(0, 23).Draw(rt, "hand-off"))
	line("        participants: [%s]", strings.Join(ids[1:], ", "))
	if rapid.Bool().Draw(rt, "hours") {
		line("        restrictions: [{start: \"%02d:00\", length: 10h}]", rapid.IntRange(0, 23).Draw(rt, "hours from"))
	}
	if rapid.IntRange(0, 3).Draw(rt, "shadows") == 0 {
		line("        shadows: {participants: [%s], mode: %s}", ids[0], pick("mode", "observe", "practise", "duty"))
	}
	line("policies:\n  - id: %s\n    name: %s\n    loops: %d\n    escalate_low: %v\n    hand_off: %s\n    levels:", name, name,
		rapid.IntRange(0, 1).Draw(rt, "loops"), rapid.Bool().Draw(rt, "escalate low"), pick("hand-off mode", "add", "keep", "move"))
	for range rapid.IntRange(1, 3).Draw(rt, "levels") {
		targets := []string{"users/" + someone("target")}
		if rapid.Bool().Draw(rt, "by schedule") {
			targets = []string{"schedules/" + name}
		}
		if rapid.IntRange(0, 2).Draw(rt, "by team") == 0 {
			targets = append(targets, "teams/"+name)
		}
		line("      - {targets: [%s], delay: %ds, strategy: %s, multi_acknowledge: %v}", strings.Join(targets, ", "),
			rapid.IntRange(61, 480).Draw(rt, "delay"), pick("strategy", "everyone", "everyone", "round_robin", "any_one"), rapid.Bool().Draw(rt, "multi"))
	}
	if rapid.Bool().Draw(rt, "fallback") {
		line("    fallback: [users/%s]", someone("fallback"))
	}
	line("services:\n  - id: %s\n    name: %s\n    team: %s\n    escalation_policy: %s\n    urgency_rule: %s", name, name, name, name,
		pick("urgency", "by_severity", "by_severity", "high", "by_support_hours"))
	line("    support_hours: {time_zone: UTC, days: [monday, tuesday, wednesday], start: \"09:00\", end: \"17:00\"}")
	if rapid.IntRange(0, 3).Draw(rt, "ends by itself") == 0 {
		line("    auto_resolve: %dm", rapid.IntRange(5, 40).Draw(rt, "auto resolve"))
	}
	if rapid.IntRange(0, 3).Draw(rt, "least") == 0 {
		line("    min_severity: warning")
	}
	line("    integrations: [{id: %s, source: generic, key: %s}]", name, o.key())
	line("settings: {organization: Example, catch_all: [%s]}", someone("catch-all"))
	o.text = b.String()
	return o
}

// stepsOf draws a contact plan; empty: the usual one.
func stepsOf(rt *rapid.T, plan string) string {
	var steps []string
	for i := range rapid.IntRange(0, 3).Draw(rt, plan) {
		method := rapid.SampledFrom([]string{"push", "push", "mail"}).Draw(rt, "method")
		delay := []int{0, 23, 67, 181}[rapid.IntRange(0, 3).Draw(rt, "delay of a step")] * min(i, 1)
		loud := method == "push" && rapid.Bool().Draw(rt, "loud")
		steps = append(steps, fmt.Sprintf("{contact_method: %s, delay: %ds, loud: %v}", method, delay, loud))
	}
	return strings.Join(steps, ", ")
}
