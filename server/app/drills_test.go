package app

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/drill"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/notify"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// drilled is the organisation with a team whose people are drilled once a week, at
// whatever hour. Cy manages it.
const drilled = organisation + `
teams:
  - {id: shop, name: Shop, members: [ann, bo, cy], managers: [cy]}
drills:
  - {id: weekly, name: Weekly, team: shop, people: [ann, bo], interval: 7d, limit: 5m, night: true,
     hours: {days: [monday, tuesday, wednesday, thursday, friday, saturday, sunday], start: "00:00", end: "00:00"}}
`

func isTest(n pushtest.Notification) bool { return n.Kind == "test" }

func (in *instance) drillsOf(user string) []*pb.Drill {
	in.t.Helper()
	got, err := pb.NewDrillServiceClient(in.console()).ListDrills(in.t.Context(), &pb.ListDrillsRequest{User: "users/" + user})
	if err != nil {
		in.t.Fatal(err)
	}
	return got.GetDrills()
}

// next returns the first instant after another at which the plan drills a person.
func (in *instance) next(user roster.UserID, after time.Time) time.Time {
	in.t.Helper()
	snap := in.server.directory.Snapshot()
	p, _ := snap.GetDrillPlan("weekly")
	for n := p.PeriodAt(after, time.UTC); ; n++ {
		if when, ok := p.Due(user, n, time.UTC, p.Created); ok && when.From.After(after) {
			return when.From
		}
	}
}

// ends waits until a person has so many drills, all of which are over.
func (in *instance) ends(user string, count int) []*pb.Drill {
	in.t.Helper()
	var all []*pb.Drill
	settles(in.t, "the drills of "+user+" are over", func() bool {
		all = in.drillsOf(user)
		for _, d := range all {
			if d.GetEndTime() == nil {
				return false
			}
		}
		return len(all) == count
	})
	return all
}

