package notify

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/server/attention"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// Ledger is what is remembered of people and deliveries: *store.Store.
type Ledger interface {
	Incident(ctx context.Context, id incident.ID) (*incident.Incident, error)
	Incidents(ctx context.Context, ids ...incident.ID) ([]*incident.Incident, error)
	Each(ctx context.Context, ids ...incident.ID) []store.Found
	Person(ctx context.Context, id roster.UserID) (*attention.Person, error)
	Commit(ctx context.Context, c store.Commit) (store.Committed, error)
	Home(ctx context.Context, p store.Partition) string
	BeginSend(ctx context.Context, now time.Time, sends []store.Send) ([]store.Begun, []error)
	EndSends(ctx context.Context, sends []store.Send) []error
	RecordDelivery(ctx context.Context, d store.Doc, news ...incident.Delivery) error
	Deliveries(ctx context.Context, d store.Doc) ([]incident.Delivery, error)
	Delivery(ctx context.Context, id string) (store.Doc, incident.Delivery, bool, error)
	Receipt(ctx context.Context, r store.Receipt) (store.Receipted, error)
	Devices(ctx context.Context, ids ...roster.DeviceID) (map[roster.DeviceID]roster.Word, error)
	TouchDevice(ctx context.Context, id roster.DeviceID, set map[string]any) error
	ClaimDevice(ctx context.Context, id roster.DeviceID, field string, was time.Time, set map[string]any) (bool, error)
}

// Directory is what is configured of people, services and phones.
type Directory interface {
	User(id roster.UserID) (roster.User, bool)
	Service(id catalog.ServiceID) (catalog.Service, bool)
	// Schedule returns what a schedule is called, and the team that owns it.
	Schedule(id schedule.ID) (name string, team roster.TeamID)
	// Members returns the people of a team.
	Members(id roster.TeamID) []roster.UserID
	Settings() catalog.Settings
	// Phones returns the devices of a person, whatever their state.
	Phones(id roster.UserID) []Phone
	// Phone returns one device.
	Phone(id roster.DeviceID) (Phone, bool)
	// Fate takes in what a push service said about a device's address. It is
	// void when the device has another address by now.
	Fate(ctx context.Context, f Fate) error
	// Unopened takes in that a device could not open what was sealed for its key
	// at an instant. It is void when the device has another key since.
	Unopened(ctx context.Context, device roster.DeviceID, sealed time.Time) error
	// Bounced takes in that the address of a method is dead.
	Bounced(ctx context.Context, u roster.UserID, m roster.MethodID, reason string) error
}

// Phone is a device with everything that a push to it needs.
type Phone struct {
	roster.Device
	Push       push.Device
	Epoch      uint32
	Credential bool // it can act by a credential of its own
	// SealKey is the key to seal pages for, by the app's name for it; empty: it
	// has none that works, and pages are redacted instead.
	SealKey   []byte
	SealKeyID string
}

// Fate is what became of a device's address.
type Fate struct {
	Device      roster.DeviceID
	Token       push.Token // that was used
	Address     push.Address
	Environment push.Environment // of AddressCorrect, and of what was accepted
	Accepted    bool             // with AddressKeep: Environment is the right one
	Reason      string           // the service's word
	At          time.Time
}

// Pusher brings pushes to their end: *push.Sender.
type Pusher interface {
	Submit(d push.Delivery, done func(push.Result))
}

// Options are what a Notifier is made of.
type Options struct {
	Ledger    Ledger
	Directory Directory
	Push      Pusher
	Channels  map[roster.MethodKind]Channel // by kind; one that is absent refuses
	Signer    auth.Signer
	// Undelivered is told that a contact step has failed for good on every
	// device or address.
	Undelivered func(ctx context.Context, id incident.ID, u incident.Undelivered) error
	// Link returns the address of an incident in the web app, "" without one.
	Link func(incident.ID) string
	// LinkHosts are the hosts to which links of an incident may lead that a phone
	// is given: "wiki.example.com", or "*.example.com" for all below one.
	LinkHosts  []string
	Now        func() time.Time
	Log        *slog.Logger
	Registerer prometheus.Registerer // nil keeps the metrics to itself
	Tracer     trace.Tracer          // nil: no spans
	// RetryBase is the first wait before a message by mail or webhook is tried
	// again. 0 is 300 ms.
	RetryBase time.Duration
}

