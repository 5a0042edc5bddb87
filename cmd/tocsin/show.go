package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	api "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

type showCmd struct {
	connection
	output
	Incident string `arg:"" help:"Number or id."`
}

// Run shows one incident.
func (c *showCmd) Run(ctx context.Context, s *session, g *grammar) error {
	return c.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		client := api.NewIncidentServiceClient(conn)
		name, err := find(ctx, client, c.Incident)
		if err != nil {
			return err
		}
		in, err := client.GetIncident(ctx, &api.GetIncidentRequest{Name: name})
		if err != nil {
			return err
		}
		timeline, err := wholeTimeline(ctx, client, in.GetName())
		if err != nil {
			return err
		}
		deliveries, err := allDeliveries(ctx, client, in.GetName())
		if err != nil {
			return err
		}
		if c.json() {
			return s.printJSON(&api.ExportedIncident{Incident: in, Alerts: in.GetAlerts(), Timeline: timeline, Deliveries: deliveries})
		}
		return s.show(in, timeline, deliveries)
	})
}

func wholeTimeline(ctx context.Context, client api.IncidentServiceClient, name string) (all []*api.TimelineEntry, err error) {
	r := &api.ListTimelineRequest{Parent: name, PageSize: 500}
	for {
		page, err := client.ListTimeline(ctx, r)
		if err != nil {
			return nil, err
		}
		all = append(all, page.GetEntries()...)
		if r.PageToken = page.GetNextPageToken(); r.GetPageToken() == "" {
			return all, nil
		}
	}
}

func allDeliveries(ctx context.Context, client api.IncidentServiceClient, name string) (all []*api.Delivery, err error) {
	r := &api.ListDeliveriesRequest{Parent: name, PageSize: 500}
	for {
		page, err := client.ListDeliveries(ctx, r)
		if err != nil {
			return nil, err
		}
		all = append(all, page.GetDeliveries()...)
		if r.PageToken = page.GetNextPageToken(); r.GetPageToken() == "" {
			return all, nil
		}
	}
}

