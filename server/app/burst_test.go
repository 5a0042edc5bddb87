package app

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// gauge reads one metric without labels.
func (in *instance) gauge(name string) float64 {
	in.t.Helper()
	_, text := in.get("/metrics")
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				in.t.Fatal(err)
			}
			return v
		}
	}
	in.t.Fatalf("there is no metric %s", name)
	return 0
}

// TestCase71_RedisRestartsInABurst: Redis dies while pages are on their way and
// comes back; every page that was accepted goes out, and what tells the operator
// of unsent pages (push_outbox_oldest_seconds, above 10) rises meanwhile, without
// Redis, and falls to nothing after.
func TestCase71_RedisRestartsInABurst(t *testing.T) {
	t.Parallel()
	const people = 10
	redis := redistest.Start(t)
	w := newWorld(t, redis.URL())
	in := w.start()
	in.apply(crowd(people))
	var phones []*pushtest.Phone
	for i := range people {
		phones = append(phones, in.enrol(w, roster.UserID(fmt.Sprint("u", i)), roster.IOS))
	}
	// Redis dies when Apple is asked for the fourth page: some are taken, some
	// are in flight, some have not begun.
	var asked atomic.Int64
	dead := make(chan struct{})
	w.apple.Decide(func(pushtest.Request) (pushtest.Answer, bool) {
		if asked.Add(1) == 4 {
			close(dead)
		}
		return pushtest.After(50*time.Millisecond, pushtest.Accept()), true
	})
	in.send("trigger", "db", "disk full")
	select {
	case <-dead:
	case <-time.After(patience):
		t.Fatal("no page goes out")
	}
	redis.Kill(t)
	w.watch.forward(11 * time.Second)
	if got := in.gauge("push_outbox_oldest_seconds"); got <= 10 {
		t.Errorf("without Redis push_outbox_oldest_seconds is %v, want it above 10: a page is not known to be taken", got)
	}
	redis.Restart(t)
	for _, p := range phones {
		gets(t, p, "the page", page)
	}
	in.forward(w, 0)
	eventually(t, "the metric falls", func() bool { return in.gauge("push_outbox_oldest_seconds") < 10 })
	for _, p := range phones {
		if shown := p.Shown(); len(shown) != 1 {
			t.Errorf("%s's phone shows %d cards, want one", p.Name(), len(shown))
		}
	}
}

// TestCase73_StoppedInABurst: SIGTERM comes while pages are in flight and others
// wait; the process ends within 6 s, what was in flight is recorded as taken and
// is not sent again, and what waited goes out at the next start.
func TestCase73_StoppedInABurst(t *testing.T) {
	t.Parallel()
	const people = 10
	w := newWorld(t, redistest.Start(t).URL())
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	phone := pushtest.NewPhone(pushtest.PhoneOptions{Name: "u0"})
	t.Cleanup(phone.Close)
	kept, err := w.prepareAs(ctx, phone, crowd(people))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kept.Close() })
	in := w.start() // gives everybody a phone, and stops again
	var phones []*pushtest.Phone
	for i := range people {
		phones = append(phones, in.enrol(w, roster.UserID(fmt.Sprint("u", i)), roster.IOS))
	}
	in.stop()

	var asked atomic.Int64
	flying := make(chan struct{})
	w.apple.Decide(func(pushtest.Request) (pushtest.Answer, bool) {
		if asked.Add(1) == 3 {
			close(flying)
		}
		return pushtest.After(time.Second, pushtest.Accept()), true
	})
	dir := t.TempDir()
	child, err := w.spawn(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if err := post(ctx, child.address, key, "trigger", fmt.Sprint("db", i)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-flying:
	case <-ctx.Done():
		t.Fatal("no page goes out")
	}
	began := time.Now()
	if err := child.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-child.gone
	took := time.Since(began)
	t.Logf("ended %s after SIGTERM, with %d pushes asked for", took.Round(time.Millisecond), asked.Load())
	if took > 6*time.Second+busy || child.killed() {
		t.Errorf("the process took %s, want 6 s at most", took)
	}

	next, err := w.spawn(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer next.end()
	if err := incidents(ctx, kept, 5, incident.Triggered); err != nil {
		t.Fatal(err)
	}
	for _, p := range phones {
		gets(t, p, "the page", page)
	}
	sent := map[string]int{}
	for _, r := range w.apple.Requests() {
		if r.Status == http.StatusOK {
			sent[r.Header["apns-id"]]++
		}
	}
	for id, n := range sent {
		if n > 1 {
			t.Errorf("delivery %s was taken %d times, want once", id, n)
		}
	}
}

// TestCase29_AddressesStandAlone: Live Activities are not built, so no push has
// their type and no kind of address is theirs; what is left of the case is that
// an address that Apple calls dead takes none but its own device along, and
// nothing at all when the device has another address by then.
func TestCase29_AddressesStandAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	in := w.start()
	in.apply(organisation)
	ann, bo := in.enrol(w, "ann", roster.IOS), in.enrol(w, "bo", roster.IOS)
	state := func(id roster.DeviceID) roster.DeviceState {
		d, ok := in.server.directory.Snapshot().GetDevice(id)
		if !ok {
			t.Fatalf("there is no device %s", id)
		}
		return d.State
	}
	// While Apple calls the address dead, the app registers another.
	fresh := w.apple.Register(ann, bundle)
	var stale string
	var once sync.Once
	w.apple.Decide(func(r pushtest.Request) (pushtest.Answer, bool) {
		once.Do(func() { stale = r.Token }) // Ann is asked first
		if r.Token != stale {
			return pushtest.Answer{}, false
		}
		_, err := in.server.directory.Change(context.Background(), directory.ByServer("test"), func(e *directory.Edit) error {
			d, _ := e.GetDevice("dann")
			c := *d
			var err error
			if c.Address, err = in.server.directory.SealAddress(c.ID, directory.APNs, directory.AddressSecret{Value: fresh}, e.Now); err != nil {
				return err
			}
			return e.Update(&c, "")
		})
		if err != nil {
			t.Error(err)
		}
		return pushtest.Reject(http.StatusGone, "ExpiredToken"), true
	})
	in.send("trigger", "db", "disk full")
	eventually(t, "the page has been refused", func() bool {
		list, err := in.server.store.List(t.Context(), store.Query{}, "")
		if err != nil || len(list.Incidents) != 1 {
			return false
		}
		all, err := in.server.store.Deliveries(t.Context(), store.IncidentDoc(list.Incidents[0].ID))
		return err == nil && len(all) > 0 && all[0].State == incident.DeliveryRejected
	})
	in.forward(w, 0)
	for _, id := range []roster.DeviceID{"dann", "dbo"} {
		if got := state(id); got != roster.DeviceActive {
			t.Errorf("device %s is %v, want it active: what is dead is another address", id, got)
		}
	}
	in.forward(w, 5*time.Minute+time.Second)
	gets(t, bo, "the escalated page", page)
	for _, r := range w.apple.Requests() {
		if got := r.Header["apns-push-type"]; got == "liveactivity" || strings.Contains(r.Header["apns-topic"], "liveactivity") {
			t.Errorf("a push has type %q and topic %q, want none of a Live Activity", got, r.Header["apns-topic"])
		}
	}
}
