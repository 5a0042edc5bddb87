package rpc

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/drill"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// drills is tocsin.v1.DrillService.
type drills struct {
	pb.UnimplementedDrillServiceServer
	*Server
}

// plans refuses who may not make or change a plan of drills, and returns in whose
// name the others do: an administrator any, a manager those of the team, and everybody
// one without a team that drills himself alone.
func (c *call) plans(all ...*directory.DrillPlan) (directory.By, error) {
	by := c.by()
	for _, p := range all {
		switch {
		case c.principal.IsAdmin():
		case p.Team != "" && c.principal.ManagerOf(p.Team):
			by.Within = append([]roster.TeamID{}, c.principal.Manages...) // what it names besides has to be theirs, too
		case p.Team == "" && drillsAlone(p, c.principal):
		default:
			return by, fault.New(fault.Denied, "NOT_YOURS", "a plan of drills needs an administrator or a manager of its team; without a team, it may drill nobody but yourself",
				"name", directory.KeyOf(p).String())
		}
	}
	return by, nil
}

func drillsAlone(p *directory.DrillPlan, who auth.Principal) bool {
	return len(p.People) == 1 && p.People[0].Kind == escalation.UserTarget && who.Is(roster.UserID(p.People[0].ID))
}

func drillPlanID(name string) drill.PlanID { return drill.PlanID(last(name)) }

func (s *drills) plan(snap *directory.Snapshot, field string, id drill.PlanID) (*directory.DrillPlan, error) {
	p, ok := snap.GetDrillPlan(id)
	if !ok {
		return nil, missing(field, inCollection("drillPlans", id))
	}
	return p, nil
}

func (s *drills) read(snap *directory.Snapshot, id drill.PlanID) (*pb.DrillPlan, error) {
	p, err := s.plan(snap, "name", id)
	if err != nil {
		return nil, err
	}
	return drillPlanMessage(p), nil
}

func (s *drills) GetDrillPlan(_ context.Context, req *pb.GetDrillPlanRequest) (*pb.DrillPlan, error) {
	return s.read(s.c.Directory.Snapshot(), drillPlanID(req.GetName()))
}

func (s *drills) ListDrillPlans(_ context.Context, req *pb.ListDrillPlansRequest) (*pb.ListDrillPlansResponse, error) {
	team := roster.TeamID(last(req.GetTeam()))
	page, next, err := byNamePage(req, usualPage, mostPage, s.c.Directory.Snapshot().DrillPlans(), func(p *directory.DrillPlan) bool {
		return team == "" || p.Team == team
	})
	if err != nil {
		return nil, err
	}
	return &pb.ListDrillPlansResponse{DrillPlans: each(page, drillPlanMessage), NextPageToken: next}, nil
}

func (s *drills) CreateDrillPlan(ctx context.Context, req *pb.CreateDrillPlanRequest) (*pb.DrillPlan, error) {
	c := callOf(ctx)
	return configured(ctx, s.Server, req.GetRequestId(), nil, func() (*pb.DrillPlan, error) {
		p, err := drillPlanOf(c, req.GetDrillPlan())
		if err != nil {
			return nil, err
		}
		by, err := c.plans(p)
		if err != nil {
			return nil, err
		}
		p.Seed = directory.NewDrillSeed()
		snap, err := s.c.Directory.Change(ctx, by, func(e *directory.Edit) error {
			p.ID = drill.PlanID(freeID(e, directory.KindDrillPlan, req.GetDrillPlanId(), p.Name))
			return e.Create(p)
		})
		if err != nil {
			return nil, inField("drill_plan", err)
		}
		return s.read(snap, p.ID)
	})
}