// TestFireDrill: at a time that nobody knows, Ann's two phones ring as for a page,
// marked as a test; what each phone does is measured, and the tap on one of them
// is her answer. It is held once, although two servers look and one is started
// again. Bo does not hear his: he, his readiness and the team's manager tell of it.
func TestFireDrill(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	box := newLetterbox(t)
	in := w.start(box.settings)
	in.apply(drilled)
	in.mail("bo", "cy")
	ann, second := in.bring(w, "ann", pb.Device_PLATFORM_IOS), in.bring(w, "ann", pb.Device_PLATFORM_IOS)
	bo := in.bring(w, "bo", pb.Device_PLATFORM_IOS)
	at := in.next("ann", w.watch.Now())
	if wait := at.Add(-time.Minute).Sub(w.watch.Now()); wait > 0 {
		w.watch.forward(wait)
	}
	if got := ann.Got(); len(got) > 0 && isTest(got[len(got)-1]) {
		t.Fatal("the drill came before its time")
	}
	beside := w.start(box.settings)
	w.watch.forward(time.Minute)
	n := gets(t, ann.Phone, "the drill", isTest)
	if n.Title != "TEST: This is a fire drill" || !n.Audible() || n.Category != "TOCSIN_PAGE" || !n.Critical {
		t.Errorf("the drill is %+v, want it as loud as the loudest page", n)
	}
	other := gets(t, second.Phone, "the drill", isTest)
	ann.receipt(n, pb.Receipt_STATE_RECEIVED, pb.Receipt_STATE_DISPLAYED)
	second.receipt(other, pb.Receipt_STATE_RECEIVED)
	running := in.drillsOf("ann")
	if len(running) != 1 || running[0].GetState() != pb.Drill_STATE_RUNNING || running[0].GetDrillPlan() != "drillPlans/weekly" {
		t.Fatalf("running: %v", running)
	}
	w.watch.forward(20 * time.Second)
	if answer := ann.acknowledge(n); answer.GetOutcome() != pb.ActResponse_OUTCOME_DONE {
		t.Errorf("the tap is answered %v", answer)
	}
	if _, err := second.devices.ConfirmTestPush(second.auth, &pb.ConfirmTestPushRequest{Name: "testPushes/" + strings.ReplaceAll(other.DeliveryID, "-", ""), Heard: false}); err != nil {
		t.Error(err)
	}
	d := in.ends("ann", 1)[0]
	if took := d.GetResponseTime().AsDuration(); d.GetState() != pb.Drill_STATE_HEARD || took < 20*time.Second || took > time.Minute+20*time.Second {
		t.Errorf("heard: %v", d)
	}
	outcomes := map[string]pb.Drill_Device_Outcome{}
	for _, x := range d.GetDevices() {
		outcomes[x.GetDevice()] = x.GetOutcome()
		if x.GetSentTime() == nil || x.GetReceivedTime() == nil {
			t.Errorf("not measured: %v", x)
		}
	}
	if outcomes[ann.name] != pb.Drill_Device_OUTCOME_HEARD || outcomes[second.name] != pb.Drill_Device_OUTCOME_NOT_HEARD {
		t.Errorf("by device: %v", outcomes)
	}

	beside.stop() // two servers whose clocks jump would each make a token for Apple
	if at := in.next("bo", w.watch.Now()); len(in.drillsOf("bo")) == 0 {
		w.watch.forward(at.Sub(w.watch.Now()))
	}
	n = gets(t, bo.Phone, "his drill", isTest)
	bo.receipt(n, pb.Receipt_STATE_RECEIVED, pb.Receipt_STATE_DISPLAYED)
	settles(t, "the receipts are kept", func() bool { return in.drillsOf("bo")[0].GetDevices()[0].GetDisplayedTime() != nil })
	w.watch.forward(6 * time.Minute)
	if d := in.ends("bo", 1)[0]; d.GetState() != pb.Drill_STATE_MISSED || d.GetResponseTime() != nil || d.GetDevices()[0].GetOutcome() != pb.Drill_Device_OUTCOME_DISPLAYED {
		t.Errorf("missed: %v", d)
	}
	box.gets(t, "bo", "You did not hear a fire drill")
	ready := func() *pb.Readiness {
		got, err := pb.NewOnCallServiceClient(in.console()).ListReadiness(t.Context(), &pb.ListReadinessRequest{User: "users/bo"})
		if err != nil || len(got.GetReadiness()) != 1 {
			t.Fatalf("readiness of bo: %v (%v)", got, err)
		}
		return got.GetReadiness()[0]
	}
	if r := ready(); r.GetVerdict() != pb.Readiness_VERDICT_DOUBTFUL || !strings.Contains(r.GetReasons()[0].GetText(), "fire drill") {
		t.Errorf("bo is %v", r)
	}
	sent, err := bo.devices.SendTestPush(bo.auth, &pb.SendTestPushRequest{Name: "devices/me"})
	if err != nil {
		t.Fatal(err)
	}
	n = gets(t, bo.Phone, "a test", func(n pushtest.Notification) bool { return n.DeliveryID == sent.GetDeliveryId() })
	bo.receipt(n, pb.Receipt_STATE_RECEIVED)
	bo.acknowledge(n)
	if r := ready(); r.GetVerdict() != pb.Readiness_VERDICT_READY {
		t.Errorf("after a test that was passed, bo is %v", r)
	}

	p, _ := in.server.directory.Snapshot().GetDrillPlan("weekly")
	end := p.Begins(p.PeriodAt(in.drillsOf("bo")[0].GetStartTime().AsTime(), time.UTC)+1, time.UTC)
	w.watch.forward(end.Add(summaryAfter + time.Hour).Sub(w.watch.Now()))
	box.gets(t, "cy", "Fire drills of Weekly:", "heard")
}

// TestDrillLeavesWhoResponds: whoever has an incident is not drilled, a drill that is
// running is broken off by one, and none is held while paging is held.
func TestDrillLeavesWhoResponds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	in := w.start()
	in.apply(drilled)
	ann := in.bring(w, "ann", pb.Device_PLATFORM_IOS)
	w.watch.forward(in.next("ann", w.watch.Now().Add(5*time.Minute)).Sub(w.watch.Now()) - 2*time.Minute)
	drills := pb.NewDrillServiceClient(in.console())
	if _, err := drills.StartDrill(t.Context(), &pb.StartDrillRequest{DrillPlan: "drillPlans/weekly", User: "users/ann"}); err != nil {
		t.Fatal(err)
	}
	gets(t, ann.Phone, "the drill", isTest)
	in.send("trigger", "db", "disk full")
	gets(t, ann.Phone, "the page", page)
	if d := in.ends("ann", 1)[0]; d.GetState() != pb.Drill_STATE_CANCELLED || d.GetReason() != responding {
		t.Errorf("the drill ended as %v", d)
	}
	w.watch.forward(3 * time.Minute)
	snap, mine := in.server.directory.Snapshot(), map[store.Partition]bool{store.PartitionOf("ann"): true}
	p, _ := snap.GetDrillPlan("weekly")
	if err := in.server.drills.due(t.Context(), snap, p, mine, w.watch.Now()); err != nil {
		t.Fatal(err)
	}
	if got := in.drillsOf("ann"); len(got) != 1 {
		t.Errorf("during an incident: %v", got)
	}
	in.send("resolve", "db", "disk full")
	settles(t, "the incident is over", func() bool { busy, err := in.server.store.Responding(t.Context(), "ann"); return err == nil && !busy })
	w.watch.forward(lookForDrills)
	settles(t, "the drill is held after it", func() bool { return len(in.drillsOf("ann")) == 2 })
}

