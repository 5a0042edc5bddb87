package store

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }

// base is the instant at which the tests play.
var base = time.Date(2026, 3, 14, 3, 9, 26, 535_000_000, time.UTC)

// shared opens the package's common server: tests use services of their own.
func shared(tb testing.TB) *Store { return openAt(tb, redistest.URL(tb)) }

func openAt(tb testing.TB, url string, change ...func(*Options)) *Store {
	tb.Helper()
	o := Options{URL: url, Now: func() time.Time { return base }}
	for _, f := range change {
		f(&o)
	}
	s, err := Open(tb.Context(), o)
	if err != nil {
		tb.Fatalf("open: %v", err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("close: %v", err)
		}
	})
	return s
}

var services atomic.Int64

// freshService names a service that no other test uses.
func freshService(tb testing.TB) catalog.ServiceID {
	return catalog.ServiceID(fmt.Sprintf("svc-%s-%d", strings.ToLower(tb.Name()), services.Add(1)))
}

// opened is a plausible incident at its trigger.
func opened(service catalog.ServiceID, now time.Time) *incident.Incident {
	return &incident.Incident{
		ID: NewIncidentID(PartitionOf(string(service)), now), Number: 4711, Service: service, Team: "payments",
		Text: incident.Text{
			Title: "High error rate on checkout in eu-west-1", Source: "checkout-7f9c", Component: "api",
			Details: []byte(`{"error_rate":"14%","runbook":"https://runbooks.example.com/checkout"}`),
		},
		Severity: event.Critical, Status: incident.Triggered, Urgency: incident.High, Priority: 2,
		Assignees: []incident.Assignee{{
			User: "ann", Since: now, Via: incident.ViaPolicy, Elapsed: -1, Next: now.Add(time.Minute), ReceiptBy: now.Add(20 * time.Second),
		}},
		Timers: incident.Timers{Escalate: now.Add(5 * time.Minute)}, Created: now, Updated: now,
		Opened: []incident.Interval{{From: now}}, AlertsOpen: 1, AlertsTotal: 1, Seq: 2, Generation: 1, Version: 1,
	}
}

// begin is the commit of a new incident with one alert, as an inbox entry makes it.
func begin(in *incident.Incident, key string) Commit {
	return Commit{
		After: in,
		Alerts: []incident.Alert{{
			Service: in.Service, Key: key, Integration: "int-1", Open: true, Count: 1, First: in.Created, Last: in.Created,
			Severity: in.Severity, Summary: in.Text.Title,
		}},
		Timeline: []incident.Entry{
			{Seq: 1, At: in.Created, Type: incident.EntryTriggered, Actor: incident.Actor{Kind: incident.ActorSource, ID: "int-1", Via: "events"}, Key: key},
			{Seq: 2, At: in.Created, Type: incident.EntryAssigned, Users: []roster.UserID{"ann"}, Via: incident.ViaPolicy},
		},
		Work: []incident.Work{{
			Kind: incident.WorkPage, Incident: in.ID, Generation: in.Generation, User: "ann", Method: roster.PushAll,
			Urgency: incident.High, Reason: incident.PageAssigned, Number: 1, Deadline: in.Created.Add(10 * time.Minute),
		}},
		Keys: []KeyGuard{{Service: in.Service, Key: key, Now: in.ID}},
		Feed: true,
	}
}

// mustCommit commits and returns the incident at its new revision.
func mustCommit(tb testing.TB, s *Store, c Commit) (*incident.Incident, Committed) {
	tb.Helper()
	done, err := s.Commit(tb.Context(), c)
	if err != nil {
		tb.Fatalf("commit: %v", err)
	}
	in := c.After
	if in == nil {
		in = c.Before
	}
	if in == nil {
		return nil, done
	}
	now := *in
	done.Stamp(&now)
	return &now, done
}

