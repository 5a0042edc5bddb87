package event

import (
	"strings"
	"time"
)

// severityWords is what monitors say, lower case, and what it means here.
// Numbers are absent: they mean something only inside one source.
var severityWords = map[string]Severity{ //nolint:gochecknoglobals // look-up table
	"critical": Critical, "crit": Critical, "fatal": Critical, "emergency": Critical, "emerg": Critical,
	"panic": Critical, "disaster": Critical, "page": Critical, "blocker": Critical, "down": Critical,
	"alarm": Critical, "p1": Critical, "sev1": Critical, "sev-1": Critical, "s1": Critical,

	"error": Error, "err": Error, "major": Error, "high": Error, "severe": Error, "failure": Error,
	"failed": Error, "p2": Error, "sev2": Error, "sev-2": Error, "s2": Error,

	"warning": Warning, "warn": Warning, "minor": Warning, "medium": Warning, "moderate": Warning,
	"average": Warning, "degraded": Warning, "p3": Warning, "sev3": Warning, "sev-3": Warning, "s3": Warning,

	"info": Info, "information": Info, "informational": Info, "notice": Info, "low": Info, "ok": Info,
	"debug": Info, "none": Info, "trivial": Info, "p4": Info, "p5": Info, "sev4": Info, "sev5": Info,
	"s4": Info, "s5": Info, "not classified": Info,
}

// ParseSeverity reads one of the four names, as [Severity.String] writes them.
// Case and surrounding space do not matter.
func ParseSeverity(name string) (Severity, bool) {
	switch s := SeverityOf(name); {
	case s != 0 && strings.EqualFold(strings.TrimSpace(name), s.String()):
		return s, true
	default:
		return 0, false
	}
}

// SeverityOf reads a word of a monitor: one of the four names or one of the
// many others in use ("sev2", "disaster", "P3"). Zero: the word is not known.
// Callers page with [Error] then, because a missing label must not be silent
// at three in the morning.
func SeverityOf(word string) Severity {
	if s, ok := severityWords[word]; ok {
		return s
	}
	return severityWords[strings.ToLower(strings.TrimSpace(word))]
}

// ParseAction reads the name of an action. Case and surrounding space do not matter.
func ParseAction(name string) (Action, bool) {
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "trigger":
		return Trigger, true
	case "acknowledge":
		return Acknowledge, true
	case "resolve":
		return Resolve, true
	}
	return 0, false
}

// timeLayouts are the forms of RFC 3339 and ISO 8601 that senders use, the
// common one first. Fractions of a second are read by each of them.
var timeLayouts = [...]string{ //nolint:gochecknoglobals // look-up table
	time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z0700",
}

// ParseTime reads the time stamp of a sender, in UTC. False: it is absent, not
// a time, without a zone, or outside the years 1970 to 9999 (Go's zero time
// is how some senders say "none").
func ParseTime(s string) (time.Time, bool) {
	s = strings.TrimSpace(s)
	if len(s) < len("2006-01-02T15:04:05Z") || len(s) > 64 {
		return time.Time{}, false
	}
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			t = t.UTC()
			return t, plausible(t)
		}
	}
	return time.Time{}, false
}

func plausible(t time.Time) bool { return t.Year() >= 1970 && t.Year() <= 9999 }
