package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	api "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

type drillCmd struct {
	Start  drillStartCmd  `cmd:"" help:"Begin drills now: your own, or those of a plan."`
	List   drillListCmd   `cmd:"" help:"List drills, latest first."`
	Show   drillShowCmd   `cmd:"" help:"Show one drill, device by device."`
	Cancel drillCancelCmd `cmd:"" help:"End a drill that is running or put off."`
	PutOff drillPutOffCmd `cmd:"" help:"Put a drill of your own off by a day, once."`
	Review drillReviewCmd `cmd:"" help:"Say what came of the drills of a team: heard, missed, how soon."`
}

// drills calls the service of drills.
func (c connection) drills(ctx context.Context, s *session, g *grammar, f func(context.Context, api.DrillServiceClient) error) error {
	return c.call(ctx, s, g, func(ctx context.Context, conn *grpc.ClientConn) error { return f(ctx, api.NewDrillServiceClient(conn)) })
}

type drillStartCmd struct {
	connection
	output
	Plan string `placeholder:"ID" help:"Of everybody whom this plan names. Default: your own."`
	User string `placeholder:"ID" help:"Of this person of the plan alone."`
}

// Run begins drills.
func (c *drillStartCmd) Run(ctx context.Context, s *session, g *grammar) error {
	return c.drills(ctx, s, g, func(ctx context.Context, client api.DrillServiceClient) error {
		r, err := client.StartDrill(ctx, &api.StartDrillRequest{DrillPlan: resource("drillPlans/", c.Plan), User: resource("users/", c.User), RequestId: uuid.NewString()})
		if err != nil {
			return err
		}
		if c.json() {
			return s.printJSON(r)
		}
		if len(r.GetDrills()) == 0 {
			fmt.Fprintln(s.out, "The plan drills nobody at present.")
		}
		for _, d := range r.GetDrills() {
			if d.GetState() == api.Drill_STATE_RUNNING {
				fmt.Fprintf(s.out, "%s is drilled until %s: tocsin drill show %s\n", id(d.GetUser()), s.at(d.GetDeadlineTime()), id(d.GetName()))
			} else {
				fmt.Fprintf(s.out, "%s is not drilled: %s\n", id(d.GetUser()), clean(d.GetReason()))
			}
		}
		return nil
	})
}

type drillListCmd struct {
	connection
	output
	User  string `placeholder:"ID" help:"Of this person; me is you."`
	Team  string `placeholder:"ID" help:"Of plans of this team."`
	Plan  string `placeholder:"ID" help:"Of this plan."`
	Limit int    `default:"50" placeholder:"N" help:"At most so many."`
}

// Run lists drills.
func (c *drillListCmd) Run(ctx context.Context, s *session, g *grammar) error {
	if c.Limit < 1 {
		return usageError{errors.New("--limit: write a number from 1 on")}
	}
	return c.drills(ctx, s, g, func(ctx context.Context, client api.DrillServiceClient) error {
		all := &api.ListDrillsResponse{}
		r := &api.ListDrillsRequest{User: resource("users/", c.User), Team: resource("teams/", c.Team), DrillPlan: resource("drillPlans/", c.Plan)}
		for len(all.GetDrills()) < c.Limit {
			r.PageSize = int32(min(c.Limit-len(all.GetDrills()), 200)) //nolint:gosec // at most 200
			page, err := client.ListDrills(ctx, r)
			if err != nil {
				return err
			}
			all.Drills = append(all.Drills, page.GetDrills()...)
			if r.PageToken = page.GetNextPageToken(); r.GetPageToken() == "" {
				break
			}
		}
		if c.json() {
			return s.printJSON(all)
		}
		if len(all.GetDrills()) == 0 {
			fmt.Fprintln(s.out, "There are no drills.")
			return nil
		}
		t := s.table("DRILL", "PERSON", "BEGAN", "STATE", "HEARD AFTER", "DEVICES")
		for _, d := range all.GetDrills() {
			t.row(id(d.GetName()), id(d.GetUser()), s.shortly(d.GetStartTime()), word(d.GetState()), took(d), heardOn(d))
		}
		return t.flush()
	})
}

// shortly shows an instant to the minute, without the offset.
func (s *session) shortly(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().In(s.zone).Format("2006-01-02 15:04")
}

// took is how soon a drill was heard.
func took(d *api.Drill) string {
	if d.GetResponseTime() == nil {
		return ""
	}
	return span(d.GetResponseTime().AsDuration())
}

// heardOn counts the devices on which a drill was heard: "1 of 2".
func heardOn(d *api.Drill) string {
	n := 0
	for _, x := range d.GetDevices() {
		if x.GetOutcome() == api.Drill_Device_OUTCOME_HEARD {
			n++
		}
	}
	return fmt.Sprintf("%d of %d", n, len(d.GetDevices()))
}

type drillShowCmd struct {
	connection
	output
	Drill string `arg:"" help:"Id of the drill, as tocsin drill list shows it."`
}