// resolved is the incident after its resolve.
func resolved(in *incident.Incident, now time.Time) *incident.Incident {
	c := *in
	c.Status, c.ResolvedAt, c.Updated, c.Cause = incident.Resolved, now, now, incident.CauseManual
	c.ResolvedBy = incident.Actor{Kind: incident.ActorUser, ID: "ann", Via: "app"}
	c.Assignees, c.Timers, c.AlertsOpen = nil, incident.Timers{}, 0
	c.Opened = slices.Clone(in.Opened)
	c.Opened[len(c.Opened)-1].To = now
	c.Generation++
	c.Version++
	c.Seq++
	return &c
}

// resolve commits the resolve of an incident.
func resolve(tb testing.TB, s *Store, in *incident.Incident, now time.Time) *incident.Incident {
	tb.Helper()
	after := resolved(in, now)
	got, _ := mustCommit(tb, s, Commit{
		Before: in, After: after, Feed: true,
		Timeline: []incident.Entry{{Seq: after.Seq, At: now, Type: incident.EntryResolved, Cause: incident.CauseManual, Actor: after.ResolvedBy}},
	})
	return got
}

// dump is everything in Redis as text, except what changes by itself.
func dump(tb testing.TB, c redis.UniversalClient) map[string]string {
	tb.Helper()
	ctx := tb.Context()
	all := map[string]string{}
	keys, err := c.Keys(ctx, "*").Result()
	if err != nil {
		tb.Fatalf("keys: %v", err)
	}
	for _, k := range keys {
		kind, err := c.Type(ctx, k).Result()
		if err != nil {
			tb.Fatalf("type: %v", err)
		}
		switch kind {
		case "string":
			all[k] = c.Get(ctx, k).Val()
		case "hash":
			h := c.HGetAll(ctx, k).Val()
			for _, f := range slices.Sorted(maps.Keys(h)) {
				all[k] += fmt.Sprintf("%q=%q;", f, h[f])
			}
		case "list":
			all[k] = fmt.Sprintf("%q", c.LRange(ctx, k, 0, -1).Val())
		case "zset":
			all[k] = fmt.Sprintf("%v", c.ZRangeWithScores(ctx, k, 0, -1).Val())
		case "stream":
			all[k] = fmt.Sprintf("%v", c.XRange(ctx, k, "-", "+").Val())
		default:
			tb.Fatalf("key %q has the unexpected type %s", k, kind)
		}
	}
	return all
}

// diff compares values of the domain.
func diff(want, got any) string { return cmp.Diff(want, got, cmpopts.EquateEmpty()) }

func isFault(err, want error) bool {
	return err != nil && want != nil && fault.KindOf(err) == fault.KindOf(want) && strings.Contains(err.Error(), want.Error())
}

