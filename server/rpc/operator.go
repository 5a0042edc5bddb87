package rpc

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/engine"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/respond"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// operator is tocsin.v1.OperatorService.
type operator struct {
	pb.UnimplementedOperatorServiceServer
	*Server
}

func (s shaper) hold(set *directory.Settings) *pb.Hold {
	if !set.Held {
		return &pb.Hold{}
	}
	return &pb.Hold{Held: true, Holder: s.principal(set.HeldBy), Reason: set.HeldReason, HoldTime: stamp(set.HeldSince)}
}

func (s *operator) HoldPaging(ctx context.Context, req *pb.HoldPagingRequest) (*pb.Hold, error) {
	return configured(ctx, s.Server, req.GetRequestId(), nil, func() (*pb.Hold, error) {
		c := callOf(ctx)
		snap, err := s.c.Directory.Change(ctx, c.by(), func(e *directory.Edit) error {
			set := *e.GetSettings()
			if !set.Held {
				set.HeldSince = e.Now
			}
			set.Held, set.HeldBy, set.HeldReason = true, c.principal.String(), req.GetReason()
			return e.Update(&set, "")
		})
		if err != nil {
			return nil, err
		}
		s.c.Log.WarnContext(ctx, "all paging is held", slog.String("by", c.principal.String()), slog.String("reason", req.GetReason()))
		return shaper{snap}.hold(snap.GetSettings()), nil
	})
}

func (s *operator) ResumePaging(ctx context.Context, req *pb.ResumePagingRequest) (*pb.Hold, error) {
	return configured(ctx, s.Server, req.GetRequestId(), nil, func() (*pb.Hold, error) {
		c, notice := callOf(ctx), ""
		snap, err := s.c.Directory.Change(ctx, c.by(), func(e *directory.Edit) error {
			set := *e.GetSettings()
			if notice = set.OverdueNotice; !set.Held && set.OverdueBefore.IsZero() {
				return nil
			}
			set.Held, set.HeldBy, set.HeldReason, set.HeldSince = false, "", "", zeroTime
			set.OverdueBefore, set.OverdueNotice, set.Resumed = zeroTime, "", e.Now
			return e.Update(&set, "")
		})
		if err != nil {
			return nil, err
		}
		if notice != "" { // it has been looked at
			if _, err := s.c.Desk.Do(ctx, incident.ID(notice), incident.Resolve{By: c.actor("")}, respond.Options{}); err != nil {
				s.c.Log.WarnContext(ctx, "the incident that told of overdue work stays open", slog.String("incident", notice), slog.Any("error", err))
			}
		}
		s.c.Log.WarnContext(ctx, "paging goes on", slog.String("by", c.principal.String()))
		return shaper{snap}.hold(snap.GetSettings()), nil
	})
}

// deadName names a dead letter: its partition and its place in the stream.
func deadName(l store.DeadLetter) string { return "deadLetters/" + l.Partition.String() + "-" + l.ID }

// deadOf is the reverse of deadName.
func deadOf(name string) (store.Partition, string, error) {
	part, id, _ := strings.Cut(last(name), "-")
	p, err := strconv.Atoi(part)
	ms, seq, ok := strings.Cut(id, "-")
	_, err1 := strconv.ParseUint(ms, 10, 63)
	_, err2 := strconv.ParseUint(seq, 10, 63)
	if err != nil || err1 != nil || err2 != nil || !ok || p < 0 || p >= store.Partitions {
		return 0, "", fault.New(fault.NotFound, "DEAD_LETTER_NOT_FOUND", "there is no dead letter of that name", "name", name)
	}
	return store.Partition(p), id, nil //nolint:gosec // below 64
}

// deadKey sorts dead letters by when they were given up.
func deadKey(l store.DeadLetter) string {
	ms, seq, _ := strings.Cut(l.ID, "-")
	return fmt.Sprintf("%020s-%020s-%02d", ms, seq, l.Partition)
}

// mostDead is how many dead letters of one partition are looked at.
const mostDead = 1000

