package ingest

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/fault"
)

// Request is one delivery of a sender, with everything that its mapping may depend on.
type Request struct {
	Body        []byte // decoded (gzip); at most the Limit of its source
	Header      http.Header
	Query       url.Values // without the key
	Options     Options
	Now         time.Time // the server's clock
	ID          string    // of this request, for whoever looks for it in the log
	Integration string    // id of the integration; part of the keys that are made here
	NewKey      string    // unique: the dedup key of an Events v2 trigger that has none
}

// Result is what a delivery says, in the order of its body.
type Result struct {
	Events []event.Event // each within the limits of package event; at most event.MaxBatch + 1
}

// Options are the settings of an integration. The zero value is the default of each.
type Options struct {
	// Mode says what one alert of an Alertmanager is.
	Mode Mode
	// AllowText lets the generic source take a body that is no JSON: its first line is the summary.
	AllowText bool
	// DedupScope says within what a dedup key is unique. The mappers do not use it; the acceptor does.
	DedupScope Scope
}

// Mode is how a notification of Alertmanager is taken apart.
type Mode string

// The modes. The empty Mode is PerAlert.
const (
	PerAlert Mode = "per_alert" // an event for each member of the group
	PerGroup Mode = "per_group" // one event for the whole group
)

// Scope is what shares its dedup keys.
type Scope string

// The scopes. The empty Scope leaves it to the service.
const (
	ScopeService     Scope = "service"     // all integrations of a service
	ScopeIntegration Scope = "integration" // each integration for itself
)

// ParseOptions reads the settings of an integration by name:
// alertmanager_mode (per_alert, per_group), allow_text (true, false),
// dedup_scope (service, integration). Names and values that nobody knows are
// Invalid faults under the path options: a misspelt setting must not be silent.
func ParseOptions(settings map[string]string) (Options, error) {
	var o Options
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		value := settings[name]
		switch name {
		case "alertmanager_mode":
			o.Mode = Mode(value)
			if o.Mode != "" && o.Mode != PerAlert && o.Mode != PerGroup {
				errs = append(errs, fault.InvalidField("options."+name, "must be per_alert or per_group"))
			}
		case "allow_text":
			allow, err := strconv.ParseBool(value)
			if err != nil {
				errs = append(errs, fault.InvalidField("options."+name, "must be true or false"))
			}
			o.AllowText = allow
		case "dedup_scope":
			o.DedupScope = Scope(value)
			if o.DedupScope != "" && o.DedupScope != ScopeService && o.DedupScope != ScopeIntegration {
				errs = append(errs, fault.InvalidField("options."+name, "must be service or integration"))
			}
		default:
			errs = append(errs, fault.InvalidField("options."+name, "is no setting; there are alertmanager_mode, allow_text and dedup_scope"))
		}
	}
	return o, fault.Fields(errs...)
}

// Source is one kind of sender.
type Source struct {
	Name  string
	Limit int // largest body, bytes
	// DeliveryHeaders name the sender's own id of a delivery, the best first.
	// They belong to the source, because proxies put ids of their own into common names.
	DeliveryHeaders []string

	mapper func(Request) (Result, error)
}

// sources is every source by the name in its path.
var sources = map[string]Source{ //nolint:gochecknoglobals // look-up table
	"alertmanager": {Limit: event.MaxBody, mapper: alertmanager},
	"generic":      {Limit: event.MaxBody, mapper: generic, DeliveryHeaders: []string{"Webhook-Id", "Idempotency-Key"}},
	"pagerduty":    {Limit: event.MaxBodyV2, mapper: pagerduty},
}

// Lookup returns the source of that name.
func Lookup(name string) (Source, bool) {
	s, ok := sources[name]
	s.Name = name
	return s, ok
}

// Names returns the names of all sources, sorted.
func Names() []string { return slices.Sorted(maps.Keys(sources)) }

// Map returns the events of a request: the same ones for the same request.
// The error is an Invalid fault: the body is empty, broken, nested too deeply
// or refused by the rules of its dialect.
func (s Source) Map(r Request) (Result, error) {
	var err error
	if r.Body, err = prepare(r.Body); err != nil {
		return Result{}, err
	}
	result, err := s.mapper(r)
	if err != nil {
		return Result{}, err
	}
	s.addSenderIDs(result.Events, r.Header)
	return result, nil
}

// addSenderIDs names each event after its delivery, so that a delivery that is
// sent again is known. The members of a batch get different names, else the
// second would be taken for the first one sent again.
func (s Source) addSenderIDs(events []event.Event, h http.Header) {
	for _, name := range s.DeliveryHeaders {
		id := h.Get(name)
		if id == "" {
			continue
		}
		for i := range events {
			member := id
			if len(events) > 1 {
				member += "/" + strconv.Itoa(i)
			}
			events[i].SenderID = event.Key("sender", member)
		}
		return
	}
}