// Run shows a drill.
func (c *drillShowCmd) Run(ctx context.Context, s *session, g *grammar) error {
	return c.drills(ctx, s, g, func(ctx context.Context, client api.DrillServiceClient) error {
		d, err := client.GetDrill(ctx, &api.GetDrillRequest{Name: resource("drills/", c.Drill)})
		if err != nil {
			return err
		}
		if c.json() {
			return s.printJSON(d)
		}
		return s.drill(d)
	})
}

// drill shows a drill, and what became of it on each device since it began.
func (s *session) drill(d *api.Drill) error {
	f := s.facts()
	f.row("Drill", id(d.GetName()))
	f.row("Person", id(d.GetUser()))
	f.fact("Plan", id(d.GetDrillPlan()))
	f.fact("Started by", id(d.GetStarter()))
	f.row("State", word(d.GetState()))
	f.fact("Reason", d.GetReason())
	f.row("Began", s.when(d.GetStartTime()))
	f.fact("Ended", s.when(d.GetEndTime()))
	f.fact("Again", s.when(d.GetAgainTime()))
	f.fact("Heard after", took(d))
	if err := f.flush(); err != nil || len(d.GetDevices()) == 0 {
		return err
	}
	fmt.Fprintln(s.out)
	since := func(t *timestamppb.Timestamp) string {
		if t == nil {
			return ""
		}
		return "+" + span(max(t.AsTime().Sub(d.GetStartTime().AsTime()), 0))
	}
	t := s.table("DEVICE", "OUTCOME", "SENT", "RECEIVED", "SHOWN", "HEARD", "CODE")
	for _, x := range d.GetDevices() {
		name := cut(clean(x.GetDeviceDisplayName()), 20)
		if name == "" {
			name = id(x.GetDevice())
		}
		t.row(name, word(x.GetOutcome()), since(x.GetSentTime()), since(x.GetReceivedTime()), since(x.GetDisplayedTime()), since(x.GetHeardTime()), cmp.Or(cut(x.GetCode(), 20), "-"))
	}
	return t.flush()
}

type drillCancelCmd struct {
	connection
	output
	Drill string `arg:"" help:"Id of the drill."`
}

// Run ends a drill.
func (c *drillCancelCmd) Run(ctx context.Context, s *session, g *grammar) error {
	return c.drills(ctx, s, g, func(ctx context.Context, client api.DrillServiceClient) error {
		d, err := client.CancelDrill(ctx, &api.CancelDrillRequest{Name: resource("drills/", c.Drill)})
		if err != nil {
			return err
		}
		if c.json() {
			return s.printJSON(d)
		}
		fmt.Fprintf(s.out, "The drill of %s is %s.\n", id(d.GetUser()), word(d.GetState()))
		return nil
	})
}

type drillPutOffCmd struct {
	connection
	output
	Drill string `arg:"" help:"Id of the drill."`
}

// Run puts a drill off.
func (c *drillPutOffCmd) Run(ctx context.Context, s *session, g *grammar) error {
	return c.drills(ctx, s, g, func(ctx context.Context, client api.DrillServiceClient) error {
		d, err := client.PutOffDrill(ctx, &api.PutOffDrillRequest{Name: resource("drills/", c.Drill)})
		if err != nil {
			return err
		}
		if c.json() {
			return s.printJSON(d)
		}
		fmt.Fprintln(s.out, "The drill is put off by a day. It is held again in the agreed hours.")
		return nil
	})
}

type drillReviewCmd struct {
	connection
	output
	Team  string `arg:"" help:"Id of the team."`
	Since string `placeholder:"TIME" help:"Of drills that began since then; 30d is 30 days ago. Default: 90d."`
}

// Run says what came of the drills of a team.
func (c *drillReviewCmd) Run(ctx context.Context, s *session, g *grammar) error {
	since, err := s.instant("--since", c.Since)
	if err != nil {
		return err
	}
	return c.drills(ctx, s, g, func(ctx context.Context, client api.DrillServiceClient) error {
		r, err := client.ReviewDrills(ctx, &api.ReviewDrillsRequest{Team: resource("teams/", c.Team), StartTime: since})
		if err != nil {
			return err
		}
		if c.json() {
			return s.printJSON(r)
		}
		heard := ""
		if m := r.GetMedianResponseTime(); m != nil {
			heard = ", after " + span(m.AsDuration()) + " in the median"
		}
		fmt.Fprintf(s.out, "%d of %d drills were heard%s; %d were not held.\n", r.GetHeardCount(), r.GetHeardCount()+r.GetMissedCount(), heard, r.GetSkippedCount())
		if len(r.GetPeople()) == 0 {
			return nil
		}
		t := s.table("PERSON", "HEARD", "MISSED", "MEDIAN", "LAST", "STATE")
		for _, p := range r.GetPeople() {
			median := ""
			if m := p.GetMedianResponseTime(); m != nil {
				median = span(m.AsDuration())
			}
			t.row(id(p.GetUser()), strconv.Itoa(int(p.GetHeardCount())), strconv.Itoa(int(p.GetMissedCount())), median, s.shortly(p.GetLastDrill().GetStartTime()), word(p.GetLastDrill().GetState()))
		}
		return t.flush()
	})
}
