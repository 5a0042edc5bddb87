package rpc

import (
	"cmp"
	"context"
	"slices"
	"time"

	"google.golang.org/grpc"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// heartbeatEvery is how long a stream may be silent.
const heartbeatEvery = 15 * time.Second

// errSlow cuts a stream whose caller does not keep up. Its last cursor resumes it.
var errSlow = fault.New(fault.Exhausted, "WATCHER_TOO_SLOW",
	"changes come faster than you take them; go on from your last cursor").After(time.Second)

// watch is one stream of changes. cursor is behind all that was sent or left out.
type watch struct {
	*incidents

	stream   grpc.ServerStreamingServer[pb.WatchIncidentsResponse]
	cursor   store.Cursor
	services []catalog.ServiceID
	teams    []roster.TeamID
	people   []roster.UserID
}

func (s *incidents) WatchIncidents(req *pb.WatchIncidentsRequest, stream grpc.ServerStreamingServer[pb.WatchIncidentsResponse]) error {
	ctx := stream.Context()
	w := &watch{
		incidents: s, stream: stream, services: each(req.GetServices(), serviceID),
		teams: each(req.GetTeams(), func(n string) roster.TeamID { return roster.TeamID(last(n)) }),
	}
	var err error
	if w.people, err = callOf(ctx).users("assignees", req.GetAssignees()); err != nil {
		return err
	}
	var from *store.Cursor
	if req.GetCursor() != "" {
		if from, err = store.ParseCursor(req.GetCursor()); err != nil {
			return err
		}
	}
	live, joined, err := s.feed.join(ctx)
	if err != nil {
		return err
	}
	defer s.feed.leave(live)
	if w.cursor = joined; from != nil {
		w.cursor = *from
		if err := w.catchUp(ctx, &joined); err != nil {
			return err
		}
	} else if err := w.fresh(ctx); err != nil {
		return err
	}
	if err := w.beat(); err != nil { // the caller has a cursor from the first moment on
		return err
	}
	return w.follow(ctx, live)
}

// fresh begins at the end of the feed as it is now: the shared reader may lag a little behind.
func (w *watch) fresh(ctx context.Context) error {
	tail, err := w.c.Store.FeedTail(ctx)
	if err != nil {
		return err
	}
	w.cursor = *tail
	return nil
}

// before reports whether a lies before b.
func before(a, b store.Position) bool {
	return cmp.Or(cmp.Compare(a.MS, b.MS), cmp.Compare(a.Seq, b.Seq)) < 0
}

// catchUp sends what lies between the caller's cursor and the one that the
// queue begins behind. What both have is sent once.
func (w *watch) catchUp(ctx context.Context, joined *store.Cursor) error {
	for {
		behind := false
		for p := range w.cursor {
			behind = behind || before(w.cursor[p], joined[p])
		}
		if !behind {
			return nil
		}
		at := w.cursor
		changes, next, err := w.feed.read(ctx, &at)
		if err != nil {
			return err
		}
		if err := w.sendAll(ctx, changes); err != nil {
			return err
		}
		if len(changes) == 0 {
			w.cursor = *next
			return nil
		}
	}
}

// follow sends what comes in, and a heartbeat after every silence.
func (w *watch) follow(ctx context.Context, live *watcher) error {
	silence := time.NewTimer(heartbeatEvery)
	defer silence.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.draining:
			return errDraining
		case <-live.cut:
			return errSlow
		case <-silence.C:
			if err := w.beat(); err != nil {
				return err
			}
			silence.Reset(heartbeatEvery)
		case changes := <-live.queue:
			sent, err := w.send(ctx, changes)
			if err != nil {
				return err
			}
			if sent {
				silence.Reset(heartbeatEvery)
			}
		}
	}
}

func (w *watch) sendAll(ctx context.Context, changes []changed) error {
	_, err := w.send(ctx, changes)
	return err
}

// send sends the changes that are behind the cursor and match. Changes of one
// incident in one reading have the same final state: the last of them is sent,
// with what happened in all.
func (w *watch) send(ctx context.Context, changes []changed) (sent bool, err error) {
	final := map[incident.ID]int{}
	types := map[incident.ID][]pb.TimelineEntry_Type{}
	for i, c := range changes {
		if !before(w.cursor[c.Partition], c.At) {
			continue
		}
		final[c.Incident] = i
		for _, t := range c.Types {
			if e, ok := entryTypes[t]; ok && !slices.Contains(types[c.Incident], e) {
				types[c.Incident] = append(types[c.Incident], e)
			}
		}
	}
	for i, c := range changes {
		if !before(w.cursor[c.Partition], c.At) {
			continue
		}
		if final[c.Incident] != i {
			w.cursor[c.Partition] = c.At
			continue
		}
		match, err := w.matches(ctx, c, types[c.Incident])
		if err != nil {
			return sent, err
		}
		w.cursor[c.Partition] = c.At
		if !match {
			continue
		}
		m := &pb.WatchIncidentsResponse{
			Kind: pb.WatchIncidentsResponse_KIND_CHANGE, Incident: w.shape().incident(c.incident), Changes: types[c.Incident],
			Cursor: w.cursor.String(), EventTime: stamp(time.UnixMilli(c.At.MS)),
		}
		if err := w.stream.Send(m); err != nil {
			return sent, err
		}
		sent = true
	}
	return sent, nil
}

func (w *watch) beat() error {
	return w.stream.Send(&pb.WatchIncidentsResponse{
		Kind: pb.WatchIncidentsResponse_KIND_HEARTBEAT, Cursor: w.cursor.String(), EventTime: stamp(w.c.Now()),
	})
}

func (w *watch) matches(ctx context.Context, c changed, types []pb.TimelineEntry_Type) (bool, error) {
	in := c.incident
	if in == nil ||
		(len(w.services) > 0 && !slices.Contains(w.services, in.Service)) ||
		(len(w.teams) > 0 && !slices.Contains(w.teams, in.Team)) {
		return false, nil
	}
	if len(w.people) == 0 || concerns(in, w.people) {
		return true, nil
	}
	return w.ceased(ctx, in, types)
}

// leaving are the changes by which an incident may cease to be somebody's.
var leaving = []pb.TimelineEntry_Type{ //nolint:gochecknoglobals // look-up table
	pb.TimelineEntry_TYPE_ASSIGNED, pb.TimelineEntry_TYPE_ESCALATED, pb.TimelineEntry_TYPE_UNACKNOWLEDGED,
	pb.TimelineEntry_TYPE_RESOLVED, pb.TimelineEntry_TYPE_MERGED_OUT, pb.TimelineEntry_TYPE_NO_TARGET,
	pb.TimelineEntry_TYPE_PATH_EXHAUSTED, pb.TimelineEntry_TYPE_LOOP_REPEATED,
}

// ceased reports whether the change may have taken the incident from one of
// the people. The feed does not say who had it before; the timeline does.
func (w *watch) ceased(ctx context.Context, in *incident.Incident, types []pb.TimelineEntry_Type) (bool, error) {
	if !slices.ContainsFunc(types, func(t pb.TimelineEntry_Type) bool { return slices.Contains(leaving, t) }) {
		return false, nil
	}
	entries, err := w.c.Store.Timeline(ctx, in.ID, 1, 0)
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		if u, ok := e.Actor.User(); ok && e.Type == incident.EntryAcknowledged && slices.Contains(w.people, u) {
			return true, nil
		}
		if e.Type == incident.EntryAssigned && slices.ContainsFunc(e.Users, func(u roster.UserID) bool { return slices.Contains(w.people, u) }) {
			return true, nil
		}
	}
	return false, nil
}
