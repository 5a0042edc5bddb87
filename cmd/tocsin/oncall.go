package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	api "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

type oncallCmd struct {
	Who      whoCmd            `cmd:"" default:"withargs" help:"Say who is on call (what tocsin oncall does by itself)."`
	Shifts   shiftsCmd         `cmd:"" help:"List the turns of a person, a schedule or a team over a time."`
	Take     takeCmd           `cmd:"" help:"Take a schedule now, in your name, in place of whoever is on call."`
	Override overrideCmd       `cmd:"" help:"Put somebody on call for a time, list and remove such overrides."`
	Cover    coverCmd          `cmd:"" help:"Ask others to take your time over or to swap, and answer them."`
	Explain  explainOncallCmd  `cmd:"" help:"Say why somebody is on call: overrides and layers, and what became of each."`
	Handoff  handoffCmd        `cmd:"" help:"Show what goes to the next person on call, take it, or leave a note for it."`
	Review   reviewScheduleCmd `cmd:"" help:"Look 90 days ahead: gaps, conflicts, and how time is shared."`
}

// oncallTime is how instants of schedules are shown: to the minute, with the offset.
const oncallTime = "2006-01-02 15:04 -07:00"

func (s *session) minute(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().In(s.zone).Format(oncallTime)
}

// holder names who is on call; of a gap, nobody.
func holder(user string) string {
	if user == "" {
		return "nobody"
	}
	return id(user)
}

type whoCmd struct {
	connection
	output
	At       string `placeholder:"TIME" help:"At this instant; 7d is 7 days ago, +7d is ahead. Default: now."`
	Schedule string `xor:"of" placeholder:"ID" help:"Of this schedule."`
	Policy   string `xor:"of" placeholder:"ID" help:"Of this escalation policy."`
	Service  string `xor:"of" placeholder:"ID" help:"For this service."`
	Team     string `xor:"of" placeholder:"ID" help:"Of the policies of this team."`
	User     string `xor:"of" placeholder:"ID" help:"Where this person is on call; me is you."`
}

// Run says who is on call.
func (c *whoCmd) Run(ctx context.Context, s *session, g *grammar) error {
	at, err := s.instant("--at", c.At)
	if err != nil {
		return err
	}
	r := &api.ListOnCallRequest{
		Time: at, PageSize: 200, Schedule: resource("schedules/", c.Schedule), EscalationPolicy: resource("escalationPolicies/", c.Policy),
		Service: resource("services/", c.Service), Team: resource("teams/", c.Team), User: resource("users/", c.User),
	}
	return c.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		all := &api.ListOnCallResponse{}
		for {
			page, err := api.NewOnCallServiceClient(conn).ListOnCall(ctx, r)
			if err != nil {
				return err
			}
			all.OnCall = append(all.OnCall, page.GetOnCall()...)
			if r.PageToken = page.GetNextPageToken(); r.GetPageToken() == "" {
				break
			}
		}
		if c.json() {
			return s.printJSON(all)
		}
		if len(all.GetOnCall()) == 0 {
			fmt.Fprintln(s.out, "Nobody is on call.")
			return nil
		}
		t := s.table("POLICY", "LEVEL", "SCHEDULE", "ON CALL", "SINCE", "UNTIL")
		for _, o := range all.GetOnCall() {
			level := ""
			if o.GetLevel() > 0 {
				level = strconv.Itoa(int(o.GetLevel()))
			}
			t.row(id(o.GetEscalationPolicy()), level, id(o.GetSchedule()), holder(o.GetUser()), s.minute(o.GetStartTime()), s.minute(o.GetEndTime()))
		}
		return t.flush()
	})
}

// resource is the name of a resource by its id; empty for none.
func resource(collection, id string) string {
	if id == "" {
		return ""
	}
	return named(collection, []string{id})[0]
}

type takeCmd struct {
	connection
	output
	Schedule string        `arg:"" help:"Id of the schedule."`
	For      time.Duration `required:"" placeholder:"DURATION" help:"For how long, up to 24h: 2h."`
}

// Run puts the caller on call.
func (c *takeCmd) Run(ctx context.Context, s *session, g *grammar) error {
	return c.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		o, err := api.NewOnCallServiceClient(conn).TakeOnCall(ctx, &api.TakeOnCallRequest{Schedule: resource("schedules/", c.Schedule), Duration: durationpb.New(c.For)})
		if err != nil {
			return err
		}
		if c.json() {
			return s.printJSON(o)
		}
		fmt.Fprintf(s.out, "%s is on call in %s until %s.\n", holder(o.GetUser()), id(o.GetSchedule()), s.minute(o.GetEndTime()))
		return nil
	})
}

type explainOncallCmd struct {
	connection
	output
	Schedule string `arg:"" help:"Id of the schedule."`
	At       string `placeholder:"TIME" help:"At this instant; 7d is 7 days ago, +7d is ahead. Default: now."`
}

// Run says why somebody is on call.
func (c *explainOncallCmd) Run(ctx context.Context, s *session, g *grammar) error {
	at, err := s.instant("--at", c.At)
	if err != nil {
		return err
	}
	return c.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		why, err := api.NewScheduleServiceClient(conn).ExplainSchedule(ctx, &api.ExplainScheduleRequest{Name: resource("schedules/", c.Schedule), Time: at})
		if err != nil {
			return err
		}
		if c.json() {
			return s.printJSON(why)
		}
		fmt.Fprintf(s.out, "%s is on call in %s, from %s to %s.\n", holder(why.GetShift().GetUser()), id(why.GetShift().GetSchedule()),
			s.minute(why.GetShift().GetStartTime()), s.minute(why.GetShift().GetEndTime()))
		for _, r := range why.GetReasons() {
			fmt.Fprintln(s.out, "  "+clean(r.GetText()))
		}
		return nil
	})
}

type reviewScheduleCmd struct {
	connection
	output
	Schedule string `arg:"" help:"Id of the schedule."`
}

// Run says what is doubtful about a schedule.
func (c *reviewScheduleCmd) Run(ctx context.Context, s *session, g *grammar) error {
	return c.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		r, err := api.NewScheduleServiceClient(conn).ReviewSchedule(ctx, &api.ReviewScheduleRequest{Name: resource("schedules/", c.Schedule)})
		if err != nil {
			return err
		}
		if c.json() {
			return s.printJSON(r)
		}
		fmt.Fprintf(s.out, "Score %d: %d %% covered, balance %d (nights %d, weekends %d).\n", r.GetScore(), r.GetCoverage(), r.GetBalance(), r.GetNightBalance(), r.GetWeekendBalance())
		for _, x := range r.GetGaps() {
			fmt.Fprintf(s.out, "nobody is on call from %s to %s\n", s.minute(x.GetStartTime()), s.minute(x.GetEndTime()))
		}
		for _, x := range r.GetConflicts() {
			fmt.Fprintf(s.out, "%s, from %s to %s\n", clean(x.GetText()), s.minute(x.GetStartTime()), s.minute(x.GetEndTime()))
		}
		t := s.table("PERSON", "TOTAL", "NIGHTS", "HOURS AT NIGHT", "OF WEEKENDS")
		for _, x := range r.GetShares() {
			t.row(id(x.GetUser()), span(x.GetTotal().AsDuration()), strconv.Itoa(int(x.GetNightCount())), span(x.GetNights().AsDuration()), span(x.GetWeekends().AsDuration()))
		}
		return t.flush()
	})
}
