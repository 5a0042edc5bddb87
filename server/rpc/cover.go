package rpc

import (
	"context"
	"slices"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

func (s *onCall) CreateCoverRequest(ctx context.Context, req *pb.CreateCoverRequestRequest) (*pb.CoverRequest, error) {
	c, want := callOf(ctx), req.GetCoverRequest()
	user := c.principal.User
	if want.GetUser() != "" {
		var err error
		if user, err = c.user("cover_request.user", want.GetUser()); err != nil {
			return nil, err
		}
	}
	r := &directory.Cover{Cover: schedule.Cover{
		ID: schedule.RequestID(req.GetCoverRequestId()), Schedule: scheduleID(want.GetSchedule()), User: user, Note: want.GetNote(),
		Start: instant(want.GetStartTime()), End: instant(want.GetEndTime()),
	}}
	if w := want.GetSwap(); w != nil {
		r.Theirs = schedule.Part{User: userID(w.GetUser()), Start: instant(w.GetStartTime()), End: instant(w.GetEndTime())}
	}
	if r.ID == "" {
		r.ID = schedule.RequestID(auth.NewID())
	}
	return configured(ctx, s.Server, req.GetRequestId(), nil, func() (*pb.CoverRequest, error) {
		snap, err := s.c.Directory.Change(ctx, c.by(), func(e *directory.Edit) error {
			of, ok := e.GetSchedule(r.Schedule)
			if !ok {
				return missing("schedule", scheduleName(r.Schedule))
			}
			if err := c.covers(user, of.Team); err != nil {
				return err
			}
			return e.AskCover(r)
		})
		if err != nil {
			return nil, inField("cover_request", err)
		}
		made, err := s.cover(snap, r.ID)
		if err != nil {
			return nil, err
		}
		return s.coverMessage(made, s.doubtsOfAll(snap, made)), nil
	})
}

// mostAsked is of how many who might take a request doubts are looked for.
const mostAsked = 20

// doubtsOfAll returns what would be doubtful if one or another took the request.
func (s *onCall) doubtsOfAll(snap *directory.Snapshot, r *directory.Cover) []string {
	of, ok := snap.GetSchedule(r.Schedule)
	if !ok {
		return nil
	}
	var out []string
	for i, u := range r.Candidates(of.Schedule) {
		if i == mostAsked {
			break
		}
		for _, w := range snap.CoverWarnings(r, u, s.c.Now()) {
			out = append(out, "if "+string(u)+" takes it: "+w)
		}
	}
	return out
}

func (s *onCall) cover(snap *directory.Snapshot, id schedule.RequestID) (*directory.Cover, error) {
	r, ok := snap.GetCover(id)
	if !ok {
		return nil, missing("name", coverName(id))
	}
	return r, nil
}

func (s *onCall) GetCoverRequest(ctx context.Context, req *pb.GetCoverRequestRequest) (*pb.CoverRequest, error) {
	snap := s.c.Directory.Snapshot()
	r, err := s.cover(snap, schedule.RequestID(last(req.GetName())))
	if err != nil {
		return nil, err
	}
	return s.coverMessage(r, snap.CoverWarnings(r, callOf(ctx).principal.User, s.c.Now())), nil
}

func (s *onCall) ListCoverRequests(ctx context.Context, req *pb.ListCoverRequestsRequest) (*pb.ListCoverRequestsResponse, error) {
	snap, id, after := s.c.Directory.Snapshot(), scheduleID(req.GetSchedule()), instant(req.GetEndAfter())
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
	page, next, err := byNamePage(req, usualPage, mostPage, snap.Covers(), func(r *directory.Cover) bool {
		return (id == "" || r.Schedule == id) && r.End.After(after) && (user == "" || isPartyTo(snap, r, user))
	})
	if err != nil {
		return nil, err
	}
	return &pb.ListCoverRequestsResponse{
		CoverRequests: each(page, func(r *directory.Cover) *pb.CoverRequest { return s.coverMessage(r, nil) }), NextPageToken: next,
	}, nil
}

// isPartyTo reports whether a person asks for the cover, has it, or might take it.
func isPartyTo(snap *directory.Snapshot, r *directory.Cover, user roster.UserID) bool {
	if r.User == user || r.By == user {
		return true
	}
	of, ok := snap.GetSchedule(r.Schedule)
	return ok && slices.Contains(r.Candidates(of.Schedule), user)
}

func (s *onCall) AcceptCoverRequest(ctx context.Context, req *pb.AcceptCoverRequestRequest) (*pb.CoverRequest, error) {
	c, id := callOf(ctx), schedule.RequestID(last(req.GetName()))
	if c.principal.User == "" {
		return nil, fault.New(fault.Precondition, "NO_PERSON", c.principal.String()+" is no person; create an override for somebody instead")
	}
	return configured(ctx, s.Server, req.GetRequestId(), nil, func() (*pb.CoverRequest, error) {
		var doubts []string
		snap, err := s.c.Directory.Change(ctx, c.by(), func(e *directory.Edit) error {
			r, err := s.cover(e.Snapshot, id)
			if err != nil {
				return err
			}
			doubts = e.CoverWarnings(r, c.principal.User, e.Now)
			return e.TakeCover(id, c.principal.User, unquote(req.GetEtag()))
		})
		if err != nil {
			return nil, err
		}
		r, err := s.cover(snap, id)
		if err != nil {
			return nil, err
		}
		return s.coverMessage(r, doubts), nil
	})
}

func (s *onCall) CancelCoverRequest(ctx context.Context, req *pb.CancelCoverRequestRequest) (*pb.CoverRequest, error) {
	c, id := callOf(ctx), schedule.RequestID(last(req.GetName()))
	return configured(ctx, s.Server, req.GetRequestId(), nil, func() (*pb.CoverRequest, error) {
		snap, err := s.c.Directory.Change(ctx, c.by(), func(e *directory.Edit) error {
			r, err := s.cover(e.Snapshot, id)
			if err != nil {
				return err
			}
			if !c.principal.Is(r.Theirs.User) { // who is asked to swap may decline
				team, _ := e.TeamOf(scheduleName(r.Schedule))
				if err := c.covers(r.User, team); err != nil {
					return err
				}
			}
			return e.CancelCover(id, c.principal.User, unquote(req.GetEtag()))
		})
		if err != nil {
			return nil, err
		}
		r, err := s.cover(snap, id)
		if err != nil {
			return nil, err
		}
		return s.coverMessage(r, nil), nil
	})
}

var requestStates = map[schedule.RequestState]pb.CoverRequest_State{ //nolint:gochecknoglobals // look-up table
	schedule.RequestOpen: pb.CoverRequest_STATE_OPEN, schedule.RequestTaken: pb.CoverRequest_STATE_TAKEN,
	schedule.RequestPastDue: pb.CoverRequest_STATE_PAST_DUE, schedule.RequestCancelled: pb.CoverRequest_STATE_CANCELLED,
}

func (s *onCall) coverMessage(r *directory.Cover, warnings []string) *pb.CoverRequest {
	m := &pb.CoverRequest{
		Name: coverName(r.ID), Schedule: scheduleName(r.Schedule), User: userName(r.User), StartTime: stamp(r.Start), EndTime: stamp(r.End), Note: r.Note,
		State: requestStates[r.StateAt(s.c.Now())], Overrides: each(r.Overrides, overrideName), Warnings: warnings,
		CreateTime: stamp(r.CreatedAt), UpdateTime: stamp(r.Updated), Etag: quote(r.ETag()),
	}
	if r.State == schedule.RequestTaken {
		m.Taker = userName(r.By)
	}
	if r.Swaps() {
		m.Swap = &pb.Swap{User: userName(r.Theirs.User), StartTime: stamp(r.Theirs.Start), EndTime: stamp(r.Theirs.End)}
	}
	return m
}
