package rpc

import (
	"context"
	"time"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/calendar"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// vacationsAhead is how far ahead vacations are held against shifts.
const vacationsAhead = 90 * 24 * time.Hour

func (s *calendars) CheckVacations(ctx context.Context, req *pb.CheckVacationsRequest) (*pb.CheckVacationsResponse, error) {
	id, err := callOf(ctx).user("user", req.GetUser())
	if err != nil {
		return nil, err
	}
	snap := s.c.Directory.Snapshot()
	u, ok := snap.GetUser(id)
	switch {
	case !ok:
		return nil, missing("user", userName(id))
	case s.c.Fetch == nil:
		return nil, fault.New(fault.Precondition, "NO_CALENDARS", "this server reads no calendars of others")
	}
	raw, err := s.c.Fetch(ctx, req.GetUrl())
	if err != nil {
		return nil, err
	}
	from := s.c.Now()
	to := from.Add(vacationsAhead)
	away, err := calendar.Absences(raw, snap.Zone(u.Zone), from, to)
	if err != nil {
		return nil, err
	}
	var plan schedule.Plan
	out := &pb.CheckVacationsResponse{}
	for _, a := range away {
		plan.Absences = append(plan.Absences, schedule.Absence{User: id, Start: a.Start, End: a.End})
		out.Absences = append(out.Absences, &pb.CheckVacationsResponse_Absence{StartTime: stamp(a.Start), EndTime: stamp(a.End), Title: a.Title})
	}
	for _, name := range snap.SchedulesOf(id) {
		turns, err := snap.Turns(name)
		if err != nil {
			return nil, err
		}
		plan.Stints = append(plan.Stints, turns.Held(id, from, to)...)
	}
	for _, c := range plan.Conflicts() {
		if c.Kind == schedule.OnVacation {
			out.Conflicts = append(out.Conflicts, &pb.CheckVacationsResponse_Conflict{
				Schedule: scheduleName(c.Schedules[0]), StartTime: stamp(c.Start), EndTime: stamp(c.End),
			})
		}
	}
	return out, nil
}