func TestIncidentIsReadAsItWasCommitted(t *testing.T) {
	t.Parallel()
	s := shared(t)
	in := opened(freshService(t), base)
	c := begin(in, "disk")
	want, done := mustCommit(t, s, c)
	if done.Revision != 1 || len(done.Work) != 1 || done.Repeated || done.Short {
		t.Fatalf("committed: got %+v, want revision 1 and one item of work", done)
	}
	got, err := s.Incident(t.Context(), in.ID)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	if d := diff(want, got); d != "" {
		t.Errorf("incident (-want +got):\n%s", d)
	}
	if d := diff(got, done.Work[0].Incident); d != "" {
		t.Errorf("the incident that the work is handed on with (-read +handed on):\n%s", d)
	}
	timeline, err := s.Timeline(t.Context(), in.ID, 1, 0)
	if d := diff(c.Timeline, timeline); d != "" || err != nil {
		t.Errorf("timeline: %v (-want +got):\n%s", err, d)
	}
	if part, err := s.Timeline(t.Context(), in.ID, 2, 1); err != nil || diff(c.Timeline[1:], part) != "" {
		t.Errorf("timeline from 2: got %v, %v", part, err)
	}
	last, ok, err := s.LastEntry(t.Context(), in.ID)
	if err != nil || !ok || diff(c.Timeline[1], last) != "" {
		t.Errorf("last entry: got %v, %v, %v", last, ok, err)
	}
	alerts, err := s.Alerts(t.Context(), in.ID)
	if d := diff(c.Alerts, alerts); d != "" || err != nil {
		t.Errorf("alerts: %v (-want +got):\n%s", err, d)
	}
	linked, err := s.Linked(t.Context(), in.Service, "disk", "cpu")
	if d := diff(map[string]incident.ID{"disk": in.ID}, linked); d != "" || err != nil {
		t.Errorf("linked: %v (-want +got):\n%s", err, d)
	}
	p := PartitionOf(string(in.Service))
	items, err := s.Work(t.Context(), p, "", 1000)
	if err != nil || !slices.ContainsFunc(items, func(w WorkItem) bool { return diff(stored(done.Work...)[0], w) == "" }) {
		t.Errorf("work: got %v, %v, want among it %v", items, err, done.Work[0])
	}
	if _, err := s.Incident(t.Context(), NewIncidentID(p, base)); fault.KindOf(err) != fault.NotFound {
		t.Errorf("unknown incident: got %v, want not found", err)
	}
	if _, err := s.Incident(t.Context(), "no id"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("malformed id: got %v, want not found", err)
	}
}

