package ingest

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/tocsin-oncall/tocsin/server/event"
)

// KeyLength is the length of an integration key: 32 characters of [a-z0-9],
// the one form that PagerDuty's senders check for, at every door.
const KeyLength = 32

// WellFormedKey reports whether key has the form of an integration key.
func WellFormedKey(key string) bool {
	if len(key) != KeyLength {
		return false
	}
	for i := range len(key) {
		if c := key[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// v2Message is an alert event of PagerDuty's Events API v2
// (PagerDuty/api-schema, events-v2).
type v2Message struct {
	RoutingKey  text        `json:"routing_key"`
	EventAction text        `json:"event_action"`
	DedupKey    text        `json:"dedup_key"`
	Payload     v2Payload   `json:"payload"`
	Links       list[link]  `json:"links"`
	Images      list[image] `json:"images"`
	Client      text        `json:"client"`
	ClientURL   text        `json:"client_url"`
}

// v2Payload is the payload of a v2Message; present is false when it was absent or no object.
type v2Payload struct {
	v2Fields
	present bool
}

type v2Fields struct {
	Summary       text            `json:"summary"`
	Source        text            `json:"source"`
	Severity      text            `json:"severity"`
	Timestamp     text            `json:"timestamp"`
	Component     text            `json:"component"`
	Group         text            `json:"group"`
	Class         text            `json:"class"`
	CustomDetails json.RawMessage `json:"custom_details"`
}

// UnmarshalJSON implements json.Unmarshaler. Of a repeated payload it leaves
// the last one, where a plain struct would mix them.
func (p *v2Payload) UnmarshalJSON(b []byte) error {
	*p = v2Payload{present: b[0] == '{'}
	if !p.present {
		return nil
	}
	return overlook(json.Unmarshal(b, &p.v2Fields))
}

// v2Error is how Events v2 says what is wrong with an event: its senders
// show these texts, and some compare them.
type v2Error struct {
	Status  string   `json:"status"`
	Message string   `json:"message"`
	Errors  []string `json:"errors"`
}

func (r *v2Error) Error() string { return r.Message + ": " + strings.Join(r.Errors, "; ") }

func invalidEvent(errs ...string) *v2Error {
	return &v2Error{Status: "invalid event", Message: "Event object is invalid", Errors: errs}
}

// parseV2 reads a prepared body. The error is a *v2Error.
func parseV2(body []byte) (v2Message, error) {
	var m v2Message
	switch err := decodeObject(body, &m); {
	case errors.Is(err, errNotObject):
		return v2Message{}, invalidEvent("Event must be a JSON object")
	case err != nil:
		return v2Message{}, &v2Error{
			Status: "Unrecognized object", Message: "Event object format is unrecognized", Errors: []string{"JSON parse error"},
		}
	}
	return m, nil
}

// EventsV2 reports whether a body is one of Events v2, and the key that it names
// its integration by, which may be empty.
func EventsV2(body []byte) (routingKey string, ok bool) {
	prepared, err := prepare(body)
	if err != nil {
		return "", false
	}
	m, err := parseV2(prepared)
	if err != nil {
		return "", false
	}
	return string(m.RoutingKey), m.RoutingKey != "" || m.Payload.present && m.EventAction != ""
}

// problems names every fault of m but for its routing key, in PagerDuty's words.
func (m *v2Message) problems() []string {
	var all []string
	missing := func(field string, value text) {
		if blank(value) {
			all = append(all, "'"+field+"' is missing or blank")
		}
	}
	action, ok := event.ParseAction(string(m.EventAction))
	if missing("event_action", m.EventAction); !ok && !blank(m.EventAction) {
		all = append(all, "'event_action' is invalid (must be one of the following: 'trigger', 'acknowledge' or 'resolve')")
	}
	if len(m.DedupKey) > event.MaxKey {
		all = append(all, "Length of 'dedup_key' is incorrect (should be at most 255 characters)")
	}
	if ok && action != event.Trigger {
		missing("dedup_key", m.DedupKey)
		return all // the payload of the others is advice
	}
	if !ok {
		return all // which fields it needs is not known
	}
	if !m.Payload.present {
		return append(all, "'payload' is missing or blank")
	}
	missing("payload.summary", m.Payload.Summary)
	missing("payload.source", m.Payload.Source)
	missing("payload.severity", m.Payload.Severity)
	if _, ok := event.ParseSeverity(string(m.Payload.Severity)); !ok && !blank(m.Payload.Severity) {
		all = append(all, "'payload.severity' is invalid (must be one of the following: 'critical', 'warning', 'error' or 'info')")
	}
	return all
}

// event maps m, which has no problems. newKey is the dedup key if m has none.
// The error is an Invalid fault of package event.
func (m *v2Message) event(newKey string) (event.Event, error) {
	action, _ := event.ParseAction(string(m.EventAction))
	key := string(m.DedupKey)
	if blank(m.DedupKey) {
		key = newKey
	}
	p := &m.Payload
	return event.Normalise(event.Event{
		Action: action, DedupKey: event.Key("pagerduty", key), Summary: string(p.Summary), Source: string(p.Source),
		Severity: event.SeverityOf(string(p.Severity)), Timestamp: instant(p.Timestamp),
		Component: string(p.Component), Group: string(p.Group), Class: string(p.Class), Details: p.CustomDetails,
		Links: eventLinks(m.Links.items), Images: eventImages(m.Images.items),
		Client: string(m.Client), ClientURL: string(m.ClientURL),
	})
}

// pagerduty is Events v2 at a path of our own, where the key is the
// credential and the routing key in the body does not matter.
func pagerduty(r Request) (Result, error) {
	m, err := parseV2(r.Body)
	if err != nil {
		return Result{}, err
	}
	if problems := m.problems(); len(problems) > 0 {
		return Result{}, invalidEvent(problems...)
	}
	e, err := m.event(r.NewKey)
	if err != nil {
		return Result{}, invalidEvent(err.Error())
	}
	return Result{Events: []event.Event{e}}, nil
}
