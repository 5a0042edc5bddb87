package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"google.golang.org/grpc"

	api "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

type pageCmd struct {
	connection
	output
	Title    string   `arg:"" help:"What is wrong, in one line."`
	Service  string   `short:"s" placeholder:"ID" help:"Page by this service's policy."`
	User     []string `short:"u" placeholder:"ID" help:"Page these people."`
	Policy   string   `short:"p" placeholder:"ID" help:"Page by this escalation policy."`
	Urgency  string   `enum:"high,low,service" default:"service" help:"high, low, or as the service says."`
	Priority string   `enum:"P1,P2,P3,P4,P5,none" default:"none" help:"P1 to P5."`
}

// Run opens an incident by hand.
func (c *pageCmd) Run(ctx context.Context, s *session, g *grammar) error {
	if c.Service == "" && len(c.User) == 0 && c.Policy == "" {
		return usageError{errors.New("say whom to page: --service, --user or --policy")}
	}
	r := &api.CreateIncidentRequest{
		Incident: &api.Incident{
			Title: c.Title, Source: "tocsin page",
			Urgency:  api.Incident_Urgency(api.Incident_Urgency_value["URGENCY_"+upper(c.Urgency)]),
			Priority: api.Incident_Priority(api.Incident_Priority_value["PRIORITY_"+c.Priority]),
		},
		Users: named("users/", c.User), RequestId: uuid.NewString(),
	}
	if c.Service != "" {
		r.Incident.Service = named("services/", []string{c.Service})[0]
	}
	if c.Policy != "" {
		r.EscalationPolicy = named("escalationPolicies/", []string{c.Policy})[0]
	}
	return c.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		in, err := api.NewIncidentServiceClient(conn).CreateIncident(ctx, r)
		if err != nil {
			return err
		}
		if c.json() {
			return s.printJSON(in)
		}
		_, err = fmt.Fprintln(s.out, summary(in))
		return err
	})
}