// Notifier does what leaves the house.
type Notifier struct {
	o       Options
	log     *slog.Logger
	metrics *metrics

	people    people
	begins    together[store.Send, store.Begun]
	ends      together[store.Send, struct{}]
	confirmed *confirmations
	cards     sync.Map                            // ids of cards in hand
	lanes     map[roster.MethodKind]chan struct{} // attempts in flight, by channel
	context   func() context.Context              // of what outlives a call; ends with Close
	stop      context.CancelFunc
	running   sync.WaitGroup
}

// laneWidth is how many attempts of one channel are under way at a time.
const laneWidth = 32

// New returns a Notifier. Close it when nothing calls it any more.
func New(o Options) *Notifier {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // the default of an injected clock
	}
	if o.Link == nil {
		o.Link = func(incident.ID) string { return "" }
	}
	if o.RetryBase <= 0 {
		o.RetryBase = 300 * time.Millisecond
	}
	base, stop := context.WithCancel(context.Background())
	n := &Notifier{
		o: o, log: o.Log, metrics: newMetrics(o.Registerer), confirmed: newConfirmations(), lanes: map[roster.MethodKind]chan struct{}{},
		context: func() context.Context { return base }, stop: stop,
	}
	n.people.waiting = map[roster.UserID][]*ask{}
	n.begins.answer, n.ends.answer = n.beginAll, n.endAll
	for kind := range o.Channels {
		n.lanes[kind] = make(chan struct{}, laneWidth)
	}
	return n
}

// Close ends what is under way and waits for it. Work that has not come to its
// end stays in the ledger. Close the sender of pushes first.
func (n *Notifier) Close() {
	n.stop()
	n.running.Wait()
}

// Settle waits until nothing is under way: for a caller who does one thing after
// the other, and nothing meanwhile.
func (n *Notifier) Settle() { n.running.Wait() }

// now is the time that all instances agree on.
func (n *Notifier) now() time.Time { return n.o.Now() }

// level returns the redaction level for one person and one service.
func (n *Notifier) level(u roster.User, services ...catalog.ServiceID) roster.Privacy {
	levels := []roster.Privacy{n.o.Directory.Settings().Privacy, u.Privacy}
	for _, id := range services {
		s, _ := n.o.Directory.Service(id)
		levels = append(levels, s.Privacy)
	}
	return strictest(levels...)
}

// serviceName is what people call the service; its id when it is gone.
func (n *Notifier) serviceName(in *incident.Incident) string {
	if s, ok := n.o.Directory.Service(in.Service); ok && s.Name != "" {
		return s.Name
	}
	return string(in.Service)
}

// personName is what people call somebody, "" for what is no person.
func (n *Notifier) personName(a incident.Actor) string {
	id, ok := a.User()
	if !ok {
		return ""
	}
	if u, ok := n.o.Directory.User(id); ok && u.Name != "" {
		return u.Name
	}
	return string(id)
}

// backoff is the full-jitter wait before the attempt that follows n failures:
// at most 15 s.
func (n *Notifier) backoff(failures int) time.Duration {
	upper := min(n.o.RetryBase<<min(failures-1, 16), 15*time.Second)
	return time.Duration(rand.Int64N(int64(upper) + 1)) //nolint:gosec // jitter, not a secret
}

// needs reports whether the incident still asks that person.
func needs(in *incident.Incident, u roster.UserID) bool {
	return in != nil && in.Asks(u)
}
