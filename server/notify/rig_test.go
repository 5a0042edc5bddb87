package notify

import (
	"cmp"
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"testing"
	"time"
	_ "time/tzdata" // the zones of the tests do not depend on the machine

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
	"github.com/tocsin-oncall/tocsin/server/store"
)

func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }

// rig is a Notifier on a real Redis, with a recording push service, a clock
// that the test moves, and two people: ann with two phones and a browser, bob
// with mail only.
type rig struct {
	t     testing.TB
	n     *Notifier
	store *store.Store
	dir   *fakeDirectory
	push  *recorder
	chans map[roster.MethodKind]*channel
	ring  auth.Keyring

	mu    sync.Mutex
	at    time.Time // zero: the real clock
	fails []incident.Undelivered
}

const service catalog.ServiceID = "checkout"

func newRig(t *testing.T) *rig { return rigWith(t, nil) }

// rigWith has another push service than the recorder, and the real clock, when
// pusher is not nil.
func rigWith(t testing.TB, pusher Pusher) *rig {
	t.Helper()
	redistest.Shared(t).Flush(t)
	s, err := store.Open(t.Context(), store.Options{URL: redistest.URL(t)})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{
		t: t, store: s, dir: newPeople(), push: &recorder{}, at: time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC),
		chans: map[roster.MethodKind]*channel{roster.Email: {}, roster.Webhook: {}}, ring: testRing(t),
	}
	if pusher == nil {
		pusher = r.push
	} else {
		r.at = time.Time{}
	}
	r.n = New(Options{
		Ledger: s, Directory: r.dir, Push: pusher, Signer: auth.NewSigner(r.ring), Now: r.now, Registerer: prometheus.NewRegistry(),
		Channels:  map[roster.MethodKind]Channel{roster.Email: r.chans[roster.Email], roster.Webhook: r.chans[roster.Webhook]},
		RetryBase: time.Millisecond, Link: func(id incident.ID) string { return "https://tocsin.example/i/" + string(id) },
		Undelivered: func(_ context.Context, _ incident.ID, u incident.Undelivered) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.fails = append(r.fails, u)
			return nil
		},
	})
	t.Cleanup(func() {
		r.push.close()
		r.n.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at.IsZero() {
		return time.Now()
	}
	return r.at
}

// advance moves the clock, without any timer going off.
func (r *rig) advance(by time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = r.at.Add(by)
}

// pass lets time go by, with every tick of the person that is due on the way.
func (r *rig) pass(u roster.UserID, by time.Duration) {
	r.t.Helper()
	end := r.now().Add(by)
	for range 1000 {
		p, err := r.store.Person(r.t.Context(), u)
		if err != nil {
			r.t.Fatal(err)
		}
		due := p.Due()
		if due.IsZero() || due.After(end) {
			r.advance(end.Sub(r.now()))
			return
		}
		r.advance(max(due.Sub(r.now()), 0))
		if err := r.n.Tick(r.t.Context(), store.PersonDoc(u), r.now()); err != nil {
			r.t.Fatal(err)
		}
		r.settle(u)
	}
	r.t.Fatalf("%s is due for ever", u)
}

// settle waits until nothing of the person's outbox is on its way.
func (r *rig) settle(u roster.UserID) {
	r.t.Helper()
	r.until("the outbox of "+string(u)+" is empty", func() bool {
		p, err := r.store.Person(r.t.Context(), u)
		return err == nil && len(p.Outbox) == 0
	})
}

// until waits for something that other goroutines bring about.
func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	tick := time.NewTicker(time.Millisecond) // the condition is in Redis: there is no event to wait for
	defer tick.Stop()
	for range 5000 {
		if ok() {
			return
		}
		<-tick.C
	}
	r.t.Fatalf("waited in vain until %s", what)
}

// trigger makes an incident that asks the people, with a page for each.
func (r *rig) trigger(title string, work ...incident.Work) (*incident.Incident, []store.WorkItem) {
	r.t.Helper()
	return r.triggerWith(func(in *incident.Incident) { in.Text.Title = title }, work...)
}

// triggerWith has edit say what the incident is about.
func (r *rig) triggerWith(edit func(*incident.Incident), work ...incident.Work) (*incident.Incident, []store.WorkItem) {
	r.t.Helper()
	id := store.NewIncidentID(store.PartitionOf(string(service)), r.now())
	in := &incident.Incident{
		ID: id, Number: 42, Service: service, Status: incident.Triggered, Urgency: incident.High, Severity: event.Critical,
		Text: incident.Text{Title: "Disk full", Source: "alertmanager", Component: "db-1"}, Created: r.now(), Updated: r.now(),
		Generation: 1, Version: 1,
	}
	edit(in)
	for i := range work {
		w := &work[i]
		w.Incident, w.Generation, w.Revision = id, 1, 1
		if w.Urgency == 0 {
			w.Urgency = incident.High
		}
		in.Urgency = w.Urgency
		if w.Deadline.IsZero() {
			w.Deadline = r.now().Add(10 * time.Minute)
		}
		if in.Asked(w.User) == nil && w.User != "" {
			in.Assignees = append(in.Assignees, incident.Assignee{User: w.User, Since: r.now()})
		}
	}
	return in, r.commit(nil, in, work...)
}

