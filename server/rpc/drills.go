package rpc

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/drill"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/notify"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

const (
	drillsLookedAt = 200  // at once
	mostDrills     = 2000 // that one page, or one review, looks at
	reviewedDrills = 90 * 24 * time.Hour
)

// sees reports whether the caller may see a drill.
func (c *call) sees(d drill.Drill) bool {
	return c.principal.IsAdmin() || c.principal.Is(d.User) || d.Team != "" && c.principal.ManagerOf(d.Team)
}

// drill returns one that the caller may see. It says the same of others and of none.
func (s *drills) drill(ctx context.Context, name string) (drill.Drill, error) {
	d, err := s.c.Store.Drill(ctx, drill.ID(last(name)))
	if err == nil && !callOf(ctx).sees(d) || err != nil && fault.KindOf(err) == fault.NotFound {
		return drill.Drill{}, missing("name", name)
	}
	return d, err
}

// current is the drill with what is known of its devices at present.
func (s *drills) current(ctx context.Context, d drill.Drill) (drill.Drill, error) {
	if d.State != drill.Running {
		return d, nil
	}
	d.Devices = slices.Clone(d.Devices)
	for i, x := range d.Devices {
		_, dv, found, err := s.c.Store.Delivery(ctx, x.Delivery)
		if err != nil {
			return d, err
		}
		if found {
			d.Devices[i] = x.Seen(dv)
		}
	}
	return d, nil
}

func (s *drills) GetDrill(ctx context.Context, req *pb.GetDrillRequest) (*pb.Drill, error) {
	d, err := s.drill(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	return s.answer(ctx, d)
}

func (s *drills) answer(ctx context.Context, d drill.Drill) (*pb.Drill, error) {
	d, err := s.current(ctx, d)
	if err != nil {
		return nil, err
	}
	return drillMessage(callOf(ctx), d), nil
}

func (s *drills) ListDrills(ctx context.Context, req *pb.ListDrillsRequest) (*pb.ListDrillsResponse, error) {
	c := callOf(ctx)
	var user roster.UserID
	if req.GetUser() != "" {
		var err error
		if user, err = c.user("user", req.GetUser()); err != nil {
			return nil, err
		}
	}
	before, err := s.drillsBefore(req)
	if err != nil {
		return nil, err
	}
	team, plan := roster.TeamID(last(req.GetTeam())), drillPlanID(req.GetDrillPlan())
	keep := func(d drill.Drill) bool {
		return c.sees(d) && (team == "" || d.Team == team) && (plan == "" || d.Plan == plan)
	}
	out := &pb.ListDrillsResponse{}
	size := pageSize(req, usualPage, mostPage)
	for looked := 0; looked < mostDrills; {
		list, err := s.c.Store.Drills(ctx, user, before, drillsLookedAt)
		if err != nil {
			return nil, err
		}
		if len(list) == 0 {
			return out, nil
		}
		looked += len(list)
		for _, d := range list {
			if len(out.GetDrills()) >= size && d.Begun.Before(before) { // those of one instant stay together
				out.NextPageToken = token(req, strconv.FormatInt(before.UnixMilli(), 10))
				return out, nil
			}
			before = d.Begun
			if !keep(d) {
				continue
			}
			m, err := s.answer(ctx, d)
			if err != nil {
				return nil, err
			}
			out.Drills = append(out.Drills, m)
		}
	}
	out.NextPageToken = token(req, strconv.FormatInt(before.UnixMilli(), 10))
	return out, nil
}

// drillsBefore is the instant that a page begins before.
func (s *drills) drillsBefore(req *pb.ListDrillsRequest) (time.Time, error) {
	at, err := place(req)
	if err != nil || at == "" {
		return s.c.Now().Add(time.Hour), err // later than the clock of any instance
	}
	ms, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return time.Time{}, fault.InvalidField("page_token", "is not a token of this list; start again without one")
	}
	return time.UnixMilli(ms), nil
}

