package store

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

func zoneOf(roster.UserID) string { return "Europe/Berlin" }

// closedIncident commits an incident with alerts, a timeline and deliveries, and resolves it.
func closedIncident(tb testing.TB, s *Store, entries []incident.Entry, alerts []incident.Alert) *incident.Incident {
	tb.Helper()
	in, _ := mustCommit(tb, s, begin(opened(freshService(tb), base), "disk"))
	send := sendTo(tb, in.ID, in.Generation, "iphone")
	if _, err := s.BeginSend(tb.Context(), base, []Send{send}); err != nil {
		tb.Fatal(err)
	}
	in, _ = mustCommit(tb, s, Commit{Before: in, After: in, Timeline: entries, Alerts: alerts})
	return resolve(tb, s, in, base.Add(time.Hour))
}

func TestArchiveIsLossless(t *testing.T) {
	t.Parallel()
	s := shared(t)
	ctx := t.Context()
	rapid.Check(t, func(r *rapid.T) {
		var entries []incident.Entry
		var alerts []incident.Alert
		for i := range rapid.IntRange(0, 5).Draw(r, "n") {
			var e incident.Entry
			anything(r, reflect.ValueOf(&e).Elem())
			var a incident.Alert
			anything(r, reflect.ValueOf(&a).Elem())
			a.Service, a.Key = "s", fmt.Sprint(i)
			entries, alerts = append(entries, e), append(alerts, a)
		}
		in := closedIncident(t, s, entries, alerts) //nolint:contextcheck // of the test
		want, err := s.Record(ctx, in.ID)
		if err != nil {
			r.Fatal(err)
		}
		if err := s.Archive(ctx, in.ID, zoneOf); err != nil {
			r.Fatalf("archive: %v", err)
		}
		got, err := s.Record(ctx, in.ID)
		if err != nil || !got.Archived {
			r.Fatalf("read back: archived %v, %v", got.Archived, err)
		}
		want.Archived, want.Incident.Revision = true, want.Incident.Revision+1
		want.Incident.Writer = got.Incident.Writer // it is another one
		if d := diff(want, got); d != "" {
			r.Fatalf("archive comes back otherwise (-want +got):\n%s", d)
		}
	})
}

func TestArchivedIncidentIsReadAndChangedAsEver(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.Start(t).URL())
	ctx := t.Context()
	in := closedIncident(t, s, nil, nil)
	p := PartitionOf(string(in.Service))
	want, err := s.Record(ctx, in.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Archive(ctx, in.ID, zoneOf); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{timelineKey(p, in.ID), alertsKey(p, in.ID), deliveriesKey(p, IncidentDoc(in.ID))} {
		if n := s.rdb.Exists(ctx, key).Val(); n != 0 {
			t.Errorf("key %s is still there", key)
		}
	}
	if got, err := s.Timeline(ctx, in.ID, 2, 1); err != nil || diff(want.Timeline[1:2], got) != "" {
		t.Errorf("timeline: got %v, %v, want %v", got, err, want.Timeline[1:2])
	}
	if got, err := s.Timeline(ctx, in.ID, 99, 1); err != nil || len(got) != 0 {
		t.Errorf("timeline past its end: got %v, %v", got, err)
	}
	if got, ok, err := s.Alert(ctx, in.ID, in.Service, "disk"); err != nil || !ok || got.Count != 1 {
		t.Errorf("alert: got %+v, %v, %v", got, ok, err)
	}
	if _, err := s.Commit(ctx, Commit{Before: in, After: in}); !isFault(err, ErrRevisionMoved) {
		t.Errorf("commit on what it was before: got %v, want %v", err, ErrRevisionMoved)
	}

	// A late receipt rewrites the archive.
	send := sendTo(t, in.ID, in.Generation, "iphone")
	r, err := s.Receipt(ctx, Receipt{Delivery: send.Delivery.ID, State: incident.DeliveryOpened, At: base.Add(2 * time.Hour)})
	if err != nil || r.Verdict != ReceiptApplied {
		t.Fatalf("late receipt: got %v, %v, want applied", r.Verdict, err)
	}
	if again, err := s.Receipt(ctx, Receipt{Delivery: send.Delivery.ID, State: incident.DeliveryOpened, At: base}); err != nil || again.Verdict != ReceiptKnown {
		t.Errorf("again: got %v, %v, want known", again.Verdict, err)
	}

	// A re-open unpacks it.
	now, err := s.Incident(ctx, in.ID)
	if err != nil {
		t.Fatal(err)
	}
	reopened := *now
	reopened.Status, reopened.Reopens, reopened.Seq = incident.Triggered, 1, now.Seq+1
	reopened.Timers.Escalate = base.Add(3 * time.Hour)
	entry := incident.Entry{Seq: reopened.Seq, At: base, Type: incident.EntryReopened}
	again, done := mustCommit(t, s, Commit{
		Before: now, After: &reopened, Timeline: []incident.Entry{entry}, Work: []incident.Work{{Kind: incident.WorkPage, User: "ann"}},
	})
	if len(done.Work) != 1 || done.Work[0].Work.Revision != again.Revision {
		t.Errorf("work of the re-open: got %+v", done.Work)
	}
	got, err := s.Record(ctx, in.ID)
	if err != nil || got.Archived {
		t.Fatalf("re-opened: archived %v, %v", got.Archived, err)
	}
	if d := diff(append(want.Timeline, entry), got.Timeline); d != "" {
		t.Errorf("timeline (-want +got):\n%s", d)
	}
	if d := diff(want.Alerts, got.Alerts); d != "" {
		t.Errorf("alerts (-want +got):\n%s", d)
	}
	if len(got.Deliveries) != 1 || got.Deliveries[0].State != incident.DeliveryOpened {
		t.Errorf("deliveries: got %+v, want one, opened", got.Deliveries)
	}
	if err := s.Archive(ctx, in.ID, zoneOf); !isFault(err, ErrNotClosed) {
		t.Errorf("archive an open one: got %v, want %v", err, ErrNotClosed)
	}
}

