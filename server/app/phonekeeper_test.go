package app

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// keeperAt is the instance's keeper of phones as it will be at the instant.
func (in *instance) keeperAt(at time.Time) *phoneKeeper {
	k := *in.server.phones
	k.now = func() time.Time { return at }
	return &k
}

func (k *phoneKeeper) must(t *testing.T) {
	t.Helper()
	if err := k.round(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// device is the phone's record as the instance has it.
func (in *instance) device(h *handset) *directory.Device {
	in.t.Helper()
	d, ok := in.server.directory.Snapshot().GetDevice(roster.DeviceID(strings.TrimPrefix(h.name, "devices/")))
	if !ok {
		in.t.Fatalf("the device of %s is gone", h.Name())
	}
	return d
}

// Each phone is asked for a sign of life once a day, by one of two instances,
// silently and in its own day; a browser never is. The answer makes it green.
func TestHeartbeats(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	here, there := w.start(), w.start()
	here.apply(organisation)
	settles(t, "the other instance knows Ann", func() bool { _, ok := there.server.directory.Snapshot().GetUser("ann"); return ok })
	phones := []*handset{here.bring(w, "ann", pb.Device_PLATFORM_IOS), here.bring(w, "bo", pb.Device_PLATFORM_ANDROID)}
	settles(t, "both instances own something", func() bool { return len(here.server.engine.Owned()) > 0 && len(there.server.engine.Owned()) > 0 })
	settles(t, "the other instance knows the phones", func() bool { return there.server.directory.Snapshot().Count(directory.KindDevice) == 2 })
	evening := func(days int) time.Time {
		now := time.Now().UTC()
		return time.Date(now.Year(), now.Month(), now.Day()+days, 21, 59, 30, 0, time.UTC)
	}
	var wg sync.WaitGroup
	for range 3 {
		for _, in := range []*instance{here, there} {
			wg.Go(func() {
				if err := in.keeperAt(evening(0)).round(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	beat := func(n pushtest.Notification) bool { return n.Kind == "heartbeat" }
	for _, h := range phones {
		n := gets(t, h.Phone, "a heartbeat", beat)
		if n.Visible || n.Sound != "" || n.ReceiptPath == "" {
			t.Errorf("%s's heartbeat is %+v, want a silent one that says where to answer", h.Name(), n)
		}
		h.receipt(n, pb.Receipt_STATE_RECEIVED)
		if d := h.me(); d.GetLastHeartbeatTime() == nil || d.GetHealth() != pb.Device_HEALTH_GREEN {
			t.Errorf("after its answer %s's phone is %v", h.Name(), d)
		}
		count := 0
		for _, n := range h.Got() {
			if beat(n) {
				count++
			}
		}
		if count != 1 {
			t.Errorf("%s's phone got %d heartbeats in a day, want 1", h.Name(), count)
		}
	}
}

func TestWhenHeartbeatsAreSent(t *testing.T) {
	zone := func(name string) *time.Location {
		l, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	zurich := zone("Europe/Zurich")
	phone := func(id string) kept {
		return kept{Device: &directory.Device{
			Device: roster.Device{ID: roster.DeviceID(id), Platform: roster.IOS, State: roster.DeviceActive}, Zone: "Europe/Zurich",
			Address: directory.Address{Kind: directory.APNs},
		}}
	}
	minutes := map[int]int{}
	for i := range 2000 {
		d := phone(fmt.Sprintf("d%d", i))
		m := beatMinute(d.ID)
		minutes[m]++
		if m < beatFrom*60 || m >= beatUntil*60 || m%15 == 0 {
			t.Fatalf("%s is asked at minute %d of its day", d.ID, m)
		}
		// Over two days by the minute, one of them an hour short, it is due once a day.
		due := 0
		for at := time.Date(2026, 3, 28, 0, 0, 0, 0, zurich); i < 20 && at.Before(time.Date(2026, 3, 30, 0, 0, 0, 0, zurich)); at = at.Add(time.Minute) {
			if !beatDue(d, roster.User{}, at, zone) {
				continue
			}
			if h := at.Hour(); h < beatFrom || h >= beatUntil {
				t.Errorf("%s is asked at %s", d.ID, at)
			}
			due++
			d.word.Asked = at
		}
		if i < 20 && due != 2 {
			t.Errorf("%s is asked %d times in two days", d.ID, due)
		}
	}
	if len(minutes) < 700 {
		t.Errorf("2,000 phones are asked at %d different minutes", len(minutes))
	}
	noon := time.Date(2026, 7, 1, 21, 59, 0, 0, zurich)
	for name, change := range map[string]func(*directory.Device){
		"a browser":             func(d *directory.Device) { d.Platform = roster.Web },
		"a dead phone":          func(d *directory.Device) { d.State = roster.DeviceDead },
		"one without a token":   func(d *directory.Device) { d.Address = directory.Address{} },
		"one in another's day":  func(d *directory.Device) { d.Zone = "Pacific/Auckland" }, // 07:59 the next day, asked at its own minute
		"one that was revoked":  func(d *directory.Device) { d.State = roster.DeviceRevoked },
		"one of a parked state": func(d *directory.Device) { d.State = roster.DeviceParked },
	} {
		d := phone("d1")
		change(d.Device)
		if want := d.Zone != "Europe/Zurich" && beatMinute(d.ID) <= 7*60+59; beatDue(d, roster.User{Zone: "Europe/Zurich"}, noon, zone) != want {
			t.Errorf("%s is asked: %t, want %t", name, !want, want)
		}
	}
	d := phone("d1") // asked after 8
	d.Zone = ""
	for name, want := range map[string]bool{"Pacific/Auckland": false, "Europe/Zurich": true} {
		if got := beatDue(d, roster.User{Zone: name}, noon, zone); got != want {
			t.Errorf("a phone without a zone, of a user in %s, is asked: %t, want %t", name, got, want)
		}
	}
}

// A phone that was not heard of for a month is paged and not counted on, and its
// person is told by mail; heard of again it is as before. After 270 days it is
// taken out. A browser that is silent for a week is told of by mail, once.
func TestSilentDevices(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	box := newLetterbox(t)
	in := w.start(box.settings)
	in.apply(organisation)
	ann := in.bring(w, "ann", pb.Device_PLATFORM_IOS)
	now := w.watch.Now()
	doubted := func() string {
		for _, u := range in.server.directory.Snapshot().Unreachable() {
			if u.User == "ann" {
				return u.Why
			}
		}
		return ""
	}
	settles(t, "its partition is owned", func() bool { return len(in.server.engine.Owned()) == 64 })
	in.keeperAt(now.Add(29 * 24 * time.Hour)).must(t)
	if d := in.device(ann); d.State != roster.DeviceActive || doubted() != "" {
		t.Errorf("after 29 days it is %v, and %q", d.State, doubted())
	}
	in.keeperAt(now.Add(31 * 24 * time.Hour)).must(t)
	id := roster.DeviceID(strings.TrimPrefix(ann.name, "devices/"))
	d, _ := in.server.directory.Snapshot().GetDevice(id)
	if d.State != roster.DeviceUnverified || !strings.Contains(doubted(), "not been heard of") {
		t.Errorf("after 31 days it is %v, and %q", d.State, doubted())
	}
	in.send("trigger", "one", "disk full")
	gets(t, ann.Phone, "a page all the same", page)
	w.watch.forward(2 * time.Minute) // signs of life are written once a minute
	ann.me()
	settles(t, "it is active again", func() bool {
		d, _ := in.server.directory.Snapshot().GetDevice(id)
		return d.State == roster.DeviceActive && d.StateReason == ""
	})
	in.mail("ann")
	browser := directory.Device{
		Device: roster.Device{ID: "browser", User: "ann", Name: "Firefox", Platform: roster.Web, State: roster.DeviceActive}, Install: newUUID(), App: bundle,
	}
	var err error
	browser.Address, err = in.server.directory.SealAddress("browser", directory.WebPush, directory.AddressSecret{Value: "https://fcm.googleapis.com/x"}, now)
	if err == nil {
		_, err = in.server.directory.Change(t.Context(), directory.ByServer("test"), func(e *directory.Edit) error { return e.Create(&browser) })
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		in.keeperAt(now.Add(8 * 24 * time.Hour)).must(t)
	}
	box.gets(t, "ann", "Nothing was heard of the browser Firefox")
	in.keeperAt(now.Add(271 * 24 * time.Hour)).must(t)
	for _, id := range []roster.DeviceID{id, "browser"} {
		if d, _ := in.server.directory.Snapshot().GetDevice(id); d.State != roster.DeviceRevoked || d.Epoch != 1 {
			t.Errorf("after 271 days %s is %v of epoch %d, want it taken out", id, d.State, d.Epoch)
		}
	}
	box.gets(t, "ann", "was taken out")
	box.mu.Lock()
	defer box.mu.Unlock()
	count := 0
	for _, letter := range box.got {
		if strings.Contains(letter, "of the browser") {
			count++
		}
	}
	if count > 2 { // one letter may say it in its subject and its text
		t.Errorf("the silence of the browser is told %d times: %q", count, box.got)
	}
}

// The figures say how many devices there are, and who could not be woken.
func TestFiguresOfPhones(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	in := w.start()
	in.apply(organisation)
	figures := func(lines ...string) {
		t.Helper()
		in.keeperAt(w.watch.Now()).must(t)
		_, text := in.get("/metrics")
		for _, line := range lines {
			if !strings.Contains(text, "\n"+line+"\n") {
				t.Errorf("the figures lack %q", line)
			}
		}
	}
	figures("push_oncall_unreachable 3", `push_devices{platform="ios",state="active"} 0`)
	ann := in.bring(w, "ann", pb.Device_PLATFORM_IOS)
	in.bring(w, "bo", pb.Device_PLATFORM_ANDROID)
	ann.me() // the app is open
	figures("push_oncall_unreachable 2", `push_devices{platform="ios",state="active"} 1`, `push_devices{platform="android",state="active"} 1`)
	in.mail("bo") // mail wakes nobody
	figures("push_oncall_unreachable 2")
}

// TestCase67_TestPush: a test of a phone is in every respect a page but for the word TEST; it has passed
// only when the phone has receipted it and the person says that it was heard;
// a phone that may not notify says which setting it is, and what mends it.
func TestCase67_TestPush(t *testing.T) {
	t.Parallel()
	for name, platform := range map[string]pb.Device_Platform{"apns": pb.Device_PLATFORM_IOS, "fcm": pb.Device_PLATFORM_ANDROID} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, redistest.Start(t).URL())
			in := w.start()
			in.apply(organisation)
			ann := in.bring(w, "ann", platform)
			in.send("trigger", name, "disk full "+name)
			paged := gets(t, ann.Phone, "a page", page)
			start := func(critical bool) (*pb.TestPush, pushtest.Notification) {
				t.Helper()
				sent, err := ann.devices.SendTestPush(ann.auth, &pb.SendTestPushRequest{Name: "devices/me", Critical: critical})
				if err != nil {
					t.Fatal(err)
				}
				return sent, gets(t, ann.Phone, "the test", func(n pushtest.Notification) bool { return n.DeliveryID == sent.GetDeliveryId() })
			}
			sent, test := start(false)
			if test.Kind != "test" || !strings.HasPrefix(test.Title, "TEST") || !test.Audible() {
				t.Errorf("the test is %+v", test)
			}
			if test.Category != paged.Category || test.Sound != paged.Sound || test.Level != paged.Level || test.Critical != paged.Critical ||
				test.HighPrio != paged.HighPrio || test.ReceiptPath != paged.ReceiptPath {
				t.Errorf("the test sounds and shows otherwise than the page:\n%+v\n%+v", test, paged)
			}
			heard := func(sent *pb.TestPush) *pb.TestPush {
				t.Helper()
				got, err := ann.devices.ConfirmTestPush(ann.auth, &pb.ConfirmTestPushRequest{Name: sent.GetName(), Heard: true})
				if err != nil {
					t.Fatal(err)
				}
				return got
			}
			if got := heard(sent); got.GetVerdict() == pb.TestPush_VERDICT_PASSED {
				t.Errorf("without a receipt the test is %v", got)
			}
			sent, test = start(true)
			if test.Level != "critical" || !test.Critical {
				t.Errorf("a critical test is of level %q, critical %t", test.Level, test.Critical)
			}
			states := ann.watchTest(t, sent.GetName())
			if got := <-states; got.GetVerdict() != 0 {
				t.Errorf("before any receipt the test is %v", got)
			}
			ann.receipt(test, pb.Receipt_STATE_RECEIVED, pb.Receipt_STATE_DISPLAYED)
			if got := heard(sent); got.GetVerdict() != pb.TestPush_VERDICT_PASSED {
				t.Errorf("received and heard, the test is %v", got)
			}
			var last *pb.TestPush
			for m := range states {
				last = m
			}
			if last.GetVerdict() != pb.TestPush_VERDICT_PASSED {
				t.Errorf("the stream of states ends with %v", last)
			}
			if d := ann.me(); !d.GetLastTestPassed() || d.GetHealth() != pb.Device_HEALTH_GREEN {
				t.Errorf("after a test that was passed the device is %v", d)
			}

			sent, test = start(false)
			answer, err := ann.devices.ReportReceipts(ann.auth, &pb.ReportReceiptsRequest{Receipts: []*pb.Receipt{
				{DeliveryId: test.DeliveryID, State: pb.Receipt_STATE_SUPPRESSED, Reason: "permission"},
			}})
			if err != nil || answer.GetResults()[0].GetStatus() != pb.ReportReceiptsResponse_Result_STATUS_RECORDED {
				t.Fatalf("the receipt answers %v (%v)", answer, err)
			}
			for m := range ann.watchTest(t, sent.GetName()) {
				last = m
			}
			if last.GetVerdict() != pb.TestPush_VERDICT_SUPPRESSED || last.GetCode() != "permission" || !strings.Contains(strings.Join(last.GetAdvice(), " "), "Allow notifications") {
				t.Errorf("with notifications off the test is %v", last)
			}
			if d := ann.me(); d.GetHealth() != pb.Device_HEALTH_RED || !strings.Contains(d.GetHealthReason(), "permission") {
				t.Errorf("with notifications off the device is %v", d)
			}
		})
	}
}

// watchTest streams the states of a test until its verdict.
func (h *handset) watchTest(t *testing.T, name string) <-chan *pb.TestPush {
	t.Helper()
	ctx, cancel := context.WithTimeout(h.auth, patience)
	t.Cleanup(cancel)
	stream, err := h.devices.WatchTestPush(ctx, &pb.WatchTestPushRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	states := make(chan *pb.TestPush, 100)
	go func() { // ends with the stream
		defer close(states)
		for {
			m, err := stream.Recv()
			if err != nil {
				return
			}
			states <- m
		}
	}()
	return states
}

// A phone whose app says that it is from a store and is not: its first page goes
// the other way at once, and from then on every push does.
func TestEnvironmentIsCorrected(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	in := w.start(func(o *Options) {
		sandbox := o.Config.Push.Apps[0]
		sandbox.Environment = "sandbox"
		o.Config.Push.Apps = append(o.Config.Push.Apps, sandbox)
	})
	in.apply(organisation)
	ann := in.bring(w, "ann", pb.Device_PLATFORM_IOS)
	w.apple.Script(ann.token, pushtest.Reject(400, "BadDeviceToken"))
	before := w.apple.Count()
	in.send("trigger", "one", "disk full")
	gets(t, ann.Phone, "the page", page)
	settles(t, "the record is right", func() bool { d := in.device(ann); return d.Environment == directory.Sandbox && d.Confirmed })
	if d := in.device(ann); d.State != roster.DeviceActive {
		t.Errorf("the phone is %v", d.State)
	}
	if n := w.apple.Count() - before; n != 2 {
		t.Errorf("the page took %d requests, want 2", n)
	}
}