// letters returns the dead letters of all partitions, oldest first.
func (s *operator) letters(ctx context.Context) ([]store.DeadLetter, error) {
	var all []store.DeadLetter
	for _, p := range store.All() {
		list, err := s.c.Store.DeadLetters(ctx, p, "", mostDead)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	slices.SortFunc(all, func(a, b store.DeadLetter) int { return cmp.Compare(deadKey(a), deadKey(b)) })
	return all, nil
}

func (s *operator) ListDeadLetters(ctx context.Context, req *pb.ListDeadLettersRequest) (*pb.ListDeadLettersResponse, error) {
	all, err := s.letters(ctx)
	if err != nil {
		return nil, err
	}
	page, next, err := slicePage(req, usualPage, mostPage, all, deadKey)
	if err != nil {
		return nil, err
	}
	sh := s.shape()
	return &pb.ListDeadLettersResponse{DeadLetters: each(page, sh.letter), NextPageToken: next}, nil
}

// letter returns a dead letter with what it was to do, in one sentence.
func (s shaper) letter(l store.DeadLetter) *pb.DeadLetter {
	m := &pb.DeadLetter{
		Name: deadName(l), Summary: "It cannot be read.", Reason: l.Reason, DeadTime: stamp(l.At), CreateTime: stamp(l.At),
	}
	if pos, err := strconv.ParseInt(strings.SplitN(l.Origin, "-", 2)[0], 10, 64); err == nil && pos > 0 {
		m.CreateTime = stamp(msTime(pos))
	}
	switch {
	case l.Kind == store.DeadInbox && l.Entry.Service != "":
		m.Summary = fmt.Sprintf("Decide the event %q of service %s.", l.Entry.Event.Summary, l.Entry.Service)
	case l.Kind == store.DeadWork && l.Work.Kind != 0:
		m.Incident, m.User = incidentName(l.Work.Incident), userName(l.Work.User)
		m.Summary = s.task(l.Work)
	}
	return m
}

// task says what an item of work is to do.
func (s shaper) task(w incident.Work) string {
	who := s.display(w.User)
	switch w.Kind {
	case incident.WorkPage:
		return fmt.Sprintf("Page %s by %s.", who, w.Method)
	case incident.WorkReplace:
		return "Replace the cards on the phones: " + w.Text + "."
	case incident.WorkNotice:
		return "Tell " + who + " quietly."
	case incident.WorkConfirm:
		return "Ask " + who + ": still on it?"
	case incident.WorkUncovered:
		return fmt.Sprintf("Tell the owners that level %d had nobody.", w.Level+1)
	case incident.WorkCloseMerged:
		return "Finish the merge of incident " + string(w.Other) + "."
	case incident.WorkUnlink:
		return "Forget the dedup key " + w.Key + "."
	default:
		return "Do something that this version does not know."
	}
}

func (s *operator) RetryDeadLetters(ctx context.Context, req *pb.RetryDeadLettersRequest) (*pb.RetryDeadLettersResponse, error) {
	return configured(ctx, s.Server, req.GetRequestId(), nil, func() (*pb.RetryDeadLettersResponse, error) {
		names := req.GetNames()
		if req.GetAll() {
			all, err := s.letters(ctx)
			if err != nil {
				return nil, err
			}
			names = each(all, deadName)
		}
		answer := &pb.RetryDeadLettersResponse{}
		for _, name := range names {
			p, id, err := deadOf(name)
			if err != nil {
				return nil, err
			}
			err = s.c.Store.Retry(ctx, p, id)
			if req.GetAll() && err != nil && fault.KindOf(err) == fault.NotFound {
				continue // somebody else was faster
			}
			if err != nil {
				return nil, fmt.Errorf("retry %s: %w", name, err)
			}
			answer.RetriedCount++
		}
		s.audit(ctx, "deadLetters", "retry", strings.Join(names, ", "))
		return answer, nil
	})
}

// dropCauses are the reasons for which events are dropped, at the door and by
// the owner of their partition.
var dropCauses = map[string]pb.DroppedEvent_Cause{ //nolint:gochecknoglobals // look-up table
	engine.DropDisabled: pb.DroppedEvent_CAUSE_SERVICE_DISABLED, engine.DropSeverity: pb.DroppedEvent_CAUSE_RULE,
	engine.DropOvertaken: pb.DroppedEvent_CAUSE_RULE, engine.DropUnknownKey: pb.DroppedEvent_CAUSE_RESOLVE_ORPHAN,
	engine.DropOver: pb.DroppedEvent_CAUSE_RESOLVE_ORPHAN, "INTEGRATION_DISABLED": pb.DroppedEvent_CAUSE_INTEGRATION_DISABLED,
}

// dropWords say the reasons in a sentence.
var dropWords = map[string]string{ //nolint:gochecknoglobals // look-up table
	engine.DropDisabled:    "Its service is disabled.",
	engine.DropSeverity:    "Its severity is below the least that the service pages for.",
	engine.DropOvertaken:   "It was older than the resolve that came before it.",
	engine.DropUnknownKey:  "Nothing is open under its key.",
	engine.DropOver:        "Its alert was over already.",
	"INTEGRATION_DISABLED": "Its integration is disabled.",
}

// mostDropped is how many dropped events are looked at: all that the rings keep.
const mostDropped = 40_000

func (s *operator) ListDroppedEvents(ctx context.Context, req *pb.ListDroppedEventsRequest) (*pb.ListDroppedEventsResponse, error) {
	service := serviceID(req.GetService())
	all, err := s.c.Store.DroppedEvents(ctx, service, mostDropped)
	if err != nil {
		return nil, err
	}
	if key := req.GetDedupKey(); key != "" {
		all = slices.DeleteFunc(all, func(d store.Dropped) bool { return d.Key != key })
	}
	type numbered struct {
		store.Dropped
		key string
	}
	rows := make([]numbered, len(all))
	for i, n := 0, 0; i < len(all); i++ {
		if n++; i > 0 && !all[i].At.Equal(all[i-1].At) {
			n = 0
		}
		rows[i] = numbered{all[i], fmt.Sprintf("%013d %06d", 9_999_999_999_999-all[i].At.UnixMilli(), n)}
	}
	page, next, err := slicePage(req, usualPage, mostPage, rows, func(r numbered) string { return r.key })
	if err != nil {
		return nil, err
	}
	counts, err := s.c.Store.DroppedCounts(ctx, service)
	if err != nil {
		return nil, err
	}
	answer := &pb.ListDroppedEventsResponse{NextPageToken: next, Totals: map[string]int64{}}
	for _, c := range counts {
		answer.Totals[c.Reason] += c.Count
	}
	answer.DroppedEvents = each(page, func(r numbered) *pb.DroppedEvent { return droppedMessage(r.Dropped) })
	return answer, nil
}

func droppedMessage(d store.Dropped) *pb.DroppedEvent {
	return &pb.DroppedEvent{
		DropTime: stamp(d.At), Cause: dropCauses[d.Reason], Reason: cmp.Or(dropWords[d.Reason], d.Reason), Service: serviceName(d.Service),
		Integration: integrationName(d.Integration), Action: pb.Event_Action(event.Trigger), DedupKey: d.Key, Summary: d.Summary, Count: 1,
	}
}
