package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	api "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

// ahead reads a time that has to lie ahead: a span alone would lie behind.
func (s *session) ahead(flag, text string) (*timestamppb.Timestamp, error) {
	if _, err := parseSpan(text); err == nil && !strings.HasPrefix(text, "+") {
		return nil, usageError{fmt.Errorf("%s: %s is that long ago; write +%s for that far ahead", flag, text, text)}
	}
	return s.instant(flag, text)
}

// period is a time that lies ahead.
type period struct {
	From  string `placeholder:"TIME" help:"When it begins: a date, an instant, or +7d for 7 days ahead. Of an override the default is now."`
	Until string `xor:"end" placeholder:"TIME" help:"When it ends."`
	For   string `xor:"end" placeholder:"SPAN" help:"How long it lasts, instead of --until: 2h, 7d."`
}

// times reads both ends.
func (c period) times(s *session) (from, until *timestamppb.Timestamp, err error) {
	if from, err = s.ahead("--from", c.From); err != nil {
		return nil, nil, err
	}
	if from == nil {
		from = timestamppb.New(s.now())
	}
	if c.For != "" {
		d, err := parseSpan(c.For)
		if err != nil {
			return nil, nil, usageError{fmt.Errorf("--for: %w", err)}
		}
		return from, timestamppb.New(from.AsTime().Add(d)), nil
	}
	if until, err = s.ahead("--until", c.Until); err != nil {
		return nil, nil, err
	}
	if until == nil {
		return nil, nil, usageError{errors.New("say when it ends: --until TIME or --for SPAN")}
	}
	return from, until, nil
}

type shiftsCmd struct {
	connection
	output
	Schedule string `xor:"of" placeholder:"ID" help:"Of this schedule."`
	Team     string `xor:"of" placeholder:"ID" help:"Of the schedules of this team."`
	User     string `placeholder:"ID" help:"Of this person; me is you. Default: you, unless a schedule or team is named."`
	From     string `placeholder:"TIME" help:"From this instant on; 7d is 7 days ago, +7d is ahead. Default: now."`
	Until    string `placeholder:"TIME" help:"Until this instant. Default: 30 days after --from."`
}

// Run lists shifts.
func (c *shiftsCmd) Run(ctx context.Context, s *session, g *grammar) error {
	from, err := s.instant("--from", c.From)
	if err != nil {
		return err
	}
	until, err := s.instant("--until", c.Until)
	if err != nil {
		return err
	}
	if c.Schedule == "" && c.Team == "" && c.User == "" {
		c.User = "me"
	}
	return c.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		all, err := api.NewOnCallServiceClient(conn).ListShifts(ctx, &api.ListShiftsRequest{
			User: resource("users/", c.User), Team: resource("teams/", c.Team), Schedule: resource("schedules/", c.Schedule), StartTime: from, EndTime: until,
		})
		if err != nil {
			return err
		}
		if c.json() {
			return s.printJSON(all)
		}
		if len(all.GetShifts()) == 0 {
			fmt.Fprintln(s.out, "No shifts.")
			return nil
		}
		t := s.table("FROM", "UNTIL", "LENGTH", "SCHEDULE", "ON CALL", "BY")
		for _, x := range all.GetShifts() {
			by := x.GetLayer()
			if x.GetOverride() != "" {
				by = "override " + id(x.GetOverride())
			}
			t.row(s.minute(x.GetStartTime()), s.minute(x.GetEndTime()), span(x.GetEndTime().AsTime().Sub(x.GetStartTime().AsTime())),
				id(x.GetSchedule()), holder(x.GetUser()), by)
		}
		return t.flush()
	})
}

type overrideCmd struct {
	Add    addOverrideCmd    `cmd:"" help:"Put somebody on call in place of the layers for a time, or nobody."`
	List   listOverridesCmd  `cmd:"" help:"List overrides that have not ended."`
	Remove removeOverrideCmd `cmd:"" help:"Remove an override; one that has begun ends now."`
}

type addOverrideCmd struct {
	connection
	output
	period
	Schedule string `arg:"" help:"Id of the schedule."`
	User     string `xor:"who" placeholder:"ID" help:"Who is on call; me is you. Default: you."`
	Nobody   bool   `xor:"who" help:"Nobody is on call, and that is meant so."`
}