// change commits a later state of the incident, with work.
func (r *rig) change(in *incident.Incident, edit func(*incident.Incident), work ...incident.Work) (*incident.Incident, []store.WorkItem) {
	r.t.Helper()
	after := *in
	after.Assignees = slices.Clone(in.Assignees)
	edit(&after)
	for i := range work {
		work[i].Incident, work[i].Generation, work[i].Revision = in.ID, after.Generation, in.Revision+1
	}
	return &after, r.commit(in, &after, work...)
}

// acknowledge is a commit like that of somebody who takes the incident.
func (r *rig) acknowledge(in *incident.Incident, by roster.UserID) []store.WorkItem {
	r.t.Helper()
	_, items := r.change(in, func(in *incident.Incident) {
		in.Status, in.Generation, in.Version = incident.Acknowledged, in.Generation+1, in.Version+1
	}, incident.Work{
		Kind: incident.WorkReplace, Text: "acknowledged", Actor: incident.Actor{Kind: incident.ActorUser, ID: string(by)},
	})
	return items
}

func (r *rig) commit(before, after *incident.Incident, work ...incident.Work) []store.WorkItem {
	r.t.Helper()
	done, err := r.store.Commit(r.t.Context(), store.Commit{Before: before, After: after, Work: work})
	if err != nil {
		r.t.Fatal(err)
	}
	done.Stamp(after)
	for i := range done.Work { // as they are read from the stream
		done.Work[i].Incident, done.Work[i].Person = nil, nil
	}
	return done.Work
}

func page(u roster.UserID, m roster.MethodID) incident.Work {
	return incident.Work{Kind: incident.WorkPage, User: u, Method: m, Reason: incident.PageAssigned, Number: 1}
}

// do sees the items to their end and returns the first error.
func (r *rig) do(items ...store.WorkItem) error {
	r.t.Helper()
	ends := make(chan error, len(items))
	for _, item := range items {
		r.n.Do(r.t.Context(), item, func(err error) { ends <- err })
	}
	var first error
	for range items {
		select {
		case err := <-ends:
			first = errors.Join(first, err)
		case <-time.After(10 * time.Second):
			r.t.Fatal("the work has not come to its end")
		}
	}
	return first
}

func (r *rig) must(items ...store.WorkItem) {
	r.t.Helper()
	if err := r.do(items...); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) deliveries(in *incident.Incident) []incident.Delivery {
	r.t.Helper()
	all, err := r.store.Deliveries(r.t.Context(), store.IncidentDoc(in.ID))
	if err != nil {
		r.t.Fatal(err)
	}
	slices.SortFunc(all, func(a, b incident.Delivery) int {
		return cmp.Or(a.Queued.Compare(b.Queued), cmp.Compare(a.Device, b.Device))
	})
	return all
}

func (r *rig) failures() []incident.Undelivered {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.fails)
}

func testRing(t testing.TB) auth.Keyring {
	t.Helper()
	ring, err := auth.NewKeyring([auth.MasterKeySize]byte{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// recorder is a push service that remembers what it was given. It asks the last
// look as the real sender does.
type recorder struct {
	mu       sync.Mutex
	messages []push.Delivery
	answer   func(push.Delivery) push.Result
	before   func(push.Delivery) // of the last look
	running  sync.WaitGroup
	closed   bool
}

func (p *recorder) Submit(d push.Delivery, done func(push.Result)) {
	p.mu.Lock() // whoever waits in close sees it begun, or it sees the close
	defer p.mu.Unlock()
	if p.closed {
		go done(push.Result{End: push.EndStopped}) // as a closed sender does; the caller waits for it
		return
	}
	p.running.Go(func() {
		p.mu.Lock()
		before, answer := p.before, p.answer
		p.mu.Unlock()
		if before != nil {
			before(d)
		}
		for number := 1; ; number++ {
			err := d.Begin(context.Background(), number)
			if errors.Is(err, push.ErrNotNeeded) {
				done(push.Result{End: push.EndNotNeeded})
				return
			}
			p.mu.Lock()
			closed := p.closed
			p.mu.Unlock()
			if closed {
				done(push.Result{End: push.EndStopped})
				return
			}
			if err == nil {
				break
			}
			<-time.After(time.Millisecond) // as the real sender waits
		}
		p.mu.Lock()
		p.messages = append(p.messages, d)
		p.mu.Unlock()
		r := push.Result{End: push.EndAccepted}
		if answer != nil {
			r = answer(d)
		}
		done(r)
	})
}

func (p *recorder) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.running.Wait()
}

// sent returns the messages of a kind so far, by device.
func (p *recorder) sent(k push.Kind) []push.Delivery {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []push.Delivery
	for _, d := range p.messages {
		if d.Message.Kind == k {
			all = append(all, d)
		}
	}
	return all
}

func (p *recorder) to(k push.Kind, device string) []push.Message {
	var all []push.Message
	for _, d := range p.sent(k) {
		if d.Device.ID == device {
			all = append(all, d.Message)
		}
	}
	return all
}

// channel remembers what it was given.
type channel struct {
	mu       sync.Mutex
	messages []Message
	errs     []error // of the first sends
	tries    int
}

func (c *channel) Send(_ context.Context, m Message) (Answer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tries++
	if len(c.errs) > 0 {
		err := c.errs[0]
		c.errs = c.errs[1:]
		return Answer{}, err
	}
	c.messages = append(c.messages, m)
	return Answer{ID: "taken"}, nil
}

func (c *channel) sent() []Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.messages)
}