func TestGuardMissWritesNothing(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := openAt(t, srv.URL())
	service := freshService(t)
	first, _ := mustCommit(t, s, begin(opened(service, base), "disk"))
	if err := s.Append(t.Context(), []InboxEntry{{Service: service, Key: "disk", Received: base}}); err != nil {
		t.Fatal(err)
	}
	p := PartitionOf(string(service))
	inbox, err := s.Inbox(t.Context(), p, 10)
	if err != nil || len(inbox) != 1 {
		t.Fatalf("inbox: got %v, %v, want one entry", inbox, err)
	}
	mustCommit(t, s, Commit{Before: first, Request: &Request{ID: "r-1", Answer: []byte("42")}})
	stale := *first
	stale.Revision = 7
	other := opened(service, base.Add(time.Second))
	after := resolved(first, base)
	cases := map[string]struct {
		commit Commit
		want   error
	}{
		"revision moved":      {Commit{Before: &stale, After: after}, ErrRevisionMoved},
		"made twice":          {begin(first, "cpu"), ErrRevisionMoved},
		"key taken":           {begin(other, "disk"), ErrKeyMoved},
		"key gone":            {Commit{Before: first, After: after, Keys: []KeyGuard{{Service: service, Key: "cpu", Was: first.ID}}}, ErrKeyMoved},
		"inbox entry gone":    {Commit{Before: first, After: after, Inbox: []string{inbox[0].ID, "1-1"}}, ErrInboxGone},
		"answered before":     {Commit{Before: first, After: after, Request: &Request{ID: "r-1", Answer: []byte("43")}}, ErrRequestAnswered},
		"nothing to coalesce": {Commit{Before: nil, After: other, Coalesce: &incident.Entry{Seq: 1}}, ErrTimelineGone},
	}
	before := dump(t, s.rdb)
	for name, c := range cases {
		_, err := s.Commit(t.Context(), c.commit)
		if !isFault(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
		if d := diff(before, dump(t, s.rdb)); d != "" {
			t.Errorf("%s: something was written (-before +after):\n%s", name, d)
		}
	}
	// The same with all guards holding goes through.
	if _, err := s.Commit(t.Context(), Commit{Before: first, After: after, Inbox: []string{inbox[0].ID}}); err != nil {
		t.Errorf("all guards hold: %v", err)
	}
}

func TestRetriedCommitFindsItsNonce(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := openAt(t, srv.URL())
	c := begin(opened(freshService(t), base), "disk")
	d, err := s.draft(&c)
	if err != nil {
		t.Fatal(err)
	}
	first := s.settle(t.Context(), d, s.commits.do(t.Context(), d.plan.call(d.wake))[0])
	if first.Err != nil || first.Repeated {
		t.Fatalf("first try: got %+v", first)
	}
	before := dump(t, s.rdb)
	second := s.settle(t.Context(), d, s.commits.do(t.Context(), d.plan.call(d.wake))[0])
	if second.Err != nil || !second.Repeated || second.Revision != first.Revision {
		t.Errorf("second try: got %+v, want revision %d, repeated", second, first.Revision)
	}
	if d := diff(before, dump(t, s.rdb)); d != "" {
		t.Errorf("the retry wrote something (-before +after):\n%s", d)
	}
}

func TestTwoHundredCreatesOfOneKeyMakeOneIncident(t *testing.T) {
	t.Parallel()
	a, b := shared(t), shared(t)
	service := freshService(t)
	const n = 200
	errs := make(chan error, n)
	for i := range n {
		go func() {
			s := a
			if i%2 == 0 {
				s = b
			}
			_, err := s.Commit(context.Background(), begin(opened(service, base.Add(time.Duration(i))), "disk"))
			errs <- err
		}()
	}
	made := 0
	for range n {
		switch err := <-errs; {
		case err == nil:
			made++
		case !isFault(err, ErrKeyMoved):
			t.Errorf("loser: got %v, want %v", err, ErrKeyMoved)
		}
	}
	if made != 1 {
		t.Errorf("incidents made: got %d, want 1", made)
	}
	page, err := s200(t, a, service)
	if err != nil || len(page.Incidents) != 1 {
		t.Errorf("listed: got %d, %v, want 1", len(page.Incidents), err)
	}
}

func s200(t *testing.T, s *Store, service catalog.ServiceID) (Page, error) {
	t.Helper()
	return s.List(t.Context(), Query{Service: service}, "")
}

func TestRequestIsAnsweredOnce(t *testing.T) {
	t.Parallel()
	s := shared(t)
	in, _ := mustCommit(t, s, begin(opened(freshService(t), base), "disk"))
	p := PartitionOf(string(in.Service))
	if _, ok, err := s.Answer(t.Context(), p, "r-9"); ok || err != nil {
		t.Fatalf("before: got %v, %v, want no answer", ok, err)
	}
	mustCommit(t, s, Commit{Before: in, After: resolved(in, base), Request: &Request{ID: "r-9", Answer: []byte("done")}})
	got, ok, err := s.Answer(t.Context(), p, "r-9")
	if err != nil || !ok || string(got) != "done" {
		t.Errorf("after: got %q, %v, %v, want done", got, ok, err)
	}
}

func TestFullMemoryRefusesEventsAndNothingElse(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := openAt(t, srv.URL())
	ctx := t.Context()
	service := freshService(t)
	in, _ := mustCommit(t, s, begin(opened(service, base), "disk"))
	entry := InboxEntry{Service: service, Key: "disk", Received: base}
	if err := s.Append(ctx, []InboxEntry{entry}); err != nil {
		t.Fatal(err)
	}
	if err := s.rdb.ConfigSet(ctx, "maxmemory", "1mb").Err(); err != nil {
		t.Fatal(err)
	}
	if full, err := s.Full(ctx); !full || err != nil {
		t.Fatalf("full: got %v, %v, want true", full, err)
	}
	if filled, err := s.Filled(ctx); filled < 1 || err != nil {
		t.Errorf("filled: got %v, %v, want 1 or more", filled, err)
	}
	err := s.Append(ctx, []InboxEntry{entry})
	if !isFault(err, ErrStoreFull) {
		t.Errorf("append: got %v, want %v", err, ErrStoreFull)
	}
	p := PartitionOf(string(service))
	inbox, err := s.Inbox(ctx, p, 10)
	if err != nil || len(inbox) != 1 {
		t.Fatalf("inbox: got %d entries, %v, want 1", len(inbox), err)
	}
	after := resolved(in, base)
	if _, err := s.Commit(ctx, Commit{
		Before: in, After: after, Inbox: []string{inbox[0].ID}, Request: &Request{ID: "r", Answer: []byte("x")},
		Timeline: []incident.Entry{{Seq: 3, At: base, Type: incident.EntryResolved}}, Feed: true,
		Work: []incident.Work{{Kind: incident.WorkReplace}},
	}); err != nil {
		t.Errorf("commit: %v", err)
	}
	if _, err := s.Heartbeat(ctx, base, Member{}, All()); err != nil {
		t.Errorf("heartbeat: %v", err)
	}
	if _, err := s.NextNumber(ctx); err != nil {
		t.Errorf("number: %v", err)
	}
	if _, err := s.ClaimTurn(ctx, "p", 0, in.ID, []roster.UserID{"ann"}); err != nil {
		t.Errorf("turn: %v", err)
	}
	send := sendTo(t, in.ID, after.Generation, "iphone")
	if got, err := s.BeginSend(ctx, base, []Send{send}); err != nil || got[0] != BegunGo {
		t.Errorf("begin send: got %v, %v, want go", got, err)
	}
	if r, err := s.Receipt(ctx, Receipt{Delivery: send.Delivery.ID, State: incident.DeliveryReceived, At: base}); err != nil || r.Verdict != ReceiptApplied {
		t.Errorf("receipt: got %v, %v, want applied", r.Verdict, err)
	}
	if err := s.WorkDone(ctx, p, "1-1"); err != nil {
		t.Errorf("work done: %v", err)
	}
	if err := s.Archive(ctx, in.ID, nil); err != nil {
		t.Errorf("archive: %v", err)
	}
	if err := s.Writable(ctx); err != nil {
		t.Errorf("writable: %v", err)
	}
}

func TestInboxIsBoundedAndFoldsRepeats(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := openAt(t, srv.URL(), func(o *Options) { o.InboxLimit = 3 })
	ctx := t.Context()
	service := freshService(t)
	entry := func(id string) InboxEntry {
		return InboxEntry{
			Service: service, Integration: "int-1", Source: "generic", Key: "disk", Received: base, Config: "5-1", Trace: "00-aa", Hops: 1,
			Event: event.Event{Action: event.Trigger, Summary: "disk full", Severity: event.Error, SenderID: id, Timestamp: base},
		}
	}
	for _, id := range []string{"a", "a", "b"} {
		if err := s.Append(ctx, []InboxEntry{entry(id)}); err != nil {
			t.Fatalf("append %s: %v", id, err)
		}
	}
	p := PartitionOf(string(service))
	got, err := s.Inbox(ctx, p, 10)
	if err != nil || len(got) != 2 {
		t.Fatalf("inbox: got %d entries, %v, want 2", len(got), err)
	}
	want := entry("a")
	want.ID, want.Partition = got[0].ID, p
	if d := diff(want, got[0]); d != "" {
		t.Errorf("entry (-want +got):\n%s", d)
	}
	if err := s.Append(ctx, []InboxEntry{entry(""), entry("")}); !isFault(err, ErrInboxFull) {
		t.Errorf("over the bound: got %v, want %v", err, ErrInboxFull)
	}
	if err := s.Append(ctx, []InboxEntry{entry("")}); err != nil {
		t.Errorf("up to the bound: %v", err)
	}
	if err := s.InboxDone(ctx, p, got[0].ID); err != nil {
		t.Errorf("done: %v", err)
	}
	if stats, err := s.Stats(ctx); err != nil || stats[p].Inbox != 2 || stats[p].Oldest.IsZero() {
		t.Errorf("stats: got %v, %v, want 2 in the inbox", stats[p], err)
	}
}

func TestTimersAreThoseOfTheDocuments(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.Start(t).URL())
	ctx := t.Context()
	service := freshService(t)
	p := PartitionOf(string(service))
	var all []*incident.Incident
	for i := range 3 {
		in, _ := mustCommit(t, s, begin(opened(service, base.Add(time.Duration(i)*time.Second)), fmt.Sprint(i)))
		all = append(all, in)
	}
	docs, next, err := s.Due(ctx, p, base.Add(21*time.Second), 10)
	if want := []Doc{IncidentDoc(all[0].ID), IncidentDoc(all[1].ID)}; err != nil || diff(want, docs) != "" || !next.Equal(base.Add(22*time.Second)) {
		t.Errorf("due: got %v, %v, %v, want %v, and the next a second later", docs, next, err, want)
	}
	docs, next, err = s.Due(ctx, p, base.Add(time.Hour), 2)
	if err != nil || len(docs) != 2 || !next.Equal(base.Add(22*time.Second)) {
		t.Errorf("due, two at most: got %v, %v, %v", docs, next, err)
	}
	for _, in := range all {
		resolve(t, s, in, base.Add(time.Minute))
	}
	if docs, next, err = s.Due(ctx, p, base.Add(time.Hour), 10); err != nil || len(docs) != 0 || !next.IsZero() {
		t.Errorf("after the resolve: got %v, %v, %v, want none", docs, next, err)
	}
}