// A card is taken back after the incident has been archived, or has gone: it goes
// out, and nothing is left beside the archive, whoever says what of it and when.
func TestSendsOfAnArchivedIncident(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.Start(t).URL())
	ctx := t.Context()
	in := closedIncident(t, s, nil, nil)
	known, late := sendTo(t, in.ID, in.Generation, "iphone"), sendTo(t, in.ID, in.Generation, "ipad")
	if err := s.Archive(ctx, in.ID, zoneOf); err != nil {
		t.Fatal(err)
	}
	gone := sendTo(t, NewIncidentID(PartitionOf(string(in.Service)), base), 1, "iphone")
	sends := []Send{known, late, gone}
	for i := range sends {
		sends[i].Unguarded = true
	}
	begun, errs := s.BeginSend(ctx, base.Add(time.Hour), sends)
	if errs != nil || !slices.Equal(begun, []Begun{BegunGo, BegunGo, BegunGo}) {
		t.Fatalf("begin: got %v, %v, want all to go", begun, errs)
	}
	for i := range sends {
		sends[i].Delivery.State, sends[i].Delivery.Accepted = incident.DeliveryAccepted, base.Add(time.Hour)
	}
	if errs := s.EndSends(ctx, sends); errs != nil {
		t.Errorf("end: got %v", errs)
	}
	for _, send := range sends {
		if err := s.RecordDelivery(ctx, send.Doc, send.Delivery); err != nil {
			t.Errorf("record: got %v", err)
		}
		r := Receipt{Delivery: send.Delivery.ID, State: incident.DeliveryReceived, At: base.Add(2 * time.Hour)}
		want := ReceiptApplied
		if send.Doc == gone.Doc {
			want = ReceiptUnknown
		}
		if got, err := s.Receipt(ctx, r); err != nil || got.Verdict != want {
			t.Errorf("receipt of %s for %s: got %v, %v, want %v", send.Delivery.Device, send.Doc, got.Verdict, err, want)
		}
		p, _ := send.Doc.Partition()
		if n := s.rdb.Exists(ctx, deliveriesKey(p, send.Doc)).Val(); n != 0 {
			t.Errorf("records are left beside %s", send.Doc)
		}
	}
	r, err := s.Record(ctx, in.ID)
	if err != nil || len(r.Deliveries) != 2 {
		t.Errorf("the archive: got %+v, %v, want both deliveries", r.Deliveries, err)
	}
	for _, d := range r.Deliveries {
		if d.State != incident.DeliveryReceived || d.Accepted.IsZero() {
			t.Errorf("the archive: got %+v, want it accepted and received", d)
		}
	}
	begun, errs = s.BeginSend(ctx, base.Add(3*time.Hour), sends)
	if errs != nil || !slices.Equal(begun, []Begun{BegunEnded, BegunEnded, BegunGo}) {
		t.Errorf("begin again: got %v, %v, want the first two to have their end", begun, errs)
	}
}

