package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	api "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

type calendarCmd struct {
	Feeds     feedsCmd      `cmd:"" help:"List the addresses at which calendar programs read shifts."`
	New       newFeedCmd    `cmd:"" help:"Make such an address: a secret, shown this once."`
	Revoke    revokeFeedCmd `cmd:"" help:"Take such an address back."`
	Vacations vacationsCmd  `cmd:"" help:"Say where somebody is on call while away, by a calendar of vacations that the server reads."`
}

// calendars calls the service of calendars.
func (c connection) calendars(ctx context.Context, s *session, g *grammar, f func(context.Context, api.CalendarServiceClient) error) error {
	return c.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error {
		return f(ctx, api.NewCalendarServiceClient(conn))
	})
}

type feedsCmd struct {
	connection
	output
	Revoked bool `help:"Those that were taken back as well."`
}

// Run lists feeds.
func (c *feedsCmd) Run(ctx context.Context, s *session, g *grammar) error {
	return c.calendars(ctx, s, g, func(ctx context.Context, client api.CalendarServiceClient) error {
		all := &api.ListCalendarFeedsResponse{}
		for r := (&api.ListCalendarFeedsRequest{ShowRevoked: c.Revoked, PageSize: 200}); ; {
			page, err := client.ListCalendarFeeds(ctx, r)
			if err != nil {
				return err
			}
			all.CalendarFeeds = append(all.CalendarFeeds, page.GetCalendarFeeds()...)
			if r.PageToken = page.GetNextPageToken(); r.GetPageToken() == "" {
				break
			}
		}
		if c.json() {
			return s.printJSON(all)
		}
		if len(all.GetCalendarFeeds()) == 0 {
			fmt.Fprintln(s.out, "There are no calendar feeds.")
			return nil
		}
		t := s.table("FEED", "OF", "OWNER", "ENDS IN", "MADE", "REVOKED")
		for _, f := range all.GetCalendarFeeds() {
			t.row(id(f.GetName()), feedOf(f), id(f.GetOwner()), f.GetHint(), s.shortly(f.GetCreateTime()), cmp.Or(s.shortly(f.GetRevokeTime()), "-"))
		}
		return t.flush()
	})
}

// feedOf names what a feed shows: "users/ann".
func feedOf(f *api.CalendarFeed) string {
	return f.GetUser() + f.GetTeam() + f.GetSchedule() // one of them is set
}

type newFeedCmd struct {
	connection
	output
	User     string `xor:"of" placeholder:"ID" help:"Of this person's shifts; me is you, and the default."`
	Team     string `xor:"of" placeholder:"ID" help:"Of the shifts of all schedules of this team."`
	Schedule string `xor:"of" placeholder:"ID" help:"Of the shifts of this schedule."`
}

// Run makes a feed.
func (c *newFeedCmd) Run(ctx context.Context, s *session, g *grammar) error {
	if c.User+c.Team+c.Schedule == "" {
		c.User = "me"
	}
	return c.calendars(ctx, s, g, func(ctx context.Context, client api.CalendarServiceClient) error {
		r, err := client.CreateCalendarFeed(ctx, &api.CreateCalendarFeedRequest{RequestId: uuid.NewString(), CalendarFeed: &api.CalendarFeed{
			User: resource("users/", c.User), Team: resource("teams/", c.Team), Schedule: resource("schedules/", c.Schedule),
		}})
		if err != nil {
			return err
		}
		if c.json() {
			return s.printJSON(r)
		}
		fmt.Fprintf(s.out, "%s\nSubscribe to it in a calendar program. Whoever knows it may read; it is shown\nthis once. Take it back: tocsin calendar revoke %s\n",
			clean(r.GetUrl()), id(r.GetCalendarFeed().GetName()))
		return nil
	})
}

type revokeFeedCmd struct {
	connection
	output
	Feed string `arg:"" help:"Id of the feed, as tocsin calendar feeds shows it."`
}

// Run takes a feed back.
func (c *revokeFeedCmd) Run(ctx context.Context, s *session, g *grammar) error {
	return c.calendars(ctx, s, g, func(ctx context.Context, client api.CalendarServiceClient) error {
		f, err := client.RevokeCalendarFeed(ctx, &api.RevokeCalendarFeedRequest{Name: resource("calendarFeeds/", c.Feed)})
		if err != nil {
			return err
		}
		if c.json() {
			return s.printJSON(f)
		}
		fmt.Fprintf(s.out, "The feed of %s that ends in %s is taken back.\n", feedOf(f), clean(f.GetHint()))
		return nil
	})
}

