package ingest

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tocsin-oncall/tocsin/server/event"
)

// alertmanagerBody is the webhook body of Prometheus Alertmanager, version 4
// (prometheus/alertmanager, notify/webhook and template.Data), and of what
// imitates it. Version and routeLabels do not matter here.
type alertmanagerBody struct {
	Status            text            `json:"status"`
	Receiver          text            `json:"receiver"`
	GroupKey          text            `json:"groupKey"`
	ExternalURL       text            `json:"externalURL"`
	TruncatedAlerts   text            `json:"truncatedAlerts"`
	Reason            text            `json:"notification_reason"` // since 0.33
	GroupLabels       object          `json:"groupLabels"`
	CommonLabels      object          `json:"commonLabels"`
	CommonAnnotations object          `json:"commonAnnotations"`
	Alerts            list[promAlert] `json:"alerts"`
}

// promAlert is one member of a group.
type promAlert struct {
	Status       text   `json:"status"`
	Labels       object `json:"labels"`
	Annotations  object `json:"annotations"`
	StartsAt     text   `json:"startsAt"`
	EndsAt       text   `json:"endsAt"` // year 1 while firing
	GeneratorURL text   `json:"generatorURL"`
	Fingerprint  text   `json:"fingerprint"` // of the label set; the same on both members of an HA pair
}

// alertmanager maps a notification, by default each alert to an event of its
// own: the group's status is firing as long as any member is, so a partial
// resolve shows in the members only.
func alertmanager(r Request) (Result, error) {
	c := collector{source: "alertmanager", request: r}
	var body alertmanagerBody
	if err := decodeObject(r.Body, &body); errors.Is(err, errNotObject) {
		c.unreadable(err.Error())
		return c.result(0), nil
	} else if err != nil {
		return Result{}, err
	}
	alerts := body.Alerts.items
	switch {
	case !body.Alerts.ok:
		c.unreadable("the body has no list of alerts")
		return c.result(0), nil
	case len(alerts) == 0:
		return Result{}, nil
	case r.Options.Mode == PerGroup:
		c.addGroup(body)
		return c.result(1), nil
	}
	for i, alert := range alerts[:min(len(alerts), event.MaxBatch)] {
		action, ok := promAction(alert.Status)
		if !ok {
			c.unreadable(fmt.Sprintf("the status of alerts[%d] is neither firing nor resolved", i))
			continue
		}
		c.add(body.member(alert, action))
	}
	return c.result(len(alerts)), nil
}

func promAction(status text) (event.Action, bool) {
	switch status {
	case "firing":
		return event.Trigger, true
	case "resolved":
		return event.Resolve, true
	}
	return 0, false
}

// member maps one alert of the group.
func (b *alertmanagerBody) member(a promAlert, action event.Action) event.Event {
	details := b.details()
	addRaw(details, "labels", a.Labels)
	addRaw(details, "annotations", a.Annotations)
	e := b.common(a)
	e.Action = action
	e.Severity = severity(a.Labels.first("severity", "priority"), details)
	if id := a.fingerprint(); id != "" {
		e.DedupKey = event.Key("alertmanager", "alertmanager:"+id)
	}
	e.Summary = a.summary()
	e.Timestamp = instant(a.StartsAt)
	if action == event.Resolve {
		e.Timestamp = instant(a.EndsAt)
	}
	e.Details = marshal(details)
	return e
}