// TestDrillIsPutOff: Ann puts hers off by a day, once; it is held then.
func TestDrillIsPutOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	in := w.start()
	in.apply(drilled)
	ann := in.bring(w, "ann", pb.Device_PLATFORM_IOS)
	own := pb.NewDrillServiceClient(dial(t, in.doors.Listen))
	drills := pb.NewDrillServiceClient(in.console())
	begun, err := drills.StartDrill(t.Context(), &pb.StartDrillRequest{DrillPlan: "drillPlans/weekly", User: "users/ann"})
	if err != nil {
		t.Fatal(err)
	}
	first := begun.GetDrills()[0].GetName()
	gets(t, ann.Phone, "the drill", isTest)
	put, err := own.PutOffDrill(ann.auth, &pb.PutOffDrillRequest{Name: first})
	if err != nil || put.GetState() != pb.Drill_STATE_PUT_OFF || put.GetAgainTime() != nil {
		t.Fatalf("put off: %v (%v), want it without the time", put, err)
	}
	if seen, err := drills.GetDrill(t.Context(), &pb.GetDrillRequest{Name: first}); err != nil || seen.GetAgainTime().AsTime().Sub(w.watch.Now()) < 23*time.Hour {
		t.Errorf("others see %v (%v)", seen, err)
	}
	w.watch.forward(24*time.Hour + time.Minute)
	settles(t, "it is held again", func() bool {
		got, err := in.server.store.Drill(t.Context(), drill.ID(strings.TrimPrefix(first, "drills/")+"2"))
		return err == nil && got.State == drill.Running
	})
	if _, err := own.PutOffDrill(ann.auth, &pb.PutOffDrillRequest{Name: first + "2"}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a second time: %v", err)
	}
}

// desk is the loop of an instance by itself: it remembers in memory, sends
// nothing, and notes what it tells.
func (in *instance) desk() (*drills, *memo) {
	m := &memo{drills: map[drill.ID]drill.Drill{}}
	k := *in.server.drills
	k.ledger = m
	k.send = func(context.Context, roster.DeviceID, drill.ID, time.Duration) (notify.Test, error) {
		return notify.Test{}, nil
	}
	k.tell = func(n notify.News) { m.told = append(m.told, n.Title) }
	return &k, m
}

// memo is a drillLedger in memory, of people who have no incident.
type memo struct {
	drillLedger

	drills map[drill.ID]drill.Drill
	told   []string
}

func (m *memo) Drill(_ context.Context, id drill.ID) (drill.Drill, error) {
	if d, ok := m.drills[id]; ok {
		return d, nil
	}
	return drill.Drill{}, fault.New(fault.NotFound, "DRILL_NOT_FOUND", "there is no such drill")
}

func (m *memo) PutDrill(_ context.Context, d drill.Drill) (bool, error) {
	if m.drills[d.ID].Revision != d.Revision {
		return false, nil
	}
	d.Revision++
	m.drills[d.ID] = d
	return true, nil
}

func (m *memo) OpenDrills(context.Context) ([]drill.Drill, error) {
	return slices.Collect(maps.Values(maps.Clone(m.drills))), nil
}

func (*memo) Responding(context.Context, roster.UserID) (bool, error) { return false, nil }

func (*memo) Delivery(context.Context, string) (store.Doc, incident.Delivery, bool, error) {
	return store.Doc{}, incident.Delivery{}, false, nil
}

func (*memo) TouchDevice(context.Context, roster.DeviceID, map[string]any) error { return nil }

