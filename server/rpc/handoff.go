package rpc

import (
	"context"
	"time"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/handover"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/respond"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/schedule"
	"github.com/tocsin-oncall/tocsin/server/store"
)

func (s *onCall) GetHandOff(ctx context.Context, req *pb.GetHandOffRequest) (*pb.HandOff, error) {
	snap, at := s.c.Directory.Snapshot(), instant(req.GetTime())
	if at.IsZero() {
		at = s.c.Now()
	}
	turn, err := askedTurn(snap, callOf(ctx), req, at)
	if err != nil {
		return nil, err
	}
	p, err := handover.Gather(ctx, s.c.Store, snap, turn, s.c.Now())
	if err != nil {
		return nil, err
	}
	return s.handOffMessage(p), nil
}

// askedTurn returns the hand-off that a request asks for.
func askedTurn(snap *directory.Snapshot, c *call, req *pb.GetHandOffRequest, at time.Time) (handover.Turn, error) {
	id, name := scheduleID(req.GetSchedule()), req.GetUser()
	if _, ok := snap.GetSchedule(id); !ok && id != "" {
		return handover.Turn{}, missing("schedule", scheduleName(id))
	}
	if name == "" && id == "" {
		name = "users/me"
	}
	var user roster.UserID
	if name != "" {
		var err error
		if user, err = c.user("user", name); err != nil {
			return handover.Turn{}, err
		}
		if _, ok := snap.GetUser(user); !ok {
			return handover.Turn{}, missing("user", userName(user))
		}
	}
	ids := []schedule.ID{id}
	if id == "" {
		ids = snap.SchedulesOf(user)
	}
	turn, ok := handover.Nearest(snap, ids, user, at)
	if !ok {
		return turn, fault.New(fault.NotFound, "HANDOFF_NOT_FOUND", "there is no hand-off within 400 days: name another schedule, person or time",
			"schedule", scheduleName(id), "user", userName(user), "time", at.UTC().Format(time.RFC3339))
	}
	return turn, nil
}

func (s *onCall) handOffMessage(p *handover.Packet) *pb.HandOff {
	sh := s.shape()
	m := &pb.HandOff{
		Schedule: scheduleName(p.Schedule), HandoffTime: stamp(p.At), FromUser: userName(p.From), ToUser: userName(p.To),
		Services: each(p.Services, serviceName), ResolvedCount: int32(p.Resolved), PageCount: int32(p.Pages), Truncated: p.Truncated, //nolint:gosec // counts
		Incidents: each(p.Open, func(i handover.Item) *pb.HandOffIncident {
			h := &pb.HandOffIncident{Incident: sh.incident(i.Incident)}
			if i.Note != nil {
				h.LastNote = sh.entry(*i.Note)
			}
			return h
		}),
		Remarks: each(p.Remarks, func(r handover.Remark) *pb.HandOffRemark {
			return &pb.HandOffRemark{Incident: incidentName(r.Incident.ID), Number: r.Incident.Number, Title: r.Incident.Text.Title, Note: sh.entry(r.Note)}
		}),
		Noise: each(p.Noise, func(n handover.Noise) *pb.HandOffNoise {
			return &pb.HandOffNoise{
				Service: serviceName(n.Service), DedupKey: n.Key, Title: n.Title,
				IncidentCount: int32(n.Incidents), PageCount: int32(n.Pages), RepeatCount: int32(n.Repeats), //nolint:gosec // counts
			}
		}),
		Misses: each(p.Misses, func(x handover.Miss) *pb.HandOffMiss {
			return &pb.HandOffMiss{
				Incident: incidentName(x.Incident.ID), Number: x.Incident.Number, Title: x.Incident.Text.Title,
				User: userName(x.User), ResponseTarget: span(x.Target), MissTime: stamp(x.At),
			}
		}),
		Gaps: each(p.Gaps, func(g schedule.Gap) *pb.Shift {
			return shiftMessage(p.Schedule, schedule.Shift{Start: g.Start, End: g.End, Override: g.Override})
		}),
		CoverRequests: each(p.Covers, func(r *directory.Cover) *pb.CoverRequest { return s.coverMessage(r, nil) }),
	}
	if p.From != "" {
		m.StartTime = stamp(p.Start)
	}
	if p.To != "" {
		m.EndTime = stamp(p.End)
	}
	if p.Note != nil {
		m.Note = noteMessage(*p.Note)
	}
	return m
}

func noteMessage(n handover.Note) *pb.HandOffNote {
	return &pb.HandOffNote{User: userName(n.User), Text: n.Text, WriteTime: stamp(n.At)}
}

// person returns who calls, of calls that only people can make.
func (c *call) person() (roster.UserID, error) {
	if c.principal.User == "" {
		return "", fault.New(fault.Precondition, "NO_PERSON", c.principal.String()+" is no person, and cannot be on call")
	}
	return c.principal.User, nil
}

func (s *onCall) TakeOverIncidents(ctx context.Context, req *pb.TakeOverIncidentsRequest) (*pb.BatchChangeIncidentsResponse, error) {
	c, snap, id := callOf(ctx), s.c.Directory.Snapshot(), scheduleID(req.GetSchedule())
	user, err := c.person()
	if err != nil {
		return nil, err
	}
	if _, ok := snap.GetSchedule(id); !ok {
		return nil, missing("schedule", scheduleName(id))
	}
	turn, err := handover.Claim(snap, id, user, s.c.Now())
	if err != nil {
		return nil, err
	}
	open, err := handover.ToTake(ctx, s.c.Store, snap, turn, user)
	if err != nil {
		return nil, err
	}
	set := each(open, func(in *incident.Incident) *pb.IncidentVersion { return &pb.IncidentVersion{Name: incidentName(in.ID)} })
	take := incident.TakeOver{By: c.actor(""), Schedule: id, From: turn.From}
	all := &incidents{Server: s.Server}
	return all.batch(ctx, req.GetRequestId(), set, func(ctx context.Context, in incident.ID, o respond.Options) (*incident.Incident, error) {
		return s.c.Desk.Do(ctx, in, take, o)
	})
}

func (s *onCall) LeaveHandOffNote(ctx context.Context, req *pb.LeaveHandOffNoteRequest) (*pb.HandOffNote, error) {
	snap, id, now := s.c.Directory.Snapshot(), scheduleID(req.GetSchedule()), s.c.Now()
	user, err := callOf(ctx).person()
	if err != nil {
		return nil, err
	}
	if _, ok := snap.GetSchedule(id); !ok {
		return nil, missing("schedule", scheduleName(id))
	}
	may, err := handover.MayLeaveNote(snap, id, user, now)
	if err != nil {
		return nil, err
	}
	if !may {
		return nil, fault.New(fault.Precondition, "NOT_YOUR_TURN", "you have not had the turn in this schedule within 24 hours; write a note on the incident instead",
			"schedule", scheduleName(id))
	}
	key := handover.NoteKey(id, user)
	return once(ctx, s.Server, store.PartitionOf(key), req.GetRequestId(), nil, func() (*pb.HandOffNote, error) {
		n := handover.Note{User: user, Text: req.GetText(), At: now.UTC()}
		b, err := n.Encode()
		if err != nil {
			return nil, err
		}
		if err := s.c.Store.Keep(ctx, key, b, handover.NoteKept); err != nil {
			return nil, err
		}
		s.audit(ctx, scheduleName(id), "leave_note", "")
		return noteMessage(n), nil
	})
}
