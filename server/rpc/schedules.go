package rpc

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// schedules is tocsin.v1.ScheduleService.
type schedules struct {
	pb.UnimplementedScheduleServiceServer
	*Server
}

func (s *schedules) read(snap *directory.Snapshot, id schedule.ID) (*pb.Schedule, error) {
	r, ok := snap.GetSchedule(id)
	if !ok {
		return nil, missing("name", scheduleName(id))
	}
	return scheduleMessage(r), nil
}

func (s *schedules) GetSchedule(_ context.Context, req *pb.GetScheduleRequest) (*pb.Schedule, error) {
	return s.read(s.c.Directory.Snapshot(), scheduleID(req.GetName()))
}

func (s *schedules) ListSchedules(ctx context.Context, req *pb.ListSchedulesRequest) (*pb.ListSchedulesResponse, error) {
	snap, team := s.c.Directory.Snapshot(), roster.TeamID(last(req.GetTeam()))
	takesTurns := func(schedule.ID) bool { return true }
	if req.GetUser() != "" {
		user, err := callOf(ctx).user("user", req.GetUser())
		if err != nil {
			return nil, err
		}
		takesTurns = oneOf(snap.SchedulesOf(user))
	}
	page, next, err := byNamePage(req, usualPage, mostPage, snap.Schedules(), func(r *directory.Schedule) bool {
		return (team == "" || r.Team == team) && takesTurns(r.ID)
	})
	if err != nil {
		return nil, err
	}
	return &pb.ListSchedulesResponse{Schedules: each(page, scheduleMessage), NextPageToken: next}, nil
}

// oneOf returns whether an id is in the list.
func oneOf[S comparable](list []S) func(S) bool {
	in := make(map[S]bool, len(list))
	for _, s := range list {
		in[s] = true
	}
	return func(s S) bool { return in[s] }
}

func (s *schedules) CreateSchedule(ctx context.Context, req *pb.CreateScheduleRequest) (*pb.Schedule, error) {
	return configured(ctx, s.Server, req.GetRequestId(), nil, func() (*pb.Schedule, error) {
		var id schedule.ID
		snap, err := s.c.Directory.Change(ctx, callOf(ctx).by(), func(e *directory.Edit) error {
			id = schedule.ID(freeID(e, directory.KindSchedule, req.GetScheduleId(), req.GetSchedule().GetDisplayName()))
			if _, ok := e.GetSchedule(id); ok {
				return e.Create(&directory.Schedule{Schedule: schedule.Schedule{ID: id}})
			}
			wanted, err := scheduleOf(id, req.GetSchedule())
			if err != nil {
				return err
			}
			return e.PutSchedule(wanted, "", schedule.AtOnce)
		})
		if err != nil {
			return nil, inField("schedule", err)
		}
		return s.read(snap, id)
	})
}

func (s *schedules) UpdateSchedule(ctx context.Context, req *pb.UpdateScheduleRequest) (*pb.Schedule, error) {
	id := scheduleID(req.GetSchedule().GetName())
	return configured(ctx, s.Server, req.GetRequestId(), nil, func() (*pb.Schedule, error) {
		snap, err := s.c.Directory.Change(ctx, callOf(ctx).by(), func(e *directory.Edit) error {
			old, ok := e.GetSchedule(id)
			if !ok {
				return missing("schedule.name", scheduleName(id))
			}
			m := scheduleMessage(old)
			if _, err := update(m, req.GetSchedule(), req.GetUpdateMask()); err != nil {
				return err
			}
			wanted, err := scheduleOf(id, m)
			if err != nil {
				return err
			}
			return e.PutSchedule(wanted, unquote(req.GetSchedule().GetEtag()), effectsOf[req.GetEffect()])
		})
		if err != nil {
			return nil, inField("schedule", err)
		}
		return s.read(snap, id)
	})
}

func (s *schedules) DeleteSchedule(ctx context.Context, req *pb.DeleteScheduleRequest) (*emptypb.Empty, error) {
	return s.remove(ctx, req.GetRequestId(), directory.Key{Kind: directory.KindSchedule, ID: last(req.GetName())}, req.GetEtag())
}