// TestEventsDoNotStandBeforePeople: the lanes for what events lead to are out,
// and everything else is committed.
func TestEventsDoNotStandBeforePeople(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.Start(t).URL())
	ctx := t.Context()
	service := freshService(t)
	if err := s.Append(ctx, []InboxEntry{{Service: service, Key: "disk", Received: base}}); err != nil {
		t.Fatal(err)
	}
	entries, err := s.Inbox(ctx, PartitionOf(string(service)), 1)
	if err != nil || len(entries) != 1 {
		t.Fatalf("inbox: got %d entries, %v, want 1", len(entries), err)
	}
	s.decided.close()
	c := begin(opened(service, base), "disk")
	if _, err := s.Commit(ctx, c); err != nil {
		t.Errorf("a commit that takes no event: got %v, want that it is made", err)
	}
	c = begin(opened(service, base), "cpu")
	c.Inbox = []string{entries[0].ID}
	if _, err := s.Commit(ctx, c); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a commit that takes an event: got %v, want that its own lanes are out", err)
	}
}

// TestNumbersOfAStorm: a storm does not go to Redis for every few incidents, and
// a quiet hour later the numbers are dense again.
func TestNumbersOfAStorm(t *testing.T) {
	t.Parallel()
	now := base
	s := openAt(t, redistest.Start(t).URL(), func(o *Options) { o.Now = func() time.Time { return now } })
	ctx := t.Context()
	trips, before := 0, int64(0)
	for want := int64(1); want <= 10_000; want++ {
		n, err := s.NextNumber(ctx)
		if err != nil || n != want {
			t.Fatalf("number %d: got %d, %v", want, n, err)
		}
		taken, err := s.rdb.Get(ctx, numberKey).Int64()
		if err != nil {
			t.Fatal(err)
		}
		if taken != before {
			trips, before = trips+1, taken
		}
	}
	if trips > 20 {
		t.Errorf("10,000 numbers took %d trips, want 20 at most", trips)
	}
	now = now.Add(time.Hour)
	n, err := s.NextNumber(ctx)
	if err != nil || n != before+1 {
		t.Errorf("after an hour: got %d, %v, want %d: what is left of a large block is old", n, err, before+1)
	}
	if taken, err := s.rdb.Get(ctx, numberKey).Int64(); err != nil || taken != before+numberBlock {
		t.Errorf("after an hour %d numbers were taken (%v), want %d", taken-before, err, numberBlock)
	}
}
