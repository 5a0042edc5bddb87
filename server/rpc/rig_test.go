package rpc_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/server/admission"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/gateway"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/ingest"
	"github.com/tocsin-oncall/tocsin/server/notify"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/respond"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/rpc"
	"github.com/tocsin-oncall/tocsin/server/schedule"
	"github.com/tocsin-oncall/tocsin/server/store"
)

func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }

// rig is the API over a real Redis, behind both doors.
type rig struct {
	t        *testing.T
	redis    *redistest.Server
	store    *store.Store
	dir      *directory.Directory
	desk     *respond.Desk
	server   *rpc.Server
	registry *prometheus.Registry
	conn     *grpc.ClientConn // the gRPC door
	url      string           // the HTTP door
	signer   auth.Signer
	acceptor *acceptor
	mail     *outbox
	pushes   *outbox
	offset   atomic.Int64 // the clock is ahead by so much
	away     []byte       // what stands at the address of every calendar
	still    atomic.Int64 // the clock stands still at this instant, Unix ms; 0: it goes

	keys map[string]string // credentials, by who holds them
}

// The callers of the rig.
const (
	admin       = "admin"       // ann, an administrator
	responder   = "responder"   // ben
	stakeholder = "stakeholder" // cyd
	phone       = "device"      // ben's phone
	monitor     = "integration"
	nobody      = "none"
)

// acceptor takes events over, or refuses as it is told.
type acceptor struct {
	mu     sync.Mutex
	events []event.Event
	err    error
	as     ingest.Outcome
}

func (a *acceptor) Accept(_ context.Context, _ ingest.Integration, events []event.Event) ([]ingest.Accepted, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == errPanic { //nolint:errorlint // the test's own value
		panic("secret inner text")
	}
	if a.err != nil {
		return nil, a.err
	}
	a.events = append(a.events, events...)
	out := make([]ingest.Accepted, len(events))
	for i, e := range events {
		out[i] = ingest.Accepted{DedupKey: e.DedupKey, Action: e.Action, Result: ingest.OutcomeAccepted}
		if a.as != "" {
			out[i].Result, out[i].Reason = a.as, "as the test wants"
		}
	}
	return out, nil
}

// outbox keeps what went out.
type outbox struct {
	mu    sync.Mutex
	mails []notify.Message
	push  []push.Delivery
}

func (o *outbox) Send(_ context.Context, m notify.Message) (notify.Answer, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mails = append(o.mails, m)
	return notify.Answer{ID: "1"}, nil
}

func (o *outbox) Submit(d push.Delivery, done func(push.Result)) {
	o.mu.Lock()
	o.push = append(o.push, d)
	o.mu.Unlock()
	if d.Begin != nil {
		if err := d.Begin(context.Background(), 1); err != nil {
			done(push.Result{End: push.EndNotNeeded})
			return
		}
	}
	done(push.Result{End: push.EndAccepted, At: time.Now(), Attempts: 1})
}

func (o *outbox) last(t *testing.T) push.Delivery {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.push) == 0 {
		t.Fatal("nothing was pushed")
	}
	return o.push[len(o.push)-1]
}

// view is a snapshot as decisions see it.
type view struct{ *directory.Snapshot }

func (view) Turn(escalation.PolicyID, int) (roster.UserID, bool) { return "", false }

func (view) Silent(roster.Platform) bool { return false }

// people is the directory as the notifier reads it.
type people struct{ *directory.Directory }

func (p people) User(id roster.UserID) (roster.User, bool) { return p.Snapshot().User(id) }
func (p people) Service(id catalog.ServiceID) (catalog.Service, bool) {
	return p.Snapshot().Service(id)
}
func (p people) Schedule(schedule.ID) (string, roster.TeamID) { return "", "" }
func (p people) Members(roster.TeamID) []roster.UserID        { return nil }
func (p people) Settings() catalog.Settings                   { return p.Snapshot().Settings() }
func (p people) Phones(id roster.UserID) []notify.Phone {
	var all []notify.Phone
	for _, d := range p.Snapshot().DevicesOf(id) {
		one, _ := p.Phone(d.ID)
		all = append(all, one)
	}
	return all
}