func (s *schedules) RenderSchedule(_ context.Context, req *pb.RenderScheduleRequest) (*pb.RenderScheduleResponse, error) {
	id := scheduleID(req.GetName())
	turns, err := s.turns("name", id)
	if err != nil {
		return nil, err
	}
	from, to, err := s.window(req, usualWindow)
	if err != nil {
		return nil, err
	}
	shift := func(x schedule.Shift) *pb.Shift { return shiftMessage(id, x) }
	return &pb.RenderScheduleResponse{
		Shifts: each(withGaps(turns.Render(from, to), from, to), shift),
		Layers: each(turns.RenderLayers(from, to), func(l schedule.LayerShifts) *pb.LayerShifts {
			return &pb.LayerShifts{Layer: string(l.Layer), Shifts: each(l.Shifts, shift)}
		}),
		Shadows: each(turns.RenderShadows(from, to), shadowingMessage),
	}, nil
}

func (s *schedules) ExplainSchedule(_ context.Context, req *pb.ExplainScheduleRequest) (*pb.ExplainScheduleResponse, error) {
	id, at := scheduleID(req.GetName()), instant(req.GetTime())
	turns, err := s.turns("name", id)
	if err != nil {
		return nil, err
	}
	if at.IsZero() {
		at = s.c.Now()
	}
	return explanationMessage(id, turns.Explain(at)), nil
}

func (s *schedules) PreviewSchedule(ctx context.Context, req *pb.PreviewScheduleRequest) (*pb.PreviewScheduleResponse, error) {
	from, to, err := s.window(req, usualWindow)
	if err != nil {
		return nil, err
	}
	id, want := scheduleID(req.GetSchedule().GetName()), req.GetSchedule()
	before, after, err := s.c.Directory.Try(ctx, callOf(ctx).by(), func(e *directory.Edit) error {
		if id == "" {
			id = schedule.ID(freeID(e, directory.KindSchedule, "", want.GetDisplayName()))
		}
		wanted, err := scheduleOf(id, want)
		if err != nil {
			return err
		}
		return e.PutSchedule(wanted, unquote(want.GetEtag()), effectsOf[req.GetEffect()])
	})
	if err != nil {
		return nil, inField("schedule", err)
	}
	is, err := after.Turns(id)
	if err != nil {
		return nil, err
	}
	was, err := before.Turns(id)
	if err != nil && fault.KindOf(err) != fault.NotFound { // of a new one nobody was on call
		return nil, err
	}
	return &pb.PreviewScheduleResponse{
		Differences: each(schedule.Differences(was, is, from, to), differenceMessage), Warnings: after.ScheduleWarnings(is, from, to),
	}, nil
}

func (s *schedules) ReviewSchedule(_ context.Context, req *pb.ReviewScheduleRequest) (*pb.ReviewScheduleResponse, error) {
	id, snap := scheduleID(req.GetName()), s.c.Directory.Snapshot()
	turns, err := s.turns("name", id)
	if err != nil {
		return nil, err
	}
	from, to, err := s.window(req, reviewWindow)
	if err != nil {
		return nil, err
	}
	loads := schedule.Loads(turns.Stints(from, to), func(u roster.UserID) *time.Location {
		person, _ := snap.User(u)
		return snap.Zone(person.Zone)
	})
	m := ratingMessage(schedule.Rate(loads, to.Sub(from)))
	m.Gaps = each(turns.Gaps(from, to), func(g schedule.Gap) *pb.Shift {
		return shiftMessage(id, schedule.Shift{Start: g.Start, End: g.End, Override: g.Override})
	})
	m.Conflicts, m.Shares = each(snap.Doubts(turns, from, to), doubtMessage), each(loads, shareMessage)
	return m, nil
}

// turns returns what answers for a schedule that a field names.
func (s *Server) turns(field string, id schedule.ID) (*schedule.Resolver, error) {
	turns, err := s.c.Directory.Snapshot().Turns(id)
	if fault.KindOf(err) == fault.NotFound {
		return nil, missing(field, scheduleName(id))
	}
	return turns, err
}

// The windows that a call asks about when it does not say, and the longest.
const (
	usualWindow  = 30 * 24 * time.Hour
	reviewWindow = 90 * 24 * time.Hour
	maxWindow    = 400 * 24 * time.Hour
)

// windowed is a request about a time.
type windowed interface {
	GetStartTime() *timestamppb.Timestamp
	GetEndTime() *timestamppb.Timestamp
}