// Run adds an override.
func (c *addOverrideCmd) Run(ctx context.Context, s *session, g *grammar) error {
	from, until, err := c.times(s)
	if err != nil {
		return err
	}
	if c.User == "" && !c.Nobody {
		c.User = "me"
	}
	return c.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		o, err := api.NewScheduleServiceClient(conn).CreateOverride(ctx, &api.CreateOverrideRequest{RequestId: uuid.NewString(), Override: &api.Override{
			Schedule: resource("schedules/", c.Schedule), User: resource("users/", c.User), StartTime: from, EndTime: until,
		}})
		if err != nil {
			return err
		}
		if c.json() {
			return s.printJSON(o)
		}
		fmt.Fprintf(s.out, "%s is on call in %s from %s to %s: override %s.\n",
			holder(o.GetUser()), id(o.GetSchedule()), s.minute(o.GetStartTime()), s.minute(o.GetEndTime()), id(o.GetName()))
		return nil
	})
}

type listOverridesCmd struct {
	connection
	output
	Schedule string `placeholder:"ID" help:"Only of this schedule."`
	User     string `placeholder:"ID" help:"Only those that put this person on call; me is you."`
}

// Run lists overrides.
func (c *listOverridesCmd) Run(ctx context.Context, s *session, g *grammar) error {
	return c.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		client, all := api.NewScheduleServiceClient(conn), &api.ListOverridesResponse{}
		r := &api.ListOverridesRequest{Schedule: resource("schedules/", c.Schedule), User: resource("users/", c.User), PageSize: 200}
		for {
			page, err := client.ListOverrides(ctx, r)
			if err != nil {
				return err
			}
			all.Overrides = append(all.Overrides, page.GetOverrides()...)
			if r.PageToken = page.GetNextPageToken(); r.GetPageToken() == "" {
				break
			}
		}
		if c.json() {
			return s.printJSON(all)
		}
		if len(all.GetOverrides()) == 0 {
			fmt.Fprintln(s.out, "No overrides.")
			return nil
		}
		t := s.table("ID", "FROM", "UNTIL", "SCHEDULE", "ON CALL", "MADE BY", "COVER")
		for _, o := range all.GetOverrides() {
			t.row(id(o.GetName()), s.minute(o.GetStartTime()), s.minute(o.GetEndTime()), id(o.GetSchedule()), holder(o.GetUser()), id(o.GetCreator()), id(o.GetCoverRequest()))
		}
		return t.flush()
	})
}

type removeOverrideCmd struct {
	connection
	Override string `arg:"" help:"Id of the override."`
}

// Run removes an override.
func (c *removeOverrideCmd) Run(ctx context.Context, s *session, g *grammar) error {
	return c.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := api.NewScheduleServiceClient(conn).DeleteOverride(ctx, &api.DeleteOverrideRequest{Name: resource("overrides/", c.Override), RequestId: uuid.NewString()})
		if err == nil {
			fmt.Fprintln(s.out, "Removed "+c.Override+".")
		}
		return err
	})
}

type coverCmd struct {
	Ask     askCoverCmd     `cmd:"" help:"Ask the others of a schedule to take your time over, or one of them to swap."`
	List    listCoverCmd    `cmd:"" help:"List cover requests that have not ended."`
	Accept  acceptCoverCmd  `cmd:"" help:"Take over what somebody asks for."`
	Decline declineCoverCmd `cmd:"" help:"Decline a swap that you are asked for."`
	Cancel  cancelCoverCmd  `cmd:"" help:"Take a request of yours back."`
}

type askCoverCmd struct {
	connection
	output
	period
	Schedule  string `arg:"" help:"Id of the schedule."`
	User      string `placeholder:"ID" help:"Who is to be relieved, for managers of the team. Default: you."`
	Note      string `placeholder:"TEXT" help:"Why."`
	SwapWith  string `and:"swap" placeholder:"ID" help:"Ask this person alone, and take his time in return."`
	SwapFrom  string `and:"swap" placeholder:"TIME" help:"When his time begins."`
	SwapUntil string `and:"swap" placeholder:"TIME" help:"When it ends."`
}

// Run asks for cover.
func (c *askCoverCmd) Run(ctx context.Context, s *session, g *grammar) error {
	if c.From == "" {
		return usageError{errors.New("say when it begins: --from TIME; what has begun is given away with tocsin oncall override add")}
	}
	from, until, err := c.times(s)
	if err != nil {
		return err
	}
	want := &api.CoverRequest{Schedule: resource("schedules/", c.Schedule), User: resource("users/", c.User), StartTime: from, EndTime: until, Note: c.Note}
	if c.SwapWith != "" {
		want.Swap = &api.Swap{User: resource("users/", c.SwapWith)}
		if want.Swap.StartTime, err = s.ahead("--swap-from", c.SwapFrom); err != nil {
			return err
		}
		if want.Swap.EndTime, err = s.ahead("--swap-until", c.SwapUntil); err != nil {
			return err
		}
	}
	return c.do(ctx, s, g, c.output, func(ctx context.Context, client api.OnCallServiceClient) (*api.CoverRequest, error) {
		return client.CreateCoverRequest(ctx, &api.CreateCoverRequestRequest{CoverRequest: want, RequestId: uuid.NewString()})
	})
}

