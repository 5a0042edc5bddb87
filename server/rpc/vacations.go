package rpc

import (
	"context"
	"net/url"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/calendar"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
	"github.com/tocsin-oncall/tocsin/server/store"
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
	if !ok {
		return nil, missing("user", userName(id))
	}
	from := s.c.Now()
	to := from.Add(vacationsAhead)
	away, err := s.absences(ctx, req.GetUrl(), snap.Zone(u.Zone), from, to)
	if err != nil {
		return nil, err
	}
	var absences []schedule.Absence
	out := &pb.CheckVacationsResponse{}
	for _, a := range away {
		absences = append(absences, schedule.Absence{User: id, Start: a.Start, End: a.End})
		out.Absences = append(out.Absences, &pb.CheckVacationsResponse_Absence{StartTime: stamp(a.Start), EndTime: stamp(a.End), Title: a.Title})
	}
	for _, c := range snap.Away(id, absences, from, to) {
		out.Conflicts = append(out.Conflicts, &pb.CheckVacationsResponse_Conflict{
			Schedule: scheduleName(c.Schedules[0]), StartTime: stamp(c.Start), EndTime: stamp(c.End),
		})
	}
	return out, nil
}

// absences reads what a calendar of others says of [from, to), on the wall of a zone.
func (s *calendars) absences(ctx context.Context, address string, zone *time.Location, from, to time.Time) ([]calendar.Absence, error) {
	if s.c.Fetch == nil {
		return nil, fault.New(fault.Precondition, "NO_CALENDARS", "this server reads no calendars of others")
	}
	raw, err := s.c.Fetch(ctx, address)
	if err != nil {
		return nil, err
	}
	return calendar.Absences(raw, zone, from, to)
}

// vacationer is the person whose calendar of vacations is named, if the caller may
// see to it: the person, an administrator, or who manages a team that he is in.
func (s *calendars) vacationer(ctx context.Context, snap *directory.Snapshot, name string) (*directory.User, error) {
	c := callOf(ctx)
	id, err := c.user("user", name)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(snap.TeamsOf(id), c.principal.ManagerOf) {
		if err := c.mine(id); err != nil {
			return nil, err
		}
	}
	u, ok := snap.GetUser(id)
	if !ok {
		return nil, missing("user", userName(id))
	}
	return u, nil
}

func (s *calendars) SetVacationCalendar(ctx context.Context, req *pb.SetVacationCalendarRequest) (*pb.VacationCalendar, error) {
	snap := s.c.Directory.Snapshot()
	u, err := s.vacationer(ctx, snap, req.GetUser())
	if err != nil {
		return nil, err
	}
	now := s.c.Now()
	found, err := s.absences(ctx, req.GetUrl(), snap.Zone(u.Zone), now, now.Add(directory.AbsencesAhead))
	if err != nil {
		return nil, err
	}
	address, err := url.Parse(req.GetUrl())
	if err != nil {
		return nil, fault.InvalidField("url", "the address is no URL")
	}
	v := &directory.Vacations{User: u.ID, Host: address.Hostname(), Away: each(found, func(a calendar.Absence) directory.Away { return directory.Away{Start: a.Start, End: a.End} })}
	if v.Sealed, err = s.c.Directory.SealCalendar(u.ID, req.GetUrl()); err != nil {
		return nil, err
	}
	if snap, err = s.c.Directory.Change(ctx, callOf(ctx).by(), func(e *directory.Edit) error { return e.SetVacations(v) }); err != nil {
		return nil, err
	}
	if err := s.c.Store.KeepReading(ctx, u.ID, store.Reading{Tried: now, Read: now}); err != nil {
		return nil, err
	}
	return s.vacations(ctx, snap, u.ID)
}

func (s *calendars) GetVacationCalendar(ctx context.Context, req *pb.GetVacationCalendarRequest) (*pb.VacationCalendar, error) {
	snap := s.c.Directory.Snapshot()
	u, err := s.vacationer(ctx, snap, req.GetUser())
	if err != nil {
		return nil, err
	}
	return s.vacations(ctx, snap, u.ID)
}

func (s *calendars) DeleteVacationCalendar(ctx context.Context, req *pb.DeleteVacationCalendarRequest) (*emptypb.Empty, error) {
	u, err := s.vacationer(ctx, s.c.Directory.Snapshot(), req.GetUser())
	if err != nil {
		return nil, err
	}
	_, err = s.c.Directory.Change(ctx, callOf(ctx).by(), func(e *directory.Edit) error {
		return e.Delete(directory.Key{Kind: directory.KindVacations, ID: string(u.ID)}, "")
	})
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, s.c.Store.ForgetReading(ctx, u.ID)
}

// vacations says what is known of a person's calendar.
func (s *calendars) vacations(ctx context.Context, snap *directory.Snapshot, id roster.UserID) (*pb.VacationCalendar, error) {
	v, ok := snap.GetVacations(id)
	if !ok {
		return nil, fault.New(fault.NotFound, "NOT_FOUND", "no calendar of vacations is set", "name", userName(id)+"/vacationCalendar")
	}
	r, err := s.c.Store.Reading(ctx, id)
	if err != nil {
		return nil, err
	}
	now := s.c.Now()
	m := &pb.VacationCalendar{
		User: userName(id), Host: v.Host, ReadTime: stamp(r.Read), TryTime: stamp(r.Tried), Error: r.Error, CreateTime: stamp(v.Created),
	}
	for _, a := range v.Away {
		if a.End.After(now) {
			m.Absences = append(m.Absences, &pb.VacationCalendar_Absence{StartTime: stamp(a.Start), EndTime: stamp(a.End)})
		}
	}
	for _, c := range snap.AwayOnCall(id, now, now.Add(vacationsAhead)) {
		m.Conflicts = append(m.Conflicts, &pb.VacationCalendar_Conflict{Schedule: scheduleName(c.Schedules[0]), StartTime: stamp(c.Start), EndTime: stamp(c.End)})
	}
	return m, nil
}
