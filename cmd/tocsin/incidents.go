package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	api "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

type incidentsCmd struct {
	List    listCmd            `cmd:"" help:"List incidents, newest first."`
	Show    showCmd            `cmd:"" help:"Show one incident with its history and who was reached how."`
	Ack     ackCmd             `cmd:"" help:"Acknowledge: stops the escalation, in your name."`
	Resolve resolveCmd         `cmd:"" help:"Resolve: it is over."`
	Explain explainCmd         `cmd:"" help:"Say why somebody was, or was not, paged."`
	Watch   watchCmd           `cmd:"" help:"Print changes as they happen, until Ctrl-C."`
	Export  exportIncidentsCmd `cmd:"" help:"Write closed incidents as lines of JSON."`
}

type listCmd struct {
	connection
	output
	All     bool     `xor:"scope" help:"Resolved ones, too."`
	Closed  bool     `xor:"scope" help:"Only resolved ones."`
	Service []string `placeholder:"ID" help:"Only of these services."`
	Team    []string `placeholder:"ID" help:"Only of these teams."`
	User    []string `placeholder:"ID" help:"Only assigned to these people; me is you."`
	Limit   int      `short:"n" default:"50" help:"At most so many."`
}

func (c *listCmd) request() *api.ListIncidentsRequest {
	r := &api.ListIncidentsRequest{
		Services: named("services/", c.Service), Teams: named("teams/", c.Team), Assignees: named("users/", c.User),
		Scope: api.ListIncidentsRequest_SCOPE_OPEN,
	}
	switch {
	case c.All:
		r.Scope = api.ListIncidentsRequest_SCOPE_ALL
	case c.Closed:
		r.Scope = api.ListIncidentsRequest_SCOPE_CLOSED
	}
	return r
}

// Run lists incidents.
func (c *listCmd) Run(ctx context.Context, s *session, g *grammar) error {
	if c.Limit < 1 {
		return usageError{errors.New("--limit: write a number from 1")}
	}
	return c.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		all := &api.ListIncidentsResponse{}
		err := eachIncident(ctx, api.NewIncidentServiceClient(conn), c.request(), func(in *api.Incident) bool {
			all.Incidents = append(all.Incidents, in)
			return len(all.GetIncidents()) < c.Limit
		})
		if err != nil {
			return err
		}
		if c.json() {
			return s.printJSON(all)
		}
		if len(all.GetIncidents()) == 0 {
			fmt.Fprintln(s.out, "No incidents.")
			return nil
		}
		t := s.table("NUMBER", "STATE", "URGENCY", "AGE", "SERVICE", "WITH", "TITLE")
		for _, in := range all.GetIncidents() {
			t.row("#"+strconv.FormatInt(in.GetNumber(), 10), word(in.GetState()), urgency(in), s.age(in.GetCreateTime()),
				id(in.GetService()), holders(in), cut(clean(in.GetTitle()), 70))
		}
		return t.flush()
	})
}

// eachIncident pages through a list until f has enough.
func eachIncident(ctx context.Context, c api.IncidentServiceClient, r *api.ListIncidentsRequest, f func(*api.Incident) bool) error {
	for {
		page, err := c.ListIncidents(ctx, r)
		if err != nil {
			return err
		}
		for _, in := range page.GetIncidents() {
			if !f(in) {
				return nil
			}
		}
		if page.GetNextPageToken() == "" {
			return nil
		}
		r.PageToken = page.GetNextPageToken()
	}
}

// urgency joins urgency and priority: "high P1".
func urgency(in *api.Incident) string {
	return strings.TrimSpace(word(in.GetUrgency()) + " " + strings.ToUpper(word(in.GetPriority())))
}

// holders names who has acknowledged, or who is being paged.
func holders(in *api.Incident) string {
	var who []string
	for _, a := range in.GetAcknowledgements() {
		who = append(who, display(a.GetDisplayName(), a.GetUser()))
	}
	if len(who) == 0 {
		for _, a := range in.GetAssignees() {
			who = append(who, display(a.GetDisplayName(), a.GetUser()))
		}
	}
	return cut(strings.Join(who, ", "), 40)
}

func display(name, resource string) string {
	if name != "" {
		return name
	}
	return id(resource)
}

// named makes resource names of ids; what already is one stays.
func named(collection string, list []string) []string {
	var all []string
	for _, item := range list {
		if !strings.HasPrefix(item, collection) {
			item = collection + item
		}
		all = append(all, item)
	}
	return all
}

// findLimit bounds the search for a number: no index has them.
const findLimit = 2000

// find makes an incident's name of what a person typed: a name, an id, or a
// number as the lists show it, with or without #.
func find(ctx context.Context, c api.IncidentServiceClient, typed string) (string, error) {
	number, err := strconv.ParseInt(strings.TrimPrefix(typed, "#"), 10, 64)
	if err != nil {
		return named("incidents/", []string{typed})[0], nil
	}
	for _, scope := range []api.ListIncidentsRequest_Scope{api.ListIncidentsRequest_SCOPE_OPEN, api.ListIncidentsRequest_SCOPE_CLOSED} {
		var name string
		seen := 0
		err := eachIncident(ctx, c, &api.ListIncidentsRequest{Scope: scope, PageSize: 200}, func(in *api.Incident) bool {
			if in.GetNumber() == number {
				name = in.GetName()
			}
			seen++
			return name == "" && seen < findLimit
		})
		if err != nil || name != "" {
			return name, err
		}
	}
	return "", fmt.Errorf("there is no incident #%d among the newest %d; give its id", number, findLimit)
}

