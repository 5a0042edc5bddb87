package ingest

import (
	"fmt"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/server/event"
)

// UnreadableKey is the dedup key of the one alert per integration that says
// that its sender is not understood.
const UnreadableKey = "unreadable"

// collector gathers the events of one delivery. What cannot be understood
// becomes one event among the others: each succeeds or fails on its own.
type collector struct {
	source  string
	request Request
	events  []event.Event
	bad     int    // members that were not understood
	badAt   int    // place of the event for them
	problem string // of the first of them
}

// add takes an event of a mapper as it is, without a key if the sender gave none.
func (c *collector) add(e event.Event) {
	keyless := strings.TrimSpace(e.DedupKey) == ""
	if e.DedupKey = event.Key(c.source, e.DedupKey); keyless {
		if e.Source+e.Class+e.Component+e.Summary == "" {
			c.unreadable("nothing says which condition the event is about")
			return
		}
		e.DedupKey, e.KeyMade = "auto", true
	}
	e, err := event.Normalise(e)
	if err != nil {
		c.unreadable(err.Error())
		return
	}
	if keyless {
		e.DedupKey = event.StableKey(c.request.Integration, e)
	}
	c.events = append(c.events, e)
}

// unreadable notes a body, or a member of it, that cannot be understood.
func (c *collector) unreadable(problem string) {
	if c.bad++; c.bad == 1 {
		c.badAt, c.problem = len(c.events), problem
		c.events = append(c.events, event.Event{})
	}
}

// result returns the collected events. of is how many members the body had;
// those above event.MaxBatch were left out by the mapper, and a warning says so.
func (c *collector) result(of int) Result {
	if c.bad > 0 {
		c.events[c.badAt] = c.report("Unreadable "+c.source+" event", event.Error, c.problem, c.bad)
	}
	if of > event.MaxBatch {
		c.events = append(c.events, c.report(
			fmt.Sprintf("Only the first %d of %d events in one %s body were taken", event.MaxBatch, of, c.source),
			event.Warning, "too many events in one body", of-event.MaxBatch))
	}
	return Result{Events: c.events}
}

// report is an event about the ingest itself. The body goes with it, because
// it may be a page and nobody else has it.
func (c *collector) report(summary string, s event.Severity, problem string, count int) event.Event {
	e := event.Event{
		Action: event.Trigger, DedupKey: UnreadableKey, Summary: summary, Source: "tocsin", Severity: s, Class: "ingest",
	}
	details := marshal(map[string]any{
		"request_id": c.request.ID,
		"bytes":      len(c.request.Body),
		"problem":    problem,
		"count":      count,
		"body":       string(c.request.Body),
	})
	full := e
	full.Details = details
	if normal, err := event.Normalise(full); err == nil {
		return normal
	}
	return e
}

// severity reads a sender's word. When the word is none of the four names it
// is kept in details: nothing else remembers what the sender meant.
func severity(word string, details map[string]any) event.Severity {
	if strings.TrimSpace(word) == "" {
		return event.Error
	}
	if s, ok := event.ParseSeverity(word); ok {
		return s
	}
	details["severity_raw"] = word
	if s := event.SeverityOf(word); s != 0 {
		return s
	}
	return event.Error
}

// instant is event.ParseTime where "no time" is an answer too.
func instant(sent text) time.Time {
	t, ok := event.ParseTime(string(sent))
	if !ok {
		return time.Time{}
	}
	return t
}
