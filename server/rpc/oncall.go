package rpc

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

// onCall is tocsin.v1.OnCallService.
type onCall struct {
	pb.UnimplementedOnCallServiceServer
	*Server
}

func (s *onCall) ListOnCall(ctx context.Context, req *pb.ListOnCallRequest) (*pb.ListOnCallResponse, error) {
	snap, at := s.c.Directory.Snapshot(), instant(req.GetTime())
	if at.IsZero() {
		at = s.c.Now()
	}
	watch := holders{snap: snap, at: at}
	if err := watch.asked(callOf(ctx), req); err != nil {
		return nil, err
	}
	rows := watch.rows
	slices.SortFunc(rows, func(a, b *pb.OnCall) int { return cmp.Compare(rowKey(a), rowKey(b)) })
	page, next, err := slicePage(req, usualPage, mostPage, rows, rowKey)
	if err != nil {
		return nil, err
	}
	return &pb.ListOnCallResponse{OnCall: page, NextPageToken: next}, nil
}

// rowKey orders rows by policy, level, schedule and person; no two are alike.
func rowKey(r *pb.OnCall) string {
	return fmt.Sprintf("%s\x00%02d\x00%s\x00%s", r.GetEscalationPolicy(), r.GetLevel(), r.GetSchedule(), r.GetUser())
}

// holders gathers who is on call at an instant.
type holders struct {
	snap *directory.Snapshot
	at   time.Time
	rows []*pb.OnCall
}

// asked gathers what the one filter of a request asks for; everything without one.
func (h *holders) asked(c *call, req *pb.ListOnCallRequest) error {
	set := 0
	for _, name := range []string{req.GetSchedule(), req.GetEscalationPolicy(), req.GetService(), req.GetTeam(), req.GetUser()} {
		if name != "" {
			set++
		}
	}
	switch {
	case set > 1:
		return fault.InvalidField("schedule", "set one of schedule, escalation_policy, service, team and user; %d are set", set)
	case req.GetSchedule() != "":
		id := scheduleID(req.GetSchedule())
		if _, ok := h.snap.GetSchedule(id); !ok {
			return missing("schedule", scheduleName(id))
		}
		h.schedule("", 0, id)
	case req.GetEscalationPolicy() != "":
		return h.policy("escalation_policy", policyID(req.GetEscalationPolicy()))
	case req.GetService() != "":
		svc, ok := h.snap.GetService(serviceID(req.GetService()))
		if !ok {
			return missing("service", req.GetService())
		}
		return h.policy("service", svc.Policy)
	case req.GetTeam() != "":
		team := roster.TeamID(last(req.GetTeam()))
		if _, ok := h.snap.GetTeam(team); !ok {
			return missing("team", req.GetTeam())
		}
		h.policies(func(p *directory.Policy) bool { return p.Team == team })
	case req.GetUser() != "":
		user, err := c.user("user", req.GetUser())
		if err != nil {
			return err
		}
		if _, ok := h.snap.GetUser(user); !ok {
			return missing("user", userName(user))
		}
		h.policies(func(*directory.Policy) bool { return true })
		h.rows = slices.DeleteFunc(h.rows, func(r *pb.OnCall) bool { return r.GetUser() != userName(user) })
	default:
		h.policies(func(*directory.Policy) bool { return true })
	}
	return nil
}

func (h *holders) policies(keep func(*directory.Policy) bool) {
	for p := range h.snap.Policies() {
		if keep(p) {
			h.levels(p.Policy)
		}
	}
}

func (h *holders) policy(field string, id escalation.PolicyID) error {
	p, ok := h.snap.GetPolicy(id)
	if !ok {
		return missing(field, policyName(id))
	}
	h.levels(p.Policy)
	return nil
}

func (h *holders) levels(p escalation.Policy) {
	for i, l := range p.Levels {
		for _, t := range l.Targets {
			h.target(p.ID, i+1, t)
		}
	}
}

func (h *holders) target(policy escalation.PolicyID, level int, t escalation.Target) {
	if t.Kind == escalation.ScheduleTarget {
		h.schedule(policy, level, schedule.ID(t.ID))
		return
	}
	for _, u := range h.snap.OnCall(t, h.at) {
		h.add(&pb.OnCall{User: userName(u), EscalationPolicy: policyName(policy), Level: int32(level)}) //nolint:gosec // at most 20
	}
}

