package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/redisd"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// shortDir is a data directory in which a socket can be opened.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tocsin") //nolint:usetesting // t.TempDir is too long a path for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// monitor sends fifty events a second, each about something new: enough to be in
// the way of a copy, and not of the tests beside this one.
type monitor struct {
	mu       sync.Mutex
	accepted []string // answered 202
}

func (m *monitor) run(ctx context.Context, address string) {
	tick := time.NewTicker(time.Second / 50)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		name := fmt.Sprintf("disk %d", n)
		body := fmt.Sprintf(`{"event_action":"trigger","dedup_key":%q,"summary":%[1]q,"severity":"critical","source":"test"}`, name)
		if call(ctx, "http://"+address+"/integrations/"+key+"/generic", body, http.StatusAccepted) != nil {
			continue
		}
		m.mu.Lock()
		m.accepted = append(m.accepted, name)
		m.mu.Unlock()
	}
}

func (m *monitor) sent() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.accepted)
}

// record is what is kept of one incident.
type record struct {
	Timeline   []incident.Entry
	Deliveries map[string]incident.DeliveryState
}

// all lists every incident.
func all(t *testing.T, s *store.Store) (list []*incident.Incident) {
	t.Helper()
	for token := ""; ; {
		page, err := s.List(t.Context(), store.Query{PageSize: 200}, token)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, page.Incidents...)
		if token = page.Next; token == "" {
			return list
		}
	}
}

// titles returns those of all incidents.
func titles(t *testing.T, s *store.Store) map[string]bool {
	t.Helper()
	set := map[string]bool{}
	for _, in := range all(t, s) {
		set[in.Text.Title] = true
	}
	return set
}