// fakeDirectory is a directory of a handful of people.
type fakeDirectory struct {
	mu       sync.Mutex
	users    map[roster.UserID]roster.User
	phones   map[roster.UserID][]Phone
	services map[catalog.ServiceID]catalog.Service
	settings catalog.Settings
	fates    []Fate
	bounces  []roster.MethodID
	unopened []roster.DeviceID
}

func newPeople() *fakeDirectory {
	mail := roster.Method{ID: "mail", Kind: roster.Email, Address: "ann@example.org", Verified: true}
	hook := roster.Method{ID: "hook", Kind: roster.Webhook, Address: "https://hooks.example.org/ann", Verified: true}
	bobs := roster.Method{ID: "mail", Kind: roster.Email, Address: "bob@example.org", Verified: true}
	phone := func(id string, p roster.Platform, wire push.Platform) Phone {
		return Phone{
			Device: roster.Device{ID: roster.DeviceID(id), User: "ann", Platform: p, State: roster.DeviceActive},
			Push:   push.Device{ID: id, Platform: wire, App: "app", Token: push.Token("token-of-" + id)}, Epoch: 1, Credential: true,
		}
	}
	return &fakeDirectory{
		users: map[roster.UserID]roster.User{
			"ann": {ID: "ann", Name: "Ann", Zone: "Europe/Berlin", Methods: []roster.Method{mail, hook}},
			"bob": {ID: "bob", Name: "Bob", Zone: "UTC", Methods: []roster.Method{bobs}},
		},
		phones: map[roster.UserID][]Phone{"ann": {
			phone("iphone", roster.IOS, push.IOS), phone("pixel", roster.Android, push.Android), phone("browser", roster.Web, push.Web),
		}},
		services: map[catalog.ServiceID]catalog.Service{service: {ID: service, Name: "Checkout API", Team: "shop"}},
	}
}

func (d *fakeDirectory) User(id roster.UserID) (roster.User, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	u, ok := d.users[id]
	return u, ok
}

func (d *fakeDirectory) Service(id catalog.ServiceID) (catalog.Service, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, ok := d.services[id]
	return s, ok
}

func (d *fakeDirectory) Schedule(id schedule.ID) (string, roster.TeamID) {
	return "Night of " + string(id), roster.TeamID(id)
}

func (d *fakeDirectory) Members(id roster.TeamID) []roster.UserID {
	if id == "shop" {
		return []roster.UserID{"ann", "bob"}
	}
	return nil
}

func (d *fakeDirectory) Settings() catalog.Settings {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.settings
}

func (d *fakeDirectory) hold(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settings.Held = on
}

func (d *fakeDirectory) Phones(id roster.UserID) []Phone {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.phones[id])
}

func (d *fakeDirectory) Phone(id roster.DeviceID) (Phone, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, all := range d.phones {
		for _, p := range all {
			if p.ID == id {
				return p, true
			}
		}
	}
	return Phone{}, false
}

func (d *fakeDirectory) Fate(_ context.Context, f Fate) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fates = append(d.fates, f)
	return nil
}

func (d *fakeDirectory) Unopened(_ context.Context, id roster.DeviceID, _ time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unopened = append(d.unopened, id)
	for _, all := range d.phones {
		for i := range all {
			if all[i].ID == id {
				all[i].SealKey = nil
			}
		}
	}
	return nil
}

func (d *fakeDirectory) Bounced(_ context.Context, _ roster.UserID, m roster.MethodID, _ string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bounces = append(d.bounces, m)
	return nil
}

// only leaves ann those of her devices.
func (d *fakeDirectory) only(ids ...roster.DeviceID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.phones["ann"] = slices.DeleteFunc(d.phones["ann"], func(p Phone) bool { return !slices.Contains(ids, p.ID) })
}

// ever asks for the receipts of every page there was.
func ever(roster.UserID) time.Time { return time.Time{} }
