package rpc

import (
	"context"
	"slices"
	"time"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/readiness"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// readyWindow is how far ahead readiness looks unless told otherwise.
const readyWindow = 7 * 24 * time.Hour

var readinessVerdicts = map[readiness.Verdict]pb.Readiness_Verdict{ //nolint:gochecknoglobals // look-up table
	readiness.Ready: pb.Readiness_VERDICT_READY, readiness.Doubtful: pb.Readiness_VERDICT_DOUBTFUL, readiness.NotReady: pb.Readiness_VERDICT_NOT_READY,
}

func (s *onCall) ListReadiness(ctx context.Context, req *pb.ListReadinessRequest) (*pb.ListReadinessResponse, error) {
	snap := s.c.Directory.Snapshot()
	from, to, err := s.window(req, readyWindow)
	if err != nil {
		return nil, err
	}
	keep, err := readinessPolicies(snap, req)
	if err != nil {
		return nil, err
	}
	duties := snap.Duties(from, to, keep)
	if req.GetUser() != "" {
		user, err := callOf(ctx).user("user", req.GetUser())
		if err != nil {
			return nil, err
		}
		duties = slices.DeleteFunc(duties, func(d directory.Duty) bool { return d.User != user })
	}
	page, next, err := slicePage(req, usualPage, mostPage, duties, func(d directory.Duty) string { return string(d.User) })
	if err != nil {
		return nil, err
	}
	people := each(page, func(d directory.Duty) roster.UserID { return d.User })
	answers, err := s.ready(ctx, snap, people...)
	if err != nil {
		return nil, err
	}
	out := &pb.ListReadinessResponse{NextPageToken: next}
	for i, d := range page {
		a := answers[i]
		for _, c := range head(snap.AwayOnCall(d.User, from, to), mostAway) {
			u, _ := snap.User(d.User)
			a = a.With("He is " + directory.AwayWords(c, snap.Zone(u.Zone)) + ": find somebody to cover.")
		}
		out.Readiness = append(out.Readiness, readinessMessage(snap, d, a))
	}
	return out, nil
}

// mostAway is how many turns of a person who is away are told of.
const mostAway = 3

func head[T any](all []T, n int) []T { return all[:min(len(all), n)] }

// readinessPolicies returns which policies the filters leave; nil for all.
func readinessPolicies(snap *directory.Snapshot, req *pb.ListReadinessRequest) (func(*directory.Policy) bool, error) {
	switch {
	case req.GetTeam() != "" && req.GetService() != "":
		return nil, fault.InvalidField("service", "set one of team and service")
	case req.GetService() != "":
		svc, ok := snap.GetService(serviceID(req.GetService()))
		if !ok {
			return nil, missing("service", req.GetService())
		}
		return func(p *directory.Policy) bool { return p.ID == svc.Policy }, nil
	case req.GetTeam() != "":
		team := roster.TeamID(last(req.GetTeam()))
		if _, ok := snap.GetTeam(team); !ok {
			return nil, missing("team", req.GetTeam())
		}
		return func(p *directory.Policy) bool {
			for svc := range snap.Services() {
				if svc.Team == team && svc.Policy == p.ID {
					return true
				}
			}
			return p.Team == team
		}, nil
	}
	return nil, nil //nolint:nilnil // documented: no filter
}

// ready says of each person whether he could be woken now.
func (s *Server) ready(ctx context.Context, snap *directory.Snapshot, people ...roster.UserID) ([]readiness.Answer, error) {
	var ids []roster.DeviceID
	for _, u := range people {
		for _, d := range snap.DevicesOf(u) {
			ids = append(ids, d.ID)
		}
	}
	words := map[roster.DeviceID]roster.Word{}
	if len(ids) > 0 {
		var err error
		if words, err = s.c.Store.Devices(ctx, ids...); err != nil {
			return nil, err
		}
	}
	now := s.c.Now()
	return each(people, func(id roster.UserID) readiness.Answer {
		u, _ := snap.User(id)
		return readiness.Of(u, snap.Devices(id), words, now)
	}), nil
}

func readinessMessage(snap *directory.Snapshot, d directory.Duty, a readiness.Answer) *pb.Readiness {
	m := &pb.Readiness{User: userName(d.User), Verdict: readinessVerdicts[a.Verdict], StartTime: stamp(d.Start), Schedules: each(d.Schedules, scheduleName)}
	for _, k := range d.By {
		if k.Kind == directory.KindSettings {
			m.CatchAll = true
		} else {
			m.EscalationPolicies = append(m.EscalationPolicies, k.String())
		}
	}
	for _, r := range a.Reasons {
		reason := &pb.Readiness_Reason{Text: r.Text}
		if dev, ok := snap.GetDevice(r.Device); ok {
			reason.Device, reason.DeviceDisplayName = directory.KeyOf(dev).String(), dev.Name
		}
		m.Reasons = append(m.Reasons, reason)
	}
	return m
}
