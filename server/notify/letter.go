package notify

import (
	"fmt"
	"strings"

	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// letterLines is what a mail or webhook says about one incident, at the
// redaction level of the words.
func (n *Notifier) letterLines(in *incident.Incident, text words, w incident.Work) []string {
	lines := []string{text.Title}
	if text.Subtitle != "" {
		lines = append(lines, text.Subtitle)
	}
	lines = append(lines, text.Body, "")
	lines = append(lines, fmt.Sprintf("Incident #%d, triggered %s", in.Number, in.Created.UTC().Format("2006-01-02 15:04:05 MST")))
	if s := urgencyName(w.Urgency); s != "" {
		lines = append(lines, "Urgency: "+s)
	}
	if w.Mode == schedule.Observe {
		return append(lines, "You follow whoever is paged, to observe: there is nothing for you to acknowledge.")
	}
	return append(lines, "Acknowledge it in the app, or with: tocsin incidents ack "+string(in.ID))
}

// ref is the incident as a program sees it, at the redaction level.
func (n *Notifier) ref(in *incident.Incident, level roster.Privacy) Ref {
	r := Ref{
		ID: string(in.ID), Number: in.Number, Version: in.Version, Status: statusWord(in.Status),
		Urgency: urgencyName(in.Urgency), URL: n.o.Link(in.ID),
	}
	if level < roster.PrivacyMinimal {
		r.Severity, r.Service, r.Title = strings.ToLower(severityWord(in)), Scrub(n.serviceName(in)), Scrub(in.Text.Title)
	}
	return r
}

func urgencyName(u incident.Urgency) string {
	switch u {
	case incident.High:
		return "high"
	case incident.Low:
		return "low"
	}
	return ""
}
