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

// watch is one stream of changes.
type watch struct {
	*incidents

	stream   grpc.ServerStreamingServer[pb.WatchIncidentsResponse]
	at       *store.Cursor // behind all that was sent or left out; shared, so never written to
	services []catalog.ServiceID
	teams    []roster.TeamID
	people   []roster.UserID
}

// WatchIncidents waits on its stack, five thousand times over: what is only
// needed for the beginning is in functions of its own.
func (s *incidents) WatchIncidents(req *pb.WatchIncidentsRequest, stream grpc.ServerStreamingServer[pb.WatchIncidentsResponse]) error {
	ctx := stream.Context()
	w, err := s.newWatch(ctx, req, stream)
	if err != nil {
		return err
	}
	live, err := s.feed.join(ctx)
	if err != nil {
		return err
	}
	defer s.feed.leave(live)
	if err := w.begin(ctx, live.at); err != nil {
		return err
	}
	return w.follow(ctx, live)
}

// newWatch reads what is to be watched, and from where on.
func (s *incidents) newWatch(ctx context.Context, req *pb.WatchIncidentsRequest, stream grpc.ServerStreamingServer[pb.WatchIncidentsResponse]) (*watch, error) {
	w := &watch{
		incidents: s, stream: stream, services: each(req.GetServices(), serviceID),
		teams: each(req.GetTeams(), func(n string) roster.TeamID { return roster.TeamID(last(n)) }),
	}
	var err error
	if w.people, err = callOf(ctx).users("assignees", req.GetAssignees()); err != nil {
		return nil, err
	}
	if req.GetCursor() != "" {
		if w.at, err = store.ParseCursor(req.GetCursor()); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// begin sends what the caller has missed, and a first cursor. The queue begins
// behind joined, which is where all stand.
func (w *watch) begin(ctx context.Context, joined *store.Cursor) error {
	if w.at == nil {
		w.at = joined
		return w.beat() // the caller has a cursor from the first moment on
	}
	if err := w.catchUp(ctx, joined); err != nil {
		return err
	}
	w.share(joined)
	if !w.feed.heard() {
		return nil
	}
	return w.beat()
}

// share has the watch stand where all stand, if it stands there: it hears from
// then on what is encoded for all, and needs no cursor of its own.
func (w *watch) share(at *store.Cursor) {
	if *w.at == *at {
		w.at = at
	}
}

// before reports whether a lies before b.
func before(a, b store.Position) bool {
	return cmp.Or(cmp.Compare(a.MS, b.MS), cmp.Compare(a.Seq, b.Seq)) < 0
}

// catchUp sends what lies between the caller's cursor and the one that the
// queue begins behind. What both have is sent once. Partitions that nothing is
// missing of are not asked, as their master may be out; one that something is
// missing of has to be.
func (w *watch) catchUp(ctx context.Context, joined *store.Cursor) error {
	for {
		var missing []store.Partition
		for p := range w.at {
			if before(w.at[p], joined[p]) {
				missing = append(missing, store.Partition(p)) //nolint:gosec // one of a few dozen
			}
		}
		if len(missing) == 0 {
			return nil
		}
		changes, next, err := w.feed.read(ctx, w.at, missing...)
		if _, err := w.send(ctx, changes); err != nil {
			return err
		}
		if err != nil {
			return err // he comes back for the rest
		}
		if len(changes) == 0 {
			w.at = next
			return nil
		}
	}
}

// follow sends what comes in, and a heartbeat after every silence. A heartbeat says
// that nothing happened: while that is not known none is sent, and the caller
// takes the line for dead, as it is.
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
			if w.feed.heard() {
				if err := w.beat(); err != nil {
					return err
				}
			}
			silence.Reset(heartbeatEvery)
		case r := <-live.queue:
			sent, err := w.take(ctx, r)
			if err != nil {
				return err
			}
			if sent {
				silence.Reset(heartbeatEvery)
			}
		}
	}
}

// take sends what matches of a reading.
func (w *watch) take(ctx context.Context, r *reading) (sent bool, err error) {
	if w.at != r.from {
		sent, err = w.send(ctx, r.changes)
		w.share(r.to)
		return sent, err
	}
	for i := range r.told {
		t := &r.told[i]
		match, err := w.matches(ctx, t.incident, t.types)
		if err != nil {
			return sent, err
		}
		if !match {
			continue
		}
		if err := w.stream.SendMsg(t.message); err != nil {
			return sent, err
		}
		sent = true
	}
	w.at = r.to
	return sent, nil
}

// send sends the changes that match to a caller with a cursor of his own.
func (w *watch) send(ctx context.Context, changes []changed) (sent bool, err error) {
	at := *w.at
	w.at = &at
	for c, types := range behind(&at, changes) {
		match, err := w.matches(ctx, c.incident, types)
		if err != nil {
			return sent, err
		}
		if !match {
			continue
		}
		if err := w.stream.Send(watchMessage(w.feed.shape(), &at, c, types)); err != nil {
			return sent, err
		}
		sent = true
	}
	return sent, nil
}

func (w *watch) beat() error {
	return w.stream.Send(&pb.WatchIncidentsResponse{
		Kind: pb.WatchIncidentsResponse_KIND_HEARTBEAT, Cursor: w.at.String(), EventTime: stamp(w.c.Now()),
	})
}

func (w *watch) matches(ctx context.Context, in *incident.Incident, types []pb.TimelineEntry_Type) (bool, error) {
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