// window reads the time that a request asks about.
func (s *Server) window(req windowed, usual time.Duration) (from, to time.Time, err error) {
	if from = instant(req.GetStartTime()); from.IsZero() {
		from = s.c.Now()
	}
	if to = instant(req.GetEndTime()); to.IsZero() {
		to = from.Add(usual)
	}
	switch {
	case !from.Before(to):
		return from, to, fault.InvalidField("end_time", "has to be after start_time, which is %s", from.UTC().Format(time.RFC3339))
	case to.Sub(from) > maxWindow:
		return from, to, fault.InvalidField("end_time", "is %d days after start_time; ask about at most %d at a time", int(to.Sub(from).Hours()/24), int(maxWindow.Hours()/24))
	}
	return from, to, nil
}

func (s *schedules) CreateOverride(ctx context.Context, req *pb.CreateOverrideRequest) (*pb.Override, error) {
	c, want := callOf(ctx), req.GetOverride()
	user, err := c.user("override.user", want.GetUser())
	if err != nil {
		return nil, err
	}
	return s.override(ctx, req.GetRequestId(), scheduleID(want.GetSchedule()), schedule.Override{
		ID: schedule.OverrideID(req.GetOverrideId()), User: user, Start: instant(want.GetStartTime()), End: instant(want.GetEndTime()),
	}, req.GetValidateOnly())
}

// override puts somebody on call in place of the layers, or with dry says only what
// that would lead to.
func (s *Server) override(ctx context.Context, requestID string, id schedule.ID, o schedule.Override, dry bool) (*pb.Override, error) {
	c := callOf(ctx)
	if o.ID == "" {
		o.ID = schedule.OverrideID(auth.NewID())
	}
	o.By = c.principal.User
	var before *directory.Snapshot
	edit := func(e *directory.Edit) error {
		r, ok := e.GetSchedule(id)
		if !ok {
			return missing("schedule", scheduleName(id))
		}
		if err := c.covers(o.User, r.Team); err != nil {
			return err
		}
		if err := mayStandIn(e.Snapshot, c, r, o.User); err != nil {
			return err
		}
		before = e.Snapshot
		return e.AddOverrides(id, o)
	}
	answer := func(snap *directory.Snapshot, err error) (*pb.Override, error) {
		if err != nil {
			return nil, inField("override", err)
		}
		made, ok := snap.GetOverride(o.ID)
		if !ok {
			return nil, missing("name", overrideName(o.ID))
		}
		m := overrideMessage(made)
		m.Warnings = snap.OverrideWarnings(before, id, o)
		return m, nil
	}
	if dry {
		_, after, err := s.c.Directory.Try(ctx, c.by(), edit)
		return answer(after, err)
	}
	return configured(ctx, s, requestID, nil, func() (*pb.Override, error) {
		snap, err := s.c.Directory.Change(ctx, c.by(), edit)
		return answer(snap, err)
	})
}

// mayStandIn refuses somebody whom a page would not reach for sure: who is
// inactive, or, unless somebody says so who runs the schedule, a stranger to it
// and its team (a tap on the wrong schedule must not take it over).
func mayStandIn(snap *directory.Snapshot, c *call, r *directory.Schedule, u roster.UserID) error {
	if person, ok := snap.GetUser(u); ok && person.Inactive {
		return fault.InvalidField("user", "%s is inactive and is never paged", u)
	}
	known := slices.Contains(r.Members(), u) || slices.Contains(snap.Members(r.Team), u)
	if u == "" || known || c.principal.IsAdmin() || c.principal.ManagerOf(r.Team) {
		return nil
	}
	return fault.New(fault.Denied, "NOT_A_MEMBER", "only who takes turns in the schedule, or is of its team, may go on call by it; a manager of the team can put others there",
		"schedule", scheduleName(r.ID), "user", userName(u))
}

func (s *schedules) GetOverride(_ context.Context, req *pb.GetOverrideRequest) (*pb.Override, error) {
	o, ok := s.c.Directory.Snapshot().GetOverride(schedule.OverrideID(last(req.GetName())))
	if !ok {
		return nil, missing("name", req.GetName())
	}
	return overrideMessage(o), nil
}

func (s *schedules) ListOverrides(ctx context.Context, req *pb.ListOverridesRequest) (*pb.ListOverridesResponse, error) {
	id, after := scheduleID(req.GetSchedule()), instant(req.GetEndAfter())
	if after.IsZero() {
		after = s.c.Now()
	}
	var user roster.UserID
	if req.GetUser() != "" {
		var err error
		if user, err = callOf(ctx).user("user", req.GetUser()); err != nil {
			return nil, err
		}
	}
	page, next, err := byNamePage(req, usualPage, mostPage, s.c.Directory.Snapshot().Overrides(), func(o *directory.Override) bool {
		return (id == "" || o.Schedule == id) && (user == "" || o.User == user) && o.End.After(after)
	})
	if err != nil {
		return nil, err
	}
	return &pb.ListOverridesResponse{Overrides: each(page, overrideMessage), NextPageToken: next}, nil
}