// addGroup maps the whole notification to one event, for those who already
// group in Alertmanager.
func (c *collector) addGroup(b alertmanagerBody) {
	action, ok := promAction(b.Status)
	if !ok {
		c.unreadable("the status of the group is neither firing nor resolved")
		return
	}
	alerts, first := b.Alerts.items, b.Alerts.items[0]
	details := b.details()
	var worst event.Severity
	firing := 0
	for _, a := range alerts {
		if a.Status == "firing" {
			firing++
		}
		if a.Status == "firing" || action == event.Resolve {
			worst = worst.Worse(severity(a.Labels.first("severity", "priority"), details))
		}
	}
	details["num_firing"], details["num_resolved"] = firing, len(alerts)-firing
	addRaw(details, "group_labels", b.GroupLabels)
	addRaw(details, "common_labels", b.CommonLabels)
	addRaw(details, "common_annotations", b.CommonAnnotations)

	e := b.common(first)
	e.Action, e.Severity = action, worst
	// The sum, as Alertmanager's own PagerDuty receiver sends it: group keys
	// are matchers, any length, and the same for trigger and resolve.
	if b.GroupKey != "" {
		sum := sha256.Sum256([]byte(b.GroupKey))
		e.DedupKey = "alertmanager:group:" + hex.EncodeToString(sum[:])
	} else if sum := labelSum(b.GroupLabels); sum != "" {
		e.DedupKey = "alertmanager:group:" + sum
	}
	name := first.Labels.first("alertname")
	if name == "" {
		name = "Alertmanager group"
	}
	e.Summary = name + " (" + strconv.Itoa(firing) + " firing)"
	e.Timestamp = instant(first.StartsAt)
	if action == event.Resolve {
		e.Timestamp = instant(first.EndsAt)
	}
	e.Details = marshal(details)
	c.add(e)
}

// common is what an event takes from the group and from the labels of a.
func (b *alertmanagerBody) common(a promAlert) event.Event {
	return event.Event{
		Source:    cmp.Or(a.Labels.first("instance", "pod", "host", "node", "job"), hostOf(string(b.ExternalURL)), "alertmanager"),
		Component: a.Labels.first("service", "job"),
		Group:     string(b.GroupKey),
		Class:     a.Labels.first("alertname"),
		Client:    "Alertmanager",
		ClientURL: string(b.ExternalURL),
		Links: []event.Link{
			{Href: string(a.GeneratorURL), Text: "Graph"},
			{Href: a.Annotations.first("runbook_url", "runbook"), Text: "Runbook"},
			{Href: a.Annotations.first("dashboard_url", "dashboard"), Text: "Dashboard"},
		},
		Images: []event.Image{{Src: a.Annotations.first("image")}},
	}
}

// details is what every event of the notification says about it.
func (b *alertmanagerBody) details() map[string]any {
	details := map[string]any{}
	if b.Receiver != "" {
		details["receiver"] = b.Receiver
	}
	if b.Reason != "" {
		details["notification_reason"] = b.Reason
	}
	if n, err := strconv.Atoi(string(b.TruncatedAlerts)); err == nil && n > 0 {
		details["truncated_alerts"] = n // cut by max_alerts: neither firing nor resolved ones are in the body
	}
	return details
}

func (a *promAlert) summary() string {
	if s := a.Annotations.first("summary", "title", "message", "description"); s != "" {
		return s
	}
	name, instance := a.Labels.first("alertname"), a.Labels.first("instance")
	switch {
	case name == "":
		return "Alertmanager alert"
	case instance == "":
		return name
	}
	return name + " (" + instance + ")"
}

func (a *promAlert) fingerprint() string {
	if sent := strings.TrimSpace(string(a.Fingerprint)); sent != "" {
		return sent
	}
	return labelSum(a.Labels)
}

// labelSum stands in for the fingerprint that old senders do not send: the
// first 16 hex digits of the SHA-256 of the sorted labels. A label without a
// value does not exist in Prometheus. Empty when there are no labels.
func labelSum(labels object) string {
	h := sha256.New()
	none := true
	for _, name := range slices.Sorted(maps.Keys(labels.members)) {
		if value := labels.members[name]; value != "" {
			_, _ = h.Write([]byte(name + "\x00" + string(value) + "\x00"))
			none = false
		}
	}
	if none {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

func addRaw(details map[string]any, name string, o object) {
	if o.raw != nil {
		details[name] = o.raw
	}
}