func (p people) Phone(id roster.DeviceID) (notify.Phone, bool) {
	d, ok := p.Snapshot().GetDevice(id)
	if !ok {
		return notify.Phone{}, false
	}
	return notify.Phone{Device: d.Seen(), Epoch: d.Epoch, Credential: true, Push: push.Device{ID: string(id), Token: "token"}}, true
}
func (p people) Fate(context.Context, notify.Fate) error { return nil }
func (p people) Unopened(context.Context, roster.DeviceID, time.Time) error {
	return nil
}

func (p people) Bounced(context.Context, roster.UserID, roster.MethodID, string) error {
	return nil
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// now is the clock of the rig.
func (r *rig) now() time.Time {
	if ms := r.still.Load(); ms != 0 {
		return time.UnixMilli(ms).UTC()
	}
	return time.Now().Add(time.Duration(r.offset.Load())).UTC().Truncate(time.Millisecond)
}

// newRig starts everything on a Redis of its own.
func newRig(t *testing.T, change ...func(*rpc.Config)) *rig {
	t.Helper()
	r := &rig{t: t, keys: map[string]string{}, acceptor: &acceptor{}, mail: &outbox{}, pushes: &outbox{}}
	var err error
	r.redis = redistest.Start(t)
	r.store, err = store.Open(t.Context(), store.Options{URL: r.redis.URL(), Now: r.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.store.Close() })
	ring := must(auth.NewKeyring([auth.MasterKeySize]byte{1}))
	r.signer = auth.NewSigner(ring)
	discard := slog.New(slog.DiscardHandler)
	r.dir, err = directory.Open(t.Context(), directory.Options{Log: directory.StoreLog{Store: r.store}, Keys: ring, Logger: discard, Now: r.now})
	if err != nil {
		t.Fatal(err)
	}
	r.desk = &respond.Desk{Store: r.store, View: func() incident.View { return view{r.dir.Snapshot()} }, Now: r.now}
	r.populate()
	notifier := notify.New(notify.Options{
		Ledger: r.store, Directory: people{r.dir}, Push: r.pushes, Signer: r.signer, Now: r.now,
		Channels: map[roster.MethodKind]notify.Channel{roster.Email: r.mail},
	})
	t.Cleanup(notifier.Close)
	c := rpc.Config{
		Desk: r.desk, Store: r.store, Directory: r.dir, Signer: r.signer, Acceptor: r.acceptor, Gate: open{}, Notifier: notifier, Now: r.now, Log: discard,
		Auth:      &auth.Authenticator{Book: func() auth.Book { return r.dir.Snapshot() }, CatchUp: r.dir.CatchUp, Now: r.now},
		PublicURL: "https://page.example.org", Fetch: func(context.Context, string) ([]byte, error) { return r.away, nil }, Limits: rpc.Limits{PerSecond: 1e6, Burst: 1e6},
		Prover: rpc.Proofs{
			Channels: map[roster.MethodKind]notify.Channel{roster.Email: r.mail}, Push: r.pushes, Now: r.now,
			Phone: func(d *directory.Device) push.Device { return push.Device{ID: string(d.ID)} },
		},
	}
	for _, f := range change {
		f(&c)
	}
	r.registry = prometheus.NewRegistry()
	c.Registerer = r.registry
	if r.server, err = rpc.New(c); err != nil {
		t.Fatal(err)
	}
	r.open()
	return r
}

// open serves both doors.
func (r *rig) open() {
	t := r.t
	g := grpc.NewServer(r.server.Options()...)
	r.server.Register(g)
	door := must(gateway.New(gateway.Config{GRPC: g, Log: slog.New(slog.DiscardHandler)}))
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // of a test
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() { _ = g.Serve(l) })
	wg.Go(func() { _ = door.Run(ctx) })
	wg.Go(func() { _ = r.server.Run(ctx) })
	web := httptest.NewServer(door)
	r.url = web.URL
	r.conn = must(grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials())))
	t.Cleanup(func() {
		_ = r.conn.Close()
		r.server.Drain()
		web.CloseClientConnections()
		g.Stop()
		stop()
		web.Close()
		wg.Wait()
	})
}

