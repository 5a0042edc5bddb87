package notify

import (
	"fmt"
	"strings"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/server/attention"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// words is what a message says before anything is unlocked, at the redaction
// level that applies.
type words struct {
	Title, Subtitle, Body string
	Redacted              bool
}

// Lengths that a lock screen shows; the push library cuts further where a
// payload has no room.
const (
	maxTitle    = 100
	maxSubtitle = 160
	maxLine     = 240
)

// pageWords words the page of one incident.
func pageWords(in *incident.Incident, service string, w incident.Work, level roster.Privacy) words {
	if level >= roster.PrivacyMinimal {
		if w.Mode != 0 {
			return words{Title: "Shadow", Body: fmt.Sprintf("1 incident pages whom you follow (#%d)", in.Number), Redacted: true}
		}
		return words{Title: "Page", Body: fmt.Sprintf("1 incident needs you (#%d)", in.Number), Redacted: true}
	}
	return words{
		Title:    cut(shadowPrefix(w.Mode)+severityWord(in)+": "+Scrub(service), maxTitle),
		Subtitle: cut(Scrub(in.Text.Title), maxSubtitle),
		Body:     cut(pageBody(in, w, level), maxLine),
		Redacted: level > roster.PrivacyFull,
	}
}

// pageBody is the number, and how this page came about.
func pageBody(in *incident.Incident, w incident.Work, level roster.Privacy) string {
	parts := []string{fmt.Sprintf("#%d", in.Number)}
	if level == roster.PrivacyFull {
		for _, s := range []string{in.Text.Source, in.Text.Component} { // group and class are names that machines give
			if s != "" {
				parts = append(parts, Scrub(s))
			}
		}
	}
	if s := shadowWords(w.Mode); s != "" {
		parts = append(parts, s)
	}
	if s := reasonWords(w.Reason); s != "" {
		parts = append(parts, s)
	}
	if w.Number > 1 {
		parts = append(parts, fmt.Sprintf("page %d", w.Number))
	}
	return strings.Join(parts, " · ")
}

// shadowPrefix begins the title of a page to somebody who only follows whoever is
// paged: he sees it before anything else.
func shadowPrefix(m schedule.Mode) string {
	if m == 0 {
		return ""
	}
	return "Shadow · "
}

// shadowWords says what is asked of a shadow.
func shadowWords(m schedule.Mode) string {
	switch m {
	case schedule.Observe:
		return "you observe"
	case schedule.Practise:
		return "acknowledge for practice"
	case schedule.Duty:
		return "acknowledge as well"
	}
	return ""
}

// shadowName is a mode as programs are told it.
func shadowName(m schedule.Mode) string {
	switch m {
	case schedule.Observe:
		return "observe"
	case schedule.Practise:
		return "practise"
	case schedule.Duty:
		return "duty"
	}
	return ""
}

// reasonWords says what is worth knowing about why somebody is paged.
func reasonWords(r incident.PageReason) string {
	switch r {
	case incident.PageNoReceipt:
		return "your phone did not answer"
	case incident.PageRejected:
		return "your other devices cannot be reached"
	case incident.PageReminder:
		return "reminder"
	case incident.PageFallback:
		return "nobody else has taken it"
	case incident.PageCatchAll:
		return "nobody is on call for it"
	case incident.PageResponder:
		return "your help was asked for"
	case incident.PageAssigned, incident.PageStep:
	}
	return ""
}

// stormWords words the card of several incidents.
// Those that the person only follows are marked.
func stormWords(ins []*incident.Incident, u roster.UserID, name func(*incident.Incident) string, level roster.Privacy) words {
	services := map[string]int{}
	var order []string
	for _, in := range ins {
		s := name(in)
		if services[s]++; services[s] == 1 {
			order = append(order, s)
		}
	}
	w := words{Title: count(len(ins), "incident needs you", "incidents need you"), Redacted: level > roster.PrivacyFull}
	if level >= roster.PrivacyMinimal {
		w.Body = numbers(ins)
		return w
	}
	if len(order) > 1 {
		w.Title = count(len(ins), "incident", "incidents") + " on " + count(len(order), "service", "services")
	}
	for i, s := range order {
		order[i] = fmt.Sprintf("%d %s", services[s], Scrub(s))
	}
	w.Subtitle = cut(strings.Join(order, ", "), maxSubtitle)
	var lines []string
	for _, in := range ins {
		lines = append(lines, fmt.Sprintf("#%d %s%s", in.Number, shadowPrefix(modeOf(in, u)), Scrub(in.Text.Title)))
	}
	w.Body = cut(strings.Join(lines, " · "), maxLine)
	return w
}

// modeOf returns how the person follows the incident, 0 when he is asked himself.
func modeOf(in *incident.Incident, u roster.UserID) schedule.Mode {
	if s := in.Following(u); s != nil {
		return s.Shadow.Mode
	}
	return 0
}

// numbers lists the incidents by number alone.
func numbers(ins []*incident.Incident) string {
	var all []string
	for _, in := range ins {
		all = append(all, fmt.Sprintf("#%d", in.Number))
	}
	return cut(strings.Join(all, ", "), maxLine)
}

// clearWords words the quiet line that takes the place of a page.
func clearWords(in *incident.Incident, w incident.Work, who string, level roster.Privacy) words {
	verb := w.Text
	if verb == "" {
		verb = statusWord(in.Status)
	}
	title := fmt.Sprintf("#%d %s", in.Number, verb)
	if who != "" {
		title += " by " + who
	}
	out := words{Title: cut(title, maxTitle), Redacted: level > roster.PrivacyFull}
	if level < roster.PrivacyMinimal {
		out.Body = cut(Scrub(in.Text.Title), maxSubtitle)
	}
	return out
}

// noticeWords words a quiet notice about an incident.
func noticeWords(in *incident.Incident, service, text string, level roster.Privacy) words {
	out := words{
		Title: cut(fmt.Sprintf("#%d %s", in.Number, Scrub(service)), maxTitle), Body: cut(Scrub(text), maxLine),
		Redacted: level > roster.PrivacyFull,
	}
	if level >= roster.PrivacyMinimal {
		out.Title = fmt.Sprintf("#%d", in.Number)
	}
	return out
}

// digestLines returns one line for each incident and notice of a digest.
func digestLines(c attention.Card, ins []*incident.Incident, name func(*incident.Incident) string, level roster.Privacy) []string {
	var lines []string
	for _, in := range ins {
		if level >= roster.PrivacyMinimal {
			lines = append(lines, fmt.Sprintf("#%d", in.Number))
			continue
		}
		lines = append(lines, fmt.Sprintf("#%d %s: %s: %s", in.Number, severityWord(in), Scrub(name(in)), Scrub(in.Text.Title)))
	}
	for _, l := range c.Lines {
		lines = append(lines, l.Text)
	}
	if c.More > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", c.More))
	}
	return lines
}

// severityWord is how a person says how bad it is.
func severityWord(in *incident.Incident) string {
	switch in.Severity {
	case event.Critical:
		return "Critical"
	case event.Error:
		return "Error"
	case event.Warning:
		return "Warning"
	case event.Info:
		return "Info"
	}
	return "Page"
}

func statusWord(s incident.Status) string {
	switch s {
	case incident.Triggered:
		return "triggered"
	case incident.Acknowledged:
		return "acknowledged"
	case incident.Resolved:
		return "resolved"
	}
	return "over"
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func cut(s string, limit int) string { return push.CutRunes(s, limit) }