type vacationsCmd struct {
	connection
	output
	User   string `arg:"" optional:"" default:"me" help:"Whose; me is you."`
	Read   string `xor:"do" placeholder:"URL" help:"Have the server read the calendar at this https or webcal address from now on."`
	Check  string `xor:"do" placeholder:"URL" help:"Only look at the calendar at this address, and keep nothing of it."`
	Forget bool   `xor:"do" help:"Forget the calendar, and what was read of it."`
}

// Run looks at vacations, or has them read or forgotten.
func (c *vacationsCmd) Run(ctx context.Context, s *session, g *grammar) error {
	user := resource("users/", c.User)
	if user == "" {
		return usageError{errors.New("name the person")}
	}
	return c.calendars(ctx, s, g, func(ctx context.Context, client api.CalendarServiceClient) error {
		switch {
		case c.Forget:
			if _, err := client.DeleteVacationCalendar(ctx, &api.DeleteVacationCalendarRequest{User: user}); err != nil {
				return err
			}
			if !c.json() {
				fmt.Fprintf(s.out, "The calendar of %s is forgotten.\n", c.User)
			}
			return nil
		case c.Check != "":
			r, err := client.CheckVacations(ctx, &api.CheckVacationsRequest{User: user, Url: c.Check})
			if err != nil {
				return err
			}
			if c.json() {
				return s.printJSON(r)
			}
			var stays, turns []stay
			for _, a := range r.GetAbsences() {
				stays = append(stays, stay{"", a})
			}
			for _, x := range r.GetConflicts() {
				turns = append(turns, stay{x.GetSchedule(), x})
			}
			return s.vacations(stays, turns)
		}
		v, err := c.kept(ctx, client, user)
		if err != nil {
			return err
		}
		if c.json() {
			return s.printJSON(v)
		}
		f := s.facts()
		f.row("Person", id(v.GetUser()))
		f.row("Calendar at", v.GetHost())
		f.row("Read", s.when(v.GetReadTime()))
		if v.GetError() != "" {
			f.row("Tried", s.when(v.GetTryTime()))
			f.row("Fault", v.GetError())
		}
		if err := f.flush(); err != nil {
			return err
		}
		var stays, turns []stay
		for _, a := range v.GetAbsences() {
			stays = append(stays, stay{"", a})
		}
		for _, x := range v.GetConflicts() {
			turns = append(turns, stay{x.GetSchedule(), x})
		}
		return s.vacations(stays, turns)
	})
}

// kept is what the server keeps of the calendar, after it is set if that was asked for.
func (c *vacationsCmd) kept(ctx context.Context, client api.CalendarServiceClient, user string) (*api.VacationCalendar, error) {
	if c.Read != "" {
		return client.SetVacationCalendar(ctx, &api.SetVacationCalendarRequest{User: user, Url: c.Read})
	}
	return client.GetVacationCalendar(ctx, &api.GetVacationCalendarRequest{User: user})
}

// stay is a stretch of time, and the schedule that it is a turn of, if it is one.
type stay struct {
	schedule string
	stretch
}

// stretch is what every message has that begins and ends.
type stretch interface {
	GetStartTime() *timestamppb.Timestamp
	GetEndTime() *timestamppb.Timestamp
}

// vacations lists when somebody is away, and where that meets his turns.
func (s *session) vacations(stays, turns []stay) error {
	if len(stays) == 0 {
		fmt.Fprintln(s.out, "Nothing in it lies ahead.")
		return nil
	}
	fmt.Fprintln(s.out, "\nAway:")
	t := s.listing()
	for _, a := range stays {
		t.row(s.shortly(a.GetStartTime()), "to "+s.shortly(a.GetEndTime()))
	}
	if err := t.flush(); err != nil {
		return err
	}
	if len(turns) == 0 {
		fmt.Fprintln(s.out, "\nNo turn on call meets it in the next 90 days.")
		return nil
	}
	fmt.Fprintln(s.out, "\nOn call then, until somebody covers:")
	t = s.listing()
	for _, x := range turns {
		t.row(s.shortly(x.GetStartTime()), "to "+s.shortly(x.GetEndTime()), id(x.schedule))
	}
	return t.flush()
}
