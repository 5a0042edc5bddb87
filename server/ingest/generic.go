package ingest

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/fault"
)

// genericEvent is the common event under its own field names.
type genericEvent struct {
	EventAction text            `json:"event_action"`
	DedupKey    text            `json:"dedup_key"`
	Summary     text            `json:"summary"`
	Source      text            `json:"source"`
	Severity    text            `json:"severity"`
	Timestamp   text            `json:"timestamp"`
	Component   text            `json:"component"`
	Group       text            `json:"group"`
	Class       text            `json:"class"`
	Details     json.RawMessage `json:"custom_details"`
	Links       list[link]      `json:"links"`
	Images      list[image]     `json:"images"`
	Client      text            `json:"client"`
	ClientURL   text            `json:"client_url"`
}

// generic maps a body in the form of the common event: one object or an array
// of them. By option, a body that is neither is a text.
func generic(r Request) (Result, error) {
	c := collector{source: "generic", request: r}
	if first := r.Body[0]; r.Options.AllowText && ((first != '{' && first != '[') || !json.Valid(r.Body)) {
		c.addText(string(r.Body))
		return c.result(1), nil
	}
	if r.Body[0] != '[' {
		err := c.addObject("the body", r.Body)
		return c.result(1), err
	}
	if event.TooDeep(r.Body) {
		return Result{}, fault.New(fault.Invalid, ReasonBroken, "the body is nested deeper than 64")
	}
	var members []json.RawMessage
	if err := overlook(json.Unmarshal(r.Body, &members)); err != nil {
		return Result{}, err
	}
	for i, member := range members[:min(len(members), event.MaxBatch)] {
		if err := c.addObject(fmt.Sprintf("[%d]", i), member); err != nil {
			return Result{}, err
		}
	}
	return c.result(len(members)), nil
}

// addObject maps one object; where says which in the report of a problem. The
// error is an Invalid fault: it is not JSON.
func (c *collector) addObject(where string, body []byte) error {
	var g genericEvent
	if err := decodeObject(body, &g); errors.Is(err, errNotObject) {
		c.unreadable(where + " is not an object")
		return nil
	} else if err != nil {
		return err
	}
	action, ok := event.ParseAction(string(g.EventAction))
	switch {
	case ok && (action != event.Trigger || !blank(g.Summary)):
	case g.EventAction == "" && !blank(g.Summary):
		action = event.Trigger // somebody's first curl: what has a summary wants to be seen
	case g.EventAction != "" && !ok:
		c.unreadable("event_action of " + where + " is not trigger, acknowledge or resolve")
		return nil
	default:
		c.unreadable(where + " has no summary")
		return nil
	}
	c.add(g.event(action))
	return nil
}

func (g *genericEvent) event(action event.Action) event.Event {
	e := event.Event{
		Action: action, DedupKey: string(g.DedupKey), Summary: string(g.Summary), Source: string(g.Source),
		Timestamp: instant(g.Timestamp), Component: string(g.Component), Group: string(g.Group), Class: string(g.Class),
		Details: g.Details, Links: eventLinks(g.Links.items), Images: eventImages(g.Images.items),
		Client: string(g.Client), ClientURL: string(g.ClientURL),
	}
	extra := map[string]any{}
	if e.Severity = severity(string(g.Severity), extra); len(extra) > 0 {
		e.Details = withDetails(e.Details, extra)
	}
	if action == event.Trigger {
		e.Source = cmp.Or(e.Source, "generic")
	}
	return e
}

// withDetails adds members to details that a sender wrote in whatever form.
func withDetails(details []byte, extra map[string]any) []byte {
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(details, &all); err != nil || all == nil {
		all = map[string]json.RawMessage{}
		if len(details) > 0 && string(details) != "null" {
			all["value"] = details
		}
	}
	for name, value := range extra {
		all[name] = marshal(value)
	}
	return marshal(all)
}

// addText maps a text: its first line is the summary, and makes the key,
// because there is nothing better.
func (c *collector) addText(body string) {
	first, _, _ := strings.Cut(body, "\n")
	first = strings.TrimSpace(first)
	sum := sha256.Sum256([]byte(first))
	c.add(event.Event{
		Action: event.Trigger, DedupKey: "generic:" + hex.EncodeToString(sum[:8]), Summary: first, Source: "generic",
		Severity: event.Error, Details: marshal(map[string]any{"text": body}),
	})
}

func blank(t text) bool { return strings.TrimSpace(string(t)) == "" }