func (s *drills) ReviewDrills(ctx context.Context, req *pb.ReviewDrillsRequest) (*pb.ReviewDrillsResponse, error) {
	c, team := callOf(ctx), roster.TeamID(last(req.GetTeam()))
	if _, ok := s.c.Directory.Snapshot().GetTeam(team); !ok {
		return nil, missing("team", req.GetTeam())
	}
	if !c.principal.IsAdmin() && !c.principal.ManagerOf(team) {
		return nil, fault.New(fault.Denied, "NOT_YOURS", "this needs a manager of the team, or an administrator", "name", req.GetTeam())
	}
	since := instant(req.GetStartTime())
	if since.IsZero() {
		since = s.c.Now().Add(-reviewedDrills)
	}
	held, err := s.heldSince(ctx, team, since)
	if err != nil {
		return nil, err
	}
	all := drill.Summarize(held)
	out := &pb.ReviewDrillsResponse{
		HeardCount: int32(all.Heard), MissedCount: int32(all.Missed), SkippedCount: int32(all.Skipped), //nolint:gosec // of at most 2,000
		MedianResponseTime: span(all.Median),
	}
	for _, own := range drill.ByPerson(held) {
		one := drill.Summarize(own)
		out.People = append(out.People, &pb.ReviewDrillsResponse_Person{
			User: userName(own[0].User), HeardCount: int32(one.Heard), MissedCount: int32(one.Missed), //nolint:gosec // as above
			MedianResponseTime: span(one.Median), LastDrill: drillMessage(c, own[0]),
		})
	}
	return out, nil
}

// heldSince returns the drills of a team that are over, the latest first.
func (s *drills) heldSince(ctx context.Context, team roster.TeamID, since time.Time) ([]drill.Drill, error) {
	var all []drill.Drill
	before := s.c.Now().Add(time.Hour)
	for looked := 0; looked < mostDrills; {
		list, err := s.c.Store.Drills(ctx, "", before, drillsLookedAt)
		if err != nil || len(list) == 0 {
			return all, err
		}
		looked += len(list)
		for _, d := range list {
			if before = d.Begun; before.Before(since) {
				return all, nil
			}
			if d.Team == team && d.Over() {
				all = append(all, d)
			}
		}
	}
	return all, nil
}

func (s *drills) StartDrill(ctx context.Context, req *pb.StartDrillRequest) (*pb.StartDrillResponse, error) {
	c, snap := callOf(ctx), s.c.Directory.Snapshot()
	if snap.Settings().Held {
		return nil, fault.New(fault.Precondition, "PAGING_HELD", "all paging is held; run tocsin resume first")
	}
	p, people, err := s.whom(c, snap, req)
	if err != nil {
		return nil, err
	}
	if err := s.tests.take(&call{ip: "drills " + c.name()}, s.c.Now()); err != nil {
		return nil, err
	}
	return configured(ctx, s.Server, req.GetRequestId(), nil, func() (*pb.StartDrillResponse, error) {
		out := &pb.StartDrillResponse{}
		open, err := s.c.Store.OpenDrills(ctx)
		if err != nil {
			return nil, err
		}
		for _, u := range people {
			running := slices.ContainsFunc(open, func(d drill.Drill) bool { return d.User == u && d.State == drill.Running })
			d, err := s.begin(ctx, snap, p, u, running)
			if err != nil {
				return nil, err
			}
			out.Drills = append(out.Drills, drillMessage(c, d))
			if d.State == drill.Running {
				s.audit(ctx, inCollection("drills", d.ID), "start", "drill of "+userName(u))
			}
		}
		return out, nil
	})
}

// whom returns the people that are to be drilled now, and by which plan; nil: the
// caller by himself.
func (s *drills) whom(c *call, snap *directory.Snapshot, req *pb.StartDrillRequest) (*directory.DrillPlan, []roster.UserID, error) {
	user := c.principal.User
	if req.GetUser() != "" {
		var err error
		if user, err = c.user("user", req.GetUser()); err != nil {
			return nil, nil, err
		}
	}
	if req.GetDrillPlan() == "" {
		switch {
		case user == "":
			return nil, nil, fault.InvalidField("drill_plan", "say by which plan")
		case !c.principal.Is(user):
			return nil, nil, fault.New(fault.Denied, "NOT_YOURS", "another person is drilled by a plan that names him; name it in drill_plan", "user", userName(user))
		}
		return nil, []roster.UserID{user}, nil
	}
	p, err := s.plan(snap, "drill_plan", drillPlanID(req.GetDrillPlan()))
	if err != nil {
		return nil, nil, err
	}
	people := snap.Drilled(p, s.c.Now())
	if req.GetUser() != "" {
		if !slices.Contains(people, user) {
			return nil, nil, fault.InvalidField("user", "the plan does not drill %s at present", user)
		}
		people = []roster.UserID{user}
	}
	if len(people) == 1 && c.principal.Is(people[0]) {
		return p, people, nil
	}
	_, err = c.plans(p)
	return p, people, err
}

