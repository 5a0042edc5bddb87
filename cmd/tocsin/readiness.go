package main

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/grpc"

	api "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

type readinessCmd struct {
	connection
	output
	Team    string `xor:"of" placeholder:"ID" help:"Of the policies of this team and of its services."`
	Service string `xor:"of" placeholder:"ID" help:"For this service."`
	User    string `placeholder:"ID" help:"Of this person alone; me is you."`
	Until   string `placeholder:"TIME" help:"Of who is on call until then; +30d is 30 days ahead. Default: +7d."`
}

// Run says who could be woken.
func (c *readinessCmd) Run(ctx context.Context, s *session, g *grammar) error {
	until, err := s.instant("--until", c.Until)
	if err != nil {
		return err
	}
	r := &api.ListReadinessRequest{
		Team: resource("teams/", c.Team), Service: resource("services/", c.Service), User: resource("users/", c.User), EndTime: until, PageSize: 200,
	}
	return c.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		all := &api.ListReadinessResponse{}
		for {
			page, err := api.NewOnCallServiceClient(conn).ListReadiness(ctx, r)
			if err != nil {
				return err
			}
			all.Readiness = append(all.Readiness, page.GetReadiness()...)
			if r.PageToken = page.GetNextPageToken(); r.GetPageToken() == "" {
				break
			}
		}
		if c.json() {
			return s.printJSON(all)
		}
		return s.readiness(all.GetReadiness())
	})
}

// readiness lists people, and below each what keeps him from being ready.
func (s *session) readiness(all []*api.Readiness) error {
	if len(all) == 0 {
		fmt.Fprintln(s.out, "Nobody is on call in that time.")
		return nil
	}
	wide := 0
	for _, r := range all {
		wide = max(wide, len(id(r.GetUser())))
	}
	ready := 0
	for _, r := range all {
		from := "on call now"
		if r.GetStartTime().AsTime().After(s.now()) {
			from = "on call " + s.shortly(r.GetStartTime())
		}
		if r.GetVerdict() == api.Readiness_VERDICT_READY {
			ready++
		}
		fmt.Fprintf(s.out, "%-*s  %-9s  %s\n", wide, id(r.GetUser()), word(r.GetVerdict()), from)
		for _, x := range r.GetReasons() {
			text := clean(x.GetText())
			if x.GetDevice() != "" {
				text = clean(x.GetDeviceDisplayName()) + ": " + text
			}
			for _, line := range wrapped(text, lineWidth-4) {
				fmt.Fprintln(s.out, "    "+line)
			}
		}
	}
	fmt.Fprintf(s.out, "%d of %d could be woken now.\n", ready, len(all))
	return nil
}

// lineWidth is how wide the narrowest terminal is that text has to be read on.
const lineWidth = 80

// wrapped breaks text between words into lines of so many characters. A word that is
// longer has a line of its own.
func wrapped(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case len([]rune(line))+1+len([]rune(word)) <= width:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
