package directory

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// words are the names of the values of an enumeration, by value; an empty name
// is no value that a document can say.
type words []string

//nolint:gochecknoglobals // look-up tables
var (
	roleWords     = words{roster.Admin: "admin", roster.Responder: "responder", roster.Stakeholder: "stakeholder"}
	privacyWords  = words{roster.PrivacyFull: "full", roster.PrivacyTitle: "title", roster.PrivacyMinimal: "minimal", roster.PrivacySealed: "sealed"}
	methodWords   = words{roster.Push: "push", roster.Email: "email", roster.Webhook: "webhook"}
	strategyWords = words{escalation.Everyone: "everyone", escalation.RoundRobin: "round_robin", escalation.AnyOne: "any_one"}
	handOffWords  = words{escalation.HandOffAdd: "add", escalation.HandOffKeep: "keep", escalation.HandOffMove: "move"}
	urgencyWords  = words{
		catalog.UrgencyBySeverity: "by_severity", catalog.UrgencyHigh: "high", catalog.UrgencyLow: "low",
		catalog.UrgencyBySupportHours: "by_support_hours",
	}
	unitWords     = words{schedule.Hours: "hours", schedule.Days: "days", schedule.Weeks: "weeks", schedule.Months: "months"}
	modeWords     = words{schedule.Observe: "observe", schedule.Practise: "practise", schedule.Duty: "duty"}
	scopeWords    = words{catalog.ScopeService: "service", catalog.ScopeIntegration: "integration"}
	severityWords = words{event.Critical: "critical", event.Error: "error", event.Warning: "warning", event.Info: "info"}
	dayWords      = words{
		time.Monday: "monday", time.Tuesday: "tuesday", time.Wednesday: "wednesday", time.Thursday: "thursday",
		time.Friday: "friday", time.Saturday: "saturday", time.Sunday: "sunday",
	}
)

// word reads a name; an empty one is the zero value.
func word[T ~uint8 | ~int](l *Lines, path, text string, w words) T {
	if text == "" {
		return 0
	}
	i := slices.Index(w, strings.ToLower(text))
	if i < 0 {
		names := slices.DeleteFunc(slices.Clone(w), func(s string) bool { return s == "" })
		l.bad(path, "%q is none of %s%s", text, strings.Join(names, ", "), suggestion(text, slices.Values(names)))
		return 0
	}
	return T(i)
}

// say writes the name of a value; the zero value is left out.
func say[T ~uint8 | ~int](v T, w words) string {
	if v == 0 || int(v) >= len(w) {
		return ""
	}
	return w[v]
}

// duration reads "5m", "1h30m", "7d"; an empty text is 0.
func duration(l *Lines, path, text string) time.Duration {
	if text == "" || text == "0" {
		return 0
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n <= 3650 {
			return time.Duration(n) * 24 * time.Hour
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		l.bad(path, "%q is no duration; write one such as 30s, 5m or 2h", text)
		return 0
	}
	return d
}

// lasting writes a duration; 0 is left out.
func lasting(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return span(d)
}

// clock reads a time of day, "22:00".
func clock(l *Lines, path, text string) time.Duration {
	t, err := time.Parse("15:04", text)
	if err != nil {
		l.bad(path, "%q is no time of day; write one such as 22:00", text)
		return 0
	}
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute
}

func clockText(d time.Duration) string {
	return fmt.Sprintf("%02d:%02d", int(d.Hours()), int(d.Minutes())%60)
}

// never is how a document says that an acknowledgement holds for ever.
const never = "never"

// target reads who is asked: a person's id, "users/ann", "schedules/primary" or "teams/core".
func target(text string) escalation.Target {
	for kind, collection := range targetCollections {
		if id, ok := strings.CutPrefix(text, collection); ok {
			return escalation.Target{Kind: kind, ID: id}
		}
	}
	return escalation.Target{Kind: escalation.UserTarget, ID: text}
}

func targetText(t escalation.Target) string {
	if t.Kind == escalation.UserTarget {
		return t.ID
	}
	return targetCollections[t.Kind] + t.ID
}

// targetCollections begin the names of targets in a document.
var targetCollections = map[escalation.TargetKind]string{ //nolint:gochecknoglobals // look-up table
	escalation.UserTarget: "users/", escalation.ScheduleTarget: "schedules/", escalation.TeamTarget: "teams/",
}

// bare takes an id with or without the collection before it.
func bare(text, collection string) string { return strings.TrimPrefix(text, collection) }