// begin writes down that a person is drilled from now on; the loop that follows
// drills sends the test pages. One whose time it is not is returned as skipped, and
// not written down.
func (s *drills) begin(ctx context.Context, snap *directory.Snapshot, p *directory.DrillPlan, user roster.UserID, running bool) (drill.Drill, error) {
	now, c := s.c.Now(), callOf(ctx)
	limit := drill.DefaultLimit
	if p != nil {
		limit = p.Limit
	}
	d := drill.New(drill.ID(auth.NewID()), user, now, limit)
	d.By = c.principal.User
	if p != nil {
		d.Plan, d.Team = p.ID, p.Team
	}
	busy, err := s.c.Store.Responding(ctx, user)
	if err != nil {
		return d, err
	}
	reason := ""
	switch {
	case running:
		reason = "A drill is running."
	case busy:
		reason = "There is an incident to respond to."
	case c.principal.Is(user): // by himself, at whatever hour
	case p != nil && !snap.MayDrill(p, user, now):
		reason = "It is outside the agreed hours."
	}
	if reason != "" {
		return d.End(drill.Skipped, reason, now), nil
	}
	if d.Devices, err = snap.DrillDevices(user, func(id roster.DeviceID) (string, error) { return notify.DrillDelivery(user, id, d.ID) }); err != nil {
		return d, err
	}
	_, err = s.c.Store.PutDrill(ctx, d)
	return d, err
}

// change changes a drill that the caller sees, again when it has moved on meanwhile.
func (s *drills) change(ctx context.Context, name string, f func(drill.Drill) (drill.Drill, error)) (*pb.Drill, error) {
	for range 5 {
		d, err := s.drill(ctx, name)
		if err != nil {
			return nil, err
		}
		now, err := f(d)
		if err != nil {
			return nil, err
		}
		if now.State == d.State {
			return s.answer(ctx, d)
		}
		switch kept, err := s.c.Store.PutDrill(ctx, now); {
		case err != nil:
			return nil, err
		case kept:
			s.audit(ctx, name, now.State.String(), "")
			return s.answer(ctx, now)
		}
	}
	return nil, fault.New(fault.Conflict, "REVISION_MOVED", "the drill keeps changing; try again", "name", name)
}

func over(d drill.Drill) error {
	return fault.New(fault.Precondition, "DRILL_OVER", "the drill has come to its end", "state", d.State.String())
}

func (s *drills) CancelDrill(ctx context.Context, req *pb.CancelDrillRequest) (*pb.Drill, error) {
	c := callOf(ctx)
	return s.change(ctx, req.GetName(), func(d drill.Drill) (drill.Drill, error) {
		switch {
		case d.State == drill.Cancelled:
			return d, nil
		case d.Over():
			return d, over(d)
		case !c.principal.IsAdmin() && !(d.Team != "" && c.principal.ManagerOf(d.Team)) && !(c.principal.Is(d.User) && d.By == d.User):
			return d, fault.New(fault.Denied, "NOT_YOURS", "this needs a manager of the team whose plan it is, or an administrator; one's own can be put off once")
		}
		return d.End(drill.Cancelled, "It was cancelled.", s.c.Now()), nil
	})
}