func (h *holders) schedule(policy escalation.PolicyID, level int, id schedule.ID) {
	turns, err := h.snap.Turns(id)
	if err != nil {
		return // not configured any more
	}
	shift := turns.At(h.at)
	if whole, ok := turns.Whole(h.at); ok {
		shift = whole
	}
	row := &pb.OnCall{
		User: userName(shift.User), EscalationPolicy: policyName(policy), Level: int32(level), Schedule: scheduleName(id), //nolint:gosec // at most 20
		StartTime: stamp(shift.Start), EndTime: stamp(shift.End), ResponseTarget: span(turns.Schedule().Response),
	}
	row.Shadows = each(h.snap.ShadowsAt(id, shift.User, h.at), func(f schedule.Follower) *pb.ShadowShift {
		return &pb.ShadowShift{User: userName(f.User), Primary: userName(shift.User), Mode: shadowModes[f.Mode]}
	})
	h.add(row)
}

// add takes a row that is not there yet: somebody may stand on a level twice.
func (h *holders) add(row *pb.OnCall) {
	if !slices.ContainsFunc(h.rows, func(r *pb.OnCall) bool { return rowKey(r) == rowKey(row) }) {
		h.rows = append(h.rows, row)
	}
}

func (s *onCall) ListShifts(ctx context.Context, req *pb.ListShiftsRequest) (*pb.ListShiftsResponse, error) {
	snap := s.c.Directory.Snapshot()
	from, to, err := s.window(req, usualWindow)
	if err != nil {
		return nil, err
	}
	var user roster.UserID
	if req.GetUser() != "" {
		if user, err = callOf(ctx).user("user", req.GetUser()); err != nil {
			return nil, err
		}
	}
	ids, err := shiftSchedules(snap, user, req)
	if err != nil {
		return nil, err
	}
	var out []*pb.Shift
	for _, id := range ids {
		turns, err := snap.Turns(id)
		if err != nil {
			return nil, err
		}
		for _, shift := range turns.Render(from, to) {
			if user == "" || shift.User == user {
				out = append(out, shiftMessage(id, shift))
			}
		}
	}
	return &pb.ListShiftsResponse{Shifts: sortShifts(out)}, nil
}

// shiftSchedules returns the schedules that the filters of the request leave.
func shiftSchedules(snap *directory.Snapshot, user roster.UserID, req *pb.ListShiftsRequest) ([]schedule.ID, error) {
	var ids []schedule.ID
	switch {
	case req.GetSchedule() != "":
		id := scheduleID(req.GetSchedule())
		if _, ok := snap.GetSchedule(id); !ok {
			return nil, missing("schedule", scheduleName(id))
		}
		return []schedule.ID{id}, nil
	case req.GetTeam() != "":
		team := roster.TeamID(last(req.GetTeam()))
		if _, ok := snap.GetTeam(team); !ok {
			return nil, missing("team", req.GetTeam())
		}
		for r := range snap.Schedules() {
			if r.Team == team {
				ids = append(ids, r.ID)
			}
		}
		slices.Sort(ids)
	case user != "":
		if _, ok := snap.GetUser(user); !ok {
			return nil, missing("user", userName(user))
		}
		ids = snap.SchedulesOf(user)
	default:
		return nil, fault.InvalidField("user", "name a user, a team or a schedule whose shifts to list")
	}
	return ids, nil
}

func (s *onCall) TakeOnCall(ctx context.Context, req *pb.TakeOnCallRequest) (*pb.Override, error) {
	c, now := callOf(ctx), s.c.Now()
	if c.principal.User == "" {
		return nil, fault.New(fault.Precondition, "NO_PERSON", c.principal.String()+" is no person; create an override for somebody instead")
	}
	return s.override(ctx, req.GetRequestId(), scheduleID(req.GetSchedule()), schedule.Override{
		User: c.principal.User, Start: now, End: now.Add(req.GetDuration().AsDuration()),
	}, false)
}