// What is begun while an archive is being made is not left out of it.
func TestASendBeginsWhileItsIncidentIsArchived(t *testing.T) {
	t.Parallel()
	s := shared(t)
	ctx := t.Context()
	in := closedIncident(t, s, nil, nil)
	read, err := s.Record(ctx, in.ID)
	if err != nil {
		t.Fatal(err)
	}
	late := sendTo(t, in.ID, in.Generation, "ipad")
	late.Unguarded = true
	if begun, errs := s.BeginSend(ctx, base, []Send{late}); errs != nil || begun[0] != BegunGo {
		t.Fatalf("begin: got %v, %v", begun, errs)
	}
	if done, err := s.pack(ctx, read, zoneOf); done || err != nil {
		t.Fatalf("an archive of what was read before: got %v, %v, want it refused", done, err)
	}
	if err := s.Archive(ctx, in.ID, zoneOf); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Record(ctx, in.ID); err != nil || !r.Archived || len(r.Deliveries) != 2 {
		t.Errorf("got %+v, %v, want an archive with both", r.Deliveries, err)
	}
}

// What is recorded while an archive is being made is put into it.
func TestADeliveryIsRecordedWhileItsIncidentIsArchived(t *testing.T) {
	t.Parallel()
	s := shared(t)
	ctx := t.Context()
	in := closedIncident(t, s, nil, nil)
	late := sendTo(t, in.ID, in.Generation, "ipad")
	raw, p, err := recordPlace(late.Doc, late.Delivery.ID)
	if err != nil {
		t.Fatal(err)
	}
	_, changed, err := s.mergeDelivery(ctx, p, late.Doc, raw, func(incident.Delivery, bool) (incident.Delivery, bool) {
		if err := s.Archive(ctx, in.ID, zoneOf); err != nil {
			t.Error(err)
		}
		return late.Delivery, true
	})
	if !changed || err != nil {
		t.Errorf("got changed %v, %v, want it recorded", changed, err)
	}
	if r, err := s.Record(ctx, in.ID); err != nil || !r.Archived || len(r.Deliveries) != 2 {
		t.Errorf("got %+v, %v, want an archive with both", r.Deliveries, err)
	}
	if n := s.rdb.Exists(ctx, deliveriesKey(p, late.Doc)).Val(); n != 0 {
		t.Error("records are left beside the archive")
	}
}

func TestFactsOfAnArchivedIncident(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.Start(t).URL())
	entries := []incident.Entry{
		{At: base.Add(time.Second), Type: incident.EntryNotified, Users: []roster.UserID{"ann"}},
		{At: base.Add(time.Minute), Type: incident.EntryNotified, Users: []roster.UserID{"ann", "bob"}},
		{At: base.Add(time.Minute), Type: incident.EntryEscalated, Level: 1},
		{At: base.Add(2 * time.Minute), Type: incident.EntryAcknowledged, Actor: incident.Actor{Kind: incident.ActorUser, ID: "bob"}},
	}
	in := closedIncident(t, s, entries, nil)
	for range 2 { // archived again, after a note: still one row
		if err := s.Archive(t.Context(), in.ID, zoneOf); err != nil {
			t.Fatal(err)
		}
		now, err := s.Incident(t.Context(), in.ID)
		if err != nil {
			t.Fatal(err)
		}
		mustCommit(t, s, Commit{Before: now, After: now, Timeline: []incident.Entry{{Type: incident.EntryNote, Text: "late"}}})
	}
	rows, err := s.Facts(t.Context(), PartitionOf(string(in.Service)), base)
	want := []Facts{{
		Incident: in.ID, Number: in.Number, Service: in.Service, Team: in.Team, Urgency: in.Urgency, Priority: in.Priority,
		Severity: in.Severity, Created: in.Created, Resolved: in.ResolvedAt, Cause: in.Cause, Alerts: 1, Escalations: 1, AckedBy: "bob",
		Paged: []Paged{
			{User: "ann", Zone: "Europe/Berlin", At: []time.Time{base.Add(time.Second), base.Add(time.Minute)}},
			{User: "bob", Zone: "Europe/Berlin", At: []time.Time{base.Add(time.Minute)}},
		},
		Opened: in.Opened,
	}}
	if d := diff(want, rows); d != "" || err != nil {
		t.Errorf("facts: %v (-want +got):\n%s", err, d)
	}
}