// records reads all incidents by title.
func records(t *testing.T, s *store.Store) map[string]record {
	t.Helper()
	found := map[string]record{}
	for _, in := range all(t, s) {
		timeline, err := s.Timeline(t.Context(), in.ID, 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		deliveries, err := s.Deliveries(t.Context(), store.IncidentDoc(in.ID))
		if err != nil {
			t.Fatal(err)
		}
		r := record{Timeline: timeline, Deliveries: map[string]incident.DeliveryState{}}
		for _, d := range deliveries {
			r.Deliveries[d.ID] = d.State
		}
		found[in.Text.Title] = r
	}
	return found
}

// missing says what of before is not in after. Records only go on: a timeline
// gets longer, a delivery comes further.
func missing(before, after map[string]record) (complaints []string) {
	for title, was := range before {
		is, ok := after[title]
		if !ok {
			complaints = append(complaints, title+" is not there")
			continue
		}
		if diff := cmp.Diff(was.Timeline, is.Timeline[:min(len(was.Timeline), len(is.Timeline))]); diff != "" {
			complaints = append(complaints, title+" has another timeline:\n"+diff)
		}
		for id, state := range was.Deliveries {
			if is.Deliveries[id] < state {
				complaints = append(complaints, fmt.Sprintf("%s: delivery %s was in state %d and is in %d", title, id, state, is.Deliveries[id]))
			}
		}
	}
	return complaints
}

// TestABackUpWhilePaging backs up a server process with a Redis of its own while
// events come in, pages go out and the append-only file is rewritten, loses the
// machine, and goes on elsewhere: every event that had been accepted when the copy
// was begun is an incident, with the timeline and the deliveries that it had;
// people, devices and their credentials are there; what is overdue by less than an
// hour pages. Restored once more hours later, it pages nobody for the past (ADR 6).
func TestABackUpWhilePaging(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	here, to := shortDir(t), filepath.Join(t.TempDir(), "backup")
	first, err := w.spawn(here)
	if err != nil {
		t.Fatal(err)
	}
	defer first.end()
	socket := redisd.Socket(filepath.Join(here, "redis"))
	live := *w
	live.redis = "unix://" + socket
	ann := pushtest.NewPhone(pushtest.PhoneOptions{Name: "ann", Now: w.watch.Now})
	t.Cleanup(ann.Close)
	kept, err := live.prepare(t.Context(), ann)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kept.Close() })
	old := &instance{t: t, doors: Doors{Listen: first.address, Socket: filepath.Join(here, "admin.sock")}}
	bo, cy := old.bring(w, "bo", pb.Device_PLATFORM_IOS), old.bring(w, "cy", pb.Device_PLATFORM_IOS)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var m monitor
	var sending sync.WaitGroup
	sending.Go(func() { m.run(ctx, first.address) })
	n := gets(t, ann, "a page", page)
	if err := (&story{w: w, phone: ann, running: first}).answer(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if err := post(t.Context(), first.address, key, "resolve", "disk 1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "there are incidents enough", func() bool { return len(m.sent()) > 50 })
	rdb := redis.NewClient(&redis.Options{Network: "unix", Addr: socket, DisableIdentity: true})
	t.Cleanup(func() { _ = rdb.Close() })
	if err := rdb.Do(t.Context(), "BGREWRITEAOF").Err(); err != nil {
		t.Fatal(err)
	}

	accepted, before := m.sent(), records(t, kept)
	found, err := Backup(t.Context(), w.config(here), to)
	if err != nil {
		t.Fatal(err)
	}
	if now := len(m.sent()); now == len(accepted) {
		t.Error("no event was accepted while the copy was made")
	}
	if found.People != 3 || found.Devices != 3 || found.Services != 1 || found.Policies != 1 || found.Incidents+found.Events < len(accepted)-2 {
		t.Errorf("the back-up says it holds %+v, want 3 people with 3 devices, a service, a policy and %d incidents or events", found, len(accepted))
	}
	t.Logf("copied while %d events came in: %+v", len(m.sent())-len(accepted), found)
	stop()
	sending.Wait()
	first.end()
	if err := os.RemoveAll(here); err != nil {
		t.Fatal(err)
	}

	w.watch.forward(10 * time.Minute)
	second := w.restore(to)
	t.Run("soon", func(t *testing.T) {
		eventually(t, "every accepted event is an incident", func() bool {
			got := titles(t, second.server.store)
			return !slices.ContainsFunc(accepted, func(title string) bool { return !got[title] })
		})
		for _, complaint := range missing(before, records(t, second.server.store)) {
			t.Error(complaint)
		}
		gets(t, bo.Phone, "the escalation that was due meanwhile", page)
		items, err := second.server.directory.ApplyDocument(t.Context(), directory.ByServer("test"), []byte(organisation), directory.ApplyOptions{DryRun: true, Force: true})
		if err != nil || slices.ContainsFunc(items, func(i directory.Item) bool { return i.Action != directory.Unchanged }) {
			t.Errorf("the configuration is another one: %+v, %v", items, err)
		}
		for _, h := range []*handset{bo, cy} {
			devices := pb.NewDeviceServiceClient(dial(t, second.doors.Listen))
			if _, err := devices.GetDevice(h.auth, &pb.GetDeviceRequest{Name: "devices/me"}); err != nil {
				t.Errorf("%s's phone is not known any more: %v", h.Name(), err)
			}
		}
	})
	second.stop()

	woken := pages(bo.Phone)
	w.watch.forward(3 * time.Hour)
	third := w.restore(to)
	t.Run("hours later", func(t *testing.T) {
		gets(t, cy.Phone, "word of what waits", func(n pushtest.Notification) bool {
			return page(n) && strings.Contains(n.Title+n.Subtitle+n.Body, "Paging is held for")
		})
		if got := pages(bo.Phone); got != woken {
			t.Errorf("the second level was paged %d times for the past", got-woken)
		}
		for _, complaint := range missing(before, records(t, third.server.store)) {
			t.Error(complaint)
		}
	})
}

// restore starts a server in a new data directory with what a back-up holds, as
// docs/operations.md says.
func (w *world) restore(from string) *instance {
	w.t.Helper()
	dir := shortDir(w.t)
	if err := os.CopyFS(filepath.Join(dir, "redis"), os.DirFS(from)); err != nil {
		w.t.Fatal(err)
	}
	return w.start(func(o *Options) { o.Config.DataDir = dir })
}

// TestMissingCanTell shows that the comparison above sees what is lost.
func TestMissingCanTell(t *testing.T) {
	t.Parallel()
	before := map[string]record{"disk": {
		Timeline: []incident.Entry{{Seq: 1}, {Seq: 2}}, Deliveries: map[string]incident.DeliveryState{"d": incident.DeliveryAccepted},
	}}
	for name, change := range map[string]func(r map[string]record){
		"the incident": func(r map[string]record) { delete(r, "disk") },
		"a line": func(r map[string]record) {
			r["disk"] = record{r["disk"].Timeline[:1], r["disk"].Deliveries}
		},
		"another line": func(r map[string]record) {
			r["disk"] = record{[]incident.Entry{{Seq: 1}, {Seq: 3}}, r["disk"].Deliveries}
		},
		"a delivery": func(r map[string]record) { r["disk"] = record{r["disk"].Timeline, nil} },
		"a delivery went back": func(r map[string]record) {
			r["disk"] = record{r["disk"].Timeline, map[string]incident.DeliveryState{"d": incident.DeliveryQueued}}
		},
	} {
		after := maps.Clone(before)
		change(after)
		if got := missing(before, after); len(got) != 1 {
			t.Errorf("%s is missing, and %d complaints are made: %q", name, len(got), got)
		}
	}
	if got := missing(before, before); len(got) != 0 {
		t.Errorf("nothing is missing, and the complaints are %q", got)
	}
}

// TestBackupsThatAreRefused: nothing is written over, nothing half done bears the
// name of a back-up, and a key that does not open the copy is said now and not after the restore.
func TestBackupsThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	dir := shortDir(t)
	c := w.config(dir)
	in := w.start(func(o *Options) { o.Config.DataDir = dir })
	in.apply(organisation)
	in.stop()

	refused := func(what, to, reason string) {
		t.Helper()
		_, err := Backup(t.Context(), c, to)
		if f, ok := errors.AsType[*fault.Error](err); !ok || f.Reason != reason {
			t.Errorf("%s: got %v, want a fault %s", what, err, reason)
		}
	}
	to := filepath.Join(t.TempDir(), "backup")
	if _, err := Backup(t.Context(), c, to); err != nil {
		t.Fatalf("the first back-up, with the server stopped: %v", err)
	}
	refused("a second one", to, "BACKUP_EXISTS")
	next := to + "2"
	c.MasterKey = "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA="
	refused("another key", next, "MASTER_KEY_UNKNOWN")
	c.MasterKey = ""
	refused("no key", next, "MASTER_KEY_MISSING")
	c.MasterKey, c.Redis.URL = masterKey, redistest.URL(t)
	refused("a Redis of somebody else's", next, "REDIS_NOT_PRIVATE")
	c.Redis.URL, c.Redis.Program = "", "/bin/false"
	if _, err := Backup(t.Context(), c, next); err == nil {
		t.Error("a copy that no Redis could be started on is called good")
	}
	left, err := filepath.Glob(next + "*")
	if err != nil || len(left) > 0 {
		t.Errorf("there are left-overs: %q, %v", left, err)
	}
}