// TestDrillThatWasNotSent: nobody has missed what no server was there to send.
func TestDrillThatWasNotSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	in := w.start()
	in.apply(drilled)
	k, kept := in.desk()
	begun := time.Date(2021, 3, 22, 12, 0, 0, 0, time.UTC)
	d := drill.New("unsent", "ann", begun, 5*time.Minute)
	d.Devices, d.Revision = []drill.Device{{ID: "phone", Delivery: "6f1c0b52-5f0f-4c43-8c1f-2f0f6f9a7a10"}}, 1
	kept.drills[d.ID] = d
	if err := k.follow(t.Context(), in.server.directory.Snapshot(), d, begun.Add(10*time.Minute)); err != nil {
		t.Fatal(err)
	}
	if got := kept.drills[d.ID]; got.State != drill.Cancelled || got.Reason == "" || len(kept.told) > 0 {
		t.Errorf("it is %s (%q), and told: %q; want it cancelled in silence", got.State, got.Reason, kept.told)
	}
}

// TestDrillPutOffKeepsItsHours: one that was put off is not held in the quiet
// hours of its person, nor at all when the plan does not drill him any more.
func TestDrillPutOffKeepsItsHours(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	in := w.start()
	in.apply(strings.Replace(drilled, "night: true,\n     hours: {days: [monday, tuesday, wednesday, thursday, friday, saturday, sunday], start: \"00:00\", end: \"00:00\"}",
		"hours: {days: [monday], start: \"08:00\", end: \"20:00\"}", 1))
	noon := time.Date(2021, 3, 22, 12, 0, 0, 0, time.UTC) // a Monday
	in.change(func(e *directory.Edit) error {
		u, _ := e.GetUser("ann")
		of := *u
		of.Zone, of.Quiet = "UTC", roster.QuietHours{Start: 11 * time.Hour, End: 13 * time.Hour}
		return e.Update(&of, "")
	})
	k, kept := in.desk()
	again := func(id drill.ID, at time.Time) {
		t.Helper()
		if err := k.follow(t.Context(), in.server.directory.Snapshot(), kept.drills[id], at); err != nil {
			t.Fatal(err)
		}
	}
	putOff := func(id drill.ID) {
		d := drill.New(id, "ann", noon.AddDate(0, 0, -1), 5*time.Minute)
		d.Plan, d.Team, d.State, d.Again, d.Revision = "weekly", "shop", drill.PutOff, noon, 1
		kept.drills[id] = d
	}
	putOff("quiet")
	again("quiet", noon)
	if d, ok := kept.drills["quiet2"]; ok {
		t.Errorf("in his quiet hours: %v, want that it waits", d)
	}
	again("quiet", noon.Add(time.Hour))
	if _, ok := kept.drills["quiet2"]; !ok {
		t.Errorf("it is not held after his quiet hours: %v", kept.drills)
	}
	delete(kept.drills, "quiet2")
	putOff("gone")
	in.change(func(e *directory.Edit) error {
		p, _ := e.GetDrillPlan("weekly")
		of := *p
		of.People = of.People[1:]
		return e.Update(&of, "")
	})
	again("gone", noon.Add(time.Hour))
	if d, begun := kept.drills["gone"], kept.drills["gone2"]; d.State != drill.Skipped || begun.State != 0 {
		t.Errorf("when the plan drills him no more it is %s, and the next %q", d.State, begun.State)
	}
}

// TestDrillsOfOnePersonFollowEachOther: the card of a second drill would take the
// place of the first one's, which then nobody could answer.
func TestDrillsOfOnePersonFollowEachOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	in := w.start()
	in.apply(drilled)
	k, kept := in.desk()
	now := time.Date(2021, 3, 22, 12, 0, 0, 0, time.UTC)
	kept.drills["first"] = drill.New("first", "ann", now, 5*time.Minute)
	snap := in.server.directory.Snapshot()
	p, _ := snap.GetDrillPlan("weekly")
	begin := func(last bool) drill.Drill {
		t.Helper()
		if err := k.begin(t.Context(), snap, p, drill.New("second", "ann", now, p.Limit), now, last); err != nil {
			t.Fatal(err)
		}
		return kept.drills["second"]
	}
	if d := begin(false); d.State != 0 {
		t.Errorf("beside another it is %s, want that it waits", d.State)
	}
	if d := begin(true); d.State != drill.Skipped {
		t.Errorf("beside another, at the last moment, it is %q", d.State)
	}
}
