package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	api "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

// exitDrift is how drift says that the server is not as the folder says.
const exitDrift = 3

type planCmd struct {
	connection
	output
	source
	Markdown bool   `help:"Print it as Markdown, for the comment of a pull request."`
	Out      string `placeholder:"FILE" help:"Write the plan to a file, for tocsin apply --plan."`
	All      bool   `help:"Show what stays as it is, too."`
}

// Run says what would change, and who would be paged differently.
func (c *planCmd) Run(ctx context.Context, s *session, g *grammar) error {
	request, p, err := c.plan(ctx, s, g, c.connection)
	if err != nil {
		return err
	}
	if c.Out != "" {
		request.Revision = p.GetRevision()
		if err := writePlan(c.Out, request); err != nil {
			return err
		}
	}
	switch {
	case c.json():
		return s.printJSON(p)
	case c.Markdown:
		_, err := io.WriteString(s.out, planMarkdown(p, s.zone))
		return err
	}
	count := s.printChanges(p.GetChanges(), c.All)
	s.printPaging(p)
	fmt.Fprintf(s.out, "Nothing was changed. Applying this would make: %s.\n", count)
	return nil
}

// plan asks the server what the source would change.
func (c source) plan(ctx context.Context, s *session, g *grammar, to connection) (*api.ApplyConfigurationRequest, *api.PlanConfigurationResponse, error) {
	request, err := c.request()
	if err != nil {
		return nil, nil, err
	}
	var p *api.PlanConfigurationResponse
	err = to.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		p, err = api.NewConfigurationServiceClient(conn).PlanConfiguration(ctx, &api.PlanConfigurationRequest{
			Files: request.GetFiles(), Force: request.GetForce(), Owner: request.GetOwner(), Prune: request.GetPrune(), TakeOver: request.GetTakeOver(),
		})
		return err
	})
	return request, p, err
}

// A plan is kept as the request that carries it out. It may hold the keys of
// integrations, as the files may.
func writePlan(path string, r *api.ApplyConfigurationRequest) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write --out: %w", err)
	}
	if err := errors.Join(writeJSON(f, r, "  "), f.Close()); err != nil {
		return fmt.Errorf("write --out: %w", err)
	}
	return nil
}

func readPlan(path string) (*api.ApplyConfigurationRequest, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read --plan: %w", err)
	}
	r := &api.ApplyConfigurationRequest{}
	if err := protojson.Unmarshal(text, r); err != nil || r.GetRevision() == "" {
		return nil, fmt.Errorf("%s is no plan: make one with tocsin plan --out", path)
	}
	return r, nil
}

type driftCmd struct {
	connection
	output
	source
}

// Run says how the server differs from the folder: for cron and CI.
func (c *driftCmd) Run(ctx context.Context, s *session, g *grammar) error {
	_, p, err := c.plan(ctx, s, g, c.connection)
	if err != nil {
		return err
	}
	same := true
	for _, ch := range p.GetChanges() {
		same = same && ch.GetAction() == api.ApplyConfigurationResponse_Change_ACTION_NONE
	}
	if c.json() {
		err = s.printJSON(p)
	} else if same {
		fmt.Fprintln(s.out, "The server is as the files say.")
	} else {
		count := s.printChanges(p.GetChanges(), false)
		s.printPaging(p)
		fmt.Fprintf(s.out, "The server is not as the files say. To bring it there: %s.\n", count)
	}
	if err == nil && !same {
		return exited(exitDrift)
	}
	return err
}

// printPaging says who would be paged differently.
func (s *session) printPaging(p *api.PlanConfigurationResponse) {
	if len(p.GetPagingChanges()) == 0 {
		fmt.Fprintf(s.out, "Nobody is paged differently until %s.\n", day(p.GetWindowEndTime(), s.zone))
		return
	}
	fmt.Fprintf(s.out, "Paged differently until %s:\n", day(p.GetWindowEndTime(), s.zone))
	for _, c := range p.GetPagingChanges() {
		fmt.Fprintf(s.out, "  %s, %s:\n", servicesOf(c, 5), level(c))
		t := s.facts()
		t.indent = "    "
		for _, st := range c.GetStretches() {
			t.row(day(st.GetStartTime(), s.zone)+" to "+day(st.GetEndTime(), s.zone), people(st.GetBefore())+" -> "+people(st.GetAfter()))
		}
		_ = t.flush() // as for every other line: a terminal that is gone has nobody to tell
		if n := c.GetMoreStretches(); n > 0 {
			fmt.Fprintf(s.out, "    and %d more times\n", n)
		}
	}
	if n := p.GetMorePagingChanges(); n > 0 {
		fmt.Fprintf(s.out, "  and %d more changes\n", n)
	}
}

func day(t *timestamppb.Timestamp, zone *time.Location) string {
	return t.AsTime().In(zone).Format("Mon 2 Jan 15:04")
}

func people(names []string) string {
	if len(names) == 0 {
		return "nobody"
	}
	return clean(ids(names))
}

func level(c *api.PlanConfigurationResponse_PagingChange) string {
	if c.GetLevel() == 0 {
		return "fallback"
	}
	return fmt.Sprintf("level %d", c.GetLevel())
}

// servicesOf lists services, and no more than a few of many.
func servicesOf(c *api.PlanConfigurationResponse_PagingChange, most int) string {
	names := c.GetServices()
	if len(names) <= most {
		return clean(ids(names))
	}
	return fmt.Sprintf("%s and %d more", clean(ids(names[:most])), len(names)-most)
}

// maxMarkdown keeps a plan within the comment of a pull request.
const maxMarkdown = 60_000

// planMark lets CI find the comment that it made before.
const planMark = "<!-- tocsin-plan -->\n"

// planMarkdown is a plan as the comment of a pull request. What names hold is
// other people's text, and is shown as code.
func planMarkdown(p *api.PlanConfigurationResponse, zone *time.Location) string {
	var b strings.Builder
	b.WriteString(planMark + "### tocsin plan\n\n")
	count := counts{}
	for _, c := range p.GetChanges() {
		count[c.GetAction()]++
	}
	fmt.Fprintf(&b, "%s, planned on revision `%s`.\n\n", count, clean(p.GetRevision()))
	b.WriteString("#### Who will be paged differently\n\n")
	if len(p.GetPagingChanges()) == 0 {
		fmt.Fprintf(&b, "Nobody, until %s.\n\n", day(p.GetWindowEndTime(), zone))
	} else {
		fmt.Fprintf(&b, "Until %s, times in %s.\n\n| Services | Level | From | To | Now | Then |\n|---|---|---|---|---|---|\n", day(p.GetWindowEndTime(), zone), zoneName(zone, p.GetWindowEndTime().AsTime()))
		for _, c := range p.GetPagingChanges() {
			for _, st := range c.GetStretches() {
				fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", code(servicesOf(c, 5)), strings.TrimPrefix(level(c), "level "),
					day(st.GetStartTime(), zone), day(st.GetEndTime(), zone), code(people(st.GetBefore())), code(people(st.GetAfter())))
			}
			if n := c.GetMoreStretches(); n > 0 {
				fmt.Fprintf(&b, "| %s | %s | and %d more times | | | |\n", code(servicesOf(c, 5)), strings.TrimPrefix(level(c), "level "), n)
			}
		}
		if n := p.GetMorePagingChanges(); n > 0 {
			fmt.Fprintf(&b, "\nAnd %d more changes.\n", n)
		}
		b.WriteString("\n")
	}
	b.WriteString("#### What changes\n\n")
	if len(p.GetChanges()) == count[api.ApplyConfigurationResponse_Change_ACTION_NONE] {
		b.WriteString("Nothing.\n")
	}
	for _, c := range p.GetChanges() {
		if c.GetAction() == api.ApplyConfigurationResponse_Change_ACTION_NONE {
			continue
		}
		fmt.Fprintf(&b, "- %s %s\n", changeWord(c), code(c.GetName()))
		for _, line := range detail(c, zone) {
			fmt.Fprintf(&b, "  - %s\n", code(line))
		}
	}
	text := b.String()
	if len(text) > maxMarkdown {
		text = strings.ToValidUTF8(text[:strings.LastIndexByte(text[:maxMarkdown], '\n')+1], "") + "\nThe plan is longer than this comment may be: run `tocsin plan` for the whole of it.\n"
	}
	return text
}

// code shows text as it is, whatever is in it.
func code(text string) string {
	return "`" + strings.NewReplacer("`", "'", "|", "¦").Replace(clean(text)) + "`"
}

// zoneName is what to call the zone in which times are shown: that of the machine
// has no name of its own.
func zoneName(zone *time.Location, at time.Time) string {
	if zone == time.Local { //nolint:gosmopolitan // the one that has no name
		return at.In(zone).Format("MST (-07:00)")
	}
	return zone.String()
}