// do carries out what changes one request, and prints it.
func (c connection) do(ctx context.Context, s *session, g *grammar, o output, f func(context.Context, api.OnCallServiceClient) (*api.CoverRequest, error)) error {
	return c.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		r, err := f(ctx, api.NewOnCallServiceClient(conn))
		if err != nil {
			return err
		}
		if o.json() {
			return s.printJSON(r)
		}
		fmt.Fprintf(s.out, "%s is %s: %s.\n", id(r.GetName()), coverState(r), s.coverWords(r))
		for _, w := range r.GetWarnings() {
			fmt.Fprintln(s.out, "warning: "+clean(w))
		}
		return nil
	})
}

// coverState is how a request stands, and with whom.
func coverState(r *api.CoverRequest) string {
	text := word(r.GetState())
	if r.GetTaker() != "" {
		text += " by " + id(r.GetTaker())
	}
	return text
}

// coverWords says what a request asks for.
func (s *session) coverWords(r *api.CoverRequest) string {
	text := fmt.Sprintf("%s in %s from %s to %s", id(r.GetUser()), id(r.GetSchedule()), s.minute(r.GetStartTime()), s.minute(r.GetEndTime()))
	if w := r.GetSwap(); w != nil {
		text += fmt.Sprintf(", for %s from %s to %s", id(w.GetUser()), s.minute(w.GetStartTime()), s.minute(w.GetEndTime()))
	}
	return text
}

type listCoverCmd struct {
	connection
	output
	Schedule string `placeholder:"ID" help:"Only of this schedule."`
	User     string `placeholder:"ID" help:"Only those that this person asks for or could take; me is you."`
	Open     bool   `help:"Only those that nobody has taken."`
}

// Run lists cover requests.
func (c *listCoverCmd) Run(ctx context.Context, s *session, g *grammar) error {
	return c.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		client, all := api.NewOnCallServiceClient(conn), &api.ListCoverRequestsResponse{}
		r := &api.ListCoverRequestsRequest{Schedule: resource("schedules/", c.Schedule), User: resource("users/", c.User), PageSize: 200}
		for {
			page, err := client.ListCoverRequests(ctx, r)
			if err != nil {
				return err
			}
			for _, x := range page.GetCoverRequests() {
				if !c.Open || x.GetState() == api.CoverRequest_STATE_OPEN {
					all.CoverRequests = append(all.CoverRequests, x)
				}
			}
			if r.PageToken = page.GetNextPageToken(); r.GetPageToken() == "" {
				break
			}
		}
		if c.json() {
			return s.printJSON(all)
		}
		if len(all.GetCoverRequests()) == 0 {
			fmt.Fprintln(s.out, "No cover requests.")
			return nil
		}
		t := s.table("ID", "STATE", "ASKED", "NOTE")
		for _, x := range all.GetCoverRequests() {
			t.row(id(x.GetName()), coverState(x), s.coverWords(x), cut(clean(x.GetNote()), 40))
		}
		return t.flush()
	})
}

type acceptCoverCmd struct {
	connection
	output
	Request string `arg:"" help:"Id of the cover request."`
}

// Run takes a request.
func (c *acceptCoverCmd) Run(ctx context.Context, s *session, g *grammar) error {
	return c.do(ctx, s, g, c.output, func(ctx context.Context, client api.OnCallServiceClient) (*api.CoverRequest, error) {
		return client.AcceptCoverRequest(ctx, &api.AcceptCoverRequestRequest{Name: resource("coverRequests/", c.Request), RequestId: uuid.NewString()})
	})
}

type cancelCoverCmd struct {
	connection
	output
	Request string `arg:"" help:"Id of the cover request."`
}

// Run takes a request back.
func (c *cancelCoverCmd) Run(ctx context.Context, s *session, g *grammar) error {
	return c.do(ctx, s, g, c.output, func(ctx context.Context, client api.OnCallServiceClient) (*api.CoverRequest, error) {
		return client.CancelCoverRequest(ctx, &api.CancelCoverRequestRequest{Name: resource("coverRequests/", c.Request), RequestId: uuid.NewString()})
	})
}

// declineCoverCmd is the same call by the one who is asked: a request for cover
// that is no swap is declined by not taking it.
type declineCoverCmd struct{ cancelCoverCmd }