func TestRetentionWalksTheClosed(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := openAt(t, srv.URL())
	ctx := t.Context()
	service := freshService(t)
	p := PartitionOf(string(service))
	var all []*incident.Incident
	for i := range 5 {
		in, _ := mustCommit(t, s, begin(opened(service, base), fmt.Sprint(i)))
		all = append(all, resolve(t, s, in, base.Add(time.Duration(i)*time.Minute)))
	}
	// The first one flaps: open again, and closed just now.
	again := *all[0]
	again.Status, again.Reopens, again.Opened = incident.Triggered, 1, append(again.Opened, incident.Interval{From: base})
	all[0], _ = mustCommit(t, s, Commit{Before: all[0], After: &again})
	all[0] = resolve(t, s, all[0], base.Add(time.Hour))

	archived := func() (n int) {
		for _, in := range all {
			if _, a, err := s.load(ctx, in.ID); err == nil && a != nil {
				n++
			}
		}
		return n
	}
	looked, err := s.ArchiveClosed(ctx, p, base.Add(210*time.Second), 100, zoneOf)
	if err != nil || looked != 4 || archived() != 3 {
		t.Errorf("archive what is older than 3.5 min: looked at %d, %v, archived %d, want 4 and 3", looked, err, archived())
	}
	looked, err = s.ArchiveClosed(ctx, p, base.Add(2*time.Hour), 100, zoneOf)
	if err != nil || looked != 2 || archived() != 5 {
		t.Errorf("archive the rest: looked at %d, %v, archived %d, want 2 and 5", looked, err, archived())
	}

	// Redis's own clock stamped the closings: everything is younger than an hour ago, older than in an hour.
	if n, err := s.Expire(ctx, p, time.Now().Add(-time.Hour), 100); err != nil || n != 0 {
		t.Errorf("expire what is an hour old: looked at %d, %v, want none", n, err)
	}
	if n, err := s.Expire(ctx, p, time.Now().Add(time.Hour), 100); err != nil || n != 6 {
		t.Errorf("expire all: looked at %d, %v, want 6", n, err)
	}
	for _, in := range all {
		if _, err := s.Incident(ctx, in.ID); fault.KindOf(err) != fault.NotFound {
			t.Errorf("expired incident: got %v, want not found", err)
		}
	}
	for key := range dump(t, s.rdb) {
		for _, in := range all {
			if strings.Contains(key, string(in.ID)) {
				t.Errorf("key %s was left behind", key)
			}
		}
	}
	if facts, err := s.Facts(ctx, p, base); err != nil || len(facts) != 5 {
		t.Errorf("facts: got %d, %v, want 5 that stay", len(facts), err)
	}
}

func TestExport(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.Start(t).URL())
	ctx := t.Context()
	want := map[incident.ID]bool{}
	for i := range 12 {
		created := base.Add(time.Duration(i) * time.Hour)
		in, _ := mustCommit(t, s, begin(opened(freshService(t), created), "disk"))
		if i%3 > 0 {
			in = resolve(t, s, in, created.Add(time.Minute))
		}
		if i%3 == 2 {
			if err := s.Archive(ctx, in.ID, zoneOf); err != nil {
				t.Fatal(err)
			}
		}
		if i >= 2 && i < 10 {
			want[in.ID] = true
		}
	}
	got := map[incident.ID]bool{}
	for r, err := range s.Export(ctx, base.Add(2*time.Hour), base.Add(10*time.Hour)) {
		if err != nil {
			t.Fatal(err)
		}
		if got[r.Incident.ID] || len(r.Timeline) < 2 || len(r.Alerts) != 1 {
			t.Errorf("record: %+v: seen before %v", r, got[r.Incident.ID])
		}
		got[r.Incident.ID] = true
	}
	if d := diff(want, got); d != "" {
		t.Errorf("exported (-want +got):\n%s", d)
	}
}