func (s *drills) UpdateDrillPlan(ctx context.Context, req *pb.UpdateDrillPlanRequest) (*pb.DrillPlan, error) {
	c, id := callOf(ctx), drillPlanID(req.GetDrillPlan().GetName())
	return configured(ctx, s.Server, req.GetRequestId(), nil, func() (*pb.DrillPlan, error) {
		changed := func(snap *directory.Snapshot) (was, now *directory.DrillPlan, err error) {
			if was, err = s.plan(snap, "drill_plan.name", id); err != nil {
				return nil, nil, err
			}
			m := drillPlanMessage(was)
			if _, err := update(m, req.GetDrillPlan(), req.GetUpdateMask()); err != nil {
				return nil, nil, err
			}
			if now, err = drillPlanOf(c, m); err != nil {
				return nil, nil, err
			}
			now.ID, now.Seed, now.Meta = id, was.Seed, was.Meta
			return was, now, nil
		}
		was, now, err := changed(s.c.Directory.Snapshot())
		if err != nil {
			return nil, err
		}
		by, err := c.plans(was, now)
		if err != nil {
			return nil, err
		}
		snap, err := s.c.Directory.Change(ctx, by, func(e *directory.Edit) error {
			was, now, err := changed(e.Snapshot)
			if err != nil {
				return err
			}
			if _, err := c.plans(was, now); err != nil { // it may have changed hands meanwhile
				return err
			}
			return e.Update(now, unquote(req.GetDrillPlan().GetEtag()))
		})
		if err != nil {
			return nil, inField("drill_plan", err)
		}
		return s.read(snap, id)
	})
}

func (s *drills) DeleteDrillPlan(ctx context.Context, req *pb.DeleteDrillPlanRequest) (*emptypb.Empty, error) {
	p, err := s.plan(s.c.Directory.Snapshot(), "name", drillPlanID(req.GetName()))
	if err != nil {
		return nil, err
	}
	if _, err := callOf(ctx).plans(p); err != nil {
		return nil, err
	}
	return s.remove(ctx, req.GetRequestId(), directory.KeyOf(p), cmp.Or(req.GetEtag(), quote(p.ETag())))
}

func drillPlanMessage(p *directory.DrillPlan) *pb.DrillPlan {
	m := &pb.DrillPlan{
		Name: directory.KeyOf(p).String(), DisplayName: p.Name, People: each(p.People, func(t escalation.Target) string { return targetCollections[t.Kind] + t.ID }),
		Interval: durationpb.New(p.Every), Limit: durationpb.New(p.Limit), Night: p.Night, OnCallWithin: span(p.OnCall),
		Hours:      &pb.DrillHours{Days: each(p.Days, day), Start: clockTime(p.Start), End: clockTime(p.End)},
		CreateTime: stamp(p.Created), UpdateTime: stamp(p.Updated), Etag: quote(p.ETag()),
	}
	if p.Team != "" {
		m.Team = teamName(p.Team)
	}
	return m
}

// drillPlanOf is the reverse, without the id and the seed.
func drillPlanOf(c *call, m *pb.DrillPlan) (*directory.DrillPlan, error) {
	h := m.GetHours()
	p := &directory.DrillPlan{Plan: drill.Plan{
		Name: m.GetDisplayName(), Team: roster.TeamID(last(m.GetTeam())), Night: m.GetNight(), OnCall: m.GetOnCallWithin().AsDuration(),
		Every: cmp.Or(m.GetInterval().AsDuration(), drill.DefaultEvery), Limit: cmp.Or(m.GetLimit().AsDuration(), drill.DefaultLimit),
		Start: clockOr(h.GetStart(), drill.DefaultStart), End: clockOr(h.GetEnd(), drill.DefaultEnd), Days: each(h.GetDays(), dayOf),
	}}
	for i, name := range m.GetPeople() {
		if name == "users/me" {
			user, err := c.user("drill_plan.people", name)
			if err != nil {
				return nil, err
			}
			name = userName(user)
		}
		t := targetOf(&pb.EscalationTarget{Name: name})
		if t.ID == "" {
			return nil, fault.InvalidField(fmt.Sprintf("drill_plan.people[%d]", i), "%q is no name of a user, schedule or team", name)
		}
		p.People = append(p.People, t)
	}
	if len(p.Days) == 0 {
		p.Days = drill.Workdays()
	}
	return p, nil
}

func clockOr(text string, usual time.Duration) time.Duration {
	if text == "" {
		return usual
	}
	return timeOfDay(text)
}