func (s *drills) PutOffDrill(ctx context.Context, req *pb.PutOffDrillRequest) (*pb.Drill, error) {
	c, snap := callOf(ctx), s.c.Directory.Snapshot()
	return s.change(ctx, req.GetName(), func(d drill.Drill) (drill.Drill, error) {
		p, ok := snap.GetDrillPlan(d.Plan)
		switch {
		case !c.principal.Is(d.User):
			return d, fault.New(fault.Denied, "NOT_YOURS", "only the person who is drilled can put it off")
		case d.State == drill.PutOff && !d.Over():
			return d, nil
		case d.Over():
			return d, over(d)
		case !ok:
			return d, fault.New(fault.Precondition, "DRILL_OVER", "the drill is of no plan by which it could be held again; cancel it instead", "state", d.State.String())
		case d.Twice:
			return d, fault.New(fault.Precondition, "PUT_OFF_BEFORE", "the drill was put off already; a manager of the team can cancel it")
		}
		u, _ := snap.User(d.User)
		now := d
		now.State, now.Again = drill.PutOff, p.Again(s.c.Now(), snap.Zone(u.Zone))
		return now, nil
	})
}

var drillStates = map[drill.State]pb.Drill_State{ //nolint:gochecknoglobals // look-up table
	drill.Running: pb.Drill_STATE_RUNNING, drill.Heard: pb.Drill_STATE_HEARD, drill.Missed: pb.Drill_STATE_MISSED,
	drill.Skipped: pb.Drill_STATE_SKIPPED, drill.Cancelled: pb.Drill_STATE_CANCELLED, drill.PutOff: pb.Drill_STATE_PUT_OFF,
}

var drillOutcomes = map[drill.Outcome]pb.Drill_Device_Outcome{ //nolint:gochecknoglobals // look-up table
	drill.Sent: pb.Drill_Device_OUTCOME_SENT, drill.Received: pb.Drill_Device_OUTCOME_RECEIVED, drill.Displayed: pb.Drill_Device_OUTCOME_DISPLAYED,
	drill.OnDevice: pb.Drill_Device_OUTCOME_HEARD, drill.Refused: pb.Drill_Device_OUTCOME_REFUSED,
	drill.Suppressed: pb.Drill_Device_OUTCOME_SUPPRESSED, drill.NotHeard: pb.Drill_Device_OUTCOME_NOT_HEARD,
}

// drillMessage is a drill as the caller may see it: the person himself is not told when
// one that he has put off is held again.
func drillMessage(c *call, d drill.Drill) *pb.Drill {
	m := &pb.Drill{
		Name: inCollection("drills", d.ID), User: userName(d.User), State: drillStates[d.State], Reason: d.Reason,
		StartTime: stamp(d.Begun), DeadlineTime: stamp(d.Deadline), EndTime: stamp(d.Ended),
	}
	if d.Plan != "" {
		m.DrillPlan = inCollection("drillPlans", d.Plan)
	}
	if d.Team != "" {
		m.Team = teamName(d.Team)
	}
	if d.By != "" {
		m.Starter = userName(d.By)
	}
	if !c.principal.Is(d.User) {
		m.AgainTime = stamp(d.Again)
	}
	if took, ok := d.Response(); ok {
		m.ResponseTime = durationpb.New(took)
	}
	for _, x := range d.Devices {
		one := &pb.Drill_Device{
			Device: deviceName(x.ID), DeviceDisplayName: x.Name, Outcome: drillOutcomes[x.Outcome], SentTime: stamp(x.Sent), ReceivedTime: stamp(x.Received),
			DisplayedTime: stamp(x.Displayed), HeardTime: stamp(x.Heard), Code: x.Reason, TestPush: "testPushes/" + strings.ReplaceAll(x.Delivery, "-", ""),
		}
		if !x.Heard.IsZero() {
			one.ResponseTime = durationpb.New(max(x.Heard.Sub(d.Begun), 0))
		}
		m.Devices = append(m.Devices, one)
	}
	return m
}

// heardTest takes a tap on the card of a test for what it is: the person heard it.
func (s *devices) heardTest(ctx context.Context, delivery string) (*pb.ActResponse, error) {
	if err := s.c.Notifier.Acted(ctx, delivery); err != nil {
		return nil, err
	}
	t, err := s.c.Notifier.GetTest(ctx, strings.ReplaceAll(delivery, "-", ""))
	if err != nil {
		return nil, err
	}
	s.c.Notifier.Judged(ctx, t)
	return &pb.ActResponse{Outcome: pb.ActResponse_OUTCOME_DONE, Changed: true, ServerTime: stamp(s.c.Now())}, nil
}