func (s *schedules) DeleteOverride(ctx context.Context, req *pb.DeleteOverrideRequest) (*emptypb.Empty, error) {
	c, id := callOf(ctx), schedule.OverrideID(last(req.GetName()))
	return configured(ctx, s.Server, req.GetRequestId(), nil, func() (*emptypb.Empty, error) {
		_, err := s.c.Directory.Change(ctx, c.by(), func(e *directory.Edit) error {
			o, ok := e.GetOverride(id)
			if !ok {
				return missing("name", overrideName(id))
			}
			team, _ := e.TeamOf(scheduleName(o.Schedule))
			if !c.principal.Is(o.By) { // whoever made it may take it back
				if err := c.covers(o.User, team); err != nil {
					return err
				}
			}
			if o.Request != "" && !c.principal.IsAdmin() && !c.principal.ManagerOf(team) {
				return fault.New(fault.Precondition, "OWNED_BY_REQUEST",
					"it fulfils a cover request, which would go on saying that it is taken; ask for cover yourself, or a manager of the team to remove it",
					"name", overrideName(id), "cover_request", coverName(o.Request))
			}
			return e.RemoveOverride(id, unquote(req.GetEtag()))
		})
		if err != nil {
			return nil, err
		}
		return &emptypb.Empty{}, nil
	})
}

func (s *schedules) CreateShadow(ctx context.Context, req *pb.CreateShadowRequest) (*pb.Shadow, error) {
	c, want := callOf(ctx), req.GetShadow()
	return configured(ctx, s.Server, req.GetRequestId(), nil, func() (*pb.Shadow, error) {
		h := &directory.Shadow{Schedule: scheduleID(want.GetSchedule()), Shadow: schedule.Shadow{
			ID: schedule.ShadowID(req.GetShadowId()), User: userID(want.GetUser()), Person: userID(want.GetPerson()), Mode: shadowModesOf[want.GetMode()],
			Start: instant(want.GetStartTime()), End: instant(want.GetEndTime()),
		}}
		if h.ID == "" {
			h.ID = schedule.ShadowID(auth.NewID())
		}
		snap, err := s.c.Directory.Change(ctx, c.by(), func(e *directory.Edit) error { return e.AddShadow(h) })
		if err != nil {
			return nil, inField("shadow", err)
		}
		made, ok := snap.GetShadow(h.ID)
		if !ok {
			return nil, missing("name", shadowName(h.ID))
		}
		return shadowMessage(made), nil
	})
}

func (s *schedules) ListShadows(ctx context.Context, req *pb.ListShadowsRequest) (*pb.ListShadowsResponse, error) {
	id, now := scheduleID(req.GetSchedule()), s.c.Now()
	var user roster.UserID
	if req.GetUser() != "" {
		var err error
		if user, err = callOf(ctx).user("user", req.GetUser()); err != nil {
			return nil, err
		}
	}
	page, next, err := byNamePage(req, usualPage, mostPage, s.c.Directory.Snapshot().Shadows(), func(h *directory.Shadow) bool {
		return (id == "" || h.Schedule == id) && (user == "" || h.User == user) && (h.End.IsZero() || h.End.After(now))
	})
	if err != nil {
		return nil, err
	}
	return &pb.ListShadowsResponse{Shadows: each(page, shadowMessage), NextPageToken: next}, nil
}

func (s *schedules) DeleteShadow(ctx context.Context, req *pb.DeleteShadowRequest) (*emptypb.Empty, error) {
	id := schedule.ShadowID(last(req.GetName()))
	return configured(ctx, s.Server, req.GetRequestId(), nil, func() (*emptypb.Empty, error) {
		_, err := s.c.Directory.Change(ctx, callOf(ctx).by(), func(e *directory.Edit) error { return e.RemoveShadow(id, unquote(req.GetEtag())) })
		if err != nil {
			return nil, err
		}
		return &emptypb.Empty{}, nil
	})
}

// field is the path of one element of a list.
func field(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }
