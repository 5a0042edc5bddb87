package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	api "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

// maxEvent is the largest body that a server takes as an event.
const maxEvent = 1 << 20

type dryRunCmd struct {
	connection
	output
	At          string `placeholder:"TIME" help:"When the event would come in. Default: now."`
	Event       string `required:"" placeholder:"FILE" help:"The body that the monitor would send: Events v2, or as the integration's source has it; - is standard input."`
	Integration string `xor:"by" placeholder:"ID" help:"The integration that it would come in by. Default: that of the routing_key in the event."`
	Service     string `xor:"by" placeholder:"ID" help:"The service that it would be for, where that has one integration."`
	Silent      bool   `help:"Let no phone confirm what it is sent."`
	Folder      string `placeholder:"DIR" help:"As if this folder had been applied: see tocsin plan."`
	Owner       string `placeholder:"NAME" help:"With --folder, as in tocsin plan."`
	Prune       bool   `help:"With --folder, as in tocsin plan."`
	TakeOver    bool   `help:"With --folder, as in tocsin plan."`
}

// Run tells what an event would lead to.
func (c *dryRunCmd) Run(ctx context.Context, s *session, g *grammar) error {
	ask, err := c.question(s)
	if err != nil {
		return err
	}
	var folder *api.ApplyConfigurationRequest
	switch {
	case c.Folder != "":
		if folder, err = (source{Path: c.Folder, Owner: c.Owner, Prune: c.Prune, TakeOver: c.TakeOver}).request(); err != nil {
			return err
		}
	case c.Owner != "" || c.Prune || c.TakeOver:
		return usageError{errors.New("--owner, --prune and --take-over say how a folder is applied: add --folder")}
	}
	return c.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		var d *api.DryRun
		var err error
		if folder == nil {
			d, err = api.NewOnCallServiceClient(conn).DryRunEvent(ctx, ask)
		} else {
			d, err = api.NewConfigurationServiceClient(conn).DryRunConfiguration(ctx, &api.DryRunConfigurationRequest{
				DryRun: ask, Files: folder.GetFiles(), Owner: folder.GetOwner(), Prune: folder.GetPrune(), TakeOver: folder.GetTakeOver(),
			})
		}
		if err != nil {
			return err
		}
		if c.json() {
			return s.printJSON(d)
		}
		return s.printDryRun(d)
	})
}

func (c *dryRunCmd) question(s *session) (*api.DryRunEventRequest, error) {
	at, err := s.instant("--at", c.At)
	if err != nil {
		return nil, err
	}
	in := io.Reader(os.Stdin)
	if c.Event != "-" {
		f, err := os.Open(c.Event)
		if err != nil {
			return nil, fmt.Errorf("read --event: %w", err)
		}
		defer func() { _ = f.Close() }() // was only read
		in = f
	}
	body, err := io.ReadAll(io.LimitReader(in, maxEvent+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read --event: %w", err)
	case len(body) > maxEvent:
		return nil, fmt.Errorf("read --event: it has more than %d bytes, which no monitor may send", maxEvent)
	}
	return &api.DryRunEventRequest{
		Event: string(body), Time: at, PhonesSilent: c.Silent,
		Integration: resource("integrations/", c.Integration), Service: resource("services/", c.Service),
	}, nil
}

// dryRunEnds say why a dry run ends.
var dryRunEnds = map[api.DryRun_End]string{ //nolint:gochecknoglobals // look-up table
	api.DryRun_END_QUIET:      "Nothing more would be sent.",
	api.DryRun_END_RESOLVED:   "It would end by itself.",
	api.DryRun_END_REPEATING:  "Everything is exhausted: whoever was asked last is reminded, and the last resort paged again, until somebody acts.",
	api.DryRun_END_UNFINISHED: "There is more than is told here.",
}

// printDryRun tells a dry run line by line, in the order in which it happens.
func (s *session) printDryRun(d *api.DryRun) error {
	by := ""
	if d.GetIntegration() != "" {
		by = ", by " + id(d.GetIntegration())
	}
	fmt.Fprintf(s.out, "An event for %s%s, at %s.\n", id(d.GetService()), by, s.minute(d.GetTime()))
	if d.GetEnd() == api.DryRun_END_DROPPED {
		fmt.Fprintf(s.out, "It pages nobody. %s\n", clean(d.GetReason()))
		return nil
	}
	in := d.GetIncident()
	policy := "none"
	if e := in.GetEscalation(); e != nil {
		policy = fmt.Sprintf("%s, %d levels", id(e.GetPolicy()), e.GetLevelCount())
	}
	fmt.Fprintf(s.out, "It opens an incident: %s. Urgency %s, policy %s.\n\n", clean(in.GetTitle()), word(in.GetUrgency()), policy)
	t := s.facts()
	after := func(at *timestamppb.Timestamp) string {
		return "+" + brief(at.AsTime().Sub(d.GetTime().AsTime()))
	}
	entries := slices.DeleteFunc(slices.Clone(d.GetTimeline()), func(e *api.TimelineEntry) bool {
		return e.GetType() == api.TimelineEntry_TYPE_NOTIFIED || e.GetType() == api.TimelineEntry_TYPE_TRIGGERED // told above, and by the messages
	})
	messages := d.GetMessages()
	for len(entries)+len(messages) > 0 {
		if len(messages) == 0 || len(entries) > 0 && !entries[0].GetEntryTime().AsTime().After(messages[0].GetSendTime().AsTime()) {
			t.row(after(entries[0].GetEntryTime()), clean(entries[0].GetSummary()))
			entries = entries[1:]
			continue
		}
		m := messages[0]
		t.row(after(m.GetSendTime()), "- "+sentence(m))
		messages = messages[1:]
	}
	t.row(after(d.GetEndTime()), cmp.Or(dryRunEnds[d.GetEnd()], dryRunEnds[api.DryRun_END_UNFINISHED]))
	if err := t.flush(); err != nil {
		return err
	}
	for i, r := range d.GetRemarks() {
		if i == 0 {
			fmt.Fprintln(s.out)
		}
		fmt.Fprintln(s.out, clean(r))
	}
	return nil
}

// brief writes a duration to the second, without what is zero at its end: 5m, 1h30m.
func brief(d time.Duration) string {
	text := d.Round(time.Second).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// sentence says one message: to whom, by what, how loud.
func sentence(m *api.DryRun_Message) string {
	parts := []string{id(m.GetUser()), m.GetContactMethod()}
	if m.GetContactMethod() != word(m.GetMethodKind()) {
		parts[1] += " (" + word(m.GetMethodKind()) + ")"
	}
	if m.GetAddressHint() != "" {
		parts = append(parts, m.GetAddressHint())
	}
	switch {
	case m.GetKind() == api.DryRun_Message_KIND_NOTICE:
		parts = append(parts, "a notice: "+m.GetBody())
	case m.GetKind() == api.DryRun_Message_KIND_CLEAR:
		parts = append(parts, "its card goes quiet")
	case m.GetLoud():
		parts = append(parts, "with the critical sound")
	case m.GetSound():
		parts = append(parts, "with sound")
	case m.GetDevice() != "":
		parts = append(parts, "silently")
	}
	if m.GetKind() == api.DryRun_Message_KIND_CARD {
		parts = append(parts, "collected")
	}
	if m.GetFollows() != "" {
		parts = append(parts, "following "+id(m.GetFollows()))
	}
	return strings.Join(parts, ", ")
}