type ackCmd struct {
	connection
	output
	Incident []string `arg:"" help:"Numbers or ids."`
	Extend   bool     `help:"Still on it: lets the time until the acknowledgement lapses start anew."`
}

// Run acknowledges.
func (c *ackCmd) Run(ctx context.Context, s *session, g *grammar) error {
	return c.change(ctx, s, g, c.output, c.Incident, func(ctx context.Context, client api.IncidentServiceClient, name string) (*api.Incident, error) {
		return client.AcknowledgeIncident(ctx, &api.AcknowledgeIncidentRequest{
			Name: name, RequestId: uuid.NewString(), Extend: c.Extend, ClientTime: timestamppb.New(s.now()),
		})
	})
}

type resolveCmd struct {
	connection
	output
	Incident []string `arg:"" help:"Numbers or ids."`
	Note     string   `placeholder:"TEXT" help:"What it was; goes into the history."`
}

// Run resolves.
func (c *resolveCmd) Run(ctx context.Context, s *session, g *grammar) error {
	return c.change(ctx, s, g, c.output, c.Incident, func(ctx context.Context, client api.IncidentServiceClient, name string) (*api.Incident, error) {
		return client.ResolveIncident(ctx, &api.ResolveIncidentRequest{
			Name: name, RequestId: uuid.NewString(), Note: c.Note, ClientTime: timestamppb.New(s.now()),
		})
	})
}

// change does one thing to each of several incidents, and goes on after a failure.
func (c connection) change(ctx context.Context, s *session, g *grammar, o output, typed []string,
	do func(context.Context, api.IncidentServiceClient, string) (*api.Incident, error),
) error {
	return c.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		client := api.NewIncidentServiceClient(conn)
		var failed int
		var last error
		for _, t := range typed {
			name, err := find(ctx, client, t)
			var in *api.Incident
			if err == nil {
				in, err = do(ctx, client, name)
			}
			if err != nil {
				if len(typed) == 1 {
					return err
				}
				failed, last = failed+1, err
				fmt.Fprintf(s.err, "%s: %s\n", clean(t), explain(err))
				continue
			}
			if o.json() {
				err = s.printLine(in)
			} else {
				_, err = fmt.Fprintln(s.out, summary(in))
			}
			if err != nil {
				return err
			}
		}
		if failed > 0 {
			return fmt.Errorf("%d of %d incidents were not changed, the last one because: %s", failed, len(typed), explain(last))
		}
		return nil
	})
}

// summary is an incident in one line.
func summary(in *api.Incident) string {
	line := fmt.Sprintf("#%d %s", in.GetNumber(), word(in.GetState()))
	if who := holders(in); who != "" && in.GetState() != api.Incident_STATE_RESOLVED {
		line += map[bool]string{true: " by ", false: ", paging "}[in.GetState() == api.Incident_STATE_ACKNOWLEDGED] + clean(who)
	}
	return line + ": " + cut(clean(in.GetTitle()), 90)
}

type watchCmd struct {
	connection
	output
	Service []string `placeholder:"ID" help:"Only of these services."`
	Team    []string `placeholder:"ID" help:"Only of these teams."`
	User    []string `placeholder:"ID" help:"Only assigned to these people; me is you."`

	shown map[string]string // last line of each incident
}

// rewatch is the wait before a broken stream is taken up again where it broke off.
const rewatch = 2 * time.Second

// Run prints changes. A stream that breaks is resumed from its cursor, so nothing is missed.
func (c *watchCmd) Run(ctx context.Context, s *session, g *grammar) error {
	return c.stream(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		r := &api.WatchIncidentsRequest{
			Services: named("services/", c.Service), Teams: named("teams/", c.Team), Assignees: named("users/", c.User),
		}
		client := api.NewIncidentServiceClient(conn)
		for began := false; ; {
			got, err := c.follow(ctx, s, client, r)
			began = began || got
			if ctx.Err() != nil {
				return nil //nolint:nilerr // Ctrl-C is the way out
			}
			if !began || !errors.Is(err, io.EOF) && !transient(err) {
				return err // the server said no, or was never there
			}
			fmt.Fprintf(s.err, "the stream broke off (%s) and is resumed\n", explain(err))
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(rewatch):
			}
		}
	})
}

// mostShown is of how many incidents the last line is remembered.
const mostShown = 4096

// line prints a change, unless it changes nothing of what the line says: a page
// and the receipt of it are two commits.
func (c *watchCmd) line(s *session, m *api.WatchIncidentsResponse) error {
	name, text := m.GetIncident().GetName(), summary(m.GetIncident())
	if c.shown[name] == text {
		return nil
	}
	if c.shown == nil || len(c.shown) >= mostShown {
		c.shown = map[string]string{}
	}
	c.shown[name] = text
	_, err := fmt.Fprintf(s.out, "%s  %s\n", s.at(m.GetEventTime()), text)
	return err
}

// follow reads one stream to its end. Got reports whether there was any message.
func (c *watchCmd) follow(ctx context.Context, s *session, client api.IncidentServiceClient, r *api.WatchIncidentsRequest) (got bool, err error) {
	stream, err := client.WatchIncidents(ctx, r)
	if err != nil {
		return false, err
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return got, err
		}
		got = true
		r.Cursor = m.GetCursor()
		if m.GetIncident() == nil {
			continue
		}
		if c.json() {
			err = s.printLine(m)
		} else {
			err = c.line(s, m)
		}
		if err != nil {
			return got, err
		}
	}
}