func (s *session) show(in *api.Incident, timeline []*api.TimelineEntry, deliveries []*api.Delivery) error {
	fmt.Fprintf(s.out, "#%d  %s\n\n", in.GetNumber(), clean(in.GetTitle()))
	t := s.facts()
	t.fact("id", id(in.GetName()))
	t.fact("state", s.state(in))
	t.fact("urgency", urgency(in))
	t.fact("severity", word(in.GetSeverity()))
	t.fact("service", id(in.GetService()))
	t.fact("team", id(in.GetTeam()))
	for _, a := range in.GetAssignees() {
		t.fact("assigned to", fmt.Sprintf("%s (%s)", display(a.GetDisplayName(), a.GetUser()), assignment(a)))
	}
	for _, a := range in.GetAcknowledgements() {
		t.fact("taken by", fmt.Sprintf("%s at %s, by %s", display(a.GetDisplayName(), a.GetUser()), s.when(a.GetAcknowledgeTime()), word(a.GetVia())))
	}
	t.fact("escalation", s.escalation(in))
	t.fact("snoozed until", s.when(in.GetSnoozeUntil()))
	t.fact("alerts", alerts(in))
	t.fact("source", in.GetSource())
	t.fact("client", strings.TrimSpace(in.GetClient()+" "+in.GetClientUri()))
	for _, l := range in.GetLinks() {
		t.fact("link", strings.TrimSpace(l.GetText()+" "+l.GetUri()))
	}
	t.fact("opened", s.when(in.GetCreateTime()))
	t.fact("merged into", id(in.GetMergedInto()))
	if err := t.flush(); err != nil {
		return err
	}
	if len(timeline) > 0 {
		fmt.Fprintln(s.out, "\nHistory")
		t = s.listing()
		for _, e := range timeline {
			t.row(s.at(e.GetEntryTime()), e.GetSummary())
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	if len(deliveries) > 0 {
		fmt.Fprintln(s.out, "\nDeliveries")
		t = s.listing()
		for _, d := range deliveries {
			t.row(s.at(d.GetCreateTime()), display(d.GetDisplayName(), d.GetUser()), way(d), fate(d))
		}
		return t.flush()
	}
	return nil
}

func (s *session) state(in *api.Incident) string {
	text := word(in.GetState())
	switch in.GetState() {
	case api.Incident_STATE_TRIGGERED:
		return text + " for " + s.age(in.GetCreateTime())
	case api.Incident_STATE_ACKNOWLEDGED:
		return text + " for " + s.age(in.GetAcknowledgeTime())
	case api.Incident_STATE_RESOLVED:
		text += " at " + s.when(in.GetResolveTime())
		if cause := word(in.GetResolveCause()); cause != "" {
			text += ", " + cause
		}
		if who := in.GetResolver().GetDisplayName(); who != "" {
			text += ", " + who
		}
		return text
	default:
		return text
	}
}

func assignment(a *api.Assignee) string {
	via := word(a.GetVia())
	if a.GetVia() == api.Assignee_VIA_POLICY && a.GetLevel() > 0 {
		return "level " + strconv.Itoa(int(a.GetLevel()))
	}
	return via
}

func (s *session) escalation(in *api.Incident) string {
	e := in.GetEscalation()
	if e.GetPolicy() == "" {
		return ""
	}
	text := fmt.Sprintf("%s, level %d of %d", id(e.GetPolicy()), e.GetLevel(), e.GetLevelCount())
	if e.GetLoop() > 1 {
		text += fmt.Sprintf(", round %d", e.GetLoop())
	}
	if e.GetExhausted() {
		text += ", everybody has been asked"
	}
	if next := e.GetNextEscalationTime(); next != nil {
		text += ", next level at " + s.when(next)
	}
	return text
}

func alerts(in *api.Incident) string {
	if in.GetAlertCount() == 0 {
		return ""
	}
	return fmt.Sprintf("%d, %d of them open", in.GetAlertCount(), in.GetOpenAlertCount())
}

func way(d *api.Delivery) string {
	text := word(d.GetMethodKind())
	if hint := d.GetAddressHint(); hint != "" {
		text += " to " + hint
	}
	if d.GetKind() == api.Delivery_KIND_UPDATE {
		text += " (update)"
	}
	return text
}

// fate is how a delivery fared: "displayed: accepted after 0.2s, received after
// 1.1s, displayed after 1.2s", "rejected: Unregistered".
func fate(d *api.Delivery) string {
	text := word(d.GetState())
	var parts []string
	if d.GetCode() != "" {
		parts = append(parts, clean(d.GetCode()))
	}
	for _, step := range []struct {
		what string
		at   *timestamppb.Timestamp
	}{
		{"accepted", d.GetAcceptTime()},
		{"received", d.GetReceiveTime()},
		{"displayed", d.GetDisplayTime()},
		{"opened", d.GetOpenTime()},
		{"acted", d.GetActTime()},
	} {
		if step.at != nil {
			parts = append(parts, step.what+" "+after(d, step.at))
		}
	}
	if d.GetAudible() == api.Delivery_AUDIBLE_NO {
		parts = append(parts, "without sound")
	}
	if d.GetAttempts() > 1 {
		parts = append(parts, fmt.Sprintf("%d attempts", d.GetAttempts()))
	}
	for _, a := range d.GetFailedAttempts() {
		if a.GetCode() != d.GetCode() {
			parts = append(parts, clean(a.GetCode())+" "+after(d, a.GetAttemptTime()))
		}
	}
	if id := d.GetProviderId(); id != "" {
		parts = append(parts, "id "+clean(id))
	}
	if len(parts) == 0 {
		return text
	}
	return text + ": " + strings.Join(parts, ", ")
}

// after is how long after its creation something happened to a delivery.
func after(d *api.Delivery, t *timestamppb.Timestamp) string {
	return fmt.Sprintf("after %.1fs", t.AsTime().Sub(d.GetCreateTime().AsTime()).Seconds())
}

type explainCmd struct {
	connection
	output
	Incident string `arg:"" help:"Number or id."`
	User     string `arg:"" help:"Id of the person; me is you."`
}

// Run explains why somebody was or was not paged.
func (c *explainCmd) Run(ctx context.Context, s *session, g *grammar) error {
	return c.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		client := api.NewIncidentServiceClient(conn)
		name, err := find(ctx, client, c.Incident)
		if err != nil {
			return err
		}
		r, err := client.ExplainPaging(ctx, &api.ExplainPagingRequest{Name: name, User: named("users/", []string{c.User})[0]})
		if err != nil {
			return err
		}
		if c.json() {
			return s.printJSON(r)
		}
		fmt.Fprintln(s.out, clean(r.GetSummary()))
		t := s.listing()
		for _, f := range r.GetFacts() {
			t.row(s.at(f.GetFactTime()), f.GetText())
		}
		return t.flush()
	})
}

// isCode reports whether err is a status with one of the codes.
func isCode(err error, oneOf ...codes.Code) bool {
	st, ok := statusOf(err)
	return ok && slices.Contains(oneOf, st.Code())
}

// transient reports whether a stream may be tried again after err.
func transient(err error) bool {
	return isCode(err, codes.Unavailable, codes.Internal, codes.ResourceExhausted, codes.DeadlineExceeded)
}