// populate makes the people and things of the tests, and their credentials.
func (r *rig) populate() {
	key := auth.NewIntegrationKey()
	r.keys[monitor] = key
	credential := auth.NewDeviceCredential("benphone")
	r.keys[phone] = credential
	tokens := map[string]roster.UserID{admin: "ann", responder: "ben", stakeholder: "cyd"}
	secrets := map[string]string{}
	for who := range tokens {
		secrets[who] = auth.NewToken()
		r.keys[who] = secrets[who]
	}
	_, err := r.dir.Change(r.t.Context(), directory.By{Principal: auth.Console(), Method: "test"}, func(e *directory.Edit) error {
		var errs []error
		put := func(rec directory.Record) { errs = append(errs, e.Create(rec)) }
		put(&directory.User{User: roster.User{ID: "ann", Name: "Ann Archer", Email: "ann@example.org", Zone: "Europe/Zurich", Role: roster.Admin}})
		put(&directory.User{User: roster.User{ID: "ben", Name: "Ben Baker", Email: "ben@example.org", Zone: "UTC", Role: roster.Responder}})
		put(&directory.User{User: roster.User{ID: "cyd", Name: "Cyd Cooper", Email: "cyd@example.org", Zone: "UTC", Role: roster.Stakeholder}})
		for id, user := range map[roster.DeviceID]roster.UserID{"annphone": "ann", "benphone": "ben"} {
			d := &directory.Device{
				Device:  roster.Device{ID: id, User: user, Name: string(id), Platform: roster.IOS, State: roster.DeviceActive},
				Install: "00000000-0000-4000-8000-0000000000" + map[roster.UserID]string{"ann": "01", "ben": "02"}[user],
				App:     "dev.tocsin.app",
				Address: must(r.dir.SealAddress(id, directory.APNs, directory.AddressSecret{Value: strings.Repeat("ab", 32) + string(id[:1])}, e.Now)),
			}
			if id == "benphone" {
				d.Credential = auth.HashSecret(credential)
			}
			put(d)
		}
		put(&directory.Team{Team: roster.Team{ID: "core", Name: "Core", Members: []roster.UserID{"ann", "ben"}}})
		put(&directory.Policy{Policy: escalation.Policy{ID: "core", Name: "Core", Team: "core", Levels: []escalation.Level{
			{Targets: []escalation.Target{{Kind: escalation.UserTarget, ID: "ben"}}, Delay: 5 * time.Minute},
			{Targets: []escalation.Target{{Kind: escalation.UserTarget, ID: "ann"}}, Delay: 10 * time.Minute},
		}}})
		put(&directory.Service{Service: catalog.Service{ID: "payments", Name: "Payments", Team: "core", Policy: "core"}})
		put(&directory.Service{Service: catalog.Service{ID: "search", Name: "Search", Policy: "core"}})
		in := &directory.Integration{Integration: catalog.Integration{ID: "prom", Service: "payments", Name: "Prometheus", Source: "alertmanager"}}
		in.SetKey(key)
		put(in)
		for who, user := range tokens {
			put(&directory.Token{Token: auth.Token{ID: auth.TokenID("tok" + string(user)), Name: who, Hash: auth.HashSecret(secrets[who]), User: user, By: "test"}})
		}
		put(&directory.Token{Token: auth.Token{ID: "spare", Name: "spare", Hash: auth.HashSecret("spare"), User: "ann", By: "test"}})
		for _, err := range errs {
			if err != nil {
				return err
			}
		}
		return e.Update(&directory.Settings{Settings: catalog.Settings{CatchAll: []roster.UserID{"ann"}}, Organization: "Example"}, "")
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// as is the context of a call by somebody.
func (r *rig) as(who string) context.Context {
	ctx := r.t.Context()
	if key := r.keys[who]; key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key)
	}
	return ctx
}

func (r *rig) incidents() pb.IncidentServiceClient { return pb.NewIncidentServiceClient(r.conn) }
func (r *rig) devices() pb.DeviceServiceClient     { return pb.NewDeviceServiceClient(r.conn) }

// page makes an incident by hand.
func (r *rig) page(title string) *pb.Incident {
	r.t.Helper()
	in, err := r.incidents().CreateIncident(r.as(admin), &pb.CreateIncidentRequest{Incident: &pb.Incident{Title: title, Service: "services/payments"}})
	if err != nil {
		r.t.Fatalf("make an incident: %v", err)
	}
	return in
}

// fire makes an incident of an alert, as the engine does.
func (r *rig) fire(key, summary string) *incident.Incident {
	r.t.Helper()
	svc, _ := r.dir.Snapshot().Service("payments")
	begin := incident.Begin{
		ID: store.NewIncidentID(store.PartitionOf("payments"), r.now()), Service: svc, By: incident.Actor{Kind: incident.ActorSource, ID: "prom", Via: "events"},
		Alert: incident.Alert{Service: "payments", Key: key, Integration: "prom"},
		Event: event.Event{Action: event.Trigger, DedupKey: key, Summary: summary, Severity: event.Critical, Source: "db1", Details: []byte(`{"rate":0.5}`)},
	}
	in, err := r.desk.Begin(r.t.Context(), begin, []store.KeyGuard{{Service: "payments", Key: key, Now: begin.ID}}, respond.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	return in
}

// deliver records a page of an incident to a device, taken by its service.
func (r *rig) deliver(id incident.ID, user roster.UserID, device roster.DeviceID) incident.Delivery {
	r.t.Helper()
	doc := store.IncidentDoc(id)
	in := must(r.store.Incident(r.t.Context(), id))
	now := r.now()
	d := incident.Delivery{
		ID: must(store.DeliveryID(doc, "w"+string(device), string(device))), Work: "w" + string(device), User: user, Device: device, Method: roster.PushAll,
		Kind: roster.Push, Native: true, Page: true, Urgency: in.Urgency, State: incident.DeliveryAttempted, Audible: true, Attempts: 1,
		Queued: now, Attempted: now, Deadline: now.Add(10 * time.Minute),
	}
	begun, err := r.store.BeginSend(r.t.Context(), now, []store.Send{{Doc: doc, Generation: in.Generation, Delivery: d}})
	if err != nil || begun[0] != store.BegunGo {
		r.t.Fatalf("begin a page: %v %v", begun, err)
	}
	d.State, d.Accepted = incident.DeliveryAccepted, now
	if err := r.store.RecordDelivery(r.t.Context(), doc, d); err != nil {
		r.t.Fatal(err)
	}
	return d
}

// wants fails unless the error has the code and the reason.
func wants(t *testing.T, err error, code codes.Code, reason string) *status.Status {
	t.Helper()
	s := status.Convert(err)
	if s.Code() != code || reasonIn(s) != reason {
		t.Fatalf("got %s %s (%s), want %s %s", s.Code(), reasonIn(s), s.Message(), code, reason)
	}
	return s
}

// get asks the HTTP door.
func (r *rig) http(method, path, who, body string, headers ...string) *http.Response {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	if key := r.keys[who]; key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	return res
}

// open is a gate that admits everybody.
type open struct{}

func (open) Stranger(string, int64) (func(), error)        { return func() {}, nil }
func (open) Enter(admission.Sender, int64) (func(), error) { return func() {}, nil }
