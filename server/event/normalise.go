package event

import (
	"time"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// Normalise returns e within every limit of this package, or an Invalid fault
// that names the field which makes that impossible: the action, the dedup key,
// the summary of a trigger, details that are not JSON. Everything else is
// mended and not refused, because one bad field must never lose a page.
//
// Normalising twice is normalising once.
func Normalise(e Event) (Event, error) {
	if e.Action.String() == "" {
		return Event{}, fault.InvalidField("event_action", "must be trigger, acknowledge or resolve")
	}
	if e.DedupKey = Key(keyPrefix(e.DedupKey), e.DedupKey); e.DedupKey == "" {
		return Event{}, fault.InvalidField("dedup_key", "must have 1 to %d bytes", MaxKey)
	}
	if e.Summary = clip(line(e.Summary), MaxSummary); e.Summary == "" && e.Action == Trigger {
		return Event{}, fault.InvalidField("summary", "must have 1 to %d characters", MaxSummary)
	}
	details, err := normaliseDetails(e.Details)
	if err != nil {
		return Event{}, err
	}
	e.Details = details

	if e.Severity.String() == "" {
		e.Severity = 0
		if e.Action == Trigger {
			e.Severity = Error
		}
	}
	if e.Timestamp = e.Timestamp.UTC().Round(0); !plausible(e.Timestamp) {
		e.Timestamp = time.Time{}
	}
	for _, field := range []*string{&e.Source, &e.Component, &e.Group, &e.Class, &e.Client} {
		*field = clip(line(*field), MaxField)
	}
	e.ClientURL = webURL(e.ClientURL)
	e.Links, e.Images = normaliseLinks(e.Links), normaliseImages(e.Images)
	e.SenderID = Key("sender", e.SenderID)
	return e, nil
}

// Check reports the first limit that e breaks, as an Invalid fault; nil for
// whatever [Normalise] returns. It is for boundaries that must not trust
// their caller, and for tests.
func Check(e Event) error {
	switch {
	case e.Action.String() == "":
		return fault.InvalidField("event_action", "must be trigger, acknowledge or resolve")
	case e.DedupKey == "" || len(e.DedupKey) > MaxKey || !isLine(e.DedupKey, MaxKey):
		return fault.InvalidField("dedup_key", "must have 1 to %d bytes of text in one line", MaxKey)
	case !isLine(e.Summary, MaxSummary) || (e.Summary == "" && e.Action == Trigger):
		return fault.InvalidField("summary", "must be one line of 1 to %d characters", MaxSummary)
	case e.Action == Trigger && e.Severity.String() == "":
		return fault.InvalidField("severity", "must be critical, error, warning or info")
	case !e.Timestamp.IsZero() && !plausible(e.Timestamp):
		return fault.InvalidField("timestamp", "must be between the years 1970 and 9999")
	case e.ClientURL != webURL(e.ClientURL):
		return fault.InvalidField("client_url", "must be an http or https address of at most %d bytes", MaxURL)
	case len(e.SenderID) > MaxKey || !isLine(e.SenderID, MaxKey):
		return fault.InvalidField("sender_id", "must have at most %d bytes of text in one line", MaxKey)
	}
	for _, f := range []struct{ path, value string }{
		{"source", e.Source}, {"component", e.Component}, {"group", e.Group}, {"class", e.Class}, {"client", e.Client},
	} {
		if !isLine(f.value, MaxField) {
			return fault.InvalidField(f.path, "must be one line of at most %d characters", MaxField)
		}
	}
	if err := checkLinks(e); err != nil {
		return err
	}
	return checkDetails(e.Details)
}
